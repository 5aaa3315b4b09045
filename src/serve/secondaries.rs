//! Zones of other servers at the roof: what came is read and checked as a file is, kept, and loaded with all others.
//!
//! ```text
//!   a copy ─▶ config::zone_text: findings? ─▶ a catalog? its members ─▶ data_dir/secondary, durable ─▶ in the place of what was ─▶ served
//!                    └─ the zone stays as it was ◀─┘                                                 └─ it is new, or concerns others: reload
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::config::{self, Finding};
use crate::control::Control;
use crate::model::{Zone, catalog_members, kept_file};
use crate::secondary::{Arrival, Take};

/// Somebody waits for a zone to be served that was kept.
#[derive(Debug)]
pub(super) struct Wish {
    /// The zone; `None` for a catalog, whose members come and go with it.
    pub zone: Option<Box<Zone>>,
    /// Told when it is, or when nothing more is to be done for it.
    pub granted: oneshot::Sender<()>,
}

/// Wishes that wait; who has more waits outside.
pub(super) const WISHES: usize = 256;

/// Findings of a refusal that its reason tells.
const TOLD: usize = 3;

/// Takes zones that came: kept under `data`, and loaded when a wish is granted.
pub(super) fn take(data: &Path, control: Control, wishes: mpsc::Sender<Wish>) -> Take {
    let data = data.to_path_buf();
    Arc::new(move |arrival| {
        let (data, control, wishes) = (data.clone(), control.clone(), wishes.clone());
        Box::pin(async move {
            let (apex, is_catalog) = (arrival.apex.clone(), arrival.catalog);
            let kept = tokio::task::spawn_blocking(move || keep(&data, &arrival)).await;
            let zone = kept.map_err(|error| error.to_string())??;
            let serial = zone.soa.serial;
            let (tell, granted) = oneshot::channel();
            let stopping = || "the server is stopping".to_string();
            let zone = (!is_catalog).then(|| Box::new(zone));
            wishes.send(Wish { zone, granted: tell }).await.map_err(|_| stopping())?;
            granted.await.map_err(|_| stopping())?;
            match control.registry().zone(&apex).map(|(zone, _)| zone.soa.serial) {
                Some(served) if served == serial => Ok(()),
                _ => Err(format!("serial {serial} came and is not served: the log says what stands in its way")),
            }
        })
    })
}

/// Checks a zone as a file is checked, and keeps it.
fn keep(data: &Path, arrival: &Arrival) -> Result<Zone, String> {
    let path = kept_file(data, &arrival.apex);
    let told = |findings: Vec<Finding>| {
        let told: Vec<String> = findings.iter().take(TOLD).map(|finding| format!("{}: {}", finding.field, finding.reason)).collect();
        let more = findings.len().saturating_sub(TOLD);
        format!("it cannot be served: {}{}", told.join("; "), if more > 0 { format!("; and {more} more") } else { String::new() })
    };
    let (zone, _) = config::zone_text(&path.display().to_string(), &arrival.text).map_err(told)?;
    if arrival.catalog {
        catalog_members(&zone).map_err(|error| format!("the catalog is broken, and nothing is changed by it: {error}"))?;
    }
    put(&path, &arrival.text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(zone)
}

/// Writes a file whole, and durably.
fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let half = path.with_extension("part");
    let mut file = std::fs::File::create(&half)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&half, path)?;
    std::fs::File::open(folder)?.sync_all()
}
