//! Health: what is known of an instance, and how probe results become that knowledge.
//!
//! ```text
//!            rise passes in a row                       one instance = the worst of its parts:
//!   Pending ─────────────────────▶ Healthy                probed   (its checks, worst wins)
//!      │                           │    ▲                  beating  (heartbeat on time?)
//!      │ fall failures in a row    │    │ rise passes      pushed   (status said by the user)
//!      └──────────▶ Unhealthy ◀────┘    │
//!                      └────────────────┘
//! ```
//!
//! A first pass takes a Pending check to Healthy at once: a new instance need not wait `rise` intervals (DESIGN §5).

use serde::{Deserialize, Serialize};

use super::{Check, Timestamp};

/// The health of a check, of one part, or of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Known to be bad.
    Unhealthy,
    /// No result yet.
    #[default]
    Pending,
    /// Known to be good; a warning counts as good.
    Healthy,
}

impl Health {
    /// The health as a lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unhealthy => "unhealthy",
            Health::Pending => "pending",
            Health::Healthy => "healthy",
        }
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Status pushed by the user: `PUT …/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Passing,
    /// Something to look at; counts as Healthy.
    Warning,
    /// Out.
    Critical,
}

/// A pushed status with its note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pushed {
    /// The status.
    pub status: Status,
    /// Why, for people; at most 1,000 octets.
    #[serde(default)]
    pub note: String,
}

/// Everything known of one instance's health. Its parts are `None` where the instance has no such source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Vitals {
    /// The worst of its active checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probed: Option<Health>,
    /// Whether its heartbeats are on time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beating: Option<Health>,
    /// What was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Pushed>,
    /// Since when the instance has had the health that [`Vitals::health`] gives.
    #[serde(default)]
    pub since: Timestamp,
    /// Why, for people: the last error, `heartbeat missed`, a pushed note.
    #[serde(default)]
    pub why: String,
    /// Known from before a restart and not yet confirmed: answered at the least TTL.
    #[serde(default)]
    pub unconfirmed: bool,
}

impl Vitals {
    /// How warm it is after a recovery, in percent of its weight: 1–100 (slow start).
    pub fn warmth(&self, _now: Timestamp) -> u8 {
        100
    }

    /// The worst of the parts: Unhealthy before Pending before Healthy. Without any part: Healthy at once.
    pub fn health(&self) -> Health {
        let pushed = self.pushed.as_ref().map(|p| match p.status {
            Status::Passing | Status::Warning => Health::Healthy,
            Status::Critical => Health::Unhealthy,
        });
        [self.probed, self.beating, pushed].into_iter().flatten().min().unwrap_or(Health::Healthy)
    }
}

/// The result of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// As expected.
    Pass,
    /// Not as expected; why, for people.
    Fail(String),
}

/// The state machine of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckState {
    /// The verdict so far.
    pub health: Health,
    /// Results in a row that speak against `health`.
    pub against: u8,
    /// The last failure's reason; empty after a pass.
    pub why: String,
    rise: u8,
    fall: u8,
}

impl CheckState {
    /// A check without a result. `last` is what was known before a restart.
    pub fn new(check: &Check, last: Option<Health>) -> CheckState {
        CheckState { health: last.unwrap_or(Health::Pending), against: 0, why: String::new(), rise: check.rise, fall: check.fall }
    }

    /// Takes one result; returns whether the verdict changed.
    pub fn observe(&mut self, result: &ProbeResult) -> bool {
        let before = self.health;
        match result {
            ProbeResult::Pass => {
                self.why.clear();
                match self.health {
                    Health::Healthy => self.against = 0,
                    Health::Pending => self.turn(Health::Healthy),
                    Health::Unhealthy => {
                        self.against += 1;
                        if self.against >= self.rise {
                            self.turn(Health::Healthy);
                        }
                    }
                }
            }
            ProbeResult::Fail(why) => {
                self.why.clone_from(why);
                match self.health {
                    Health::Unhealthy => self.against = 0,
                    Health::Pending | Health::Healthy => {
                        self.against += 1;
                        if self.against >= self.fall {
                            self.turn(Health::Unhealthy);
                        }
                    }
                }
            }
        }
        self.health != before
    }

    fn turn(&mut self, health: Health) {
        self.health = health;
        self.against = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start: Option<Health>, results: &str, expected: &str) {
        let check: Check = serde_json::from_str(r#"{"tcp":true,"rise":2,"fall":3}"#).unwrap();
        let mut state = CheckState::new(&check, start);
        let mut seen = String::new();
        for result in results.chars() {
            state.observe(&if result == '+' { ProbeResult::Pass } else { ProbeResult::Fail("refused".into()) });
            seen.push(match state.health {
                Health::Pending => 'p',
                Health::Healthy => 'h',
                Health::Unhealthy => 'u',
            });
        }
        assert_eq!(seen, expected, "{results}");
    }

    #[test]
    fn verdicts_need_rise_and_fall_in_a_row() {
        check(None, "+", "h");
        check(None, "---", "ppu");
        check(None, "--+", "pph");
        check(None, "+--+---", "hhhhhhu");
        check(None, "---+-++", "ppuuuuh");
        check(Some(Health::Healthy), "---", "hhu");
        check(Some(Health::Unhealthy), "++", "uh");
    }

    #[test]
    fn an_instance_is_as_well_as_its_worst_part() {
        let vitals = |probed, beating| Vitals { probed, beating, ..Vitals::default() }.health();
        assert_eq!(vitals(None, None), Health::Healthy);
        assert_eq!(vitals(Some(Health::Healthy), Some(Health::Pending)), Health::Pending);
        assert_eq!(vitals(Some(Health::Unhealthy), Some(Health::Healthy)), Health::Unhealthy);
        let critical = Vitals { pushed: Some(Pushed { status: Status::Critical, note: String::new() }), ..Vitals::default() };
        assert_eq!(critical.health(), Health::Unhealthy);
    }
}
