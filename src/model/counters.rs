//! Outcome counters: one set per worker, added up when somebody looks.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Sightings;

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// What is counted of queries: one outcome each, and a few marks beside it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Counter] = &[$(Counter::$name,)*];

            /// The name in metrics and transcripts.
            pub fn as_str(self) -> &'static str {
                match self { $(Counter::$name => $text,)* }
            }
        }
    };
}

outcomes! {
    /// A positive answer.
    Answered => "answered",
    /// The name exists, the type does not (RFC 2308 §2.2).
    Nodata => "nodata",
    /// The name does not exist.
    Nxdomain => "nxdomain",
    /// A referral to a delegated zone.
    Referral => "referral",
    /// Not a zone of ours, or not a class of ours.
    Refused => "refused",
    /// The query was malformed.
    Formerr => "formerr",
    /// An opcode or a type of query that is not offered.
    Notimp => "notimp",
    /// An EDNS version above 0 (RFC 6891 §6.1.3).
    Badvers => "badvers",
    /// The server cookie of a query without question was not ours, or too old (RFC 7873 §5.4).
    Badcookie => "badcookie",
    /// Over the rate limit: a small reply that sends the client to TCP or gives it a cookie.
    Slipped => "slipped",
    /// Over the rate limit: no reply.
    Limited => "limited",
    /// Its answer, or the end of it, came from an upstream (`[forward]`), whatever it was.
    Forwarded => "forwarded",
    /// An internal failure.
    Servfail => "servfail",
    /// No reply: a response, or fewer octets than a header.
    Dropped => "dropped",
    /// Handed to the slow path, which counts the outcome. Counted beside it.
    Punted => "punted",
    /// Cut to fit, TC set. Counted beside the outcome.
    Truncated => "truncated",
    /// The client's subnet was used (RFC 7871). Counted beside the outcome.
    EcsUsed => "ecs_used",
    /// Nothing was healthy and everything not drained was answered. Counted beside the outcome.
    FailOpen => "fail_open",
    /// So little was healthy that a level answered whole (`panic_threshold`); counted beside its outcome.
    Panic => "panic",
    /// The name had nothing to answer for this client, and would have had if no region and no az were drained. Counted beside the outcome.
    Empty => "empty",
    /// A cookie of the client alone: it gets its first server cookie (RFC 7873 §5.2.3). Counted beside the outcome.
    CookieNew => "cookie_new",
    /// A valid server cookie (RFC 7873 §5.2.5). Counted beside the outcome.
    CookieValid => "cookie_valid",
    /// A server cookie that is too old, or not ours (RFC 7873 §5.2.4). Counted beside the outcome.
    CookieInvalid => "cookie_invalid",
    /// An RRset of an answer whose signature was there. Counted for each.
    SignatureFound => "signature_found",
    /// An RRset of an answer whose signature had to be made. Counted for each.
    SignatureMissing => "signature_missing",
}

/// Regions with a counter of their own; those numbered higher share the last one.
pub const COUNTED_REGIONS: usize = 256;

/// How often each outcome came about, and how many answers held each region. One worker writes, anyone reads.
///
/// Aligned, lest one worker's share a cache line with another's: processors fetch lines by twos.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    outcomes: [AtomicU64; Counter::ALL.len()],
    /// By the region's number, which it keeps for as long as the process runs.
    regions: [AtomicU64; COUNTED_REGIONS],
    octets_in: AtomicU64,
    octets_out: AtomicU64,
    /// Which client prefixes asked for names that are decided, in a sample.
    pub clients: Sightings,
}

impl Default for Counters {
    fn default() -> Counters {
        let zeros = || AtomicU64::new(0);
        Counters {
            outcomes: std::array::from_fn(|_| zeros()),
            regions: std::array::from_fn(|_| zeros()),
            octets_in: zeros(),
            octets_out: zeros(),
            clients: Sightings::default(),
        }
    }
}

impl Counters {
    /// Counts one. Only the worker that owns the counters calls this: a plain load and store, no locked instruction.
    #[inline]
    pub fn count(&self, counter: Counter) {
        add(&self.outcomes[counter as usize], 1);
    }

    /// Counts an answer that holds an instance of the region of that number; as [`Counters::count`].
    #[inline]
    pub fn count_region(&self, region: u16) {
        add(&self.regions[usize::from(region).min(COUNTED_REGIONS - 1)], 1);
    }

    /// Counts the octets of a query and of its reply, DNS messages without what carries them; as [`Counters::count`].
    #[inline]
    pub fn count_octets(&self, query: usize, reply: usize) {
        add(&self.octets_in, query as u64);
        add(&self.octets_out, reply as u64);
    }

    /// How often `counter` came about.
    pub fn get(&self, counter: Counter) -> u64 {
        self.outcomes[counter as usize].load(Ordering::Relaxed)
    }

    /// How many answers held an instance of the region of that number.
    pub fn region(&self, region: u16) -> u64 {
        self.regions[usize::from(region).min(COUNTED_REGIONS - 1)].load(Ordering::Relaxed)
    }

    /// Octets of all queries, and of all replies.
    pub fn octets(&self) -> (u64, u64) {
        (self.octets_in.load(Ordering::Relaxed), self.octets_out.load(Ordering::Relaxed))
    }
}

#[inline]
fn add(counter: &AtomicU64, number: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
}
