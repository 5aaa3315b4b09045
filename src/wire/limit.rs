//! Response rate limiting: what one client prefix gets over UDP, where nothing shows that it is the client that asks.
//!
//! The limiter sees the finished answer, for what it is about decides what it counts as (as in BIND, NSD and Knot):
//!
//! | reply | counts for | limit |
//! | --- | --- | --- |
//! | records of a name that stands in a zone | that name | `per_second` |
//! | records of a service's name, whatever labels stand before it | the service | `per_second` |
//! | records from a wildcard or a DNAME | the zone: else a flood asks for another name each time | `per_second` |
//! | NODATA, referral | the zone | `per_second` |
//! | NXDOMAIN | the zone | `nxdomain_per_second` |
//! | an error | nothing | `errors_per_second` |
//!
//! Each prefix, kind and name has a bucket that holds one second's worth of replies, in a [`Table`] of fixed size that all workers share.

use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

use crate::codec::{NameBuf, Question};
use crate::model::{Counter, RateLimitSettings};
use crate::snapshot::Snapshot;

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is sent.
    Send,
    /// A small one is sent in its place.
    Slip,
    /// Nothing is sent.
    Drop,
}

/// Kinds of replies, each with buckets of its own.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Kind {
    Records,
    Nodata,
    Referral,
    Nxdomain,
    Error,
    /// All of a prefix together.
    All,
}

/// Judges a reply that is ready. `draw` says which of those beyond the limit slip: by chance, lest a client that asks in a rhythm always
/// meets the same fate.
#[inline(never)]
pub(super) fn verdict(
    snapshot: &Snapshot,
    table: &Table,
    question: Option<&Question<'_>>,
    outcome: Counter,
    peer: IpAddr,
    now_ms: u64,
    draw: u64,
) -> Verdict {
    let limits = &snapshot.dns.rate_limit;
    let peer = peer.to_canonical();
    let (kind, rate) = match outcome {
        Counter::Answered => (Kind::Records, limits.per_second),
        Counter::Nodata => (Kind::Nodata, limits.per_second),
        Counter::Referral => (Kind::Referral, limits.per_second),
        Counter::Nxdomain => (Kind::Nxdomain, limits.nxdomain_per_second.unwrap_or(limits.per_second)),
        _ => (Kind::Error, limits.errors_per_second.unwrap_or(limits.per_second)),
    };
    let about = question.map_or(&[][..], |question| imputed(snapshot, question.name, kind));
    let prefix = prefix(peer, limits);
    let within = table.take(prefix, kind, about, rate, now_ms)
        && (limits.all_per_second == 0 || table.take(prefix, Kind::All, &[], limits.all_per_second, now_ms));
    // Looked at last: whoever stays within the limit needs no exemption.
    if within || limits.exempt.iter().any(|network| network.contains(&peer)) {
        return Verdict::Send;
    }
    match limits.slip {
        0 => Verdict::Drop,
        every if draw.is_multiple_of(every.into()) => Verdict::Slip,
        _ => Verdict::Drop,
    }
}

/// Whether one more error may be sent to a client.
pub(super) fn admits_error(limits: &RateLimitSettings, table: &Table, peer: IpAddr, now_ms: u64) -> bool {
    let peer = peer.to_canonical();
    let (prefix, rate) = (prefix(peer, limits), limits.errors_per_second.unwrap_or(limits.per_second));
    let all = |table: &Table| limits.all_per_second == 0 || table.take(prefix, Kind::All, &[], limits.all_per_second, now_ms);
    let within = table.take(prefix, Kind::Error, &[], rate, now_ms) && all(table);
    within || limits.exempt.iter().any(|network| network.contains(&peer))
}

/// The name that a reply counts for: one of those that the zones and services have, never one that the client makes up.
fn imputed<'n>(snapshot: &'n Snapshot, name: &'n NameBuf, kind: Kind) -> &'n [u8] {
    if matches!(kind, Kind::Error | Kind::All) {
        return &[];
    }
    // Without a zone it is class CH, which has four names.
    let Some(zone) = snapshot.zone(name) else { return name.wire() };
    let depth = zone.depth(name);
    if !matches!(kind, Kind::Records) {
        return zone.apex();
    }
    if zone.owner(name).is_some() {
        return name.wire();
    }
    // `_web._tcp` before the apex stands for the service `web`: its own name is one of few. `_web` before any other label is a wildcard's.
    let is_default_port = || {
        let of_service = || name.label(0).strip_prefix(b"_").is_some_and(|label| snapshot.service(label).is_some());
        matches!(name.label(1), b"_tcp" | b"_udp") && of_service()
    };
    match depth {
        1.. if zone.services() && snapshot.service(name.label(depth - 1)).is_some() => &name.wire()[name.start(depth - 1)..],
        2 if zone.services() && is_default_port() => name.wire(),
        _ => zone.apex(),
    }
}

/// The client's prefix: one number for each, IPv4 above IPv6.
fn prefix(peer: IpAddr, limits: &RateLimitSettings) -> u128 {
    let kept = |octets: u64, bits: u8| octets & u64::MAX.checked_shl(64 - u32::from(bits.min(64))).unwrap_or(0);
    match peer {
        IpAddr::V4(v4) => 1 << 64 | u128::from(kept(u64::from(v4.to_bits()) << 32, limits.ipv4_prefix)),
        IpAddr::V6(v6) => kept((v6.to_bits() >> 64) as u64, limits.ipv6_prefix).into(),
    }
}

/// Buckets in a set. A set fills one cache line.
const WAYS: usize = 8;
/// Bits of a bucket's time.
const TIME_BITS: u32 = 40;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// Microseconds in a second: what a bucket holds at most is a second's worth.
const SECOND: u64 = 1_000_000;
/// A bucket is filled a second ahead, or less than two where a rate above 500,000 has no better share than 2 µs. What seems to be farther,
/// by more than the clocks of workers differ, is from another time: 12 days ago, when the time wrapped, or before the clock was set back.
const FARTHEST: u64 = 2 * SECOND + 100_000;
/// How often a bucket may change under a worker's hands before it gives up. Buckets change only while they are within their limit.
const TRIES: usize = 16;

/// Buckets in a fixed number of sets, shared by all workers without a lock.
///
/// ```text
///   a bucket, 64 bits:   whose it is, 24 bits of its hash │ when it will be empty, microseconds modulo 2^40
/// ```
/// A reply takes its share of a second (`1 s / rate`) by moving that time ahead; beyond one second ahead there is no more to take. An empty
/// bucket says the same as none, so a set gives a newcomer its emptiest one: in the worst case, where more than eight of a set are busy at
/// once, somebody's debt is forgotten. Nobody is ever charged for another, except where 24 bits of a keyed hash agree.
pub(super) struct Table {
    sets: Box<[Set]>,
    /// Whoever does not know it cannot choose who shares a set.
    key: (u64, u64),
}

#[repr(align(64))]
#[derive(Default)]
struct Set([AtomicU64; WAYS]);

impl Table {
    /// A table of at least `buckets` buckets, a power of two.
    pub fn new(buckets: usize, key: (u64, u64)) -> Table {
        let sets = buckets.div_ceil(WAYS).next_power_of_two();
        Table { sets: (0..sets).map(|_| Set::default()).collect(), key }
    }

    /// Takes one reply from a bucket at `rate` a second; whether it was there to take.
    fn take(&self, prefix: u128, kind: Kind, about: &[u8], rate: u32, now_ms: u64) -> bool {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write_u128(prefix);
        hasher.write_u8(kind as u8);
        hasher.write(about);
        let hash = hasher.finish();
        let owner = hash & !TIME;
        let set = &self.sets[(hash as usize) & (self.sets.len() - 1)].0;
        // Rounded up: never more than `rate`.
        let share = SECOND.div_ceil(u64::from(rate.max(1)));
        let full = share * u64::from(rate.max(1));
        let now = now_ms.wrapping_mul(1000) & TIME;
        for _ in 0..TRIES {
            let (mut emptiest, mut least) = ((&set[0], 0), u64::MAX);
            for bucket in set {
                let word = bucket.load(Ordering::Relaxed);
                let is_ours = word & !TIME == owner;
                let ahead = Some(word.wrapping_sub(now) & TIME).filter(|ahead| *ahead <= FARTHEST).unwrap_or(0);
                if is_ours || ahead < least {
                    (emptiest, least) = ((bucket, word), ahead);
                }
                if is_ours {
                    break;
                }
            }
            let (bucket, word) = emptiest;
            let taken = if word & !TIME == owner { least } else { 0 };
            if taken + share > full {
                return false;
            }
            let next = owner | (now + taken + share) & TIME;
            if bucket.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
        false
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("buckets", &(self.sets.len() * WAYS)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: u64 = 1_800_000_000_000;

    /// How many of `count` replies are there to take at one moment.
    fn taken(table: &Table, prefix: u128, rate: u32, now_ms: u64, count: usize) -> usize {
        (0..count).filter(|_| table.take(prefix, Kind::Records, b"\x03www\x00", rate, now_ms)).count()
    }

    #[test]
    fn a_bucket_gives_its_rate_and_one_second_ahead() {
        for rate in [1, 2, 3, 7, 10, 100, 999, 1000, 20_000] {
            let table = Table::new(64, (1, 2));
            assert_eq!(taken(&table, 1, rate, BEGIN, rate as usize + 9), rate as usize, "at once");
            let later: usize = (1..=3_000).map(|ms| taken(&table, 1, rate, BEGIN + ms, rate as usize / 1000 + 2)).sum();
            let most = 3 * rate as usize;
            assert!((most * 99 / 100..=most).contains(&later), "{later} of {most} in three seconds at {rate}/s");
            assert_eq!(taken(&table, 2, rate, BEGIN + 3_000, 5), 5.min(rate as usize), "another prefix has its own");
        }
    }

    #[test]
    fn the_clock_may_go_back_and_the_time_may_wrap() {
        let table = Table::new(64, (1, 2));
        assert_eq!(taken(&table, 1, 10, BEGIN, 50), 10);
        // Back by less than a second: it waits for what it has already had, two seconds at most.
        assert_eq!(taken(&table, 1, 10, BEGIN - 900, 50), 0);
        assert_eq!(taken(&table, 1, 10, BEGIN + 1000, 50), 10);
        assert_eq!(taken(&table, 1, 10, BEGIN - 3_600_000, 50), 10, "back by an hour: a new beginning");
        // What was left behind at any moment is forgotten at any other, however far.
        for apart in (2_001..40 * 86_400_000).step_by(86_399_999) {
            assert_eq!(taken(&table, 9, 10, BEGIN + apart, 50), 10, "{apart} ms later");
            assert_eq!(taken(&table, 9, 10, BEGIN, 50), 10, "and back");
        }
        assert_eq!(taken(&table, 1, 10, 0, 50), 10);
        assert_eq!(taken(&table, 2, 10, u64::MAX, 50), 10);
        // What one worker filled is full for another whose clock is a little behind, whatever the rate.
        for rate in [1, 10, 99_999, 500_001, 999_999] {
            let table = Table::new(64, (1, 2));
            assert_eq!(taken(&table, 1, rate, BEGIN, rate as usize + 1), rate as usize);
            assert_eq!(taken(&table, 1, rate, BEGIN - 50, 2), 0, "{rate}");
        }
    }

    #[test]
    fn a_full_table_charges_nobody_for_another() {
        // 8 sets for 5,000 prefixes that flood: each innocent still gets an answer at once, every time it asks.
        let table = Table::new(64, (3, 4));
        let mut refused = 0;
        for ms in 0..2_000u64 {
            for prefix in 0..40u64 {
                taken(&table, u128::from(1_000_000 + (ms * 40 + prefix) % 5_000), 5, BEGIN + ms, 7);
            }
            if ms % 250 == 0 {
                refused += usize::from(taken(&table, 7, 5, BEGIN + ms, 1) == 0);
            }
        }
        assert_eq!(refused, 0);
        // And a table with room holds each of them to its limit.
        let table = Table::new(131_072, (3, 4));
        for prefix in 0..5_000 {
            assert_eq!(taken(&table, prefix, 5, BEGIN, 7), 5);
        }
    }

    #[test]
    fn workers_share_a_bucket() {
        let table = Table::new(64, (5, 6));
        let all: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| taken(&table, 1, 1000, BEGIN, 5_000))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert!((500..=1000).contains(&all), "{all}: no more than one worker alone gives");
    }

    #[test]
    fn prefixes_are_told_apart_as_configured() {
        let limits = RateLimitSettings::default();
        let same = |a: &str, b: &str| prefix(a.parse().unwrap(), &limits) == prefix(b.parse().unwrap(), &limits);
        assert!(same("192.0.2.1", "192.0.2.255") && !same("192.0.2.1", "192.0.3.1"));
        assert!(same("2001:db8:0:12::1", "2001:db8:0:34::1") && !same("2001:db8:0:100::1", "2001:db8:0:200::1"));
        assert!(!same("0.0.0.0", "::") && !same("32.1.13.184", "2001:db8::"));
        let wide = RateLimitSettings { ipv4_prefix: 32, ipv6_prefix: 64, ..RateLimitSettings::default() };
        assert_ne!(prefix("192.0.2.1".parse().unwrap(), &wide), prefix("192.0.2.2".parse().unwrap(), &wide));
        assert_ne!(prefix("2001:db8::".parse().unwrap(), &wide), prefix("2001:db8:0:1::".parse().unwrap(), &wide));
    }
}
