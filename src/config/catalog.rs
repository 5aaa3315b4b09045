//! `[catalog."ZONE"]`: catalogs of zones that are transferred.

use std::collections::{BTreeMap, BTreeSet};

use super::document::Item;
use super::finding::Finding;
use crate::model::{CatalogSettings, Name};

/// Reads the tables.
pub(super) fn read(table: &Item<'_>, findings: &mut Vec<Finding>) -> BTreeMap<Name, CatalogSettings> {
    let mut catalogs = BTreeMap::new();
    let Some(entries) = table.entries() else {
        findings.push(table.finding("", "catalogs are written as [catalog.\"ZONE\"] tables"));
        return catalogs;
    };
    for (zone, item) in entries {
        item.only_keys(&["zones"], findings);
        let apex = match Name::parse(zone) {
            Ok(apex) => apex,
            Err(error) => {
                findings.push(item.finding("", format!("a zone's name is expected: {error}")));
                continue;
            }
        };
        let zones = item.get("zones").and_then(|list| {
            let texts: Vec<String> = list.read(&[], findings)?;
            let mut zones = BTreeSet::new();
            for text in texts {
                match Name::parse(&text) {
                    Ok(name) => _ = zones.insert(name),
                    Err(error) => findings.push(list.finding("", format!("{text:?} is no zone's name: {error}"))),
                }
            }
            Some(zones)
        });
        if catalogs.insert(apex, CatalogSettings { zones }).is_some() {
            findings.push(item.finding("", "the catalog stands twice"));
        }
    }
    catalogs
}
