//! Tells when the files may say something else: config, certificate, zones and geo data.
//!
//! The system's notifications only wake the watch; whether something changed is told by comparing names, sizes, times and inodes of
//! the files that are read. So a file replaced by renaming is seen, an editor's temporary files are not, and where notifications are
//! missing (no inotify, a network file system) looking again after a while does the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};

use super::sources::{Print, Sources, print};
use super::{geo, world};
use crate::model::Settings;

/// Quiet time after the last notification before the files are looked at: a writer is not disturbed halfway.
const QUIET: Duration = Duration::from_millis(200);
/// The longest that a folder which is never quiet can delay the look.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks where nothing notifies.
const POLL: Duration = Duration::from_secs(2);
/// Time between two looks beside notifications: file systems of other machines do not send any.
const SLOW_POLL: Duration = Duration::from_secs(15);

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watch {
    wake: Sender<Wake>,
    thread: Option<JoinHandle<()>>,
}

/// Why nothing is watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The thread could not be started.
    #[error("the thread that watches files could not be started: {0}")]
    Thread(std::io::Error),
}

enum Wake {
    Look,
    /// The files that zones include, as they were when they were read.
    Included(Vec<(PathBuf, Option<Print>)>),
    Stop,
}

impl Watch {
    /// Watches the files too that zones include, wherever they are, and no others that were included before. What changed since they were
    /// read is seen.
    pub fn include(&self, sources: &Sources) {
        let absolute = |(path, print): (PathBuf, Option<Print>)| (std::path::absolute(&path).unwrap_or(path), print);
        let _ = self.wake.send(Wake::Included(sources.included().into_iter().map(absolute).collect()));
    }
}

/// Calls `changed` on a thread of its own, about 200 ms after the config file, the certificate or its key, a zone file or a geo file was changed, came or went.
///
/// # Errors
/// When the thread cannot be started. Missing notifications are no error: then the files are looked at every 2 s.
pub fn watch(settings: &Settings, changed: impl Fn() + Send + 'static) -> Result<Watch, WatchError> {
    let mut files = Files::of(settings);
    let (wake, woken) = mpsc::channel();
    let notify = wake.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Looking opens the folders, which is notified too: it must not lead to the next look.
        let read = event.is_ok_and(|e| e.kind.is_access() && e.kind != EventKind::Access(AccessKind::Close(AccessMode::Write)));
        if !read {
            let _ = notify.send(Wake::Look);
        }
    });
    if let Err(error) = &watcher {
        tracing::warn!(%error, "files are looked at every {POLL:?}: the system sends no notifications");
    }
    // Before the thread starts: what is written from now on is seen.
    let mut seen = files.print();
    let mut notified = watcher.as_mut().is_ok_and(|w| files.subscribe(w));
    let look = move || {
        loop {
            match woken.recv_timeout(if notified { SLOW_POLL } else { POLL }) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Wake::Included(included)) => {
                    files.include(included, &mut seen);
                    notified = watcher.as_mut().is_ok_and(|w| files.subscribe(w));
                }
                Ok(Wake::Look) => {
                    let until = Instant::now() + PATIENCE;
                    while Instant::now() < until {
                        match woken.recv_timeout(QUIET) {
                            Ok(Wake::Look) => {}
                            Ok(Wake::Included(included)) => {
                                files.include(included, &mut seen);
                                notified = watcher.as_mut().is_ok_and(|w| files.subscribe(w));
                            }
                            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                            Err(RecvTimeoutError::Timeout) => break,
                        }
                    }
                }
            }
            let now = files.print();
            if now != seen {
                seen = now;
                // A folder may be a new one under an old name.
                notified = watcher.as_mut().is_ok_and(|w| files.subscribe(w));
                changed();
            }
        }
    };
    let thread = std::thread::Builder::new().name("watch".into()).spawn(look).map_err(WatchError::Thread)?;
    Ok(Watch { wake, thread: Some(thread) })
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.wake.send(Wake::Stop);
        // Dropped by `changed` itself: a thread cannot wait for its own end.
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// What is watched.
struct Files {
    config: Option<PathBuf>,
    zones: PathBuf,
    geo: PathBuf,
    /// Certificate and key.
    certificate: Vec<PathBuf>,
    /// Files that zones include.
    included: BTreeSet<PathBuf>,
}

impl Files {
    fn of(settings: &Settings) -> Files {
        // A changed working directory must not change what is watched.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
        Files {
            config: settings.file.as_deref().map(absolute),
            zones: absolute(&settings.zones_dir),
            geo: absolute(&settings.geo_dir),
            certificate: settings.dns.tls.files().map(|file| absolute(file)).collect(),
            included: BTreeSet::new(),
        }
    }

    /// Asks for notifications about the folders; whether all that exist can be had.
    fn subscribe(&self, watcher: &mut impl Watcher) -> bool {
        let mut folders: Vec<&Path> = [&self.zones, &self.geo].map(|f| existing(f)).to_vec();
        folders.extend(self.config.as_deref().and_then(Path::parent));
        folders.extend(self.certificate.iter().chain(&self.included).filter_map(|file| file.parent()).map(existing));
        folders.sort();
        folders.dedup();
        folders.iter().all(|folder| watcher.watch(folder, RecursiveMode::NonRecursive).is_ok())
    }

    /// Takes other included files in the place of those before; `seen` gets how they were when they were read.
    fn include(&mut self, included: Vec<(PathBuf, Option<Print>)>, seen: &mut BTreeMap<PathBuf, Print>) {
        let before = std::mem::replace(&mut self.included, included.iter().map(|(path, _)| path.clone()).collect());
        for (path, read) in included {
            // What is watched already has been seen, maybe in a later state or as gone: that is the watch's own business.
            if before.contains(&path) {
                continue;
            }
            if let Some((_, time, size, inode)) = read {
                seen.entry(path.clone()).or_insert((path, time, size, inode));
            }
        }
        let read = self.paths();
        seen.retain(|path, _| read.contains(path));
    }

    /// The files that are read. The folders too, though not when they changed: one that came, or was put in another's place, is to be
    /// subscribed to.
    fn paths(&self) -> BTreeSet<PathBuf> {
        let mut paths: BTreeSet<PathBuf> = self.config.iter().chain(&self.certificate).chain(&self.included).cloned().collect();
        for (folder, is_read) in [(&self.zones, world::is_read as fn(&str) -> bool), (&self.geo, geo::is_read)] {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            paths.extend(entries.filter(|e| e.file_name().to_str().is_some_and(is_read)).map(|e| e.path()));
        }
        paths.extend([self.zones.clone(), self.geo.clone()]);
        paths
    }

    /// All that is compared of them.
    fn print(&self) -> BTreeMap<PathBuf, Print> {
        self.paths().into_iter().filter_map(|path| Some((path.clone(), print(&path)?))).collect()
    }
}

/// The folder, or the nearest above it that exists: its coming is seen there.
fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|f| f.is_dir()).unwrap_or(Path::new(OsStr::new("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_seen_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (zones, geo) = (dir.path().join("zones"), dir.path().join("geo"));
        std::fs::create_dir(&zones).unwrap();
        std::fs::write(zones.join("a.example.toml"), "").unwrap();
        let tls = dir.path().join("tls");
        std::fs::create_dir(&tls).unwrap();
        let mut settings = Settings {
            file: Some(dir.path().join("signpost.toml")),
            zones_dir: zones.clone(),
            geo_dir: geo.clone(),
            ..Settings::default()
        };
        (settings.dns.tls.certificate, settings.dns.tls.key) = (Some(tls.join("cert.pem")), Some(tls.join("key.pem")));
        let (told, tell) = mpsc::channel();
        let watch = watch(&settings, move || told.send(()).unwrap()).unwrap();
        let seen = |what: &str| tell.recv_timeout(Duration::from_secs(10)).unwrap_or_else(|_| panic!("{what} was not seen"));

        std::fs::write(zones.join("new"), "services = true").unwrap();
        std::fs::rename(zones.join("new"), zones.join("a.example.toml")).unwrap();
        seen("a file replaced by another");
        std::fs::create_dir(&geo).unwrap();
        std::fs::write(geo.join("regions.toml"), "x").unwrap();
        seen("a folder that came");
        std::fs::write(geo.join("regions.toml"), "xy").unwrap();
        seen("a file in it");
        std::fs::write(dir.path().join("signpost.toml"), "version = 1").unwrap();
        seen("the config file");
        std::fs::write(tls.join("cert.pem"), "x").unwrap();
        seen("the certificate");
        std::fs::write(tls.join("key.pem"), "x").unwrap();
        seen("its key");

        while tell.recv_timeout(QUIET * 5).is_ok() {}
        for name in [".a.example.toml.swp", "a.example.toml~", "4913", "#a.example.toml#", "notes.md"] {
            std::fs::write(zones.join(name), "x").unwrap();
        }
        assert!(tell.recv_timeout(QUIET * 2).is_err(), "a temporary file was taken for a zone");
        drop(watch);
        assert!(matches!(tell.recv(), Err(mpsc::RecvError)), "the thread ends with the watch");
    }
    /// As at every start, where files come to be beside the configuration while zones are read.
    #[test]
    fn a_folder_of_included_files_is_watched_though_the_watch_was_busy() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { file: None, zones_dir: dir.path().join("zones"), geo_dir: dir.path().join("geo"), ..Settings::default() };
        let hosts = settings.zones_dir.join("hosts");
        std::fs::create_dir_all(&hosts).unwrap();
        std::fs::write(settings.zones_dir.join("a.zone"), "@ SOA ns.x. h 1 2h 1h 2w 1h\n@ NS ns.x.\n$INCLUDE hosts/hosts.inc\n").unwrap();
        std::fs::write(hosts.join("hosts.inc"), "www A 192.0.2.1\n").unwrap();
        let sources = world(&settings).unwrap().sources;
        let (told, tell) = mpsc::channel();
        let watch = watch(&settings, move || told.send(()).unwrap()).unwrap();
        std::fs::write(settings.zones_dir.join("notes"), "").unwrap();
        std::thread::sleep(QUIET / 4);
        watch.include(&sources);
        assert!(tell.recv_timeout(QUIET * 2).is_err(), "nothing changed that is read");
        std::fs::remove_file(hosts.join("hosts.inc")).unwrap();
        tell.recv_timeout(SLOW_POLL / 3).expect("the system notifies of it");
    }

    #[test]
    fn an_included_file_that_is_gone_is_told_of_once() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { file: None, zones_dir: dir.path().join("zones"), geo_dir: dir.path().join("geo"), ..Settings::default() };
        std::fs::create_dir(&settings.zones_dir).unwrap();
        let (included, zone) = (dir.path().join("hosts.inc"), settings.zones_dir.join("a.example.zone"));
        std::fs::write(&zone, "@ SOA ns.x. h 1 2h 1h 2w 1h\n@ NS ns.x.\n$INCLUDE ../hosts.inc\n").unwrap();
        std::fs::write(&included, "www A 192.0.2.1\n").unwrap();
        let sources = world(&settings).unwrap().sources;
        let (told, tell) = mpsc::channel();
        let watch = watch(&settings, move || told.send(()).unwrap()).unwrap();
        watch.include(&sources);
        assert!(tell.recv_timeout(QUIET * 2).is_err(), "nothing changed");
        std::fs::remove_file(&included).unwrap();
        tell.recv_timeout(Duration::from_secs(10)).expect("it is gone");
        // The zone was read again, and stays as it was.
        watch.include(&sources);
        assert!(tell.recv_timeout(QUIET * 3).is_err(), "it is as gone as before");
        std::fs::write(&included, "www A 192.0.2.2\n").unwrap();
        tell.recv_timeout(Duration::from_secs(10)).expect("it is back");
    }
}
