//! Keys led from step to step: what is due by itself is done, written down, and shown in answers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::broadcast;

use super::shelf::ShelfError;
use super::{Inner, SignedZone, State, by_tag, make, signing, timing};
use crate::api::KeyRefusal;
use crate::control::Event;
use crate::model::{Algorithm, KeyRole, Name, Timestamp};
use crate::serve::{ServeError, blocking};
use crate::sign::{PrivateKey, Step, ZoneKeys};

/// How often it is written down that keys are watched.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(600);
/// How long after a step that failed it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// A change of a zone's keys.
pub(super) struct Change {
    pub(super) apex: Name,
    pub(super) zone: SignedZone,
    /// Keys that are not on disk yet.
    pub(super) fresh: Vec<(KeyRole, Arc<PrivateKey>)>,
    /// Keys whose files can go afterwards.
    pub(super) gone: Vec<(Algorithm, u16)>,
}

/// Leads keys from step to step until they are gone.
pub(super) async fn lead(keys: Weak<Inner>) {
    let mut events = keys.upgrade().and_then(|inner| Some(inner.control.get()?.events()));
    loop {
        let Some(inner) = keys.upgrade() else { return };
        let nap = match inner.advance().await {
            Ok(()) => {
                inner.look().await;
                inner.heartbeat();
                inner.nap()
            }
            Err(error) => {
                tracing::error!(%error, "keys stay as they are; the next step is tried again");
                AGAIN
            }
        };
        let until = tokio::time::Instant::now() + nap;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                () = inner.changed.notified() => break,
                () = changed_zone(&mut events) => inner.observe().await,
            }
        }
    }
}

/// Waits until records of a zone changed, or may have.
async fn changed_zone(events: &mut Option<broadcast::Receiver<Event>>) {
    let Some(events) = events else { return std::future::pending().await };
    loop {
        match events.recv().await {
            Ok(event) if event.kind != "zone_changed" => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        }
    }
}

impl Inner {
    /// Takes every step that is due.
    pub(super) async fn advance(self: &Arc<Inner>) -> Result<(), KeyRefusal> {
        let _turn = self.turn.clone().lock_owned().await;
        self.take_ttls();
        loop {
            let changes = self.due()?;
            if changes.is_empty() {
                return self.let_go().await;
            }
            self.apply(changes).await?;
        }
    }

    /// Takes the TTLs of updates when nobody else changes keys.
    pub(super) async fn observe(&self) {
        let _turn = self.turn.lock().await;
        self.take_ttls();
    }

    /// Takes the TTLs of updates: caches hold what was signed for as long, and waits are no shorter.
    fn take_ttls(&self) {
        let (now, watched) = ((self.clock)(), self.watched());
        let mut changed = Vec::new();
        {
            let State { settings, zones, .. } = &mut *self.state();
            for (apex, zone) in zones {
                zone.longest = zone.in_file.max(self.longest_of_updates(apex));
                if zone.keys.observe(&timing(settings, zone.longest), now) {
                    zone.keys.watch(watched);
                    changed.push((apex.clone(), zone.keys.clone()));
                }
            }
        }
        changed.iter().for_each(|(apex, keys)| self.write(apex, keys));
    }

    /// Unsigns zones that are to be signed no more, once no cache can hold a DS of them.
    async fn let_go(self: &Arc<Inner>) -> Result<(), KeyRefusal> {
        let now = (self.clock)();
        let freed: Vec<(Name, ZoneKeys)> = {
            let state = self.state();
            let freed = state.zones.iter().filter(|(apex, zone)| state.free_from(apex, zone).is_some_and(|free| free <= now));
            freed.map(|(apex, zone)| (apex.clone(), zone.keys.clone())).collect()
        };
        if freed.is_empty() {
            return Ok(());
        }
        let control = self.control.get().ok_or_else(|| KeyRefusal::Unserved("the server starts".into()))?;
        let shown = freed.iter().map(|(apex, _)| (apex.clone(), None)).collect();
        control.sign(shown).await.map_err(|error| KeyRefusal::Unserved(error.to_string()))?;
        let inner = self.clone();
        let written = blocking(move || {
            for (apex, mut keys) in freed {
                tracing::info!(zone = %apex, "the zone is signed no more");
                keys.begin_again();
                keys.watch(inner.watched());
                inner.write(&apex, &keys);
                inner.state().zones.remove(&apex);
            }
            let state = inner.state();
            inner.take_ring(state.zones.iter(), &state.settings, true)
        });
        let lost = |error: ServeError| KeyRefusal::Storage(error.to_string());
        written.await.map_err(lost)?.map_err(lost)
    }

    /// The next step of every zone where one is due.
    fn due(&self) -> Result<Vec<Change>, KeyRefusal> {
        let (state, now) = (self.state(), (self.clock)());
        let mut changes = Vec::new();
        for (apex, zone) in &state.zones {
            let Some(step) = zone.keys.due(&timing(&state.settings, zone.longest), now) else { continue };
            tracing::info!(zone = %apex, ?step, "the next step of the zone's keys");
            let mut change = Change { apex: apex.clone(), zone: zone.clone(), fresh: Vec::new(), gone: Vec::new() };
            match step {
                Step::Introduce => change.introduce(KeyRole::Zsk, now)?,
                step => change.zone.keys.take(step),
            }
            if let Step::Remove(tag) = step
                && let Some(key) = zone.keys.key(tag)
            {
                change.gone.push((key.algorithm, tag));
                change.zone.private.remove(&tag);
            }
            changes.push(change);
        }
        Ok(changes)
    }

    /// Brings changes about: on disk, in the keyring, in answers; then it is written down that they are.
    pub(super) async fn apply(self: &Arc<Inner>, changes: Vec<Change>) -> Result<(), KeyRefusal> {
        let control = self.control.get().ok_or_else(|| KeyRefusal::Unserved("the server starts".into()))?;
        let (inner, settings) = (self.clone(), self.state().settings.clone());
        let lost = |error: ServeError| KeyRefusal::Storage(error.to_string());
        let mut changes = blocking(move || {
            for Change { apex, zone, fresh, .. } in &changes {
                for (role, key) in fresh {
                    inner.shelf.add(apex, *role, key)?;
                }
                let mut keys = zone.keys.clone();
                keys.watch(inner.watched());
                inner.shelf.write(apex, &keys)?;
            }
            Ok(changes)
        })
        .await
        .map_err(lost)?
        .map_err(|error: ShelfError| KeyRefusal::Storage(error.to_string()))?;

        let unserved = |error: &dyn std::fmt::Display| KeyRefusal::Unserved(error.to_string());
        self.take_ring(changes.iter().map(|change| (&change.apex, &change.zone)), &settings, false).map_err(|error| unserved(&error))?;
        let shown = changes.iter().map(|change| (change.apex.clone(), Some(Arc::new(signing(&change.apex, &change.zone, &settings)))));
        control.sign(shown.collect()).await.map_err(|error| unserved(&error))?;

        let watched = self.watched();
        for Change { apex, zone, .. } in &mut changes {
            zone.keys.confirm(watched.seen);
            zone.keys.watch(watched);
            self.state().zones.insert(apex.clone(), zone.clone());
        }
        let inner = self.clone();
        let written = blocking(move || {
            for Change { apex, zone, gone, .. } in &changes {
                inner.write(apex, &zone.keys);
                inner.shelf.sweep(apex, gone);
            }
            inner.write_clock(watched);
        });
        written.await.map_err(lost)
    }

    /// How long nothing is to be done.
    pub(super) fn nap(&self) -> Duration {
        let (state, now) = (self.state(), (self.clock)());
        let steps = state.zones.values().filter_map(|zone| zone.keys.next_due(&timing(&state.settings, zone.longest)));
        let freed = state.zones.iter().filter_map(|(apex, zone)| state.free_from(apex, zone));
        let next = steps.chain(freed).chain(state.looks.values().map(|look| look.next)).min();
        next.map_or(HEARTBEAT, |next| next.since(now).min(HEARTBEAT))
    }

    /// Writes down that keys are watched, where there are any.
    pub(super) fn heartbeat(&self) {
        if !self.state().zones.is_empty() {
            self.write_clock(self.watched());
        }
    }
}

impl State {
    /// From when on a zone can be unsigned that is to be signed no more; `None`: it is to be, or its parent may have a DS.
    fn free_from(&self, apex: &Name, zone: &SignedZone) -> Option<Timestamp> {
        if self.settings.signs(apex) {
            return None;
        }
        zone.keys.free_from(&timing(&self.settings, zone.longest))
    }
}

impl Change {
    /// A new key of the zone's algorithm is published.
    pub(super) fn introduce(&mut self, role: KeyRole, now: Timestamp) -> Result<(), KeyRefusal> {
        self.zone.keys.may_roll(role)?;
        let taken: Vec<u16> = self.zone.keys.keys().iter().map(|key| key.tag).collect();
        let algorithm = self.zone.keys.keys().first().map_or_else(Algorithm::default, |key| key.algorithm);
        let key = make(algorithm, role, &taken).map_err(KeyRefusal::Storage)?;
        self.zone.keys.roll(role, &key, now)?;
        self.zone.private.extend(by_tag(vec![(role, key.clone())]));
        self.fresh.push((role, key));
        Ok(())
    }
}
