//! What zones and geo data were last good, on disk (`data_dir/last`): a server that starts while a file is broken serves what it served before.
//!
//! ```text
//!   start, reload ─▶ what is in force ─▶ written down behind it, what changed alone
//!   start ─▶ a file is broken ─▶ what was written down stands in for it, and the log, the status and metrics say so
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::durable;
use crate::config::{self, Finding, LastText, Loaded, Reread, Sources};
use crate::model::Settings;

/// The folder of what was last good.
#[derive(Clone)]
pub(super) struct LastGood {
    folder: PathBuf,
    /// What is written next; nobody but the last caller is waited for.
    wanted: Arc<Mutex<Option<(Sources, Settings)>>>,
    /// What is on disk, by name. Held while it is written.
    written: Arc<Mutex<BTreeMap<String, LastText>>>,
}

impl LastGood {
    /// Reads what is there. What cannot be read is as if it were not there, which the log says.
    pub fn open(settings: &Settings) -> LastGood {
        let folder = settings.data_dir.join("last");
        let mut written = BTreeMap::new();
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json")) {
            let read = fs::read_to_string(&path).map_err(|error| error.to_string());
            match read.and_then(|text| LastText::of_document(&text, settings).map_err(|error| error.to_string())) {
                Ok(text) => drop(written.insert(text.name.clone(), text)),
                Err(error) => tracing::warn!("{}: what was last good is not known: {error}", path.display()),
            }
        }
        LastGood { folder, wanted: Arc::default(), written: Arc::new(written.into()) }
    }

    /// Reads all files; where some are broken and something was good before, what was good stands in for them.
    ///
    /// # Errors
    /// Everything that is wrong, where nothing was good before, or nothing that was makes it whole.
    pub fn world(&self, settings: &Settings) -> Result<Loaded, Vec<Finding>> {
        let last = Sources::of_last(lock(&self.written).values().cloned());
        match config::world(settings) {
            Err(_) if !last.is_empty() => Reread::new(settings.clone(), last).world(),
            world => world,
        }
    }

    /// Writes down what is in force: the changes alone, on this thread. It takes turns with others.
    pub fn keep(&self, sources: Sources, settings: Settings) {
        *lock(&self.wanted) = Some((sources, settings));
        let mut written = lock(&self.written);
        let Some((sources, settings)) = lock(&self.wanted).take() else { return };
        if let Err(error) = self.write(&mut written, &sources, &settings) {
            tracing::error!("{}: {error}: a start while files are broken may find nothing that was good", self.folder.display());
        }
    }

    fn write(&self, written: &mut BTreeMap<String, LastText>, sources: &Sources, settings: &Settings) -> io::Result<()> {
        let last: BTreeMap<String, LastText> = sources.last_texts().map(|text| (text.name.clone(), text)).collect();
        fs::create_dir_all(&self.folder)?;
        for (name, text) in &last {
            if !written.get(name).is_some_and(|before| before.is_same(text)) {
                durable::replace_private(&self.path(name), text.to_document(settings).as_bytes())?;
            }
            // With every reading come texts of their own: one copy of them stays in memory.
            written.insert(name.clone(), text.clone());
        }
        let gone: Vec<String> = written.keys().filter(|name| !last.contains_key(*name)).cloned().collect();
        for name in gone {
            match fs::remove_file(self.path(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => drop(written.remove(&name)),
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(Path::new(&name.replace('/', "")).with_added_extension("json"))
    }
}

/// Whoever panicked with it left nothing half done that matters.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
