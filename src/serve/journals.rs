//! Journals of differences on disk (RFC 1995): one file for each zone that is transferred, to which differences are appended as they are made.
//!
//! A file never says more than it can prove: see [`Journal::restore`]. So the end of one may be lost in a crash, and costs its secondaries a
//! whole transfer.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::durable;
use crate::model::Name;
use crate::transfer::{Journal, Print, Version};

/// A file is written anew when it has more octets: differences that are too old to be of use are still in it.
const LARGEST: u64 = 16 << 20;

/// Where journals are, in the data folder.
#[derive(Debug, Clone)]
pub(super) struct Journals(PathBuf);

impl Journals {
    /// Those of a data folder.
    pub fn of(data: &Path) -> Journals {
        Journals(data.join("journal"))
    }

    fn path(&self, apex: &Name) -> PathBuf {
        let text = apex.to_string().replace('/', "\\047");
        self.0.join(format!("{}.ixfr", text.strip_suffix('.').unwrap_or(&text)))
    }

    /// What leads to this version; an empty one where nothing does, and then the file goes.
    pub fn restore(&self, apex: &Name, version: &Version, print: Print) -> Journal {
        let path = self.path(apex);
        let octets = match fs::metadata(&path).and_then(|file| if file.len() <= 2 * LARGEST { fs::read(&path) } else { Ok(Vec::new()) }) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Journal::default(),
            Err(error) => {
                tracing::warn!(%error, "{}: secondaries take the whole zone", path.display());
                return Journal::default();
            }
        };
        Journal::restore(&octets, version, print).unwrap_or_else(|| {
            tracing::info!(zone = %apex, "the zone is not as its journal has it: secondaries take it whole");
            self.forget(apex);
            Journal::default()
        })
    }

    /// Adds the latest difference of a journal, which leads to a version with this print; durable when it returns.
    pub fn append(&self, apex: &Name, journal: &Journal, print: Print) {
        let path = self.path(apex);
        let written = match fs::metadata(&path).map(|file| file.len()) {
            Ok(length) if length > 0 && length <= LARGEST => append(&path, &journal.entry(print)),
            _ => self.replace(&path, &journal.octets(print)),
        };
        if let Err(error) = written {
            tracing::warn!(%error, "{}: after a restart secondaries take the whole zone", path.display());
            self.forget(apex);
        }
    }

    /// Nothing that was kept of a zone counts any more.
    pub fn forget(&self, apex: &Name) {
        // It may not be there; one that stays proves nothing.
        _ = fs::remove_file(self.path(apex));
    }

    fn replace(&self, path: &Path, octets: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        durable::replace(path, octets)
    }
}

fn append(path: &Path, entry: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options().append(true).open(path)?;
    file.write_all(entry)?;
    file.sync_data()
}
