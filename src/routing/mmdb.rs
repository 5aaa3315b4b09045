//! Reading the user's MaxMind-format database into prefixes and places.
//!
//! Known layouts: City, Country and ASN of MaxMind and DB-IP (`country.iso_code`, `location.latitude`, `autonomous_system_number` …), and
//! IPinfo's flat records (`country_code` or `country`, `lat`, `lng` or `loc`, `asn` as `AS15169` …). Which one it is follows from the
//! fields of each record, not from the database's name.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use ipnet::IpNet;
use maxminddb::{Reader, WithinOptions};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::{Code, Coordinates, Place};

/// Why a database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Not a MaxMind-format file, or a damaged one.
    #[error("not a readable MaxMind database: {0}")]
    Unreadable(String),
    /// None of the known layouts: City, Country, ASN of MaxMind, DB-IP or IPinfo.
    #[error("its records hold none of the known fields (country, continent, location, asn …); database type {0:?}")]
    Layout(String),
}

/// Reads all prefixes of a database, in order. IPv4 prefixes that an IPv6 tree holds at ::/96 come as IPv4, and only once, although
/// such trees lead to them by 6to4, Teredo and mapped addresses as well. Prefixes whose record says nothing are left out.
pub fn read_database(bytes: Vec<u8>) -> Result<Vec<(IpNet, Place)>, DatabaseError> {
    let unreadable = |e: &dyn std::fmt::Display| DatabaseError::Unreadable(e.to_string());
    let reader = Reader::from_source(bytes.as_slice()).map_err(|e| unreadable(&e))?;
    let metadata = reader.metadata();
    if !is_tree(&bytes, metadata.node_count as usize, metadata.record_size.into()) {
        return Err(DatabaseError::Unreadable("its search tree joins branches".into()));
    }
    let networks = reader.networks(WithinOptions::default()).map_err(|e| unreadable(&e))?;
    let mut places: HashMap<usize, Option<Place>, FixedState> = HashMap::default();
    let mut prefixes = Vec::new();
    for found in networks {
        let found = found.map_err(|e| unreadable(&e))?;
        let Some(offset) = found.offset() else { continue };
        let place = match places.get(&offset) {
            Some(known) => known.clone(),
            None => {
                let record: Option<Record<'_>> = found.decode().map_err(|e| unreadable(&e))?;
                let place = record.map(|r| r.place()).filter(|place| *place != Place::default());
                places.insert(offset, place.clone());
                place
            }
        };
        if let Some(place) = place {
            let network = found.network().map_err(|e| unreadable(&e))?;
            let prefix = IpNet::new(network.ip(), network.prefix()).map_err(|e| unreadable(&e))?;
            prefixes.push((prefix.trunc(), place));
        }
    }
    match prefixes.is_empty() {
        true => Err(DatabaseError::Layout(metadata.database_type.clone())),
        false => Ok(prefixes),
    }
}

/// Whether each point of the search tree has one way to it, but for the start of IPv4, where aliases lead to. A damaged file that joins
/// its branches could hold 2¹²⁸ prefixes; here it is found out by one look at each point.
fn is_tree(bytes: &[u8], points: usize, record_bits: usize) -> bool {
    let record = |point: usize, right: bool| -> Option<usize> {
        let pair = bytes.get(point * record_bits / 4..)?.get(..record_bits / 4)?;
        let number = |octets: &[u8]| octets.iter().fold(0, |number, octet| number << 8 | usize::from(*octet));
        Some(match (record_bits, right) {
            // 28 bits: the octet in the middle holds the highest four bits of either record.
            (28, false) => usize::from(pair[3] >> 4) << 24 | number(&pair[..3]),
            (28, true) => usize::from(pair[3] & 15) << 24 | number(&pair[4..]),
            (_, false) => number(&pair[..pair.len() / 2]),
            (_, true) => number(&pair[pair.len() / 2..]),
        })
    };
    let v4_start = (0..96).try_fold(0, |point, _| record(point, false).filter(|next| *next < points));
    let mut reached = vec![false; points];
    reached.iter_mut().take(1).for_each(|root| *root = true);
    (0..points).flat_map(|point| [record(point, false), record(point, true)]).flatten().all(|next| {
        let again = reached.get_mut(next).is_some_and(|reached| std::mem::replace(reached, true));
        !again || Some(next) == v4_start
    })
}

/// The fields of all known layouts.
#[derive(serde::Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Record<'a> {
    country: Item<'a>,
    country_code: Item<'a>,
    continent: Item<'a>,
    continent_code: Item<'a>,
    subdivisions: Item<'a>,
    region: Item<'a>,
    region_code: Item<'a>,
    location: Item<'a>,
    lat: Item<'a>,
    lng: Item<'a>,
    latitude: Item<'a>,
    longitude: Item<'a>,
    loc: Item<'a>,
    asn: Item<'a>,
    autonomous_system_number: Item<'a>,
}

impl Record<'_> {
    fn place(&self) -> Place {
        let code = |of: [&Item<'_>; 2], most: usize| of.into_iter().find_map(|item| item.code(most));
        let loc = self.loc.text().and_then(|text| text.split_once(','));
        let coordinates = [
            self.location.point(),
            self.lat.number().zip(self.lng.number()),
            self.latitude.number().zip(self.longitude.number()),
            loc.and_then(|(latitude, longitude)| latitude.trim().parse().ok().zip(longitude.trim().parse().ok())),
        ];
        let on_earth = |(latitude, longitude): &(f64, f64)| latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        let asn = [&self.autonomous_system_number, &self.asn].into_iter().find_map(|item| item.asn());
        Place {
            region: None,
            az: None,
            continent: code([&self.continent_code, &self.continent], 2),
            country: code([&self.country_code, &self.country], 2),
            subdivision: code([&self.region_code, &self.subdivisions], 3).or_else(|| self.region.code(3)),
            coordinates: coordinates.into_iter().flatten().find(on_earth).map(|(latitude, longitude)| Coordinates { latitude, longitude }),
            asn,
        }
    }
}

/// A field of whatever type; of maps what is of use, of lists the first.
#[derive(Default)]
enum Item<'a> {
    #[default]
    Nothing,
    Text(&'a str),
    Number(f64),
    Map {
        code: Option<&'a str>,
        latitude: Option<f64>,
        longitude: Option<f64>,
    },
}

impl<'a> Item<'a> {
    fn text(&self) -> Option<&'a str> {
        match self {
            Item::Text(text) => Some(text),
            Item::Map { code, .. } => *code,
            Item::Nothing | Item::Number(_) => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Item::Number(number) => Some(*number),
            Item::Text(text) => text.trim().parse().ok(),
            Item::Nothing | Item::Map { .. } => None,
        }
    }

    /// A code of 2 to `most` characters (a subdivision's of 1); a name such as `France` is none.
    fn code(&self, most: usize) -> Option<Code> {
        let text = self.text()?;
        let fits = if most == 2 { text.len() == 2 } else { text.len() <= most };
        Code::parse(text).ok().filter(|_| fits)
    }

    fn point(&self) -> Option<(f64, f64)> {
        match self {
            Item::Map { latitude, longitude, .. } => latitude.zip(*longitude),
            _ => None,
        }
    }

    /// `15169` or `AS15169`.
    fn asn(&self) -> Option<u32> {
        match self {
            Item::Number(number) => Some(*number as u32).filter(|asn| f64::from(*asn) == *number),
            Item::Text(text) => text.strip_prefix("AS").unwrap_or(text).parse().ok(),
            Item::Nothing | Item::Map { .. } => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Item<'a>, D::Error> {
        deserializer.deserialize_any(ItemVisitor(std::marker::PhantomData))
    }
}

struct ItemVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for ItemVisitor<'a> {
    type Value = Item<'a>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Item<'a>, E> {
        Ok(Item::Text(text))
    }

    fn visit_str<E>(self, _: &str) -> Result<Item<'a>, E> {
        Ok(Item::Nothing)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Item<'a>, E> {
        Ok(Item::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Item<'a>, E> {
        Ok(Item::Nothing)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Item<'a>, E> {
        Ok(Item::Number(number as f64))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Item<'a>, E> {
        Ok(Item::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Item<'a>, E> {
        Ok(Item::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Item<'a>, E> {
        Ok(Item::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item<'a>, A::Error> {
        let first = list.next_element()?.unwrap_or_default();
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'a>, A::Error> {
        let (mut code, mut latitude, mut longitude) = (None, None, None);
        while let Some(key) = map.next_key::<&str>()? {
            match key {
                "iso_code" => code = map.next_value::<Item<'a>>()?.text(),
                // MaxMind's continents have a `code` where countries have an `iso_code`.
                "code" => code = code.or(map.next_value::<Item<'a>>()?.text()),
                "latitude" => latitude = map.next_value::<Item<'a>>()?.number(),
                "longitude" => longitude = map.next_value::<Item<'a>>()?.number(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Item::Map { code, latitude, longitude })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::net::IpAddr;

    /// A record of the search tree while a database is written.
    #[derive(Clone, Copy, PartialEq)]
    enum Branch {
        Empty,
        Inner(usize),
        Data(usize),
    }

    /// Writes a database in MaxMind's format 2.0: a search tree with records of `bits` bits, the data, and metadata.
    fn write(version: u16, bits: usize, records: &[(&str, Value)], aliases: &[(&str, &str)]) -> Vec<u8> {
        let mut tree = vec![[Branch::Empty; 2]];
        let mut data = Vec::new();
        for (cidr, record) in records {
            let offset = data.len();
            encode(record, &mut data);
            grow(&mut tree, &path(version, cidr), Branch::Data(offset));
        }
        for (alias, original) in aliases {
            let mut at = Branch::Inner(0);
            for bit in path(version, original) {
                let Branch::Inner(n) = at else { break };
                at = tree[n][bit];
            }
            grow(&mut tree, &path(version, alias), at);
        }
        let mut bytes = Vec::new();
        for pair in &tree {
            let number = |branch: Branch| match branch {
                Branch::Empty => tree.len() as u32,
                Branch::Inner(n) => n as u32,
                Branch::Data(offset) => (tree.len() + 16 + offset) as u32,
            };
            let [left, right] = [number(pair[0]).to_be_bytes(), number(pair[1]).to_be_bytes()];
            match bits {
                24 => bytes.extend([&left[1..], &right[1..]].concat()),
                28 => bytes.extend([&left[1..], &[left[0] << 4 | right[0]], &right[1..]].concat()),
                _ => bytes.extend([left, right].concat()),
            }
        }
        bytes.extend([0; 16]);
        bytes.extend(&data);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        let metadata = json!({
            "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_700_000_000u64, "database_type": "Test",
            "description": {}, "ip_version": version, "languages": [], "node_count": tree.len(), "record_size": bits,
        });
        encode(&metadata, &mut bytes);
        bytes
    }

    fn path(version: u16, cidr: &str) -> Vec<usize> {
        let net: IpNet = cidr.parse().unwrap();
        let (address, length, bits) = match net.addr() {
            IpAddr::V4(v4) if version == 4 => (u128::from(u32::from(v4)), net.prefix_len(), 32),
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), 96 + net.prefix_len(), 128),
            IpAddr::V6(v6) => (u128::from(v6), net.prefix_len(), 128),
        };
        (0..length).map(|n| (address >> (bits - 1 - n) & 1) as usize).collect()
    }

    fn grow(tree: &mut Vec<[Branch; 2]>, path: &[usize], end: Branch) {
        let mut at = 0;
        let (last, inner) = path.split_last().unwrap();
        for bit in inner {
            at = match tree[at][*bit] {
                Branch::Inner(next) => next,
                _ => {
                    tree.push([Branch::Empty; 2]);
                    let next = tree.len() - 1;
                    tree[at][*bit] = Branch::Inner(next);
                    next
                }
            };
        }
        tree[at][*last] = end;
    }

    /// MaxMind DB data section: a control octet of type and size, further octets of either, the value.
    fn encode(value: &Value, out: &mut Vec<u8>) {
        let mut control = |kind: u8, size: usize| {
            let (low, more) = if size < 29 { (size as u8, None) } else { (29, Some((size - 29) as u8)) };
            match kind {
                1..8 => out.push(kind << 5 | low),
                _ => out.extend([low, kind - 7]),
            }
            out.extend(more);
        };
        match value {
            Value::String(text) => {
                control(2, text.len());
                out.extend(text.as_bytes());
            }
            Value::Number(number) if number.is_u64() => {
                control(6, 4);
                out.extend(u32::try_from(number.as_u64().unwrap()).unwrap().to_be_bytes());
            }
            Value::Number(number) => {
                control(3, 8);
                out.extend(number.as_f64().unwrap().to_be_bytes());
            }
            Value::Bool(yes) => control(14, usize::from(*yes)),
            Value::Array(items) => {
                control(11, items.len());
                items.iter().for_each(|item| encode(item, out));
            }
            Value::Object(fields) => {
                control(7, fields.len());
                for (key, value) in fields {
                    encode(&Value::String(key.clone()), out);
                    // Whole numbers are of 32 bits, but in the metadata each has a type of its own.
                    match (key.as_str(), value.as_u64()) {
                        ("build_epoch", Some(number)) => out.extend([&[8, 2][..], &number.to_be_bytes()].concat()),
                        ("ip_version" | "record_size" | "binary_format_major_version" | "binary_format_minor_version", Some(number)) => {
                            out.extend([&[5 << 5 | 2][..], &(number as u16).to_be_bytes()].concat());
                        }
                        _ => encode(value, out),
                    }
                }
            }
            Value::Null => unreachable!("the format has no null"),
        }
    }

    /// `192.0.2.0/24 NA/US-MA 42.3,-71.0 AS1`, with `.` for what is unknown.
    fn text((net, place): &(IpNet, Place)) -> String {
        let code = |code: &Option<Code>| code.map_or(".".into(), |c| c.to_string());
        let at = place.coordinates.map_or(".".into(), |at| format!("{},{}", at.latitude, at.longitude));
        let asn = place.asn.map_or(".".into(), |asn| format!("AS{asn}"));
        format!("{net} {}/{}-{} {at} {asn}", code(&place.continent), code(&place.country), code(&place.subdivision))
    }

    fn read(bytes: Vec<u8>) -> Vec<String> {
        read_database(bytes).unwrap().iter().map(text).collect()
    }

    #[test]
    fn fields_of_all_layouts_are_known() {
        let check = |record: Value, expected: &str| {
            let expected = if expected.is_empty() { vec![] } else { vec![format!("192.0.2.0/24 {expected}")] };
            let kept = json!({"asn": 7});
            let found = read(write(4, 24, &[("192.0.2.0/24", record.clone()), ("198.51.100.0/24", kept)], &[]));
            assert_eq!(found[..found.len() - 1], expected, "{record}");
        };
        let city = json!({
            "city": {"names": {"en": "Boston", "de": "Boston"}}, "continent": {"code": "NA", "geoname_id": 6_255_149},
            "country": {"iso_code": "US", "is_in_european_union": false}, "registered_country": {"iso_code": "GB"},
            "location": {"latitude": 42.3562, "longitude": -71.0631, "accuracy_radius": 20, "time_zone": "America/New_York"},
            "subdivisions": [{"iso_code": "MA", "names": {"en": "Massachusetts"}}, {"iso_code": "XX"}],
            "traits": {"is_anycast": true},
        });
        check(city, "NA/US-MA 42.3562,-71.0631 .");
        check(json!({"country": {"iso_code": "FR"}, "continent": {"code": "EU"}}), "EU/FR-. . .");
        check(json!({"autonomous_system_number": 64_500, "autonomous_system_organization": "Example"}), "./.-. . AS64500");
        // DB-IP's free edition names subdivisions without a code.
        check(json!({"country": {"iso_code": "DE"}, "subdivisions": [{"names": {"en": "Hesse"}}]}), "./DE-. . .");
        // IPinfo.
        let lite = json!({"asn": "AS15169", "as_name": "x", "country": "France", "country_code": "FR", "continent": "Europe", "continent_code": "EU"});
        check(lite, "EU/FR-. . AS15169");
        check(json!({"country": "US", "region": "California", "lat": "37.4", "lng": "-122.1"}), "./US-. 37.4,-122.1 .");
        check(json!({"country": "US", "region": "CA", "loc": "37.4,-122.1"}), "./US-CA 37.4,-122.1 .");
        check(
            json!({"country": "US", "region": "California", "region_code": "CA", "latitude": 37.4, "longitude": -122.1}),
            "./US-CA 37.4,-122.1 .",
        );
        // What cannot be is left out, and a record that says nothing with it.
        check(json!({"location": {"latitude": 91.0, "longitude": 0.0}, "country": "Atlantis", "asn": "none"}), "");
        check(json!({}), "");
    }

    #[test]
    fn trees_of_all_sizes_are_read_and_aliases_once() {
        let records = [
            ("192.0.2.0/24", json!({"country_code": "FR"})),
            ("192.0.2.128/25", json!({"country_code": "DE"})),
            ("2001:db8::/32", json!({"country_code": "US"})),
        ];
        let expected_v4 = ["192.0.2.0/25 ./FR-. . .", "192.0.2.128/25 ./DE-. . ."];
        let halves = [("192.0.2.0/25", records[0].1.clone()), records[1].clone()];
        for bits in [24, 28, 32] {
            assert_eq!(read(write(4, bits, &halves, &[])), expected_v4);
            let both = [&halves[..], &records[2..]].concat();
            let aliases = [("::ffff:0:0/96", "::/96"), ("2002::/16", "::/96"), ("2001::/32", "::/96")];
            let found = read(write(6, bits, &both, &aliases));
            assert_eq!(found, [&expected_v4[..], &["2001:db8::/32 ./US-. . ."]].concat());
        }
    }

    #[test]
    fn what_is_no_database_is_refused_and_damage_never_panics() {
        assert!(matches!(read_database(Vec::new()), Err(DatabaseError::Unreadable(_))));
        assert!(matches!(read_database(b"no database".to_vec()), Err(DatabaseError::Unreadable(_))));
        let unknown = write(4, 24, &[("192.0.2.0/24", json!({"company": "Example"}))], &[]);
        assert!(matches!(read_database(unknown), Err(DatabaseError::Layout(name)) if name == "Test"));
        let whole = write(6, 28, &[("192.0.2.0/24", json!({"country_code": "FR", "lat": 1.5, "lng": 2.5}))], &[("2002::/16", "::/96")]);
        for at in 0..whole.len() {
            let _ = read_database(whole[..at].to_vec());
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                let _ = read_database(damaged);
            }
        }
    }

    #[test]
    fn a_tree_that_joins_its_branches_ends() {
        // 100 points, each leading to the next on both sides: 2¹⁰⁰ prefixes.
        let mut bytes = Vec::new();
        for n in 1..=100u32 {
            bytes.extend([n.to_be_bytes(), n.to_be_bytes()].concat());
        }
        let tail = write(6, 32, &[("::/1", json!({"asn": 1}))], &[]);
        let at = tail.windows(10).position(|w| w == b"node_count").unwrap();
        let mut tail = tail[8..].to_vec();
        // The count follows the key: an octet of control, four of value.
        tail[at - 8 + 10 + 1 + 3] = 100;
        bytes.extend(tail);
        assert!(matches!(read_database(bytes), Err(DatabaseError::Unreadable(why)) if why.contains("joins")));
    }
}
