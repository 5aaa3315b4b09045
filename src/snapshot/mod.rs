//! Floor 2: the immutable, precompiled world that one query sees, and how it is updated and published.
//!
//! A [`Snapshot`] shares everything that an update leaves alone: a health change moves the instances that turned within their service
//! ([`Snapshot::restand`]) and copies the way to it (see `directory`), not the world.

mod ahead;
mod directory;
mod publish;
mod services;
mod signatures;
mod unsigned;
mod zones;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use ahead::Ahead;
use directory::Directory;
pub use publish::Publisher;
pub use services::{CompiledService, InstanceView, ServiceView, SrvParts, TurnedView};
pub use signatures::{Missing, Sample, SetKey, Shelf, Signatures, Signed};
pub use unsigned::Unsigned;
use zones::Apexes;
pub use zones::{
    AnswerTtl, Beside, CompiledZone, Delegation, FIXED, Hashes, LeafRecords, Led, Lookup, NamePolicy, Owner, Proofs, RrSet, Signer,
    ZoneError, ZonePatch,
};

use crate::codec::NameBuf;
use crate::codec::code::rtype;
use crate::model::{DnsSettings, Generation, Geo, Label, Locality, Name, Out, Policy, Settings, Share, Zone};
use crate::routing::{Against, LocalityId, Origins, Places, Pool, ServiceId, Views, World};

/// The world as one query sees it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its number.
    pub generation: Generation,
    /// Settings of answers: payload size, CHAOS texts.
    pub dns: Arc<DnsSettings>,
    /// Regions and azs.
    pub places: Arc<Places>,
    /// Where clients are.
    pub origins: Arc<Origins>,
    /// How policies tell clients apart, each way once.
    views: Views,
    zones: Arc<Apexes>,
    services_zone: Option<Arc<CompiledZone>>,
    /// Some zone has more names than the processor's caches hold.
    vast_zones: bool,
    /// Apexes of zones that answer nobody, and why; `None`: there are none.
    unfit: Option<Arc<Unfits>>,
    directory: Directory,
    drains: Arc<Drains>,
    /// By locality number: whether it or its region is drained.
    drained: Arc<[Out]>,
    /// Whether all of them are in everybody's answers, and stay there.
    serving: bool,
    /// Signatures that were made: the same in all snapshots that come of one another.
    signatures: Arc<Signatures>,
}

/// What is drained by region or az, by name.
#[derive(Debug, Default)]
struct Drains {
    regions: BTreeMap<Label, Out>,
    azs: BTreeMap<Locality, Out>,
}

/// One change to a snapshot.
#[derive(Debug)]
pub enum Update<'a> {
    /// A service and its instances as they now are; `None`: it is gone.
    Service(&'a Label, Option<ServiceView<'a>>),
    /// A service that [`Snapshot::restand`] made of the one that there is, in its slot.
    Turned(ServiceId, Arc<CompiledService>),
    /// Everything that is drained by region or az.
    Drained {
        /// Regions.
        regions: &'a BTreeMap<Label, Out>,
        /// Azs.
        azs: &'a BTreeMap<Locality, Out>,
    },
    /// All zones.
    Zones(&'a [Zone]),
    /// All zones, some of which are not as their files say.
    Served(&'a [Cow<'a, Zone>]),
    /// A zone that is there already, with the same policies and other records, or one that is new and has none.
    Zone(&'a Zone),
    /// The same, compiled by [`Snapshot::compile_zone`].
    Compiled(Arc<CompiledZone>),
    /// Zones that answer nobody, by apex, and why: of those that are copied from other servers.
    Unfit(&'a BTreeMap<Name, Unfit>),
    /// By how much the serial of a zone moves.
    Raised(&'a Name, u32),
    /// Everything under `geo/`. What was measured is to be compiled anew.
    Geo(&'a Geo),
    /// How clients stand by what was measured; made from the origins that this snapshot has, else it is left out.
    Measured(Arc<Origins>),
    /// Settings of answers.
    Dns(&'a DnsSettings),
}

impl Snapshot {
    /// A world without zones and services.
    pub fn empty() -> Snapshot {
        let places = Places::new(&Geo::default(), []);
        Snapshot {
            generation: Generation(0),
            dns: Arc::new(Settings::default().dns),
            origins: Arc::new(Origins::build(&places, &Geo::default())),
            views: Views::default(),
            places: Arc::new(places),
            zones: Arc::default(),
            services_zone: None,
            vast_zones: false,
            unfit: None,
            directory: Directory::default(),
            drains: Arc::default(),
            drained: Arc::new([]),
            serving: true,
            signatures: Arc::default(),
        }
    }

    /// This snapshot with `updates` made; unchanged parts are shared. Fails only on zones, policies and geo data that contradict
    /// each other, and then names file and name.
    pub fn update(&self, updates: &[Update<'_>]) -> Result<Snapshot, ZoneError> {
        let mut next = self.clone();
        next.generation = Generation(self.generation.0 + 1);
        next.add_places(updates);
        for update in updates {
            match update {
                Update::Service(label, Some(view)) => {
                    let previous = next.directory.find(label.as_bytes()).and_then(|id| next.directory.at(id));
                    let mut against = Against { places: &next.places, origins: &next.origins, views: &mut next.views };
                    let compiled = CompiledService::compile(label, view, &mut against, previous).map_err(|reason| ZoneError {
                        file: String::new(),
                        name: format!("services.{label}"),
                        reason,
                    })?;
                    let id = next.directory.reserve(label.as_bytes());
                    next.directory.put(id, Some(Arc::new(compiled)));
                }
                Update::Service(label, None) => {
                    if let Some(id) = next.directory.find(label.as_bytes()) {
                        next.directory.put(id, None);
                    }
                }
                Update::Turned(id, service) => next.directory.put(*id, Some(service.clone())),
                Update::Drained { regions, azs } => next.drains = Arc::new(Drains { regions: (*regions).clone(), azs: (*azs).clone() }),
                Update::Zones(zones) => next.compile_zones(zones.iter())?,
                Update::Served(zones) => next.compile_zones(zones.iter().map(AsRef::as_ref))?,
                Update::Zone(zone) => {
                    let compiled = next.compile_one(zone)?;
                    next.put_zone(compiled);
                }
                Update::Compiled(zone) => next.put_zone(zone.clone()),
                Update::Unfit(apexes) => {
                    let wire: Unfits = apexes.iter().map(|(apex, why)| (apex.wire().into(), *why)).collect();
                    next.unfit = (!wire.is_empty()).then(|| Arc::new(wire));
                }
                Update::Raised(apex, by) => next.raise_serial(apex, *by),
                Update::Dns(settings) => next.dns = Arc::new((*settings).clone()),
                Update::Measured(origins) if origins.is_same_build(&next.origins) => next.origins = origins.clone(),
                Update::Geo(_) | Update::Measured(_) => {}
            }
        }
        if !Arc::ptr_eq(&next.places, &self.places) || !Arc::ptr_eq(&next.drains, &self.drains) {
            next.drained = next.places.localities().map(|locality| next.drains.hold(&next.places, locality)).collect();
            next.serving = next.drained.iter().all(|out| *out == Out::SERVING);
        }
        Ok(next)
    }

    /// A service after some of its instances have turned, for [`Update::Turned`] of this snapshot; `None`: it has to be compiled whole.
    pub fn restand<'a>(&self, label: &Label, view: &TurnedView<'_>) -> Option<Update<'a>> {
        let (id, service) = self.service(label.as_bytes())?;
        service.restand(view).map(|turned| Update::Turned(id, Arc::new(turned)))
    }

    /// This snapshot with these places and those that policies of services speak of, for [`Snapshot::compile_apart`].
    pub fn with_places<'a>(&self, localities: impl Iterator<Item = Locality>, policies: impl Iterator<Item = &'a Policy>) -> Snapshot {
        let mut next = self.clone();
        let places = Arc::make_mut(&mut next.places);
        for locality in localities {
            if places.locality(&locality).is_none() {
                *places = places.with(&locality);
            }
        }
        for policy in policies {
            if !places.has_named(policy) {
                places.add_named(policy);
            }
        }
        next.drained = next.places.localities().map(|locality| next.drains.hold(&next.places, locality)).collect();
        next
    }

    /// Compiles services for [`Snapshot::joined`], so that many can be compiled at the same time, in as many threads as there are. Places
    /// that they name must be known.
    pub fn compile_apart<'a>(
        &self,
        services: impl Iterator<Item = (&'a Label, ServiceView<'a>)>,
    ) -> Vec<Result<Arc<CompiledService>, ZoneError>> {
        let mut views = self.views.clone();
        let mut against = Against { places: &self.places, origins: &self.origins, views: &mut views };
        let compile = |(label, view): (&Label, ServiceView<'_>)| {
            let previous = self.service(label.as_str().as_bytes()).map(|(_, service)| service);
            CompiledService::compile(label, &view, &mut against, previous).map(Arc::new).map_err(|reason| ZoneError {
                file: String::new(),
                name: format!("services.{label}"),
                reason,
            })
        };
        services.map(compile).collect()
    }

    /// Compiles a zone that is there already, with the same policies and other records. `None`: it compiles, and has policies, which
    /// refer to the snapshot that they were compiled against; else it is good for [`Update::Compiled`], also of a later snapshot.
    pub fn compile_zone(&self, zone: &Zone) -> Result<Option<Arc<CompiledZone>>, ZoneError> {
        let compiled = self.clone().compile_one(zone)?;
        Ok(zone.names.is_empty().then_some(compiled))
    }

    /// A zone that is there already with other RRsets at some names: good for [`Update::Compiled`] as long as it is as it is here. `zone`
    /// says the rest of it; its records are not looked at. `None`: it is to be compiled whole.
    pub fn patch_zone(&self, zone: &Zone, patch: &ZonePatch<'_>) -> Result<Option<Arc<CompiledZone>>, ZoneError> {
        let Some(base) = self.zone_at(zone.apex.wire()) else { return Ok(None) };
        Ok(base.patched(zone, patch)?.map(Arc::new))
    }

    /// This snapshot with services that [`Snapshot::compile_apart`] made of it.
    pub fn joined(&self, services: impl Iterator<Item = Arc<CompiledService>>) -> Snapshot {
        let mut next = self.clone();
        next.generation = Generation(self.generation.0 + 1);
        for service in services {
            let id = next.directory.reserve(service.label_octets());
            next.directory.put(id, Some(service));
        }
        next
    }

    /// Signatures that were made.
    #[inline]
    pub fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// Whether any zone is signed.
    pub fn is_signed(&self) -> bool {
        self.zones.iter().any(|zone| zone.epoch().is_some())
    }

    /// The zone that holds `name` (the longest apex that is a suffix), if any.
    #[inline]
    pub fn zone(&self, name: &NameBuf) -> Option<&CompiledZone> {
        self.zones.find(name, 0)
    }

    /// Why nobody may be answered for a name of that type, which is in that zone, or in none: the zone is too old, or the name is in one below
    /// it that this server is to have and was not copied yet.
    #[inline(always)]
    pub fn unfit(&self, zone: Option<&CompiledZone>, name: &NameBuf, qtype: u16) -> Option<Unfit> {
        self.unfit.as_ref().and_then(|apexes| unfit(apexes, zone, name, qtype))
    }

    /// Whether a zone is too old to be answered from.
    #[inline(always)]
    pub fn is_expired(&self, zone: &CompiledZone) -> bool {
        self.unfit.as_ref().is_some_and(|apexes| is_expired(apexes, zone))
    }

    /// The zone that holds what is one label above `name`, if any.
    pub fn zone_above(&self, name: &NameBuf) -> Option<&CompiledZone> {
        self.zones.find(name, 1)
    }

    /// All zones, in the order given.
    pub fn zones(&self) -> impl Iterator<Item = &CompiledZone> {
        self.zones.iter().map(AsRef::as_ref)
    }

    /// The zone with that apex, to keep for longer.
    pub fn zone_at(&self, apex: &[u8]) -> Option<&Arc<CompiledZone>> {
        self.zones.at_apex(&NameBuf::from_wire(apex)?)
    }

    /// The first zone that shows services: where SRV and HTTPS of names in other zones find the names of instances.
    pub fn services_zone(&self) -> Option<&CompiledZone> {
        self.services_zone.as_deref()
    }

    /// A registered service by its lower-case label.
    pub fn service(&self, label: &[u8]) -> Option<(ServiceId, &CompiledService)> {
        let id = self.directory.find(label)?;
        Some((id, self.directory.at(id)?))
    }

    /// The registered service whose name is label `index` of a query's name.
    #[inline]
    pub fn service_in(&self, name: &NameBuf, index: usize) -> Option<(ServiceId, &CompiledService)> {
        self.directory.find_hashed(name.label_hash(index), name.label(index))
    }

    /// A service by its slot.
    pub fn service_at(&self, id: ServiceId) -> Option<&CompiledService> {
        self.directory.at(id)
    }

    /// Every registered service.
    pub fn all_services(&self) -> impl Iterator<Item = (ServiceId, &CompiledService)> {
        self.directory.iter()
    }

    /// The services that are others than in a snapshot from which this one came; `None`: more than services changed.
    pub fn changed_since(&self, before: &Snapshot) -> Option<Vec<ServiceId>> {
        let same = Arc::ptr_eq(&self.zones, &before.zones)
            && Arc::ptr_eq(&self.origins, &before.origins)
            && Arc::ptr_eq(&self.drained, &before.drained)
            && Arc::ptr_eq(&self.dns, &before.dns);
        same.then(|| self.directory.differing(&before.directory))
    }

    /// Whether every region and every az is in everybody's answers.
    pub fn is_whole(&self) -> bool {
        self.drained.iter().all(|out| out.share == Share::NONE)
    }

    /// Whether there is any service at all.
    pub fn has_services(&self) -> bool {
        self.directory.len() > 0
    }

    /// How many services there are.
    pub fn services(&self) -> usize {
        self.directory.len()
    }

    /// Takes new geo data, and numbers every place that the updates name.
    fn add_places(&mut self, updates: &[Update<'_>]) {
        for update in updates {
            if let Update::Geo(geo) = update {
                self.places = Arc::new(self.places.reload(geo));
                self.origins = Arc::new(Origins::build(&self.places, geo));
                self.views = Views::default();
            }
        }
        for update in updates {
            match update {
                Update::Service(_, Some(view)) => {
                    // Also one in a region that is declared no more: it was registered, so it is answered.
                    for instance in &view.instances {
                        let locality = instance.instance.locality();
                        if self.places.locality(&locality).is_none() {
                            self.places = Arc::new(self.places.with(&locality));
                        }
                    }
                    self.add_named(&view.service.policy);
                }
                Update::Zones(zones) => zones.iter().flat_map(|z| z.names.values()).for_each(|policy| self.add_named(policy)),
                Update::Served(zones) => zones.iter().flat_map(|z| z.names.values()).for_each(|policy| self.add_named(policy)),
                _ => {}
            }
        }
    }

    fn add_named(&mut self, policy: &Policy) {
        if !self.places.has_named(policy) {
            Arc::make_mut(&mut self.places).add_named(policy);
        }
    }

    fn raise_serial(&mut self, apex: &Name, by: u32) {
        if let Some(zone) = self.zone_at(apex.wire()) {
            self.put_zone(Arc::new(zone.with_serial(zone.serial().wrapping_add(by))));
        }
    }

    fn compile_zones<'z>(&mut self, zones: impl Iterator<Item = &'z Zone>) -> Result<(), ZoneError> {
        // Those that the zones before asked for may be wanted no more.
        self.views = Views::default();
        let mut compiled = Apexes::default();
        let mut referred = BTreeMap::new();
        for zone in zones {
            let directory = &mut self.directory;
            let mut against = Against { places: &self.places, origins: &self.origins, views: &mut self.views };
            let mut refer = |service: &Label| {
                let id = directory.expect(service);
                referred.insert(id, service.clone());
                Some(id)
            };
            compiled.put(Arc::new(CompiledZone::compile(zone, &mut against, &mut refer)?));
        }
        self.directory.refer(referred);
        self.services_zone = compiled.iter().find(|zone| zone.services()).cloned();
        self.vast_zones = compiled.iter().any(|zone| ahead::is_vast(zone));
        self.zones = Arc::new(compiled);
        Ok(())
    }
}

impl Snapshot {
    fn compile_one(&mut self, zone: &Zone) -> Result<Arc<CompiledZone>, ZoneError> {
        let directory = &mut self.directory;
        let mut against = Against { places: &self.places, origins: &self.origins, views: &mut self.views };
        // Its policies are as they were: the slots that they refer to are kept.
        let mut refer = |service: &Label| Some(directory.expect(service));
        CompiledZone::compile(zone, &mut against, &mut refer).map(Arc::new)
    }

    /// Puts a zone in the place of the one with its apex, or behind all others.
    fn put_zone(&mut self, zone: Arc<CompiledZone>) {
        let shown = self.services_zone.as_ref().is_some_and(|shown| shown.apex() == zone.apex());
        let shows = shown || zone.services();
        self.vast_zones |= ahead::is_vast(&zone);
        // The first of an update's zones copies the table, the others change that copy.
        Arc::make_mut(&mut self.zones).put(zone);
        if shows {
            self.services_zone = self.zones.iter().find(|zone| zone.services()).cloned();
        }
    }
}

impl World for Snapshot {
    #[inline]
    fn pool(&self, service: ServiceId) -> Option<&Pool> {
        Some(self.directory.at(service)?.pool())
    }

    #[inline]
    fn out(&self, locality: LocalityId) -> Out {
        self.drained.get(usize::from(locality.0)).copied().unwrap_or_default()
    }

    #[inline]
    fn is_serving(&self) -> bool {
        self.serving
    }

    #[inline]
    fn places(&self) -> &Places {
        &self.places
    }

    #[inline]
    fn origins(&self) -> &Origins {
        &self.origins
    }
}

impl Drains {
    fn hold(&self, places: &Places, locality: LocalityId) -> Out {
        let region = places.region_label(places.region_of(locality));
        let locality = Locality { region: region.clone(), az: places.az_label(locality).clone() };
        let known = [self.regions.get(region), self.azs.get(&locality)];
        known.into_iter().flatten().fold(Out::SERVING, |held, out| held.or(*out))
    }
}

/// Why a zone answers nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// No primary confirmed it for too long.
    Expired,
    /// It was not copied yet. Where it is there all the same, it has just come.
    Awaited,
}

type Unfits = BTreeMap<Box<[u8]>, Unfit>;

/// A call of its own: hardly anywhere has any zone expired.
#[inline(never)]
fn unfit(apexes: &Unfits, zone: Option<&CompiledZone>, name: &NameBuf, qtype: u16) -> Option<Unfit> {
    if zone.is_some_and(|zone| is_expired(apexes, zone)) {
        return Some(Unfit::Expired);
    }
    // RFC 4035 §3.1.4.1: the DS of its apex is for the zone above to say.
    let own = usize::from(qtype == rtype::DS);
    let below = own..zone.map_or(name.labels(), |zone| zone.depth(name));
    below.into_iter().any(|label| apexes.contains_key(&name.wire()[name.start(label)..])).then_some(Unfit::Awaited)
}

/// A call of its own: hardly anywhere has any zone expired.
#[inline(never)]
fn is_expired(apexes: &Unfits, zone: &CompiledZone) -> bool {
    apexes.get(zone.apex()) == Some(&Unfit::Expired)
}
