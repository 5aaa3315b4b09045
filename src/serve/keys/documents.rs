//! Keys as the API shows them.

use super::looks::{Look, look_every};
use super::{SignedZone, timing};
use crate::api::{KeyDocument, NextStep, ZoneKeysDocument};
use crate::model::{DnssecSettings, KeyStage, Name, Period, Timestamp};
use crate::sign::{Due, KeyRecord, Step, digest};

/// The keys of a zone; `look`: answers are signed with them, and the parent was last found so.
pub(super) fn zone(
    apex: &Name,
    zone: &SignedZone,
    settings: &DnssecSettings,
    look: Option<Option<&Look>>,
    now: Timestamp,
) -> ZoneKeysDocument {
    let timing = timing(settings, zone.longest);
    let entry = |key: &&KeyRecord| key.role.is_entry() && key.stage == KeyStage::Published;
    let asked = zone.keys.asked_for();
    let wanted = asked.is_some() && !zone.keys.is_leaving();
    let ds = asked.or_else(|| zone.keys.keys().iter().find(entry)).map(|key| {
        let record = |kind| digest::ds_record(apex, &key.dnskey(), kind);
        vec![record(digest::DigestType::Sha256), record(digest::DigestType::Sha384)]
    });
    let key = |key: &KeyRecord| KeyDocument {
        tag: key.tag,
        role: key.role,
        algorithm: key.algorithm,
        stage: key.stage,
        since: key.since,
        made: key.made,
        next: zone.keys.next_of(key, &timing).map(|(step, due)| next(step, due)),
        dnskey: digest::dnskey_record(apex, &key.dnskey()),
    };
    ZoneKeysDocument {
        zone: apex.to_string(),
        signed: look.is_some(),
        keys: zone.keys.keys().iter().map(key).collect(),
        ds: ds.unwrap_or_default(),
        ds_wanted: wanted,
        note: note(apex, zone, settings, look, now),
    }
}

fn next(step: Step, due: Due) -> NextStep {
    let step = match step {
        Step::Introduce => "introduce",
        Step::Activate(_) => "activate",
        Step::Submit(_) => "submit",
        Step::SeeDs(_) => "ds_seen",
        Step::Remove(_) => "remove",
    };
    let at = match due {
        Due::At(at) => Some(at),
        Due::Told => None,
    };
    NextStep { step, at }
}

/// What somebody should know or do.
fn note(apex: &Name, zone: &SignedZone, settings: &DnssecSettings, look: Option<Option<&Look>>, now: Timestamp) -> Option<String> {
    let (keys, timing) = (&zone.keys, timing(settings, zone.longest));
    let name = apex.to_string();
    let name = match name.trim_end_matches('.') {
        "" => ".",
        name => name,
    };
    let Some(look) = look else {
        return Some(format!("kept for {name}; it is signed with them once it stands in [dnssec] zones"));
    };
    let asked = !settings.parents(apex).is_empty();
    let looks = || {
        let last = look.map_or(String::new(), |look| format!("; last: {}", look.why));
        format!("its servers are asked every {}, and what they have is taken up by itself{last}", Period(look_every(settings)))
    };
    if keys.is_leaving() {
        return Some(match keys.free_from(&timing) {
            None if asked => format!("the parent is asked to remove every DS: {}", looks()),
            None => {
                format!("the parent is asked to remove every DS; once none of its servers has one: signpost keys unsign {name} --ds-gone")
            }
            Some(free) if free > now => {
                format!("caches may hold a DS, or keys that it vouched for, until {free}: {name} stays signed until then")
            }
            Some(_) => format!("no cache holds a DS any more, nor keys that it vouched for: take {name} out of [dnssec] zones"),
        });
    }
    if !settings.signs(apex) {
        return Some(format!("not in [dnssec] any more; signed all the same, for the parent may have a DS: signpost keys unsign {name}"));
    }
    let first = keys.keys().iter().find(|key| key.role.is_entry() && key.stage != KeyStage::Active && key.stage != KeyStage::Retired)?;
    match (first.stage, keys.next_of(first, &timing)) {
        (KeyStage::Submitted, _) if asked => Some(format!("give the DS of key {} to the parent: {}", first.tag, looks())),
        (KeyStage::Submitted, _) => Some(format!(
            "give the DS of key {tag} to the parent; once all of its servers have it: signpost keys ds-seen {name} {tag}",
            tag = first.tag
        )),
        (_, Some((_, Due::At(at)))) => {
            Some(format!("the DS of key {} is for the parent from {at} on: caches do not know the key yet", first.tag))
        }
        _ => None,
    }
}
