//! Zones: what updates changed of one, and those that are copied from other servers.

use serde::Deserialize;
use serde_json::Value;

use super::{length, page, read};
use crate::cli::Page;
use crate::cli::table::{BAD, Cell, FAINT, ODD, Table};
use crate::model::Timestamp;

/// `updates`
pub(in crate::cli) fn updates(document: Value, now: Timestamp) -> Result<Page, serde_json::Error> {
    let list: UpdateList = read(&document)?;
    if list.updates.is_empty() {
        let text = format!("no updates: {} is as its file says, serial {}\n", list.zone, list.serial);
        return Ok(page(document, text));
    }
    let mut table = Table::new(["NAME", "TTL", "TYPE", "RECORDS", "KEY", "CHANGED", "NOTE"]);
    for line in &list.updates {
        let (note, style) = match (line.answered, line.file_changed) {
            (false, _) => ("does not go with the file: not answered", BAD),
            (true, true) => ("the file changed since", ODD),
            (true, false) => ("", FAINT),
        };
        let records = if line.ttl.is_none() { "(gone)".into() } else { line.records.join(", ") };
        table.row([
            Cell::new(&line.name),
            Cell::new(line.ttl.map(|ttl| ttl.to_string()).unwrap_or_default()),
            Cell::new(&line.r#type),
            Cell::new(records),
            Cell::new(&line.key),
            Cell::new(format!("{} ago", length(now.since(line.at)))).styled(FAINT),
            Cell::new(note).styled(style),
        ]);
    }
    Ok(page(document, format!("{} serial {}\n{}", list.zone, list.serial, table.render())))
}

/// `secondaries`
pub(in crate::cli) fn secondaries(document: Value, now: Timestamp) -> Result<Page, serde_json::Error> {
    let list: SecondaryList = read(&document)?;
    if list.secondaries.is_empty() {
        return Ok(page(document, "no zones are copied from other servers: [secondary] names those that are\n".into()));
    }
    let mut table = Table::new(["ZONE", "SERIAL", "CONFIRMED", "NEXT", "EXPIRES", "CATALOG", "TROUBLE"]);
    for line in &list.secondaries {
        let (state, style) = match (line.expired, line.expires) {
            (true, _) => ("expired".to_string(), BAD),
            (false, Some(at)) => (format!("in {}", length(at.since(now))), FAINT),
            (false, None) => (String::new(), FAINT),
        };
        let trouble = match line.signed_until {
            Some(until) if line.failure.is_empty() && until <= now => {
                Cell::new(format!("signatures have expired {} ago", length(now.since(until)))).styled(BAD)
            }
            _ => Cell::new(&line.failure).styled(ODD),
        };
        table.row([
            Cell::new(&line.zone),
            line.serial.map_or_else(|| Cell::new("never came").styled(BAD), Cell::number),
            Cell::new(line.confirmed.map(|at| format!("{} ago", length(now.since(at)))).unwrap_or_default()),
            Cell::new(format!("in {}", length(line.next.since(now)))).styled(FAINT),
            Cell::new(state).styled(style),
            Cell::new(&line.catalog),
            trouble,
        ]);
    }
    Ok(page(document, table.render()))
}

#[derive(Debug, Deserialize)]
struct UpdateList {
    zone: String,
    serial: u32,
    updates: Vec<UpdateLine>,
}

#[derive(Debug, Deserialize)]
struct UpdateLine {
    name: String,
    r#type: String,
    #[serde(default)]
    ttl: Option<u32>,
    records: Vec<String>,
    key: String,
    at: Timestamp,
    file_changed: bool,
    answered: bool,
}

#[derive(Debug, Deserialize)]
struct SecondaryList {
    secondaries: Vec<SecondaryLine>,
}

#[derive(Debug, Deserialize)]
struct SecondaryLine {
    zone: String,
    #[serde(default)]
    catalog: String,
    #[serde(default)]
    serial: Option<u32>,
    #[serde(default)]
    confirmed: Option<Timestamp>,
    next: Timestamp,
    #[serde(default)]
    expires: Option<Timestamp>,
    #[serde(default)]
    signed_until: Option<Timestamp>,
    expired: bool,
    failure: String,
}
