//! What a drill sees of the world at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{Health, InstanceKey, Label, Out, Subject, Timestamp};
use crate::registry::{Registry, concerns};

use super::machine::reason;

/// What a drill sees.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The drain of exactly what the drill loses, where there is one.
    pub drain: Option<Standing>,
    /// Queries answered since the server started.
    pub answers: u64,
    /// Those that got nothing where something would have been answered without drains.
    pub empty: u64,
    /// Those answered although nothing was healthy.
    pub fail_open: u64,
    /// Answers that held an instance of what is lost; `None`: that is not counted.
    pub old: Option<u64>,
    /// Answers that held an instance of each region.
    pub by_region: BTreeMap<String, u64>,
    /// Regions that stay and have a healthy instance which is not drained.
    pub healthy_regions: u32,
    /// How much of the weight that stays is healthy and not drained, in percent.
    pub healthy_weight: f64,
    /// The metric that is watched, if one is.
    pub metric: Option<MetricView>,
    /// The shortest and the longest TTL of answers.
    pub ttl: (Duration, Duration),
}

/// A drain as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is this drill's.
    pub ours: bool,
    /// Why it was made.
    pub reason: String,
    /// How far it has come.
    pub out: Out,
}

/// A metric as it was last read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricView {
    /// The number; `None`: none was ever read.
    pub value: Option<f64>,
    /// Readings in a row that failed.
    pub failures: u32,
    /// Why the last one did.
    pub error: Option<String>,
}

/// The drain of a subject as it is now.
pub fn standing(registry: &Registry, subject: &Subject, run: &str, now: Timestamp) -> Option<Standing> {
    let drain = &registry.drains.get(subject)?.drain;
    Some(Standing { ours: drain.reason == reason(run), reason: drain.reason.clone(), out: drain.out(now) })
}

/// How well what stays without `lost` is: regions with a healthy instance, and the percentage of weight that is healthy.
pub fn survey(registry: &Registry, lost: &Subject) -> (u32, f64) {
    let mut regions: BTreeSet<&Label> = BTreeSet::new();
    let (mut all, mut healthy) = (0u64, 0u64);
    for (name, service) in &registry.services {
        // Instances of which none has a weight are equal (DESIGN §3).
        let equal = service.instances.values().all(|entry| entry.instance.weight == 0);
        for (id, entry) in &service.instances {
            if concerns(lost, name, id, &entry.instance) {
                continue;
            }
            let weight = if equal { 1 } else { u64::from(entry.instance.weight) };
            all += weight;
            let is_drained =
                || !registry.drains.is_empty() && registry.drained_by(&InstanceKey { service: name.clone(), id: id.clone() }).is_some();
            if entry.vitals.health() == Health::Healthy && !is_drained() {
                healthy += weight;
                if weight > 0 && !regions.contains(&entry.instance.region) {
                    regions.insert(&entry.instance.region);
                }
            }
        }
    }
    let share = if all == 0 { 0.0 } else { healthy as f64 * 100.0 / all as f64 };
    (regions.len().try_into().unwrap_or(u32::MAX), share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Drain, DrainFields, Revision};
    use crate::registry::{Command, Precondition};

    fn world(instances: &[(&str, &str, u32)]) -> Registry {
        let mut registry = Registry::default();
        for (n, (id, region, weight)) in instances.iter().enumerate() {
            let json = format!(r#"{{"addresses":["192.0.2.1"],"region":"{region}","az":"a","weight":{weight}}}"#);
            let key = InstanceKey { service: Label::parse("web").unwrap(), id: Label::parse(id).unwrap() };
            let instance = std::sync::Arc::new(serde_json::from_str(&json).unwrap());
            let command = Command::PutInstance { key, instance, precondition: Precondition::None };
            registry.apply(&command, Timestamp(0), Revision(n as u64 + 1)).unwrap();
        }
        registry
    }

    #[test]
    fn instances_of_which_none_has_a_weight_are_equal() {
        let registry = world(&[("eu", "eu", 0), ("us", "us", 0), ("ap", "ap", 0)]);
        let survey = survey(&registry, &Subject::parse("region/eu").unwrap());
        assert_eq!(survey, (2, 100.0));
    }

    #[test]
    fn what_is_lost_is_not_counted_among_what_stays() {
        let mut registry = world(&[("eu", "eu", 100), ("us", "us", 60), ("ap", "ap", 40)]);
        let check = |registry: &Registry, lost: &str, regions: u32, weight: f64| {
            assert_eq!(survey(registry, &Subject::parse(lost).unwrap()), (regions, weight), "{lost}");
        };
        check(&registry, "region/eu", 2, 100.0);
        check(&registry, "az/us/a", 2, 100.0);
        check(&registry, "instance/web/ap", 2, 100.0);
        check(&registry, "service/web", 0, 0.0);
        let drain = Drain::start(DrainFields { reason: "x".into(), ..DrainFields::default() }, "ann", Timestamp(0)).unwrap();
        let subject = Subject::parse("region/us").unwrap();
        registry.apply(&Command::Drain { subject: subject.clone(), drain }, Timestamp(0), Revision(9)).unwrap();
        check(&registry, "region/eu", 1, 40.0);
        let found = standing(&registry, &subject, "20261124T100000Z-x", Timestamp(0)).unwrap();
        assert!(!found.ours && found.out == Out::DRAINED, "{found:?}");
    }
}
