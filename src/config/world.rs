//! Everything that is served: all zone files and geo files, read and checked together.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::finding::{Finding, Notes};
use super::reread::{Kept, Origin};
use super::sources::{Source, Sources};
use super::zone::Draft;
use super::{alias, checks, geo, master, policies, references, zone};
use crate::codec::code::rtype;
use crate::model::{Geo, Name, RecordSet, Settings, Subject, Zone, copied, kept_file};

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
    /// What stands in the way of zone files as they are on disk; only where it was read again.
    pub refused: Vec<Finding>,
    /// The zone files that were not taken because of it.
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

/// What the names of files begin with that are kept of other servers' zones; no zone file's name has a `/`.
const KEPT: &str = "secondary/";

/// What was read, fit to be served or not.
pub(super) struct Reading {
    pub findings: Vec<Finding>,
    warnings: Vec<Finding>,
    zones: Vec<Zone>,
    geo: Geo,
    led: BTreeSet<Name>,
    /// Every zone file: its name, its path as findings have it, and what was read of it.
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
            sources: Sources { zones: sources, tried: BTreeMap::new() },
            led: self.led,
            refused,
            kept,
        }
    }
}

/// Reads everything; a zone file that is in `origins` is not read from disk. Where files cannot be read at all while `again` is set, only
/// that is found: what leads to such a zone is right or wrong with the texts that will stand in for it.
pub(super) fn read(settings: &Settings, origins: &BTreeMap<String, Origin>, again: bool) -> Reading {
    let mut notes = Notes::default();
    let geo = geo::read(&settings.geo_dir, &mut notes);
    let mut files = Vec::new();
    let mut drafts = zones(settings, origins, &geo, &mut files, &mut notes);
    let led = match !again || notes.findings.is_empty() {
        true => together(&mut drafts, &geo, &mut notes),
        false => BTreeSet::new(),
    };
    places(settings, &geo, &mut notes);
    signed(settings, &drafts, &files, &mut notes);
    named(settings, &drafts, &files, &mut notes);
    if drafts.is_empty() && notes.findings.is_empty() {
        if settings.file.is_none() {
            drafts.push(built_in(settings));
        } else {
            let reason = "holds no zone: every name will be refused until there is a <apex>.toml";
            notes.warnings.push(Finding::of_file(settings.zones_dir.display().to_string(), reason));
        }
    }
    notes.put_in_order();
    let kept = settings.data_dir.join(KEPT).display().to_string();
    let held = |zone: &Zone| settings.updates.contains_key(&zone.apex) || zone.file.starts_with(&kept);
    let zones = drafts.into_iter().map(|draft| Zone { held: held(&draft.zone), ..draft.zone }).collect();
    Reading { findings: notes.findings, warnings: notes.warnings, zones, geo, led, files }
}

/// What zones are beside each other: where names lead, and what must hold. Returns the apexes of the zones that anything leads to.
fn together(drafts: &mut [Draft], geo: &Geo, notes: &mut Notes) -> BTreeSet<Name> {
    alias::take(drafts, notes);
    let led = references::resolve(drafts, geo, notes);
    checks::check(drafts, notes);
    policies::look(drafts, geo, notes);
    led
}

/// Whether the places that the configuration names are declared.
fn places(settings: &Settings, geo: &Geo, notes: &mut Notes) {
    let file = || settings.file.as_ref().map_or("environment".into(), |f| f.display().to_string());
    if let Some(here) = &settings.here
        && let Err((field, reason)) = geo::known_place(geo, &here.region, Some(&here.az))
    {
        notes.findings.push(Finding { file: file(), line: None, field: format!("here.{field}"), reason });
    }
    for (name, drill) in &settings.drills {
        let place = match &drill.lose {
            Subject::Region(region) => geo::known_place(geo, region, None),
            Subject::Az(locality) => geo::known_place(geo, &locality.region, Some(&locality.az)),
            Subject::Service(_) | Subject::Instance(_) => Ok(()),
        };
        if let Err((_, reason)) = place {
            notes.findings.push(Finding { file: file(), line: None, field: format!("drills.{name}.lose"), reason });
        }
    }
}

/// Whether the zones that are signed are there, and hold nothing that comes from their keys.
fn signed(settings: &Settings, drafts: &[Draft], files: &[(String, String, Option<Arc<Source>>)], notes: &mut Notes) {
    // What a zone file says wrong is said of that file, and its zone is there all the same.
    let known: BTreeSet<Name> = files.iter().filter_map(|(name, ..)| apex_of(name)).collect();
    for (n, apex) in settings.dnssec.zones.iter().enumerate() {
        if !known.contains(apex) && !drafts.iter().any(|draft| draft.zone.apex == *apex) {
            let file = settings.file.as_ref().map_or("environment".into(), |f| f.display().to_string());
            let reason = format!("there is no zone {apex}: no {} is in {}", file_name(apex), settings.zones_dir.display());
            notes.findings.push(Finding { file, line: None, field: format!("dnssec.zones[{n}]"), reason });
        }
    }
    for draft in drafts.iter().filter(|draft| settings.dnssec.signs(&draft.zone.apex)) {
        let apex = &draft.zone.apex;
        for rtype in [rtype::DNSKEY, rtype::CDS, rtype::CDNSKEY] {
            if draft.zone.records.contains_key(&(apex.clone(), rtype)) {
                let reason = "the zone is signed here ([dnssec] in signpost.toml): its DNSKEY, CDS and CDNSKEY come from its keys; \
                              `signpost keys import` takes keys of another server";
                notes.findings.push(draft.spot(apex, rtype, 0).finding(&draft.zone.file, reason));
            }
        }
    }
}

/// Whether zones that `[update]`, `[transfer]`, `[catalog]` and `[dnssec] parent` name are here; what a catalog lists may come yet, so this is only worth a second look.
fn named(settings: &Settings, drafts: &[Draft], files: &[(String, String, Option<Arc<Source>>)], notes: &mut Notes) {
    let known: BTreeSet<Name> = files.iter().filter_map(|(name, ..)| apex_of(name)).collect();
    let is_here = |apex: &Name| {
        known.contains(apex)
            || settings.secondary.contains_key(apex)
            || settings.catalogs.contains_key(apex)
            || drafts.iter().any(|draft| draft.zone.apex == *apex)
    };
    for apex in drafts.iter().map(|draft| &draft.zone.apex).filter(|apex| settings.dnssec.signs(apex) && settings.transfer(apex).is_some())
    {
        let file = settings.file.as_ref().map_or("environment".into(), |f| f.display().to_string());
        let field = format!("transfer.\"{}\"", apex.to_string().trim_end_matches('.'));
        let reason = "the zone is signed here, and copies of it are not: signatures are made as they are asked for. What secondaries answer is \
                      bogus to whoever validates, once the parent has its DS: let them sign it, or leave [transfer] or [dnssec] away";
        notes.warnings.push(Finding { file, line: None, field, reason: reason.into() });
    }
    for (apex, path) in settings.secondary.iter().filter_map(|(apex, secondary)| Some((apex, secondary.ca.as_ref()?))) {
        // It is read anew for each transfer, so it may come yet.
        if let Err(error) = std::fs::File::open(path) {
            let file = settings.file.as_ref().map_or("environment".into(), |f| f.display().to_string());
            let field = format!("secondary.\"{}\".ca", apex.to_string().trim_end_matches('.'));
            let reason = format!("{} cannot be read: {error}; nothing is copied over TLS until it can", path.display());
            notes.warnings.push(Finding { file, line: None, field, reason });
        }
    }
    for (apex, catalog) in &settings.catalogs {
        let mut warn = |reason: String| {
            let file = settings.file.as_ref().map_or("environment".into(), |f| f.display().to_string());
            let field = format!("catalog.\"{}\"", apex.to_string().trim_end_matches('.'));
            notes.warnings.push(Finding { file, line: None, field, reason });
        };
        if known.contains(apex) || settings.secondary.contains_key(apex) {
            warn("there is a zone of that name: the catalog is not made".into());
        }
        for member in catalog.zones.iter().flatten() {
            if !is_here(member) {
                warn(format!("there is no zone {member}, so the catalog does not list it"));
            } else if settings.transfer(member).is_none() {
                warn(format!("{member} is not transferred, so the catalog does not list it: [transfer.\"ZONE\"] says to whom it is"));
            }
        }
    }
    let updates = settings.updates.keys().map(|apex| ("update", apex));
    let transfers = settings.transfer.keys().flatten().map(|apex| ("transfer", apex));
    let parents = settings.dnssec.parents.keys().flatten().map(|apex| ("dnssec.parent", apex));
    for (table, apex) in updates.chain(transfers).chain(parents).filter(|(_, apex)| !is_here(apex)) {
        let file = settings.file.as_ref().map_or("environment".into(), |f| f.display().to_string());
        let reason = format!("there is no zone {apex}: no {} is in {}", file_name(apex), settings.zones_dir.display());
        let field = format!("{table}.\"{}\"", apex.to_string().trim_end_matches('.'));
        notes.warnings.push(Finding { file, line: None, field, reason });
    }
}

/// The file of a zone, for a message.
fn file_name(apex: &Name) -> String {
    format!("{}.toml or .zone", apex.to_string().trim_end_matches('.'))
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
    let mut alone = |_: &Path| Err(io::Error::other("nothing is included here: the zone is one text"));
    let draft = match name.ends_with(".zone") {
        true => master::read(file, text, &apex, &mut alone, &mut notes),
        false => zone::read(file, text, &apex, 1, &geo, &mut notes),
    };
    let mut drafts: Vec<Draft> = draft.into_iter().collect();
    together(&mut drafts, &geo, &mut notes);
    notes.put_in_order();
    match drafts.pop() {
        Some(draft) if notes.findings.is_empty() => Ok((draft.zone, notes.warnings)),
        _ => Err(notes.findings),
    }
}

/// Whether a file of this name is a zone: what the watch looks at.
pub(super) fn is_read(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(".toml") || name.ends_with(".zone"))
}

/// Reads the zone files. `files` is told of each, and what was read of it.
fn zones(
    settings: &Settings,
    origins: &BTreeMap<String, Origin>,
    geo: &Geo,
    files: &mut Vec<(String, String, Option<Arc<Source>>)>,
    notes: &mut Notes,
) -> Vec<Draft> {
    let dir = &settings.zones_dir;
    let mut names: BTreeSet<String> = match std::fs::read_dir(dir) {
        Ok(entries) => entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect(),
        Err(error) => {
            let default = settings.file.is_none() && *dir == Settings::default().zones_dir;
            if !(default && error.kind() == io::ErrorKind::NotFound) {
                let reason = format!("{error}; this is the folder of zone files, `dir` of [zones]");
                notes.findings.push(Finding::of_file(dir.display().to_string(), reason));
            }
            return Vec::new();
        }
    };
    // One that is gone may have to stay.
    names.extend(origins.keys().cloned());
    let mut drafts: Vec<Draft> = Vec::new();
    let mut others = Vec::new();
    let mut apexes: BTreeMap<Name, String> = BTreeMap::new();
    for name in names {
        let path = dir.join(&name);
        let file = path.display().to_string();
        if name.starts_with(KEPT) {
            continue;
        }
        if !is_read(&name) {
            if unexpected(&name, &path) {
                others.push(path);
            }
            continue;
        }
        let origin = origins.get(&name);
        if matches!(origin, Some(Origin::Out)) {
            continue;
        }
        let refuse = |reason: String| Finding::of_file(&file, reason);
        let (draft, source) = match apex(&name[..name.len() - ".toml".len()]) {
            Err(reason) => (Err(refuse(reason)), None),
            Ok(apex) if apexes.contains_key(&apex) => {
                (Err(refuse(format!("is the same zone as {}; a zone is one file", apexes[&apex]))), None)
            }
            Ok(apex) => {
                let draft = match origin {
                    Some(Origin::Last(last)) => {
                        let draft = zone_file(&path, &apex, last.serial(&path), geo, &mut |path| last.recall(path), notes);
                        (draft, Some(last.clone()))
                    }
                    _ => {
                        let mut source = Source::default();
                        // Read once for its time, which is the serial where it says none.
                        let serial = source.fetch(&path).map(|_| source.serial(&path)).unwrap_or(1);
                        let draft = zone_file(&path, &apex, serial, geo, &mut |path| source.fetch(path), notes);
                        (draft, Some(Arc::new(source)))
                    }
                };
                apexes.insert(apex, file.clone());
                draft
            }
        };
        match draft {
            Ok(draft) => drafts.extend(draft),
            Err(finding) => notes.findings.push(finding),
        }
        files.push((name, file, source));
    }
    Copies { settings, origins, geo }.read(&mut drafts, &apexes, files, notes);
    // What a zone includes is not unexpected beside it.
    let included: BTreeSet<PathBuf> = files.iter().filter_map(|(_, _, s)| s.as_ref()).flat_map(|s| s.files()).map(same).collect();
    for path in others.into_iter().filter(|path| !included.contains(&same(path))) {
        let reason = "is not read: a zone is <apex>.toml, or <apex>.zone in master file format";
        notes.warnings.push(Finding::of_file(path.display().to_string(), reason));
    }
    drafts
}

/// Reads what is kept of zones that are copied from other servers.
struct Copies<'k> {
    settings: &'k Settings,
    origins: &'k BTreeMap<String, Origin>,
    geo: &'k Geo,
}

impl Copies<'_> {
    fn read(
        &self,
        drafts: &mut Vec<Draft>,
        apexes: &BTreeMap<Name, String>,
        files: &mut Vec<(String, String, Option<Arc<Source>>)>,
        notes: &mut Notes,
    ) {
        // Those that the settings name, the catalogs among them; then what these list.
        for apex in self.settings.secondary.keys() {
            self.zone(apex, drafts, apexes, files, notes);
        }
        let all = copied(&self.settings.secondary, |apex| drafts.iter().map(|draft| &draft.zone).find(|zone| zone.apex == *apex));
        for apex in all.into_iter().filter(|(_, (_, catalog))| catalog.is_some()).map(|(apex, _)| apex) {
            self.zone(&apex, drafts, apexes, files, notes);
        }
    }

    fn zone(
        &self,
        apex: &Name,
        drafts: &mut Vec<Draft>,
        apexes: &BTreeMap<Name, String>,
        files: &mut Vec<(String, String, Option<Arc<Source>>)>,
        notes: &mut Notes,
    ) {
        let path = kept_file(&self.settings.data_dir, apex);
        let file = path.display().to_string();
        if let Some(other) = apexes.get(apex) {
            let reason = format!("the zone is copied from other servers ([secondary], or a catalog), and {other} is served instead");
            return notes.warnings.push(Finding::of_file(other, reason));
        }
        let name = format!("{KEPT}{}", path.file_name().and_then(|name| name.to_str()).unwrap_or_default());
        let mut read = |fetch: &mut dyn FnMut(&Path) -> io::Result<Arc<str>>, source: Option<Arc<Source>>| {
            match zone_file(&path, apex, 1, self.geo, fetch, notes) {
                Ok(draft) => drafts.extend(draft),
                Err(finding) => notes.findings.push(finding),
            }
            files.push((name.clone(), file.clone(), source));
        };
        match self.origins.get(&name) {
            Some(Origin::Out) => {}
            Some(Origin::Last(last)) => read(&mut |path| last.recall(path), Some(last.clone())),
            None => {
                // It may not have come yet.
                let mut source = Source::default();
                if source.fetch(&path).is_ok() {
                    let source = Arc::new(source);
                    read(&mut |path| source.recall(path), Some(source.clone()));
                }
            }
        }
    }
}

/// A zone that was copied from another server, read by itself.
#[derive(Debug)]
pub struct Copied {
    /// The zone.
    pub zone: Zone,
    /// What it was read from, for [`Sources::take`].
    pub source: CopySource,
}

/// What a copied zone was read from.
#[derive(Debug)]
pub struct CopySource {
    pub(super) name: String,
    pub(super) source: Arc<Source>,
}

/// Reads what is kept of one zone that is copied, and nothing else: good for a zone that no name of another leads to, and that stands neither above nor
/// below another. `None`: nothing is kept.
///
/// # Errors
/// Everything that is wrong with it.
pub fn copy(settings: &Settings, apex: &Name) -> Result<Option<Copied>, Vec<Finding>> {
    let (mut notes, geo) = (Notes::default(), Geo::default());
    let (mut drafts, mut files) = (Vec::new(), Vec::new());
    Copies { settings, origins: &BTreeMap::new(), geo: &geo }.zone(apex, &mut drafts, &BTreeMap::new(), &mut files, &mut notes);
    together(&mut drafts, &geo, &mut notes);
    if !notes.findings.is_empty() {
        notes.put_in_order();
        return Err(notes.findings);
    }
    Ok(drafts.pop().zip(files.pop()).and_then(|(draft, (name, _, source))| {
        let zone = Zone { held: true, ..draft.zone };
        Some(Copied { zone, source: CopySource { name, source: source? } })
    }))
}

/// A path that is the same for every way to write it.
fn same(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.into())
}

/// Reads one zone file, whose texts, and those of the files it includes, come from `fetch`.
fn zone_file(
    path: &Path,
    apex: &Name,
    serial: u32,
    geo: &Geo,
    fetch: &mut dyn FnMut(&Path) -> io::Result<Arc<str>>,
    notes: &mut Notes,
) -> Result<Option<Draft>, Finding> {
    let file = path.display().to_string();
    let text = fetch(path).map_err(|error| Finding::of_file(&file, error.to_string()))?;
    Ok(match file.ends_with(".zone") {
        true => master::read(&file, &text, apex, fetch, notes),
        false => zone::read(&file, &text, apex, serial, geo, notes),
    })
}

/// The apex of the zone that a file of this name is.
pub(super) fn apex_of(name: &str) -> Option<Name> {
    apex(name.strip_suffix(".toml").or(name.strip_suffix(".zone"))?).ok()
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
