//! The health of instances, as probes, heartbeats and pushed statuses say it; holds of those that flap, slow starts of those that recover.

use super::{InstanceEntry, Registry, ServiceEntry, checks};
use crate::model::{Damping, Health, Instance, InstanceKey, Label, Pushed, Service, Status, Timestamp, Vitals, Warming, Wavers};

/// An instance's health before and after something was learned of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Before.
    pub before: Health,
    /// After.
    pub after: Health,
    /// Whether it began to waver or ceased to, or is confirmed now: shows in TTLs.
    pub resteadied: bool,
    /// Whether it is held down from now on, because it flaps.
    pub held: bool,
    /// Whether any part of it is no longer as it was: worth writing down.
    pub learned: bool,
    /// Until when it is held down, after.
    pub held_until: Option<Timestamp>,
    /// Its slow start, after.
    pub warming: Option<Warming>,
    /// Its place in the order of the ids of its service's instances, where nothing but its health was learned.
    pub place: Option<usize>,
}

/// What a turn begins with. Not the reason, which may be long and comes again with each verdict.
struct Known {
    health: Health,
    is_steady: bool,
    kept: (Option<Health>, Option<Health>, Damping, Option<Warming>),
    pushed: Option<Pushed>,
}

impl Known {
    fn of(vitals: &Vitals) -> Known {
        let kept = (vitals.probed, vitals.beating, vitals.damping(), vitals.warming());
        Known { health: vitals.health(), is_steady: vitals.is_steady(), kept, pushed: vitals.pushed().cloned() }
    }

    /// The turn from this.
    fn turn(&self, after: &Vitals) -> Turn {
        let (damping, warming) = (after.damping(), after.warming());
        let is_held = damping.held_until();
        Turn {
            before: self.health,
            after: after.health(),
            resteadied: self.is_steady != after.is_steady(),
            held: is_held.is_some() && self.kept.2.held_until() != is_held,
            learned: self.kept != (after.probed, after.beating, damping, warming) || self.pushed.as_ref() != after.pushed(),
            held_until: is_held,
            warming,
            place: None,
        }
    }
}

impl Turn {
    /// The turn from `before` to `after`.
    pub fn between(before: &Vitals, after: &Vitals) -> Turn {
        Known::of(before).turn(after)
    }

    /// Whether answers are no longer as they were.
    pub fn shows(self) -> bool {
        self.before != self.after || self.resteadied
    }
}

impl Registry {
    /// Takes the worst verdict of an instance's checks, and whether it `wavers`. `None`: there is no such instance, or it is not probed
    /// (any more).
    pub fn observe(&mut self, key: &InstanceKey, health: Health, wavers: bool, why: impl Into<String>, now: Timestamp) -> Option<Turn> {
        self.learn(key, now, |vitals| {
            vitals.probed.as_mut().map(|probed| *probed = health)?;
            vitals.wavers.probed = wavers;
            vitals.set_why(why);
            vitals.unconfirmed = false;
            Some(())
        })
    }

    /// Takes a heartbeat, or (`beating` false) that one was missed. `None`: there is no such instance, or it has no heartbeat.
    pub fn beat(&mut self, key: &InstanceKey, beating: bool, now: Timestamp) -> Option<Turn> {
        self.learn(key, now, |vitals| {
            let health = if beating { Health::Healthy } else { Health::Unhealthy };
            vitals.beating.as_mut().map(|known| *known = health)?;
            vitals.wavers.beating = false;
            // Where there are checks, it is for them to confirm what was known before a restart.
            vitals.unconfirmed &= vitals.probed.is_some();
            Some(())
        })
    }

    /// Notes that half of a heartbeat's period has passed without a beat. `None`: there is no such instance, or it has no heartbeat.
    pub fn waver(&mut self, key: &InstanceKey, now: Timestamp) -> Option<Turn> {
        self.learn(key, now, |vitals| {
            vitals.wavers.beating = vitals.beating? == Health::Healthy;
            Some(())
        })
    }

    /// Ends the hold of an instance, if its time has come. `None`: it has not, or there is none.
    pub fn release(&mut self, key: &InstanceKey, now: Timestamp) -> Option<Turn> {
        self.learn(key, now, |vitals| vitals.damp(|damping| damping.release(now)).then_some(()))
    }

    /// Takes a step in the slow starts of a service: those that are over end. Returns whether there were any, and when the next step is.
    pub fn step(&mut self, service: &Label, now: Timestamp) -> (bool, Option<Timestamp>) {
        let (mut any, mut next) = (false, None::<Timestamp>);
        let instances = self.services.get_mut(service).into_iter().flat_map(|entry| entry.instances.values_mut());
        for vitals in instances.map(|entry| &mut entry.vitals) {
            any |= vitals.warming().is_some();
            if vitals.warming().is_some_and(|warming| warming.is_over(now)) {
                vitals.set_warming(None);
            }
            next = [next, vitals.warming().map(|warming| warming.next_step(now))].into_iter().flatten().min();
        }
        (any, next)
    }

    /// Takes a pushed status.
    pub(super) fn push(&mut self, key: &InstanceKey, pushed: Pushed, now: Timestamp) -> Option<Turn> {
        self.learn(key, now, |vitals| {
            vitals.set_pushed(Some(pushed));
            Some(())
        })
    }

    /// Takes what was known of an instance before a restart. Holds and slow starts go on, but for those that have ended meanwhile.
    pub fn recall(&mut self, key: &InstanceKey, known: Vitals, now: Timestamp) {
        let Some(service) = self.services.get_mut(&key.service) else { return };
        let ServiceEntry { terms, instances, .. } = service;
        let (service, Some(entry)) = (&*terms.service, instances.get_mut(&key.id)) else { return };
        let fresh = fresh(service, &entry.instance, known.since);
        let sensed = fresh.sensed().is_some();
        let health = known.health();
        let mut vitals = Vitals {
            probed: fresh.probed.map(|pending| known.probed.unwrap_or(pending)),
            beating: fresh.beating.map(|healthy| known.beating.unwrap_or(healthy)),
            unconfirmed: sensed,
            wavers: Wavers::default(),
            ..known
        };
        if !sensed || !service.damps() {
            vitals.damp(|damping| *damping = Damping::default());
        }
        if vitals.warming().is_some_and(|warming| warming.is_over(now) || service.slow_start().is_zero()) {
            vitals.set_warming(None);
        }
        if vitals.damp(|damping| damping.release(now)) && vitals.health() != health {
            vitals.since = now;
        }
        entry.vitals = vitals;
    }

    fn learn(&mut self, key: &InstanceKey, now: Timestamp, change: impl FnOnce(&mut Vitals) -> Option<()>) -> Option<Turn> {
        let ServiceEntry { terms, instances, .. } = self.services.get_mut(&key.service)?;
        let service = &*terms.service;
        let (place, InstanceEntry { vitals, instance, .. }) = instances.find_mut(&key.id)?;
        let (known, sensed) = (Known::of(vitals), vitals.sensed());
        change(vitals)?;
        // Only what is found out is damped, and not what somebody says: a push may turn it as often as it likes.
        if service.damps() && (sensed, vitals.sensed()) == (Some(Health::Healthy), Some(Health::Unhealthy)) {
            vitals.damp(|damping| damping.fell(now));
        }
        settle(vitals, instance, known.health, now);
        if !warms_up(service, known.health, vitals) {
            return Some(Turn { place: Some(place), ..known.turn(vitals) });
        }
        self.warm_up(key, known.health, now);
        Some(Turn { place: Some(place), ..known.turn(&self.instance(key)?.vitals) })
    }

    /// Begins the slow start of an instance that has recovered, if its health was `before`. There is none where no other instance in
    /// its region could carry the load meanwhile: healthy and not drained.
    pub(super) fn warm_up(&mut self, key: &InstanceKey, before: Health, now: Timestamp) {
        let Some(service) = self.services.get(&key.service) else { return };
        let Some(entry) = service.instances.get(&key.id) else { return };
        if !warms_up(&service.service, before, &entry.vitals) {
            return;
        }
        let carries = |(id, other): (&Label, &InstanceEntry)| {
            *id != key.id
                && other.instance.region == entry.instance.region
                && other.vitals.health() == Health::Healthy
                && (self.drains.is_empty() || self.drained_by(&InstanceKey { service: key.service.clone(), id: id.clone() }).is_none())
        };
        let warming = service.instances.iter().any(carries).then(|| Warming::begin(now, service.service.slow_start())).flatten();
        if let Some(entry) = self.services.get_mut(&key.service).and_then(|service| service.instances.get_mut(&key.id)) {
            entry.vitals.set_warming(warming);
        }
    }
}

/// Whether what its health was before and is now may begin a slow start, of services that have one.
fn warms_up(service: &Service, before: Health, vitals: &Vitals) -> bool {
    (before, vitals.health()) == (Health::Unhealthy, Health::Healthy) && !service.slow_start().is_zero()
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
/// probed, and is unconfirmed until other checks have confirmed it; heartbeats go on, and a status stays as pushed. An instance that
/// flapped is the same as long as its address is.
pub(super) fn carried(known: Vitals, before: (&Service, &Instance), after: (&Service, &Instance), now: Timestamp) -> Vitals {
    let health = known.health();
    let (old, new) = (checks::probing(before.0, before.1), checks::probing(after.0, after.1));
    let mut vitals = fresh(after.0, after.1, known.since);
    vitals.set_pushed(known.pushed().cloned());
    vitals.beating = vitals.beating.map(|healthy| known.beating.unwrap_or(healthy));
    vitals.unconfirmed = known.unconfirmed && new.is_none() && vitals.beating.is_some();
    if let (Some(old), Some(new)) = (&old, &new)
        && old.address == new.address
    {
        vitals.probed = known.probed.or(vitals.probed);
        vitals.set_why(known.why());
        vitals.unconfirmed = vitals.probed != Some(Health::Pending) && (known.unconfirmed || old.checks != new.checks);
    }
    vitals.wavers = Wavers {
        // New checks begin from nothing, as do the beats of an instance that was written anew.
        probed: known.wavers.probed && old == new,
        beating: known.wavers.beating && before.1 == after.1,
    };
    if before.1.addresses.first() == after.1.addresses.first() {
        if after.0.damps() && vitals.sensed().is_some() {
            vitals.damp(|damping| *damping = known.damping());
        }
        vitals.set_warming(known.warming().filter(|_| !after.0.slow_start().is_zero()));
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
    vitals.wavers.beating = false;
    vitals.unconfirmed &= vitals.probed.is_some();
    vitals.since = since;
    settle(&mut vitals, after.1, health, now);
    vitals
}

/// Sets `since` and `why` once the parts are known, and ends the slow start of what is not healthy. The reason of a probe is kept in
/// `why` itself, for it stands nowhere else: so it goes before the reasons that can be told from the other parts.
fn settle(vitals: &mut Vitals, instance: &Instance, before: Health, now: Timestamp) {
    if vitals.health() != before {
        vitals.since = now;
    }
    if vitals.health() != Health::Healthy {
        vitals.set_warming(None);
    }
    let said = |status: &str, note: &str| match note.is_empty() {
        true => status.to_string(),
        false => format!("{status}: {note}"),
    };
    let why = match (vitals.probed, vitals.beating, vitals.pushed()) {
        (Some(Health::Unhealthy), _, _) => return,
        (_, Some(Health::Unhealthy), _) => {
            let every = instance.heartbeat.map(|every| format!(" for {every}")).unwrap_or_default();
            format!("no heartbeat{every}")
        }
        (_, _, Some(Pushed { status: Status::Critical, note })) => said("critical", note),
        (_, _, Some(Pushed { status: Status::Warning, note })) => said("warning", note),
        // Why it wavers.
        _ if vitals.wavers.probed => return,
        _ => String::new(),
    };
    vitals.set_why(why);
}
