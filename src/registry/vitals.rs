//! The health of instances, as probes, heartbeats and pushed statuses say it.

use super::{InstanceEntry, Registry, checks};
use crate::model::{Health, Instance, InstanceKey, Pushed, Service, Status, Timestamp, Vitals};

/// An instance's health before and after something was learned of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Before.
    pub before: Health,
    /// After.
    pub after: Health,
    /// Whether it is confirmed now, which shows in TTLs.
    pub confirmed: bool,
    /// Whether any part of it is no longer as it was: worth writing down.
    pub learned: bool,
}

impl Turn {
    /// The turn from `before` to `after`.
    pub fn between(before: &Vitals, after: &Vitals) -> Turn {
        Turn {
            before: before.health(),
            after: after.health(),
            confirmed: before.unconfirmed && !after.unconfirmed,
            learned: (before.probed, before.beating, &before.pushed) != (after.probed, after.beating, &after.pushed),
        }
    }

    /// Whether answers are no longer as they were.
    pub fn shows(self) -> bool {
        self.before != self.after || self.confirmed
    }
}

impl Registry {
    /// Takes the worst verdict of an instance's checks. `None`: there is no such instance, or it is not probed (any more).
    pub fn observe(&mut self, key: &InstanceKey, health: Health, why: &str, now: Timestamp) -> Option<Turn> {
        self.learn(key, now, |vitals| {
            vitals.probed.as_mut().map(|probed| {
                *probed = health;
                vitals.why = why.to_string();
                vitals.unconfirmed = false;
            })
        })
    }

    /// Takes a heartbeat, or (`beating` false) that one was missed. `None`: there is no such instance, or it has no heartbeat.
    pub fn beat(&mut self, key: &InstanceKey, beating: bool, now: Timestamp) -> Option<Turn> {
        self.learn(key, now, |vitals| {
            let health = if beating { Health::Healthy } else { Health::Unhealthy };
            vitals.beating.as_mut().map(|known| *known = health)?;
            // Where there are checks, it is for them to confirm what was known before a restart.
            vitals.unconfirmed &= vitals.probed.is_some();
            Some(())
        })
    }

    /// Takes a pushed status.
    pub(super) fn push(&mut self, key: &InstanceKey, pushed: Pushed, now: Timestamp) -> Option<Turn> {
        self.learn(key, now, |vitals| {
            vitals.pushed = Some(pushed);
            Some(())
        })
    }

    /// Takes what was known of an instance before a restart.
    pub fn recall(&mut self, key: &InstanceKey, known: Vitals) {
        let Some(service) = self.services.get_mut(&key.service) else { return };
        let Some(entry) = service.instances.get_mut(&key.id) else { return };
        let fresh = fresh(&service.service, &entry.instance, known.since);
        entry.vitals = Vitals {
            probed: fresh.probed.map(|pending| known.probed.unwrap_or(pending)),
            beating: fresh.beating.map(|healthy| known.beating.unwrap_or(healthy)),
            unconfirmed: fresh.probed.or(fresh.beating).is_some(),
            ..known
        };
    }

    fn learn(&mut self, key: &InstanceKey, now: Timestamp, change: impl FnOnce(&mut Vitals) -> Option<()>) -> Option<Turn> {
        let entry = self.services.get_mut(&key.service)?.instances.get_mut(&key.id)?;
        let InstanceEntry { vitals, instance, .. } = entry;
        let known = vitals.clone();
        change(vitals)?;
        settle(vitals, instance, known.health(), now);
        Some(Turn::between(&known, vitals))
    }
}

/// The health of an instance that nothing is known of. Registering counts as the first heartbeat (DESIGN §5).
pub(super) fn fresh(service: &Service, instance: &Instance, now: Timestamp) -> Vitals {
    Vitals {
        probed: checks::probing(service, instance).map(|_| Health::Pending),
        beating: instance.heartbeat.map(|_| Health::Healthy),
        since: now,
        ..Vitals::default()
    }
}

/// What stays known of an instance when it or its service's settings are written anew: a verdict belongs to the address that was
/// probed, and is unconfirmed until other checks have confirmed it; heartbeats go on, and a status stays as pushed.
pub(super) fn carried(known: Vitals, before: (&Service, &Instance), after: (&Service, &Instance), now: Timestamp) -> Vitals {
    let health = known.health();
    let (old, new) = (checks::probing(before.0, before.1), checks::probing(after.0, after.1));
    let mut vitals = fresh(after.0, after.1, known.since);
    vitals.pushed = known.pushed;
    vitals.beating = vitals.beating.map(|healthy| known.beating.unwrap_or(healthy));
    vitals.unconfirmed = known.unconfirmed && new.is_none() && vitals.beating.is_some();
    if let (Some(old), Some(new)) = (&old, &new)
        && old.address == new.address
    {
        vitals.probed = known.probed.or(vitals.probed);
        vitals.why = known.why;
        vitals.unconfirmed = vitals.probed != Some(Health::Pending) && (known.unconfirmed || old.checks != new.checks);
    }
    settle(&mut vitals, after.1, health, now);
    vitals
}

/// As [`carried`], for an instance that has registered anew: that counts as a heartbeat.
pub(super) fn registered(known: Vitals, before: (&Service, &Instance), after: (&Service, &Instance), now: Timestamp) -> Vitals {
    let health = known.health();
    let since = known.since;
    let mut vitals = carried(known, before, after, now);
    vitals.beating = vitals.beating.map(|_| Health::Healthy);
    vitals.unconfirmed &= vitals.probed.is_some();
    vitals.since = since;
    settle(&mut vitals, after.1, health, now);
    vitals
}

/// Sets `since` and `why` once the parts are known. The reason of a probe is kept in `why` itself, for it stands nowhere else: so
/// it goes before the reasons that can be told from the other parts.
fn settle(vitals: &mut Vitals, instance: &Instance, before: Health, now: Timestamp) {
    if vitals.health() != before {
        vitals.since = now;
    }
    let note = vitals.pushed.as_ref().map(|pushed| (pushed.status, pushed.note.as_str()));
    let said = |status: &str, note: &str| match note.is_empty() {
        true => status.to_string(),
        false => format!("{status}: {note}"),
    };
    match (vitals.probed, vitals.beating, note) {
        (Some(Health::Unhealthy), _, _) => {}
        (_, Some(Health::Unhealthy), _) => {
            let every = instance.heartbeat.map(|every| format!(" for {every}")).unwrap_or_default();
            vitals.why = format!("no heartbeat{every}");
        }
        (_, _, Some((Status::Critical, note))) => vitals.why = said("critical", note),
        (_, _, Some((Status::Warning, note))) => vitals.why = said("warning", note),
        _ => vitals.why.clear(),
    }
}
