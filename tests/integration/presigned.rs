//! A zone that its primary has signed, every name of it and beside it, every type: each RRset has its own signature, and what is not there is proved
//! (RFC 4035 §5.4, RFC 5155 §8). Signatures are made up here: each says whose it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use data_encoding::BASE32_DNSSEC;
use signpost::config;
use signpost::control::Writer;
use signpost::model::{Counters, Geo, Name, Revision, Settings, Timestamp, Zone};
use signpost::snapshot::Snapshot;
use signpost::wire::{Outcome, Query, Transport, Worker, answer};

use crate::dnssec::{Read, Rr, hash_salted, nsec, read, show, sortable, types_at, upwards};
use crate::message::Question;

const ZONE: &str = r"@ 3600 SOA ns1 hostmaster 1 3600 600 86400 30
@ 3600 NS ns1
@ 3600 MX 10 mail
@ 3600 DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==
ns1 60 A 192.0.2.1
mail 60 A 192.0.2.25
mail 60 AAAA 2001:db8::25
www 120 A 192.0.2.80
www 120 A 192.0.2.81
www 60 TXT text
alias 60 CNAME www
dangling 60 CNAME nothing
outside 60 CNAME www.elsewhere.test.
a.b.deep 60 TXT deep
*.wild 60 A 192.0.2.99
*.wild 60 MX 5 mail
real.wild 60 TXT real
x.ent.wild 60 TXT below
*.cwild 60 CNAME www
*.dwild 60 CNAME nothing
*.wwild 60 CNAME x.wild
*.owild 60 CNAME www.elsewhere.test.
below.*.twild 60 TXT below
moved 60 DNAME kept
x.kept 60 A 192.0.2.90
secure 60 NS ns.secure
secure 60 DS 12345 13 2 3a8d1f5e0b6c4d7e9f00112233445566778899aabbccddeeff00112233445566
ns.secure 60 A 192.0.2.70
insecure 60 NS ns.insecure
ns.insecure 60 A 192.0.2.71
delegated.empty 60 NS mail
_sip._tcp 60 SRV 0 5 5060 mail
https 60 HTTPS 1 mail alpn=h2
";

const TYPES: [&str; 15] =
    ["A", "AAAA", "MX", "NS", "SOA", "TXT", "CNAME", "TYPE39", "DS", "SRV", "HTTPS", "DNSKEY", "NSEC", "TYPE51", "RRSIG"];
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const DNAME: u16 = 39;
const OPT: u16 = 41;
const DS: u16 = 43;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const DNSKEY: u16 = 48;
const NSEC3: u16 = 50;
const NSEC3PARAM: u16 = 51;

/// How absence is proved.
#[derive(Debug, Clone, Copy)]
enum By {
    Names,
    Hashes { iterations: u16, salt: &'static [u8], opt_out: bool },
}

/// A record as it is added to the zone.
fn line(owner: &[u8], ttl: u32, rtype: u16, data: &[u8]) -> String {
    let digits: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{} {ttl} IN TYPE{rtype} \\# {} {digits}\n", Name::from_wire(owner), data.len())
}

/// Bitmaps of types (RFC 4034 §4.1.2) below 256.
fn bitmap(types: &BTreeSet<u16>) -> Vec<u8> {
    let mut bits = vec![0_u8; usize::from(*types.last().unwrap()) / 8 + 1];
    types.iter().for_each(|rtype| bits[usize::from(rtype / 8)] |= 0x80 >> (rtype % 8));
    [&[0, bits.len() as u8], &*bits].concat()
}

/// Signs what stands at an owner: what is covered, the labels, the TTL, and whose it is.
fn signature(owner: &[u8], rtype: u16, ttl: u32, apex: &[u8]) -> Vec<u8> {
    let labels = upwards(owner).count() - 1 - usize::from(owner.starts_with(b"\x01*"));
    let fixed = [&rtype.to_be_bytes()[..], &[13, labels as u8], &ttl.to_be_bytes(), &[0x7f; 4], &[0; 4], &[1, 2], apex].concat();
    [&fixed, &b"signature of "[..], owner, &rtype.to_be_bytes()].concat()
}

/// The zone with signatures and proofs.
fn signed(by: By) -> Zone {
    let text = format!("$ORIGIN s.example.\n{ZONE}");
    let (plain, _) = config::copied_text("s.example.zone", &text).unwrap();
    let apex = plain.apex.wire().to_vec();
    let mut sets: BTreeMap<Vec<u8>, BTreeMap<u16, u32>> = BTreeMap::new();
    for ((owner, rtype), set) in &plain.records {
        sets.entry(owner.wire().to_vec()).or_default().insert(*rtype, set.ttl);
    }
    sets.entry(apex.clone()).or_default().extend([(SOA, 3600), (NS, 3600)]);
    let cuts: Vec<Vec<u8>> =
        sets.iter().filter(|(owner, types)| **owner != apex && types.contains_key(&NS)).map(|(owner, _)| owner.clone()).collect();
    let is_cut = |owner: &[u8]| cuts.iter().any(|cut| cut == owner);
    sets.retain(|owner, _| !upwards(owner).skip(1).any(is_cut));
    let mut text = text;
    if let By::Hashes { iterations, salt, .. } = by {
        let data = [&[1, 0], &iterations.to_be_bytes()[..], &[salt.len() as u8], salt].concat();
        text += &line(&apex, 0, NSEC3PARAM, &data);
        sets.get_mut(&apex).unwrap().insert(NSEC3PARAM, 0);
    }
    let types_of = |owner: &[u8], types: &BTreeMap<u16, u32>| -> BTreeSet<u16> {
        let all = types.keys().copied().filter(|rtype| !is_cut(owner) || matches!(*rtype, NS | DS));
        let all: BTreeSet<u16> = all.collect();
        let is_signed = !is_cut(owner) || all.contains(&DS);
        all.into_iter().chain(is_signed.then_some(RRSIG)).collect()
    };
    let mut proofs: Vec<(Vec<u8>, u16, Vec<u8>)> = Vec::new();
    match by {
        By::Names => {
            let mut names: Vec<&Vec<u8>> = sets.keys().collect();
            names.sort_by(|a, b| sortable(a).cmp(&sortable(b)));
            for (n, owner) in names.iter().enumerate() {
                let mut types = types_of(owner, &sets[*owner]);
                types.extend([NSEC, RRSIG]);
                proofs.push(((*owner).clone(), NSEC, [&names[(n + 1) % names.len()][..], &bitmap(&types)].concat()));
            }
        }
        By::Hashes { iterations, salt, opt_out } => {
            let mut hashes: BTreeMap<Vec<u8>, BTreeSet<u16>> = BTreeMap::new();
            for (owner, types) in &sets {
                let types = types_of(owner, types);
                if opt_out && is_cut(owner) && !types.contains(&DS) {
                    continue;
                }
                for above in upwards(owner).skip(1).take_while(|above| above.len() > apex.len()) {
                    hashes.entry(hash_salted(above, salt, iterations)).or_default();
                }
                hashes.insert(hash_salted(owner, salt, iterations), types);
            }
            // What stands at a name was inserted before what stands below, or after it.
            for (owner, types) in sets.iter().filter(|(owner, types)| !(opt_out && is_cut(owner) && !types.contains_key(&DS))) {
                hashes.insert(hash_salted(owner, salt, iterations), types_of(owner, types));
            }
            let all: Vec<&Vec<u8>> = hashes.keys().collect();
            for (n, hash) in all.iter().enumerate() {
                let owner = [&[32][..], BASE32_DNSSEC.encode(hash).as_bytes(), &apex].concat();
                let types = &hashes[*hash];
                let fixed = [&[1, u8::from(opt_out)], &iterations.to_be_bytes()[..], &[salt.len() as u8], salt, &[20]].concat();
                let types = if types.is_empty() { Vec::new() } else { bitmap(types) };
                proofs.push((owner, NSEC3, [&fixed, &all[(n + 1) % all.len()][..], &types].concat()));
            }
        }
    }
    for (owner, rtype, data) in proofs {
        text += &line(&owner, 30, rtype, &data);
        text += &line(&owner, 30, RRSIG, &signature(&owner, rtype, 30, &apex));
    }
    for (owner, types) in &sets {
        for (rtype, ttl) in types.iter().filter(|(rtype, _)| !is_cut(owner) || **rtype == DS) {
            text += &line(owner, *ttl, RRSIG, &signature(owner, *rtype, *ttl, &apex));
        }
    }
    let (zone, warnings) = config::copied_text("s.example.zone", &text).unwrap_or_else(|findings| panic!("{findings:?}"));
    let of_signer = |field: &str| ["RRSIG", "NSEC", "DNSKEY"].iter().any(|rtype| field.contains(rtype));
    assert!(!warnings.iter().any(|warning| of_signer(&warning.field)), "{warnings:?}");
    zone
}

/// What a reply says, and how it proves that.
struct Claim<'r> {
    read: &'r Read,
    by: By,
    /// What is asked for, in the end.
    last: Vec<u8>,
}

impl Claim<'_> {
    fn of(&self, section: usize, rtype: u16) -> impl Iterator<Item = &Rr> {
        self.read.records.iter().filter(move |record| record.section == section && record.rtype == rtype)
    }

    /// The types at a name by the proof at it.
    fn at(&self, name: &[u8]) -> Option<BTreeSet<u16>> {
        match self.by {
            By::Names => self.of(2, NSEC).find(|record| record.name == name).map(|record| nsec(&record.data).1),
            By::Hashes { iterations, salt, .. } => {
                let hash = hash_salted(name, salt, iterations);
                self.of(2, NSEC3).find(|record| hash_at(record) == hash).map(|record| types_at(&record.data, 5 + salt.len() + 21))
            }
        }
    }

    /// Whether a proof goes around a name.
    fn covers(&self, name: &[u8]) -> bool {
        match self.by {
            By::Names => self.of(2, NSEC).any(|record| {
                let (next, _) = nsec(&record.data);
                let (at, next, name) = (sortable(&record.name), sortable(&next), sortable(name));
                at < name && (name < next || next <= at)
            }),
            By::Hashes { iterations, salt, .. } => {
                let hash = hash_salted(name, salt, iterations);
                self.of(2, NSEC3).any(|record| {
                    let (at, next) = (hash_at(record), record.data[5 + salt.len() + 1..][..20].to_vec());
                    if at < next { at < hash && hash < next } else { at < hash || hash < next }
                })
            }
        }
    }

    /// The closest encloser of a name that is proved not to be there (RFC 4035 §5.4, RFC 5155 §8.3).
    fn encloser<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let mut next_closer = name;
        for above in upwards(name).skip(1) {
            let is_there = match self.by {
                By::Names => self.of(2, NSEC).any(|record| record.name.ends_with(above) || nsec(&record.data).0.ends_with(above)),
                By::Hashes { .. } => self.at(above).is_some(),
            };
            if is_there {
                return self.covers(next_closer).then_some(above);
            }
            next_closer = above;
        }
        None
    }

    fn is_open(&self) -> bool {
        matches!(self.by, By::Hashes { opt_out: true, .. })
    }

    /// Whether it is proved that a name has nothing of a type.
    fn has_not(&self, name: &[u8], rtype: u16) -> Result<(), String> {
        if let Some(types) = self.at(name) {
            // RFC 6840 §4.1: what stands at a cut proves nothing but of its DS.
            return match types.contains(&rtype) || types.contains(&CNAME) || rtype != DS && types.contains(&NS) && !types.contains(&SOA) {
                true => Err(format!("the proof at {} has {types:?}", show(name))),
                false => Ok(()),
            };
        }
        let is_empty =
            matches!(self.by, By::Names) && self.covers(name) && self.of(2, NSEC).any(|record| nsec(&record.data).0.ends_with(name));
        if is_empty {
            return Ok(());
        }
        let encloser = self.encloser(name).ok_or_else(|| format!("nothing is proved of {}", show(name)))?;
        let wildcard = [b"\x01*", encloser].concat();
        match self.at(&wildcard) {
            Some(types) if !types.contains(&rtype) && !types.contains(&CNAME) => Ok(()),
            Some(types) => Err(format!("the wildcard has {types:?}")),
            None if matches!(self.by, By::Names) && self.of(2, NSEC).any(|record| nsec(&record.data).0.ends_with(&wildcard)) => Ok(()),
            // RFC 5155 §8.6: left out.
            None if self.is_open() => Ok(()),
            None => Err("the wildcard".into()),
        }
    }

    fn check(&self) -> Result<(), String> {
        let (rcode, read) = (self.read.flags & 15, self.read);
        let mut seen = BTreeSet::new();
        for record in read.records.iter().filter(|record| record.rtype != OPT) {
            if !seen.insert((&record.name, record.rtype, &record.data)) {
                return Err(format!("{} TYPE{} stands twice", show(&record.name), record.rtype));
            }
        }
        let apex = Name::parse("s.example").unwrap();
        let is_below_cut =
            |name: &[u8]| upwards(name).any(|name| [b"secure", &b"insecure"[..]].iter().any(|cut| name[1..].starts_with(cut)));
        for record in read.records.iter().filter(|record| !matches!(record.rtype, OPT | RRSIG)) {
            let made =
                record.rtype == CNAME && self.of(1, DNAME).any(|dname| record.name.ends_with(&dname.name) && record.name != dname.name);
            let of_cut = record.section == 2 && record.rtype == NS || record.section == 3 && is_below_cut(&record.name);
            let signatures: Vec<&Rr> = self
                .of(record.section, RRSIG)
                .filter(|rrsig| rrsig.name == record.name && rrsig.data[..2] == record.rtype.to_be_bytes())
                .collect();
            let what = || format!("{} TYPE{} in section {}", show(&record.name), record.rtype, record.section);
            match signatures[..] {
                [] if made || of_cut => continue,
                [one] if !made && !of_cut => {
                    let labels = usize::from(one.data[3]);
                    let above = upwards(&record.name).nth((upwards(&record.name).count() - 1).saturating_sub(labels)).unwrap();
                    let is_wild = above.len() < record.name.len() && !record.name.starts_with(b"\x01*");
                    let owner = if is_wild { [b"\x01*", above].concat() } else { record.name.clone() };
                    let original = u32::from_be_bytes(one.data[4..8].try_into().unwrap());
                    if one.ttl != record.ttl || record.ttl > original || one.data != signature(&owner, record.rtype, original, apex.wire())
                    {
                        return Err(format!("{} has another's signature", what()));
                    }
                    if is_wild && record.section == 1 {
                        let next_closer =
                            upwards(&record.name).find(|name| name.len() > above.len() && upwards(name).nth(1) == Some(above)).unwrap();
                        if !self.covers(if matches!(self.by, By::Names) { &record.name } else { next_closer }) {
                            return Err(format!("{} may be there", show(&record.name)));
                        }
                    }
                }
                ref other => return Err(format!("{} has {} signatures", what(), other.len())),
            }
        }
        let cut = self.of(2, NS).map(|ns| &ns.name).next();
        if let Some(cut) = cut {
            let has_ds = self.of(2, DS).any(|ds| ds.name == *cut);
            return match self.at(cut) {
                Some(types) if types.contains(&NS) && types.contains(&DS) == has_ds => Ok(()),
                None if has_ds => Ok(()),
                None if self.is_open() => self.encloser(cut).map(drop).ok_or_else(|| format!("the cut {}", show(cut))),
                other => Err(format!("the cut {} with {other:?}", show(cut))),
            };
        }
        let answered =
            self.of(1, read.qtype).any(|record| record.name == self.last) || read.qtype == RRSIG && self.of(1, RRSIG).next().is_some();
        match rcode {
            3 => {
                let encloser = self.encloser(&self.last).ok_or_else(|| format!("{} may be there", show(&self.last)))?;
                let wildcard = [b"\x01*", encloser].concat();
                if self.covers(&wildcard) { Ok(()) } else { Err(format!("{} may be there", show(&wildcard))) }
            }
            0 if self.of(2, SOA).next().is_some() => self.has_not(&self.last, read.qtype),
            0 if answered || self.last.ends_with(b"\x04test\0") => Ok(()),
            other => Err(format!("RCODE {other} and nothing")),
        }
    }
}

fn hash_at(record: &Rr) -> Vec<u8> {
    BASE32_DNSSEC.decode(&record.name[1..33]).unwrap()
}

/// The name that the aliases of a reply lead to.
fn last_of(read: &Read) -> Vec<u8> {
    let mut last = read.name.clone();
    let alias = |name: &[u8]| read.records.iter().find(|r| r.section == 1 && r.rtype == CNAME && r.name == name && read.qtype != CNAME);
    while let Some(alias) = alias(&last) {
        last.clone_from(&alias.data);
    }
    last
}

fn snapshot(zone: Zone) -> Arc<Snapshot> {
    let writer: Writer<usize> =
        Writer::begin((Revision(0), Vec::new()), vec![zone], Geo::default(), &Settings::default().dns, Timestamp(0)).unwrap();
    writer.snapshot().clone()
}

fn every_reply_is_proved(by: By) {
    let zone = signed(by);
    let mut names = BTreeSet::from(["s.example.".to_string(), "x.y.s.example.".into(), "zzz.s.example.".into(), "-.s.example.".into()]);
    for owner in zone.records.keys().map(|(owner, _)| owner.to_string()) {
        names.extend([owner.clone(), format!("x.{owner}"), format!("x.y.{owner}"), owner.replacen('*', "star", 1), format!("z{owner}")]);
        names.extend(owner.split_once('.').map(|(_, above)| above.to_string()));
    }
    let snapshot = snapshot(zone);
    let mut worker = Worker::new(7, Arc::new(Counters::default()));
    let mut reply = vec![0; 65_535];
    let mut ask = |question: &str| {
        let bytes = Question::parse(question).bytes();
        let transport = if question.ends_with("tcp") { Transport::Tcp } else { Transport::Udp };
        let query = Query { bytes: &bytes, peer: ([192, 0, 2, 1], 53).into(), transport, now_ms: 0 };
        let Outcome::Reply(length) = answer(&snapshot, &mut worker, &query, &mut reply) else {
            panic!("{question} is not answered at once")
        };
        read(&reply[..length])
    };
    let mut asked = 0;
    for name in names.iter().filter(|name| format!(".{name}").ends_with(".s.example.")) {
        for rtype in TYPES {
            let (plain, full) = (ask(&format!("{name} {rtype} tcp")), ask(&format!("{name} {rtype} do tcp")));
            let claim = Claim { read: &full, by, last: last_of(&full) };
            claim.check().unwrap_or_else(|why| panic!("{by:?} {name} {rtype}: {why}: {full:#?}"));
            // The same is answered, with and without.
            let of = |read: &Read, rtype: u16| -> Vec<(usize, Vec<u8>, u16, Vec<u8>)> {
                let dnssec =
                    |r: &&Rr| matches!(r.rtype, RRSIG | NSEC | NSEC3) && r.rtype != rtype || r.section == 2 && matches!(r.rtype, DS | NSEC);
                let kept = read.records.iter().filter(|r| r.rtype != OPT && !dnssec(r));
                kept.map(|r| (r.section, r.name.clone(), r.rtype, r.data.clone())).collect()
            };
            if full.qtype != RRSIG {
                assert_eq!((plain.flags, of(&plain, plain.qtype)), (full.flags, of(&full, full.qtype)), "{name} {rtype}");
                let unasked = plain.records.iter().find(|r| matches!(r.rtype, RRSIG | NSEC | NSEC3 | DNSKEY) && r.rtype != plain.qtype);
                assert!(unasked.is_none(), "{name} {rtype}: {unasked:?}");
            }
            // Over UDP it is the same, or cut (RFC 4035 §3.1).
            for size in [512, 700] {
                let cut = ask(&format!("{name} {rtype} do size={size}"));
                if cut.flags & 0x0200 == 0 {
                    let claim = Claim { read: &cut, by, last: last_of(&cut) };
                    claim.check().unwrap_or_else(|why| panic!("{by:?} {name} {rtype} in {size} octets: {why}: {cut:#?}"));
                }
            }
            asked += 1;
        }
    }
    assert!(asked > 1_500, "{asked}");
}

#[test]
fn every_reply_is_proved_with_nsec() {
    every_reply_is_proved(By::Names);
}

#[test]
fn every_reply_is_proved_with_nsec3() {
    every_reply_is_proved(By::Hashes { iterations: 0, salt: b"", opt_out: false });
    every_reply_is_proved(By::Hashes { iterations: 7, salt: b"a salt that takes two blocks, as it is so very long", opt_out: false });
}

#[test]
fn every_reply_is_proved_where_delegations_are_left_out() {
    every_reply_is_proved(By::Hashes { iterations: 1, salt: b"\xab\xcd", opt_out: true });
}
