//! Drills: a drain that is scheduled, measured and lifted again, as somebody defines it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FieldError, LONGEST_DRAIN, Label, Period, Schedule, Subject, check_ramp};

/// A drill: `[drills.NAME]` of signpost.toml, and the body of `POST /v1/drills`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillFields {
    /// What is taken out of answers: `region/eu-west`, `az/eu-west/eu-west-1a`, `service/web` or `instance/web/eu1`.
    #[schema(value_type = String)]
    pub lose: Subject,
    /// When it begins by itself; only by hand without it. Of drills in the configuration alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Over how long clients are moved away, 1 s to 24 h; at once without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Period>,
    /// How long it stays out of answers once nobody is led there; default 5 minutes.
    #[serde(default = "default_hold")]
    pub hold: Period,
    /// Over how long clients are led back, 1 s to 24 h, or 0 for at once; as long as `ramp` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lift: Option<Period>,
    /// What must hold, or it does not begin.
    #[serde(default)]
    pub require: Require,
    /// What ends it early.
    #[serde(default)]
    pub abort: Abort,
}

/// What must hold before a drill begins. All of it is about what stays in answers: what the drill takes away is not counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// So many regions have a healthy instance that is not drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_healthy_regions: Option<u32>,
    /// So much of the weight of the instances that stay is healthy and not drained, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_healthy_weight: Option<u8>,
}

/// What ends a drill early. As `require`, it is about what stays in answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// So many answers without a record, for names that have one when nothing is drained; 0: never; default 1.
    #[serde(default = "default_empty_answers")]
    pub empty_answers: u64,
    /// Less of the weight of the instances that stay is healthy and not drained, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_healthy_weight: Option<u8>,
    /// A number elsewhere, which is read every 5 s. One that cannot be read three times in a row ends the drill as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricCheck>,
}

/// A number that a server tells over HTTP, and what it may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricCheck {
    /// Where it is told, `http://` or `https://`. Over the API only the right `admin` may name one.
    pub url: String,
    /// Where it stands in the JSON document, such as `data.result[0].value[1]`; without it the body is the number itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The drill ends when it is larger.
    pub max: f64,
}

/// A step from a JSON value to one within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricStep {
    /// A member of an object.
    Key(String),
    /// An element of an array, from 0.
    Index(usize),
}

/// Longest URL and path of a metric, in octets.
const LONGEST_TEXT: usize = 2000;

const fn default_hold() -> Period {
    Period::seconds(5 * 60)
}

const fn default_empty_answers() -> u64 {
    1
}

impl Default for Abort {
    fn default() -> Abort {
        Abort { empty_answers: default_empty_answers(), min_healthy_weight: None, metric: None }
    }
}

impl DrillFields {
    /// A drill that loses `lose` at once, with every default.
    pub fn new(lose: Subject) -> DrillFields {
        let (require, abort) = (Require::default(), Abort::default());
        DrillFields { lose, schedule: None, ramp: None, hold: default_hold(), lift: None, require, abort }
    }

    /// How long clients are led back for.
    pub fn lift(&self) -> Period {
        self.lift.or(self.ramp).unwrap_or(Period(Duration::ZERO))
    }

    /// How long it takes as planned, from the first client that is moved to the last that is back.
    pub fn length(&self) -> Duration {
        let ramp = self.ramp.unwrap_or(Period(Duration::ZERO));
        ramp.0.saturating_add(self.hold.0).saturating_add(self.lift().0)
    }

    /// Checks everything that can be said without looking at what is registered.
    pub fn validate(&self) -> Result<(), FieldError> {
        self.ramp.map_or(Ok(()), check_ramp)?;
        // A lift of no time at all is at once.
        let lift = self.lift.filter(|lift| !lift.0.is_zero());
        lift.map_or(Ok(()), check_ramp).map_err(|error| FieldError::new("lift", error.expected))?;
        // The drain of a drill outlives its plan a little, and no drain lives longer than LONGEST_DRAIN.
        let longest = LONGEST_DRAIN.0.saturating_sub(Duration::from_secs(3600));
        if self.length() > longest {
            let reason = format!("ramp, hold and lift together: at most {}, not {}", Period(longest), Period(self.length()));
            return Err(FieldError::new("hold", reason));
        }
        let percents = [("require", self.require.min_healthy_weight), ("abort", self.abort.min_healthy_weight)];
        for (table, percent) in percents {
            if let Some(percent) = percent.filter(|percent| *percent > 100) {
                return Err(FieldError::new(format!("{table}.min_healthy_weight"), format!("a percentage from 0 to 100, not {percent}")));
            }
        }
        if let Some(metric) = &self.abort.metric {
            metric.validate().map_err(|error| error.within("metric").within("abort"))?;
        }
        Ok(())
    }
}

impl MetricCheck {
    fn validate(&self) -> Result<(), FieldError> {
        let rest = self.url.strip_prefix("http://").or_else(|| self.url.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if host.is_some_and(|host| host.contains('@')) {
            // Reports show it to everyone who may read.
            return Err(FieldError::new("url", "a URL without user and password"));
        }
        if host.is_none_or(str::is_empty) || self.url.len() > LONGEST_TEXT || self.url.contains(|c: char| c.is_control() || c == ' ') {
            return Err(FieldError::new("url", format!("a URL such as http://127.0.0.1:9090/api/v1/query?query=…, not {:?}", self.url)));
        }
        if !self.max.is_finite() {
            return Err(FieldError::new("max", format!("a number, not {}", self.max)));
        }
        self.steps().map(drop)
    }

    /// The way to the number within the document; none where the body is the number itself.
    pub fn steps(&self) -> Result<Vec<MetricStep>, FieldError> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        let wrong = || FieldError::new("path", format!("keys and indices such as data.result[0].value[1], not {path:?}"));
        if path.is_empty() || path.len() > LONGEST_TEXT {
            return Err(wrong());
        }
        let mut steps = Vec::new();
        for (n, part) in path.split('.').enumerate() {
            let mut pieces = part.split('[');
            match pieces.next() {
                Some(key) if !key.is_empty() && !key.contains(']') => steps.push(MetricStep::Key(key.into())),
                // A document that is an array: `[0].value`.
                Some("") if n == 0 && part.starts_with('[') => {}
                _ => return Err(wrong()),
            }
            for piece in pieces {
                let index = piece.strip_suffix(']').and_then(|index| index.parse().ok()).ok_or_else(wrong)?;
                steps.push(MetricStep::Index(index));
            }
        }
        Ok(steps)
    }
}

/// What is asked of `POST /v1/drills`: a drill of the configuration by its name, or one that is described here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum DrillOrder {
    /// One of the configuration.
    Named {
        /// Its name.
        name: Label,
    },
    /// One for this once.
    Described(DrillFields),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<DrillFields, String> {
        let drill: DrillFields = serde_json::from_str(json).map_err(|error| error.to_string())?;
        drill.validate().map_err(|error| error.to_string())?;
        Ok(drill)
    }

    #[test]
    fn a_drill_is_read_with_its_defaults() {
        let bare = read(r#"{"lose":"region/eu-west"}"#).unwrap();
        assert_eq!(bare, DrillFields::new(Subject::parse("region/eu-west").unwrap()));
        assert_eq!((bare.hold, bare.lift().millis(), bare.abort.empty_answers), (Period::seconds(300), 0, 1));
        let whole = read(
            r#"{"lose":"region/eu-west","schedule":"Tue 10:00","ramp":"10m","hold":"15m","require":{"min_healthy_regions":2,"min_healthy_weight":80},
                "abort":{"empty_answers":3,"min_healthy_weight":60,"metric":{"url":"http://127.0.0.1:9090/q","path":"data.result[0].value[1]","max":0.01}}}"#,
        )
        .unwrap();
        assert_eq!((whole.lift(), whole.length()), (Period::seconds(600), Duration::from_secs(35 * 60)));
    }

    #[test]
    fn what_cannot_stand_is_named() {
        let check = |rest: &str, said: &str| {
            let error = read(&format!(r#"{{"lose":"region/eu"{rest}}}"#)).unwrap_err();
            assert!(error.contains(said), "{rest}: {error}");
        };
        check(r#","wait":"1s""#, "unknown field `wait`");
        check(r#","ramp":"soon""#, "no length of time");
        check(r#","schedule":"noon""#, "no schedule");
        check(r#","ramp":"25h""#, "ramp: 1s to 24h, not 25h");
        check(r#","hold":"72h""#, "hold: ramp, hold and lift together");
        check(r#","require":{"min_healthy_weight":101}"#, "require.min_healthy_weight: a percentage");
        check(r#","abort":{"metric":{"url":"file:///x","max":1}}"#, "abort.metric.url: a URL");
        check(r#","abort":{"metric":{"url":"http://a:b@c/x","max":1}}"#, "abort.metric.url: a URL without user and password");
        check(r#","abort":{"metric":{"url":"http:///x","max":1}}"#, "abort.metric.url: a URL");
        check(r#","abort":{"metric":{"url":"http://a","path":"a..b","max":1}}"#, "abort.metric.path: keys and indices");
        check(r#","abort":{"metric":{"url":"http://a"}}"#, "missing field `max`");
    }

    #[test]
    fn paths_lead_through_documents() {
        let steps = |path: &str| {
            let metric = MetricCheck { url: "http://a".into(), path: Some(path.into()), max: 1.0 };
            metric.steps().map(|steps| steps.iter().map(|step| format!("{step:?}")).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(steps("data.result[0].value[1]").unwrap(), r#"Key("data") Key("result") Index(0) Key("value") Index(1)"#);
        assert_eq!(steps("[2][0].a").unwrap(), r#"Index(2) Index(0) Key("a")"#);
        for path in ["", "a.", ".a", "a.[0]", "a[x]", "a[0", "a]", "a[0]b"] {
            assert!(steps(path).is_err(), "{path}");
        }
    }
}
