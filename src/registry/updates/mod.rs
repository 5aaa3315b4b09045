//! Changes of zones over DNS (RFC 2136): what was changed lies as an overlay over what the zone's file says.
//!
//! ```text
//!   message ─▶ rights ─▶ prerequisites ─▶ edits ─▶ fits? ─▶ ZoneChange: RRsets that are otherwise than in the file
//!                └────────────┴─────────────┴────────┴────▶ UpdateRefusal, and nothing is changed
//! ```
//!
//! An overlay holds whole RRsets, by name and type: one without records says that the file's is gone. What is again as the file has it
//! leaves the overlay. The serial is the file's plus the number of changes (RFC 1982 arithmetic), so it moves with each change and with
//! each edit of the file, whichever comes first, and is the same after a restart.

mod edit;
mod fits;
mod view;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use edit::UpdateRefusal;
pub(super) use edit::{plan, plan_drop};
use fits::unfit;
pub use view::{View, type_text};

use super::Registry;
use crate::model::{Name, RecordSet, Revision, Timestamp, Zone, ZoneSigning};

/// What was changed of a zone beside its file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overlay {
    /// How many changes there were: the serial is so much beyond the file's.
    pub changes: u32,
    /// Counts how often all of it was dropped: what the store holds of one before is nothing any more.
    pub epoch: u32,
    /// When the counts were last written; `None`: never.
    pub revision: Option<Revision>,
    /// RRsets that are otherwise than in the file, by owner and type.
    pub sets: BTreeMap<(Name, u16), OverlaySet>,
}

/// An RRset of an overlay.
#[derive(Debug, Clone, PartialEq)]
pub struct OverlaySet {
    /// What stands there; `None`: nothing, whatever the file says.
    pub set: Option<Arc<RecordSet>>,
    /// The print of what the file said when it was written; 0 for nothing.
    pub over: u64,
    /// The key that it was changed with.
    pub author: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// When it was written to the store.
    pub revision: Revision,
    /// Whether it goes with what the file says now; where not, the file's is answered.
    pub fits: bool,
}

/// A change of a zone that was planned.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneChange {
    /// Which zone.
    pub apex: Name,
    /// Changes in all from then on.
    pub changes: u32,
    /// The overlay's epoch from then on.
    pub epoch: u32,
    /// When the counts were last written.
    pub before: Option<Revision>,
    /// RRsets, and when each was last written.
    pub sets: Vec<SetChange>,
    /// The zone is so already.
    void: bool,
    /// The serial from then on.
    pub serial: u32,
    /// The key that asked for it, or whoever did.
    pub author: Arc<str>,
    /// When.
    pub at: Timestamp,
}

impl ZoneChange {
    /// Whether the zone is so already.
    pub fn is_void(&self) -> bool {
        self.void
    }
}

/// A change of one RRset of an overlay.
#[derive(Debug, Clone, PartialEq)]
pub struct SetChange {
    /// Owner and type.
    pub key: (Name, u16),
    /// The print of what the file says.
    pub over: u64,
    /// When it was last written; `None`: it is not in the overlay.
    pub before: Option<Revision>,
    /// What becomes of it.
    pub becomes: Becomes,
}

/// What becomes of an RRset.
#[derive(Debug, Clone, PartialEq)]
pub enum Becomes {
    /// It is as in the file again, and leaves the overlay.
    AsInFile,
    /// It is gone.
    Gone,
    /// These records.
    Records(Arc<RecordSet>),
}

/// An RRset by owner and type; `None`: there is none.
pub type Put<'p> = (&'p Name, u16, Option<Cow<'p, RecordSet>>);

/// Most RRsets of one change, so that it is one commit of the store with the zone's counts: all of it or nothing. An edit takes 11 octets of a
/// message at least, of which no message has more than 65,535 (RFC 2136 §2, RFC 1035 §4.2.2).
pub const MAX_SETS: usize = 6_000;

impl Registry {
    /// The zone's file, and what was changed beside it.
    pub fn zone(&self, apex: &Name) -> Option<(&Zone, Option<&Overlay>)> {
        let zone = self.files.get(*self.places.get(apex)?)?;
        Some((zone, self.overlays.get(apex)))
    }

    /// The zone as it is to be served, where that is not as its file says.
    pub fn changed_zone(&self, apex: &Name) -> Option<Zone> {
        let (zone, overlay) = self.zone(apex)?;
        overlay.map(|overlay| overlay.over(zone))
    }

    /// The zones as their files say.
    pub fn files(&self) -> &Arc<Vec<Zone>> {
        &self.files
    }

    /// Forgets the records of zones that nobody changes: of a million names they take four times what a snapshot has of them. One that is
    /// signed is compiled again with each change of its keys.
    pub fn release_records(&mut self) {
        let overlays = &self.overlays;
        if let Some(files) = Arc::get_mut(&mut self.files) {
            let needed = |zone: &Zone| zone.held || zone.signing.is_some() || overlays.contains_key(&zone.apex);
            files.iter_mut().filter(|zone| !needed(zone)).for_each(|zone| zone.records = BTreeMap::new());
        }
    }

    /// Takes one zone file in place of the one before, or beside all others. It shows no services, and neither did the one before; what updates changed
    /// lies over it as far as it goes with it. Returns the one before, and what was found.
    pub fn put_file(&mut self, zone: Zone) -> (Option<Zone>, Vec<super::Warning>) {
        let apex = zone.apex.clone();
        self.longest_ttl = self.longest_ttl.max(Some(zone.ttl.max));
        let files = Arc::make_mut(&mut self.files);
        let before = match self.places.get(&apex).and_then(|place| files.get_mut(*place)) {
            Some(known) => Some(std::mem::replace(known, zone)),
            None => {
                Arc::make_mut(&mut self.places).insert(apex.clone(), files.len());
                files.push(zone);
                None
            }
        };
        let warnings = self.lay(&apex);
        (before, warnings)
    }

    /// Takes back what [`Registry::put_file`] did with the zone of that apex, before anything else changed.
    pub fn take_back(&mut self, apex: &Name, before: Option<Zone>) {
        match before {
            Some(before) => _ = self.put_file(before),
            None => {
                Arc::make_mut(&mut self.files).pop();
                Arc::make_mut(&mut self.places).remove(apex);
            }
        }
    }

    /// Replaces what zones show of their keys, of those that are given; returns what was there.
    pub fn sign(&mut self, signing: &BTreeMap<Name, Option<Arc<ZoneSigning>>>) -> BTreeMap<Name, Option<Arc<ZoneSigning>>> {
        let files = Arc::make_mut(&mut self.files);
        let mut before = BTreeMap::new();
        for (apex, signing) in signing {
            if let Some(zone) = self.places.get(apex).and_then(|place| files.get_mut(*place)) {
                before.insert(apex.clone(), std::mem::replace(&mut zone.signing, signing.clone()));
            }
        }
        before
    }

    /// The serial that goes with what a zone's file says is another; returns by how much it moves.
    pub fn raise_serial(&mut self, apex: &Name, serial: u32) -> Option<u32> {
        let zone = Arc::make_mut(&mut self.files).get_mut(*self.places.get(apex)?)?;
        Some(serial.wrapping_sub(std::mem::replace(&mut zone.soa.serial, serial)))
    }

    /// All zones as they are to be served, in the order of their files.
    pub fn served(&self) -> Vec<Cow<'_, Zone>> {
        let served = self.files.iter().map(|zone| match self.overlays.get(&zone.apex) {
            Some(overlay) => Cow::Owned(overlay.over(zone)),
            None => Cow::Borrowed(zone),
        });
        served.collect()
    }

    /// A zone with what was changed of it does not compile: leaves out what is to blame. Returns whether there was anything.
    pub fn blame(&mut self, file: &str, name: &str) -> bool {
        let Some(apex) = self.files.iter().find(|zone| zone.file == file).map(|zone| zone.apex.clone()) else { return false };
        Name::parse(name).is_ok_and(|name| self.leave_out(&apex, Some(&name))) || self.leave_out(&apex, None)
    }

    /// As [`Registry::changed_zone`], after a change.
    pub fn zone_with(&self, change: &ZoneChange) -> Option<Zone> {
        let (zone, overlay) = self.zone(&change.apex)?;
        let mut overlay = overlay.cloned().unwrap_or_default();
        overlay.take(change, Revision(0));
        Some(overlay.over(zone))
    }

    /// What a change puts where in a zone, beside what the zone's file says of all of it. `None`: of more than some RRsets.
    pub fn patch_with<'r>(&'r self, change: &'r ZoneChange) -> Option<(&'r Zone, Vec<Put<'r>>)> {
        let (zone, overlay) = self.zone(&change.apex)?;
        if overlay.map_or(0, |overlay| overlay.epoch) != change.epoch {
            return None;
        }
        let becomes = |set: &'r SetChange| {
            let (name, rtype) = &set.key;
            let records = match &set.becomes {
                Becomes::AsInFile => view::in_file(zone, name, *rtype),
                Becomes::Gone => None,
                Becomes::Records(records) => Some(Cow::Borrowed(&**records)),
            };
            (name, *rtype, records)
        };
        Some((zone, change.sets.iter().map(becomes).collect()))
    }

    /// Takes the zone files that changes lie over from now on, and looks anew at which of these go with them. Returns what was found.
    pub fn ground(&mut self, files: Arc<Vec<Zone>>) -> Vec<super::Warning> {
        self.places = Arc::new(files.iter().enumerate().map(|(place, zone)| (zone.apex.clone(), place)).collect());
        self.files = files;
        self.name_all();
        let apexes: Vec<Name> = self.overlays.keys().cloned().collect();
        let warnings = apexes.iter().flat_map(|apex| self.lay(apex)).collect();
        self.take_names();
        warnings
    }

    /// Looks anew at which changes of a zone go with its file. Returns what was found.
    fn lay(&mut self, apex: &Name) -> Vec<super::Warning> {
        let Some(mut overlay) = self.overlays.remove(apex) else { return Vec::new() };
        let warnings = self.zone(apex).map(|(zone, _)| self.laid(zone, &mut overlay)).unwrap_or_default();
        self.overlays.insert(apex.clone(), overlay);
        warnings
    }

    fn laid(&self, zone: &Zone, overlay: &mut Overlay) -> Vec<super::Warning> {
        let mut warnings = Vec::new();
        overlay.sets.values_mut().for_each(|set| set.fits = true);
        // One after the other: what does not go may be why another does not.
        loop {
            let view = View::new(zone, Some(overlay));
            let found = overlay.sets.iter().filter(|(_, set)| set.fits && set.set.is_some());
            let found = found.map(|(key, _)| key).find_map(|key| Some((key.clone(), unfit(self, &view, &key.0, key.1)?)));
            let Some((key, reason)) = found else { break };
            let subject = format!("{} {}", key.0, type_text(key.1));
            let found = format!("was changed by an update, which does not go with the file any more: {reason}; the file's is answered");
            warnings.push(super::Warning { file: zone.file.clone(), subject, found });
            if let Some(set) = overlay.sets.get_mut(&key) {
                set.fits = false;
            }
        }
        for (key, set) in overlay.sets.iter().filter(|(_, set)| set.fits) {
            if view::print(zone, &key.0, key.1) != set.over {
                let subject = format!("{} {}", key.0, type_text(key.1));
                let found = "was changed in the file after an update changed it; what the update said is answered".to_string();
                warnings.push(super::Warning { file: zone.file.clone(), subject, found });
            }
        }
        warnings
    }

    /// An overlay's RRsets at a name do not compile beside the file: the file's are answered. `None`: there is none, and all of it is left
    /// out. Returns whether anything is otherwise now.
    fn leave_out(&mut self, apex: &Name, name: Option<&Name>) -> bool {
        let Some(overlay) = self.overlays.get_mut(apex) else { return false };
        let mut any = false;
        for ((owner, _), set) in &mut overlay.sets {
            if set.fits && name.is_none_or(|name| owner == name) {
                (set.fits, any) = (false, true);
            }
        }
        self.take_names();
        any
    }

    /// What an update of a zone stands beside in the file, and whether the file's is another than it was then; for looking.
    pub fn is_stale(&self, apex: &Name, key: &(Name, u16)) -> bool {
        let found = self.zone(apex).and_then(|(zone, overlay)| Some((zone, overlay?.sets.get(key)?)));
        found.is_some_and(|(zone, set)| view::print(zone, &key.0, key.1) != set.over)
    }

    /// Makes a planned change of a zone.
    pub(super) fn change_zone(&mut self, change: &ZoneChange, revision: Revision) {
        self.overlays.entry(change.apex.clone()).or_default().take(change, revision);
        if self.zone(&change.apex).is_some_and(|(zone, _)| zone.services) {
            self.take_names();
        }
    }
}

impl Overlay {
    /// Takes a change.
    fn take(&mut self, change: &ZoneChange, revision: Revision) {
        if self.epoch != change.epoch {
            self.sets.clear();
        }
        (self.changes, self.epoch, self.revision) = (change.changes, change.epoch, Some(revision));
        for SetChange { key, over, becomes, .. } in &change.sets {
            let set = match becomes {
                Becomes::AsInFile => {
                    self.sets.remove(key);
                    continue;
                }
                Becomes::Gone => None,
                Becomes::Records(set) => Some(set.clone()),
            };
            let entry = OverlaySet { set, over: *over, author: change.author.clone(), at: change.at, revision, fits: true };
            self.sets.insert(key.clone(), entry);
        }
    }

    /// The zone of a file with this laid over it.
    fn over(&self, zone: &Zone) -> Zone {
        let mut zone = zone.clone();
        zone.soa.serial = zone.soa.serial.wrapping_add(self.changes);
        for ((owner, rtype), set) in self.sets.iter().filter(|(_, set)| set.fits) {
            view::put(&mut zone, owner, *rtype, set.set.as_deref());
        }
        zone
    }
}

#[cfg(test)]
pub(crate) mod tests;
