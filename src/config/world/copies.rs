//! What is kept of zones that are copied from other servers: read with all others, or one by itself.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::files::zone_file;
use super::together;
use crate::config::copying::Copying;
use crate::config::finding::{Finding, Notes};
use crate::config::master::From;
use crate::config::reread::Origin;
use crate::config::sources::Source;
use crate::config::zone::Draft;
use crate::model::{Geo, Name, Settings, Zone, copied, kept_file};

/// What the names of files begin with that are kept of other servers' zones; no zone file's name has a `/`.
pub(in crate::config) const KEPT: &str = "secondary/";

/// A zone that was copied from another server, read by itself.
#[derive(Debug)]
pub struct Copied {
    /// The zone.
    pub zone: Zone,
    /// What it was read from, for [`Sources::take`](super::Sources::take).
    pub source: CopySource,
}

/// What a copied zone was read from.
#[derive(Debug)]
pub struct CopySource {
    pub(in crate::config) name: String,
    pub(in crate::config) source: Arc<Source>,
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
    together(&mut drafts, &geo, &Copying::of(settings), &mut notes);
    if !notes.findings.is_empty() {
        notes.put_in_order();
        return Err(notes.findings);
    }
    Ok(drafts.pop().zip(files.pop()).and_then(|(draft, (name, _, source))| {
        let zone = Zone { held: true, ..draft.zone };
        Some(Copied { zone, source: CopySource { name, source: source? } })
    }))
}

/// Reads what is kept of zones that are copied from other servers.
pub(super) struct Copies<'k> {
    pub(super) settings: &'k Settings,
    pub(super) origins: &'k BTreeMap<String, Origin>,
    pub(super) geo: &'k Geo,
}

impl Copies<'_> {
    pub(super) fn read(
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
            match zone_file(&path, apex, From::Primary, 1, self.geo, fetch, notes) {
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
