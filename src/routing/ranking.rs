//! Rankings: for clients of one kind, the regions from the nearest to the farthest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::{Places, RegionId};
use crate::model::{Coordinates, Geo, Label};

/// Milliseconds of round trip per kilometre of great circle: light in fibre covers 200 km in a millisecond, so 0.01 ms there and
/// back; cables are up to twice as long as the great circle, and routers and queues take the rest. Measured paths between clouds' regions
/// lie between 0.012 (oceans) and 0.03 (continents).
const MS_PER_KM: f64 = 0.02;

/// The earth's mean radius in kilometres.
pub(super) const EARTH_RADIUS_KM: f64 = 6371.0;

/// The great circle between two points in kilometres (haversine).
pub(super) fn distance_km(from: Coordinates, to: Coordinates) -> f64 {
    let (a, b) = (from.latitude.to_radians(), to.latitude.to_radians());
    let half = |angle: f64| (angle / 2.0).sin().powi(2);
    let chord = half(b - a) + a.cos() * b.cos() * half((to.longitude - from.longitude).to_radians());
    2.0 * EARTH_RADIUS_KM * chord.clamp(0.0, 1.0).sqrt().asin()
}

/// What a ranking follows from. Coordinates are compared by their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Basis {
    pub region: Option<RegionId>,
    pub point: Option<Point>,
    /// A pin's number.
    pub pin: Option<u32>,
}

/// [`Coordinates`] that can be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Point(u64, u64);

impl From<Coordinates> for Point {
    fn from(at: Coordinates) -> Point {
        // −0.0 is 0.0.
        Point((at.latitude + 0.0).to_bits(), (at.longitude + 0.0).to_bits())
    }
}

impl From<Point> for Coordinates {
    fn from(point: Point) -> Coordinates {
        Coordinates { latitude: f64::from_bits(point.0), longitude: f64::from_bits(point.1) }
    }
}

/// Where the milliseconds to a region come from, the best source first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LatencySource {
    /// A pin of `latency.toml`.
    Pinned,
    /// Fresh measurements of the client's prefix.
    Measured,
    /// The RTT table of `latency.toml`, from the client's region.
    Table,
    /// The distance, corrected by what was measured in the neighbourhood.
    Blended,
    /// The distance alone.
    Distance,
}

impl LatencySource {
    /// In a word, as explain shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            LatencySource::Pinned => "pinned",
            LatencySource::Measured => "measured",
            LatencySource::Table => "table",
            LatencySource::Blended => "blended",
            LatencySource::Distance => "distance",
        }
    }
}

/// A region, the milliseconds expected, and where they come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranked {
    pub region: RegionId,
    pub ms: f64,
    pub source: LatencySource,
}

/// What `latency.toml` says, by the numbers of regions.
#[derive(Debug, Default)]
pub(super) struct Tables {
    rtt_ms: HashMap<(RegionId, RegionId), f64, FixedState>,
    pins: Vec<BTreeMap<RegionId, f64>>,
    /// Of each pin, the first one that says the same.
    alike: Vec<u32>,
}

impl Tables {
    pub fn new(places: &Places, geo: &Geo) -> Tables {
        let region = |label: &Label| places.region(label.as_str().as_bytes());
        let mut rtt_ms = HashMap::default();
        for ((from, to), ms) in &geo.rtt_ms {
            if let (Some(from), Some(to)) = (region(from), region(to)) {
                rtt_ms.insert((from, to), *ms);
            }
        }
        let pin = |row: &BTreeMap<Label, f64>| row.iter().filter_map(|(label, ms)| Some((region(label)?, *ms))).collect();
        let pins: Vec<BTreeMap<RegionId, f64>> = geo.pins.iter().map(|(_, row)| pin(row)).collect();
        let mut first = HashMap::new();
        let content = |row: &BTreeMap<RegionId, f64>| row.iter().map(|(region, ms)| (*region, ms.to_bits())).collect::<Vec<_>>();
        let alike = pins.iter().zip(0..).map(|(row, n)| *first.entry(content(row)).or_insert(n)).collect();
        Tables { rtt_ms, pins, alike }
    }

    /// One number for all pins that say the same.
    pub fn pin(&self, number: u32) -> u32 {
        self.alike.get(number as usize).copied().unwrap_or(number)
    }

    /// Regions by the milliseconds expected, of each the best source's: its pin, what was `measured` to it, the RTT table, and the
    /// distance, corrected where `blend` makes another estimate of it.
    pub fn rank(
        &self,
        places: &Places,
        basis: Basis,
        measured: &[(RegionId, f64)],
        mut blend: impl FnMut(RegionId, f64) -> Option<f64>,
    ) -> Vec<Ranked> {
        let pin = basis.pin.and_then(|n| self.pins.get(n as usize));
        let at = standpoint(places, basis);
        let mut best = |region| {
            if let Some(ms) = pin.and_then(|row| row.get(&region)) {
                return Some((*ms, LatencySource::Pinned));
            }
            if let Some((_, ms)) = measured.iter().find(|(r, _)| *r == region) {
                return Some((*ms, LatencySource::Measured));
            }
            if let Some(ms) = basis.region.and_then(|own| self.between(own, region)) {
                return Some((ms, LatencySource::Table));
            }
            let distant = expected_ms(at?, places.coordinates(region)?);
            Some(blend(region, distant).map_or((distant, LatencySource::Distance), |ms| (ms, LatencySource::Blended)))
        };
        let known = places.regions().filter_map(|region| best(region).map(|(ms, source)| Ranked { region, ms, source }));
        let mut ranking: Vec<Ranked> = known.filter(|ranked| ranked.ms.is_finite()).collect();
        ranking.sort_by(|a, b| a.ms.total_cmp(&b.ms).then_with(|| places.region_label(a.region).cmp(places.region_label(b.region))));
        ranking
    }

    /// The RTT table's word, in whatever direction it was given.
    fn between(&self, from: RegionId, to: RegionId) -> Option<f64> {
        let entry = |pair| self.rtt_ms.get(&pair).copied();
        entry((from, to)).or_else(|| entry((to, from))).or_else(|| (from == to).then_some(0.0))
    }
}

/// Where distances are measured from: the client's region, else its own place.
pub(super) fn standpoint(places: &Places, basis: Basis) -> Option<Coordinates> {
    basis.region.and_then(|own| places.coordinates(own)).or(basis.point.map(Coordinates::from))
}

/// The milliseconds that follow from the distance alone.
pub(super) fn expected_ms(from: Coordinates, to: Coordinates) -> f64 {
    distance_km(from, to) * MS_PER_KM
}

/// Rankings without measurements, each one once.
pub(super) struct Rankings<'a> {
    places: &'a Places,
    pub tables: Tables,
    by_basis: HashMap<Basis, u32, FixedState>,
    by_content: HashMap<Vec<(u16, u32, LatencySource)>, u32, FixedState>,
    all: Vec<(Ranking, Arc<[LatencySource]>)>,
}

/// Regions from the nearest to the farthest with the milliseconds expected.
pub(super) type Ranking = Arc<[(RegionId, f32)]>;

impl<'a> Rankings<'a> {
    pub fn new(places: &'a Places, geo: &Geo) -> Rankings<'a> {
        let tables = Tables::new(places, geo);
        Rankings { places, tables, by_basis: HashMap::default(), by_content: HashMap::default(), all: Vec::new() }
    }

    /// The number of the ranking that follows from `basis`; equal rankings have equal numbers.
    pub fn number(&mut self, basis: Basis) -> u32 {
        if let Some(known) = self.by_basis.get(&basis) {
            return *known;
        }
        let ranking = self.tables.rank(self.places, basis, &[], |_, _| None);
        let content = ranking.iter().map(|ranked| (ranked.region.0, (ranked.ms as f32).to_bits(), ranked.source)).collect();
        let number = *self.by_content.entry(content).or_insert_with(|| {
            let sources = ranking.iter().map(|ranked| ranked.source).collect();
            self.all.push((ranking.iter().map(|ranked| (ranked.region, ranked.ms as f32)).collect(), sources));
            self.all.len() as u32 - 1
        });
        self.by_basis.insert(basis, number);
        number
    }

    /// A ranking, and where the milliseconds of each region come from.
    pub fn get(&self, number: u32) -> &(Ranking, Arc<[LatencySource]>) {
        &self.all[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Region;

    #[test]
    fn distances_are_those_of_the_atlas() {
        let at = |latitude, longitude| Coordinates { latitude, longitude };
        let check = |from, to, km: f64| assert!((distance_km(from, to) - km).abs() < 0.01 * km.max(1.0), "{}", distance_km(from, to));
        check(at(42.36, -71.06), at(51.51, -0.13), 5265.0);
        check(at(-33.87, 151.21), at(37.77, -122.42), 11_947.0);
        check(at(0.0, 179.5), at(0.0, -179.5), 111.2);
        check(at(10.0, 20.0), at(10.0, 20.0), 0.0);
        check(at(90.0, 0.0), at(-90.0, 0.0), 20_015.0);
    }

    #[test]
    fn pins_go_before_the_table_and_the_table_before_distance() {
        let label = |text: &str| Label::parse(text).unwrap();
        let region = |longitude: Option<f64>| Region {
            coordinates: longitude.map(|longitude| Coordinates { latitude: 0.0, longitude }),
            ..Region::default()
        };
        let regions = [("a", Some(0.0)), ("b", Some(10.0)), ("c", Some(20.0)), ("d", None), ("e", None)];
        let geo = Geo {
            regions: Some(regions.into_iter().map(|(name, at)| (label(name), region(at))).collect()),
            rtt_ms: [((label("b"), label("a")), 50.0), ((label("a"), label("d")), 5.0), ((label("b"), label("b")), 1.0)].into(),
            pins: vec![("192.0.2.0/24".parse().unwrap(), [(label("a"), 3.0), (label("e"), 2.0)].into())],
            ..Geo::default()
        };
        let places = Places::new(&geo, []);
        let mut rankings = Rankings::new(&places, &geo);
        let mut check = |region: Option<&str>, longitude: Option<f64>, pin: Option<u32>, expected: &str| {
            let point = longitude.map(|longitude| Coordinates { latitude: 0.0, longitude }.into());
            let basis = Basis { region: region.map(|r| places.region(r.as_bytes()).unwrap()), point, pin };
            let number = rankings.number(basis);
            assert_eq!(rankings.number(basis), number);
            let text: Vec<String> = rankings.get(number).0.iter().map(|(r, ms)| format!("{}:{ms:.0}", places.region_label(*r))).collect();
            assert_eq!(text.join(" "), expected);
        };
        check(None, None, None, "");
        check(None, Some(12.0), None, "b:4 c:18 a:27");
        check(Some("a"), None, None, "a:0 d:5 c:44 b:50");
        check(Some("b"), Some(0.0), None, "b:1 c:22 a:50");
        check(Some("a"), None, Some(0), "e:2 a:3 d:5 c:44 b:50");
        check(None, None, Some(0), "e:2 a:3");
        check(Some("e"), Some(12.0), None, "e:0 b:4 c:18 a:27");
    }
}
