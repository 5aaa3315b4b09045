//! Drains, and the rules that they are held to.

use serde::Deserialize;
use serde_json::Value;

use super::{length, page, read};
use crate::cli::Page;
use crate::cli::table::{Cell, FAINT, ODD, Table, push};
use crate::model::{Period, Timestamp};

/// A drain, as `GET /v1/drains` and the instances name it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct DrainLine {
    subject: String,
    reason: String,
    author: String,
    started: Timestamp,
    expires: Timestamp,
    state: String,
    pub(super) share: f64,
    whole: Option<Timestamp>,
    over: Option<Timestamp>,
    #[serde(rename = "override")]
    overruled: String,
}

#[derive(Debug, Deserialize)]
pub(in crate::cli) struct DrainList {
    pub(in crate::cli) drains: Vec<DrainLine>,
    #[serde(default)]
    safety: Option<Safety>,
}

/// The rules that drains are held to.
#[derive(Debug, Deserialize)]
struct Safety {
    min_regions: u64,
    regions_up: u64,
    regions: u64,
    min_healthy_weight: u64,
    one_region_at_a_time: bool,
    wait: Period,
}

/// `drains`
pub(in crate::cli) fn drains(document: Value, now: Timestamp) -> Result<Page, serde_json::Error> {
    let list: DrainList = read(&document)?;
    let mut text = if list.drains.is_empty() { "nothing is drained\n".into() } else { drain_table(&list.drains, now).render() };
    if let Some(safety) = &list.safety {
        push(&mut text, &format!("{safety}\n"), FAINT);
    }
    Ok(page(document, text))
}

/// Drains with how long they have held and how long they still do.
pub(in crate::cli) fn drain_table(drains: &[DrainLine], now: Timestamp) -> Table {
    let mut table = Table::new(["DRAINED", "STATE", "FOR", "ENDS IN", "BY", "REASON", "OVERRULED"]);
    for drain in drains {
        table.row([
            Cell::new(&drain.subject).styled(ODD),
            Cell::new(drain.state(now)),
            Cell::new(length(now.since(drain.started))),
            Cell::new(length(drain.expires.since(now))),
            Cell::new(&drain.author),
            Cell::new(&drain.reason),
            Cell::new(&drain.overruled).styled(ODD),
        ]);
    }
    table
}

impl std::fmt::Display for Safety {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Safety { min_regions, regions_up, regions, .. } = self;
        write!(f, "{regions_up} of {regions} regions up, at least {min_regions} must be")?;
        if self.min_healthy_weight > 0 {
            write!(f, "; every service keeps {} % of its weight", self.min_healthy_weight)?;
        }
        if self.one_region_at_a_time {
            f.write_str("; one region at a time")?;
        }
        if !self.wait.0.is_zero() {
            write!(f, ", {} apart", self.wait)?;
        }
        Ok(())
    }
}

impl DrainLine {
    /// `ramping 25 %, whole in 3m20s`
    fn state(&self, now: Timestamp) -> String {
        let share = match self.state.as_str() {
            "ramping" | "paused" | "lifting" => format!(" {} %", self.share),
            _ => String::new(),
        };
        let whole = self.whole.map(|whole| format!(", whole in {}", length(whole.since(now)))).unwrap_or_default();
        let over = self.over.map(|over| format!(", gone in {}", length(over.since(now)))).unwrap_or_default();
        format!("{}{share}{whole}{over}", self.state)
    }
}

/// `region/eu-west (power maintenance)`, `region/eu-west 25 % (power maintenance)`
pub(super) fn drained_by(drain: &DrainLine) -> String {
    let share = if drain.share < 100.0 { format!(" {} %", drain.share) } else { String::new() };
    let reason = if drain.reason.is_empty() { String::new() } else { format!(" ({})", drain.reason) };
    format!("{}{share}{reason}", drain.subject)
}
