//! What is not there, proved (RFC 9824): an NSEC at the name itself, made for each answer, that says which types are there.
//!
//! ```text
//!   no such name                 NSEC \000.name      RRSIG NSEC NXNAME               NOERROR; NXDOMAIN where the query has CO (§5.1)
//!   nothing of that type         NSEC \000.name      what is there, RRSIG NSEC
//!   an empty non-terminal        NSEC \000.name      RRSIG NSEC
//!   a delegation without DS      NSEC child\000      NS RRSIG NSEC                   the next name is not below the cut (§3.4)
//! ```
//! A name that is decided shows every type that it could answer anybody, whatever it answers this client: who caches the NSEC and answers
//! from it (RFC 8198) must not deny another client what that client would get.

use super::names::{Meaning, resolve};
use super::reply::{Here, Reply};
use super::services::can_answer;
use super::signed::{self, Covered, Owner, Signing};
use super::walk::Asked;
use super::{copied, hashed};
use crate::codec::code::{rcode, rtype};
use crate::codec::{Full, MAX_NAME, Writer};
use crate::model::{Counter, Denial};
use crate::snapshot::{CompiledZone, Delegation, LeafRecords, NamePolicy, Signer, Snapshot};

/// Begins the answer from a signed zone; returns whether that is all of it.
pub(super) fn begin(asked: &Asked<'_>, zone: &CompiledZone, here: &Here<'_>, meaning: &Meaning<'_>, reply: &mut Reply<'_, '_>) -> bool {
    let (signing, epoch) = match reply.signed_by(zone) {
        Some((signing, Signer::Here(epoch, Denial::Compact))) => (signing, epoch),
        Some((_, Signer::Primary(_))) if asked.qtype == rtype::RRSIG => return copied::answer_signatures(zone, here, meaning, reply),
        // Of an NSEC3 nobody can ask for, and there are none of NSEC. What a primary has made is there or not, as any RRset.
        _ => return false,
    };
    // RFC 9824 §5.1: whoever says CO is told that it was heard.
    reply.compact_ok |= signing.dnssec_ok && signing.compact_ok;
    let asks = matches!(asked.qtype, rtype::NSEC | rtype::RRSIG) && !matches!(meaning, Meaning::Redirected { .. } | Meaning::Missing);
    if asks {
        answer(signing, epoch, zone, here, *meaning, reply);
    }
    asks
}

/// Proves that a name is not there, or has nothing of the type that was asked for. The SOA stands before it.
pub(super) fn deny(zone: &CompiledZone, here: &Here<'_>, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    let signing = match reply.signing(zone) {
        Some((signing, Signer::Here(_, Denial::Compact))) => signing,
        Some((signing, Signer::Here(_, Denial::Nsec3))) => return hashed::deny(signing, zone, here, reply),
        Some((signing, Signer::Primary(proofs))) => return copied::deny(signing, zone, proofs, here, reply),
        None => return Ok(()),
    };
    let meaning = resolve(signing.snapshot, zone, here.name);
    nsec(signing, zone, here, 0, &Types { snapshot: signing.snapshot, meaning, denied: Some(signing.qtype), hashed: false }, reply)
}

/// Answers who asks for the NSEC or the signatures of a name that is there.
#[cold]
fn answer(signing: &Signing<'_>, epoch: u64, zone: &CompiledZone, here: &Here<'_>, meaning: Meaning<'_>, reply: &mut Reply<'_, '_>) {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    let start = reply.position();
    let types = Types { snapshot: signing.snapshot, meaning, denied: None, hashed: false };
    let written = match signing.qtype {
        rtype::NSEC => nsec(signing, zone, here, 0, &types, reply),
        // RFC 8482 §7: signatures are asked for as anything is, and those of one RRset are answer enough. That of the NSEC is there for
        // every name.
        _ => record(zone, here, 0, &types, reply).and_then(|covered| {
            let behind = reply.position();
            let written = signed::written_by(signing, epoch, zone, &covered, start, 1, reply);
            reply.take_out(start, behind);
            written
        }),
    };
    if written.is_err() {
        reply.truncate();
    }
}

/// What a referral says of the keys of the zone below: its DS, or that it has none (RFC 4035 §3.1.4.1).
pub(super) fn refer(
    zone: &CompiledZone,
    delegation: &Delegation<'_>,
    here: &Here<'_>,
    index: usize,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let Some((signing, signer)) = reply.signing(zone) else { return Ok(()) };
    if let Some(set) = delegation.cut.set(rtype::DS) {
        return reply.whole(|reply| super::records::write_signed(zone, &set, here, index, reply));
    }
    let denial = match signer {
        Signer::Here(_, denial) => denial,
        Signer::Primary(proofs) => return copied::refer(signing, zone, proofs, delegation, here, index, reply),
    };
    let meaning = Meaning::Delegated { delegation: *delegation, at: Some(delegation.cut) };
    let types = Types { snapshot: signing.snapshot, meaning, denied: None, hashed: denial == Denial::Nsec3 };
    match denial {
        Denial::Compact => nsec(signing, zone, here, index, &types, reply),
        Denial::Nsec3 => hashed::at(zone, here, index, &types, reply),
    }
}

/// Writes the NSEC of a name, and its signature.
fn nsec(
    signing: &Signing<'_>,
    zone: &CompiledZone,
    here: &Here<'_>,
    index: usize,
    types: &Types<'_>,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let start = reply.position();
    let covered = record(zone, here, index, types, reply)?;
    if !signing.dnssec_ok {
        return Ok(());
    }
    signed::written(zone, &covered, start, 1, reply)
}

/// Writes the NSEC of a name.
fn record<'n>(
    zone: &CompiledZone,
    here: &Here<'n>,
    index: usize,
    types: &Types<'_>,
    reply: &mut Reply<'_, '_>,
) -> Result<Covered<'n>, Full> {
    let owner = Owner::at(here, index);
    // RFC 9077 §3: the TTL of negative answers.
    let ttl = zone.negative().ttl();
    reply.record(owner.spelling, rtype::NSEC, ttl, |writer| {
        let mut next = [0; MAX_NAME];
        let is_cut = matches!(types.meaning, Meaning::Delegated { .. });
        let length = successor(owner.wire, zone.apex().len(), !is_cut, &mut next);
        // RFC 4034 §4.1.1: not compressed.
        writer.put(&next[..length])?;
        types.write(writer)
    })?;
    Ok(Covered { owner, rtype: rtype::NSEC, ttl, original: ttl })
}

/// The types at a name.
pub(super) struct Types<'a> {
    pub snapshot: &'a Snapshot,
    pub meaning: Meaning<'a>,
    /// What was asked for, and is not there.
    pub denied: Option<u16>,
    /// They stand in an NSEC3, which is at no name: there are signatures where something else is that is signed (RFC 5155 §3.2.1).
    pub hashed: bool,
}

impl Types<'_> {
    /// Calls `take` with each, some of them twice.
    fn each(&self, take: &mut dyn FnMut(u16)) {
        if !self.hashed {
            take(rtype::RRSIG);
            take(rtype::NSEC);
        } else if self.is_signed() {
            take(rtype::RRSIG);
        }
        let take = &mut |rtype| {
            if self.denied != Some(rtype) {
                take(rtype);
            }
        };
        match &self.meaning {
            Meaning::Missing | Meaning::Redirected { .. } => take(rtype::NXNAME),
            Meaning::Empty => {}
            // RFC 4035 §2.3: what else stands at a cut is not ours to speak of.
            Meaning::Delegated { at, .. } => {
                take(rtype::NS);
                if at.is_some_and(|cut| cut.set(rtype::DS).is_some()) {
                    take(rtype::DS);
                }
            }
            Meaning::Owner(owner) => {
                owner.sets().for_each(|set| take(set.rtype()));
                if let Some(policy) = owner.policy() {
                    self.of_policy(policy, take);
                }
            }
            Meaning::Service(name) => {
                INSTANCES.into_iter().filter(|rtype| can_answer(name.service, name.port, *rtype)).for_each(&mut *take);
                if name.port.is_none() {
                    leaves(name.service.records(), take);
                }
            }
            Meaning::Instance(name) => {
                INSTANCES.into_iter().filter(|rtype| can_answer(name.service, name.port, *rtype)).for_each(&mut *take);
            }
        }
    }

    /// Whether there is anything of ours to sign.
    fn is_signed(&self) -> bool {
        match &self.meaning {
            Meaning::Missing | Meaning::Redirected { .. } | Meaning::Empty => false,
            Meaning::Delegated { at, .. } => at.is_some_and(|cut| cut.set(rtype::DS).is_some()),
            Meaning::Owner(owner) => !owner.is_empty(),
            Meaning::Service(_) | Meaning::Instance(_) => true,
        }
    }

    fn of_policy(&self, policy: &NamePolicy, take: &mut dyn FnMut(u16)) {
        let of_addresses = |rtype: &u16| policy.alias.is_none() || matches!(*rtype, rtype::A | rtype::AAAA);
        leaves(&policy.records, take);
        for service in policy.tree.services().filter_map(|id| self.snapshot.service_at(id)) {
            INSTANCES.into_iter().filter(of_addresses).filter(|rtype| can_answer(service, None, *rtype)).for_each(&mut *take);
            leaves(service.records(), take);
        }
    }

    /// Writes them as the bitmaps of an NSEC (RFC 4034 §4.1.2), window by window.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        let mut from = 0;
        loop {
            let mut window = None;
            self.each(&mut |rtype| {
                let of = rtype >> 8;
                if of >= from && window.is_none_or(|window| of < window) {
                    window = Some(of);
                }
            });
            let Some(window) = window else { return Ok(()) };
            let (mut bits, mut octets) = ([0_u8; 32], 0);
            self.each(&mut |rtype| {
                if rtype >> 8 == window {
                    let at = usize::from(rtype & 0xff) / 8;
                    bits[at] |= 0x80 >> (rtype % 8);
                    octets = octets.max(at + 1);
                }
            });
            writer.put(&[window as u8, octets as u8])?;
            writer.put(&bits[..octets])?;
            from = window + 1;
        }
    }
}

/// What instances have records of.
const INSTANCES: [u16; 5] = [rtype::A, rtype::AAAA, rtype::SRV, rtype::TXT, rtype::HTTPS];

/// What a branch that ends in a CNAME can answer: whatever the name has that it leads to. These are the types that are asked for.
const OF_ALIASES: [u16; 15] = [
    rtype::A,
    rtype::PTR,
    rtype::HINFO,
    rtype::MX,
    rtype::TXT,
    rtype::AAAA,
    LOC,
    rtype::SRV,
    NAPTR,
    SSHFP,
    TLSA,
    rtype::SVCB,
    rtype::HTTPS,
    URI,
    CAA,
];
const LOC: u16 = 29;
const NAPTR: u16 = 35;
const SSHFP: u16 = 44;
const TLSA: u16 = 52;
const URI: u16 = 256;
const CAA: u16 = 257;

/// The types of a policy's own records. CNAME is never shown: where it stands, nothing can be denied (RFC 4035 §5.4), and for this client
/// it does not.
fn leaves(records: &LeafRecords, take: &mut dyn FnMut(u16)) {
    for set in (0..).map_while(|n| records.get(n)) {
        match set.rtype() {
            rtype::CNAME => OF_ALIASES.into_iter().for_each(&mut *take),
            rtype => take(rtype),
        }
    }
}

/// The name that comes next in canonical order (RFC 4034 §6.1), or soon: where `inside`, right behind a name and before all others below it;
/// else behind everything below it. Returns its length. The last name of a zone is followed by its apex, which takes `apex` octets.
fn successor(name: &[u8], apex: usize, inside: bool, next: &mut [u8; MAX_NAME]) -> usize {
    let mut end = name.len();
    if inside && end + 2 <= MAX_NAME {
        next[..2].copy_from_slice(&[1, 0]);
        next[2..end + 2].copy_from_slice(name);
        return end + 2;
    }
    let (mut label, mut behind) = (name, name);
    while end > apex {
        let length = usize::from(label[0]);
        (label, behind) = label.split_at(1 + length);
        if length < 63 && end < MAX_NAME {
            // The least label that is more: one octet longer.
            next[0] = label[0] + 1;
            next[1..=length].copy_from_slice(&label[1..]);
            next[1 + length] = 0;
            next[2 + length..=end].copy_from_slice(behind);
            return end + 1;
        }
        // Else the least of that length or shorter: the last octet that can be more is. Letters count as lower case.
        if let Some(last) = label[1..].iter().rposition(|octet| *octet != 0xff) {
            let kept = last + 1;
            next[..=kept].copy_from_slice(&label[..=kept]);
            next[0] = kept as u8;
            next[kept] = if label[kept] == b'@' { b'[' } else { label[kept] + 1 };
            next[kept + 1..kept + 1 + behind.len()].copy_from_slice(behind);
            return kept + 1 + behind.len();
        }
        (end, label) = (behind.len(), behind);
    }
    next[..behind.len()].copy_from_slice(behind);
    behind.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::NameBuf;

    const APEX: &[u8] = b"\x03svc\x07example\x00";

    fn next(name: &[u8], inside: bool) -> Vec<u8> {
        let mut next = [0xee; MAX_NAME];
        let length = successor(name, APEX.len(), inside, &mut next);
        assert!(NameBuf::from_wire(&next[..length]).is_some(), "{name:?}: {next:?}");
        next[..length].to_vec()
    }

    /// Labels from the right to the left, as names are sorted (RFC 4034 §6.1).
    fn sortable(name: &[u8]) -> Vec<Vec<u8>> {
        let name = NameBuf::from_wire(name).unwrap();
        (0..name.labels()).rev().map(|n| name.label(n).to_vec()).collect()
    }

    #[test]
    fn the_next_name_is_right_behind() {
        let below = |labels: &[u8]| [labels, APEX].concat();
        assert_eq!(next(&below(b"\x01a"), true), below(b"\x01\x00\x01a"));
        assert_eq!(next(&below(b"\x01a"), false), below(b"\x02a\x00"));
        assert_eq!(next(APEX, true), [b"\x01\x00", APEX].concat());
        // Labels that cannot grow, in names that cannot: the least that is more.
        let label = |octet: u8| [&[63][..], &[b'a'; 62], &[octet]].concat();
        assert_eq!(next(&below(&label(b'a')), false), below(&label(b'b')));
        assert_eq!(next(&below(&label(b'@')), false), below(&label(b'[')), "capital letters count as small ones");
        assert_eq!(next(&below(&label(0xff)), false), below(&[&[62][..], &[b'a'; 61], b"b"].concat()));
        assert_eq!(next(&below(&[&[63][..], &[0xff; 63]].concat()), false), APEX, "the last name is followed by the apex");
        let filled = |last: usize| {
            let last = [&[last as u8][..], &vec![b'z'; last]].concat();
            below(&[&last[..], &label(b'a'), &label(b'b'), &label(b'c')].concat())
        };
        for last in 40..=48 {
            let name = filled(last);
            let found = next(&name, true);
            assert!(name.len() <= MAX_NAME && sortable(&found) > sortable(&name), "{last}: {found:?}");
            if name.len() <= MAX_NAME - 2 {
                assert_eq!(found, [b"\x01\x00", &name[..]].concat());
            }
        }
    }

    #[test]
    fn types_stand_in_windows() {
        let snapshot = Snapshot::empty();
        // The name is missing: the three types that say so; what was asked for is never among them.
        let written = |meaning: Meaning<'_>, denied: Option<u16>| {
            let mut buffer = [0; 600];
            let mut writer = Writer::new(&mut buffer);
            Types { snapshot: &snapshot, meaning, denied, hashed: false }.write(&mut writer).unwrap();
            writer.written(0).to_vec()
        };
        assert_eq!(written(Meaning::Empty, Some(1)), b"\x00\x06\x00\x00\x00\x00\x00\x03");
        let mut missing = [&b"\x00\x11"[..], &[0; 17]].concat();
        (missing[7], missing[18]) = (0x03, 0x80);
        assert_eq!(written(Meaning::Missing, Some(1)), missing);
    }
}
