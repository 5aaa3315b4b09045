//! Zones of other servers at the roof: what came is read and checked as a file is, kept, and loaded with all others.
//!
//! ```text
//!   a copy ─▶ config::copied_text: findings? ─▶ a catalog? its members ─▶ data_dir/secondary, durable ─▶ wish ─▶ taken, alone or with all ─▶ served
//!                    └─ the zone stays as it was ◀─┴─────────────────────────── put back ◀──────────────────────────────┘ or not
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::durable::Written;
use crate::config::{self, Finding};
use crate::control::Control;
use crate::model::{Name, catalog_members, kept_file};
use crate::secondary::{Arrival, Take};

/// Somebody waits for a zone that was copied to be taken.
pub(super) struct Wish {
    /// Which.
    pub apex: Name,
    /// It lists others.
    pub catalog: bool,
    granted: oneshot::Sender<()>,
}

impl Wish {
    /// Says that it was tried.
    pub fn grant(self) {
        // Whoever wished for it may have gone.
        _ = self.granted.send(());
    }
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
            let (apex, catalog) = (arrival.apex.clone(), arrival.catalog);
            let kept = tokio::task::spawn_blocking(move || keep(&data, &arrival)).await;
            let (serial, copy) = kept.map_err(|error| error.to_string())??;
            let (granted, is_granted) = oneshot::channel();
            let stopping = || "the server is stopping".to_string();
            wishes.send(Wish { apex: apex.clone(), catalog, granted }).await.map_err(|_| stopping())?;
            is_granted.await.map_err(|_| stopping())?;
            let served = control.registry().zone(&apex).map(|(zone, _)| zone.soa.serial);
            let is_served = served == Some(serial);
            // A panic was printed; then the files stay as they are.
            _ = tokio::task::spawn_blocking(move || copy.settle(is_served)).await;
            match is_served {
                true => Ok(()),
                false => Err(format!("serial {serial} came and is not served: the log says what stands in its way")),
            }
        })
    })
}

/// A copy that is kept, in place of one that may have to come back: what a restart would find must be what can be served.
struct Copy {
    path: PathBuf,
    /// The one before, with its time; `None`: there was none.
    before: Option<PathBuf>,
}

impl Copy {
    /// The copy is served, or the one before comes back.
    fn settle(self, is_served: bool) {
        let done = match (&self.before, is_served) {
            (Some(before), true) => std::fs::remove_file(before),
            (Some(before), false) => std::fs::rename(before, &self.path),
            (None, true) => Ok(()),
            (None, false) => std::fs::remove_file(&self.path),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "{}: the copy before this one", self.path.display());
        }
    }
}

/// Checks a zone as a file is checked, and keeps it; returns its serial.
fn keep(data: &Path, arrival: &Arrival) -> Result<(u32, Copy), String> {
    let path = kept_file(data, &arrival.apex);
    let told = |findings: Vec<Finding>| {
        let told: Vec<String> = findings.iter().take(TOLD).map(|finding| format!("{}: {}", finding.field, finding.reason)).collect();
        let more = findings.len().saturating_sub(TOLD);
        format!("it cannot be served: {}{}", told.join("; "), if more > 0 { format!("; and {more} more") } else { String::new() })
    };
    let (zone, _) = config::copied_text(&path.display().to_string(), &arrival.text).map_err(told)?;
    if arrival.catalog {
        catalog_members(&zone).map_err(|error| format!("the catalog is broken, and nothing is changed by it: {error}"))?;
    }
    let before = put(&path, &arrival.text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((zone.soa.serial, Copy { path, before }))
}

/// Writes the file of a copy; returns where the one before is.
fn put(path: &Path, text: &str) -> std::io::Result<Option<PathBuf>> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let (new, last) = (Written::beside(path, text.as_bytes())?, path.with_extension("last"));
    let is_not_there = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    // One that a crash left.
    std::fs::remove_file(&last).or_else(|error| if is_not_there(&error) { Ok(()) } else { Err(error) })?;
    let before = match std::fs::hard_link(path, &last) {
        Ok(()) => Some(last),
        Err(error) if is_not_there(&error) => None,
        Err(error) => return Err(error),
    };
    new.take_place()?;
    Ok(before)
}
