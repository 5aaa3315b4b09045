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
//! A first pass takes a Pending check to Healthy at once: a new instance need not wait `rise` intervals (DESIGN §5). What flaps is held
//! Unhealthy for a while, whatever its checks and heartbeats say ([`Damping`]); what has recovered warms up ([`Warming`]).
//!
//! Beside its health, an instance is steady or wavers: it wavers once results or missing beats have begun to speak against its health,
//! so that it may turn soon. TTLs follow that (DESIGN §4).

use serde::{Deserialize, Serialize};

use super::{Check, Damping, Timestamp, Warming};

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
#[serde(from = "VitalsFields", into = "VitalsFields")]
pub struct Vitals {
    /// The worst of its active checks.
    pub probed: Option<Health>,
    /// Whether its heartbeats are on time.
    pub beating: Option<Health>,
    /// Known from before a restart and not yet confirmed: answered at the least TTL.
    pub unconfirmed: bool,
    /// Which sources have begun to speak against what they said last. Not kept over a restart: what is known then is unconfirmed.
    pub wavers: Wavers,
    /// Since when the instance has had the health that [`Vitals::health`] gives.
    pub since: Timestamp,
    /// What there is to say of few instances; `None`: nothing.
    pub(crate) rest: Option<Box<Rest>>,
}

/// What is known of an instance that is not simply well: most are, and a million of them are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rest {
    pushed: Option<Pushed>,
    why: String,
    damping: Damping,
    warming: Option<Warming>,
}

impl Rest {
    fn is_nothing(&self) -> bool {
        self.pushed.is_none() && self.why.is_empty() && self.warming.is_none() && self.damping.is_untouched()
    }
}

/// How [`Vitals`] are stored.
#[derive(Clone, Serialize, Deserialize)]
struct VitalsFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probed: Option<Health>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beating: Option<Health>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pushed: Option<Pushed>,
    #[serde(default)]
    since: Timestamp,
    #[serde(default)]
    why: String,
    #[serde(default)]
    unconfirmed: bool,
    #[serde(default, skip_serializing_if = "Damping::is_untouched")]
    damping: Damping,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warming: Option<Warming>,
}

impl From<VitalsFields> for Vitals {
    fn from(fields: VitalsFields) -> Vitals {
        let VitalsFields { probed, beating, pushed, since, why, unconfirmed, damping, warming } = fields;
        let mut vitals = Vitals { probed, beating, since, unconfirmed, ..Vitals::default() };
        vitals.change(|rest| *rest = Rest { pushed, why, damping, warming });
        vitals
    }
}

impl From<Vitals> for VitalsFields {
    fn from(vitals: Vitals) -> VitalsFields {
        let Vitals { probed, beating, unconfirmed, since, rest, wavers: _ } = vitals;
        let Rest { pushed, why, damping, warming } = rest.map(|rest| *rest).unwrap_or_default();
        VitalsFields { probed, beating, pushed, since, why, unconfirmed, damping, warming }
    }
}

/// Sources of health that may be about to turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wavers {
    /// While Healthy, a check has failed since it last passed; while Unhealthy, every check that is down has passed since it last failed.
    pub probed: bool,
    /// More than half of the heartbeat's period has passed without a beat.
    pub beating: bool,
}

impl Vitals {
    /// What was pushed.
    pub fn pushed(&self) -> Option<&Pushed> {
        self.rest.as_ref()?.pushed.as_ref()
    }

    /// Notes what was pushed.
    pub fn set_pushed(&mut self, pushed: Option<Pushed>) {
        self.change(|rest| rest.pushed = pushed);
    }

    /// What its sources say for people: the last error, `no heartbeat for 30s`, a pushed note. [`Vitals::reason`] tells of holds too.
    pub fn why(&self) -> &str {
        self.rest.as_ref().map_or("", |rest| &rest.why)
    }

    /// Notes what its sources say.
    pub fn set_why(&mut self, why: impl Into<String>) {
        self.change(|rest| rest.why = why.into());
    }

    /// How often it turned of late, and whether it is held down.
    pub fn damping(&self) -> Damping {
        self.rest.as_ref().map(|rest| rest.damping).unwrap_or_default()
    }

    /// Changes what is known of its turns.
    pub fn damp<A>(&mut self, change: impl FnOnce(&mut Damping) -> A) -> A {
        self.change(|rest| change(&mut rest.damping))
    }

    /// Its slow start, while it is in one or until somebody has looked.
    pub fn warming(&self) -> Option<Warming> {
        self.rest.as_ref()?.warming
    }

    /// Begins or ends a slow start.
    pub fn set_warming(&mut self, warming: Option<Warming>) {
        if warming.is_some() || self.warming().is_some() {
            self.change(|rest| rest.warming = warming);
        }
    }

    /// Changes what there is to say of few, and keeps it only where there is anything.
    fn change<A>(&mut self, change: impl FnOnce(&mut Rest) -> A) -> A {
        let Some(rest) = &mut self.rest else {
            let mut rest = Rest::default();
            let outcome = change(&mut rest);
            self.rest = (!rest.is_nothing()).then(|| Box::new(rest));
            return outcome;
        };
        let outcome = change(rest);
        if rest.is_nothing() {
            self.rest = None;
        }
        outcome
    }

    /// How warm it is after a recovery, in percent of its weight: 10–100 (slow start).
    pub fn warmth(&self, now: Timestamp) -> u8 {
        self.warming().map_or(100, |warming| warming.warmth(now))
    }

    /// The worst of the parts: Unhealthy before Pending before Healthy. Without any part: Healthy at once. While it is held down:
    /// Unhealthy.
    pub fn health(&self) -> Health {
        let held = self.damping().held_until().map(|_| Health::Unhealthy);
        [self.sensed(), self.said(), held].into_iter().flatten().min().unwrap_or(Health::Healthy)
    }

    /// The worst of what is found out of it: its checks and its heartbeat. A pushed status is a word of the user.
    pub fn sensed(&self) -> Option<Health> {
        [self.probed, self.beating].into_iter().flatten().min()
    }

    fn said(&self) -> Option<Health> {
        self.pushed().map(|pushed| match pushed.status {
            Status::Passing | Status::Warning => Health::Healthy,
            Status::Critical => Health::Unhealthy,
        })
    }

    /// Whether results or missing beats have begun to speak against its health.
    pub fn wavering(&self) -> bool {
        match self.health() {
            Health::Healthy => self.wavers.probed || self.wavers.beating,
            // Without a result there is nothing to speak against.
            Health::Pending => false,
            // It stays as long as any one reason stays. No passes lift a hold, a missed heartbeat or the user's word.
            Health::Unhealthy => {
                let other = [self.beating, self.said()].contains(&Some(Health::Unhealthy));
                self.wavers.probed && self.probed == Some(Health::Unhealthy) && !other && self.damping().held_until().is_none()
            }
        }
    }

    /// Whether its health cannot turn before its checks have been run again, or half of its heartbeat's period has passed. It can
    /// at any moment if it was known before a restart only, if it wavers, or if nothing but a hold keeps it out.
    pub fn is_steady(&self) -> bool {
        let unheld = [self.sensed(), self.said()].into_iter().flatten().min();
        let only_held = self.damping().held_until().is_some() && unheld != Some(Health::Unhealthy);
        !self.unconfirmed && !self.wavering() && !only_held
    }

    /// Why it has its health, for people; empty where there is nothing to say.
    pub fn reason(&self) -> String {
        let Some(until) = self.damping().held_until() else { return self.why().to_string() };
        let held = format!("flapping: {} turns; held down until {until}", self.damping().turns());
        if self.why().is_empty() { held } else { format!("{held}; {}", self.why()) }
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

    /// Whether the last result spoke against the verdict, and more of them would turn it.
    pub fn wavers(&self) -> bool {
        self.health != Health::Pending && self.against > 0
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
            if state.wavers() {
                seen.push('?');
            }
        }
        assert_eq!(seen, expected, "{results}");
    }

    #[test]
    fn verdicts_need_rise_and_fall_in_a_row() {
        check(None, "+", "h");
        check(None, "---", "ppu");
        check(None, "--+", "pph");
        check(None, "+--+---", "hh?h?hh?h?u");
        check(None, "---+-++", "ppuu?uu?h");
        check(Some(Health::Healthy), "---", "h?h?u");
        check(Some(Health::Unhealthy), "++", "u?h");
    }

    #[test]
    fn an_instance_is_as_well_as_its_worst_part() {
        let vitals = |probed, beating| Vitals { probed, beating, ..Vitals::default() }.health();
        assert_eq!(vitals(None, None), Health::Healthy);
        assert_eq!(vitals(Some(Health::Healthy), Some(Health::Pending)), Health::Pending);
        assert_eq!(vitals(Some(Health::Unhealthy), Some(Health::Healthy)), Health::Unhealthy);
        let mut critical = Vitals::default();
        critical.set_pushed(Some(Pushed { status: Status::Critical, note: String::new() }));
        assert_eq!(critical.health(), Health::Unhealthy);
    }
    /// `probed` and `beating` as `h`, `p`, `u`, with `?` where they waver, or `-`; then `critical`, `held`, `unconfirmed`.
    fn vitals(text: &str) -> Vitals {
        let mut words = text.split(' ');
        let mut part = || -> (Option<Health>, bool) {
            let word = words.next().unwrap();
            let health = match &word[..1] {
                "h" => Some(Health::Healthy),
                "p" => Some(Health::Pending),
                "u" => Some(Health::Unhealthy),
                _ => None,
            };
            (health, word.ends_with('?'))
        };
        let ((probed, first), (beating, second)) = (part(), part());
        let mut vitals = Vitals { probed, beating, wavers: Wavers { probed: first, beating: second }, ..Vitals::default() };
        for word in words {
            match word {
                "critical" => vitals.set_pushed(Some(Pushed { status: Status::Critical, note: String::new() })),
                "held" => (0..3).for_each(|_| _ = vitals.damp(|damping| damping.fell(Timestamp(0)))),
                "unconfirmed" => vitals.unconfirmed = true,
                _ => panic!("{word}"),
            }
        }
        vitals
    }

    #[test]
    fn an_instance_wavers_when_nothing_else_keeps_it_as_it_is() {
        for (text, health, wavering, steady) in [
            ("h h", Health::Healthy, false, true),
            ("h? h", Health::Healthy, true, false),
            ("h h?", Health::Healthy, true, false),
            ("- h?", Health::Healthy, true, false),
            ("p h?", Health::Pending, false, true),
            ("u h", Health::Unhealthy, false, true),
            ("u? h", Health::Unhealthy, true, false),
            ("u? -", Health::Unhealthy, true, false),
            ("u? u", Health::Unhealthy, false, true),
            ("u? h critical", Health::Unhealthy, false, true),
            ("h? h critical", Health::Unhealthy, false, true),
            ("h - held", Health::Unhealthy, false, false),
            ("h? - held", Health::Unhealthy, false, false),
            ("u? - held", Health::Unhealthy, false, true),
            ("h - held critical", Health::Unhealthy, false, true),
            ("h h unconfirmed", Health::Healthy, false, false),
        ] {
            let vitals = vitals(text);
            assert_eq!((vitals.health(), vitals.wavering(), vitals.is_steady()), (health, wavering, steady), "{text}");
        }
    }

    #[test]
    fn a_hold_says_how_often_it_turned_and_until_when() {
        let mut held = vitals("h - held");
        assert_eq!(held.reason(), "flapping: 3 turns; held down until 1970-01-01T00:00:30.000Z");
        held.set_why("tcp: refused");
        assert_eq!(held.reason(), "flapping: 3 turns; held down until 1970-01-01T00:00:30.000Z; tcp: refused");
        assert!(held.damp(|damping| damping.release(Timestamp(30_000))));
        assert_eq!((held.health(), held.reason().as_str()), (Health::Healthy, "tcp: refused"));
    }

    #[test]
    fn what_was_stored_before_there_was_damping_is_read() {
        let stored = r#"{"probed":"healthy","since":"2026-11-20T12:00:00Z","why":"","unconfirmed":false}"#;
        let read: Vitals = serde_json::from_str(stored).unwrap();
        assert_eq!((read.warmth(Timestamp(0)), read.damping()), (100, Damping::default()));
        assert!(!serde_json::to_string(&read).unwrap().contains("damping"));
        let mut flapping = vitals("h - held");
        flapping.set_warming(Warming::begin(Timestamp(9), std::time::Duration::from_secs(60)));
        let again: Vitals = serde_json::from_str(&serde_json::to_string(&flapping).unwrap()).unwrap();
        assert_eq!(again, flapping);
    }
}
