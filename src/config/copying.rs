//! Zones that come from other servers, as far as settings tell: what leads into one depends on what its primary says today.

use std::collections::BTreeSet;

use super::world::KEPT;
use super::zone::Draft;
use crate::model::{Name, Settings};

/// Which zones are copied.
#[derive(Debug, Default)]
pub(super) struct Copying {
    /// Those that settings name.
    pub apexes: BTreeSet<Name>,
    /// Catalogs may list any other.
    pub catalogs: bool,
    /// What the paths of copies that are kept begin with; empty: none are.
    kept: String,
}

impl Copying {
    pub fn of(settings: &Settings) -> Copying {
        Copying {
            apexes: settings.secondary.keys().cloned().collect(),
            catalogs: settings.secondary.values().any(|settings| settings.catalog),
            kept: settings.data_dir.join(KEPT).display().to_string(),
        }
    }

    /// Whether a zone was copied, and no file of this server's.
    pub fn kept(&self, draft: &Draft) -> bool {
        !self.kept.is_empty() && draft.zone.file.starts_with(&self.kept)
    }
}
