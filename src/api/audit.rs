//! The audit log: one JSON line for every write, refused ones included, in the file before the reply goes out.
//!
//! **A write that cannot be audited is refused.** A line can only be made when the outcome is known, so the rule is kept like this: a line
//! that could not be appended stays in memory, that write is answered 503 (it says that the write itself was made), and from then on
//! every write is refused with 503 *before* it is tried, until the kept lines are in the file. A full disk so leaves at most the writes
//! that were under way at that moment unwritten, and loses them only if the server also dies before there is room again.
//!
//! "In the file" means handed to the operating system: lines survive `kill -9`, and a power cut may take the last seconds of them.
//! Lines that come while others are being written go into the file together, with one call, when it is free again.
//! A line that a full disk or a power cut tore is ended before the next one is appended, which so stands by itself.
//! The file is only ever appended to, and opened anew when its path leads to another file, so that log rotation by rename works.
//!
//! Heartbeats change nothing and leave no line, unless somebody was not allowed to send them; measurements leave a line without their samples. Requests without a valid token leave at most
//! [`STRANGERS_PER_SECOND`] lines a second and never their bodies: a stranger must not be able to fill the disk.

use std::borrow::Cow;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::IgnoredAny;
use tokio::sync::oneshot;

use crate::model::{Revision, Timestamp};

/// Most lines per second of requests that no token vouches for.
pub const STRANGERS_PER_SECOND: u32 = 10;

/// One line.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// When the outcome was known.
    pub at: Timestamp,
    /// The token's name, `local` where the API needs none, empty for strangers.
    pub author: &'a str,
    /// Where the request came from; empty where that is not known.
    pub peer: &'a str,
    /// The method; `UPDATE` of an update over DNS, whose author is a key.
    pub method: &'a str,
    /// The path and query; of an update the zone.
    pub path: &'a str,
    /// The body, as `one_line` gives it; stands last.
    #[serde(skip)]
    pub body: Option<Cow<'a, [u8]>>,
    /// The HTTP status of the reply; of an update the RCODE.
    pub status: u16,
    /// The revision of the write, where one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Strangers' requests since the last line of theirs that left none.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A body as it stands in a line; `None`: it is no JSON.
pub fn one_line(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    let text = std::str::from_utf8(body).ok()?;
    // Within JSON, only white space between its parts holds line ends.
    if text.contains(['\n', '\r']) {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        return serde_json::to_vec(&value).ok().map(Cow::Owned);
    }
    serde_json::from_str::<IgnoredAny>(text).ok().map(|_| Cow::Borrowed(body))
}

impl Entry<'_> {
    fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        if let Some(body) = &self.body {
            // The object's last brace goes behind what is put in here.
            line.pop();
            line.extend_from_slice(b",\"body\":");
            line.extend_from_slice(body);
            line.push(b'}');
        }
        line.push(b'\n');
        Ok(line)
    }
}

/// The log. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Audit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Held while the file is written.
    log: Mutex<Log>,
    /// Held for moments only.
    line: Mutex<Line>,
    strangers: Mutex<Strangers>,
}

/// What waits for the file.
#[derive(Debug, Default)]
struct Line {
    /// Lines back to back.
    octets: Vec<u8>,
    /// One for each line.
    waiting: Vec<oneshot::Sender<io::Result<()>>>,
    /// Whether somebody writes, who will look here again.
    writes: bool,
    /// Whether there are lines that could not be written.
    trouble: bool,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// Octets that are not in the file yet.
    kept: Vec<u8>,
}

/// How many lines strangers left in the current second.
#[derive(Debug, Default)]
struct Strangers {
    second: u64,
    lines: u32,
    left_out: u32,
}

impl Audit {
    /// Opens the log, making its folder where it is missing.
    pub fn open(path: &Path) -> io::Result<Audit> {
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let file = open(path)?;
        // With the next line and not now: a full disk must not keep a server from its start.
        let kept = if is_torn(&file, path) { vec![b'\n'] } else { Vec::new() };
        let log = Mutex::new(Log { path: path.into(), file, kept });
        Ok(Audit(Arc::new(Shared { log, line: Mutex::default(), strangers: Mutex::default() })))
    }

    /// Whether a write may be tried: `Err` while earlier lines cannot be appended.
    pub async fn ready(&self) -> io::Result<()> {
        // A look costs nothing; only a log with trouble is written to here.
        if lock(&self.0.line).trouble { self.written(&[]).await } else { Ok(()) }
    }

    /// Appends a line; it is in the file when this returns `Ok`.
    pub async fn append(&self, entry: &Entry<'_>) -> io::Result<()> {
        self.written(&entry.line()?).await
    }

    /// Whether a stranger's request may leave a line now, and how many before it did not.
    pub fn admit_stranger(&self, now: Timestamp) -> Option<u32> {
        lock(&self.0.strangers).admit(now.0 / 1000)
    }

    /// Waits until these octets, and those before them, are in the file.
    async fn written(&self, octets: &[u8]) -> io::Result<()> {
        let (outcome, written) = oneshot::channel();
        let first = {
            let mut line = lock(&self.0.line);
            line.octets.extend_from_slice(octets);
            line.waiting.push(outcome);
            !std::mem::replace(&mut line.writes, true)
        };
        if first {
            let shared = self.0.clone();
            // Where waiting for a disk harms nobody.
            tokio::task::spawn_blocking(move || shared.write());
        }
        written.await.unwrap_or_else(|_| Err(io::Error::other("whoever wrote it ended early")))
    }
}

impl Shared {
    /// Writes until nothing waits.
    fn write(&self) {
        let mut log = lock(&self.log);
        loop {
            let (octets, waiting) = {
                let mut line = lock(&self.line);
                if line.waiting.is_empty() {
                    line.writes = false;
                    return;
                }
                (std::mem::take(&mut line.octets), std::mem::take(&mut line.waiting))
            };
            log.kept.extend_from_slice(&octets);
            let outcome = log.flush();
            lock(&self.line).trouble = outcome.is_err();
            for caller in waiting {
                let outcome = outcome.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()));
                // Whoever asked may have gone; the line stands.
                _ = caller.send(outcome);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic while the lock was held leaves at worst a line twice.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Appends what is kept; what could not be written stays.
    fn flush(&mut self) -> io::Result<()> {
        if !std::fs::metadata(&self.path).is_ok_and(|now| self.file.metadata().is_ok_and(|ours| same_file(&now, &ours))) {
            self.file = open(&self.path)?;
            if is_torn(&self.file, &self.path) {
                self.kept.insert(0, b'\n');
            }
        }
        let mut done = 0;
        let outcome = loop {
            let left = &self.kept[done..];
            if left.is_empty() {
                break Ok(());
            }
            match self.file.write(left) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.kept.drain(..done);
        outcome
    }
}

impl Strangers {
    fn admit(&mut self, second: u64) -> Option<u32> {
        if self.second != second {
            self.second = second;
            self.lines = 0;
        }
        if self.lines >= STRANGERS_PER_SECOND {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Opens for appending. The log names people and what they did: others on the machine need not read it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

/// Whether a file ends within a line; one that may be appended to only, not read, is taken to be whole.
fn is_torn(file: &File, path: &Path) -> bool {
    let last = || {
        let mut file = File::open(path)?;
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last).map(|()| last)
    };
    // Neither of a pipe nor of a terminal.
    file.metadata().is_ok_and(|now| now.is_file() && now.len() > 0) && last().is_ok_and(|last: [u8; 1]| last != *b"\n")
}

#[cfg(unix)]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn same_file(_one: &Metadata, _other: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry<'_> {
        Entry {
            at: Timestamp(1_700_000_000_000),
            author: "ops",
            peer: "",
            method: "PUT",
            path,
            body: None,
            status: 201,
            revision: Some(Revision(7)),
            reason: None,
            left_out: 0,
        }
    }

    fn paths(file: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].as_str().unwrap().to_string();
        text.lines().map(value).collect()
    }

    #[tokio::test]
    async fn lines_are_appended_and_rotation_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, old) = (folder.path().join("deep/audit.jsonl"), folder.path().join("deep/audit.1"));
        let audit = Audit::open(&file).unwrap();
        audit.append(&entry("/a")).await.unwrap();
        drop(audit);
        let audit = Audit::open(&file).unwrap();
        audit.append(&entry("/b")).await.unwrap();
        assert_eq!(paths(&file), ["/a", "/b"]);
        std::fs::rename(&file, &old).unwrap();
        audit.append(&entry("/c")).await.unwrap();
        assert_eq!((paths(&old), paths(&file)), (vec!["/a".into(), "/b".into()], vec!["/c".to_string()]));
    }

    #[tokio::test]
    async fn a_torn_line_spoils_none_of_those_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        let torn = "{\"at\":\"2026-";
        std::fs::write(&file, torn).unwrap();
        let audit = Audit::open(&file).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), torn, "nothing is written before there is a line");
        audit.append(&entry("/a")).await.unwrap();
        audit.append(&entry("/b")).await.unwrap();
        let rest = folder.path().join("rest");
        let behind = |text: String| std::fs::write(&rest, text.strip_prefix(&format!("{torn}\n")).unwrap()).unwrap();
        behind(std::fs::read_to_string(&file).unwrap());
        assert_eq!(paths(&rest), ["/a", "/b"]);
        // Another file that takes its place may be torn as well.
        std::fs::write(&rest, torn).unwrap();
        std::fs::rename(&rest, &file).unwrap();
        audit.append(&entry("/c")).await.unwrap();
        behind(std::fs::read_to_string(&file).unwrap());
        assert_eq!(paths(&rest), ["/c"]);
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_written_is_kept_and_stops_further_writes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sub/audit.jsonl");
        let audit = Audit::open(&file).unwrap();
        // The folder is gone: the file cannot be opened anew.
        std::fs::remove_dir_all(folder.path().join("sub")).unwrap();
        assert!(audit.append(&entry("/a")).await.is_err());
        assert!(audit.ready().await.is_err());
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        audit.ready().await.unwrap();
        assert_eq!(paths(&file), ["/a"]);
    }

    #[tokio::test]
    async fn lines_that_come_together_are_all_in_the_file_each_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        let audit = Audit::open(&file).unwrap();
        let body = b"{\n  \"a\": [1,\r\n 2], \"b\": \"x\\ny\"\n}\n";
        let paths_of: Vec<String> = (0..500).map(|n| format!("/{n}")).collect();
        let lines = paths_of.iter().map(|path| {
            let (audit, entry) = (&audit, Entry { body: one_line(body), ..entry(path) });
            async move { audit.append(&entry).await }
        });
        assert!(futures_util::future::join_all(lines).await.iter().all(Result::is_ok));
        assert_eq!(paths(&file), paths_of);
        let text = std::fs::read_to_string(&file).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["body"], serde_json::json!({"a": [1, 2], "b": "x\ny"}));
        assert_eq!(one_line(b"{\"a\": 1}").as_deref(), Some(&b"{\"a\": 1}"[..]));
        assert!(one_line(b"{").is_none() && one_line(b"\n").is_none());
    }

    #[test]
    fn strangers_cannot_fill_the_disk() {
        let mut strangers = Strangers::default();
        let admitted = (0..1000).filter(|_| strangers.admit(1).is_some()).count();
        assert_eq!(admitted, STRANGERS_PER_SECOND as usize);
        assert_eq!(strangers.admit(2), Some(1000 - STRANGERS_PER_SECOND));
        assert_eq!(strangers.admit(2), Some(0));
    }
}
