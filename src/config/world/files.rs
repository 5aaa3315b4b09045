//! The folder of zone files: which files are zones, and each of them read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::copies::{Copies, KEPT};
use super::{GEO, together};
use crate::config::copying::Copying;
use crate::config::finding::{Finding, Notes};
use crate::config::master::From;
use crate::config::reread::Origin;
use crate::config::sources::Source;
use crate::config::zone::Draft;
use crate::config::{master, zone};
use crate::model::{Geo, Name, Settings, Zone};

/// Reads one zone from its text, without any folder: `file` is `<apex>.toml` or `<apex>.zone`, and says which form it has. Places are
/// made on use. Returns the zone and what deserves a second look.
///
/// # Errors
/// Everything that is wrong, in the order of lines.
pub fn zone_text(file: &str, text: &str) -> Result<(Zone, Vec<Finding>), Vec<Finding>> {
    text_from(From::Operator, file, text)
}

/// The same of a zone that was copied from its primary, which may have signed it.
///
/// # Errors
/// As those of [`zone_text`].
pub fn copied_text(file: &str, text: &str) -> Result<(Zone, Vec<Finding>), Vec<Finding>> {
    text_from(From::Primary, file, text)
}

fn text_from(from: From, file: &str, text: &str) -> Result<(Zone, Vec<Finding>), Vec<Finding>> {
    let (mut notes, geo) = (Notes::default(), Geo::default());
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(file);
    let stem = name.strip_suffix(".zone").or(name.strip_suffix(".toml")).unwrap_or(name);
    let apex = apex(stem).map_err(|reason| vec![Finding::of_file(file, reason)])?;
    let mut alone = |_: &Path| Err(io::Error::other("nothing is included here: the zone is one text"));
    let draft = match name.ends_with(".zone") {
        true => master::read(file, text, &apex, from, &mut alone, &mut notes),
        false => zone::read(file, text, &apex, 1, &geo, &mut notes),
    };
    let mut drafts: Vec<Draft> = draft.into_iter().collect();
    together(&mut drafts, &geo, &Copying::default(), &mut notes);
    notes.put_in_order();
    match drafts.pop() {
        Some(draft) if notes.findings.is_empty() => Ok((draft.zone, notes.warnings)),
        _ => Err(notes.findings),
    }
}

/// Whether a file of this name is a zone: what the watch looks at.
pub(in crate::config) fn is_read(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(".toml") || name.ends_with(".zone"))
}

/// The apex of the zone that a file of this name is.
pub(in crate::config) fn apex_of(name: &str) -> Option<Name> {
    apex(name.strip_suffix(".toml").or(name.strip_suffix(".zone"))?).ok()
}

/// Reads the zone files. `files` is told of each, and what was read of it.
pub(super) fn zones(
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
        if name.starts_with(KEPT) || name == GEO {
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
                        let draft = zone_file(&path, &apex, From::Operator, last.serial(&path), geo, &mut |path| last.recall(path), notes);
                        (draft, Some(last.clone()))
                    }
                    _ => {
                        let mut source = Source::default();
                        // Read once for its time, which is the serial where it says none.
                        let serial = source.fetch(&path).map(|_| source.serial(&path)).unwrap_or(1);
                        let draft = zone_file(&path, &apex, From::Operator, serial, geo, &mut |path| source.fetch(path), notes);
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

/// Reads one zone file, whose texts, and those of the files it includes, come from `fetch`.
pub(super) fn zone_file(
    path: &Path,
    apex: &Name,
    from: From,
    serial: u32,
    geo: &Geo,
    fetch: &mut dyn FnMut(&Path) -> io::Result<Arc<str>>,
    notes: &mut Notes,
) -> Result<Option<Draft>, Finding> {
    let file = path.display().to_string();
    let text = fetch(path).map_err(|error| Finding::of_file(&file, error.to_string()))?;
    Ok(match file.ends_with(".zone") {
        true => master::read(&file, &text, apex, from, fetch, notes),
        false => zone::read(&file, &text, apex, serial, geo, notes),
    })
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

/// A path that is the same for every way to write it.
fn same(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.into())
}
