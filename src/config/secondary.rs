//! `[secondary."ZONE"]`: zones that are copied from other servers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::Item;
use super::finding::Finding;
use super::transfer::{Named, peers};
use crate::model::{Name, SecondarySettings};

/// Reads the tables; relative paths of files are relative to `base`. `named` is told of the keys in them.
pub(super) fn read(
    table: &Item<'_>,
    base: &Path,
    named: &mut Vec<Named>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<Name, SecondarySettings> {
    let mut zones = BTreeMap::new();
    let Some(entries) = table.entries() else {
        findings.push(table.finding("", "secondaries are written as [secondary.\"ZONE\"] tables"));
        return zones;
    };
    for (zone, item) in entries {
        item.only_keys(&["primaries", "catalog", "ca"], findings);
        let apex = match Name::parse(zone) {
            Ok(apex) if apex == Name::root() => {
                findings.push(item.finding("", "the root zone cannot be copied"));
                continue;
            }
            Ok(apex) => apex,
            Err(error) => {
                findings.push(item.finding("", format!("a zone's name is expected: {error}")));
                continue;
            }
        };
        let before = findings.len();
        let primaries = peers(&item, "primaries", named, findings);
        if primaries.is_empty() && findings.len() == before {
            findings.push(item.finding("", "`primaries` is missing: the zone comes from nowhere"));
        }
        let catalog = item.get("catalog").and_then(|flag| flag.read(&[], findings)).unwrap_or(false);
        let ca = item.get("ca").and_then(|path| path.read::<PathBuf>(&[], findings)).map(|path| base.join(path));
        if ca.is_some() && !primaries.iter().any(|peer| peer.tls.is_some()) && findings.len() == before {
            findings.push(item.finding("ca", "goes with a primary that is asked over TLS: \"tls://192.0.2.1#ns1.example.net\""));
        }
        if zones.insert(apex, SecondarySettings { primaries, catalog, ca }).is_some() {
            findings.push(item.finding("", "the zone stands twice"));
        }
    }
    zones
}
