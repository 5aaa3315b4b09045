//! Drains: the operator's word that a part is out of answers, at once or little by little.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::course::{Course, Toward};
use super::instance::FieldError;
use super::{Out, Period, Share, Timestamp};

/// What the operator asks; the body of `PUT /v1/drains/{kind}/{name}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainFields {
    /// Why, for the next person; 1–1,000 octets.
    pub reason: String,
    /// Within which time clients move away, 1 s to 24 h; lifting takes as long. It begins once the longest TTL has passed, with TTLs at
    /// their least, and must end before the drain does. Default: all move at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Period>,
    /// When it ends by itself, 1 s to 72 h from now; default 4 h. One with a ramp is lifted from then on, by its ramp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Period>,
    /// Why the safety rules are overruled, 1–1,000 octets; it stands in the drain, its event and the audit log. Default: they hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#override: Option<String>,
}

/// A drain in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Why.
    pub reason: String,
    /// Who asked: the token's name, or `local` where the API needs none.
    pub author: String,
    /// Since when.
    pub started: Timestamp,
    /// When it ends by itself, or begins to.
    pub expires: Timestamp,
    /// How it moves. What was stored without is out of everybody's answers.
    #[serde(default)]
    pub course: Course,
    /// Why the safety rules were overruled; `None`: they held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<String>,
}

/// How far a drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// TTLs are at their least, and nobody has moved yet.
    Announced,
    /// Clients move away.
    Ramping,
    /// Everybody has moved.
    Drained,
    /// The share stands still, on its way out or back.
    Paused,
    /// Clients move back.
    Lifting,
}

/// How long a drain lasts unless it says otherwise.
pub const DEFAULT_DRAIN: Period = Period::seconds(4 * 3600);
/// The longest drain.
pub const LONGEST_DRAIN: Period = Period::seconds(72 * 3600);
/// The shortest ramp.
pub const SHORTEST_RAMP: Period = Period::seconds(1);
/// The longest ramp.
pub const LONGEST_RAMP: Period = Period::seconds(24 * 3600);

impl Drain {
    /// A drain that starts now. If it is ramped, [`Drain::following`] says from where and when.
    pub fn start(fields: DrainFields, author: &str, now: Timestamp) -> Result<Drain, FieldError> {
        if fields.reason.trim().is_empty() || fields.reason.len() > 1000 {
            return Err(FieldError::new("reason", "say why, in 1 to 1000 octets"));
        }
        let expires = fields.expires.unwrap_or(DEFAULT_DRAIN);
        if expires < Period::seconds(1) || expires > LONGEST_DRAIN {
            return Err(FieldError::new("expires", format!("1s to {LONGEST_DRAIN}, not {expires}")));
        }
        if let Some(ramp) = fields.ramp {
            check_ramp(ramp)?;
            if ramp >= expires {
                return Err(FieldError::new("ramp", format!("less than the {expires} after which the drain ends, not {ramp}")));
            }
        }
        if fields.r#override.as_ref().is_some_and(|why| why.trim().is_empty() || why.len() > 1000) {
            return Err(FieldError::new("override", "say why the safety rules are overruled, in 1 to 1000 octets"));
        }
        let course = fields.ramp.map_or(Course::at_once(now), |ramp| Course::ramped(now, ramp));
        let (reason, author, overridden) = (fields.reason, author.into(), fields.r#override);
        Ok(Drain { reason, author, started: now, expires: now.plus(expires.0), course, overridden })
    }

    /// The drain as it comes into force at `now`: carrying on from the share of the one `before` it, else announced for `announcement`,
    /// so that answers which were given with a long TTL are gone when the first client moves.
    ///
    /// # Errors
    /// It would not be whole before it ends.
    pub fn following(&self, before: Option<&Drain>, announcement: Duration, now: Timestamp) -> Result<Drain, FieldError> {
        let ramp = self.course.ramp;
        let course = match before {
            _ if ramp.0.is_zero() => Course::at_once(now),
            Some(before) => before.course_at(now).drain(now, ramp, announcement),
            None => Course::ramped(now.plus(announcement), ramp),
        };
        match course.arrives() {
            Some(whole) if whole > self.expires && !ramp.0.is_zero() => {
                let (announced, ends) = (Period(course.from.since(now)), Period(self.expires.since(now)));
                let takes = Period(whole.since(now));
                let expected = format!("announced for {announced} it would be whole in {takes}, but it ends in {ends}");
                Err(FieldError::new("ramp", format!("a drain is whole before it ends; {expected}: take a shorter ramp or a later end")))
            }
            _ => Ok(Drain { course, ..self.clone() }),
        }
    }

    /// How far its subject is out of answers.
    pub fn out(&self, now: Timestamp) -> Out {
        let course = self.course_at(now);
        Out { share: course.share(now), moving: course.is_moving(now) }
    }

    /// Its course as it is at `now`: from its end on it is lifted, whatever is stored.
    pub fn course_at(&self, now: Timestamp) -> Course {
        match self.course.toward {
            _ if now < self.expires => self.course,
            Toward::Out => self.course.lift(self.expires, self.course.ramp),
            Toward::In => self.course.resume(self.expires),
        }
    }

    /// How far it has come.
    pub fn stage(&self, now: Timestamp) -> Stage {
        let course = self.course_at(now);
        match course.toward {
            _ if course.paused.is_some() => Stage::Paused,
            Toward::In => Stage::Lifting,
            Toward::Out if !course.is_moving(now) => Stage::Drained,
            Toward::Out if course.is_announced(now) => Stage::Announced,
            Toward::Out => Stage::Ramping,
        }
    }

    /// When it is whole, where it is on its way out and comes to it before it ends.
    pub fn whole(&self, now: Timestamp) -> Option<Timestamp> {
        let course = self.course_at(now);
        let ahead = course.toward == Toward::Out && course.is_moving(now);
        course.arrives().filter(|whole| ahead && *whole <= self.expires)
    }

    /// When nothing will be left of it, should nobody say anything more. One that expires is lifted by its ramp, and over a ramp later.
    pub fn over(&self) -> Timestamp {
        // From its end on nothing is paused.
        self.course_at(self.expires).arrives().unwrap_or(self.expires)
    }

    /// Whether nothing is left of it.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let course = self.course_at(now);
        course.toward == Toward::In && course.share(now) == Share::NONE
    }

    /// Whether it goes out of answers or is: not lifted and not expired.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.course_at(now).toward == Toward::Out
    }

    /// When answers are next to be made anew because of it, or it ends. `None`: it is over.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let end = (now < self.expires).then_some(self.expires);
        let next = [self.course_at(now).next(now), end].into_iter().flatten().min();
        next.filter(|_| !self.is_over(now))
    }

    /// The same drain, paused. `None`: its share does not move, or will not stand still for it has expired.
    pub fn pause(&self, now: Timestamp) -> Option<Drain> {
        let moves = now < self.expires && self.course.paused.is_none() && self.course.is_moving(now);
        moves.then(|| Drain { course: self.course.pause(now), ..self.clone() })
    }

    /// The same drain, going on. `None`: it is not paused.
    pub fn resume(&self, now: Timestamp) -> Option<Drain> {
        let course = self.course_at(now);
        course.paused.map(|_| Drain { course: course.resume(now), ..self.clone() })
    }

    /// The same drain on its way back, within `ramp` for the whole way or its own. `None`: it is gone at once.
    pub fn lift(&self, ramp: Option<Period>, now: Timestamp) -> Option<Drain> {
        let course = self.course_at(now);
        let lifted = course.lift(now, ramp.unwrap_or(course.ramp));
        (lifted.share(now) != Share::NONE).then(|| Drain { course: lifted, ..self.clone() })
    }
}

/// Whether a ramp is one.
pub fn check_ramp(ramp: Period) -> Result<(), FieldError> {
    match (SHORTEST_RAMP..=LONGEST_RAMP).contains(&ramp) {
        true => Ok(()),
        false => Err(FieldError::new("ramp", format!("{SHORTEST_RAMP} to {LONGEST_RAMP}, not {ramp}"))),
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Announced => "announced",
            Stage::Ramping => "ramping",
            Stage::Drained => "drained",
            Stage::Paused => "paused",
            Stage::Lifting => "lifting",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(ramp: Option<u64>, expires: u64) -> DrainFields {
        let seconds = Period::seconds;
        DrainFields { reason: "test".into(), ramp: ramp.map(seconds), expires: Some(seconds(expires)), r#override: None }
    }

    /// Seconds, to the millisecond.
    fn at(seconds: f64) -> Timestamp {
        Timestamp((seconds * 1000.0).round() as u64)
    }

    #[test]
    fn a_drain_is_announced_ramped_paused_and_lifted() {
        let check = |drain: &Drain, table: &[(f64, Stage, f64)]| {
            for (seconds, stage, share) in table {
                let out = drain.out(at(*seconds));
                assert_eq!((drain.stage(at(*seconds)), out.share), (*stage, Share::of(*share)), "{seconds}");
                assert_eq!(out.moving, *stage != Drained, "{seconds}");
            }
        };
        use Stage::{Announced, Drained, Lifting, Paused, Ramping};
        let start = |fields, now| Drain::start(fields, "me", now).unwrap();
        let announced = Duration::from_secs(30);
        let drain = start(fields(Some(100), 600), at(0.0)).following(None, announced, at(0.0)).unwrap();
        check(
            &drain,
            &[(0.0, Announced, 0.0), (29.999, Announced, 0.0), (30.0, Ramping, 0.0), (55.0, Ramping, 0.25), (130.0, Drained, 1.0)],
        );
        assert_eq!((drain.whole(at(1.0)), drain.whole(at(200.0)), drain.over()), (Some(at(130.0)), None, at(700.0)));
        check(&drain, &[(599.0, Drained, 1.0), (650.0, Lifting, 0.5)]);
        assert!(!drain.is_over(at(699.999)) && drain.is_over(at(700.0)) && drain.next(at(700.0)).is_none());
        // Paused while it is announced, and again half way: both go on where they stood.
        let paused = drain.pause(at(10.0)).unwrap();
        check(&paused, &[(10.0, Paused, 0.0), (500.0, Paused, 0.0)]);
        assert_eq!(paused.pause(at(20.0)), None);
        let resumed = paused.resume(at(110.0)).unwrap();
        check(&resumed, &[(129.0, Announced, 0.0), (180.0, Ramping, 0.5)]);
        let paused = resumed.pause(at(180.0)).unwrap();
        // It expires all the same, and is gone when the half is lifted.
        check(&paused, &[(599.0, Paused, 0.5), (600.0, Lifting, 0.5), (625.0, Lifting, 0.25)]);
        assert_eq!((paused.over(), paused.whole(at(190.0))), (at(650.0), None));
        assert_eq!((paused.pause(at(610.0)), paused.resume(at(610.0))), (None, None));
        let lifted = paused.lift(Some(Period::seconds(10)), at(200.0)).unwrap();
        check(&lifted, &[(200.0, Lifting, 0.5), (204.0, Lifting, 0.1)]);
        assert!(lifted.is_over(at(205.0)));
        // Drained anew from where it is, without being announced anew.
        let again = start(fields(Some(100), 600), at(204.0)).following(Some(&lifted), announced, at(204.0)).unwrap();
        check(&again, &[(204.0, Ramping, 0.1), (294.0, Drained, 1.0)]);
        let at_once = start(fields(None, 60), at(204.0)).following(Some(&lifted), announced, at(204.0)).unwrap();
        check(&at_once, &[(204.0, Drained, 1.0), (263.999, Drained, 1.0)]);
        assert_eq!((at_once.lift(None, at(210.0)), at_once.over(), at_once.pause(at(210.0))), (None, at(264.0), None));
        check(&at_once.lift(Some(Period::seconds(10)), at(210.0)).unwrap(), &[(215.0, Lifting, 0.5)]);
        assert_eq!(drain.lift(None, at(20.0)), None, "nobody has moved: it is gone at once");
        let error = start(fields(Some(100), 110), at(0.0)).following(None, announced, at(0.0)).unwrap_err();
        assert!(error.field == "ramp" && error.expected.contains("announced for 30s it would be whole in 2m10s, but it ends in 1m50s"));
    }

    #[test]
    fn what_was_stored_before_there_were_ramps_is_drained() {
        let stored = r#"{"reason": "x", "author": "me", "started": "2026-11-20T12:00:00Z", "expires": "2026-11-20T16:00:00Z"}"#;
        let drain: Drain = serde_json::from_str(stored).unwrap();
        assert_eq!((drain.out(drain.started), drain.stage(drain.started)), (Out::DRAINED, Stage::Drained));
        assert!(drain.is_over(drain.expires) && drain.over() == drain.expires);
    }

    #[test]
    fn what_cannot_stand_is_refused_by_field() {
        let check = |change: &dyn Fn(&mut DrainFields), field: &str| {
            let mut fields = fields(Some(10), 600);
            change(&mut fields);
            assert_eq!(Drain::start(fields, "me", at(0.0)).unwrap_err().field, field);
        };
        check(&|f| f.reason = " ".into(), "reason");
        check(&|f| f.ramp = Some(Period(Duration::from_millis(999))), "ramp");
        check(&|f| (f.ramp, f.expires) = (Some(Period::seconds(86_401)), Some(LONGEST_DRAIN)), "ramp");
        check(&|f| f.ramp = f.expires, "ramp");
        check(&|f| f.expires = Some(Period::seconds(72 * 3600 + 1)), "expires");
        check(&|f| f.r#override = Some(String::new()), "override");
        check(&|f| f.r#override = Some("x".repeat(1001)), "override");
    }

    /// What an operator may say at some time.
    #[derive(Debug, Clone)]
    enum Word {
        Drain { ramp: Option<u64>, expires: u64 },
        Pause,
        Resume,
        Lift(Option<u64>),
    }

    fn words() -> impl Strategy<Value = Vec<(u64, Word)>> {
        let ramp = prop_oneof![1 => Just(None), 4 => (1u64..400).prop_map(Some)];
        let word = prop_oneof![
            3 => (ramp, 30u64..900).prop_map(|(ramp, expires)| Word::Drain { ramp, expires }),
            2 => Just(Word::Pause),
            2 => Just(Word::Resume),
            2 => prop_oneof![2 => Just(None), 1 => Just(Some(0)), 2 => (1u64..400).prop_map(Some)].prop_map(Word::Lift),
        ];
        prop::collection::vec((0u64..300_000, word), 1..20)
    }

    /// The drain in force after a word at `now`, and whether its share may have jumped.
    fn say(drain: Option<Drain>, word: &Word, now: Timestamp) -> (Option<Drain>, bool) {
        let kept = |next: Option<Drain>| (next.or_else(|| drain.clone()), false);
        match word {
            Word::Drain { ramp, expires } => {
                let next = Drain::start(fields(*ramp, *expires), "me", now);
                let next = next.and_then(|next| next.following(drain.as_ref(), Duration::from_secs(30), now));
                (next.clone().ok().or_else(|| drain.clone()), ramp.is_none() && next.is_ok())
            }
            Word::Pause => kept(drain.as_ref().and_then(|drain| drain.pause(now))),
            Word::Resume => kept(drain.as_ref().and_then(|drain| drain.resume(now))),
            Word::Lift(ramp) => match drain {
                Some(drain) => {
                    let at_once = ramp.map_or(drain.course.ramp.0.is_zero(), |ramp| ramp == 0);
                    (drain.lift(ramp.map(Period::seconds), now), at_once)
                }
                None => (None, false),
            },
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is said and when, the share never jumps but where no ramp was asked for, moves one way only between two words (and
        /// back at the end), not faster than its ramp, and is the same when it is computed from what is stored.
        #[test]
        fn a_share_never_jumps(script in words()) {
            let mut drain: Option<Drain> = None;
            let mut now = Timestamp(1_800_000_000_000);
            for (wait, word) in script {
                let end = now.plus(Duration::from_millis(wait));
                if let Some(drain) = &drain {
                    let again: Drain = serde_json::from_str(&serde_json::to_string(drain).unwrap()).unwrap();
                    prop_assert_eq!(&again, drain);
                    let (ramp, at_once) = (drain.course.ramp.0, drain.course.ramp.0.is_zero());
                    // As the writer does: from look to look, and a last one behind the end.
                    while let Some(next) = drain.next(now).filter(|next| *next <= end) {
                        prop_assert!(next > now);
                        let (here, there) = (drain.out(now), drain.out(next));
                        let between = drain.out(Timestamp((now.0 + next.0) / 2));
                        prop_assert_eq!(between.moving, here.moving, "nothing turns between two looks");
                        let bounds = [here.share.min(there.share), here.share.max(there.share)];
                        prop_assert!((bounds[0]..=bounds[1]).contains(&between.share), "one way only");
                        if !at_once {
                            let most = next.since(now).as_secs_f64() / ramp.as_secs_f64() + 1e-9;
                            prop_assert!((here.share.ratio() - there.share.ratio()).abs() <= most, "faster than its ramp");
                        }
                        let grows = drain.course_at(now).toward == Toward::Out && next <= drain.expires;
                        let onward = if grows { there.share >= here.share } else { there.share <= here.share };
                        prop_assert!(at_once || onward, "backward");
                        prop_assert_eq!(again.out(next), there);
                        now = next;
                    }
                    prop_assert_eq!(drain.is_over(end), drain.over() <= end && (drain.course.toward == Toward::In || drain.expires <= end));
                }
                now = end;
                drain = drain.filter(|drain| !drain.is_over(now));
                let before = drain.as_ref().map_or(Out::SERVING, |drain| drain.out(now));
                let (next, jumps) = say(drain, &word, now);
                let after = next.as_ref().map_or(Out::SERVING, |drain| drain.out(now));
                prop_assert!(jumps || before.share == after.share, "{:?}: {:?} to {:?}", word, before, after);
                drain = next;
            }
        }
    }
}
