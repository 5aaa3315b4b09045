//! Everything that is served: all zone files and geo files, read and checked together.

mod copies;
mod files;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub(super) use self::copies::KEPT;
pub use self::copies::{Copied, CopySource, copy};
pub(super) use self::files::{apex_of, is_read};
pub use self::files::{copied_text, zone_text};
use super::copying::Copying;
use super::finding::{Finding, Notes};
use super::reread::{Kept, Origin};
use super::sources::{Source, Sources};
use super::zone::Draft;
use super::{alias, checks, geo, policies, references};
use crate::model::{Geo, Name, RecordSet, Settings, Zone};

/// What stands for the geo folder where zone files have their names; no zone file's name has a `/`.
pub(super) const GEO: &str = "geo/";

/// A world without anything that stands in the way of serving it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The zones, in the order of their files.
    pub zones: Vec<Zone>,
    /// Regions, networks, latencies and databases.
    pub geo: Geo,
    /// What deserves a second look.
    pub warnings: Vec<Finding>,
    /// What the zones were read from.
    pub sources: Sources,
    /// The apexes of zones that names of these or other zones lead to: what those are was read from these.
    pub led: BTreeSet<Name>,
    /// What stands in the way of files as they are on disk; only where something was good before.
    pub refused: Vec<Finding>,
    /// The zone files, and the geo data, that were not taken because of it.
    pub kept: Vec<Kept>,
}

/// Reads all of the zones folder and the geo folder that `settings` name.
///
/// Without a config file and without zone files there is one zone, `service.internal`, which shows registered services.
///
/// # Errors
/// Everything that is wrong, in all files, in the order of files and lines.
pub fn world(settings: &Settings) -> Result<Loaded, Vec<Finding>> {
    let (mut origins, mut left_out) = (BTreeMap::new(), Vec::new());
    loop {
        let mut reading = read(settings, &origins, false);
        // What was copied from another server is nobody's file: it never keeps this one from starting, and is copied again.
        let (kept, others): (Vec<Finding>, Vec<Finding>) = std::mem::take(&mut reading.findings)
            .into_iter()
            .partition(|finding| reading.files.iter().any(|(name, path, _)| name.starts_with(KEPT) && *path == finding.file));
        if kept.is_empty() {
            reading.warnings.append(&mut left_out);
            return if others.is_empty() { Ok(reading.loaded()) } else { Err(others) };
        }
        for finding in kept {
            let of = |(name, path, _): &&(String, String, _)| name.starts_with(KEPT) && *path == finding.file;
            if let Some((name, ..)) = reading.files.iter().find(of) {
                origins.insert(name.clone(), Origin::Out);
            }
            left_out.push(finding);
        }
    }
}

/// What was read, fit to be served or not.
pub(super) struct Reading {
    pub findings: Vec<Finding>,
    warnings: Vec<Finding>,
    zones: Vec<Zone>,
    geo: Geo,
    led: BTreeSet<Name>,
    /// The geo folder and every zone file: its name, its path as findings have it, and what was read of it.
    pub files: Vec<(String, String, Option<Arc<Source>>)>,
}

impl Reading {
    pub fn loaded(self) -> Loaded {
        let sources = self.files.into_iter().filter_map(|(name, _, source)| Some((name, source?))).collect();
        let (refused, kept) = (Vec::new(), Vec::new());
        Loaded {
            zones: self.zones,
            geo: self.geo,
            warnings: self.warnings,
            sources: Sources { files: sources, tried: BTreeMap::new() },
            led: self.led,
            refused,
            kept,
        }
    }
}

/// Reads everything; what is in `origins` is not read from disk. Where files cannot be read at all while `again` is set, only
/// that is found: what leads to such a zone is right or wrong with the texts that will stand in for it.
pub(super) fn read(settings: &Settings, origins: &BTreeMap<String, Origin>, again: bool) -> Reading {
    let mut notes = Notes::default();
    let last = match origins.get(GEO) {
        Some(Origin::Last(last)) => Some(last),
        _ => None,
    };
    let (geo, source) = geo::read(&settings.geo_dir, last, &mut notes);
    let mut files = vec![(GEO.to_string(), settings.geo_dir.display().to_string(), Some(source))];
    let copying = Copying::of(settings);
    let mut drafts = files::zones(settings, origins, &geo, &mut files, &mut notes);
    let led = match !again || notes.findings.is_empty() {
        true => together(&mut drafts, &geo, &copying, &mut notes),
        false => BTreeSet::new(),
    };
    tables::places(settings, &geo, &mut notes);
    tables::changed(settings, &drafts, &led, &mut notes);
    tables::signed(settings, &drafts, &files, &mut notes);
    tables::named(settings, &drafts, &files, &mut notes);
    if drafts.is_empty() && notes.findings.is_empty() {
        if settings.file.is_none() {
            drafts.push(built_in(settings));
        } else {
            let reason = "holds no zone: every name will be refused until there is a <apex>.toml";
            notes.warnings.push(Finding::of_file(settings.zones_dir.display().to_string(), reason));
        }
    }
    notes.put_in_order();
    let held = |draft: &Draft| settings.updates.contains_key(&draft.zone.apex) || copying.kept(draft);
    let zones = drafts.into_iter().map(|draft| Zone { held: held(&draft), ..draft.zone }).collect();
    Reading { findings: notes.findings, warnings: notes.warnings, zones, geo, led, files }
}

/// What zones are beside each other: where names lead, and what must hold. Returns the apexes of the zones that anything leads to.
fn together(drafts: &mut [Draft], geo: &Geo, copying: &Copying, notes: &mut Notes) -> BTreeSet<Name> {
    alias::take(drafts, notes);
    let led = references::resolve(drafts, geo, copying, notes);
    checks::check(drafts, notes);
    policies::look(drafts, geo, notes);
    led
}

/// The zone of a server that nobody configured: it shows what is registered.
fn built_in(settings: &Settings) -> Draft {
    let apex = Name::from_wire(b"\x07service\x08internal\0");
    let mut draft = Draft::new("the built-in zone", &apex, 1);
    let zone = &mut draft.zone;
    zone.services = true;
    if let Some(ns) = apex.child(b"ns") {
        for address in settings.dns.listen.iter().map(|a| a.ip()) {
            let (rtype, octets): (u16, Box<[u8]>) = match address {
                IpAddr::V4(v4) if v4.is_unspecified() => (1, [127, 0, 0, 1].into()),
                IpAddr::V4(v4) => (1, v4.octets().into()),
                IpAddr::V6(v6) if v6.is_unspecified() => (28, std::net::Ipv6Addr::LOCALHOST.octets().into()),
                IpAddr::V6(v6) => (28, v6.octets().into()),
            };
            let ttl = u32::try_from(zone.ttl.max.0.as_secs()).unwrap_or(u32::MAX);
            let set = zone.records.entry((ns.clone(), rtype)).or_insert(RecordSet { ttl, rdata: Vec::new() });
            if !set.rdata.contains(&octets) {
                set.rdata.push(octets);
            }
        }
        zone.soa.primary = ns.clone();
        zone.ns.push(ns);
    }
    draft
}
