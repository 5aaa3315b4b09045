//! The serials that were served last, on disk: they are written before anybody sees them, so that none goes back after a restart.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::durable;
use crate::model::{Name, Settings, Zone};
use crate::transfer::Serials;

/// The file, in the data folder.
const FILE: &str = "serials.json";
/// A larger file is none of ours.
const LARGEST: u64 = 1 << 30;

/// Serials and their file.
#[derive(Debug)]
pub(super) struct KeptSerials {
    path: PathBuf,
    pub serials: Serials,
    written: String,
}

impl KeptSerials {
    /// Reads those of a data folder. Where they cannot be read, serials begin anew, which the log says.
    pub fn open(data: &Path) -> KeptSerials {
        let path = data.join(FILE);
        let read = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
            Ok(metadata) if metadata.len() > LARGEST => Err(io::Error::other("it is too large")),
            Ok(_) => fs::read_to_string(&path),
        };
        let serials = read.map_err(|error| error.to_string()).and_then(|text| match text.is_empty() {
            true => Ok((Serials::default(), text)),
            false => Serials::parse(&text).map(|serials| (serials, text)).map_err(|error| error.to_string()),
        });
        let (serials, written) = serials.unwrap_or_else(|error| {
            tracing::error!(%error, "{}: serials of zones may go back", path.display());
            Default::default()
        });
        KeptSerials { path, serials, written }
    }

    /// Gives zones their serials: see [`Serials::assign`]. [`KeptSerials::keep`] comes before anybody sees them.
    pub fn assign(&mut self, zones: &mut [Zone], settings: &Settings) {
        // The serial of a zone that is copied is its primary's, whoever copies it from here.
        let kept = settings.data_dir.join("secondary").display().to_string();
        let copied: BTreeSet<Name> = zones.iter().filter(|zone| zone.file.starts_with(&kept)).map(|zone| zone.apex.clone()).collect();
        for overruled in self.serials.assign(zones, |apex| settings.transfer(apex).is_some() && !copied.contains(apex)) {
            tracing::warn!(
                "{}: its records changed, and its serial {} is not beyond the one before: {} is served, so that secondaries follow",
                overruled.file,
                overruled.said,
                overruled.served
            );
        }
    }

    /// Brings them to disk where they changed, on a thread that may wait.
    pub async fn keep(&mut self) {
        let Some(write) = self.writing() else { return };
        // What was not written is written the next time.
        if !tokio::task::spawn_blocking(write).await.unwrap_or(false) {
            self.written.clear();
        }
    }

    fn writing(&mut self) -> Option<impl FnOnce() -> bool + Send + 'static> {
        let text = self.serials.to_text();
        if text == self.written {
            return None;
        }
        self.written.clone_from(&text);
        let path = self.path.clone();
        Some(move || {
            let written = durable::replace(&path, text.as_bytes());
            if let Err(error) = &written {
                tracing::error!(%error, "{}: serials of zones are not kept", path.display());
            }
            written.is_ok()
        })
    }
}
