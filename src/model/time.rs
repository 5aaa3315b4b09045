//! Instants and lengths of time as values. No clock is read here: whoever calls passes the time in.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A length of time, written as people write it: `200ms`, `5s`, `10m`, `4h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(pub Duration);

/// Why a text is no [`Period`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no length of time; write it as 200ms, 5s, 10m or 4h")]
pub struct PeriodError(String);

impl Period {
    /// So many whole seconds.
    pub const fn seconds(seconds: u64) -> Period {
        Period(Duration::from_secs(seconds))
    }

    /// The length in milliseconds.
    pub fn millis(self) -> u64 {
        self.0.as_millis().try_into().unwrap_or(u64::MAX)
    }
}

impl utoipa::PartialSchema for Period {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .description(Some("A length of time: 200ms, 5s, 10m, 4h."))
            .examples([serde_json::json!("30s")])
            .into()
    }
}

impl utoipa::ToSchema for Period {}

impl std::str::FromStr for Period {
    type Err = PeriodError;
    fn from_str(text: &str) -> Result<Period, PeriodError> {
        humantime::parse_duration(text).map(Period).map_err(|_| PeriodError(text.into()))
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;
    fn try_from(text: String) -> Result<Period, PeriodError> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> String {
        period.to_string()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As people write it: 24h and 72h rather than 1day and 3days; only what is longer than a week has days.
        const WEEK: u64 = 7 * 24 * 3600;
        let seconds = self.0.as_secs();
        let (hours, rest) = (seconds / 3600, self.0 - Duration::from_secs(seconds / 3600 * 3600));
        match hours > 0 && seconds <= WEEK {
            true if rest.is_zero() => write!(f, "{hours}h"),
            true => write!(f, "{hours}h{}", humantime::format_duration(rest).to_string().replace(' ', "")),
            false => f.write_str(&humantime::format_duration(self.0).to_string().replace(' ', "")),
        }
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An instant: milliseconds since the Unix epoch. Written as RFC 3339 in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This instant and `period` more.
    pub fn plus(self, period: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(period.as_millis().try_into().unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to this instant; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let format = utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime);
        utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String).format(Some(format)).into()
    }
}

impl utoipa::ToSchema for Timestamp {}

impl TryFrom<String> for Timestamp {
    type Error = String;
    fn try_from(text: String) -> Result<Timestamp, String> {
        let instant =
            humantime::parse_rfc3339_weak(&text).map_err(|_| format!("{text:?} is no RFC 3339 instant, such as 2026-11-20T12:00:00Z"))?;
        Ok(Timestamp(instant.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)))
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> String {
        timestamp.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years beyond 9999 cannot be written as RFC 3339; nothing here lives that long.
        let latest = Duration::from_secs(253_402_300_799);
        write!(f, "{}", humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(self.0).min(latest)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_timestamps_read_what_they_write() {
        for text in ["0s", "200ms", "5s", "10m", "4h", "24h", "25h", "72h", "100h30m", "26h1m1s5ms", "168h", "8days"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        assert!("soon".parse::<Period>().is_err());
        let instant = Timestamp(1_700_000_000_123);
        assert_eq!(Timestamp::try_from(instant.to_string()).unwrap(), instant);
    }
}
