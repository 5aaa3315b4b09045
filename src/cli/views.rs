//! What the API gave, as tables for people. Each view reads only what it shows; the document itself is kept for `--output json`.

mod drains;
mod measurements;
mod services;
#[cfg(test)]
mod tests;
mod zones;

use std::time::Duration;

use anstyle::Style;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(super) use self::drains::{DrainList, drain_table, drains};
pub(super) use self::measurements::measurements;
pub(super) use self::services::{instances, services};
pub(super) use self::zones::{secondaries, updates};
use super::Page;
use super::table::{BAD, Cell, FAINT, GOOD, ODD};

/// Reads the part of a document that is shown.
pub(super) fn read<T: DeserializeOwned>(document: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(document)
}

/// A page whose text is ready.
pub(super) fn page(document: Value, text: String) -> Page {
    Page { text, document }
}

/// How a health looks.
pub(super) fn health_style(health: &str) -> Style {
    match health {
        "healthy" => GOOD,
        "unhealthy" => BAD,
        _ => ODD,
    }
}

/// How a share of all looks: all, some, none.
pub(super) fn share_style(share: u64, all: u64) -> Style {
    match share {
        0 => BAD,
        share if share == all => GOOD,
        _ => ODD,
    }
}

/// A number that stands out where it is not zero.
pub(super) fn count(number: u64, style: Style) -> Cell {
    Cell::number(number).styled(if number == 0 { FAINT } else { style })
}

/// A length of time in one or two units: `12s`, `5m12s`, `3h20m`, `4d2h`.
pub(super) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let (large, unit, small, rest) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => (seconds / 60, 'm', seconds % 60, 's'),
        3_600..86_400 => (seconds / 3_600, 'h', seconds % 3_600 / 60, 'm'),
        _ => (seconds / 86_400, 'd', seconds % 86_400 / 3_600, 'h'),
    };
    if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{rest}") }
}
