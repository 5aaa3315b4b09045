//! What the API shows: documents made from the registry, copied out under its lock and written as JSON after it.

use serde::Serialize;

use crate::model::{
    Damping, Health, Instance, InstanceKey, Label, Period, PolicyKind, Pushed, Revision, ServiceFields, Source, Stage, Subject, Timestamp,
    Toward,
};
use crate::registry::{DrainEntry, InstanceEntry, Registry, ServiceEntry};

/// A write that was made: durable and in answers.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Written {
    /// The revision of the write.
    pub revision: Revision,
    /// When the drain ends by itself; only of drains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When everybody will have moved; only of drains that are on their way there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<Timestamp>,
    /// When nothing will be left of the drain; only of drains that are lifted little by little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Timestamp>,
}

/// How many instances there are, by health and by the operator's word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Tally {
    /// All of them.
    pub total: usize,
    /// Healthy, drained or not.
    pub healthy: usize,
    /// Without a result yet.
    pub pending: usize,
    /// Unhealthy.
    pub unhealthy: usize,
    /// Out of everybody's answers by a drain of their own, their service, az or region, whatever their health. One that has not come all
    /// the way leaves them in the answers of some: they are not counted here before it has.
    pub drained: usize,
    /// Healthy and not drained: what answers are made of, be it for some clients only.
    pub available: usize,
}

impl Tally {
    /// Counts one instance.
    pub fn count(&mut self, health: Health, drained: bool) {
        self.total += 1;
        match health {
            Health::Healthy => self.healthy += 1,
            Health::Pending => self.pending += 1,
            Health::Unhealthy => self.unhealthy += 1,
        }
        self.drained += usize::from(drained);
        self.available += usize::from(health == Health::Healthy && !drained);
    }

    /// Adds the counts of a part.
    pub fn add(&mut self, part: &Tally) {
        self.total += part.total;
        self.healthy += part.healthy;
        self.pending += part.pending;
        self.unhealthy += part.unhealthy;
        self.drained += part.drained;
        self.available += part.available;
    }
}

/// Who set something: decides who may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SetBy {
    /// The API.
    Api,
    /// A zone file; `file` names it.
    File,
    /// Nobody: defaults hold.
    Default,
}

/// Splits a source into who and which file.
fn set_by(source: Option<&Source>) -> (SetBy, Option<String>) {
    match source {
        Some(Source::Api) => (SetBy::Api, None),
        Some(Source::File(file)) => (SetBy::File, Some(file.to_string())),
        None => (SetBy::Default, None),
    }
}

/// A drain in force.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DrainDocument {
    /// `region/eu-west`, `az/eu-west/eu-west-1a`, `service/web` or `instance/web/eu1`.
    #[schema(value_type = String)]
    pub subject: Subject,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub author: String,
    /// Since when.
    pub started: Timestamp,
    /// When it ends by itself; one with a ramp is lifted from then on.
    pub expires: Timestamp,
    /// How far it has come.
    pub state: Stage,
    /// The share of clients for whom its subject is out of answers, in percent, 0–100.
    pub share: f64,
    /// Within which time all clients move, out or back; absent: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Period>,
    /// When everybody will have moved; only while it is on its way there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<Timestamp>,
    /// When nothing will be left of it; only while it is lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Timestamp>,
    /// Why the safety rules were overruled; absent: they held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#override: Option<String>,
    /// When it was written.
    pub revision: Revision,
}

impl DrainDocument {
    /// Shows a drain as it is at `now`.
    pub fn new(subject: &Subject, entry: &DrainEntry, now: Timestamp) -> DrainDocument {
        let DrainEntry { drain, revision } = entry;
        let course = drain.course_at(now);
        DrainDocument {
            subject: subject.clone(),
            reason: drain.reason.clone(),
            author: drain.author.clone(),
            started: drain.started,
            expires: drain.expires,
            state: drain.stage(now),
            // Two digits are more than anybody reads.
            share: (course.share(now).ratio() * 10_000.0).round() / 100.0,
            ramp: Some(course.ramp).filter(|ramp| !ramp.0.is_zero()),
            whole: drain.whole(now),
            over: course.arrives().filter(|_| course.toward == Toward::In),
            r#override: drain.overridden.clone(),
            revision: *revision,
        }
    }

    /// The drain of exactly `subject`, where there is one.
    pub fn of(registry: &Registry, subject: &Subject, now: Timestamp) -> Option<DrainDocument> {
        registry.drains.get(subject).map(|entry| DrainDocument::new(subject, entry, now))
    }
}

/// One instance: what was registered, and how it is.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct InstanceDocument {
    /// Its service.
    pub service: Label,
    /// Its id.
    pub id: Label,
    /// As registered.
    #[serde(flatten)]
    #[schema(value_type = Instance)]
    pub instance: Instance,
    /// Who registered it.
    pub source: SetBy,
    /// The zone file that declares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When it was last written: its ETag; 0 for those of files.
    pub revision: Revision,
    /// Its health.
    pub health: Health,
    /// Why it has that health; empty where there is nothing to say.
    pub why: String,
    /// Since when it has had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The health is from before a restart and not yet confirmed.
    pub unconfirmed: bool,
    /// Its last results speak against its health, or a heartbeat is late: it may turn soon, and is answered with the least TTL.
    pub wavering: bool,
    /// How warm it is after a recovery, in percent of its weight; absent where it bears all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 10, maximum = 99)]
    pub warmth: Option<u8>,
    /// How it flaps; absent where it has not turned Unhealthy of late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damping: Option<DampingDocument>,
    /// What each source says of its health.
    pub parts: Parts,
    /// The drain that keeps it out of answers, or begins to: its own, its service's, its az's or its region's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained_by: Option<DrainDocument>,
}

/// The sources of an instance's health; the worst of them wins. Absent: it has no such source.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Parts {
    /// The worst of its active checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probed: Option<Health>,
    /// Whether its heartbeats are on time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beating: Option<Health>,
    /// What was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Pushed>,
}

/// How often an instance turned from healthy to unhealthy of late.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DampingDocument {
    /// One for each turn, halved every 60 s; a turn that brings it above 2 holds the instance down. 0–16.
    pub penalty: f64,
    /// Turns since it was last quiet.
    pub turns: u32,
    /// Until when it is held down, whatever its checks and heartbeats say; absent: it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_until: Option<Timestamp>,
}

impl DampingDocument {
    /// Shows what there is to tell.
    fn new(damping: &Damping, now: Timestamp) -> Option<DampingDocument> {
        let shown = DampingDocument { penalty: damping.penalty(now), turns: damping.turns(), held_until: damping.held_until() };
        (!damping.is_quiet(now)).then_some(shown)
    }
}

impl InstanceDocument {
    /// Shows an instance as it is at `now`.
    pub fn new(registry: &Registry, key: InstanceKey, entry: &InstanceEntry, now: Timestamp) -> InstanceDocument {
        let (source, file) = set_by(Some(&entry.source));
        let vitals = &entry.vitals;
        InstanceDocument {
            source,
            file,
            instance: entry.instance.clone(),
            revision: entry.revision,
            health: vitals.health(),
            why: vitals.reason(),
            since: (vitals.since != Timestamp::default()).then_some(vitals.since),
            unconfirmed: vitals.unconfirmed,
            wavering: vitals.wavering(),
            warmth: Some(vitals.warmth(now)).filter(|warmth| *warmth < 100),
            damping: DampingDocument::new(&vitals.damping(), now),
            parts: Parts { probed: vitals.probed, beating: vitals.beating, pushed: vitals.pushed().cloned() },
            drained_by: drain_over(registry, &key).map(|(subject, entry)| DrainDocument::new(&subject, entry, now)),
            service: key.service,
            id: key.id,
        }
    }
}

/// The drain over an instance, however far it has come; cheap where nothing at all is drained.
fn drain_over<'r>(registry: &'r Registry, key: &InstanceKey) -> Option<(Subject, &'r DrainEntry)> {
    if registry.drains.is_empty() { None } else { registry.drained_by(key) }
}

/// One line of the list of services.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ServiceLine {
    /// Its name.
    pub name: Label,
    /// The rule by which its names choose.
    pub policy: PolicyKind,
    /// Its instances.
    pub instances: usize,
    /// Those that are healthy, drained or not.
    pub healthy: usize,
    /// Those that a drain keeps out of everybody's answers.
    pub drained: usize,
    /// Those that are healthy and not drained: what answers are made of.
    pub available: usize,
    /// Who set its policy.
    pub source: SetBy,
    /// The zone file that defines it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When anything in it last changed.
    pub changed: Revision,
}

impl ServiceLine {
    /// Shows a service as it is at `now`, counting those of its instances that `wanted` holds for.
    pub fn new(
        registry: &Registry,
        name: &Label,
        entry: &ServiceEntry,
        wanted: impl Fn(&InstanceEntry, bool) -> bool,
        now: Timestamp,
    ) -> ServiceLine {
        let (source, file) = set_by(entry.source.as_ref());
        let mut tally = Tally::default();
        for (id, instance) in &entry.instances {
            let drained = registry.is_out(&InstanceKey { service: name.clone(), id: id.clone() }, now);
            if wanted(instance, drained) {
                tally.count(instance.vitals.health(), drained);
            }
        }
        ServiceLine {
            name: name.clone(),
            policy: entry.service.policy.kind,
            instances: tally.total,
            healthy: tally.healthy,
            drained: tally.drained,
            available: tally.available,
            source,
            file,
            changed: entry.changed,
        }
    }
}

/// The list of services.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ServiceList {
    /// What to give as `after` to wait for the next change; also in `X-Signpost-Revision`.
    pub revision: Revision,
    /// By name.
    pub services: Vec<ServiceLine>,
}

/// One service with its instances.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ServiceDocument {
    /// Its name.
    pub name: Label,
    /// What to give as `after` to wait for its next change; also in `X-Signpost-Revision`.
    pub revision: Revision,
    /// When its settings were last written: its ETag; 0 for those of files and for defaults.
    pub written: Revision,
    /// The rule by which its names choose.
    pub policy: PolicyKind,
    /// Its settings as written, defaults left out.
    pub settings: ServiceFields,
    /// Who set them.
    pub source: SetBy,
    /// The zone file that defines it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The drain of the whole service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainDocument>,
    /// Its instances that match, by id.
    pub instances: Vec<InstanceDocument>,
}

impl ServiceDocument {
    /// Shows a service as it is at `now`, with those of its instances that `wanted` holds for.
    pub fn new(
        registry: &Registry,
        name: &Label,
        entry: &ServiceEntry,
        wanted: impl Fn(&InstanceEntry, bool) -> bool,
        now: Timestamp,
    ) -> ServiceDocument {
        let (source, file) = set_by(entry.source.as_ref());
        let key = |id: &Label| InstanceKey { service: name.clone(), id: id.clone() };
        ServiceDocument {
            name: name.clone(),
            revision: registry.revision.max(entry.changed),
            written: entry.revision,
            policy: entry.service.policy.kind,
            settings: entry.service.fields.clone(),
            source,
            file,
            drain: DrainDocument::of(registry, &Subject::Service(name.clone()), now),
            instances: entry
                .instances
                .iter()
                .filter(|(id, instance)| wanted(instance, registry.is_out(&key(id), now)))
                .map(|(id, instance)| InstanceDocument::new(registry, key(id), instance, now))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::tests::{command, key};

    #[test]
    fn an_instance_tells_how_steady_and_how_warm_it_is_and_whether_it_is_held_down() {
        let mut registry = Registry::default();
        let at = |seconds: u64| Timestamp(seconds * 1_000);
        for (n, id) in ["a", "b"].into_iter().enumerate() {
            let put = format!(r#"put web/{id} {{"ports": {{"http": 80}}, "checks": [{{"tcp": true}}]}}"#);
            registry.apply(&command(&put), at(0), Revision(n as u64 + 1)).unwrap();
            registry.observe(&key(&format!("web/{id}")), Health::Healthy, false, "", at(0));
        }
        let web = key("web/a");
        // `h`, `h?`, `u` and how it is shown at that second.
        for (second, sees, expected) in [
            (0, "h", json!({ "health": "healthy", "why": "", "wavering": false })),
            (1, "h?", json!({ "health": "healthy", "why": "late", "wavering": true })),
            (2, "u", json!({ "health": "unhealthy", "why": "late", "wavering": false, "damping": { "penalty": 1.0, "turns": 1 } })),
            (
                32,
                "h",
                json!({ "health": "healthy", "why": "", "wavering": false, "warmth": 10, "damping": { "penalty": 0.707, "turns": 1 } }),
            ),
            (72, "h", json!({ "health": "healthy", "why": "", "wavering": false, "warmth": 70 })),
            (92, "h", json!({ "health": "healthy", "why": "", "wavering": false })),
        ] {
            let (health, why) = if sees == "h" { (Health::Healthy, "") } else { (Health::Healthy, "late") };
            let health = if sees == "u" { Health::Unhealthy } else { health };
            registry.observe(&web, health, sees == "h?", why, at(second));
            let shown = shown(&registry, at(second));
            assert_eq!(shown, expected, "{second}");
        }
        // The turn before was forgotten as one, but for what is left of its penalty.
        for (second, health) in [(93, Health::Unhealthy), (93, Health::Healthy), (93, Health::Unhealthy)] {
            registry.observe(&web, health, false, "late", at(second));
        }
        let why = "flapping: 2 turns; held down until 1970-01-01T00:02:03.000Z; late";
        let damping = json!({ "penalty": 2.349, "turns": 2, "held_until": "1970-01-01T00:02:03.000Z" });
        assert_eq!(shown(&registry, at(93)), json!({ "health": "unhealthy", "why": why, "wavering": false, "damping": damping }));

        /// The fields in question.
        fn shown(registry: &Registry, now: Timestamp) -> Value {
            let key = key("web/a");
            let document = InstanceDocument::new(registry, key.clone(), registry.instance(&key).unwrap(), now);
            let mut shown = serde_json::to_value(&document).unwrap();
            shown.as_object_mut().unwrap().retain(|name, _| ["health", "why", "wavering", "warmth", "damping"].contains(&name.as_str()));
            shown
        }
    }
}
