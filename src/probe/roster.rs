//! Whom we probe and what we found: orders in, verdicts out. Pure but for what `prepare` does.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::control::{Observation, ProbeOrder, Probes};
use crate::model::{Check, CheckState, Health, InstanceKey, ProbeResult};

use super::reach;
use super::schedule::{Schedule, Slot, Start};

/// What came of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// The instance passed or failed.
    Result(ProbeResult),
    /// This machine could not probe, as when it has no file descriptors left: that says nothing about the instance.
    NotProbed(String),
}

/// Everything that is probed. `P` is a check made ready to be run.
#[derive(Debug)]
pub(super) struct Roster<P> {
    schedule: Schedule,
    /// By place; what is free is listed in `free`.
    instances: Vec<Option<Watched<P>>>,
    free: Vec<u32>,
    /// The places of instances, found by key.
    index: HashTable<u32>,
    /// Whose each slot is: the instance's place, by the slot's.
    owners: Vec<u32>,
    /// Checks made ready. Most instances of a service are checked in the same way.
    plans: HashMap<Check, Weak<Plan<P>>>,
    /// With so many plans it is time to forget those that no instance has any more.
    sweep: usize,
    hasher: FixedState,
}

/// One instance and its checks.
#[derive(Debug)]
struct Watched<P> {
    key: InstanceKey,
    /// The number of the order.
    order: u64,
    address: IpAddr,
    parts: Box<[Part<P>]>,
    /// What was reported last, under the present order: the verdict, and whether it wavers.
    reported: Option<(Health, bool)>,
}

/// One check of an instance.
#[derive(Debug)]
struct Part<P> {
    plan: Arc<Plan<P>>,
    port: u16,
    slot: Slot,
    state: CheckState,
    /// Whether a result has agreed with the state's health: what was known from before a restart does not count until then.
    confirmed: bool,
}

/// A check and how it is run, the same for all instances that have it.
#[derive(Debug)]
pub(super) struct Plan<P> {
    check: Check,
    /// What to run.
    pub(super) probe: P,
}

/// A probe that is due.
#[derive(Debug)]
pub(super) struct Due<P> {
    /// To be given back with the finding.
    pub(super) slot: Slot,
    /// Where to.
    pub(super) address: SocketAddr,
    /// How.
    pub(super) plan: Arc<Plan<P>>,
    /// How late it is.
    pub(super) lag: Duration,
    /// The check's interval.
    pub(super) interval: Duration,
}

impl<P> Default for Roster<P> {
    fn default() -> Roster<P> {
        Roster {
            schedule: Schedule::default(),
            instances: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            owners: Vec::new(),
            plans: HashMap::new(),
            sweep: FIRST_SWEEP,
            hasher: FixedState::default(),
        }
    }
}

/// As many plans are kept without a look at whether they are still in use.
const FIRST_SWEEP: usize = 64;

impl<P> Roster<P> {
    /// Carries out an order. Checks that stay as they were keep what is known of them, their phase, and a probe under way; where all
    /// do, a known verdict is reported again, because whoever gave the order may have forgotten it.
    pub(super) fn order(&mut self, order: ProbeOrder, now: Duration, prepare: impl Fn(&Check) -> P) -> Option<Observation> {
        let ProbeOrder { key, probes } = order;
        let mut before = self.leave(&key);
        let probes = probes.filter(|probes| !probes.checks.is_empty());
        let barred = probes.as_ref().and_then(|probes| reach::barred(probes.address).map(|why| (probes.address, why)));
        let observation = match (probes, barred) {
            (None, _) => None,
            (Some(Probes { order, .. }), Some((address, why))) => {
                let why = format!("never probed: {address} is {why}");
                Some(Observation { key, order, health: Health::Unhealthy, wavers: false, why })
            }
            (Some(probes), None) => self.watch(key, probes, &mut before, now, prepare),
        };
        // What was not taken over is no longer probed.
        for part in before.into_iter().flat_map(|(_, parts)| parts) {
            self.schedule.remove(part.slot);
        }
        observation
    }

    fn watch(
        &mut self,
        key: InstanceKey,
        probes: Probes,
        before: &mut Option<(IpAddr, Vec<Part<P>>)>,
        now: Duration,
        prepare: impl Fn(&Check) -> P,
    ) -> Option<Observation> {
        let place = self.free.pop().unwrap_or_else(|| {
            self.instances.push(None);
            // An instance takes hundreds of octets: there is no memory for 2³² of them.
            (self.instances.len() - 1) as u32
        });
        let mut old = before.as_mut().filter(|(address, _)| *address == probes.address).map(|(_, parts)| parts);
        let mut parts = Vec::with_capacity(probes.checks.len());
        for (number, (check, port)) in probes.checks.into_iter().enumerate() {
            let kept = old.as_deref_mut().and_then(|old| {
                let place = old.iter().position(|part| part.plan.check == check && part.port == port)?;
                Some(old.swap_remove(place))
            });
            let part = kept.unwrap_or_else(|| {
                let slot = self.schedule.add(seed(&key, number), check.interval.0, now);
                let state = CheckState::new(&check, probes.last);
                Part { plan: self.plan(check, &prepare), state, port, slot, confirmed: false }
            });
            self.own(part.slot, place);
            parts.push(part);
        }
        let mut watched = Watched { key, order: probes.order, address: probes.address, parts: parts.into(), reported: None };
        let observation = watched.news();
        let Roster { index, instances, hasher, .. } = self;
        let hash = hasher.hash_one(&watched.key);
        index.insert_unique(hash, place, |other| instances[*other as usize].as_ref().map_or(0, |other| hasher.hash_one(&other.key)));
        instances[place as usize] = Some(watched);
        observation
    }

    /// Forgets an instance; gives its address and its checks, which are still in the schedule.
    fn leave(&mut self, key: &InstanceKey) -> Option<(IpAddr, Vec<Part<P>>)> {
        let Roster { index, instances, hasher, .. } = self;
        let named = |place: &u32| instances[*place as usize].as_ref().is_some_and(|watched| watched.key == *key);
        let (place, _) = index.find_entry(hasher.hash_one(key), named).ok()?.remove();
        self.free.push(place);
        let watched = self.instances[place as usize].take()?;
        Some((watched.address, watched.parts.into_vec()))
    }

    fn own(&mut self, slot: Slot, place: u32) {
        if self.owners.len() <= slot.place() {
            self.owners.resize(slot.place() + 1, 0);
        }
        self.owners[slot.place()] = place;
    }

    fn plan(&mut self, check: Check, prepare: impl Fn(&Check) -> P) -> Arc<Plan<P>> {
        if let Some(plan) = self.plans.get(&check).and_then(Weak::upgrade) {
            return plan;
        }
        if self.plans.len() >= self.sweep {
            self.plans.retain(|_, plan| plan.strong_count() > 0);
            self.sweep = FIRST_SWEEP.max(2 * self.plans.len());
        }
        let plan = Arc::new(Plan { probe: prepare(&check), check });
        self.plans.insert(plan.check.clone(), Arc::downgrade(&plan));
        plan
    }

    /// When the next probe is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.schedule.next_due()
    }

    /// The probe that has been due for longest, if any is.
    pub(super) fn start(&mut self, now: Duration) -> Option<Due<P>> {
        loop {
            let Start { slot, due, interval } = self.schedule.start(now)?;
            // Every slot has an owner; one without is left alone and never finishes.
            if let Some((watched, number)) = self.owner(slot) {
                let part = &watched.parts[number];
                let address = SocketAddr::new(watched.address, part.port);
                return Some(Due { slot, address, plan: part.plan.clone(), lag: now.saturating_sub(due), interval });
            }
        }
    }

    /// Takes what came of a probe; gives the instance's verdict if it, or whether it wavers, is news. A probe of something that is gone is forgotten.
    pub(super) fn finish(&mut self, slot: Slot, finding: &Finding, now: Duration) -> Option<Observation> {
        if !self.schedule.finish(slot, now) {
            return None;
        }
        let (watched, number) = self.owner(slot)?;
        let Finding::Result(result) = finding else { return None };
        let part = &mut watched.parts[number];
        part.state.observe(result);
        part.confirmed |= match result {
            ProbeResult::Pass => part.state.health == Health::Healthy,
            ProbeResult::Fail(_) => part.state.health == Health::Unhealthy,
        };
        watched.news()
    }

    /// How many instances and how many checks there are.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.index.len(), self.schedule.len())
    }

    /// The instance that a slot is of, and which of its checks.
    fn owner(&mut self, slot: Slot) -> Option<(&mut Watched<P>, usize)> {
        let place = *self.owners.get(slot.place())?;
        let watched = self.instances.get_mut(place as usize)?.as_mut()?;
        let number = watched.parts.iter().position(|part| part.slot == slot)?;
        Some((watched, number))
    }
}

impl<P> Watched<P> {
    /// The verdict, if it is known and not reported yet: Unhealthy when one check says so, Healthy when all do. It wavers from the first
    /// result that speaks against it to the last that does in a row: one check that fails is enough against Healthy, while Unhealthy
    /// stays as long as one check that is down has not passed.
    fn news(&mut self) -> Option<Observation> {
        let worst = self.parts.iter().min_by_key(|part| (part.state.health, !part.confirmed, part.state.wavers()))?;
        let health = worst.state.health;
        let known = match health {
            Health::Unhealthy => worst.confirmed,
            Health::Pending => false,
            Health::Healthy => self.parts.iter().all(|part| part.confirmed),
        };
        let mut deciding = self.parts.iter().filter(|part| part.state.health == health);
        let wavers = match health {
            Health::Healthy => deciding.any(|part| part.state.wavers()),
            Health::Unhealthy => deciding.all(|part| part.state.wavers()),
            Health::Pending => false,
        };
        if !known || self.reported == Some((health, wavers)) {
            return None;
        }
        self.reported = Some((health, wavers));
        let said = match health {
            Health::Healthy => self.parts.iter().find(|part| part.state.wavers()),
            _ => Some(worst),
        };
        let why = said.map_or_else(String::new, |part| match part.state.why.as_str() {
            // The last result was a pass, and more are needed.
            "" => format!("{}: recovering", part.plan.check.describe()),
            why => format!("{}: {why}", part.plan.check.describe()),
        });
        Some(Observation { key: self.key.clone(), order: self.order, health, wavers, why })
    }
}

/// A number that stays the same for the same check of the same instance, from restart to restart.
fn seed(key: &InstanceKey, number: usize) -> u64 {
    FixedState::default().hash_one((key, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn key(id: &str) -> InstanceKey {
        InstanceKey { service: "web".parse().unwrap(), id: id.parse().unwrap() }
    }

    fn checks(texts: &[&str]) -> Vec<(Check, u16)> {
        texts.iter().map(|text| (serde_json::from_str(text).unwrap(), 80)).collect()
    }

    const TCP: &str = r#"{"tcp":true,"rise":2,"fall":3}"#;
    const HTTP: &str = r#"{"http":"/healthz","port":"http","rise":1,"fall":1}"#;

    /// A roster of one instance, its probes numbered by the order in which their checks were prepared.
    struct Story {
        roster: Roster<usize>,
        prepared: std::cell::Cell<usize>,
        now: Duration,
        orders: u64,
    }

    impl Story {
        fn new() -> Story {
            Story { roster: Roster::default(), prepared: 0.into(), now: Duration::ZERO, orders: 0 }
        }

        fn order(&mut self, address: &str, texts: &[&str], last: Option<Health>) -> Option<(Health, String)> {
            self.orders += 1;
            let probes = Some(Probes { order: self.orders, address: address.parse().unwrap(), checks: checks(texts), last });
            let prepare = |_: &Check| self.prepared.replace(self.prepared.get() + 1);
            let observation = self.roster.order(ProbeOrder { key: key("eu1"), probes }, self.now, prepare);
            observation.map(|o| {
                assert_eq!(o.order, self.orders);
                (o.health, o.why)
            })
        }

        /// Lets results come in: `0+` is a pass of the first check prepared, `1-` a failure of the second, `0?` a probe not made.
        /// Each check runs when it is due; gives what was reported after each result, with `?` where the verdict wavers.
        fn results(&mut self, results: &str) -> Vec<String> {
            let mut said = Vec::new();
            for result in results.split_whitespace() {
                let (number, sign) = result.split_at(1);
                let due = loop {
                    self.now = self.roster.next_due().unwrap().max(self.now);
                    let due = self.roster.start(self.now).unwrap();
                    match due.plan.probe.to_string() == number {
                        true => break due,
                        // Not its turn: as if it could not be made.
                        false => assert_eq!(self.roster.finish(due.slot, &Finding::NotProbed(String::new()), self.now), None),
                    }
                };
                let finding = match sign {
                    "+" => Finding::Result(ProbeResult::Pass),
                    "-" => Finding::Result(ProbeResult::Fail("refused".into())),
                    _ => Finding::NotProbed("no file descriptors".into()),
                };
                let news = self.roster.finish(due.slot, &finding, self.now);
                said.push(news.map_or(".".into(), |o| {
                    assert_eq!(o.order, self.orders);
                    format!("{}{}{}", &o.health.as_str()[..1], if o.wavers { "?" } else { "" }, o.why)
                }));
            }
            said
        }
    }

    fn check(last: Option<Health>, texts: &[&str], results: &str, expected: &[&str]) {
        let mut story = Story::new();
        assert_eq!(story.order("192.0.2.1", texts, last), None);
        assert_eq!(story.results(results), expected, "{last:?} {texts:?} {results}");
    }

    #[test]
    fn only_news_is_reported() {
        let (refused, first, back) = ("utcp: refused", "h?tcp: refused", "u?tcp: recovering");
        let http = "uhttp /healthz on http: refused";
        check(None, &[TCP], "0+ 0+ 0- 0- 0- 0- 0+ 0+ 0+", &["h", ".", first, ".", refused, ".", back, "h", "."]);
        check(None, &[TCP], "0- 0- 0- 0-", &[".", ".", refused, "."]);
        // A streak that comes to nothing is told when it begins and when it ends.
        check(None, &[TCP], "0+ 0- 0- 0+ 0+", &["h", first, ".", "h", "."]);
        check(None, &[TCP], "0- 0- 0- 0+ 0- 0-", &[".", ".", refused, back, refused, "."]);
        // What could not be probed counts neither way.
        check(None, &[TCP], "0+ 0- 0- 0? 0-", &["h", first, ".", ".", refused]);
        // What was known before a restart is confirmed by the first result that agrees, or overturned.
        check(Some(Health::Healthy), &[TCP], "0+ 0+", &["h", "."]);
        check(Some(Health::Healthy), &[TCP], "0- 0+", &[".", "h"]);
        check(Some(Health::Healthy), &[TCP], "0- 0- 0-", &[".", ".", refused]);
        check(Some(Health::Unhealthy), &[TCP], "0- 0-", &[refused, "."]);
        check(Some(Health::Unhealthy), &[TCP], "0+ 0+", &[".", "h"]);
        // The worst check decides, and says why.
        check(None, &[TCP, HTTP], "0+ 1+ 1- 0- 1+", &[".", "h", http, ".", first]);
        check(None, &[TCP, HTTP], "0+ 1- 1+", &[".", http, "h"]);
        check(Some(Health::Healthy), &[TCP, HTTP], "0+ 1+", &[".", "h"]);
        check(Some(Health::Unhealthy), &[TCP, HTTP], "0- 0+ 0+ 1+", &[refused, ".", ".", "h"]);
        // It stays down as long as one check that is down does not pass.
        let both = &[TCP, r#"{"tcp":true,"rise":2,"fall":1}"#];
        check(None, both, "1- 0- 0- 0- 1+ 0+ 1-", &[refused, ".", ".", ".", ".", back, refused]);
    }

    #[test]
    fn a_check_that_stays_keeps_its_state_and_one_that_changes_starts_anew() {
        let mut story = Story::new();
        story.order("192.0.2.1", &[TCP], None);
        assert_eq!(story.results("0+ 0- 0-"), ["h", "h?tcp: refused", "."]);
        // The same order again: the verdict is said again, and the failures so far still count.
        let next = story.roster.next_due();
        assert_eq!(story.order("192.0.2.1", &[TCP], None), Some((Health::Healthy, "tcp: refused".into())));
        assert_eq!((story.roster.next_due(), story.prepared.get()), (next, 1));
        assert_eq!(story.results("0-"), ["utcp: refused"]);
        // A check more: the known bad one decides at once.
        assert_eq!(story.order("192.0.2.1", &[HTTP, TCP], None), Some((Health::Unhealthy, "tcp: refused".into())));
        assert_eq!(story.results("1+ 0+"), [".", "u?tcp: recovering"]);
        assert_eq!(story.order("192.0.2.1", &[HTTP, TCP], None), Some((Health::Unhealthy, "tcp: recovering".into())));
        assert_eq!(story.results("0+"), ["h"]);
        // Another address: everything anew, at once.
        assert_eq!(story.order("192.0.2.2", &[HTTP, TCP], Some(Health::Healthy)), None);
        assert_eq!((story.roster.next_due(), story.roster.len()), (Some(story.now), (1, 2)));
        assert_eq!(story.results("1+ 0+"), [".", "h"]);
        assert_eq!(story.prepared.get(), 2, "what is checked in the same way is made ready once");
    }

    #[test]
    fn what_is_no_longer_to_be_probed_is_forgotten_with_its_results() {
        for ending in [None, Some(Probes { order: 2, address: "192.0.2.1".parse().unwrap(), checks: Vec::new(), last: None })] {
            let mut story = Story::new();
            story.order("192.0.2.1", &[HTTP, TCP], None);
            let under_way = story.roster.start(Duration::ZERO).unwrap();
            story.roster.order(ProbeOrder { key: key("eu1"), probes: ending }, MS, |_| 0);
            assert_eq!(story.roster.finish(under_way.slot, &Finding::Result(ProbeResult::Fail(String::new())), MS), None);
            assert_eq!((story.roster.len(), story.roster.next_due()), ((0, 0), None));
        }
    }

    #[test]
    fn barred_addresses_are_never_probed() {
        let mut story = Story::new();
        story.order("192.0.2.1", &[TCP], None);
        let (health, why) = story.order("169.254.169.254", &[TCP], Some(Health::Healthy)).unwrap();
        assert_eq!((health, why.as_str()), (Health::Unhealthy, "never probed: 169.254.169.254 is a link-local address"));
        assert_eq!((story.roster.len(), story.roster.next_due()), ((0, 0), None));
    }
}
