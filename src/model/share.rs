//! Shares of clients: how far a place or an instance is out of answers.

use serde::{Deserialize, Serialize};

/// A share of all clients, from none to all, in steps of 2⁻³².
///
/// Clients are told apart by the hash of their prefix; a share holds those whose hash lies below it. So a growing share takes clients
/// in one order, and gives them back in the reverse order while it shrinks: each moves once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(u64);

impl Share {
    /// Nobody.
    pub const NONE: Share = Share(0);
    /// Everybody.
    pub const ALL: Share = Share(1 << 32);

    /// A share from a ratio, 0–1; what lies outside is cut off.
    pub fn of(ratio: f64) -> Share {
        Share((ratio.clamp(0.0, 1.0) * (1u64 << 32) as f64).round() as u64)
    }

    /// The share as a ratio, 0–1.
    pub fn ratio(self) -> f64 {
        self.0.min(1 << 32) as f64 / (1u64 << 32) as f64
    }

    /// Whether it holds the client of this hash.
    #[inline]
    pub fn holds(self, hash: u64) -> bool {
        (hash >> 32) < self.0
    }

    /// Neither nobody nor everybody: it depends on the client.
    #[inline]
    pub fn is_partial(self) -> bool {
        self.0 > 0 && self.0 < 1 << 32
    }
}

/// How far something is out of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Out {
    /// For whom it counts as drained.
    pub share: Share,
    /// The share grows or shrinks, or is about to: answers that depend on it live as short as they may.
    pub moving: bool,
}

impl Out {
    /// In answers for everybody.
    pub const SERVING: Out = Out { share: Share::NONE, moving: false };
    /// Out of everybody's answers.
    pub const DRAINED: Out = Out { share: Share::ALL, moving: false };

    /// Two words on one thing: the wider share holds.
    pub fn or(self, other: Out) -> Out {
        Out { share: self.share.max(other.share), moving: self.moving || other.moving }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_holds_the_hashes_below_it() {
        assert!(!Share::NONE.holds(0) && Share::ALL.holds(u64::MAX));
        let half = Share::of(0.5);
        assert!(half.holds((1 << 63) - 1) && !half.holds(1 << 63));
        assert!(half.is_partial() && !Share::ALL.is_partial() && !Share::NONE.is_partial());
        assert_eq!((Share::of(2.0), Share::of(-1.0), Share::of(1.0).ratio()), (Share::ALL, Share::NONE, 1.0));
        assert_eq!(Out { share: half, moving: true }.or(Out::DRAINED), Out { share: Share::ALL, moving: true });
    }
}
