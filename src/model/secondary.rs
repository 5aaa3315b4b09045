//! Zones whose data comes from another server (RFC 1034 §4.3.5), and lists of them (RFC 9432).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Name, Peer, RecordSet, Timestamp, Zone};

/// `[secondary."ZONE"]`: a zone that is copied from its primaries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecondarySettings {
    /// Where it is copied from, the first that answers; at least one.
    pub primaries: Vec<Peer>,
    /// It lists other zones, which are copied from the same primaries.
    pub catalog: bool,
    /// Roots that certificates of primaries lead to, in PEM; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
}

/// How a zone fares that is copied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct SecondaryState {
    /// The apex.
    pub zone: String,
    /// The catalog that lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
    /// Whether it lists others.
    pub is_catalog: bool,
    /// Where it comes from, with the key of each.
    pub primaries: Vec<String>,
    /// The serial that is served; none: it never came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// When a primary last said that this is current.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub confirmed: Option<Timestamp>,
    /// When a primary is asked next.
    #[schema(value_type = String)]
    pub next: Timestamp,
    /// When it is good for nothing any more, unless it is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires: Option<Timestamp>,
    /// When the first of the signatures expires that it came with; none: its primary has not signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub signed_until: Option<Timestamp>,
    /// Whether it is: it is answered with SERVFAIL then.
    pub expired: bool,
    /// Why the last attempt failed; empty where it did not.
    pub failure: String,
    /// Copies that were taken since the start.
    pub transfers: u64,
    /// Attempts since the start that came to nothing.
    pub failures: u64,
}

/// The file in which a zone that is copied is kept, in the data folder.
pub fn kept_file(data: &Path, apex: &Name) -> PathBuf {
    let text = apex.to_string().replace('/', "\\047");
    data.join("secondary").join(format!("{}.zone", text.strip_suffix('.').unwrap_or(&text)))
}

/// Why the members of a catalog zone cannot be told: the whole of it is broken then, and nothing may be done by it (RFC 9432 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// No version, several of them, or one that is not known (§4.2.1).
    #[error("version.{0} TXT \"2\" is expected, once: the zone is no catalog of version 2")]
    Version(Name),
    /// A member's name has other than one PTR (§4.1).
    #[error("{0} has {1} PTR records, not one")]
    Pointers(Name, usize),
    /// A zone is listed twice (§4.1).
    #[error("{0} is listed twice")]
    Twice(Name),
}

const PTR: u16 = 12;
const TXT: u16 = 16;

/// The members of a catalog zone (RFC 9432 §4): the zones, and the label that stands for each.
///
/// # Errors
/// What is broken.
pub fn catalog_members(zone: &Zone) -> Result<BTreeMap<Name, Name>, CatalogError> {
    let apex = &zone.apex;
    let unknown = || CatalogError::Version(apex.clone());
    let version = apex.child(b"version").and_then(|owner| zone.records.get(&(owner, TXT))).ok_or_else(unknown)?;
    match version.rdata.as_slice() {
        [one] if **one == *b"\x012" => {}
        _ => return Err(unknown()),
    }
    let Some(list) = apex.child(b"zones") else { return Ok(BTreeMap::new()) };
    let mut members = BTreeMap::new();
    for ((owner, _), set) in zone.records.iter().filter(|((_, rtype), _)| *rtype == PTR) {
        // Directly below `zones`; properties of members stand deeper (§4.4).
        if owner.parent().as_ref() != Some(&list) {
            continue;
        }
        let [one] = set.rdata.as_slice() else { return Err(CatalogError::Pointers(owner.clone(), set.rdata.len())) };
        let member = Name::from_wire(one);
        if members.insert(member.clone(), owner.clone()).is_some() {
            return Err(CatalogError::Twice(member));
        }
    }
    Ok(members)
}

/// `[catalog."ZONE"]`: a catalog of zones that are transferred, for secondaries that follow it (RFC 9432).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogSettings {
    /// The zones in it, as far as they are here and transferred; `None`: all of these but catalogs.
    pub zones: Option<BTreeSet<Name>>,
}

/// A catalog zone of these members (RFC 9432 §4). Its serial is for others to move.
pub fn catalog_zone(apex: &Name, members: &BTreeSet<Name>) -> Zone {
    let invalid = Name::root().child(b"invalid").unwrap_or_else(Name::root);
    // §4.1: nobody is to look for its servers.
    let mut zone = Zone::new(apex.clone(), &format!("[catalog.\"{}\"]", apex.to_string().trim_end_matches('.')), invalid, 1);
    let mut add = |labels: &[&[u8]], rtype: u16, data: Box<[u8]>| {
        let owner = labels.iter().rev().try_fold(apex.clone(), |above, label| above.child(label));
        if let Some(owner) = owner {
            zone.records.insert((owner, rtype), RecordSet { ttl: 0, rdata: vec![data] });
        }
    };
    add(&[b"version"], TXT, b"\x012".as_slice().into());
    let mut taken = BTreeSet::new();
    for member in members {
        // §4.1: a label that stays the zone's; what it is means nothing.
        let mut hash =
            member.wire().iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3));
        while !taken.insert(hash) {
            hash = hash.wrapping_add(1);
        }
        add(&[format!("{hash:016x}").as_bytes(), b"zones"], PTR, member.wire().into());
    }
    zone
}

/// The zones that are copied by these settings: those that are named, and the members of the catalogs among them, as far as these could be
/// read. A zone that is named is no member, and the first catalog that lists a zone has it.
pub fn copied<'z>(
    settings: &BTreeMap<Name, SecondarySettings>,
    catalog: impl Fn(&Name) -> Option<&'z Zone>,
) -> BTreeMap<Name, (SecondarySettings, Option<Name>)> {
    let mut all: BTreeMap<Name, (SecondarySettings, Option<Name>)> =
        settings.iter().map(|(apex, settings)| (apex.clone(), (settings.clone(), None))).collect();
    for (apex, of) in settings.iter().filter(|(_, settings)| settings.catalog) {
        let members: BTreeSet<Name> =
            catalog(apex).and_then(|zone| catalog_members(zone).ok()).into_iter().flat_map(BTreeMap::into_keys).collect();
        for member in members {
            let settings = SecondarySettings { catalog: false, ..of.clone() };
            all.entry(member).or_insert((settings, Some(apex.clone())));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordSet;

    fn name(text: &str) -> Name {
        Name::parse_relative(text, Some(&Name::parse("cat.example.").unwrap())).unwrap()
    }

    #[test]
    fn a_catalog_tells_its_members_or_what_is_broken() {
        let good = || {
            let mut zone = Zone::new(name("@"), "cat", name("invalid."), 1);
            let mut put = |owner: &str, rtype: u16, data: &[&[u8]]| {
                let rdata = data.iter().map(|data| (*data).into()).collect();
                zone.records.insert((name(owner), rtype), RecordSet { ttl: 0, rdata });
            };
            put("version", TXT, &[b"\x012"]);
            put("a.zones", PTR, &[name("x.").wire()]);
            put("b.zones", PTR, &[name("y.").wire()]);
            put("group.b.zones", TXT, &[b"\x01g"]);
            put("coo.b.zones", PTR, &[name("old.").wire()]);
            zone
        };
        let members = catalog_members(&good()).unwrap();
        assert_eq!(members.keys().cloned().collect::<Vec<_>>(), [name("x."), name("y.")]);
        let check = |change: &dyn Fn(&mut Zone), expected: CatalogError| {
            let mut zone = good();
            change(&mut zone);
            assert_eq!(catalog_members(&zone), Err(expected));
        };
        check(&|zone| _ = zone.records.remove(&(name("version"), TXT)), CatalogError::Version(name("@")));
        check(
            &|zone| zone.records.get_mut(&(name("version"), TXT)).unwrap().rdata.push((*b"\x011").into()),
            CatalogError::Version(name("@")),
        );
        check(
            &|zone| zone.records.get_mut(&(name("version"), TXT)).unwrap().rdata = vec![(*b"\x011").into()],
            CatalogError::Version(name("@")),
        );
        check(
            &|zone| zone.records.get_mut(&(name("a.zones"), PTR)).unwrap().rdata.push(name("z.").wire().into()),
            CatalogError::Pointers(name("a.zones"), 2),
        );
        check(
            &|zone| zone.records.get_mut(&(name("a.zones"), PTR)).unwrap().rdata = vec![name("y.").wire().into()],
            CatalogError::Twice(name("y.")),
        );
        let settings = BTreeMap::from([
            (name("@"), SecondarySettings { catalog: true, ..SecondarySettings::default() }),
            (name("x."), SecondarySettings::default()),
        ]);
        let zone = good();
        let all = copied(&settings, |_| Some(&zone));
        assert_eq!(
            all.iter().map(|(apex, (_, of))| (apex.to_string(), of.is_some())).collect::<Vec<_>>(),
            [("x.".to_string(), false), ("y.".to_string(), true), ("cat.example.".to_string(), false),]
        );
    }

    #[test]
    fn a_catalog_that_is_made_has_the_members_that_it_was_made_of() {
        let members: BTreeSet<Name> = ["a.example.", "b.example.", "sub.a.example."].map(|text| Name::parse(text).unwrap()).into();
        let apex = Name::parse("catalog.invalid.").unwrap();
        let made = catalog_zone(&apex, &members);
        let read = catalog_members(&made).unwrap();
        assert_eq!(read.keys().cloned().collect::<BTreeSet<_>>(), members);
        let fewer = catalog_zone(&apex, &members.iter().skip(1).cloned().collect());
        assert!(catalog_members(&fewer).unwrap().iter().all(|(member, label)| read[member] == *label), "labels stay");
    }
}
