//! Measured round trips between clients and regions.

use serde::Deserialize;
use serde_json::Value;

use super::{length, page, read};
use crate::cli::Page;
use crate::cli::table::{Cell, FAINT, Table, push};
use crate::model::Period;

/// `measurements`
pub(in crate::cli) fn measurements(document: Value) -> Result<Page, serde_json::Error> {
    let list: MeasurementList = read(&document)?;
    if list.measurements.is_empty() {
        return Ok(page(document, "nothing was measured\n".into()));
    }
    let mut table = Table::new(["CLIENTS", "REGION", "MS", "SAMPLES", "LAST"]);
    for prefix in &list.measurements {
        for (n, region) in prefix.regions.iter().enumerate() {
            table.row([
                Cell::new(if n == 0 { prefix.client.as_str() } else { "" }),
                Cell::new(&region.region),
                Cell::number(format!("{:.1}", region.rtt_ms)),
                Cell::number(region.samples),
                Cell::new(format!("{} ago", length(region.age.0))),
            ]);
        }
    }
    let mut text = table.render();
    if list.next.is_some() {
        let more = format!("the first {} of {} prefixes; --client narrows them\n", list.measurements.len(), list.prefixes);
        push(&mut text, &more, FAINT);
    }
    Ok(page(document, text))
}

#[derive(Debug, Deserialize)]
struct MeasurementList {
    prefixes: usize,
    measurements: Vec<MeasuredPrefix>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct MeasuredPrefix {
    client: String,
    regions: Vec<MeasuredRegion>,
}

#[derive(Debug, Deserialize)]
struct MeasuredRegion {
    region: String,
    rtt_ms: f64,
    samples: u32,
    age: Period,
}
