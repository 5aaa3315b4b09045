//! A validator of its own (RFC 4035 §5): it reads replies octet by octet, puts RRsets in canonical form and holds them against the keys,
//! without anything of the product's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use data_encoding::BASE32_DNSSEC;
use signpost::model::{Algorithm, Denial, KeyRole, Zone, ZoneKey, ZoneSigning};
use signpost::sign::digest::key_tag;
use signpost::sign::{Keyring, PrivateKey, Ring, Secret};

/// A name in lower-case wire form.
pub type Wire = Vec<u8>;

const SOA: u16 = 6;
const NS: u16 = 2;
const CNAME: u16 = 5;
const DNAME: u16 = 39;
const OPT: u16 = 41;
const DS: u16 = 43;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const NSEC3: u16 = 50;
const NXNAME: u16 = 128;

/// Signs a zone with a key that follows from `seed`, and puts it on the keyring.
pub fn sign(zone: &mut Zone, algorithm: Algorithm, denial: Denial, seed: u8, keyring: &mut Keyring) {
    let key = Arc::new(PrivateKey::new(algorithm, Secret([seed; 32])).unwrap());
    let tag = key_tag(&key.dnskey(KeyRole::Csk));
    let shown = ZoneKey {
        flags: KeyRole::Csk.flags(),
        algorithm: algorithm.number(),
        tag,
        public: key.public().into(),
        signs_keys: true,
        signs_zone: true,
        published: true,
    };
    let signing = ZoneSigning { keys: vec![shown], dnskey_ttl: 3600, denial, cds: Vec::new(), cdnskey: Vec::new(), epoch: u64::from(tag) };
    let ring = Ring::new(&signing, &[(tag, key)].into(), Duration::from_secs(1_209_600), 7).unwrap();
    keyring.put(zone.apex.clone(), Some(Arc::new(ring)));
    zone.signing = Some(Arc::new(signing));
}

/// The zones of a server, signed or not, with the data of their DNSKEYs; and where they delegate.
#[derive(Debug, Clone, Default)]
pub struct Anchors(BTreeMap<Wire, Vec<Box<[u8]>>>, BTreeSet<Wire>);

impl Anchors {
    /// Of these zones.
    pub fn of(zones: &[Zone]) -> Anchors {
        let keys = |zone: &Zone| zone.signing.as_ref().map_or_else(Vec::new, |signing| signing.dnskey());
        let cuts = zones.iter().flat_map(|zone| zone.records.keys().filter(|(owner, rtype)| *rtype == NS && *owner != zone.apex));
        let cuts = cuts.map(|(owner, _)| owner.wire().to_vec()).collect();
        Anchors(zones.iter().map(|zone| (zone.apex.wire().to_vec(), keys(zone))).collect(), cuts)
    }

    /// The apex of the zone that a name is in, and its keys.
    fn zone(&self, name: &[u8], is_ds: bool) -> Option<(&Wire, &[Box<[u8]>])> {
        let at = |name: &[u8]| self.0.get_key_value(name).map(|(apex, keys)| (apex, &**keys));
        let skipped = usize::from(is_ds && name.len() > 1);
        // The DS of a child stands above it, where there is anything above it.
        upwards(name).skip(skipped).find_map(at).or_else(|| at(name))
    }
}

/// A name, and those above it.
pub fn upwards(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |name| (name[0] != 0).then(|| &name[1 + usize::from(name[0])..]))
}

/// A record.
#[derive(Debug, Clone)]
pub struct Rr {
    pub section: usize,
    pub name: Wire,
    pub rtype: u16,
    pub ttl: u32,
    /// In canonical form (RFC 4034 §6.2).
    pub data: Vec<u8>,
}

/// A reply.
#[derive(Debug)]
pub struct Read {
    pub flags: u16,
    pub name: Wire,
    pub qtype: u16,
    pub records: Vec<Rr>,
}

/// The name at an offset, spelled out, and the offset behind it.
fn name_at(message: &[u8], mut at: usize) -> (Wire, usize) {
    let (mut name, mut end) = (Vec::new(), None);
    loop {
        let length = usize::from(message[at]);
        match length {
            0 => {
                name.push(0);
                return (name, end.unwrap_or(at + 1));
            }
            1..=63 => {
                name.extend_from_slice(&message[at..=at + length]);
                at += 1 + length;
            }
            _ => {
                end.get_or_insert(at + 2);
                at = (length & 0x3f) << 8 | usize::from(message[at + 1]);
            }
        }
    }
}

/// The data of a record with its names spelled out, in lower case where that is canonical (RFC 4034 §6.2, RFC 6840 §5.1).
fn canonical(message: &[u8], rtype: u16, at: usize, length: usize) -> Vec<u8> {
    let (before, names) = match rtype {
        NS | CNAME | 12 | DNAME => (0, 1),
        SOA => (0, 2),
        15 | 18 | 21 | 36 => (2, 1),
        33 => (6, 1),
        _ => (length, 0),
    };
    let mut data = message[at..at + before].to_vec();
    let mut from = at + before;
    for _ in 0..names {
        let (name, end) = name_at(message, from);
        data.extend(name.to_ascii_lowercase());
        from = end;
    }
    data.extend_from_slice(&message[from..at + length]);
    data
}

fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

fn long(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(octets[at..at + 4].try_into().unwrap())
}

pub fn read(message: &[u8]) -> Read {
    let (name, at) = name_at(message, 12);
    let (qtype, mut at) = (word(message, at), at + 4);
    let mut records = Vec::new();
    for section in 1..4 {
        for _ in 0..word(message, 4 + 2 * section) {
            let (name, fixed) = name_at(message, at);
            let (rtype, ttl, length) = (word(message, fixed), long(message, fixed + 4), usize::from(word(message, fixed + 8)));
            let data = canonical(message, rtype, fixed + 10, length);
            records.push(Rr { section, name: name.to_ascii_lowercase(), rtype, ttl, data });
            at = fixed + 10 + length;
        }
    }
    assert_eq!(at, message.len(), "octets behind the last record");
    Read { flags: word(message, 2), name: name.to_ascii_lowercase(), qtype, records }
}

/// Whether an RRSIG is right (RFC 4035 §5.3): its name, labels, times and signature.
fn verify(
    owner: &[u8],
    rtype: u16,
    ttl: u32,
    data: &[&[u8]],
    rrsig: &[u8],
    (apex, keys): (&[u8], &[Box<[u8]>]),
    now: u32,
) -> Result<(), String> {
    let (signer, signature) = name_at(rrsig, 18);
    let labels = upwards(owner).count() - 1 - usize::from(owner.starts_with(b"\x01*"));
    let original = long(rrsig, 4);
    let check = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_string()) };
    check(word(rrsig, 0) == rtype, "it covers another type")?;
    check(signer == apex, "somebody else signed it")?;
    // Online signers claim that the very name exists (RFC 9824 §3.3).
    check(usize::from(rrsig[3]) == labels, "the count of labels is not that of the name")?;
    check(ttl <= original, "the TTL is longer than that which was signed")?;
    check((long(rrsig, 12)..long(rrsig, 8)).contains(&now), "it does not hold now")?;
    let mut sorted = data.to_vec();
    sorted.sort();
    let mut signed = [&rrsig[..18], &signer].concat();
    for data in sorted {
        signed.extend_from_slice(owner);
        signed.extend([rtype.to_be_bytes(), [0, 1]].concat());
        signed.extend(original.to_be_bytes());
        signed.extend((data.len() as u16).to_be_bytes());
        signed.extend_from_slice(data);
    }
    let key = keys.iter().find(|key| key_tag(key) == word(rrsig, 16) && key[3] == rrsig[2]).ok_or("no key has that tag")?;
    let verified = match key[3] {
        13 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4], &key[4..]].concat()).verify(&signed, &rrsig[signature..]),
        15 => UnparsedPublicKey::new(&ED25519, &key[4..]).verify(&signed, &rrsig[signature..]),
        other => return Err(format!("algorithm {other}")),
    };
    verified.map_err(|_| "the signature is wrong".into())
}

/// The types of an NSEC, and the name that follows.
pub fn nsec(data: &[u8]) -> (Wire, BTreeSet<u16>) {
    let (next, at) = name_at(data, 0);
    (next, types_at(data, at))
}

/// An NSEC3 (RFC 5155 §3): the hash that it stands at, the one that follows, and its types.
struct Hashed {
    at: Vec<u8>,
    next: Vec<u8>,
    types: BTreeSet<u16>,
}

impl Hashed {
    fn read(record: &Rr) -> Hashed {
        // RFC 9276 §3.1: SHA-1, no opt-out, no further iterations, no salt.
        assert_eq!(record.data[..6], [1, 0, 0, 0, 0, 20]);
        let at = BASE32_DNSSEC.decode(&record.name[1..33]).unwrap();
        Hashed { at, next: record.data[6..26].to_vec(), types: types_at(&record.data, 26) }
    }

    fn covers(&self, hash: &[u8]) -> bool {
        match self.at < self.next {
            true => *self.at < *hash && *hash < *self.next,
            false => *self.at < *hash || *hash < *self.next,
        }
    }
}

fn hash(name: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, name).as_ref().to_vec()
}

/// The hash of a name with salt and further iterations (RFC 5155 §5).
pub fn hash_salted(name: &[u8], salt: &[u8], iterations: u16) -> Vec<u8> {
    (0..iterations).fold(hash(&[name, salt].concat()), |digest, _| hash(&[&digest, salt].concat()))
}

/// Whether NSEC3s prove that a name is not there (RFC 5155 §8.4).
fn no_such_name(proofs: &[Hashed], name: &[u8]) -> Result<(), String> {
    let mut next_closer = name;
    for ancestor in upwards(name).skip(1) {
        if proofs.iter().any(|proof| proof.at == hash(ancestor)) {
            let covered = |name: &[u8]| proofs.iter().any(|proof| proof.covers(&hash(name)));
            return match (covered(next_closer), covered(&[b"\x01*", ancestor].concat())) {
                (true, true) => Ok(()),
                other => Err(format!("next closer name and wildcard of {}: {other:?}", show(name))),
            };
        }
        next_closer = ancestor;
    }
    Err(format!("no closest encloser of {}", show(name)))
}

pub fn types_at(data: &[u8], mut at: usize) -> BTreeSet<u16> {
    let mut types = BTreeSet::new();
    while at < data.len() {
        let (window, length) = (u16::from(data[at]), usize::from(data[at + 1]));
        for (n, octet) in data[at + 2..at + 2 + length].iter().enumerate() {
            types.extend((0..8).filter(|bit| octet & (0x80 >> bit) != 0).map(|bit| window << 8 | (8 * n as u16 + bit)));
        }
        at += 2 + length;
    }
    types
}

/// A name as it is sorted (RFC 4034 §6.1).
pub fn sortable(name: &[u8]) -> Vec<&[u8]> {
    let mut labels: Vec<&[u8]> = upwards(name).filter(|name| name[0] != 0).map(|name| &name[1..=usize::from(name[0])]).collect();
    labels.reverse();
    labels
}

/// What a validator makes of a reply to a query with DO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is signed and proved.
    Secure,
    /// Some of it is from a zone that is not signed, or from one below.
    Insecure,
    /// It was cut: there is nothing to say.
    Cut,
}

/// Validates a reply to a query with DO.
pub fn validate(reply: &[u8], anchors: &Anchors, now_ms: u64) -> Result<Verdict, String> {
    let now = (now_ms / 1000) as u32;
    let read = read(reply);
    if read.flags & 0x0200 != 0 {
        return Ok(Verdict::Cut);
    }
    let mut insecure = false;
    let of = |section: usize, rtype: u16| read.records.iter().filter(move |r| r.section == section && r.rtype == rtype);
    let cut = of(2, NS).map(|ns| &ns.name).find(|name| anchors.zone(name, false).is_none_or(|(apex, _)| apex != *name)).cloned();
    let mut sets: BTreeMap<(usize, &Wire, u16), Vec<&Rr>> = BTreeMap::new();
    for record in read.records.iter().filter(|record| !matches!(record.rtype, OPT | RRSIG)) {
        sets.entry((record.section, &record.name, record.rtype)).or_default().push(record);
    }
    // Whoever is asked for the DS of a child speaks as its parent, where the two have met (RFC 4035 §3.1.4.1).
    let as_parent = |name: &Wire| read.qtype == DS && *name == read.name && of(2, SOA).all(|soa| soa.name != *name);
    for ((section, name, rtype), records) in &sets {
        let what = || format!("{} TYPE{rtype} in section {section}", show(name));
        let Some((apex, keys)) = anchors.zone(name, *rtype == DS || *rtype == NSEC && as_parent(name)) else {
            return Err(format!("{}: whose is it?", what()));
        };
        let signatures: Vec<&Rr> = read
            .records
            .iter()
            .filter(|r| r.section == *section && r.name == **name && r.rtype == RRSIG && word(&r.data, 0) == *rtype)
            .collect();
        let below_cut = anchors.1.iter().any(|cut| name.ends_with(cut) && cut.len() > apex.len());
        let made_by_dname = *rtype == CNAME && of(1, DNAME).any(|dname| name.ends_with(&dname.name) && **name != dname.name);
        let unsigned = keys.is_empty() || (*section == 2 && *rtype == NS) || (*section == 3 && below_cut) || made_by_dname;
        if unsigned {
            insecure |= keys.is_empty();
            match signatures.is_empty() {
                true => continue,
                false => return Err(format!("{} is signed", what())),
            }
        }
        if signatures.is_empty() {
            return Err(format!("{} is not signed", what()));
        }
        let data: Vec<&[u8]> = records.iter().map(|record| &*record.data).collect();
        for rrsig in signatures {
            if rrsig.ttl != records[0].ttl {
                return Err(format!("the RRSIG of {} has another TTL", what()));
            }
            verify(name, *rtype, records[0].ttl, &data, &rrsig.data, (&apex[..], keys), now).map_err(|why| format!("{}: {why}", what()))?;
        }
    }
    for record in read.records.iter().filter(|record| record.rtype == RRSIG && read.qtype != RRSIG) {
        if !sets.contains_key(&(record.section, &record.name, word(&record.data, 0))) {
            return Err(format!("an RRSIG of {} covers nothing", show(&record.name)));
        }
    }
    for record in of(2, NSEC) {
        let (next, types) = nsec(&record.data);
        let apex = anchors.zone(&record.name, false).expect("signed").0;
        if sortable(&next) <= sortable(&record.name) && next != *apex {
            return Err(format!("{} comes after {}", show(&next), show(&record.name)));
        }
        if !types.contains(&RRSIG) || !types.contains(&NSEC) || types.contains(&NXNAME) && types.len() != 3 {
            return Err(format!("types of an NSEC: {types:?}"));
        }
    }
    // The name that the answer ends at, and whether something is said of it.
    let mut last = read.name.clone();
    while let Some(alias) = of(1, CNAME).find(|alias| alias.name == last && read.qtype != CNAME) {
        last = alias.data.clone();
        if of(1, CNAME).count() > 40 || of(1, CNAME).any(|alias| alias.data == read.name) {
            break;
        }
    }
    let answered = read.records.iter().any(|r| r.section == 1 && r.name == last && r.rtype != CNAME)
        || read.qtype == CNAME && of(1, CNAME).count() > 0;
    let Some((apex, keys)) = anchors.zone(&last, read.qtype == DS) else { return Ok(Verdict::Insecure) };
    if keys.is_empty() {
        return Ok(Verdict::Insecure);
    }
    let hashed: Vec<Hashed> = of(2, NSEC3).map(Hashed::read).collect();
    if !hashed.is_empty() && of(2, NSEC).count() > 0 {
        return Err("NSEC and NSEC3".into());
    }
    let at = |name: &[u8]| hashed.iter().find(|proof| proof.at == hash(name)).map(|proof| (name.to_vec(), proof.types.clone()));
    // As if the NSEC3 at a name were its NSEC.
    let about = cut.as_ref().unwrap_or(&last);
    let proof = at(about).or(of(2, NSEC).next().map(|record| (record.name.clone(), nsec(&record.data).1)));
    let rcode = read.flags & 15;
    if let Some(cut) = cut {
        let has_ds = of(2, DS).any(|ds| ds.name == cut);
        return match proof {
            None if has_ds => Ok(Verdict::Insecure),
            Some((owner, types)) if !has_ds && owner == cut && types.contains(&NS) && !types.contains(&DS) && !types.contains(&SOA) => {
                Ok(Verdict::Insecure)
            }
            other => Err(format!("a referral to {} with {other:?}", show(&cut))),
        };
    }
    if of(2, SOA).count() > 0 && !hashed.is_empty() && rcode == 3 {
        no_such_name(&hashed, &last)?;
    } else if of(2, SOA).count() > 0 {
        let Some((owner, types)) = proof else { return Err("nothing is proved".into()) };
        if owner != last || types.contains(&read.qtype) && read.qtype != NSEC && read.qtype != RRSIG || types.contains(&CNAME) {
            return Err(format!("the NSEC of {} with {types:?} proves nothing of {}", show(&owner), show(&last)));
        }
        if rcode == 3 && !types.contains(&NXNAME) {
            return Err("NXDOMAIN of a name that exists".into());
        }
    } else if !answered && rcode == 0 && !of(1, CNAME).any(|alias| alias.data == last) {
        return Err(format!("nothing of {} in {}", show(&last), show(apex)));
    }
    Ok(if insecure { Verdict::Insecure } else { Verdict::Secure })
}

pub fn show(name: &[u8]) -> String {
    upwards(name).filter(|name| name[0] != 0).map(|name| String::from_utf8_lossy(&name[1..=usize::from(name[0])]) + ".").collect()
}
