//! Reports on disk: `drills/<run>.json` and `.md` in the data folder, the latest hundred of them.
//!
//! A report is written when its drill begins, at every stage, and when it is over: one that is found under way at a start is of a drill
//! that the server did not live to end.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::markdown;
use crate::model::DrillReport;

/// Reports that are kept.
pub(super) const KEPT: usize = 100;
/// The most that is read of a file that claims to be a report.
const LARGEST: u64 = 4 << 20;

/// The reports, by run: their names sort by the time they began.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    reports: BTreeMap<String, Arc<DrillReport>>,
}

impl Shelf {
    /// Reads what is there. A file that cannot be read is left where it is, and the log says so.
    pub fn open(folder: PathBuf) -> Shelf {
        let mut reports = BTreeMap::new();
        for path in json_files(&folder) {
            match read(&path) {
                Ok(report) => _ = reports.insert(report.run.clone(), Arc::new(report)),
                Err(error) => tracing::warn!(file = %path.display(), %error, "this is no report of a drill; it is left alone"),
            }
        }
        Shelf { folder, reports }
    }

    /// The reports, oldest first.
    pub fn reports(&self) -> impl DoubleEndedIterator<Item = &Arc<DrillReport>> {
        self.reports.values()
    }

    /// One of them.
    pub fn get(&self, run: &str) -> Option<&Arc<DrillReport>> {
        self.reports.get(run)
    }

    /// Whether there is one of that name.
    pub fn has(&self, run: &str) -> bool {
        self.reports.contains_key(run)
    }

    /// Takes a report in, or its next version, without writing it.
    pub fn keep(&mut self, report: &DrillReport) {
        self.reports.insert(report.run.clone(), Arc::new(report.clone()));
    }

    /// What brings a report to disk, and takes away those that are too many: for a thread that may wait. It is taken in after that, so
    /// that whoever sees it finds its files.
    pub fn write(&mut self, report: &DrillReport) -> impl FnOnce() -> io::Result<()> + Send + 'static {
        let mut gone = Vec::new();
        while self.reports.len() + usize::from(!self.has(&report.run)) > KEPT {
            // The one under way is the newest.
            gone.extend(self.reports.pop_first().map(|(run, _)| run));
        }
        let (folder, report) = (self.folder.clone(), report.clone());
        move || {
            fs::create_dir_all(&folder)?;
            let mut json = serde_json::to_vec_pretty(&report)?;
            json.push(b'\n');
            put(&folder, &format!("{}.json", report.run), &json)?;
            put(&folder, &format!("{}.md", report.run), markdown::page(&report).as_bytes())?;
            for run in gone {
                for kind in ["json", "md"] {
                    match fs::remove_file(folder.join(format!("{run}.{kind}"))) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
            }
            Ok(())
        }
    }
}

/// Writes a file whole: whoever reads it sees the old one or the new one.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (half, whole) = (folder.join(format!("{name}.part")), folder.join(name));
    fs::write(&half, bytes)?;
    fs::rename(half, whole)
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    entries.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect()
}

fn read(path: &Path) -> io::Result<DrillReport> {
    if fs::metadata(path)?.len() > LARGEST {
        return Err(io::Error::other("it is larger than any report"));
    }
    let report: DrillReport = serde_json::from_slice(&fs::read(path)?)?;
    match path.file_stem().is_some_and(|stem| stem == report.run.as_str()) {
        true => Ok(report),
        false => Err(io::Error::other(format!("it holds the report of {}", report.run))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DrillFields, DrillState, Subject, Timestamp};

    fn report(at: u64) -> DrillReport {
        let mut report = DrillReport::begin(None, DrillFields::new(Subject::parse("region/eu").unwrap()), "ann", Timestamp(at));
        report.tell(Timestamp(at + 1), "announced", "");
        report.end(Timestamp(at + 2), DrillState::Done, "");
        report
    }

    #[test]
    fn the_latest_hundred_are_kept_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/drills");
        let mut shelf = Shelf::open(path.clone());
        for n in 0..KEPT as u64 + 3 {
            shelf.write(&report(n * 1000))().unwrap();
            shelf.keep(&report(n * 1000));
        }
        fs::write(path.join("other.json"), "{}").unwrap();
        let again = Shelf::open(path.clone());
        assert_eq!(again.reports().count(), KEPT);
        let oldest = again.reports().next().unwrap();
        assert_eq!((oldest.run.as_str(), &**oldest), ("19700101T000003Z-region-eu", &report(3000)));
        assert!(again.has("19700101T000142Z-region-eu") && again.get("19700101T000002Z-region-eu").is_none());
        // A JSON and a Markdown file each, and the one that is no report.
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2 * KEPT + 1);
    }
}
