//! One instance as it is given to a pool: how it stands, and what it has.

use crate::model::{Label, Share};
use crate::routing::LocalityId;

/// How an instance stands, best first. A pick uses a prefix of this order, which never reaches [`Standing::Drained`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Healthy and serving.
    Healthy,
    /// No result yet: used where nothing is healthy.
    Pending,
    /// Unhealthy, but healthy when anything last was: used by `all_down = "last_good"`.
    LastGood,
    /// Unhealthy: used by `all_down = "all"`.
    Unhealthy,
    /// Drained by itself or with its service: never used.
    Drained,
}

/// What an instance must have to be picked; one bit each, all must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Need(pub u64);

impl Need {
    /// Anything.
    pub const ANY: Need = Need(0);
    /// An IPv4 address.
    pub const V4: Need = Need(1);
    /// An IPv6 address.
    pub const V6: Need = Need(2);
    /// A TLS port (HTTPS records).
    pub const TLS: Need = Need(4);

    /// The service's port number `index` (0…[`crate::model::MAX_SERVICE_PORTS`]−1).
    pub const fn port(index: usize) -> Need {
        Need(8 << index)
    }

    /// This and `other`.
    pub const fn and(self, other: Need) -> Need {
        Need(self.0 | other.0)
    }

    /// Whether what `self` has covers what `need` asks.
    pub const fn covers(self, need: Need) -> bool {
        self.0 & need.0 == need.0
    }
}

/// One instance as given to [`Pool::build`](super::Pool::build). Its number is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it stands.
    pub locality: LocalityId,
    /// 0–65535.
    pub weight: u32,
    /// In percent of the weight, 1–100: how warm it is after a recovery (slow start).
    pub warmth: u8,
    /// How it stands.
    pub standing: Standing,
    /// For which part of the clients it counts as drained; all of them: [`Standing::Drained`].
    pub out: Share,
    /// What is hashed of it under `sticky`: the same on every server.
    pub seed: u64,
    /// What it has, as the union of [`Need`]s.
    pub has: Need,
    /// Milliseconds in which its standing cannot change.
    pub steady_ms: u32,
    /// Its tags.
    pub tags: Vec<Label>,
}
