//! What a service is compiled of: what the registry has of it, and how its instances stand by that.

use std::collections::BTreeMap;

use crate::model::{Health, Instance, Label, Out, Ports, Service, Share, Vitals};
use crate::routing::Standing;

/// A service as the registry has it.
#[derive(Debug, Clone)]
pub struct ServiceView<'a> {
    /// Its settings.
    pub service: &'a Service,
    /// Its instances, in the order of their ids.
    pub instances: Vec<InstanceView<'a>>,
    /// How far the service is out of answers as a whole.
    pub out: Out,
}

/// An instance as the registry has it.
#[derive(Debug, Clone)]
pub struct InstanceView<'a> {
    /// Its id.
    pub id: &'a Label,
    /// What was registered.
    pub instance: &'a Instance,
    /// Its health.
    pub vitals: &'a Vitals,
    /// How far it is out of answers by itself.
    pub out: Out,
    /// How warm it is after a recovery, in percent of its weight: 1–100 (slow start).
    pub warmth: u8,
}

/// A service of which nothing has changed but the health of some instances, or how steady it is; it is not drained as a whole.
pub struct TurnedView<'a> {
    /// Its settings.
    pub service: &'a Service,
    /// Those instances, by their places in the order of ids.
    pub turned: &'a [usize],
    /// Those of its instances that have drains of their own, by id.
    pub outs: &'a BTreeMap<&'a Label, Out>,
    /// How many instances there are.
    pub count: usize,
    /// Each of them, by its place in the order of ids.
    pub instance: &'a dyn Fn(usize) -> Option<InstanceView<'a>>,
}

/// The ports of an instance: its own, or where it names none the service's.
pub(super) fn ports_of<'a>(view: &ServiceView<'a>, instance: &InstanceView<'a>) -> &'a Ports {
    if instance.instance.ports.is_empty() { &view.service.fields.ports } else { &instance.instance.ports }
}

/// The operator's word first, then health; what is down is told apart by whether it was healthy when anything last was.
pub(super) fn standing(out: Out, instance: &InstanceView<'_>, last_good: Option<&[Label]>) -> Standing {
    match instance.vitals.health() {
        _ if out.share == Share::ALL => Standing::Drained,
        Health::Healthy => Standing::Healthy,
        Health::Pending => Standing::Pending,
        Health::Unhealthy if last_good.is_some_and(|good| good.binary_search(instance.id).is_ok()) => Standing::LastGood,
        Health::Unhealthy => Standing::Unhealthy,
    }
}

/// The time in which the instance's standing cannot change: what its checks and heartbeat need at least to turn the verdict.
///
/// That holds from any moment at which it is steady: no result speaks against the verdict yet, so after the next one that does, `fall`
/// (or `rise`) less one more are needed, an interval apart (the jitter of their starts aside); and the last heartbeat is younger than
/// half of its period, so it is missed after the other half at the earliest. Whoever sees the first result against it, or the half
/// pass, has the service compiled anew, and then it may turn at once, as may what is known only from before a restart (DESIGN §5).
pub(super) fn steady_ms(service: &Service, view: &InstanceView<'_>) -> u32 {
    if !view.vitals.is_steady() {
        return 0;
    }
    let checks = view.instance.checks.as_ref().unwrap_or(&service.fields.checks);
    let health = view.vitals.health();
    let needed = checks.iter().map(|check| match health {
        Health::Healthy => check.interval.millis() * u64::from(check.fall.saturating_sub(1)),
        Health::Unhealthy => check.interval.millis() * u64::from(check.rise.saturating_sub(1)),
        Health::Pending => 0,
    });
    // Beats that begin again are a word from outside, as a registration is: no time is known for it, and what is answered stays right.
    let beat = view.instance.heartbeat.filter(|_| health == Health::Healthy).map(|h| h.millis() / 2);
    needed.chain(beat).min().unwrap_or(u64::MAX).try_into().unwrap_or(u32::MAX)
}
