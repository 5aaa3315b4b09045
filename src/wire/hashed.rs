//! What is not there, proved by hashes (RFC 5155), where names should not be told: an NSEC3 right at the hash of a name, or right around it, made
//! for each answer (RFC 7129 §B). No salt, no further iterations (RFC 9276 §3.1), no opt-out.
//!
//! ```text
//!   no such name                 at its closest encloser; around the next closer name; around the wildcard there       NXDOMAIN
//!   nothing of that type         at the name: what is there                     also where a wildcard makes it: it is signed as if it were there
//!   an empty non-terminal        at the name: nothing
//!   a delegation without DS      at the cut: NS
//! ```

use super::denial::Types;
use super::names::{Meaning, resolve};
use super::reply::{Here, Reply};
use super::signed::{self, Covered, Owner, Signing};
use crate::codec::code::rtype;
use crate::codec::{Full, HASH_LABEL, MAX_NAME, NameBuf, NameHash, Writer};
use crate::snapshot::{CompiledZone, Snapshot};

/// SHA-1, no flags, no further iterations, no salt (RFC 5155 §3.1).
const FIXED: [u8; 5] = [1, 0, 0, 0, 0];

/// Proves that a name is not there, or has nothing of the type that was asked for.
pub(super) fn deny(signing: &Signing<'_>, zone: &CompiledZone, here: &Here<'_>, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    let snapshot = signing.snapshot;
    let meaning = resolve(snapshot, zone, here.name);
    if !matches!(meaning, Meaning::Missing | Meaning::Redirected { .. }) {
        let types = Types { snapshot, meaning, denied: Some(signing.qtype), hashed: true };
        return at(zone, here, 0, &types, reply);
    }
    // RFC 5155 §7.2.2.
    let wire = here.name.wire();
    let index = closest_encloser(snapshot, zone, here);
    let Some(encloser) = NameBuf::from_wire(&wire[here.name.start(index)..]) else { return Err(Full) };
    let types = Types { snapshot, meaning: resolve(snapshot, zone, &encloser), denied: None, hashed: true };
    at(zone, here, index, &types, reply)?;
    around(zone, here, NameHash::of(&wire[here.name.start(index.saturating_sub(1))..]), wire, reply)?;
    let mut wildcard = [0; MAX_NAME + 2];
    wildcard[..2].copy_from_slice(b"\x01*");
    wildcard[2..2 + encloser.wire().len()].copy_from_slice(encloser.wire());
    around(zone, here, NameHash::of(&wildcard[..2 + encloser.wire().len()]), encloser.wire(), reply)
}

/// Where the nearest name begins that is there, above one that is not (RFC 5155 §1.3): its first label.
fn closest_encloser(snapshot: &Snapshot, zone: &CompiledZone, here: &Here<'_>) -> usize {
    let apex = zone.depth(here.name);
    let is_there = |index: &usize| {
        let name = NameBuf::from_wire(&here.name.wire()[here.name.start(*index)..]);
        name.is_some_and(|name| !matches!(resolve(snapshot, zone, &name), Meaning::Missing | Meaning::Redirected { .. }))
    };
    (1..apex).find(is_there).unwrap_or(apex)
}

/// The NSEC3 at the hash of a name: which types are there (RFC 5155 §7.2.3, §7.2.7).
pub(super) fn at(zone: &CompiledZone, here: &Here<'_>, index: usize, types: &Types<'_>, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    let name = &here.name.wire()[here.name.start(index)..];
    let hash = NameHash::of(name);
    write(zone, here, (hash, hash.next()), name, reply, |writer| types.write(writer))
}

/// The NSEC3 around the hash of a name: it is not there. `of` is the name that has it asked for.
fn around(zone: &CompiledZone, here: &Here<'_>, hash: NameHash, of: &[u8], reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    write(zone, here, (hash.previous(), hash.next()), of, reply, |_| Ok(()))
}

/// Writes an NSEC3, and its signature.
fn write(
    zone: &CompiledZone,
    here: &Here<'_>,
    (hash, next): (NameHash, NameHash),
    of: &[u8],
    reply: &mut Reply<'_, '_>,
    types: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    let label = hash.label();
    let mut wire = [0; MAX_NAME];
    let length = HASH_LABEL + zone.apex().len();
    // A zone whose apex leaves no room is not compiled.
    wire.get_mut(..HASH_LABEL).ok_or(Full)?.copy_from_slice(&label);
    wire.get_mut(HASH_LABEL..length).ok_or(Full)?.copy_from_slice(zone.apex());
    let apex = zone.depth(here.name);
    let owner = Owner { wire: &wire[..length], spelling: here.below(&label, apex), of };
    // RFC 9077 §3: the TTL of negative answers.
    let (ttl, start) = (zone.negative().ttl(), reply.position());
    reply.record(owner.spelling, rtype::NSEC3, ttl, |writer| {
        writer.put(&FIXED)?;
        writer.put(&[next.0.len() as u8])?;
        writer.put(&next.0)?;
        types(writer)
    })?;
    signed::written(zone, &Covered { owner, rtype: rtype::NSEC3, ttl, original: ttl }, start, 1, reply)
}
