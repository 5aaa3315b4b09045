//! What the registry says of itself in metrics, copied out under its lock and written after it.

use std::collections::BTreeMap;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet};
use prometheus_client::metrics::MetricType;

use crate::model::{Generation, Health, InstanceKey, Label, Revision, Subject, Timestamp};
use crate::registry::Registry;

/// Most instances with series of their own. Above it only those that are not healthy, or are drained, have them: whoever asks why an
/// instance is out is still answered, and a scrape stays small.
pub const MOST_INSTANCES: usize = 10_000;

/// One instance.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    key: InstanceKey,
    region: Label,
    az: Label,
    health: Health,
    drained: bool,
}

/// What is known at one moment.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    revision: Revision,
    generation: Generation,
    services: usize,
    /// By region, and by health in the order of [`HEALTH`]; then those drained.
    regions: BTreeMap<Label, ([u64; 3], u64)>,
    /// By region: held down, warming, wavering.
    recovering: BTreeMap<Label, [u64; 3]>,
    /// By kind in the order of [`KINDS`].
    drains: [u64; 4],
    /// How far each drain has come: its subject, and the ratio of clients that it has moved.
    shares: Vec<(String, f64)>,
    lines: Vec<Line>,
    left_out: u64,
}

const HEALTH: [Health; 3] = [Health::Unhealthy, Health::Pending, Health::Healthy];
/// In the order of `Facts::recovering`.
const RECOVERING: [(&str, &str); 3] = [
    ("instances_held_down", "Instances that are held unhealthy because they flap"),
    ("instances_warming", "Instances that bear a part of their weight only, since they have recovered a moment ago"),
    ("instances_wavering", "Instances whose last results speak against their health, or whose heartbeat is late"),
];
const KINDS: [&str; 4] = ["region", "az", "service", "instance"];

impl Facts {
    /// Copies what is wanted out of the registry as it is at `now`; at most `most` instances with a line of their own.
    pub fn read(registry: &Registry, generation: Generation, most: usize, now: Timestamp) -> Facts {
        let mut facts = Facts { revision: registry.revision, generation, services: registry.services.len(), ..Facts::default() };
        for (subject, entry) in &registry.drains {
            let kind = match subject {
                Subject::Region(_) => 0,
                Subject::Az(_) => 1,
                Subject::Service(_) => 2,
                Subject::Instance(_) => 3,
            };
            facts.drains[kind] += 1;
            facts.shares.push((subject.to_string(), entry.drain.out(now).share.ratio()));
        }
        for region in registry.regions.iter().flat_map(|regions| regions.keys()) {
            facts.regions.entry(region.clone()).or_default();
        }
        let total: usize = registry.services.values().map(|service| service.instances.len()).sum();
        for (name, service) in &registry.services {
            for (id, entry) in &service.instances {
                let key = InstanceKey { service: name.clone(), id: id.clone() };
                let health = entry.vitals.health();
                let drained = registry.is_out(&key, now);
                let (by_health, of_drained) = facts.regions.entry(entry.instance.region.clone()).or_default();
                by_health[health as usize] += 1;
                *of_drained += u64::from(drained);
                let vitals = &entry.vitals;
                let recovering = facts.recovering.entry(entry.instance.region.clone()).or_default();
                for (count, applies) in
                    recovering.iter_mut().zip([vitals.damping().held_until().is_some(), vitals.warming().is_some(), vitals.wavering()])
                {
                    *count += u64::from(applies);
                }
                if total <= most || ((health != Health::Healthy || drained) && facts.lines.len() < most) {
                    let (region, az) = (entry.instance.region.clone(), entry.instance.az.clone());
                    facts.lines.push(Line { key, region, az, health, drained });
                } else {
                    facts.left_out += 1;
                }
            }
        }
        facts
    }

    /// Writes all of it.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        number(encoder, "revision", "The newest revision of the store", self.revision.0 as i64)?;
        number(encoder, "snapshot_generation", "The number of the snapshot that queries see", self.generation.0 as i64)?;
        number(encoder, "services", "Services", self.services as i64)?;
        let drains = KINDS.iter().zip(self.drains).map(|(kind, count)| ([("kind", *kind)], count as i64));
        gauge(encoder, "drains", "Drains in force", drains)?;
        let shares = self.shares.iter().map(|(subject, ratio)| ([("subject", subject.as_str())], *ratio));
        gauge(encoder, "drain_share", "How far a drain has come: the ratio of clients that it keeps away, 0 to 1", shares)?;
        let by_health = self.regions.iter().flat_map(|(region, (counts, _))| {
            HEALTH.iter().map(move |health| ([("region", region.as_str()), ("health", health.as_str())], counts[*health as usize] as i64))
        });
        gauge(encoder, "instances", "Instances, drained or not", by_health)?;
        let drained = self.regions.iter().map(|(region, (_, drained))| ([("region", region.as_str())], *drained as i64));
        gauge(
            encoder,
            "instances_drained",
            "Instances that drains keep out of everybody's answers: of their own, their service, az or region",
            drained,
        )?;
        for (number, (name, help)) in RECOVERING.iter().enumerate() {
            let counts = self.recovering.iter().map(|(region, counts)| ([("region", region.as_str())], counts[number] as i64));
            gauge(encoder, name, help, counts)?;
        }
        let health = self.lines.iter().map(|line| {
            let value = match line.health {
                Health::Unhealthy => 0.0,
                Health::Pending => 0.5,
                Health::Healthy => 1.0,
            };
            (line.labels(), value)
        });
        gauge(encoder, "instance_health", "Health of an instance: 0 unhealthy, 0.5 no result yet, 1 healthy", health)?;
        let drained = self.lines.iter().filter(|line| line.drained).map(|line| (line.labels(), 1_i64));
        gauge(encoder, "instance_drained", "1 for each instance that a drain keeps out of everybody's answers", drained)?;
        let help = "Instances without series of their own: there are too many, and they are well";
        number(encoder, "instance_health_left_out", help, self.left_out as i64)
    }
}

impl Line {
    fn labels(&self) -> [(&str, &str); 4] {
        [
            ("service", self.key.service.as_str()),
            ("instance", self.key.id.as_str()),
            ("region", self.region.as_str()),
            ("az", self.az.as_str()),
        ]
    }
}

/// Writes one gauge without labels.
fn number(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> std::fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

/// Writes one gauge with a value for each set of labels.
fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, V)>,
) -> std::fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}
