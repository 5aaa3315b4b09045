//! Shares of clients: how far a place or an instance is out of answers.

use std::time::Duration;

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

    /// The share after it has grown for `time`, at a rate that takes `whole` from nobody to everybody; `whole` of zero: everybody.
    ///
    /// Whole milliseconds and integers only: every server comes to the same.
    pub fn grown(self, time: Duration, whole: Duration) -> Share {
        Share(self.0.saturating_add(way(time, whole)).min(Share::ALL.0))
    }

    /// The share after it has shrunk for `time` at that rate; `whole` of zero: nobody.
    pub fn shrunk(self, time: Duration, whole: Duration) -> Share {
        Share(self.0.min(Share::ALL.0).saturating_sub(way(time, whole)))
    }

    /// How long it takes to shrink to nobody at the rate that takes `whole` for everybody; rounded up, so that it has by then.
    pub fn time(self, whole: Duration) -> Duration {
        let time = (u128::from(self.0.min(Share::ALL.0)) * whole.as_millis()).div_ceil(u128::from(Share::ALL.0));
        Duration::from_millis(time.try_into().unwrap_or(u64::MAX))
    }

    /// Those whom it does not hold.
    pub fn rest(self) -> Share {
        Share(Share::ALL.0 - self.0.min(Share::ALL.0))
    }

    /// Neither nobody nor everybody: it depends on the client.
    #[inline]
    pub fn is_partial(self) -> bool {
        self.0 > 0 && self.0 < 1 << 32
    }
}

/// The way that a share goes within `time` where the whole way takes `whole`.
fn way(time: Duration, whole: Duration) -> u64 {
    let way = (time.as_millis() * u128::from(Share::ALL.0)).checked_div(whole.as_millis());
    way.and_then(|way| way.try_into().ok()).unwrap_or(u64::MAX)
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
        let (second, whole) = (Duration::from_secs(1), Duration::from_secs(4));
        assert_eq!((half.grown(second, whole), half.shrunk(second, whole)), (Share::of(0.75), Share::of(0.25)));
        assert_eq!((half.grown(whole, whole), half.shrunk(whole, whole)), (Share::ALL, Share::NONE));
        assert_eq!((half.grown(second, Duration::ZERO), half.rest(), half.time(whole)), (Share::ALL, half, 2 * second));
        assert_eq!(Out { share: half, moving: true }.or(Out::DRAINED), Out { share: Share::ALL, moving: true });
    }
}
