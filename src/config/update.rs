//! `[update."ZONE"]`: who may change records of a zone over DNS (RFC 2136).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::document::Item;
use super::finding::Finding;
use super::rdata;
use super::transfer::{Named, named_key};
use crate::model::{Name, NamePattern, UpdateRight, UpdateTypes};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RightFields {
    key: String,
    names: Vec<String>,
    types: Vec<String>,
}

/// Reads the tables. `named` is told of the keys in them.
pub(super) fn read(table: &Item<'_>, named: &mut Vec<Named>, findings: &mut Vec<Finding>) -> BTreeMap<Name, Vec<UpdateRight>> {
    let mut zones = BTreeMap::new();
    let Some(entries) = table.entries() else {
        findings.push(table.finding("", "rights are written as [update.\"ZONE\"] tables"));
        return zones;
    };
    for (zone, item) in entries {
        item.only_keys(&["rights"], findings);
        let apex = match Name::parse(zone) {
            Ok(apex) => apex,
            Err(error) => {
                findings.push(item.finding("", format!("a zone's name is expected: {error}")));
                continue;
            }
        };
        let Some(list) = item.get("rights") else {
            if item.entries().is_some_and(|entries| entries.is_empty()) {
                findings.push(item.finding("", "`rights` is missing: nobody could change the zone"));
            }
            continue;
        };
        let Some(elements) = list.elements() else {
            findings.push(list.finding("", "a list is expected: [{ key = \"…\", names = [\"…\"], types = [\"…\"] }]"));
            continue;
        };
        let rights = elements.iter().filter_map(|element| right(element, named, findings)).collect();
        if zones.insert(apex, rights).is_some() {
            findings.push(item.finding("", "the zone stands twice"));
        }
    }
    zones
}

fn right(item: &Item<'_>, named: &mut Vec<Named>, findings: &mut Vec<Finding>) -> Option<UpdateRight> {
    let fields: RightFields = item.read(&[], findings)?;
    let before = findings.len();
    let key =
        Name::parse(&fields.key).map_err(|error| findings.push(item.finding("key", format!("the name of a key is expected: {error}"))));
    if let Ok(key) = &key {
        named.push(named_key(item, "key", key.clone()));
    }
    for (field, list) in [("names", &fields.names), ("types", &fields.types)] {
        if list.is_empty() {
            findings.push(item.finding(field, "at least one is needed"));
        }
    }
    let mut names = Vec::new();
    for (n, text) in fields.names.iter().enumerate() {
        match NamePattern::parse(text) {
            Ok(pattern) => names.push(pattern),
            Err(error) => findings.push(item.finding(&format!("names[{n}]"), error.expected)),
        }
    }
    let mut types = UpdateTypes::These(Default::default());
    for (n, text) in fields.types.iter().enumerate() {
        if text.eq_ignore_ascii_case("ANY") {
            types = UpdateTypes::Every;
            continue;
        }
        match rdata::stored_type(text) {
            Ok(number) => {
                if let UpdateTypes::These(types) = &mut types {
                    types.insert(number);
                }
            }
            Err(reason) => findings.push(item.finding(&format!("types[{n}]"), reason)),
        }
    }
    (findings.len() == before).then_some(UpdateRight { key: key.ok()?, names, types })
}
