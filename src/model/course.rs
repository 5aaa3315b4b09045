//! The course of a drain: from where, whither and how fast its share moves.
//!
//! ```text
//!  share
//!   1 ┤                     ╭───────────────╮ lifted, or expired
//!     │                  ╭──╯                ╲
//!     │        paused ╭──╯ resumed             ╲
//!     │          ╭────╯                          ╲
//!   0 ┼──────────╯                                 ╲─── gone
//!     announced  from                                        time
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Period, Share, Timestamp};

/// A stored start and rate, from which every server computes the same share at the same instant.
///
/// Time is whole milliseconds and shares are integers, so there is nothing to round differently. Whoever changes a course writes a new
/// one that begins with the share which the old one has at that instant: a share never jumps, but where no ramp was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    /// From this instant on it moves. Ahead of it the drain is announced: the share rests, and TTLs are at their least.
    pub from: Timestamp,
    /// The share at that instant.
    pub share: Share,
    /// Whither.
    pub toward: Toward,
    /// How long the whole way takes, from nobody to everybody or back; `0s`: at once.
    pub ramp: Period,
    /// Since when it stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Timestamp>,
}

/// Whither a share moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Toward {
    /// Out of answers: it grows.
    Out,
    /// Back into answers: it shrinks, and then the drain is gone.
    In,
}

/// What a drain written before there were courses has: out of everybody's answers since it was written.
impl Default for Course {
    fn default() -> Course {
        Course::at_once(Timestamp::default())
    }
}

impl Course {
    /// Out of everybody's answers at once.
    pub const fn at_once(now: Timestamp) -> Course {
        Course { from: now, share: Share::ALL, toward: Toward::Out, ramp: Period(Duration::ZERO), paused: None }
    }

    /// Out of answers within `ramp`, from nobody at `from`.
    pub const fn ramped(from: Timestamp, ramp: Period) -> Course {
        Course { from, share: Share::NONE, toward: Toward::Out, ramp, paused: None }
    }

    /// The share at `now`.
    pub fn share(&self, now: Timestamp) -> Share {
        let time = self.paused.unwrap_or(now).min(now).since(self.from);
        match self.toward {
            _ if self.is_announced(now) => self.share,
            Toward::Out => self.share.grown(time, self.ramp.0),
            Toward::In => self.share.shrunk(time, self.ramp.0),
        }
    }

    /// Whether the share has still a way to go, paused or not.
    pub fn is_moving(&self, now: Timestamp) -> bool {
        self.share(now) != self.end()
    }

    /// Whether it has not begun to move yet.
    pub fn is_announced(&self, now: Timestamp) -> bool {
        self.paused.unwrap_or(now).min(now) < self.from
    }

    /// When it is there; `None` while it is paused.
    pub fn arrives(&self) -> Option<Timestamp> {
        let way = match self.toward {
            Toward::Out => self.share.rest(),
            Toward::In => self.share,
        };
        self.paused.is_none().then(|| self.from.plus(way.time(self.ramp.0)))
    }

    /// When it is next so far on that answers are to be made anew: a 256th of the ramp later, but not more often than every 100 ms and
    /// not less often than every 5 s; also when its announcement ends and when it arrives. `None`: it rests.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let arrives = self.arrives().filter(|arrives| *arrives > now)?;
        let step = (self.ramp.0 / 256).clamp(Duration::from_millis(100), Duration::from_secs(5));
        Some(if now < self.from { self.from } else { now.plus(step).min(arrives) })
    }

    /// The same course, standing still from `now` on.
    pub fn pause(self, now: Timestamp) -> Course {
        Course { paused: Some(self.paused.unwrap_or(now)), ..self }
    }

    /// The same course, going on at the same rate from `now` on; what was left of an announcement is left still.
    pub fn resume(self, now: Timestamp) -> Course {
        let stood = self.paused.map(|paused| now.since(paused)).unwrap_or_default();
        Course { from: self.from.plus(stood), paused: None, ..self }
    }

    /// Back into answers from where it is at `now`.
    pub fn lift(self, now: Timestamp, ramp: Period) -> Course {
        Course { from: now, share: self.share(now), toward: Toward::In, ramp, paused: None }
    }

    /// Out of answers from where it is at `now`. One that has not begun yet is announced first, for as long as it still was or, if it was
    /// not, for `announcement`.
    pub fn drain(self, now: Timestamp, ramp: Period, announcement: Duration) -> Course {
        let share = self.share(now);
        let left = match self.toward {
            _ if share != Share::NONE => Duration::ZERO,
            Toward::Out => self.from.since(self.paused.unwrap_or(now)),
            Toward::In => announcement,
        };
        Course { share, ..Course::ramped(now.plus(left), ramp) }
    }

    /// Where it goes.
    fn end(&self) -> Share {
        match self.toward {
            Toward::Out => Share::ALL,
            Toward::In => Share::NONE,
        }
    }
}
