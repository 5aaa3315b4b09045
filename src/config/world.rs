//! Everything that is served: all zone files and geo files, read and checked together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::finding::{Finding, Notes};
use super::zone::Draft;
use super::{alias, checks, geo, master, policies, references, zone};
use crate::model::{Geo, Name, RecordSet, Settings, Subject, Zone};

/// A world without anything that stands in the way of serving it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The zones, in the order of their files.
    pub zones: Vec<Zone>,
    /// Regions, networks, latencies and databases.
    pub geo: Geo,
    /// What deserves a second look.
    pub warnings: Vec<Finding>,
}

/// Reads all of the zones folder and the geo folder that `settings` name.
///
/// Without a config file and without zone files there is one zone, `service.internal`, which shows registered services.
///
/// # Errors
/// Everything that is wrong, in all files, in the order of files and lines.
pub fn world(settings: &Settings) -> Result<Loaded, Vec<Finding>> {
    let mut notes = Notes::default();
    let geo = geo::read(&settings.geo_dir, &mut notes);
    let mut drafts = zones(settings, &geo, &mut notes);
    alias::take(&mut drafts, &mut notes);
    references::resolve(&mut drafts, &geo, &mut notes);
    checks::check(&drafts, &mut notes);
    policies::look(&drafts, &geo, &mut notes);
    let file = || settings.file.as_ref().map_or("environment".into(), |f| f.display().to_string());
    if let Some(here) = &settings.here
        && let Err((field, reason)) = geo::known_place(&geo, &here.region, Some(&here.az))
    {
        notes.findings.push(Finding { file: file(), line: None, field: format!("here.{field}"), reason });
    }
    for (name, drill) in &settings.drills {
        let place = match &drill.lose {
            Subject::Region(region) => geo::known_place(&geo, region, None),
            Subject::Az(locality) => geo::known_place(&geo, &locality.region, Some(&locality.az)),
            Subject::Service(_) | Subject::Instance(_) => Ok(()),
        };
        if let Err((_, reason)) = place {
            notes.findings.push(Finding { file: file(), line: None, field: format!("drills.{name}.lose"), reason });
        }
    }
    if drafts.is_empty() && notes.findings.is_empty() {
        if settings.file.is_none() {
            drafts.push(built_in(settings));
        } else {
            let reason = "holds no zone: every name will be refused until there is a <apex>.toml";
            notes.warnings.push(Finding::of_file(settings.zones_dir.display().to_string(), reason));
        }
    }
    notes.findings.sort();
    notes.findings.dedup();
    notes.warnings.sort();
    match notes.findings.is_empty() {
        true => Ok(Loaded { zones: drafts.into_iter().map(|d| d.zone).collect(), geo, warnings: notes.warnings }),
        false => Err(notes.findings),
    }
}

/// Reads one zone from its text, without any folder: `file` is `<apex>.toml` or `<apex>.zone`, and says which form it has. Places are
/// made on use. Returns the zone and what deserves a second look.
///
/// # Errors
/// Everything that is wrong, in the order of lines.
pub fn zone_text(file: &str, text: &str) -> Result<(Zone, Vec<Finding>), Vec<Finding>> {
    let (mut notes, geo) = (Notes::default(), Geo::default());
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(file);
    let stem = name.strip_suffix(".zone").or(name.strip_suffix(".toml")).unwrap_or(name);
    let apex = apex(stem).map_err(|reason| vec![Finding::of_file(file, reason)])?;
    let draft = match name.ends_with(".zone") {
        true => master::read(file, text, &apex, &mut notes),
        false => zone::read(file, text, &apex, 1, &geo, &mut notes),
    };
    let mut drafts: Vec<Draft> = draft.into_iter().collect();
    alias::take(&mut drafts, &mut notes);
    references::resolve(&mut drafts, &geo, &mut notes);
    checks::check(&drafts, &mut notes);
    policies::look(&drafts, &geo, &mut notes);
    notes.findings.sort();
    notes.findings.dedup();
    notes.warnings.sort();
    match drafts.pop() {
        Some(draft) if notes.findings.is_empty() => Ok((draft.zone, notes.warnings)),
        _ => Err(notes.findings),
    }
}

/// Whether a file of this name is a zone: what the watch looks at.
pub(super) fn is_read(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(".toml") || name.ends_with(".zone"))
}

fn zones(settings: &Settings, geo: &Geo, notes: &mut Notes) -> Vec<Draft> {
    let dir = &settings.zones_dir;
    let shown = dir.display().to_string();
    let mut names: Vec<String> = match std::fs::read_dir(dir) {
        Ok(entries) => entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect(),
        Err(error) => {
            let default = settings.file.is_none() && *dir == Settings::default().zones_dir;
            if !(default && error.kind() == std::io::ErrorKind::NotFound) {
                let reason = format!("{error}; this is the folder of zone files, `dir` of [zones]");
                notes.findings.push(Finding::of_file(shown, reason));
            }
            return Vec::new();
        }
    };
    names.sort();
    let mut drafts: Vec<Draft> = Vec::new();
    let mut files: BTreeMap<Name, String> = BTreeMap::new();
    for name in &names {
        let path = dir.join(name);
        let file = path.display().to_string();
        if !is_read(name) {
            if unexpected(name, &path) {
                notes.warnings.push(Finding::of_file(file, "is not read: a zone is <apex>.toml, or <apex>.zone in master file format"));
            }
            continue;
        }
        let stem = &name[..name.len() - ".toml".len()];
        let apex = match apex(stem) {
            Ok(apex) => apex,
            Err(reason) => {
                notes.findings.push(Finding::of_file(file, reason));
                continue;
            }
        };
        if let Some(first) = files.get(&apex) {
            notes.findings.push(Finding::of_file(file, format!("is the same zone as {first}; a zone is one file")));
            continue;
        }
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                notes.findings.push(Finding::of_file(file, error.to_string()));
                continue;
            }
        };
        files.insert(apex.clone(), file.clone());
        drafts.extend(match name.ends_with(".zone") {
            true => master::read(&file, &text, &apex, notes),
            false => zone::read(&file, &text, &apex, modified(&path), geo, notes),
        });
    }
    drafts
}

/// The file name is the apex.
fn apex(stem: &str) -> Result<Name, String> {
    // `\` for the escapes of RFC 2317 names such as 0\04725.2.0.192.in-addr.arpa.
    if let Some(c) = stem.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '\\'))) {
        return Err(format!("the file's name is the zone's, and {c:?} is in none"));
    }
    Name::parse(stem).map_err(|error| format!("the file's name is the zone's: {error}"))
}

/// Whether a file that is no zone may have been meant as one. What editors and people leave beside the zones was not.
fn unexpected(name: &str, path: &Path) -> bool {
    const HARMLESS: [&str; 9] = [".md", ".example", ".bak", ".orig", ".swp", ".tmp", ".disabled", ".rej", "~"];
    let lower = name.to_ascii_lowercase();
    !name.starts_with(['.', '#']) && !HARMLESS.iter().any(|end| lower.ends_with(end)) && lower.contains('.') && path.is_file()
}

/// The serial of a zone file that names none: the second in which it was written, so that it grows (RFC 1912 §2.2 knows the idea).
fn modified(path: &Path) -> u32 {
    let modified = std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let seconds = modified.and_then(|m| m.duration_since(UNIX_EPOCH).ok()).map_or(1, |d| d.as_secs());
    // The low 32 bits: serials are compared in a circle (RFC 1982).
    (seconds as u32).max(1)
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
