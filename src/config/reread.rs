//! Reading again what was good before: each zone, and the geo data, by itself, all or nothing.
//!
//! ```text
//! read all from disk ─▶ findings? ─none─▶ served
//!        ▲                  │ in files of a zone, or in the geo data
//!        │                  ▼
//!        └── that zone from its last good texts; left out where it never was good
//! ```
//!
//! The whole is read again each time, so that what leads from zone to zone is held against what will really be served. Where a zone
//! that did not change is wrong now, another one changed under it: then the changed zones stay as they were, first one alone, at last all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::finding::Finding;
use super::sources::{Print, Source, Sources};
use super::world::{self, Loaded, Reading};
use crate::model::Settings;

/// Changed zones of which each is tried alone; reading a world takes time.
const TRIED_ALONE: usize = 16;

/// What a zone file is read from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The texts that were good.
    Last(Arc<Source>),
    /// Nothing: it is left out.
    Out,
}

/// Reading again, and what came of it so far.
pub struct Reread {
    settings: Settings,
    last: Sources,
    origins: BTreeMap<String, Origin>,
    refused: BTreeSet<Finding>,
    /// Included files that were read for what was refused.
    tried: BTreeMap<PathBuf, Option<Print>>,
}

/// What a zone file, or the geo data, is while what is on disk cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The name of its file; that of the folder for geo data.
    pub file: String,
    /// It is in force as it was last good; else the zone is not served, for it never was.
    pub serves: bool,
}

impl Reread {
    /// Begins; `last` is what is in force.
    pub fn new(settings: Settings, last: Sources) -> Reread {
        Reread { settings, last, origins: BTreeMap::new(), refused: BTreeSet::new(), tried: BTreeMap::new() }
    }

    /// Reads everything, and takes of it what can be taken. [`Loaded::refused`] says what was not, and [`Loaded::kept`] of which zones.
    ///
    /// # Errors
    /// Where no last good texts make it whole: settings or a database are wrong. Nothing is to be taken then.
    pub fn world(&mut self) -> Result<Loaded, Vec<Finding>> {
        loop {
            let reading = world::read(&self.settings, &self.origins, true);
            if reading.findings.is_empty() {
                return Ok(self.loaded(reading));
            }
            self.note(&reading);
            let possible = self.blame(&reading) || self.go_back(&reading);
            self.refused.extend(reading.findings);
            if !possible {
                return Err(self.refused.iter().cloned().collect());
            }
        }
    }

    /// Keeps a zone as it was because of what came to light behind the reading; whether that is possible. `file` is its path.
    pub fn refuse(&mut self, finding: Finding) -> bool {
        let mut reading = world::read(&self.settings, &self.origins, true);
        self.note(&reading);
        reading.findings = vec![finding.clone()];
        let again = self.blame(&reading);
        self.refused.insert(finding);
        again
    }

    /// Remembers what was read from disk: whoever mends what is wrong changes one of these.
    fn note(&mut self, reading: &Reading) {
        let read = reading.files.iter().filter(|(name, ..)| !self.origins.contains_key(name));
        self.tried.extend(read.filter_map(|(name, _, source)| Some(source.as_ref()?.prints(name))).flatten());
    }

    /// Takes back the zones whose files the findings name; whether there was any.
    fn blame(&mut self, reading: &Reading) -> bool {
        let before = self.origins.len();
        for (name, path, source) in &reading.files {
            let named = |finding: &Finding| finding.file == *path || source.as_ref().is_some_and(|source| source.holds(&finding.file));
            if reading.findings.iter().any(named) {
                self.keep(name, source.as_deref());
                self.keep_renamed(name, reading);
            }
        }
        self.origins.len() > before
    }

    /// Reads a zone file from what was good, unless that is what it says now.
    fn keep(&mut self, name: &str, now: Option<&Source>) {
        match self.last.files.get(name) {
            Some(last) if now.is_some_and(|now| now.is_same(last)) => {}
            _ if self.origins.contains_key(name) => {}
            Some(last) => drop(self.origins.insert(name.into(), Origin::Last(last.clone()))),
            // Without geo data everything would be answered in another way.
            None if name == world::GEO => {}
            None => drop(self.origins.insert(name.into(), Origin::Out)),
        }
    }

    /// Where a file that is not taken replaces another of the same zone, as `.toml` may replace `.zone`, the zone is read from that one.
    fn keep_renamed(&mut self, name: &str, reading: &Reading) {
        let Some(apex) = world::apex_of(name).filter(|_| matches!(self.origins.get(name), Some(Origin::Out))) else { return };
        let mut gone = self.last.files.keys().filter(|was| !reading.files.iter().any(|(there, ..)| there == *was));
        if let Some(was) = gone.find(|was| world::apex_of(was).as_ref() == Some(&apex)).cloned() {
            self.keep(&was, None);
        }
    }

    /// Takes back one changed zone that makes the others whole, else all of them; whether there was any.
    fn go_back(&mut self, reading: &Reading) -> bool {
        let is_same = |name: &String, source: &Option<Arc<Source>>| match (self.last.files.get(name), source) {
            (Some(last), Some(now)) => now.is_same(last),
            _ => false,
        };
        let changed = reading.files.iter().filter(|(name, _, source)| !self.origins.contains_key(name) && !is_same(name, source));
        let gone = self.last.files.keys().filter(|name| !reading.files.iter().any(|(there, ..)| there == *name));
        let candidates: Vec<String> = changed.map(|(name, ..)| name.clone()).chain(gone.cloned()).collect();
        let before = self.origins.clone();
        let alone = candidates.iter().take(TRIED_ALONE).find(|name| {
            let mut one = Reread { origins: before.clone(), ..Reread::new(self.settings.clone(), self.last.clone()) };
            one.keep(name, None);
            one.keep_renamed(name, reading);
            world::read(&one.settings, &one.origins, true).findings.is_empty()
        });
        let taken_back = alone.map_or(candidates.as_slice(), std::slice::from_ref);
        for name in taken_back {
            self.keep(name, None);
            self.keep_renamed(name, reading);
        }
        self.origins.len() > before.len()
    }

    fn loaded(&self, reading: Reading) -> Loaded {
        let kept = self.origins.iter().map(|(name, origin)| Kept {
            file: if name == world::GEO { self.settings.geo_dir.display().to_string() } else { name.clone() },
            serves: matches!(origin, Origin::Last(_)),
        });
        let mut loaded = Loaded { refused: self.refused.iter().cloned().collect(), kept: kept.collect(), ..reading.loaded() };
        loaded.sources.tried = self.tried.clone();
        loaded
    }
}
