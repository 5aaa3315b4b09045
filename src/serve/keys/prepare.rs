//! Keys for zones that were read: those that they have, else new ones; and what a load of zones made of them, written down.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use super::shelf::ShelfError;
use super::{Inner, SignedZone, State, by_tag, finding, make, seconds, signing, timing};
use crate::model::{DnssecSettings, KeyRole, Name, Zone};
use crate::serve::ServeError;
use crate::sign::{PrivateKey, Timing, ZoneKeys, digest};

/// Keys that zones were given, on their way into answers.
pub(in crate::serve) struct Prepared {
    state: State,
    /// Zones that are signed no more.
    unsigned: Vec<(Name, ZoneKeys)>,
    _turn: OwnedMutexGuard<()>,
}

impl Inner {
    pub(super) fn prepare(&self, settings: DnssecSettings, zones: &mut [Zone], turn: OwnedMutexGuard<()>) -> Result<Prepared, ServeError> {
        let mut state = State {
            settings,
            served: zones.iter().map(|zone| zone.apex.clone()).collect(),
            zones: BTreeMap::new(),
            looks: BTreeMap::new(),
        };
        let (mut unsigned, mut findings) = (Vec::new(), Vec::new());
        for zone in zones {
            let (apex, in_file) = (&zone.apex, longest_ttl(zone, &state.settings));
            let longest = in_file.max(self.longest_of_updates(apex));
            if zone.is_signed_elsewhere() {
                // Its primary has the keys, and what it signed is right as it is.
                zone.signing = None;
                continue;
            }
            let wanted = state.settings.signs(apex);
            let timing = timing(&state.settings, longest);
            let signed = match self.known(apex, &timing) {
                Ok(Some(known)) if wanted => Some(known),
                Ok(Some(known)) if known.keys.keys().iter().all(|key| key.since.is_none()) => None,
                Ok(Some(known)) => match known.keys.free_from(&timing).filter(|free| *free <= (self.clock)()) {
                    Some(_) => {
                        tracing::info!(zone = %apex, "the zone is signed no more");
                        unsigned.push((apex.clone(), known.keys));
                        None
                    }
                    // Unsigned answers below a DS are worth nothing to whoever validates.
                    None => {
                        tracing::warn!(zone = %apex, "not in [dnssec] any more, and signed all the same: its parent may have a DS; see `signpost keys unsign`");
                        Some(known)
                    }
                },
                Ok(None) if wanted => match self.begin(apex, &state.settings, &timing) {
                    Ok(begun) => Some(begun),
                    Err(error) => {
                        findings.push(finding(error));
                        None
                    }
                },
                Ok(None) => None,
                Err(error) if wanted => {
                    findings.push(finding(error));
                    None
                }
                Err(error) => {
                    tracing::warn!(zone = %apex, %error, "keys of a zone that is not signed");
                    None
                }
            };
            let Some(mut signed) = signed else {
                zone.signing = None;
                continue;
            };
            (signed.in_file, signed.longest) = (in_file, longest);
            zone.signing = Some(Arc::new(signing(apex, &signed, &state.settings)));
            signed.rests &= !signed.keys.observe(&timing, (self.clock)());
            tell_if_other(apex, &signed, &state.settings);
            state.zones.insert(apex.clone(), signed);
        }
        if !findings.is_empty() {
            return Err(ServeError::World(findings));
        }
        // Whoever is answered before the zones change needs the keys of now.
        self.take_ring(state.zones.iter(), &state.settings, false)?;
        Ok(Prepared { state, unsigned, _turn: turn })
    }

    /// The keys that a zone has: in memory, else on disk.
    fn known(&self, apex: &Name, timing: &Timing) -> Result<Option<SignedZone>, ShelfError> {
        if let Some(known) = self.state().zones.get(apex) {
            return Ok(Some(known.clone()));
        }
        let Some((mut keys, private)) = self.shelf.load(apex)? else { return Ok(None) };
        let rests = keys.rests(timing);
        keys.resume(self.last, self.watched());
        Ok(Some(SignedZone { keys, private, in_file: timing.longest_ttl, longest: timing.longest_ttl, rests }))
    }

    /// Makes the first keys of a zone.
    fn begin(&self, apex: &Name, settings: &DnssecSettings, timing: &Timing) -> Result<SignedZone, ShelfError> {
        let roles: &[KeyRole] = if settings.split { &[KeyRole::Ksk, KeyRole::Zsk] } else { &[KeyRole::Csk] };
        let lost = |reason: String| ShelfError { path: apex.to_string().into(), reason };
        let mut made: Vec<(KeyRole, Arc<PrivateKey>)> = Vec::new();
        for role in roles {
            let taken: Vec<u16> = made.iter().map(|(role, key)| digest::key_tag(&key.dnskey(*role))).collect();
            made.push((*role, make(settings.algorithm, *role, &taken).map_err(lost)?));
        }
        let lent: Vec<(KeyRole, &PrivateKey)> = made.iter().map(|(role, key)| (*role, &**key)).collect();
        let mut keys = ZoneKeys::begin(&lent, false, timing, (self.clock)()).map_err(|error| lost(error.to_string()))?;
        keys.watch(self.watched());
        self.shelf.create(apex, &keys, &made)?;
        for key in keys.keys() {
            tracing::info!(zone = %apex, tag = key.tag, role = key.role.name(), algorithm = key.algorithm.name(), "a key was made");
        }
        Ok(SignedZone { keys, private: by_tag(made), in_file: timing.longest_ttl, longest: timing.longest_ttl, rests: false })
    }

    pub(super) fn settle(&self, prepared: Prepared) {
        let Prepared { mut state, unsigned, _turn } = prepared;
        let watched = self.watched();
        for (apex, zone) in &mut state.zones {
            let confirmed = zone.keys.confirm(watched.seen);
            // What this run wrote already is on disk, and so is what rests: a start of many zones would wait for as many files.
            let written = match self.state().zones.get(apex) {
                Some(before) => before.keys == zone.keys,
                None => zone.rests && !confirmed,
            };
            if !written {
                zone.keys.watch(watched);
                self.write(apex, &zone.keys);
            }
        }
        for (apex, mut keys) in unsigned {
            keys.begin_again();
            keys.watch(watched);
            self.write(&apex, &keys);
        }
        if let Err(error) = self.take_ring(state.zones.iter(), &state.settings, true) {
            tracing::error!(%error, "zones cannot be signed");
        }
        if !state.zones.is_empty() {
            self.write_clock(watched);
        }
        *self.state() = state;
    }
}

/// The longest TTL of anything that is signed in a zone, in seconds.
fn longest_ttl(zone: &Zone, settings: &DnssecSettings) -> u32 {
    let records = zone.records.values().map(|set| set.ttl);
    let ours = [zone.ns_ttl, zone.soa.ttl, seconds(zone.ttl.max), seconds(zone.ttl.negative), seconds(settings.dnskey_ttl)];
    records.chain(ours).chain(zone.aliases.values().map(|alias| alias.ttl)).max().unwrap_or_default()
}

/// Says so where a zone's keys are not those that the settings would make.
fn tell_if_other(apex: &Name, zone: &SignedZone, settings: &DnssecSettings) {
    let keys = zone.keys.keys();
    if let Some(key) = keys.iter().find(|key| key.algorithm != settings.algorithm) {
        tracing::warn!(zone = %apex, algorithm = key.algorithm.name(), "the zone keeps the algorithm of its keys, whatever [dnssec] says");
    }
    if keys.iter().any(|key| (key.role == KeyRole::Csk) == settings.split) {
        tracing::warn!(zone = %apex, "the zone keeps the roles of its keys, whatever [dnssec] says");
    }
}
