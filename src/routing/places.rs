//! Regions and azs by small numbers, so that a decision compares integers.

use crate::model::{Coordinates, Geo, Goal, Label, Locality, Policy};

/// A region's number within one [`Places`]; stable when places are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub u16);

/// A locality's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalityId(pub u16);

/// The number of an az's name: azs of two regions may bear the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AzName(pub u16);

/// All regions and azs.
///
/// Numbers are only ever added: what was compiled against these places holds for all places made from them by [`Places::with`]
/// and [`Places::add_named`]. At most 65,535 regions, az names and localities each have a number; those beyond are not taken in.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// By [`RegionId`].
    regions: Vec<Region>,
    /// By [`AzName`].
    az_names: Vec<Label>,
    /// By [`LocalityId`].
    localities: Vec<(RegionId, AzName)>,
    /// Numbers in the order of labels, for binary search.
    regions_sorted: Vec<RegionId>,
    az_names_sorted: Vec<AzName>,
    localities_sorted: Vec<LocalityId>,
    /// `geo/regions.toml` exists: other regions are mistakes.
    closed: bool,
}

#[derive(Debug, Clone)]
struct Region {
    label: Label,
    coordinates: Option<Coordinates>,
    /// Its azs are declared: others are mistakes.
    closed: bool,
}

/// Most numbers of a kind.
const MOST: usize = u16::MAX as usize;

impl Places {
    /// The regions and azs that `geo` declares, in its order, and then `used`, made on use.
    ///
    /// Where regions are made on use, those that the RTT table, the pins and the networks name come first, so that rankings that
    /// [`super::Origins`] made for these places need no second look when an instance registers in one of them.
    pub fn new(geo: &Geo, used: impl IntoIterator<Item = Locality>) -> Places {
        let mut places = Places::default();
        places.take(geo);
        for locality in used {
            places.add(&locality);
        }
        places
    }

    /// These places under new geo data: every number stays, new places are added behind, and what is declared is taken anew.
    pub fn reload(&self, geo: &Geo) -> Places {
        let mut places = self.clone();
        for region in &mut places.regions {
            (region.coordinates, region.closed) = (None, false);
        }
        places.take(geo);
        places
    }

    fn take(&mut self, geo: &Geo) {
        self.closed = geo.regions.is_some();
        for (label, region) in geo.regions.iter().flatten() {
            let Some(number) = self.add_region(label) else { break };
            self.regions[usize::from(number.0)].coordinates = region.coordinates;
            for az in &region.azs {
                self.add_locality(number, az);
            }
            self.regions[usize::from(number.0)].closed = !region.azs.is_empty();
        }
        if !self.closed {
            let measured = geo.rtt_ms.keys().flat_map(|(from, to)| [from, to]);
            let pinned = geo.pins.iter().flat_map(|(_, row)| row.keys());
            for label in measured.chain(pinned) {
                self.add_region(label);
            }
        }
        for (_, place) in &geo.networks {
            let Some(label) = &place.region else { continue };
            let known = if self.closed { self.region(label.as_str().as_bytes()) } else { self.add_region(label) };
            if let (Some(region), Some(az)) = (known, &place.az)
                && !self.regions[usize::from(region.0)].closed
            {
                self.add_locality(region, az);
            }
        }
    }

    /// These places and one more, where it is new. Existing numbers stay.
    pub fn with(&self, locality: &Locality) -> Places {
        let mut places = self.clone();
        places.add(locality);
        places
    }

    /// Takes in the regions and az names that a policy speaks of, where they are made on use, so that the policy compiles now and
    /// holds when the first instance registers there. Declared places are never added to: there an unknown name is a mistake.
    pub fn add_named(&mut self, policy: &Policy) {
        for branch in &policy.branches {
            if let (Some(region), false) = (&branch.region, self.closed) {
                self.add_region(region);
            }
            match &branch.goal {
                Goal::Policy(below) => self.add_named(below),
                Goal::Instances { az: Some(az), .. } if !self.azs_closed() => {
                    self.add_az_name(az);
                }
                Goal::Instances { .. } | Goal::Records(_) => {}
            }
        }
    }

    /// Whether [`Places::add_named`] would find nothing new.
    pub fn has_named(&self, policy: &Policy) -> bool {
        policy.branches.iter().all(|branch| {
            branch.region.as_ref().is_none_or(|region| self.closed || self.region(region.as_str().as_bytes()).is_some())
                && match &branch.goal {
                    Goal::Policy(below) => self.has_named(below),
                    Goal::Instances { az: Some(az), .. } => self.azs_closed() || self.az_name(az.as_str().as_bytes()).is_some(),
                    Goal::Instances { .. } | Goal::Records(_) => true,
                }
        })
    }

    /// Whether regions are declared, so that any other region is a mistake.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether all azs of all regions are declared, so that any other az is a mistake.
    pub fn azs_closed(&self) -> bool {
        self.closed && self.regions.iter().all(|r| r.closed)
    }

    /// The number of a region, by its lower-case label.
    pub fn region(&self, label: &[u8]) -> Option<RegionId> {
        let order = self.regions_sorted.binary_search_by(|r| self.region_label(*r).as_str().as_bytes().cmp(label));
        order.ok().map(|n| self.regions_sorted[n])
    }

    /// The number of an az's name, by its lower-case label.
    pub fn az_name(&self, label: &[u8]) -> Option<AzName> {
        let order = self.az_names_sorted.binary_search_by(|a| self.az_names[usize::from(a.0)].as_str().as_bytes().cmp(label));
        order.ok().map(|n| self.az_names_sorted[n])
    }

    /// The number of a locality.
    pub fn locality(&self, locality: &Locality) -> Option<LocalityId> {
        self.locality_of(self.region(locality.region.as_str().as_bytes())?, self.az_name(locality.az.as_str().as_bytes())?)
    }

    /// The number of the locality that has that region and az name.
    pub fn locality_of(&self, region: RegionId, az: AzName) -> Option<LocalityId> {
        let order = self.localities_sorted.binary_search_by_key(&(region, az), |l| self.localities[usize::from(l.0)]);
        order.ok().map(|n| self.localities_sorted[n])
    }

    /// A region's name.
    pub fn region_label(&self, region: RegionId) -> &Label {
        &self.regions[usize::from(region.0)].label
    }

    /// Where a region is, as far as it was declared.
    pub fn coordinates(&self, region: RegionId) -> Option<Coordinates> {
        self.regions[usize::from(region.0)].coordinates
    }

    /// A locality's region.
    pub fn region_of(&self, locality: LocalityId) -> RegionId {
        self.localities[usize::from(locality.0)].0
    }

    /// A locality's az name.
    pub fn az_name_of(&self, locality: LocalityId) -> AzName {
        self.localities[usize::from(locality.0)].1
    }

    /// A locality's az label.
    pub fn az_label(&self, locality: LocalityId) -> &Label {
        &self.az_names[usize::from(self.az_name_of(locality).0)]
    }

    /// The label of an az name.
    pub fn az_name_label(&self, az: AzName) -> &Label {
        &self.az_names[usize::from(az.0)]
    }

    /// All localities, in the order of their numbers.
    pub fn localities(&self) -> impl Iterator<Item = LocalityId> + '_ {
        (0..self.localities.len()).map(|n| LocalityId(n as u16))
    }

    /// All regions, in the order of their numbers.
    pub fn regions(&self) -> impl Iterator<Item = RegionId> + '_ {
        (0..self.regions.len()).map(|n| RegionId(n as u16))
    }

    fn add(&mut self, locality: &Locality) {
        if let Some(region) = self.add_region(&locality.region) {
            self.add_locality(region, &locality.az);
        }
    }

    fn add_region(&mut self, label: &Label) -> Option<RegionId> {
        let regions = &self.regions;
        match self.regions_sorted.binary_search_by(|r| regions[usize::from(r.0)].label.cmp(label)) {
            Ok(at) => Some(self.regions_sorted[at]),
            Err(at) => {
                let number = RegionId(free_number(self.regions.len())?);
                self.regions.push(Region { label: label.clone(), coordinates: None, closed: false });
                self.regions_sorted.insert(at, number);
                Some(number)
            }
        }
    }

    fn add_az_name(&mut self, label: &Label) -> Option<AzName> {
        let names = &self.az_names;
        match self.az_names_sorted.binary_search_by(|a| names[usize::from(a.0)].cmp(label)) {
            Ok(at) => Some(self.az_names_sorted[at]),
            Err(at) => {
                let number = AzName(free_number(self.az_names.len())?);
                self.az_names.push(label.clone());
                self.az_names_sorted.insert(at, number);
                Some(number)
            }
        }
    }

    fn add_locality(&mut self, region: RegionId, az: &Label) {
        let Some(az) = self.add_az_name(az) else { return };
        let localities = &self.localities;
        let order = self.localities_sorted.binary_search_by_key(&(region, az), |l| localities[usize::from(l.0)]);
        if let (Err(at), Some(number)) = (order, free_number(self.localities.len())) {
            self.localities.push((region, az));
            self.localities_sorted.insert(at, LocalityId(number));
        }
    }
}

fn free_number(taken: usize) -> Option<u16> {
    (taken < MOST).then_some(taken as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Place, Region as DeclaredRegion};

    fn label(text: &str) -> Label {
        Label::parse(text).unwrap()
    }

    fn locality(region: &str, az: &str) -> Locality {
        Locality { region: label(region), az: label(az) }
    }

    #[test]
    fn numbers_stay_when_places_are_added() {
        let places = Places::new(&Geo::default(), [locality("m", "1"), locality("z", "1"), locality("m", "2")]);
        let grown = places.with(&locality("a", "1")).with(&locality("m", "1"));
        for (region, az) in [("m", "1"), ("z", "1"), ("m", "2")] {
            let number = places.locality(&locality(region, az)).unwrap();
            assert_eq!(grown.locality(&locality(region, az)), Some(number));
            assert_eq!(grown.region_label(grown.region_of(number)), &label(region));
            assert_eq!(grown.az_label(number), &label(az));
        }
        assert_eq!(grown.regions().count(), 3);
        assert_eq!(grown.localities().count(), 4);
        assert_eq!(grown.region(b"a"), Some(RegionId(2)));
        assert_eq!(places.region(b"a"), None);
        assert_eq!(places.az_name(b"1"), Some(AzName(0)), "one name for the azs of two regions");
    }

    #[test]
    fn declared_places_are_closed_and_others_are_made_on_use() {
        let declared =
            |azs: &[&str]| DeclaredRegion { coordinates: None, azs: azs.iter().map(|a| label(a)).collect(), ..DeclaredRegion::default() };
        let network = |region: &str, az: &str| {
            let place = Place { region: Some(label(region)), az: Some(label(az)), ..Place::default() };
            ("10.0.0.0/8".parse().unwrap(), place)
        };
        let geo = Geo {
            regions: Some([(label("b"), declared(&["1"])), (label("a"), declared(&[]))].into()),
            networks: vec![network("b", "9"), network("a", "9"), network("c", "9")],
            rtt_ms: [((label("b"), label("x")), 1.0)].into(),
            ..Geo::default()
        };
        let closed = Places::new(&geo, []);
        assert!(closed.is_closed() && !closed.azs_closed(), "region a makes its azs on use");
        assert_eq!(closed.regions().map(|r| closed.region_label(r).to_string()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(closed.locality(&locality("b", "9")), None);
        assert!(closed.locality(&locality("a", "9")).is_some());
        let open = Places::new(&Geo { regions: None, ..geo }, []);
        assert_eq!(open.regions().map(|r| open.region_label(r).to_string()).collect::<Vec<_>>(), ["b", "x", "a", "c"]);
    }
}
