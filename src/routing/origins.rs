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

use super::continents::continent_of;
use super::prefixes::Prefixes;
use super::ranking::{Basis, Point, Rankings};
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
    /// Where it is; from a database to a tenth of a degree.
    pub coordinates: Option<Coordinates>,
    /// Autonomous system.
    pub asn: Option<u32>,
    /// Regions from the nearest to the farthest with the milliseconds expected; regions that cannot be ranked are left out.
    pub ranking: Arc<[(RegionId, f32)]>,
}

/// What `nearest` and `latency` go by: less than an [`Origin`], so that more neighbouring prefixes are alike and an answer holds for more
/// clients.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stand {
    /// The region the operator put the client in.
    pub region: Option<RegionId>,
    /// The az the operator put it in; one of `region`.
    pub locality: Option<LocalityId>,
    /// Regions from the nearest to the farthest with the milliseconds expected; regions that cannot be ranked are left out.
    pub ranking: Arc<[(RegionId, f32)]>,
}

/// The table.
#[derive(Debug)]
pub struct Origins {
    origins: Box<[Origin]>,
    /// By the numbers of `origins`.
    prefixes: Prefixes,
    stands: Box<[Stand]>,
    /// By the numbers of `stands`: longer prefixes, for what differs elsewhere is equal here.
    stand_prefixes: Prefixes,
}

impl Default for Origins {
    /// Nothing is known of anybody.
    fn default() -> Origins {
        Origins {
            origins: Box::new([Origin::default()]),
            prefixes: Prefixes::default(),
            stands: Box::new([Stand::default()]),
            stand_prefixes: Prefixes::default(),
        }
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
        let Census { origins, stands, stand_of, .. } = census;
        let stand_prefixes = prefixes.renumbered(|number| stand_of[number as usize]);
        Origins { origins: origins.into(), prefixes, stands: stands.into(), stand_prefixes }
    }

    /// What is known of a client, and the prefix length for which it holds (the scope of an answer that depends on it).
    ///
    /// An IPv4-mapped address (RFC 4291 §2.5.5.2) is looked up as IPv4; its length still counts from the start of the IPv6 address.
    #[inline]
    pub fn find(&self, client: IpAddr) -> (&Origin, u8) {
        let (number, length) = self.prefixes.find(client);
        (&self.origins[number as usize], length)
    }

    /// Where a client stands among the regions, and the prefix length for which it holds: at most that of [`Origins::find`].
    #[inline]
    pub fn stand(&self, client: IpAddr) -> (&Stand, u8) {
        let (number, length) = self.stand_prefixes.find(client);
        (&self.stands[number as usize], length)
    }

    /// Every prefix with what is known of its clients: those of IPv4 first, each family in the order of addresses. Together they are every
    /// address that can be asked for.
    pub fn leaves(&self) -> impl Iterator<Item = (IpNet, &Origin)> {
        self.prefixes.iter().map(|(net, number)| (net, &self.origins[number as usize]))
    }

    /// Different origins, by the numbers that [`Origins::prefixes`] has.
    pub(super) fn all(&self) -> &[Origin] {
        &self.origins
    }

    /// The table behind [`Origins::find`], for tables that are made from it.
    pub(super) fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// How many prefixes the table holds, and how many different origins.
    pub fn size(&self) -> (usize, usize) {
        (self.prefixes.len(), self.origins.len())
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

/// Gives numbers to origins and stands.
struct Census<'a> {
    geo: &'a Geo,
    networks: Vec<Facts>,
    rankings: Rankings<'a>,
    numbers: HashMap<(Facts, u32), u32, FixedState>,
    origins: Vec<Origin>,
    stand_numbers: HashMap<(Option<RegionId>, Option<LocalityId>, u32), u32, FixedState>,
    stands: Vec<Stand>,
    /// The stand of each origin.
    stand_of: Vec<u32>,
}

impl<'a> Census<'a> {
    fn new(places: &'a Places, geo: &'a Geo) -> Census<'a> {
        Census {
            geo,
            networks: geo.networks.iter().map(|(_, place)| Facts::of_network(place, places)).collect(),
            rankings: Rankings::new(places, geo),
            numbers: HashMap::default(),
            origins: Vec::new(),
            stand_numbers: HashMap::default(),
            stands: Vec::new(),
            stand_of: Vec::new(),
        }
    }

    /// All prefixes, swept into a table.
    fn sweep(&mut self) -> Prefixes {
        let geo = self.geo;
        let (first_network, first_pin) = (geo.database.len(), geo.database.len() + geo.networks.len());
        let placed = geo.database.iter().chain(&geo.networks).map(|(net, _)| *net);
        let nets = placed.chain(geo.pins.iter().map(|(net, _)| *net)).enumerate().map(|(n, net)| (net, n));
        let cover = |outer: &Sources, n: usize| match n {
            n if n < first_network => Sources { database: Facts::of_database(&geo.database[n].1).over(outer.database), ..*outer },
            n if n < first_pin => Sources { network: Some((n - first_network) as u32), ..*outer },
            _ => Sources { pin: Some((n - first_pin) as u32), ..*outer },
        };
        Prefixes::sweep(nets, Sources::default(), cover, |sources| self.number(sources))
    }

    fn number(&mut self, sources: &Sources) -> u32 {
        let facts = match sources.network {
            Some(n) => self.networks[n as usize].over(sources.database),
            None => sources.database,
        };
        let ranking = self.rankings.number(Basis { region: facts.region, point: facts.point, pin: sources.pin });
        if let Some(known) = self.numbers.get(&(facts, ranking)) {
            return *known;
        }
        let number = self.origins.len() as u32;
        let origin = Origin {
            region: facts.region,
            locality: facts.locality,
            continent: facts.continent,
            country: facts.country,
            subdivision: facts.subdivision,
            coordinates: facts.point.map(Coordinates::from),
            asn: facts.asn,
            ranking: self.rankings.get(ranking),
        };
        let stand = *self.stand_numbers.entry((facts.region, facts.locality, ranking)).or_insert_with(|| {
            self.stands.push(Stand { region: origin.region, locality: origin.locality, ranking: origin.ranking.clone() });
            self.stands.len() as u32 - 1
        });
        self.stand_of.push(stand);
        self.origins.push(origin);
        self.numbers.insert((facts, ranking), number);
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
            ("81.2.1.1", "EU GB AS2", 16),
            ("81.128.1.1", "EU FR @eu 48.9,2.4 AS1 eu:0 us:109", 16),
            ("81.129.1.1", "NA CA AS1", 16),
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
        let cases = [("81.1.1.1", "EU FR 48.8,2.3 AS1 eu:16 us:124", 16), ("82.1.1.1", "NA US MA AS2", 16), ("82.2.1.1", "AS2", 15)];
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
                prop_assert!((stand.region, stand.locality, &stand.ranking) == (origin.region, origin.locality, &origin.ranking));
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
