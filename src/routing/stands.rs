//! Where clients stand among the regions: what `nearest` and `latency` go by, with what was measured on top.
//!
//! Without measurements a stand follows from a client's footing: the place that is known of it, and its pin. Measurements change the stands
//! of their prefixes, and by the neighbourhood those of others ([`super::sites`]); then the table is made anew from the footings, which
//! are left alone. No region passes one before it unless it is better by a margin, so that noise moves nobody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use ipnet::IpNet;

use super::measured::Fresh;
use super::prefixes::Prefixes;
use super::ranking::{Basis, LatencySource, Ranked, Ranking, Tables, expected_ms, standpoint};
use super::sites::{Findings, Near, Sites};
use super::{LocalityId, Places, RegionId};

/// What `nearest` and `latency` go by: less than an [`Origin`](super::Origin), so that more neighbouring prefixes are alike and an answer
/// holds for more clients.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stand {
    /// The region the operator put the client in.
    pub region: Option<RegionId>,
    /// The az the operator put it in; one of `region`.
    pub locality: Option<LocalityId>,
    /// Regions from the nearest to the farthest with the milliseconds expected, rounded to whole ones; regions that cannot be ranked are
    /// left out. The order counts: a region stands behind one that is slower, as long as it is not better by the margin of
    /// 10 ms and 15 %.
    pub ranking: Arc<[(RegionId, f32)]>,
}

/// A region passes one before it only if it is better by so many milliseconds, and by such a part of the other's.
const MARGIN: (f64, f64) = (10.0, 0.15);

/// The orders in force that are not those of the rankings without measurements, by the measured prefix (`None`: of the neighbourhood)
/// and the footing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Orders(HashMap<(Option<IpNet>, Basis), Arc<[RegionId]>, FixedState>);

/// What stands follow from, beside measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Footing {
    pub basis: Basis,
    pub locality: Option<LocalityId>,
}

/// The table of stands.
#[derive(Debug)]
pub(super) struct Stands {
    all: Box<[Stand]>,
    /// Where the milliseconds of each ranking come from.
    sources: Box<[Arc<[LatencySource]>]>,
    prefixes: Prefixes,
}

impl Default for Stands {
    /// Nothing is known of anybody.
    fn default() -> Stands {
        Stands { all: Box::new([Stand::default()]), sources: Box::new([Arc::default()]), prefixes: Prefixes::default() }
    }
}

impl Stands {
    #[inline]
    pub fn find(&self, client: IpAddr) -> (&Stand, u8) {
        let (number, length) = self.prefixes.find(client);
        (&self.all[number as usize], length)
    }

    /// Where the milliseconds of a client's ranking come from, region by region.
    pub fn sources(&self, client: IpAddr) -> &[LatencySource] {
        &self.sources[self.prefixes.find(client).0 as usize]
    }
}

/// The footings of all clients, and how they stand without measurements.
#[derive(Debug, Default)]
pub(super) struct Ground {
    pub tables: Tables,
    pub footings: Vec<Footing>,
    /// The stand of each footing in `stands`.
    pub stand_of: Vec<u32>,
    pub stands: Arc<Stands>,
}

/// Gives numbers to stands: equal ones have equal numbers.
#[derive(Debug, Default)]
pub(super) struct Roll {
    numbers: HashMap<Entry, u32, FixedState>,
    all: Vec<Stand>,
    sources: Vec<Arc<[LatencySource]>>,
}

type Entry = (Option<RegionId>, Option<LocalityId>, Vec<(RegionId, u32, LatencySource)>);

impl Roll {
    pub fn number(&mut self, footing: &Footing, ranking: impl Iterator<Item = (RegionId, f32, LatencySource)>) -> u32 {
        let content: Vec<_> = ranking.map(|(region, ms, source)| (region, ms.round() as u32, source)).collect();
        let entry = (footing.basis.region, footing.locality, content);
        if let Some(known) = self.numbers.get(&entry) {
            return *known;
        }
        let number = self.all.len() as u32;
        let ranking: Ranking = entry.2.iter().map(|(region, ms, _)| (*region, *ms as f32)).collect();
        self.all.push(Stand { region: entry.0, locality: entry.1, ranking });
        self.sources.push(entry.2.iter().map(|(.., source)| *source).collect());
        self.numbers.insert(entry, number);
        number
    }

    pub fn stands(self, prefixes: Prefixes) -> Stands {
        Stands { all: self.all.into(), sources: self.sources.into(), prefixes }
    }
}

impl Ground {
    /// The stands with measurements, and the orders that are then in force. `prefixes` has the numbers of origins, `footing_of` the footing
    /// of each.
    pub fn measured(&self, prefixes: &Prefixes, footing_of: &[u32], places: &Places, fresh: &[Fresh], orders: &Orders) -> (Stands, Orders) {
        let nets = fresh.iter().enumerate().map(|(n, row)| (row.prefix, n));
        let measured = Prefixes::sweep(nets, 0, |_, n| n as u32 + 1, |row| *row);
        let mut survey = Compilation {
            ground: self,
            places,
            rows: inherited(fresh),
            fresh,
            sites: self.sites(prefixes, footing_of, places, fresh),
            before: orders,
            after: Orders::default(),
            roll: Roll::default(),
        };
        let mut unmeasured = vec![u32::MAX; self.footings.len()];
        let mut of_rows: HashMap<(u32, u32), u32, FixedState> = HashMap::default();
        let prefixes = prefixes.joined(&measured, |origin, row| {
            let footing = footing_of[origin as usize];
            match row {
                0 => {
                    let known = &mut unmeasured[footing as usize];
                    if *known == u32::MAX {
                        *known = survey.number(footing, None);
                    }
                    *known
                }
                _ => *of_rows.entry((footing, row)).or_insert_with(|| survey.number(footing, Some(row as usize - 1))),
            }
        });
        let Compilation { roll, after, .. } = survey;
        (roll.stands(prefixes), after)
    }

    /// What was measured where. The place of a long prefix is that of its first address; of a short one it says nothing.
    fn sites(&self, prefixes: &Prefixes, footing_of: &[u32], places: &Places, fresh: &[Fresh]) -> Sites {
        let mut findings = Findings::default();
        for row in fresh {
            let least = if row.prefix.addr().is_ipv4() { 16 } else { 32 };
            let (origin, _) = prefixes.find(row.prefix.network());
            let basis = self.footings[footing_of[origin as usize] as usize].basis;
            let Some(at) = standpoint(places, basis).filter(|_| row.prefix.prefix_len() >= least) else { continue };
            for (region, ms) in &row.rtt_ms {
                if let Some(to) = places.coordinates(*region) {
                    findings.add(at, *region, *ms, expected_ms(at, to));
                }
            }
        }
        findings.sites()
    }
}

/// The measurements that hold within each prefix: its own, and to further regions those of the prefixes around it, the closest first.
fn inherited(fresh: &[Fresh]) -> Vec<Vec<(RegionId, f64)>> {
    let mut rows: Vec<Vec<(RegionId, f64)>> = Vec::with_capacity(fresh.len());
    let mut open: Vec<usize> = Vec::new();
    for (n, row) in fresh.iter().enumerate() {
        // In the order of prefixes, what lies within one follows it.
        while open.pop_if(|outer| !fresh[*outer].prefix.contains(&row.prefix)).is_some() {}
        let mut all = row.rtt_ms.clone();
        if let Some(outer) = open.last() {
            let further = rows[*outer].iter().filter(|(region, _)| !row.rtt_ms.iter().any(|(r, _)| r == region));
            all.extend(further.copied().collect::<Vec<_>>());
        }
        rows.push(all);
        open.push(n);
    }
    rows
}

/// A compilation under way.
struct Compilation<'a> {
    ground: &'a Ground,
    places: &'a Places,
    fresh: &'a [Fresh],
    rows: Vec<Vec<(RegionId, f64)>>,
    sites: Sites,
    before: &'a Orders,
    after: Orders,
    roll: Roll,
}

impl Compilation<'_> {
    /// The number of the stand that clients of a footing have, in a measured prefix or in none.
    fn number(&mut self, footing: u32, row: Option<usize>) -> u32 {
        let footing_number = footing as usize;
        let footing = &self.ground.footings[footing_number];
        let stand = self.ground.stand_of[footing_number] as usize;
        let (unmeasured, sources) = (&self.ground.stands.all[stand].ranking, &self.ground.stands.sources[stand]);
        let measured = row.map_or(&[][..], |n| &self.rows[n]);
        let sites = &self.sites;
        let mut near: Option<Near> = None;
        let at = standpoint(self.places, footing.basis).filter(|_| !sites.is_empty());
        let is_distant = |source: &LatencySource| *source == LatencySource::Distance;
        if measured.is_empty() && (at.is_none() || !sources.iter().any(is_distant)) {
            let same = unmeasured.iter().zip(sources.iter()).map(|((region, ms), source)| (*region, *ms, *source));
            return self.roll.number(footing, same);
        }
        let blend = |region, expected| {
            let near = near.get_or_insert_with(|| at.map_or_else(Near::default, |at| sites.near(at)));
            sites.blend(near, region, expected)
        };
        let ranked = self.ground.tables.rank(self.places, footing.basis, measured, blend);
        let without: Vec<RegionId> = unmeasured.iter().map(|(region, _)| *region).collect();
        let key = (row.map(|n| self.fresh[n].prefix), footing.basis);
        let before = self.before.0.get(&key).map_or(without.as_slice(), |order| order);
        let ranked = settled(before, ranked);
        let order = ranked.iter().map(|ranked| ranked.region);
        if !order.clone().eq(without.iter().copied()) {
            self.after.0.insert(key, order.collect());
        }
        self.roll.number(footing, ranked.iter().map(|ranked| (ranked.region, ranked.ms as f32, ranked.source)))
    }
}

/// The order `before`, changed only where a region is better by the margin than one before it. Regions that are new come last, in the order
/// of `ranked`, and move up by the same rule.
fn settled(before: &[RegionId], ranked: Vec<Ranked>) -> Vec<Ranked> {
    let known = before.iter().filter_map(|region| ranked.iter().find(|ranked| ranked.region == *region));
    let new = ranked.iter().filter(|ranked| !before.contains(&ranked.region));
    let mut order: Vec<Ranked> = Vec::with_capacity(ranked.len());
    for next in known.chain(new) {
        // The first one that it is better than: then nothing behind that is better than it, for margins add up.
        let at = order.iter().position(|other| other.ms - next.ms >= MARGIN.0.max(MARGIN.1 * other.ms));
        order.insert(at.unwrap_or(order.len()), *next);
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Coordinates, Geo, Label, Place, Region, Timestamp};
    use crate::routing::{Measurements, Origins};

    fn label(text: &str) -> Label {
        Label::parse(text).unwrap()
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    /// Regions `a` to `d` on the equator, at 0, 10 and 20 degrees east, `d` nowhere. 10.0.0.0/8 is in `a`; databases place 20.0.0.0/8 at 1,
    /// 21.0.0.0/8 at 3 and 22.0.0.0/8 at 60 degrees east. From `a` the table says 50 ms to `b`; 10.9.0.0/16 is pinned to it with 7 ms.
    fn world() -> (Places, Geo) {
        let on_equator = |longitude| Coordinates { latitude: 0.0, longitude };
        let region = |longitude: Option<f64>| Region { coordinates: longitude.map(on_equator), azs: Vec::new(), ..Region::default() };
        let regions = [("a", Some(0.0)), ("b", Some(10.0)), ("c", Some(20.0)), ("d", None)];
        let at = |longitude| Place { coordinates: Some(on_equator(longitude)), ..Place::default() };
        let geo = Geo {
            regions: Some(regions.into_iter().map(|(name, at)| (label(name), region(at))).collect()),
            networks: vec![(net("10.0.0.0/8"), Place { region: Some(label("a")), ..Place::default() })],
            rtt_ms: [((label("a"), label("b")), 50.0)].into(),
            pins: vec![(net("10.9.0.0/16"), [(label("b"), 7.0)].into())],
            database: [(net("20.0.0.0/8"), at(1.0)), (net("21.0.0.0/8"), at(3.0)), (net("22.0.0.0/8"), at(60.0))].into(),
        };
        (Places::new(&geo, []), geo)
    }

    fn fresh(places: &Places, rows: &[(&str, &[(&str, f64)])]) -> Vec<Fresh> {
        let mut measurements = Measurements::default();
        for (prefix, means) in rows {
            means
                .iter()
                .for_each(|(region, ms)| measurements.take(Timestamp(0), net(prefix), places.region(region.as_bytes()).unwrap(), *ms));
        }
        measurements.fresh(Timestamp(0))
    }

    fn shown(origins: &Origins, places: &Places, client: &str) -> (String, u8) {
        let client = client.parse().unwrap();
        let ((stand, length), sources) = (origins.stand(client), origins.sources(client));
        assert_eq!(stand.ranking.len(), sources.len());
        let word = |((region, ms), source): (&(RegionId, f32), &LatencySource)| {
            format!("{}:{ms} {}", places.region_label(*region), source.as_str())
        };
        (stand.ranking.iter().zip(sources).map(word).collect::<Vec<_>>().join(", "), length)
    }

    #[test]
    fn the_best_source_is_taken_region_by_region() {
        let (places, geo) = world();
        let base = Origins::build(&places, &geo);
        let check = |rows: &[(&str, &[(&str, f64)])], cases: &[(&str, &str, u8)]| {
            let (origins, _) = base.measured(&places, &fresh(&places, rows), &Orders::default());
            for (client, ranking, length) in cases {
                assert_eq!(shown(&origins, &places, client), ((*ranking).to_string(), *length), "{client} with {rows:?}");
            }
        };
        let unmeasured = [
            ("10.1.2.3", "a:0 table, c:44 distance, b:50 table", 13),
            ("10.9.2.3", "a:0 table, b:7 pinned, c:44 distance", 16),
            ("20.1.2.3", "a:2 distance, b:20 distance, c:42 distance", 8),
            ("192.0.2.1", "", 1),
        ];
        check(&[], &unmeasured);
        check(
            &[("10.0.0.0/8", &[("d", 90.0), ("b", 60.0)]), ("10.9.1.0/24", &[("b", 99.0), ("d", 30.0)]), ("192.0.2.0/24", &[("d", 9.0)])],
            &[
                ("10.1.2.3", "a:0 table, c:44 distance, b:60 measured, d:90 measured", 13),
                // The pin stands above what was measured, and of measurements the closest prefix's.
                ("10.9.2.3", "a:0 table, b:7 pinned, c:44 distance, d:90 measured", 23),
                ("10.9.1.3", "a:0 table, b:7 pinned, d:30 measured, c:44 distance", 24),
                ("192.0.2.1", "d:9 measured", 24),
                ("192.0.3.1", "", 24),
                ("::ffff:192.0.2.1", "d:9 measured", 120),
                ("2001:db8::1", "", 3),
            ],
        );
        // At 1 degree east it is twice as long to b as the distance lets expect. Who is there too believes half of that, who is 2 degrees
        // farther still some, and regions of their own know better. At 60 degrees it is unbelievably short.
        check(
            &[("20.5.0.0/24", &[("b", 40.0)]), ("22.5.0.0/24", &[("b", 1.0)])],
            &[
                ("20.5.0.1", "a:2 distance, b:40 measured, c:42 distance", 24),
                ("20.6.0.1", "a:2 distance, b:30 blended, c:42 distance", 15),
                ("21.5.0.1", "a:7 distance, b:21 blended, c:38 distance", 8),
                ("22.6.0.1", "b:67 blended, c:89 distance, a:133 distance", 15),
                ("10.1.2.3", "a:0 table, c:44 distance, b:50 table", 13),
            ],
        );
        // A short prefix says nothing of any place.
        check(&[("20.0.0.0/15", &[("b", 40.0)])], &[("20.9.0.1", "a:2 distance, b:20 distance, c:42 distance", 13)]);
    }

    #[test]
    fn noise_moves_nobody_and_a_change_does() {
        let (places, geo) = world();
        let base = Origins::build(&places, &geo);
        let client = "10.1.2.0/24";
        let [a, c] = ["a", "c"].map(|name| places.region(name.as_bytes()).unwrap());
        // Noise of ±`span`, other for each region and round, and as wide as it says.
        let noise = |round: u64, region: u64, span: f64| {
            let mixed = (round * 2 + region + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            match round % 5 {
                0 => {
                    if mixed >> 63 == 1 {
                        span
                    } else {
                        -span
                    }
                }
                _ => ((mixed >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0) * span,
            }
        };
        type Series<'a> = &'a dyn Fn(u64) -> (f64, f64);
        let check = |what: &str, series: Series<'_>, expected: &[(u64, &str)]| {
            let (mut measurements, mut orders) = (Measurements::default(), Arc::new(Orders::default()));
            let mut switches = Vec::new();
            let mut first = "a".to_string();
            for round in 0..200 {
                let now = Timestamp(round * 5000);
                let (to_a, to_c) = series(round);
                measurements.take(now, net(client), a, to_a);
                measurements.take(now, net(client), c, to_c);
                let (origins, after) = base.measured(&places, &measurements.fresh(now), &orders);
                orders = Arc::new(after);
                let (stand, _) = origins.stand("10.1.2.3".parse().unwrap());
                let now_first = {
                    let first = stand.ranking.iter().map(|(region, _)| *region).find(|region| [a, c].contains(region)).unwrap();
                    places.region_label(first).to_string()
                };
                if now_first != first {
                    switches.push((round, now_first.clone()));
                    first = now_first;
                }
            }
            let switches: Vec<(u64, &str)> = switches.iter().map(|(round, name)| (*round, name.as_str())).collect();
            assert_eq!(switches, expected, "{what}");
        };
        check("equal", &|_| (50.0, 50.0), &[]);
        check("noise of one", &|round| (50.0, 50.0 + noise(round, 1, 8.0)), &[]);
        check("noise of the other", &|round| (50.0 + noise(round, 0, 8.0), 50.0), &[]);
        check("noise of the other, who is a little slower", &|round| (51.0 + noise(round, 0, 8.0), 50.0), &[]);
        check("noise of both", &|round| (50.0 + noise(round, 0, 4.9), 50.0 + noise(round, 1, 4.9)), &[]);
        check("9 ms are too little", &|_| (50.0, 41.0), &[]);
        check("10 ms are enough", &|_| (50.0, 40.0), &[(0, "c")]);
        check("of 200 ms 15 % are 30", &|_| (200.0, 171.0), &[]);
        check("and those are enough", &|_| (200.0, 170.0), &[(0, "c")]);
        let back = |round| match round {
            0..50 => (50.0, 60.0),
            50..120 => (50.0, 30.0),
            _ => (50.0, 55.0),
        };
        check("a change that stays, and one that is too small to go back", &back, &[(53, "c")]);
        let there_and_back = |round: u64| {
            let (to_a, to_c) = if (60..130).contains(&round) { (90.0, 50.0) } else { (50.0, 90.0) };
            (to_a + noise(round, 0, 8.0), to_c + noise(round, 1, 8.0))
        };
        check("a change and back, in noise", &there_and_back, &[(63, "c"), (133, "a")]);
    }

    #[test]
    fn no_region_stands_behind_one_that_it_is_better_than_by_the_margin() {
        let ranked = |text: &str| {
            let mut all: Vec<Ranked> = text
                .split_whitespace()
                .map(|word| word.split_once(':').unwrap())
                .map(|(region, ms)| Ranked {
                    region: RegionId(region.parse().unwrap()),
                    ms: ms.parse().unwrap(),
                    source: LatencySource::Distance,
                })
                .collect();
            all.sort_by(|a, b| a.ms.total_cmp(&b.ms));
            all
        };
        for (before, now, expected) in [
            ("", "1:20 2:15", "2 1"),
            ("1 2", "1:20 2:15", "1 2"),
            ("1 2 3", "1:30 2:25 3:18", "3 1 2"),
            ("1 2 3", "1:30 2:25 3:5", "3 1 2"),
            ("1 2", "1:30 2:25 3:18", "3 1 2"),
            ("1 2", "1:30 2:25 3:21", "1 2 3"),
            ("1 2 3", "3:40 2:25", "2 3"),
            ("3 2 1", "1:15 2:20 3:30", "2 1 3"),
            ("3 2 1", "1:9 2:20 3:30", "1 2 3"),
        ] {
            let before: Vec<RegionId> = before.split_whitespace().map(|n| RegionId(n.parse().unwrap())).collect();
            let order = settled(&before, ranked(now));
            let shown: Vec<String> = order.iter().map(|ranked| ranked.region.0.to_string()).collect();
            assert_eq!(shown.join(" "), expected, "{before:?} {now}");
            let regions: Vec<RegionId> = order.iter().map(|ranked| ranked.region).collect();
            assert_eq!(settled(&regions, ranked(now)), order, "settled is settled");
        }
    }

    fn crowded() -> impl Strategy<Value = IpNet> {
        let v4 = (prop::sample::select(vec![10u32, 20, 21, 22, 192]), 0u32..8, 6u8..=24);
        let v4 = v4.prop_map(|(first, low, length)| format!("{first}.{}.0.0/{length}", low * 4));
        let v6 = (0u32..16, 20u8..=56).prop_map(|(low, length)| format!("2001:db8:0:{low:x}00::/{length}"));
        let mapped = (0u8..=56).prop_map(|length| format!("::/{length}"));
        prop_oneof![6 => v4, 2 => v6, 1 => mapped].prop_map(|cidr| cidr.parse::<IpNet>().unwrap().trunc())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// Whatever was measured, all addresses of the prefix found stand alike, no longer prefix was found than needed between prefixes
        /// of the same kind, and measurements that are gone leave nothing behind.
        #[test]
        fn the_scope_of_a_stand_is_exact(
            rows in prop::collection::vec((crowded(), 0u16..4, 1u8..200), 0..12),
            earlier in prop::collection::vec((crowded(), 0u16..4, 1u8..200), 0..12),
            clients in prop::collection::vec((any::<u32>(), any::<u32>(), 0u8..5), 60),
        ) {
            let (places, geo) = world();
            let base = Origins::build(&places, &geo);
            let take = |rows: &[(IpNet, u16, u8)]| {
                let mut measurements = Measurements::default();
                rows.iter().for_each(|(net, region, ms)| measurements.take(Timestamp(0), *net, RegionId(*region), f64::from(*ms)));
                measurements.fresh(Timestamp(0))
            };
            let (_, orders) = base.measured(&places, &take(&earlier), &Orders::default());
            let (origins, after) = base.measured(&places, &take(&rows), &orders);
            let (again, _) = base.measured(&places, &take(&rows), &after);
            let (gone, nothing) = origins.measured(&places, &[], &after);
            prop_assert_eq!(nothing, Orders::default());
            for (one, two, family) in clients {
                let client: IpAddr = match family {
                    0 => std::net::Ipv4Addr::from(one).into(),
                    1 | 2 => std::net::Ipv4Addr::from([10, 20, 21, 192][one as usize % 4] << 24 | (two & 0x003f_ffff)).into(),
                    3 => std::net::Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(one % 0x2000) << 64).into(),
                    _ => std::net::Ipv6Addr::from(u128::from(one) << 28 | u128::from(two)).into(),
                };
                let (stand, length) = origins.stand(client);
                let other: IpAddr = match client {
                    IpAddr::V4(v4) => (std::net::Ipv4Addr::from(u32::from(v4) ^ (two & u32::MAX.checked_shr(length.into()).unwrap_or(0)))).into(),
                    IpAddr::V6(v6) => {
                        let noise = u128::from(two) << 96 | u128::from(one) << 64 | u128::from(two);
                        std::net::Ipv6Addr::from(u128::from(v6) ^ (noise & u128::MAX.checked_shr(length.into()).unwrap_or(0))).into()
                    }
                };
                prop_assert_eq!(origins.stand(other), (stand, length), "{} and {} share /{}", client, other, length);
                prop_assert_eq!(again.stand(client), (stand, length), "the same again is the same");
                prop_assert_eq!(gone.stand(client), base.stand(client));
            }
        }
    }
}
