//! The texts that zones are read from: those on disk now, and those that were good the last time.
//!
//! A zone is read from its file and from those that it includes. All of them are kept as long as the zone is served, so that a zone whose
//! files are broken can be read again as it was, against whatever else has changed meanwhile.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::lexer;
use super::master::MAX_TEXT;
use super::world::CopySource;

/// What every zone in force was read from, by the name of its file, and the geo data, by `geo/`.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub(super) files: BTreeMap<String, Arc<Source>>,
    /// Other files that were read and not taken, as they were just before: what is wrong may be mended in them.
    pub(super) tried: BTreeMap<PathBuf, Option<Print>>,
}

/// What one zone, or the geo data, was read from.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) texts: BTreeMap<PathBuf, Text>,
}

#[derive(Debug)]
pub(super) struct Text {
    /// `None`: it could not be read.
    pub text: Option<Arc<str>>,
    pub print: Option<Print>,
}

/// All that is compared of a file to tell whether it changed: its path, time, size and inode.
pub(super) type Print = (PathBuf, Option<SystemTime>, u64, u64);

impl Sources {
    /// Takes what one copied zone is read from by now.
    pub fn take(&mut self, copy: CopySource) {
        self.files.insert(copy.name, copy.source);
    }

    /// The files that zones include, or would had they been taken, as they were just before they were read.
    pub(super) fn included(&self) -> BTreeMap<PathBuf, Option<Print>> {
        let mut files: BTreeMap<_, _> = self.files.iter().flat_map(|(name, source)| source.prints(name)).collect();
        // Of files that are read both ways these are the later ones.
        files.extend(self.tried.clone());
        files
    }
}

impl Source {
    /// Reads a file and keeps its text.
    pub fn fetch(&mut self, path: &Path) -> io::Result<Arc<str>> {
        // First its print: what changes while it is read has changed since.
        let print = print(path);
        let text = read_text(path).map(Arc::from);
        let kept = Text { text: text.as_ref().ok().cloned(), print };
        self.texts.insert(path.into(), kept);
        text
    }

    /// The text of a file as it was.
    pub fn recall(&self, path: &Path) -> io::Result<Arc<str>> {
        let text = self.texts.get(path).and_then(|text| text.text.clone());
        text.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "was not part of the zone when it was last good"))
    }

    /// Whether a file was part of it.
    pub fn has(&self, path: &Path) -> bool {
        self.texts.contains_key(path)
    }

    /// The files besides the zone's own, which has the name `name`, as they were just before they were read.
    pub fn prints<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (PathBuf, Option<Print>)> + 's {
        // What is kept of another server's zone has a folder in its name.
        let own = name.rsplit('/').next();
        let others = self.texts.iter().filter(move |(path, _)| path.file_name().and_then(|n| n.to_str()) != own);
        others.map(|(path, text)| (path.clone(), text.print.clone()))
    }

    /// Whether both have the same texts.
    pub fn is_same(&self, other: &Source) -> bool {
        let texts = |source: &Source| source.texts.iter().map(|(path, text)| (path.clone(), text.text.clone())).collect::<Vec<_>>();
        texts(self) == texts(other)
    }

    /// Whether a finding in `file`, as findings name files, is about this zone.
    pub fn holds(&self, file: &str) -> bool {
        self.texts.keys().any(|path| path.display().to_string() == file)
    }

    /// The files it was read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.texts.keys().map(PathBuf::as_path)
    }

    /// The serial of a zone file that names none: the second in which it was written, so that it grows (RFC 1912 §2.2 knows the idea).
    pub fn serial(&self, path: &Path) -> u32 {
        let modified = self.texts.get(path).and_then(|text| text.print.as_ref()?.1);
        let seconds = modified.and_then(|m| m.duration_since(UNIX_EPOCH).ok()).map_or(1, |d| d.as_secs());
        // The low 32 bits: serials are compared in a circle (RFC 1982).
        (seconds as u32).max(1)
    }
}

/// The text of a zone file, or of one that it includes.
fn read_text(path: &Path) -> io::Result<String> {
    match path.extension().is_some_and(|end| end == "toml") {
        true => read_toml(path),
        false => read_file(path, MAX_TEXT).map(lexer::text),
    }
}

/// The text of a file in TOML.
pub(super) fn read_toml(path: &Path) -> io::Result<String> {
    let octets = read_file(path, MAX_TEXT)?;
    String::from_utf8(octets).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "TOML is UTF-8, and this is not"))
}

/// The octets of a file, at most so many.
pub(super) fn read_file(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    // Before it is opened: opening a FIFO waits for whoever writes to it, and devices never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    // It may grow while it is read.
    let mut octets = Vec::new();
    std::fs::File::open(path)?.take((most as u64).saturating_add(1)).read_to_end(&mut octets)?;
    match octets.len() <= most {
        true => Ok(octets),
        false => Err(io::Error::other(format!("is longer than {} MiB", most >> 20))),
    }
}

/// What is compared of a file; `None` where it is not there. Through symbolic links: a Kubernetes config map changes behind one.
pub(super) fn print(path: &Path) -> Option<Print> {
    let metadata = std::fs::metadata(path).ok()?;
    match metadata.is_dir() {
        true => Some((path.into(), None, 0, inode(&metadata))),
        false => Some((path.into(), metadata.modified().ok(), metadata.len(), inode(&metadata))),
    }
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}
