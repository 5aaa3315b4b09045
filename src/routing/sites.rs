//! The neighbourhood of clients: what was measured near by corrects what the distance lets expect.
//!
//! Cables do not follow great circles, so the expected milliseconds *e* of a distance are off, and off alike for neighbours. Each
//! measured prefix with coordinates says by how much: for a mean of *m* ms its excess is *x* = (*m* − *e*) / max(*e*, 5 ms), held between
//! −0.8 and 4 so that one odd measurement cannot rule a country. A client without measurements of its own is estimated from the five
//! measured prefixes nearest to it, if they are within 1,000 km:
//!
//! ```text
//!   estimate = e + max(e, 5 ms) · Σ wᵢ·xᵢ / (1 + Σ wᵢ)      wᵢ = (1 − dᵢ / 1000 km)²
//! ```
//!
//! The 1 is the weight of the plain estimate: a single neighbour next door moves it half of the way, five of them five sixths, and where
//! neighbours are far their weights, and so the correction, go to nothing smoothly. Prefixes at one place (a tenth of a degree) speak
//! with their mean.

use std::collections::BTreeMap;

use super::RegionId;
use super::ranking::EARTH_RADIUS_KM;
use crate::model::Coordinates;

/// How far a neighbour may be.
const REACH_KM: f64 = 1000.0;
/// So many prefixes are heard.
const NEIGHBOURS: u32 = 5;
/// So many places are looked at for them: not every place was measured to every region.
const LOOKED_AT: usize = 16;
/// Below so many milliseconds a distance says little, and excesses are counted against this.
const LEAST_MS: f64 = 5.0;
/// Least and most excess.
const EXCESS: (f64, f64) = (-0.8, 4.0);

/// Measured places, as a k-d tree of points on the unit sphere: the middle of each range divides it by one axis after the other.
#[derive(Debug, Default)]
pub(super) struct Sites(Vec<Site>);

#[derive(Debug)]
struct Site {
    at: [f64; 3],
    /// To each region, the mean excess and of how many prefixes.
    excess: Vec<(RegionId, f64, u32)>,
}

/// Collects what was measured, place by place; the places by the bits of their degrees.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<(u64, u64), Found>);

/// A place and, for each region, the sum of excesses and of how many prefixes.
type Found = (Coordinates, BTreeMap<RegionId, (f64, u32)>);

impl Findings {
    /// One prefix at a place: `measured` milliseconds to a region where `expected` follow from the distance.
    pub fn add(&mut self, at: Coordinates, region: RegionId, measured: f64, expected: f64) {
        let excess = ((measured - expected) / expected.max(LEAST_MS)).clamp(EXCESS.0, EXCESS.1);
        let (_, regions) = self.0.entry((at.latitude.to_bits(), at.longitude.to_bits())).or_insert_with(|| (at, BTreeMap::new()));
        let (sum, count) = regions.entry(region).or_default();
        *sum += excess;
        *count += 1;
    }

    pub fn sites(self) -> Sites {
        let site = |(at, regions): Found| Site {
            at: on_sphere(at),
            excess: regions.into_iter().map(|(region, (sum, count))| (region, sum / f64::from(count), count)).collect(),
        };
        let mut sites: Vec<Site> = self.0.into_values().map(site).collect();
        divide(&mut sites, 0);
        Sites(sites)
    }
}

/// The measured places near a client, nearest first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Near {
    /// Square of the chord, and the site's place in the tree.
    found: [(f64, u32); LOOKED_AT],
    count: usize,
}

impl Sites {
    /// The nearest places within reach.
    pub fn near(&self, client: Coordinates) -> Near {
        let mut near = Near::default();
        let reach = (2.0 * (REACH_KM / (2.0 * EARTH_RADIUS_KM)).sin()).powi(2);
        self.search(on_sphere(client), 0, self.0.len(), 0, reach, &mut near);
        near
    }

    /// The estimate for a region that is `expected` ms away by distance; `None`: nobody near says anything of it.
    pub fn blend(&self, near: &Near, region: RegionId, expected: f64) -> Option<f64> {
        let (mut heard, mut weights, mut sum) = (0, 0.0, 0.0);
        for (chord, n) in &near.found[..near.count] {
            let site = &self.0[*n as usize];
            let Some((_, excess, count)) = site.excess.iter().find(|(r, ..)| *r == region) else { continue };
            let distance = 2.0 * EARTH_RADIUS_KM * (chord.sqrt() / 2.0).min(1.0).asin();
            let here = (*count).min(NEIGHBOURS - heard);
            let weight = f64::from(here) * (1.0 - distance / REACH_KM).max(0.0).powi(2);
            (heard, weights, sum) = (heard + here, weights + weight, sum + weight * excess);
            if heard == NEIGHBOURS {
                break;
            }
        }
        (weights > 0.0).then(|| expected + expected.max(LEAST_MS) * sum / (1.0 + weights))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn search(&self, at: [f64; 3], from: usize, to: usize, axis: usize, reach: f64, near: &mut Near) {
        if from >= to {
            return;
        }
        let middle = from + (to - from) / 2;
        let site = &self.0[middle].at;
        near.offer(chord(at, *site), middle as u32, reach);
        let beyond = at[axis] - site[axis];
        let halves = [(from, middle), (middle + 1, to)];
        let (own, other) = if beyond < 0.0 { (halves[0], halves[1]) } else { (halves[1], halves[0]) };
        self.search(at, own.0, own.1, (axis + 1) % 3, reach, near);
        if beyond * beyond <= near.reach(reach) {
            self.search(at, other.0, other.1, (axis + 1) % 3, reach, near);
        }
    }
}

impl Near {
    /// How far a further place may be.
    fn reach(&self, reach: f64) -> f64 {
        if self.count < LOOKED_AT { reach } else { self.found[LOOKED_AT - 1].0 }
    }

    fn offer(&mut self, chord: f64, site: u32, reach: f64) {
        if chord >= reach || (self.count == LOOKED_AT && (chord, site) >= self.found[LOOKED_AT - 1]) {
            return;
        }
        let at = self.found[..self.count].partition_point(|found| *found < (chord, site));
        self.count = (self.count + 1).min(LOOKED_AT);
        self.found.copy_within(at..self.count - 1, at + 1);
        self.found[at] = (chord, site);
    }
}

fn divide(sites: &mut [Site], axis: usize) {
    if sites.len() < 2 {
        return;
    }
    let middle = sites.len() / 2;
    sites.select_nth_unstable_by(middle, |a, b| a.at[axis].total_cmp(&b.at[axis]));
    let (left, right) = sites.split_at_mut(middle);
    divide(left, (axis + 1) % 3);
    divide(&mut right[1..], (axis + 1) % 3);
}

fn on_sphere(at: Coordinates) -> [f64; 3] {
    let (latitude, longitude) = (at.latitude.to_radians(), at.longitude.to_radians());
    [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()]
}

/// The square of the chord between two points.
fn chord(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(latitude: f64, longitude: f64) -> Coordinates {
        Coordinates { latitude, longitude }
    }

    const EU: RegionId = RegionId(0);

    #[test]
    fn neighbours_correct_an_estimate_and_less_so_from_afar() {
        // Degrees east on the equator, the excess found there, and how many prefixes found it.
        let check = |found: &[(f64, f64, u32)], expected: f64, estimate: Option<f64>| {
            let mut findings = Findings::default();
            for (longitude, factor, count) in found {
                (0..*count).for_each(|_| findings.add(at(0.0, *longitude), EU, 40.0 * factor, 40.0));
            }
            let sites = findings.sites();
            let near = sites.near(at(0.0, 0.0));
            let blended = sites.blend(&near, EU, expected);
            let alike = |a: f64, b: f64| (a - b).abs() < 0.05;
            assert!(blended.zip(estimate).map_or(blended == estimate, |(a, b)| alike(a, b)), "{found:?}: {blended:?}");
            assert_eq!(sites.blend(&near, RegionId(1), expected), None);
        };
        check(&[], 40.0, None);
        check(&[(0.0, 2.0, 1)], 40.0, Some(60.0));
        check(&[(0.0, 2.0, 5)], 40.0, Some(40.0 * (1.0 + 5.0 / 6.0)));
        check(&[(0.0, 2.0, 500)], 40.0, Some(40.0 * (1.0 + 5.0 / 6.0)));
        check(&[(0.0, 1.0, 9)], 40.0, Some(40.0));
        check(&[(0.0, 2.0, 4), (0.1, 0.5, 9)], 40.0, Some(40.0 * (1.0 + 3.518 / 5.978)));
        check(&[(0.0, 100.0, 1)], 40.0, Some(40.0 * 3.0));
        check(&[(0.0, 0.001, 1)], 40.0, Some(40.0 * 0.6));
        check(&[(0.0, 2.0, 1)], 1.0, Some(3.5));
        // Half of the reach is 4.5 degrees: a quarter of the weight.
        check(&[(4.4966, 2.0, 1)], 40.0, Some(48.0));
        check(&[(8.9, 2.0, 1)], 40.0, Some(40.0));
        check(&[(9.0, 2.0, 1)], 40.0, None);
        check(&[(-170.0, 2.0, 1), (20.0, 2.0, 1)], 40.0, None);
    }

    #[test]
    fn the_tree_finds_what_looking_at_all_finds() {
        // Points all over the earth, crowded at a pole and at the date line.
        let mut state = 7u64;
        let mut random = |span: f64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64 * span - span / 2.0
        };
        let mut points: Vec<Coordinates> = (0..300).map(|_| at(random(180.0), random(360.0))).collect();
        points.extend((0..100).map(|_| at(88.0 + random(4.0), random(360.0))));
        points.extend((0..100).map(|_| at(random(10.0), 175.0 + random(9.9))));
        let mut findings = Findings::default();
        points.iter().for_each(|point| findings.add(*point, EU, 10.0, 10.0));
        let sites = findings.sites();
        for client in points.iter().copied().chain([at(90.0, 0.0), at(-90.0, 0.0), at(0.0, 180.0), at(0.0, -180.0)]) {
            let near = sites.near(client);
            let found: Vec<f64> = near.found[..near.count].iter().map(|(chord, _)| *chord).collect();
            let reach = (2.0 * (REACH_KM / (2.0 * EARTH_RADIUS_KM)).sin()).powi(2);
            let mut all: Vec<f64> = sites.0.iter().map(|site| chord(on_sphere(client), site.at)).filter(|c| *c < reach).collect();
            all.sort_by(f64::total_cmp);
            all.truncate(LOOKED_AT);
            assert_eq!(found, all, "{client:?}");
        }
    }
}
