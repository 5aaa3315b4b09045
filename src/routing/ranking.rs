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
const EARTH_RADIUS_KM: f64 = 6371.0;

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

type Ranking = Arc<[(RegionId, f32)]>;

/// Makes rankings, each one once.
pub(super) struct Rankings<'a> {
    places: &'a Places,
    rtt_ms: HashMap<(RegionId, RegionId), f64>,
    pins: Vec<BTreeMap<RegionId, f64>>,
    by_basis: HashMap<Basis, u32, FixedState>,
    by_content: HashMap<Vec<(u16, u32)>, u32, FixedState>,
    all: Vec<Ranking>,
}

impl<'a> Rankings<'a> {
    pub fn new(places: &'a Places, geo: &Geo) -> Rankings<'a> {
        let region = |label: &Label| places.region(label.as_str().as_bytes());
        let mut rtt_ms = HashMap::new();
        for ((from, to), ms) in &geo.rtt_ms {
            if let (Some(from), Some(to)) = (region(from), region(to)) {
                rtt_ms.insert((from, to), *ms);
            }
        }
        let pins = geo.pins.iter().map(|(_, row)| row.iter().filter_map(|(label, ms)| Some((region(label)?, *ms))).collect()).collect();
        Rankings { places, rtt_ms, pins, by_basis: HashMap::default(), by_content: HashMap::default(), all: Vec::new() }
    }

    /// The number of the ranking that follows from `basis`; equal rankings have equal numbers.
    pub fn number(&mut self, basis: Basis) -> u32 {
        if let Some(known) = self.by_basis.get(&basis) {
            return *known;
        }
        let ranking = self.rank(basis);
        let content = ranking.iter().map(|(region, ms)| (region.0, ms.to_bits())).collect();
        let number = *self.by_content.entry(content).or_insert_with(|| {
            self.all.push(ranking.into());
            self.all.len() as u32 - 1
        });
        self.by_basis.insert(basis, number);
        number
    }

    pub fn get(&self, number: u32) -> Ranking {
        self.all[number as usize].clone()
    }

    fn rank(&self, basis: Basis) -> Vec<(RegionId, f32)> {
        let pin = basis.pin.and_then(|n| self.pins.get(n as usize));
        let at = basis.region.and_then(|own| self.places.coordinates(own)).or(basis.point.map(Coordinates::from));
        let mut ranking: Vec<(RegionId, f64)> = self
            .places
            .regions()
            .filter_map(|region| {
                let pinned = pin.and_then(|row| row.get(&region)).copied();
                let measured = || basis.region.and_then(|own| self.measured(own, region));
                let distant = || Some(distance_km(at?, self.places.coordinates(region)?) * MS_PER_KM);
                Some((region, pinned.or_else(measured).or_else(distant).filter(|ms| ms.is_finite())?))
            })
            .collect();
        ranking.sort_by(|(a, near), (b, far)| {
            near.total_cmp(far).then_with(|| self.places.region_label(*a).cmp(self.places.region_label(*b)))
        });
        ranking.into_iter().map(|(region, ms)| (region, ms as f32)).collect()
    }

    /// The RTT table's word, in whatever direction it was given.
    fn measured(&self, from: RegionId, to: RegionId) -> Option<f64> {
        let entry = |pair| self.rtt_ms.get(&pair).copied();
        entry((from, to)).or_else(|| entry((to, from))).or_else(|| (from == to).then_some(0.0))
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
            let text: Vec<String> = rankings.get(number).iter().map(|(r, ms)| format!("{}:{ms:.0}", places.region_label(*r))).collect();
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
