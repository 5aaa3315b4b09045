//! From a command to a change, or a refusal: everything is checked here, and nothing is changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{Change, Command, DrainEntry, Precondition, Refusal, Registry, ServiceEntry, Steering, checks, updates};
use crate::model::{
    BranchFields, Drain, FieldError, Instance, InstanceKey, Label, MAX_SERVICE_PORTS, Period, Protocol, Pushed, Region, Revision, Service,
    Source, Subject, Timestamp, check_ramp,
};

/// What a batch holds so far: changes that are planned and not yet carried out.
///
/// A batch goes to the store as one commit. Commands whose outcome would depend on an earlier one of the same batch are held back
/// ([`Hold::Later`]) and planned again once the batch is carried out, so that a plan needs to look at the registry alone.
#[derive(Debug, Default)]
pub struct Draft {
    /// By service: the ids of its instances in the batch.
    instances: HashMap<Label, HashSet<Label>>,
    services: HashMap<Label, Names>,
    /// A command of a whole service or a drain is in the batch: nothing joins it.
    alone: bool,
}

/// Ports of the instances of a service, by name and protocol.
type Names = BTreeSet<(Label, Protocol)>;

/// Why a command has no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// It is refused.
    Refused(Refusal),
    /// It depends on what the draft holds.
    Later,
}

impl<R: Into<Refusal>> From<R> for Hold {
    fn from(refusal: R) -> Hold {
        Hold::Refused(refusal.into())
    }
}

impl Draft {
    /// Whether nothing is planned yet.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty() && !self.alone
    }

    /// Whether an instance of the service is in the batch.
    fn touches(&self, service: &Label) -> bool {
        self.instances.contains_key(service)
    }

    /// What is alone in a batch waits for those before it.
    fn free(&self) -> Result<(), Hold> {
        if self.is_empty() { Ok(()) } else { Err(Hold::Later) }
    }

    fn join(&self, key: &InstanceKey) -> Result<(), Hold> {
        let holds = self.instances.get(&key.service).is_some_and(|ids| ids.contains(&key.id));
        if self.alone || holds { Err(Hold::Later) } else { Ok(()) }
    }

    fn take(&mut self, key: &InstanceKey) {
        self.instances.entry(key.service.clone()).or_default().insert(key.id.clone());
    }
}

impl Registry {
    /// What `command` would change at `now`, beside what `draft` already holds; an accepted command joins the draft.
    pub fn plan(&self, draft: &mut Draft, command: &Command, now: Timestamp) -> Result<Change, Hold> {
        match command {
            Command::PutInstance { key, instance, precondition } => self.plan_put_instance(draft, key, instance, *precondition),
            Command::DeleteInstance { key, precondition } => self.plan_delete_instance(draft, key, *precondition),
            Command::PutService { name, service, precondition } => self.plan_put_service(draft, name, service, *precondition),
            Command::DeleteService { name, precondition } => self.plan_delete_service(draft, name, *precondition),
            Command::Drain { subject, drain } => self.plan_drain(draft, subject, drain, now),
            Command::Undrain { subject, ramp } => self.plan_undrain(draft, subject, *ramp, now),
            Command::Pause { subject } => {
                let refusal = || Refusal::NotMoving(subject.clone());
                self.plan_steering(draft, subject, Steering::Pause, |drain| drain.pause(now).ok_or_else(refusal))
            }
            Command::Resume { subject } => {
                let refusal = || Refusal::NotPaused(subject.clone());
                self.plan_steering(draft, subject, Steering::Resume, |drain| drain.resume(now).ok_or_else(refusal))
            }
            Command::Push { key, pushed } => self.plan_push(draft, key, pushed),
            Command::Update { update, key, rights } => {
                draft.free()?;
                let change = updates::plan(self, update, key, rights, now).map_err(Refusal::from)?;
                draft.alone = !change.is_void();
                Ok(Change::Zone(change))
            }
            Command::DropUpdates { apex, author } => {
                draft.free()?;
                let change = updates::plan_drop(self, apex, author, now).map_err(Refusal::from)?;
                draft.alone = !change.is_void();
                Ok(Change::Zone(change))
            }
        }
    }

    fn plan_put_instance(
        &self,
        draft: &mut Draft,
        key: &InstanceKey,
        instance: &Arc<Instance>,
        precondition: Precondition,
    ) -> Result<Change, Hold> {
        draft.join(key)?;
        let entry = self.services.get(&key.service);
        let present = entry.and_then(|service| service.instances.get(&key.id));
        if let Some(Source::File(file)) = present.map(|present| &present.source) {
            return Err(defined(&Subject::Instance(key.clone()), file).into());
        }
        let before = present.map(|present| present.revision);
        hold_to(precondition, before)?;
        self.check_service_name(&key.service)?;
        instance.validate()?;
        self.check_place(instance)?;
        let defaults = Service::default();
        let service = entry.map_or(&defaults, |entry| &entry.service);
        checks::validate(service, instance)?;
        self.join_ports(draft, key, entry, service, instance)?;
        draft.take(key);
        Ok(Change::PutInstance { key: key.clone(), instance: instance.clone(), before })
    }

    fn plan_delete_instance(&self, draft: &mut Draft, key: &InstanceKey, precondition: Precondition) -> Result<Change, Hold> {
        draft.join(key)?;
        let present = self.instance(key).ok_or_else(|| Refusal::UnknownInstance(key.clone()))?;
        if let Source::File(file) = &present.source {
            return Err(defined(&Subject::Instance(key.clone()), file).into());
        }
        hold_to(precondition, Some(present.revision))?;
        draft.take(key);
        Ok(Change::DeleteInstance { key: key.clone(), before: present.revision })
    }

    fn plan_put_service(
        &self,
        draft: &mut Draft,
        name: &Label,
        service: &Arc<Service>,
        precondition: Precondition,
    ) -> Result<Change, Hold> {
        draft.free()?;
        let entry = self.services.get(name);
        if let Some(Source::File(file)) = entry.and_then(|entry| entry.source.as_ref()) {
            return Err(defined(&Subject::Service(name.clone()), file).into());
        }
        hold_to(precondition, entry.map(|entry| entry.revision))?;
        self.check_service_name(name)?;
        let instances = entry.iter().flat_map(|entry| &entry.instances).map(|(id, entry)| (id, &entry.instance));
        self.check_service(name, service, instances)?;
        let before = entry.filter(|entry| entry.source == Some(Source::Api)).map(|entry| entry.revision);
        draft.alone = true;
        Ok(Change::PutService { name: name.clone(), service: service.clone(), before, exists: entry.is_some() })
    }

    fn plan_delete_service(&self, draft: &mut Draft, name: &Label, precondition: Precondition) -> Result<Change, Hold> {
        draft.free()?;
        let entry = self.services.get(name).ok_or_else(|| Refusal::UnknownService(name.clone()))?;
        if let Some(Source::File(file)) = &entry.source {
            return Err(defined(&Subject::Service(name.clone()), file).into());
        }
        hold_to(precondition, Some(entry.revision))?;
        let mut instances = Vec::with_capacity(entry.instances.len());
        for (id, instance) in &entry.instances {
            match &instance.source {
                Source::File(file) => {
                    let key = InstanceKey { service: name.clone(), id: id.clone() };
                    return Err(defined(&Subject::Instance(key), file).into());
                }
                Source::Api => instances.push((id.clone(), instance.revision)),
            }
        }
        draft.alone = true;
        Ok(Change::DeleteService { name: name.clone(), before: entry.source.as_ref().map(|_| entry.revision), instances })
    }

    fn plan_drain(&self, draft: &mut Draft, subject: &Subject, drain: &Drain, now: Timestamp) -> Result<Change, Hold> {
        draft.free()?;
        let stored = self.drains.get(subject);
        if stored.is_none() && !self.knows(subject) {
            return Err(Refusal::UnknownSubject(subject.clone()).into());
        }
        // Whoever asked may have waited for the writer: nothing moves before it is announced.
        let now = now.max(drain.started);
        let before = stored.map(|entry| &entry.drain).filter(|drain| !drain.is_over(now));
        let drain = drain.following(before, self.announcement().0, now)?;
        // What goes or is out already was allowed to.
        if drain.overridden.is_none() && !before.is_some_and(|before| before.holds(now)) {
            self.check_safety(subject, now)?;
        }
        draft.alone = true;
        Ok(Change::Drain { subject: subject.clone(), drain, before: stored.map(|entry| entry.revision) })
    }

    fn plan_undrain(&self, draft: &mut Draft, subject: &Subject, ramp: Option<Period>, now: Timestamp) -> Result<Change, Hold> {
        draft.free()?;
        if let Some(ramp) = ramp.filter(|ramp| !ramp.0.is_zero()) {
            check_ramp(ramp)?;
        }
        let entry = self.drain_of(subject)?;
        draft.alone = true;
        let (subject, before) = (subject.clone(), entry.revision);
        Ok(match entry.drain.lift(ramp, now) {
            Some(drain) => Change::Steer { subject, drain, before, steering: Steering::Lift },
            None => Change::Undrain { subject, before },
        })
    }

    fn plan_steering(
        &self,
        draft: &mut Draft,
        subject: &Subject,
        steering: Steering,
        steer: impl FnOnce(&Drain) -> Result<Drain, Refusal>,
    ) -> Result<Change, Hold> {
        draft.free()?;
        let entry = self.drain_of(subject)?;
        let drain = steer(&entry.drain)?;
        draft.alone = true;
        Ok(Change::Steer { subject: subject.clone(), drain, before: entry.revision, steering })
    }

    fn drain_of(&self, subject: &Subject) -> Result<&DrainEntry, Refusal> {
        let missing = || match self.knows(subject) {
            true => Refusal::NotDrained(subject.clone()),
            false => Refusal::UnknownSubject(subject.clone()),
        };
        self.drains.get(subject).ok_or_else(missing)
    }

    fn plan_push(&self, draft: &mut Draft, key: &InstanceKey, pushed: &Pushed) -> Result<Change, Hold> {
        draft.join(key)?;
        if self.instance(key).is_none() {
            return Err(Refusal::UnknownInstance(key.clone()).into());
        }
        if pushed.note.len() > 1000 {
            return Err(FieldError::new("note", format!("at most 1000 octets, not {}", pushed.note.len())).into());
        }
        draft.take(key);
        Ok(Change::Push { key: key.clone(), pushed: pushed.clone() })
    }

    /// A service's name is the first label of its owner names in every zone that shows services.
    pub(super) fn check_service_name(&self, name: &Label) -> Result<(), Refusal> {
        if name.as_str().starts_with('_') {
            // RFC 8552 §1: names that begin with '_' are for SRV and its kin.
            return Err(FieldError::new("service", format!("a service's name must not begin with '_', as {name} does")).into());
        }
        match self.taken.get(name) {
            Some(file) => Err(Refusal::NameTaken(name.clone(), file.to_string())),
            None => Ok(()),
        }
    }

    /// Where regions are declared, an instance stands in one of them.
    pub(super) fn check_place(&self, instance: &Instance) -> Result<(), FieldError> {
        let Some(declared) = &self.regions else { return Ok(()) };
        let Some(region) = declared.get(&instance.region) else {
            let expected = format!("one of {}, as geo/regions.toml declares, not {}", checks::list(declared.keys()), instance.region);
            return Err(FieldError::new("region", expected));
        };
        if region.azs.is_empty() || region.azs.contains(&instance.az) {
            return Ok(());
        }
        let known = checks::list(region.azs.iter());
        Err(FieldError::new("az", format!("one of {known}, as geo/regions.toml declares for {}, not {}", instance.region, instance.az)))
    }

    /// Whether settings fit the declared places and the instances that they would hold for.
    pub(super) fn check_service<'a>(
        &self,
        name: &Label,
        service: &Service,
        instances: impl Iterator<Item = (&'a Label, &'a Instance)>,
    ) -> Result<(), FieldError> {
        for (n, branch) in service.fields.branches.iter().enumerate() {
            check_branch(branch, self.regions.as_ref()).map_err(|error| error.within(&format!("branches[{n}]")))?;
        }
        if service.fields.default_port.is_none() && service.fields.ports.len() > 1 {
            let expected = format!("name the default one of the ports {}", checks::list(service.fields.ports.keys()));
            return Err(FieldError::new("default_port", expected));
        }
        let mut names = Names::new();
        let instances: Vec<_> = instances.inspect(|(_, instance)| add_ports(&mut names, service, instance)).collect();
        let ports: BTreeSet<&Label> = names.iter().map(|(name, _)| name).chain(service.fields.ports.keys()).collect();
        if let Some(default) = service.fields.default_port.as_ref().filter(|default| !ports.is_empty() && !ports.contains(default)) {
            let expected = format!("one of the service's ports {}, not {default}", checks::list(ports.into_iter()));
            return Err(FieldError::new("default_port", expected));
        }
        for (id, instance) in instances {
            checks::validate(service, instance).map_err(|error| {
                FieldError::new("checks", format!("instance {id} cannot be probed so: {}: {}", error.field, error.expected))
            })?;
        }
        check_ports(name, service, &names, "default_port")
    }

    /// Whether the ports of `instance` go with those of its peers; the draft then knows them.
    fn join_ports(
        &self,
        draft: &mut Draft,
        key: &InstanceKey,
        entry: Option<&ServiceEntry>,
        service: &Service,
        instance: &Instance,
    ) -> Result<(), Hold> {
        let peers = |except: Option<&Label>| {
            let mut names = Names::new();
            for (_, peer) in entry.iter().flat_map(|entry| &entry.instances).filter(|(id, _)| Some(*id) != except) {
                add_ports(&mut names, service, &peer.instance);
            }
            names
        };
        // The draft's set only grows within a batch. Too large a set refuses too much, never too little: what it refuses is looked
        // at again against the registry alone, at once or once the batch is carried out.
        let touched = draft.touches(&key.service);
        let known = draft.services.entry(key.service.clone()).or_insert_with(|| peers(None));
        let new = checks::ports(service, instance).iter().any(|(name, port)| !known.contains(&(name.clone(), port.protocol)));
        if !new && (touched || check_ports(&key.service, service, known, "ports").is_ok()) {
            return Ok(());
        }
        let mut joined = known.clone();
        add_ports(&mut joined, service, instance);
        let result = check_ports(&key.service, service, &joined, "ports").or_else(|refused| {
            if touched {
                return Err(Hold::Later);
            }
            joined = peers(Some(&key.id));
            add_ports(&mut joined, service, instance);
            check_ports(&key.service, service, &joined, "ports").map_err(|_| refused.into())
        });
        match &result {
            Ok(()) => _ = draft.services.insert(key.service.clone(), joined),
            Err(_) if !touched => _ = draft.services.remove(&key.service),
            Err(_) => {}
        }
        result
    }
}

/// The refusal of changing what a file says.
fn defined(subject: &Subject, file: &str) -> Refusal {
    Refusal::DefinedInFile { what: subject.to_string(), file: file.to_string() }
}

/// Holds a resource to what the caller demands of it.
fn hold_to(precondition: Precondition, now: Option<Revision>) -> Result<(), Refusal> {
    match precondition {
        Precondition::None => Ok(()),
        Precondition::Absent if now.is_none() => Ok(()),
        Precondition::At(revision) if now == Some(revision) => Ok(()),
        Precondition::Absent | Precondition::At(_) => Err(Refusal::Precondition(now)),
    }
}

fn add_ports(names: &mut Names, service: &Service, instance: &Instance) {
    for (name, port) in checks::ports(service, instance) {
        names.insert((name.clone(), port.protocol));
    }
}

/// DESIGN §3: the service's SRV names need its `default_port`, else its only port.
pub(super) fn check_ports(name: &Label, service: &Service, names: &BTreeSet<(Label, Protocol)>, field: &str) -> Result<(), FieldError> {
    if names.len() > MAX_SERVICE_PORTS {
        return Err(FieldError::new(
            field,
            format!("a service has at most {MAX_SERVICE_PORTS} named ports, with this one {}", names.len()),
        ));
    }
    let mut distinct: Vec<&Label> = names.iter().map(|(name, _)| name).collect();
    distinct.dedup();
    if service.fields.default_port.is_none() && distinct.len() > 1 {
        let ports = checks::list(distinct.into_iter());
        let expected = format!("the service would have the ports {ports}; say which is its `default_port` (PUT /v1/services/{name})");
        return Err(FieldError::new(field, expected));
    }
    Ok(())
}

/// Refuses countries that there are not, and regions that are not declared.
fn check_branch(branch: &BranchFields, declared: Option<&BTreeMap<Label, Region>>) -> Result<(), FieldError> {
    branch.check_countries()?;
    if let (Some(region), Some(declared)) = (&branch.region, declared)
        && !declared.contains_key(region)
    {
        let known = checks::list(declared.keys());
        return Err(FieldError::new("region", format!("one of {known}, as geo/regions.toml declares, not {region}")));
    }
    for (n, below) in branch.branches.iter().enumerate() {
        check_branch(below, declared).map_err(|error| error.within(&format!("branches[{n}]")))?;
    }
    Ok(())
}
