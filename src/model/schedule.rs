//! When something is done by itself, in UTC: `daily 03:00`, `Tue 10:00`, `Mon,Thu 09:30`, `2026-12-01 10:00`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// The days of a week as they are written, in the order of the ISO week.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// The weekday of the Unix epoch, a Thursday.
const EPOCH: u64 = 3;
const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// Instants of time that come again, or one that does not. All in UTC: there is no hour that comes twice, and none that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    /// On certain days of each week.
    Weekly {
        /// A bit for each day; the lowest is Monday's.
        days: u8,
        /// The minute of the day, 0–1439.
        minute: u16,
    },
    /// Once.
    Once(Timestamp),
}

/// Why a text is no [`Schedule`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no schedule; write it in UTC as \"daily 03:00\", \"Tue 10:00\", \"Mon,Thu 09:30\" or \"2026-12-01 10:00\"")]
pub struct ScheduleError(String);

impl Schedule {
    /// The first instant after `now`; `None`: there is none any more.
    pub fn next(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Schedule::Once(at) => (at > now).then_some(at),
            Schedule::Weekly { days, minute } => {
                let today = now.0 / DAY;
                let on = |day: &u64| days & 1 << ((day + EPOCH) % 7) != 0;
                // Eight: today's may be over, and next week's is then the next.
                (today..today + 8).filter(on).map(|day| Timestamp(day * DAY + u64::from(minute) * MINUTE)).find(|at| *at > now)
            }
        }
    }
}

impl std::str::FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Schedule, ScheduleError> {
        let wrong = || ScheduleError(text.into());
        let (day, clock) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let minute = minute(clock.trim()).ok_or_else(wrong)?;
        if day.eq_ignore_ascii_case("daily") {
            return Ok(Schedule::Weekly { days: 0x7f, minute });
        }
        if day.starts_with(|c: char| c.is_ascii_digit()) {
            let date = Timestamp::try_from(format!("{day}T00:00:00Z")).map_err(|_| wrong())?;
            return Ok(Schedule::Once(date.plus(Duration::from_millis(u64::from(minute) * MINUTE))));
        }
        let mut days = 0;
        for name in day.split(',') {
            days |= 1 << DAYS.iter().position(|known| known.eq_ignore_ascii_case(name.trim())).ok_or_else(wrong)?;
        }
        Ok(Schedule::Weekly { days, minute })
    }
}

/// `09:30` as the minute of the day.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, below: u16| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|n| digits && *n < below)
    };
    Some(number(hour, 24)? * 60 + number(minute, 60)?)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Once(at) => {
                // 2026-12-01T10:00:00.000Z
                let text = at.to_string();
                write!(f, "{} {}", text.get(..10).unwrap_or(&text), text.get(11..16).unwrap_or_default())
            }
            Schedule::Weekly { days, minute } => {
                let names: Vec<&str> = DAYS.iter().enumerate().filter(|(n, _)| days & 1 << n != 0).map(|(_, name)| *name).collect();
                let days = if names.len() == 7 { "daily".to_string() } else { names.join(",") };
                write!(f, "{days} {:02}:{:02}", minute / 60, minute % 60)
            }
        }
    }
}

impl TryFrom<String> for Schedule {
    type Error = ScheduleError;
    fn try_from(text: String) -> Result<Schedule, ScheduleError> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.to_string()
    }
}

impl utoipa::PartialSchema for Schedule {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .description(Some("When, in UTC: `daily 03:00`, `Tue 10:00`, `Mon,Thu 09:30`, or `2026-12-01 10:00` for once."))
            .examples([serde_json::json!("Tue 10:00")])
            .into()
    }
}

impl utoipa::ToSchema for Schedule {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_know_their_next_time() {
        let check = |text: &str, now: &str, next: &str| {
            let schedule: Schedule = text.parse().unwrap();
            let found = schedule.next(Timestamp::try_from(format!("{now}:00Z")).unwrap());
            let found = found.map_or("never".to_string(), |at| at.to_string()[..16].to_string());
            assert_eq!(found, next, "{text} after {now}");
        };
        // 2026-11-20 is a Friday.
        check("daily 03:00", "2026-11-20T02:59", "2026-11-20T03:00");
        check("daily 03:00", "2026-11-20T03:00", "2026-11-21T03:00");
        check("Tue 10:00", "2026-11-20T12:00", "2026-11-24T10:00");
        check("Tue 10:00", "2026-11-24T10:00", "2026-12-01T10:00");
        check("Mon,Thu 09:30", "2026-11-23T09:30", "2026-11-26T09:30");
        check("sun 23:59", "2028-02-28T00:00", "2028-03-05T23:59");
        check("2026-12-01 10:00", "2026-11-20T12:00", "2026-12-01T10:00");
        check("2026-12-01 10:00", "2026-12-01T10:00", "never");
    }

    #[test]
    fn schedules_read_what_they_write() {
        for text in ["daily 03:00", "Tue 10:00", "Mon,Thu 09:30", "2026-12-01 10:00"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        assert_eq!("thu,MON  09:30".parse::<Schedule>().unwrap().to_string(), "Mon,Thu 09:30");
        for text in
            ["", "10:00", "Tue", "Tue 24:00", "Tue 10:60", "Tue 1:00", "Tues 10:00", "Mon,,Tue 10:00", "2026-13-01 10:00", "Tue +1:00"]
        {
            let error = text.parse::<Schedule>().unwrap_err().to_string();
            assert!(error.contains("Mon,Thu 09:30"), "{text}: {error}");
        }
    }
}
