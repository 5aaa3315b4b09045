//! Answers from a zone that its primary has signed: signatures and proofs are records of the zone (RFC 4035 §3.1, RFC 5155 §7.2).
//!
//! ```text
//!                                with NSEC                                with NSEC3
//!   no such name                 around the name, around the wildcard     at the closest encloser, around the next closer name, around the wildcard
//!   nothing of that type         at the name                              at the name
//!   … where a wildcard makes it  around the name, at the wildcard         at the closest encloser, around the next closer name, at the wildcard
//!   an empty non-terminal        around the name                          at the name
//!   an answer from a wildcard    around the name                          around the next closer name
//!   a delegation without DS      at the cut                               at the cut; else at what is provable above it, and around what is below that
//! ```
//! What proves of a wildcard that no nearer name is there stands in the authority section, behind all answers that aliases lead to: until
//! then it is noted where the message holds the name.

use std::cell::Cell;

use super::names::Meaning;
use super::reply::{Here, Place, Reply, Section};
use super::signed::{Covered, Signing};
use super::walk::MAX_ALIASES;
use crate::codec::code::{rcode, rtype};
use crate::codec::{Full, MAX_NAME, NameBuf, Spelling};
use crate::model::Counter;
use crate::snapshot::{CompiledZone, Delegation, Hashes, Lookup, Owner, Proofs, Signer};

/// Proofs that are kept from standing twice in a reply: those of a negative answer, and of some wildcards before it.
const TOLD: usize = 8;

/// What is known of a reply under way.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Where names stand that wildcards made, of which that is not proved yet.
    expanded: [Cell<Place>; MAX_ALIASES + 1],
    expansions: Cell<usize>,
    /// The proofs in it, known by their places in the snapshot.
    proofs: [Cell<Option<*const u8>>; TOLD],
}

impl Told {
    /// Whether a proof is new; from then on it is not. Where too many are, one that is not is taken for new.
    fn is_new(&self, proof: *const u8) -> bool {
        for slot in &self.proofs {
            match slot.get() {
                Some(told) if told == proof => return false,
                Some(_) => {}
                None => {
                    slot.set(Some(proof));
                    break;
                }
            }
        }
        true
    }
}

/// Signs an RRset that was just written.
pub(super) fn sign(zone: &CompiledZone, covered: &Covered<'_>, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    let owner = NameBuf::from_wire(covered.owner.wire).and_then(|name| zone.signed_at(&name));
    owner.map_or(Ok(()), |owner| write_signatures(owner, covered.owner.spelling, covered.rtype, covered.ttl, reply))
}

/// Writes the signatures of an RRset. Where there are none, whoever signed left it so.
fn write_signatures(owner: Owner<'_>, spelling: Spelling<'_>, rtype: u16, ttl: u32, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    reply.whole(|reply| owner.signatures(rtype).try_for_each(|data| reply.record(spelling, rtype::RRSIG, ttl, |writer| writer.put(data))))
}

/// Answers who asks for the signatures at a name; returns whether there are any. Those of one RRset are answer enough (RFC 8482 §7).
pub(super) fn answer_signatures(zone: &CompiledZone, here: &Here<'_>, meaning: &Meaning<'_>, reply: &mut Reply<'_, '_>) -> bool {
    let Meaning::Owner(owner) = meaning else { return false };
    let Some((set, first)) = owner.set(rtype::RRSIG).and_then(|set| Some((set, set.records().next()?))) else { return false };
    reply.conclude(rcode::NOERROR, Counter::Answered);
    let of_one = set.records().filter(|record| record.data.get(..2) == first.data.get(..2));
    let write = || {
        for record in of_one {
            reply.record(here.from(0), rtype::RRSIG, set.ttl_of(&record), |writer| writer.put(record.data))?;
        }
        note(zone, here, reply);
        prove_expansions(reply)
    };
    if write().is_err() {
        reply.truncate();
    }
    true
}

/// Notes an answer that a wildcard made.
pub(super) fn note(zone: &CompiledZone, here: &Here<'_>, reply: &Reply<'_, '_>) {
    let Some((signing, Signer::Primary(_))) = reply.signing(zone) else { return };
    if !matches!(zone.lookup(here.name), Lookup::Missing { .. }) {
        return;
    }
    let count = signing.told.expansions.get();
    if let Some(slot) = signing.told.expanded.get(count) {
        slot.set(here.place());
        signing.told.expansions.set(count + 1);
    }
}

/// Proves of each answer that a wildcard made that no nearer name is there (RFC 4035 §3.1.3.3, RFC 5155 §7.2.6). All answers stand.
pub(super) fn prove_expansions(reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    let Some(signing) = reply.any_signing().filter(|signing| signing.told.expansions.get() > 0) else { return Ok(()) };
    reply.turn_to(Section::Authority);
    let count = signing.told.expansions.take();
    signing.told.expanded.iter().take(count).try_for_each(|place| {
        let Some(name) = place.get().name(reply.message()) else { return Ok(()) };
        let Some((zone, Signer::Primary(proofs))) = signing.snapshot.zone(&name).and_then(|zone| Some((zone, zone.signer()?))) else {
            return Ok(());
        };
        let Lookup::Missing { encloser, .. } = zone.lookup(&name) else { return Ok(()) };
        let proof = Proof { signing, zone, proofs, here: &Here::placed(&name, place.get()) };
        match proofs.hashes() {
            None => proof.around(&name, reply),
            Some(hashes) => proof.around_hash(hashes, proof.part(proof.depth() - encloser - 1), reply),
        }
    })
}

/// Proves that a name is not there, or has nothing of the type that was asked for.
pub(super) fn deny(
    signing: &Signing<'_>,
    zone: &CompiledZone,
    proofs: &Proofs,
    here: &Here<'_>,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let proof = Proof { signing, zone, proofs, here };
    match zone.lookup(here.name) {
        Lookup::Owner(owner) | Lookup::Delegated { at: Some(owner), .. } => proof.nothing_at(owner, 0, reply),
        Lookup::Missing { encloser, wildcard } => proof.missing(encloser, wildcard, reply),
        Lookup::Delegated { at: None, .. } | Lookup::Redirected { .. } => Ok(()),
    }
}

/// Proves that a delegation has no DS (RFC 4035 §3.1.4, RFC 5155 §7.2.7): its name is that from label `index` on.
pub(super) fn refer(
    signing: &Signing<'_>,
    zone: &CompiledZone,
    proofs: &Proofs,
    delegation: &Delegation<'_>,
    here: &Here<'_>,
    index: usize,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    Proof { signing, zone, proofs, here }.nothing_at(delegation.cut, index, reply)
}

/// What is proved of a name.
struct Proof<'a> {
    signing: &'a Signing<'a>,
    zone: &'a CompiledZone,
    proofs: &'a Proofs,
    here: &'a Here<'a>,
}

impl<'a> Proof<'a> {
    /// How many labels the name has before the apex.
    fn depth(&self) -> usize {
        self.zone.depth(self.here.name)
    }

    /// The name from a label on.
    fn part(&self, index: usize) -> &'a [u8] {
        &self.here.name.wire()[self.here.name.start(index)..]
    }

    /// The name from a label on is there, and has not what was asked for.
    fn nothing_at(&self, owner: Owner<'_>, index: usize, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
        let Some(hashes) = self.proofs.hashes() else {
            return match (owner.set(rtype::NSEC), NameBuf::from_wire(self.part(index))) {
                (Some(_), _) => self.write(owner, rtype::NSEC, reply),
                // RFC 4035 §3.1.3.1, of a name that has nothing: the NSEC around it leads to a name below.
                (None, Some(name)) => self.around(&name, reply),
                (None, None) => Ok(()),
            };
        };
        // RFC 5155 §7.2.3, §7.2.4, §7.2.7: where it has none it was left out, and what is around the next closer name says so.
        self.closest_encloser(hashes, index, true, reply).map(drop)
    }

    /// The name is not there: its closest encloser has so many labels before the apex, and a wildcard or none.
    fn missing(&self, encloser: usize, wildcard: Option<Owner<'_>>, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
        let index = self.depth() - encloser;
        let Some(hashes) = self.proofs.hashes() else {
            // RFC 4035 §3.1.3.2, §3.1.3.4.
            self.around(self.here.name, reply)?;
            return match wildcard {
                Some(owner) if owner.set(rtype::NSEC).is_some() => self.write(owner, rtype::NSEC, reply),
                _ => self.wildcard(index).map_or(Ok(()), |name| self.around(&name, reply)),
            };
        };
        // RFC 5155 §7.2.2, §7.2.5.
        let Some(provable) = self.closest_encloser(hashes, index, false, reply)? else { return Ok(()) };
        let Some(name) = self.wildcard(provable) else { return Ok(()) };
        self.around_hash(hashes, name.wire(), reply)
    }

    /// The wildcard below the name from a label on.
    fn wildcard(&self, index: usize) -> Option<NameBuf> {
        let (mut wire, above) = ([0; MAX_NAME + 2], self.part(index));
        wire[..2].copy_from_slice(b"\x01*");
        wire[2..2 + above.len()].copy_from_slice(above);
        NameBuf::from_wire(&wire[..2 + above.len()])
    }

    /// Proves the closest name that has an NSEC3, the name from a label on or one above it, and, where that is not the name that `is_asked` for,
    /// that the next closer one has none (RFC 5155 §7.2.1). Returns where it begins. Names above are there, so that these are as many as the zone itself makes.
    fn closest_encloser(&self, hashes: &Hashes, from: usize, is_asked: bool, reply: &mut Reply<'_, '_>) -> Result<Option<usize>, Full> {
        for index in from..=self.depth() {
            if let Some((owner, true)) = self.zone.nsec3_around(hashes, hashes.of(self.part(index))) {
                self.write(owner, rtype::NSEC3, reply)?;
                if let Some(closer) = index.checked_sub(1).filter(|_| index > from || !is_asked) {
                    self.around_hash(hashes, self.part(closer), reply)?;
                }
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The NSEC around a name, or at it.
    fn around(&self, name: &NameBuf, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
        self.zone.nsec_around(self.proofs, name).map_or(Ok(()), |owner| self.write(owner, rtype::NSEC, reply))
    }

    /// The NSEC3 around the hash of a name, or at it.
    fn around_hash(&self, hashes: &Hashes, name: &[u8], reply: &mut Reply<'_, '_>) -> Result<(), Full> {
        self.zone.nsec3_around(hashes, hashes.of(name)).map_or(Ok(()), |(owner, _)| self.write(owner, rtype::NSEC3, reply))
    }

    /// Writes a proof and its signature, unless it stands in the reply (RFC 2181 §5).
    fn write(&self, owner: Owner<'_>, rtype: u16, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
        let Some(set) = owner.set(rtype).filter(|set| self.signing.told.is_new(set.place())) else { return Ok(()) };
        let (key, depth) = (owner.key(), self.depth());
        let spelling = if key == self.here.name.part(0, depth) { self.here.from(0) } else { self.here.below(key, depth) };
        for record in set.records() {
            // RFC 4034 §4.1.1: not compressed.
            reply.record(spelling, rtype, set.ttl(), |writer| writer.put(record.data))?;
        }
        write_signatures(owner, spelling, rtype, set.ttl(), reply)
    }
}
