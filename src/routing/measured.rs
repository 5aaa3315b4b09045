//! Measured round trips: what was measured between clients' prefixes and regions, and for how long it counts.
//!
//! Each pair of a prefix and a region has an exponentially weighted mean (a new sample counts for 30 %, the first one as it is), which is
//! forgotten an hour after its last sample. At most [`MOST_PREFIXES`] prefixes are kept, each with at most [`MOST_REGIONS`] regions; where
//! there is no room, what has waited longest for a sample goes first. Nothing of it is written down: a restart forgets it all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::stands::Orders;
use super::{Origins, Places, RegionId};
use crate::model::Timestamp;

/// Most client prefixes whose measurements are kept.
pub const MOST_PREFIXES: usize = 100_000;
/// Most regions to which the measurements of one prefix are kept.
pub const MOST_REGIONS: usize = 64;
/// How long a mean counts after its last sample.
pub const FRESH: Duration = Duration::from_secs(3600);
/// The longest round trip that is one, in milliseconds.
pub const MOST_MS: f64 = 60_000.0;

/// How much a new sample counts.
const ALPHA: f64 = 0.3;

/// The mean of one prefix and region.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// To which region.
    pub region: RegionId,
    /// The mean in milliseconds.
    pub ms: f64,
    /// How many samples went into it.
    pub samples: u32,
    /// When the last one came.
    pub last: Timestamp,
}

/// All measurements.
#[derive(Debug)]
pub struct Measurements {
    rows: BTreeMap<IpNet, Row>,
    /// Every prefix by the time of its last sample.
    by_age: BTreeSet<(Timestamp, IpNet)>,
    /// No mean grows stale before.
    next_expiry: Option<Timestamp>,
    most: usize,
    taken: u64,
    evicted: u64,
}

#[derive(Debug)]
struct Row {
    last: Timestamp,
    regions: Vec<Measured>,
}

impl Default for Measurements {
    fn default() -> Measurements {
        Measurements::at_most(MOST_PREFIXES)
    }
}

/// The prefix that measurements of `client` are kept for: at most a /24 of IPv4 or a /56 of IPv6, for clients closer together than that
/// share their way. Shorter ones stay as they are. IPv4-mapped networks (RFC 4291 §2.5.5.2) are IPv4.
pub fn measured_prefix(client: IpNet) -> IpNet {
    match client {
        IpNet::V4(net) => v4(net.addr(), net.prefix_len()),
        IpNet::V6(net) => match net.addr().to_ipv4_mapped() {
            Some(addr) if net.prefix_len() >= 96 => v4(addr, net.prefix_len() - 96),
            _ => Ipv6Net::new_assert(net.addr(), net.prefix_len().min(56)).trunc().into(),
        },
    }
}

fn v4(addr: Ipv4Addr, length: u8) -> IpNet {
    Ipv4Net::new_assert(addr, length.min(24)).trunc().into()
}

impl Measurements {
    fn at_most(most: usize) -> Measurements {
        let (rows, by_age) = (BTreeMap::new(), BTreeSet::new());
        Measurements { rows, by_age, next_expiry: None, most, taken: 0, evicted: 0 }
    }

    /// Takes a sample: a round trip of more than 0 and at most [`MOST_MS`] milliseconds between clients and a region.
    pub fn take(&mut self, now: Timestamp, client: IpNet, region: RegionId, rtt_ms: f64) {
        let prefix = measured_prefix(client);
        self.taken += 1;
        let row = self.rows.entry(prefix).or_insert_with(|| Row { last: now, regions: Vec::new() });
        self.by_age.remove(&(row.last, prefix));
        self.by_age.insert((now, prefix));
        row.last = now;
        match row.regions.iter_mut().find(|measured| measured.region == region) {
            Some(measured) if measured.last.plus(FRESH) > now => {
                measured.ms += ALPHA * (rtt_ms - measured.ms);
                measured.samples = measured.samples.saturating_add(1);
                measured.last = now;
            }
            Some(measured) => *measured = Measured { region, ms: rtt_ms, samples: 1, last: now },
            None => {
                if row.regions.len() >= MOST_REGIONS
                    && let Some(stalest) = (0..row.regions.len()).min_by_key(|n| row.regions[*n].last)
                {
                    row.regions.remove(stalest);
                    self.evicted += 1;
                }
                row.regions.push(Measured { region, ms: rtt_ms, samples: 1, last: now });
            }
        }
        let expiry = now.plus(FRESH);
        self.next_expiry = Some(self.next_expiry.map_or(expiry, |at| at.min(expiry)));
        while self.rows.len() > self.most
            && let Some((_, stalest)) = self.by_age.pop_first()
        {
            self.evicted += self.rows.remove(&stalest).map_or(0, |row| row.regions.len() as u64);
        }
    }

    /// Forgets what has grown stale; whether anything has.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        if self.next_expiry.is_none_or(|at| at > now) {
            return false;
        }
        let before: usize = self.rows.values().map(|row| row.regions.len()).sum();
        let mut after = 0;
        self.rows.retain(|prefix, row| {
            row.regions.retain(|measured| measured.last.plus(FRESH) > now);
            after += row.regions.len();
            if row.regions.is_empty() {
                self.by_age.remove(&(row.last, *prefix));
            }
            !row.regions.is_empty()
        });
        self.next_expiry = self.rows.values().flat_map(|row| &row.regions).map(|measured| measured.last.plus(FRESH)).min();
        after < before
    }

    /// When [`Measurements::expire`] is needed next, at the earliest.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.next_expiry
    }

    /// How many prefixes are kept.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Samples taken since the start.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Means forgotten for want of room since the start; those that grew stale are not among them.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Prefixes behind `after` in their order (IPv4 first, by address) with their means.
    pub fn after(&self, after: Option<IpNet>) -> impl Iterator<Item = (IpNet, &[Measured])> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.range((from, Bound::Unbounded)).map(|(prefix, row)| (*prefix, row.regions.as_slice()))
    }

    /// The prefixes that hold `client`, or lie within it, with their means.
    pub fn about(&self, client: IpNet) -> impl Iterator<Item = (IpNet, &[Measured])> {
        let client = client.trunc();
        let around = (0..client.prefix_len()).filter_map(move |length| IpNet::new(client.addr(), length).ok()).map(|net| net.trunc());
        let around = around.filter_map(|net| self.rows.get_key_value(&net));
        let within = self.rows.range(client..).take_while(move |(prefix, _)| client.contains(&prefix.addr()));
        around.chain(within).map(|(prefix, row)| (*prefix, row.regions.as_slice()))
    }

    /// What is fresh now, to be compiled.
    pub fn fresh(&self, now: Timestamp) -> Vec<Fresh> {
        let fresh = |row: &Row| row.regions.iter().filter(|m| m.last.plus(FRESH) > now).map(|m| (m.region, m.ms)).collect();
        self.rows.iter().map(|(prefix, row)| Fresh { prefix: *prefix, rtt_ms: fresh(row) }).filter(|row| !row.rtt_ms.is_empty()).collect()
    }
}

/// What was measured lately of one prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Fresh {
    /// The prefix.
    pub prefix: IpNet,
    /// Mean round trips in milliseconds.
    pub rtt_ms: Vec<(RegionId, f64)>,
}

/// Everything that rankings with measurements follow from: to be compiled wherever there is time for it.
#[derive(Debug)]
pub struct Survey {
    /// Where clients are.
    pub origins: Arc<Origins>,
    /// The regions.
    pub places: Arc<Places>,
    /// What was measured, in the order of prefixes.
    pub fresh: Vec<Fresh>,
    /// The orders that were in force.
    pub orders: Arc<Orders>,
}

/// What came of a [`Survey`].
#[derive(Debug)]
pub struct Surveyed {
    /// Where clients are, and how they stand by what was measured.
    pub origins: Arc<Origins>,
    /// The orders that are in force from now on.
    pub orders: Arc<Orders>,
}

impl Survey {
    /// Compiles it.
    pub fn compile(self) -> Surveyed {
        let (origins, orders) = self.origins.measured(&self.places, &self.fresh, &self.orders);
        Surveyed { origins: Arc::new(origins), orders: Arc::new(orders) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    const START: Timestamp = Timestamp(1_700_000_000_000);

    fn after(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    /// Prefixes and their means, as `PREFIX REGION:MS*SAMPLES …`.
    fn shown<'a>(rows: impl Iterator<Item = (IpNet, &'a [Measured])>) -> Vec<String> {
        let means = |means: &[Measured]| means.iter().map(|m| format!(" {}:{:.1}*{}", m.region.0, m.ms, m.samples)).collect::<String>();
        rows.map(|(prefix, row)| format!("{prefix}{}", means(row))).collect()
    }

    #[test]
    fn long_prefixes_are_cut_and_short_ones_stay() {
        for (client, prefix) in [
            ("198.51.100.7/32", "198.51.100.0/24"),
            ("198.51.100.7/20", "198.51.96.0/20"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8:0:1ff::1/128", "2001:db8:0:100::/56"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:198.51.100.7/128", "198.51.100.0/24"),
            ("::ffff:198.51.100.7/112", "198.51.0.0/16"),
            ("::ffff:198.51.100.7/56", "::/56"),
        ] {
            assert_eq!(measured_prefix(net(client)), net(prefix), "{client}");
        }
    }

    #[test]
    fn a_mean_follows_its_samples_and_is_forgotten_an_hour_after_the_last() {
        let mut all = Measurements::default();
        let client = net("198.51.100.7/32");
        for (seconds, region, ms, expected) in [
            (0, 1, 20.0, "198.51.100.0/24 1:20.0*1"),
            (10, 1, 30.0, "198.51.100.0/24 1:23.0*2"),
            (1800, 2, 90.0, "198.51.100.0/24 1:23.0*2 2:90.0*1"),
            (3609, 1, 23.0, "198.51.100.0/24 1:23.0*3 2:90.0*1"),
            (5400, 2, 50.0, "198.51.100.0/24 1:23.0*3 2:50.0*1"),
        ] {
            all.take(after(seconds), client, RegionId(region), ms);
            assert_eq!(shown(all.after(None)), [expected], "after {seconds} s");
        }
        assert_eq!(all.fresh(after(7209)).len(), 1, "region 2 is fresh");
        assert_eq!(all.fresh(after(7209))[0].rtt_ms, [(RegionId(2), 50.0)]);
        assert!(!all.expire(after(3000)) && all.expire(after(7209)));
        assert_eq!(all.next_expiry(), Some(after(9000)));
        assert!(!all.expire(after(8999)) && all.expire(after(9000)));
        assert!(all.is_empty() && all.by_age.is_empty() && all.next_expiry().is_none());
        assert_eq!((all.taken(), all.evicted()), (5, 0));
    }

    #[test]
    fn what_waited_longest_makes_room() {
        let mut all = Measurements::at_most(2);
        for (seconds, client) in [(0, "192.0.2.0/24"), (1, "198.51.100.0/24"), (2, "192.0.2.0/24"), (3, "203.0.113.0/24")] {
            all.take(after(seconds), net(client), RegionId(0), 10.0);
        }
        assert_eq!(shown(all.after(None)), ["192.0.2.0/24 0:10.0*2", "203.0.113.0/24 0:10.0*1"]);
        assert_eq!((all.len(), all.by_age.len(), all.evicted()), (2, 2, 1));
        for region in 0..=MOST_REGIONS as u16 {
            all.take(after(9 + u64::from(region)), net("192.0.2.0/24"), RegionId(region), 10.0);
        }
        let (_, row) = all.after(None).next().unwrap();
        assert!(row.len() == MOST_REGIONS && row.iter().all(|measured| measured.region != RegionId(0)), "the stalest region went");
    }

    #[test]
    fn what_is_about_a_client_holds_it_or_lies_within_it() {
        let mut all = Measurements::default();
        for client in ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.3.0/24", "10.2.0.0/16", "2001:db8::/48"] {
            all.take(START, net(client), RegionId(0), 10.0);
        }
        let prefixes = |client: &str| all.about(net(client)).map(|(prefix, _)| prefix.to_string()).collect::<Vec<_>>();
        assert_eq!(prefixes("10.1.2.9/32"), ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"]);
        assert_eq!(prefixes("10.1.0.0/16"), ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.3.0/24"]);
        assert_eq!(prefixes("2001:db8::1/128"), ["2001:db8::/48"]);
        assert_eq!(all.after(Some(net("10.1.3.0/24"))).count(), 2);
    }
}
