//! Tables of `signpost.toml` that speak of places and zones, held against those that there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::apex_of;
use crate::codec::code::rtype;
use crate::config::finding::{Finding, Notes};
use crate::config::geo;
use crate::config::sources::Source;
use crate::config::zone::Draft;
use crate::model::{Geo, Name, Settings, Subject};

/// Whether the places that the configuration names are declared.
pub(super) fn places(settings: &Settings, geo: &Geo, notes: &mut Notes) {
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

/// Whether names lead into zones that updates change: they are what the files say, once these are read.
pub(super) fn changed(settings: &Settings, drafts: &[Draft], led: &BTreeSet<Name>, notes: &mut Notes) {
    for Draft { zone, .. } in
        drafts.iter().filter(|draft| led.contains(&draft.zone.apex) && settings.updates.contains_key(&draft.zone.apex))
    {
        let reason =
            "an ALIAS or a branch leads to a name of this zone, and answers what its file says, whatever updates ([update]) change of it";
        notes.warnings.push(Finding::of_file(&zone.file, reason));
    }
}

/// Whether the zones that are signed are there, and hold nothing that comes from their keys.
pub(super) fn signed(settings: &Settings, drafts: &[Draft], files: &[(String, String, Option<Arc<Source>>)], notes: &mut Notes) {
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
        if draft.zone.is_signed_elsewhere() {
            // Where all zones are signed, those are meant that are not.
            if settings.dnssec.zones.contains(apex) {
                let reason = "its primary has signed it, and [dnssec] in signpost.toml names it too: leave it out there, and it is served as it is; \
                              or copy it from before it is signed";
                notes.findings.push(Finding::of_file(&draft.zone.file, reason));
            }
            continue;
        }
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
pub(super) fn named(settings: &Settings, drafts: &[Draft], files: &[(String, String, Option<Arc<Source>>)], notes: &mut Notes) {
    let known: BTreeSet<Name> = files.iter().filter_map(|(name, ..)| apex_of(name)).collect();
    let is_here = |apex: &Name| {
        known.contains(apex)
            || settings.secondary.contains_key(apex)
            || settings.catalogs.contains_key(apex)
            || drafts.iter().any(|draft| draft.zone.apex == *apex)
    };
    let signed_here =
        drafts.iter().map(|draft| &draft.zone).filter(|zone| settings.dnssec.signs(&zone.apex) && !zone.is_signed_elsewhere());
    for apex in signed_here.map(|zone| &zone.apex).filter(|apex| settings.transfer(apex).is_some()) {
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
