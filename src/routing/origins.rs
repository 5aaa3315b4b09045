//! Where a client is: a flat table of disjoint prefixes, compiled from the operator's networks, pins and databases.
//!
//! All prefixes are sorted and swept once with a stack of those that are open; each piece of the address space between two edges has
//! one origin. Neighbouring pieces of equal origin are joined, and what results is cut into the fewest aligned prefixes. So the length of
//! the prefix found is the scope of an answer, also where nothing is known: no two clients in it have different origins.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use ipnet::IpNet;

use super::centroids::centroid;
use super::continents::continent_of;
use super::measured::Fresh;
use super::prefixes::Prefixes;
use super::ranking::{Basis, LatencySource, Point, Rankings};
use super::stands::{Footing, Ground, Orders, Roll, Stand, Stands};
use super::{LocalityId, Places, RegionId};
use crate::model::{Code, Coordinates, Geo, Place};

/// What is known of the clients of one prefix.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origin {
    /// The region the operator put it in.
    pub region: Option<RegionId>,
    /// The az the operator put it in; one of `region`.
    pub locality: Option<LocalityId>,
    /// Continent.
    pub continent: Option<Code>,
    /// Country.
    pub country: Option<Code>,
    /// Subdivision of the country.
    pub subdivision: Option<Code>,
    /// Where it is; from a database to a tenth of a degree. Where only the country is known, the middle of its people.
    pub coordinates: Option<Coordinates>,
    /// Autonomous system.
    pub asn: Option<u32>,
    /// Regions from the nearest to the farthest with the milliseconds expected; regions that cannot be ranked are left out.
    pub ranking: Arc<[(RegionId, f32)]>,
}

/// The table.
#[derive(Debug)]
pub struct Origins {
    /// What files and databases say.
    base: Arc<Base>,
    /// How clients stand by that and by what was measured: longer prefixes, for what differs elsewhere is equal here.
    stands: Arc<Stands>,
}

#[derive(Debug)]
struct Base {
    origins: Box<[Origin]>,
    /// By the numbers of `origins`.
    prefixes: Prefixes,
    /// The footing of each origin in `ground`.
    footing_of: Box<[u32]>,
    ground: Ground,
}

impl Default for Origins {
    /// Nothing is known of anybody.
    fn default() -> Origins {
        let ground = Ground { footings: vec![Footing::default()], stand_of: vec![0], ..Ground::default() };
        let stands = ground.stands.clone();
        let base = Base { origins: Box::new([Origin::default()]), prefixes: Prefixes::default(), footing_of: Box::new([0]), ground };
        Origins { base: Arc::new(base), stands }
    }
}

impl Origins {
    /// Compiles the table.
    ///
    /// Of the operator's networks the most specific one holds, field by field before the databases; of several databases, or prefixes
    /// of one that lie within each other, the more specific and then the later one, field by field. What a source says of a country or
    /// continent displaces what others say of places within another one. Of pins the most specific one holds.
    pub fn build(places: &Places, geo: &Geo) -> Origins {
        if geo.networks.is_empty() && geo.pins.is_empty() && geo.database.is_empty() {
            return Origins::default();
        }
        let mut census = Census::new(places, geo);
        let prefixes = census.sweep();
        let Census { origins, footing_of, footings, stand_of, roll, rankings, .. } = census;
        let stands = roll.stands(prefixes.renumbered(|number| stand_of[footing_of[number as usize] as usize]));
        let ground = Ground { tables: rankings.tables, footings, stand_of, stands: Arc::new(stands) };
        let stands = ground.stands.clone();
        let base = Base { origins: origins.into(), prefixes, footing_of: footing_of.into(), ground };
        Origins { base: Arc::new(base), stands }
    }

    /// The same clients with other measurements, `fresh` in the order of prefixes, and the orders of regions that are then in force. `orders`
    /// are those that were: a region passes another only if it is better by 10 ms and 15 %. `places` are those of [`Origins::build`], or
    /// were made from them.
    ///
    /// What does not depend on measurements is shared, not compiled anew.
    pub fn measured(&self, places: &Places, fresh: &[Fresh], orders: &Orders) -> (Origins, Orders) {
        let Base { prefixes, footing_of, ground, .. } = &*self.base;
        let (stands, orders) = match fresh {
            [] => (ground.stands.clone(), Orders::default()),
            _ => {
                let (stands, orders) = ground.measured(prefixes, footing_of, places, fresh, orders);
                (Arc::new(stands), orders)
            }
        };
        (Origins { base: self.base.clone(), stands }, orders)
    }

    /// Whether both were made by the same [`Origins::build`].
    pub fn is_same_build(&self, other: &Origins) -> bool {
        Arc::ptr_eq(&self.base, &other.base)
    }

    /// What is known of a client, and the prefix length for which it holds (the scope of an answer that depends on it).
    ///
    /// An IPv4-mapped address (RFC 4291 §2.5.5.2) is looked up as IPv4; its length still counts from the start of the IPv6 address.
    #[inline]
    pub fn find(&self, client: IpAddr) -> (&Origin, u8) {
        let (number, length) = self.base.prefixes.find(client);
        (&self.base.origins[number as usize], length)
    }

    /// Where a client stands among the regions, measurements included, and the prefix length for which it holds.
    #[inline]
    pub fn stand(&self, client: IpAddr) -> (&Stand, u8) {
        self.stands.find(client)
    }

    /// Where the milliseconds of a client's stand come from, region by region.
    pub fn sources(&self, client: IpAddr) -> &[LatencySource] {
        self.stands.sources(client)
    }

    /// Every prefix with what is known of its clients: those of IPv4 first, each family in the order of addresses. Together they are every
    /// address that can be asked for.
    pub fn leaves(&self) -> impl Iterator<Item = (IpNet, &Origin)> {
        self.base.prefixes.iter().map(|(net, number)| (net, &self.base.origins[number as usize]))
    }

    /// Different origins, by the numbers that [`Origins::prefixes`] has.
    pub(super) fn all(&self) -> &[Origin] {
        &self.base.origins
    }

    /// The table behind [`Origins::find`], for tables that are made from it.
    pub(super) fn prefixes(&self) -> &Prefixes {
        &self.base.prefixes
    }

    /// How many prefixes the table holds, and how many different origins.
    pub fn size(&self) -> (usize, usize) {
        (self.base.prefixes.len(), self.base.origins.len())
    }
}

/// What is said of a prefix, or follows from what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Facts {
    region: Option<RegionId>,
    locality: Option<LocalityId>,
    continent: Option<Code>,
    country: Option<Code>,
    subdivision: Option<Code>,
    point: Option<Point>,
    asn: Option<u32>,
}

impl Facts {
    fn of_network(place: &Place, places: &Places) -> Facts {
        let region = place.region.as_ref().and_then(|label| places.region(label.as_str().as_bytes()));
        let az = place.az.as_ref().and_then(|label| places.az_name(label.as_str().as_bytes()));
        let locality = region.zip(az).and_then(|(region, az)| places.locality_of(region, az));
        Facts { region, locality, point: place.coordinates.map(Point::from), ..Facts::of_client(place) }
    }

    /// Coordinates to a tenth of a degree, 11 km or 0.2 ms: no database knows a prefix's place better, and so more prefixes are alike.
    fn of_database(place: &Place) -> Facts {
        let tenth = |degrees: f64| (degrees * 10.0).round() / 10.0;
        let point = place.coordinates.map(|at| Coordinates { latitude: tenth(at.latitude), longitude: tenth(at.longitude) }.into());
        Facts { point, ..Facts::of_client(place) }
    }

    fn of_client(place: &Place) -> Facts {
        let continent = place.continent.or_else(|| place.country.and_then(continent_of));
        Facts { continent, country: place.country, subdivision: place.subdivision, asn: place.asn, ..Facts::default() }
    }

    /// These facts, and where they are silent, those of `base` that do not contradict them.
    fn over(self, base: Facts) -> Facts {
        let other = |mine: Option<Code>, its: Option<Code>| mine.is_some() && its.is_some() && mine != its;
        let elsewhere = other(self.continent, base.continent) || other(self.country, base.country);
        let base = match elsewhere {
            true => Facts { asn: base.asn, ..Facts::default() },
            false => base,
        };
        Facts {
            region: self.region.or(base.region),
            locality: self.locality.or(base.locality),
            continent: self.continent.or(base.continent),
            country: self.country.or(base.country),
            subdivision: self.subdivision.or(base.subdivision),
            point: self.point.or(base.point),
            asn: self.asn.or(base.asn),
        }
    }
}

/// What holds between two edges: all sources that cover it.
#[derive(Debug, Clone, Copy, Default)]
struct Sources {
    database: Facts,
    network: Option<u32>,
    pin: Option<u32>,
}

/// Gives numbers to origins, footings and stands.
struct Census<'a> {
    geo: &'a Geo,
    networks: Vec<Facts>,
    rankings: Rankings<'a>,
    numbers: HashMap<(Facts, Option<u32>), u32, FixedState>,
    origins: Vec<Origin>,
    /// The footing of each origin.
    footing_of: Vec<u32>,
    footing_numbers: HashMap<Footing, u32, FixedState>,
    footings: Vec<Footing>,
    /// The stand of each footing.
    stand_of: Vec<u32>,
    roll: Roll,
}

impl<'a> Census<'a> {
    fn new(places: &'a Places, geo: &'a Geo) -> Census<'a> {
        Census {
            geo,
            networks: geo.networks.iter().map(|(_, place)| Facts::of_network(place, places)).collect(),
            rankings: Rankings::new(places, geo),
            numbers: HashMap::default(),
            origins: Vec::new(),
            footing_of: Vec::new(),
            footing_numbers: HashMap::default(),
            footings: Vec::new(),
            stand_of: Vec::new(),
            roll: Roll::default(),
        }
    }

    /// All prefixes, swept into a table.
    fn sweep(&mut self) -> Prefixes {
        let geo = self.geo;
        let (first_network, first_pin) = (geo.database.len(), geo.database.len() + geo.networks.len());
        let placed = geo.database.iter().chain(&geo.networks).map(|(net, _)| *net);
        let nets = placed.chain(geo.pins.iter().map(|(net, _)| *net)).enumerate().map(|(n, net)| (net, n));
        let pins: Vec<u32> = (0..geo.pins.len() as u32).map(|n| self.rankings.tables.pin(n)).collect();
        let cover = |outer: &Sources, n: usize| match n {
            n if n < first_network => Sources { database: Facts::of_database(&geo.database[n].1).over(outer.database), ..*outer },
            n if n < first_pin => Sources { network: Some((n - first_network) as u32), ..*outer },
            _ => Sources { pin: Some(pins[n - first_pin]), ..*outer },
        };
        Prefixes::sweep(nets, Sources::default(), cover, |sources| self.number(sources))
    }

    fn number(&mut self, sources: &Sources) -> u32 {
        let facts = match sources.network {
            Some(n) => self.networks[n as usize].over(sources.database),
            None => sources.database,
        };
        let point = facts.point.or_else(|| facts.country.and_then(centroid).map(Point::from));
        let facts = Facts { point, ..facts };
        if let Some(known) = self.numbers.get(&(facts, sources.pin)) {
            return *known;
        }
        let basis = Basis { region: facts.region, point: facts.point, pin: sources.pin };
        let ranking = self.rankings.number(basis);
        let (ranking, from) = self.rankings.get(ranking);
        let footing = Footing { basis, locality: facts.locality };
        let footing = *self.footing_numbers.entry(footing).or_insert_with(|| {
            let ranked = ranking.iter().zip(from.iter()).map(|((region, ms), source)| (*region, *ms, *source));
            self.stand_of.push(self.roll.number(&footing, ranked));
            self.footings.push(footing);
            self.footings.len() as u32 - 1
        });
        let number = self.origins.len() as u32;
        self.origins.push(Origin {
            region: facts.region,
            locality: facts.locality,
            continent: facts.continent,
            country: facts.country,
            subdivision: facts.subdivision,
            coordinates: facts.point.map(Coordinates::from),
            asn: facts.asn,
            ranking: ranking.clone(),
        });
        self.footing_of.push(footing);
        self.numbers.insert((facts, sources.pin), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Label, Region};
    use proptest::prelude::*;

    fn label(text: &str) -> Label {
        Label::parse(text).unwrap()
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    /// A place from words: `FR`, `US-MA`, `EU*` (continent), `@eu` or `@eu/1` (region and az), `AS64500`, `48.85,2.35`.
    fn place(text: &str) -> Place {
        let mut place = Place::default();
        let code = |text: &str| Some(Code::parse(text).unwrap());
        for word in text.split_whitespace() {
            if let Some(asn) = word.strip_prefix("AS") {
                place.asn = Some(asn.parse().unwrap());
            } else if let Some(at) = word.strip_prefix('@') {
                let (region, az) = at.split_once('/').map_or((at, None), |(r, a)| (r, Some(label(a))));
                (place.region, place.az) = (Some(label(region)), az);
            } else if let Some((latitude, longitude)) = word.split_once(',') {
                let coordinates = Coordinates { latitude: latitude.parse().unwrap(), longitude: longitude.parse().unwrap() };
                place.coordinates = Some(coordinates);
            } else if let Some(continent) = word.strip_suffix('*') {
                place.continent = code(continent);
            } else {
                let (country, subdivision) = word.split_once('-').map_or((word, None), |(c, s)| (c, code(s)));
                (place.country, place.subdivision) = (code(country), subdivision);
            }
        }
        place
    }

    fn geo(database: &[(&str, &str)], networks: &[(&str, &str)], pins: &[(&str, &str, f64)]) -> Geo {
        let places = |list: &[(&str, &str)]| list.iter().map(|(cidr, text)| (net(cidr), place(text))).collect::<Vec<_>>();
        let at = |latitude, longitude| Region {
            coordinates: Some(Coordinates { latitude, longitude }),
            azs: vec![label("1")],
            ..Region::default()
        };
        Geo {
            regions: Some([(label("eu"), at(53.3, -6.3)), (label("us"), at(38.9, -77.4))].into()),
            networks: places(networks),
            database: places(database).into(),
            pins: pins.iter().map(|(cidr, region, ms)| (net(cidr), [(label(region), *ms)].into())).collect(),
            ..Geo::default()
        }
    }

    fn describe(places: &Places, origin: &Origin) -> String {
        let mut words: Vec<String> = [origin.continent, origin.country, origin.subdivision].iter().flatten().map(Code::to_string).collect();
        words.extend(origin.region.map(|r| format!("@{}", places.region_label(r))));
        words.extend(origin.locality.map(|l| format!("/{}", places.az_label(l))));
        words.extend(origin.coordinates.map(|at| format!("{},{}", at.latitude, at.longitude)));
        words.extend(origin.asn.map(|asn| format!("AS{asn}")));
        words.extend(origin.ranking.iter().map(|(region, ms)| format!("{}:{ms:.0}", places.region_label(*region))));
        words.join(" ")
    }

    fn check(geo: &Geo, cases: &[(&str, &str, u8)]) {
        let places = Places::new(geo, []);
        let origins = Origins::build(&places, geo);
        for (client, expected, length) in cases {
            let (origin, found) = origins.find(client.parse().unwrap());
            assert_eq!((describe(&places, origin).as_str(), found), (*expected, *length), "{client}");
        }
    }

    #[test]
    fn the_operator_goes_before_the_database_and_the_specific_before_the_general() {
        let database = [("81.0.0.0/8", "FR 48.86,2.35 AS1"), ("81.2.0.0/16", "GB AS2"), ("2001:db8::/32", "US-MA 42.36,-71.06")];
        let networks = [
            ("10.0.0.0/8", "@us"),
            ("10.1.0.0/16", "@eu/1"),
            ("10.2.0.0/16", "@eu/nowhere"),
            ("81.128.0.0/16", "@eu"),
            ("81.129.0.0/16", "CA"),
            ("81.130.0.0/16", "48.81,2.22"),
        ];
        let cases = [
            ("10.9.9.9", "@us us:0 eu:109", 13),
            ("10.1.9.9", "@eu /1 eu:0 us:109", 16),
            ("10.2.9.9", "@eu eu:0 us:109", 16),
            ("81.1.1.1", "EU FR 48.9,2.4 AS1 eu:16 us:124", 15),
            ("81.2.1.1", "EU GB 52.5,-1.5 AS2 eu:7 us:116", 16),
            ("81.128.1.1", "EU FR @eu 48.9,2.4 AS1 eu:0 us:109", 16),
            ("81.129.1.1", "NA CA 46,-79 AS1 us:16 eu:101", 16),
            ("81.130.1.1", "EU FR 48.81,2.22 AS1 eu:16 us:124", 16),
            ("192.0.2.1", "", 1),
            ("2001:db8::1", "NA US MA 42.4,-71.1 us:13 eu:96", 32),
            ("2001:db9::1", "", 32),
            ("::ffff:10.1.9.9", "@eu /1 eu:0 us:109", 112),
            ("::fffe:10.1.9.9", "", 96),
        ];
        check(&geo(&database, &networks, &[]), &cases);
    }

    #[test]
    fn pins_change_the_ranking_of_their_prefix_alone() {
        let pins = [("198.51.100.0/24", "us", 5.0), ("198.51.100.128/25", "us", 50.0)];
        let cases =
            [("198.51.100.200", "@eu eu:0 us:50", 25), ("198.51.101.1", "@eu eu:0 us:109", 24), ("198.51.100.1", "@eu eu:0 us:5", 25)];
        check(&geo(&[], &[("198.51.0.0/16", "@eu")], &pins), &cases);
    }

    #[test]
    fn databases_that_overlap_complete_each_other() {
        let city_and_asn = [("81.0.0.0/8", "FR 48.8,2.3"), ("81.1.0.0/16", "AS1"), ("82.0.0.0/8", "AS2"), ("82.1.0.0/16", "US-MA")];
        let cases = [
            ("81.1.1.1", "EU FR 48.8,2.3 AS1 eu:16 us:124", 16),
            ("82.1.1.1", "NA US MA 38,-91 AS2 us:24 eu:128", 16),
            ("82.2.1.1", "AS2", 15),
        ];
        check(&geo(&city_and_asn, &[], &[]), &cases);
    }

    #[test]
    fn siblings_of_equal_origin_are_one_prefix() {
        let database: Vec<String> = (0..256).map(|n| format!("81.2.{n}.0/24")).collect();
        let database: Vec<(&str, &str)> = database.iter().map(|cidr| (cidr.as_str(), "GB 51.5142,-0.0931")).collect();
        check(&geo(&database, &[], &[]), &[("81.2.77.1", "EU GB 51.5,-0.1 eu:9 us:118", 16)]);
        check(&Geo::default(), &[("81.2.77.1", "", 0), ("2001:db8::1", "", 0)]);
    }

    /// What the definition says of one address, without a table.
    fn expected(geo: &Geo, places: &Places, client: IpAddr) -> (Facts, Option<usize>) {
        let mut covering: Vec<(usize, &(IpNet, Place))> =
            geo.database.iter().enumerate().filter(|(_, (net, _))| net.contains(&client)).collect();
        covering.sort_by_key(|(n, (net, _))| (net.prefix_len(), *n));
        let database = covering.iter().fold(Facts::default(), |outer, (_, (_, place))| Facts::of_database(place).over(outer));
        let specific = |nets: &mut dyn Iterator<Item = &IpNet>| {
            nets.enumerate().filter(|(_, net)| net.contains(&client)).max_by_key(|(n, net)| (net.prefix_len(), *n)).map(|(n, _)| n)
        };
        let network = specific(&mut geo.networks.iter().map(|(net, _)| net));
        let facts = network.map_or(database, |n| Facts::of_network(&geo.networks[n].1, places).over(database));
        let point = facts.point.or_else(|| facts.country.and_then(centroid).map(Point::from));
        let facts = Facts { point, ..facts };
        (facts, specific(&mut geo.pins.iter().map(|(net, _)| net)))
    }

    /// Prefixes crowded together, so that they nest and touch.
    fn crowded() -> impl Strategy<Value = IpNet> {
        let v4 = (0u32..64, 24u8..=32).prop_map(|(low, length)| format!("192.0.2.{}/{length}", low * 4));
        let wide = (0u8..=8).prop_map(|length| format!("192.0.2.0/{length}"));
        let v6 = (0u32..16, 110u8..=128).prop_map(|(low, length)| format!("2001:db8::{low:x}/{length}"));
        let mapped = (0u32..8, 80u8..=98).prop_map(|(low, length)| format!("::fff{low:x}:0:0/{length}"));
        prop_oneof![4 => v4, 1 => wide, 2 => v6, 1 => mapped].prop_map(|cidr| cidr.parse::<IpNet>().unwrap().trunc())
    }

    fn some_place() -> impl Strategy<Value = Place> {
        prop::sample::select(vec!["", "FR", "US-MA", "US", "@eu", "@us/1", "EU*", "AS1", "AS2", "48.8,2.3", "FR 48.8,2.3"]).prop_map(place)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// Each address finds what the definition says, and so does every other address of the prefix that it finds.
        #[test]
        fn the_table_says_what_the_definition_says(
            database in prop::collection::vec((crowded(), some_place()), 0..12),
            networks in prop::collection::vec((crowded(), some_place()), 0..6),
            pins in prop::collection::vec((crowded(), 0u8..3), 0..4),
            clients in prop::collection::vec((any::<u32>(), any::<u32>(), 0u8..5), 40),
        ) {
            let mut geo = geo(&[], &[], &[]);
            geo.database = database.into();
            geo.networks = networks;
            geo.pins = pins.iter().map(|(net, ms)| (*net, [(label("us"), f64::from(*ms))].into())).collect();
            let places = Places::new(&geo, []);
            let origins = Origins::build(&places, &geo);
            for (one, two, family) in clients {
                let client: IpAddr = match family {
                    0 => std::net::Ipv4Addr::from(one).into(),
                    1 | 2 => std::net::Ipv4Addr::from(0xc000_0200 | (one % 512)).into(),
                    3 => std::net::Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(one % 32)).into(),
                    _ => std::net::Ipv6Addr::from(u128::from(one) << 28).into(),
                };
                let (origin, length) = origins.find(client);
                let other: IpAddr = match client {
                    IpAddr::V4(v4) => {
                        let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
                        std::net::Ipv4Addr::from(u32::from(v4) ^ (two & host)).into()
                    }
                    IpAddr::V6(v6) => {
                        let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
                        std::net::Ipv6Addr::from(u128::from(v6) ^ ((u128::from(two) << 96 | u128::from(two)) & host)).into()
                    }
                };
                prop_assert_eq!(origins.find(other), (origin, length), "{} and {} share /{}", client, other, length);
                let (stand, wide) = origins.stand(client);
                prop_assert_eq!((stand.region, stand.locality), (origin.region, origin.locality));
                let rounded: Vec<_> = origin.ranking.iter().map(|(region, ms)| (*region, ms.round())).collect();
                prop_assert_eq!(&*stand.ranking, rounded.as_slice());
                prop_assert!(wide <= length);
                if client.to_canonical() != client {
                    continue;
                }
                let (facts, pin) = expected(&geo, &places, client);
                let point = facts.point.map(Coordinates::from);
                let found = (origin.region, origin.locality, origin.continent, origin.country, origin.subdivision, origin.asn);
                prop_assert_eq!(found, (facts.region, facts.locality, facts.continent, facts.country, facts.subdivision, facts.asn));
                prop_assert_eq!(origin.coordinates, point);
                if let Some(pin) = pin {
                    let us = places.region(b"us").unwrap();
                    let ms = origin.ranking.iter().find(|(region, _)| *region == us).map(|(_, ms)| *ms);
                    prop_assert_eq!(ms, Some(f32::from(pins[pin].1)));
                }
            }
        }
    }
}
