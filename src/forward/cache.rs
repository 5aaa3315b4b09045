//! Replies of upstreams, kept for as long as they hold, and longer for the time when no upstream replies (RFC 8767).
//!
//! The cache is bounded by octets. Each part of it has two ages: what is new, and what was asked for before that; when the new one has filled its half the
//! old one goes, but for what was asked for again and so became new. It costs the same whatever is in it, and a flood of names that are asked for once
//! does not displace those that are asked for often.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::message::{Age, Stored};
use super::question::{Question, Subnet};

/// Parts, each with a lock of its own.
const PARTS: usize = 16;
/// Subnets that one question has replies for; the longest unused go first.
const MOST_SUBNETS: usize = 32;
/// How long a reply may be answered after its time (RFC 8767 §5 has one to three days).
const LONGEST_STALE: Duration = Duration::from_secs(86_400);

/// A reply and when it came.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stored: Stored,
    since: Instant,
    /// Upstreams are left alone until so many milliseconds after `since`, as they failed lately.
    rests: AtomicU64,
}

impl Entry {
    pub(super) fn new(stored: Stored, since: Instant) -> Entry {
        Entry { stored, since, rests: AtomicU64::new(0) }
    }

    /// Its age, if it still holds.
    pub(super) fn fresh(&self, now: Instant) -> Option<Age> {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        (seconds < u64::from(self.stored.ttl)).then_some(Age::Seconds(seconds as u32))
    }

    /// Whether it may be answered where nothing better is to be had.
    fn is_of_use(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        let stale = if self.stored.is_answer() { LONGEST_STALE } else { Duration::ZERO };
        age < Duration::from_secs(self.stored.ttl.into()) + stale
    }

    /// Whether upstreams are to be left alone, for they failed lately (RFC 8767 §5).
    pub(super) fn rests(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since).as_millis() < u128::from(self.rests.load(Ordering::Relaxed))
    }

    /// Leaves upstreams alone for that long.
    pub(super) fn rest(&self, now: Instant, pause: Duration) {
        let until = now.saturating_duration_since(self.since) + pause;
        self.rests.store(until.as_millis() as u64, Ordering::Relaxed);
    }

    fn size(&self) -> usize {
        size_of::<Entry>() + self.stored.size()
    }
}

/// Replies to one question: one, or one for each subnet.
#[derive(Debug, Default)]
struct Replies {
    by_subnet: Vec<(Option<Subnet>, Arc<Entry>)>,
}

impl Replies {
    fn size(&self, question: &Question) -> usize {
        let each = size_of::<(Option<Subnet>, Arc<Entry>)>();
        let fixed = size_of::<(Question, Replies)>() + question.name.len();
        fixed + self.by_subnet.iter().map(|(_, entry)| each + entry.size()).sum::<usize>()
    }

    /// The reply for a subnet: of several the one for the longest prefix.
    fn get(&self, subnet: Option<Subnet>) -> Option<&Arc<Entry>> {
        let holds = |within: &Option<Subnet>| match (within, subnet) {
            (None, None) => true,
            (Some(within), Some(subnet)) => within.covers(&subnet),
            _ => false,
        };
        let fitting = self.by_subnet.iter().filter(|(within, _)| holds(within));
        fitting.max_by_key(|(within, _)| within.map(|within| within.bits)).map(|(_, entry)| entry)
    }

    fn put(&mut self, within: Option<Subnet>, entry: Arc<Entry>) {
        self.by_subnet.retain(|(other, _)| match (other, within) {
            (Some(other), Some(within)) => !(other.bits == within.bits && other.covers(&within)),
            _ => false,
        });
        if self.by_subnet.len() >= MOST_SUBNETS {
            self.by_subnet.remove(0);
        }
        self.by_subnet.push((within, entry));
    }
}

#[derive(Debug, Default)]
struct Part {
    new: HashMap<Question, Replies>,
    /// Octets of what is new.
    octets: usize,
    old: HashMap<Question, Replies>,
    /// The same of what is old.
    old_octets: usize,
}

/// Replies by question and subnet.
#[derive(Debug)]
pub(super) struct Cache {
    parts: Vec<Mutex<Part>>,
    /// Octets that the new half of a part may have.
    most: usize,
    hasher: RandomState,
}

impl Cache {
    /// One of so many octets, somewhat more or less.
    pub(super) fn new(octets: usize) -> Cache {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Cache { parts, most: octets / PARTS / 2, hasher: RandomState::new() }
    }

    /// What is known of a question; fresh or stale, but of use.
    pub(super) fn get(&self, question: &Question, subnet: Option<Subnet>, now: Instant) -> Option<Arc<Entry>> {
        let mut part = self.part(question);
        if let Some(replies) = part.take_old(question) {
            part.put(question, replies, self.most);
        }
        part.new.get(question)?.get(subnet).filter(|entry| entry.is_of_use(now)).cloned()
    }

    /// Keeps a reply to a question about a subnet.
    pub(super) fn put(&self, question: &Question, subnet: Option<Subnet>, entry: &Arc<Entry>) {
        let within = subnet.map(|subnet| entry.stored.holds_for(subnet));
        let mut part = self.part(question);
        let mut replies = part.take(question).unwrap_or_default();
        replies.put(within, entry.clone());
        part.put(question, replies, self.most);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.parts.iter().for_each(|part| *part.lock().unwrap_or_else(PoisonError::into_inner) = Part::default());
    }

    /// How many questions there are replies to.
    pub(super) fn len(&self) -> usize {
        let of_part = |part: &Mutex<Part>| {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.new.len() + part.old.len()
        };
        self.parts.iter().map(of_part).sum()
    }

    /// How many octets these take.
    pub(super) fn octets(&self) -> usize {
        let of_part = |part: &Mutex<Part>| {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.octets + part.old_octets
        };
        self.parts.iter().map(of_part).sum()
    }

    fn part(&self, question: &Question) -> MutexGuard<'_, Part> {
        // Other bits than those by which a map of a part goes: its hasher is another.
        let at = self.hasher.hash_one(question) as usize % PARTS;
        self.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn take(&mut self, question: &Question) -> Option<Replies> {
        if let Some(replies) = self.new.remove(question) {
            self.octets -= replies.size(question).min(self.octets);
            return Some(replies);
        }
        self.take_old(question)
    }

    fn take_old(&mut self, question: &Question) -> Option<Replies> {
        let replies = self.old.remove(question)?;
        self.old_octets -= replies.size(question).min(self.old_octets);
        Some(replies)
    }

    /// Takes in replies to a question that there are none to.
    fn put(&mut self, question: &Question, replies: Replies, most: usize) {
        self.octets += replies.size(question);
        if self.octets > most {
            self.old = std::mem::take(&mut self.new);
            (self.old_octets, self.octets) = (self.octets - replies.size(question), replies.size(question));
        }
        self.new.insert(question.clone(), replies);
    }
}

#[cfg(test)]
mod tests {
    use super::super::question::Origin;
    use super::*;

    fn question(name: &str, origin: Origin) -> Question {
        let mut wire = vec![name.len() as u8];
        wire.extend(name.bytes());
        wire.push(0);
        Question { name: wire.into(), qtype: 1, dnssec_ok: false, checking_disabled: false, origin }
    }

    /// A reply with one A record, and a client subnet option with that scope.
    fn reply(question: &Question, ttl: u32, last: u8, scope: Option<u8>) -> Arc<Entry> {
        let mut octets = question.opening();
        octets[2] = 0x81;
        octets[7] = 1;
        octets.extend([0xc0, 12, 0, 1, 0, 1]);
        octets.extend(ttl.to_be_bytes());
        octets.extend([0, 4, 192, 0, 2, last]);
        if let Some(scope) = scope {
            octets[11] = 1;
            octets.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, scope, 192, 0, 2]);
        }
        Arc::new(Entry::new(Stored::read(&octets, question).unwrap(), Instant::now()))
    }

    fn subnet(text: &str) -> Option<Subnet> {
        let (address, bits) = text.split_once('/').unwrap();
        Some(Subnet { address: address.parse().unwrap(), bits: bits.parse().unwrap() })
    }

    #[test]
    fn replies_are_fresh_and_then_stale_and_then_gone() {
        let cache = Cache::new(1 << 20);
        let asked = question("a", Origin::Unsaid);
        cache.put(&asked, None, &reply(&asked, 60, 1, None));
        let ages = [(0, Some(Age::Seconds(0))), (59, Some(Age::Seconds(59))), (60, None), (86_400 + 59, None)];
        let begin = Instant::now();
        for (seconds, age) in ages {
            let now = begin + Duration::from_secs(seconds);
            assert_eq!(cache.get(&asked, None, now).unwrap().fresh(now), age, "{seconds}");
        }
        assert!(cache.get(&asked, None, begin + Duration::from_secs(86_460)).is_none());
        let entry = cache.get(&asked, None, begin).unwrap();
        entry.rest(begin + Duration::from_secs(61), Duration::from_secs(5));
        assert!(entry.rests(begin + Duration::from_secs(65)) && !entry.rests(begin + Duration::from_secs(66)));
        // A failure is kept for its time and no longer.
        cache.put(&asked, None, &Arc::new(Entry::new(Stored::failure(&asked, 22, "", 5), begin)));
        assert!(cache.get(&asked, None, begin + Duration::from_secs(4)).is_some());
        assert!(cache.get(&asked, None, begin + Duration::from_secs(5)).is_none());
    }

    #[test]
    fn each_subnet_has_the_reply_for_it_and_no_other() {
        // RFC 7871 §7.3.1.
        let cache = Cache::new(1 << 20);
        let (asked, now) = (question("a", Origin::V4), Instant::now());
        let put = |client: &str, last: u8, scope: Option<u8>| cache.put(&asked, subnet(client), &reply(&asked, 60, last, scope));
        put("198.51.100.0/24", 1, Some(24));
        put("203.0.113.0/24", 2, Some(16));
        put("192.0.2.0/24", 3, Some(32));
        let last = |client: &str| cache.get(&asked, subnet(client), now).map(|entry| *entry.stored.octets_for_tests().last().unwrap());
        for (client, expected) in [
            ("198.51.100.0/24", Some(1)),
            ("198.51.100.128/25", Some(1)),
            ("198.51.101.0/24", None),
            ("198.51.0.0/16", None),
            ("203.0.99.0/24", Some(2)),
            // Told for a longer prefix than was asked about: it holds for what was asked about.
            ("192.0.2.0/24", Some(3)),
            ("192.0.2.7/32", Some(3)),
        ] {
            assert_eq!(last(client), expected, "{client}");
        }
        assert!(cache.get(&question("a", Origin::Unsaid), None, now).is_none());
        // One for all.
        cache.put(&asked, subnet("10.0.0.0/24"), &reply(&asked, 60, 9, Some(0)));
        assert_eq!((last("198.51.101.0/24"), last("198.51.100.0/24")), (Some(9), Some(1)));
        for n in 0..100u8 {
            cache.put(&asked, subnet(&format!("10.{n}.0.0/24")), &reply(&asked, 60, n, Some(24)));
        }
        let known = (0..100u8).filter(|n| last(&format!("10.{n}.0.0/24")) == Some(*n)).count();
        assert_eq!(known, MOST_SUBNETS);
    }

    #[test]
    fn a_flood_of_names_displaces_each_other_and_not_those_that_are_asked_for() {
        let (cache, now) = (Cache::new(1 << 20), Instant::now());
        let often = question("often", Origin::Unsaid);
        cache.put(&often, None, &reply(&often, 60, 1, None));
        for n in 0..50_000 {
            let once = question(&format!("n{n}"), Origin::Unsaid);
            cache.put(&once, None, &reply(&once, 60, 1, None));
            if n % 50 == 0 {
                assert!(cache.get(&often, None, now).is_some(), "after {n}");
            }
        }
        let octets = cache.len() * reply(&often, 60, 1, None).size();
        assert!(octets < 1 << 20 && octets > 1 << 17, "{} replies in {octets} octets", cache.len());
        assert!(cache.octets() > octets && cache.octets() <= 1 << 20, "{} octets, {octets} of them replies", cache.octets());
        cache.clear();
        assert_eq!((cache.len(), cache.octets()), (0, 0));
    }
}
