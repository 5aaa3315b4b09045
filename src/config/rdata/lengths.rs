//! What the octets of some types must fulfil beyond having the form of their fields. A digest of the wrong length matches nothing, and
//! makes the name that it protects unreachable for whoever checks.

use super::fields::name_length;
use super::networks::types_length;
use crate::codec::{HASH, MOST_ITERATED, iterated};

/// Everything.
pub(super) fn any(_: &[u8]) -> Result<(), String> {
    Ok(())
}

/// So many octets are expected of this type, where it is known.
fn exactly(what: &str, expected: Option<usize>, found: usize) -> Result<(), String> {
    match expected {
        Some(octets) if octets != found => Err(format!("a {what} of this type has {octets} octets, not {found}")),
        _ => Ok(()),
    }
}

/// DS, DLV and TA: digest types of RFC 4034, 4509, 5933, 6605, 9558 and 9563.
pub(super) fn digest(rdata: &[u8]) -> Result<(), String> {
    let [_, _, _, number, digest @ ..] = rdata else { return Ok(()) };
    let expected = match number {
        1 => Some(20),
        2 | 3 | 5 | 6 => Some(32),
        4 => Some(48),
        _ => None,
    };
    exactly("digest", expected, digest.len())
}

/// CDS: as DS, or the request to remove them (RFC 8078 §4).
pub(super) fn child_digest(rdata: &[u8]) -> Result<(), String> {
    match rdata {
        [0, 0, 0, 0, 0] => Ok(()),
        [_, _, 0, ..] | [_, _, _, 0, ..] => {
            Err("algorithm and digest type 0 are the request to remove all DS, written \"0 0 0 00\"".into())
        }
        _ => digest(rdata),
    }
}

/// DNSKEY (RFC 4034 §2.1.2).
pub(super) fn zone_key(rdata: &[u8]) -> Result<(), String> {
    match rdata {
        [_, _, 3, ..] => Ok(()),
        _ => Err("the protocol of a key is 3 (RFC 4034 §2.1.2)".into()),
    }
}

/// CDNSKEY: as DNSKEY, or the request to remove all DS (RFC 8078 §4).
pub(super) fn child_key(rdata: &[u8]) -> Result<(), String> {
    match rdata {
        [0, 0, 3, 0, 0] => Ok(()),
        [_, _, 3, 0, ..] => Err("algorithm 0 is the request to remove all DS, written \"0 3 0 AA==\"".into()),
        _ => zone_key(rdata),
    }
}

/// SSHFP: RFC 4255 §3.1.2, RFC 6594 §4.
pub(super) fn fingerprint(rdata: &[u8]) -> Result<(), String> {
    let [_, number, fingerprint @ ..] = rdata else { return Ok(()) };
    let expected = match number {
        1 => Some(20),
        2 => Some(32),
        _ => None,
    };
    exactly("fingerprint", expected, fingerprint.len())
}

/// TLSA and SMIMEA: RFC 6698 §2.1.3.
pub(super) fn association(rdata: &[u8]) -> Result<(), String> {
    let [_, _, number, data @ ..] = rdata else { return Ok(()) };
    let expected = match number {
        1 => Some(32),
        2 => Some(64),
        _ => None,
    };
    exactly("hash", expected, data.len())
}

/// ZONEMD: RFC 8976 §2.2.
pub(super) fn zone_digest(rdata: &[u8]) -> Result<(), String> {
    let [_, _, _, _, _, number, digest @ ..] = rdata else { return Ok(()) };
    match number {
        1 => exactly("digest", Some(48), digest.len()),
        2 => exactly("digest", Some(64), digest.len()),
        _ if digest.len() < 12 => Err("a digest has at least 12 octets (RFC 8976 §2.2.4)".into()),
        _ => Ok(()),
    }
}

/// URI: the target is never empty (RFC 7553 §4.5).
pub(super) fn uri(rdata: &[u8]) -> Result<(), String> {
    match rdata.len() {
        0..=4 => Err("the URI must not be empty".into()),
        _ => Ok(()),
    }
}

/// RRSIG (RFC 4034 §3.1): the fixed fields, the signer, and a signature.
pub(super) fn signature(rdata: &[u8]) -> Result<(), String> {
    let signed = rdata.get(18..).and_then(|rest| rest.get(name_length(rest)?..)).is_some_and(|signature| !signature.is_empty());
    if signed { Ok(()) } else { Err("these octets are no RRSIG (RFC 4034 §3.1)".into()) }
}

/// NSEC (RFC 4034 §4.1): the next name, and the types.
pub(super) fn next_name(rdata: &[u8]) -> Result<(), String> {
    let types = name_length(rdata).and_then(|length| rdata.get(length..));
    if types.is_some_and(are_types) { Ok(()) } else { Err("these octets are no NSEC (RFC 4034 §4.1)".into()) }
}

/// NSEC3 (RFC 5155 §3.2): how it is hashed, the next hash, and the types.
pub(super) fn next_hash(rdata: &[u8]) -> Result<(), String> {
    let behind = hashing(rdata)?;
    let types = behind.split_first().and_then(|(length, rest)| rest.get((*length).into()..).filter(|_| *length != 0));
    // RFC 5155 §8.1: records of other hashes are left alone.
    if rdata[0] == 1 && behind.first().is_some_and(|length| usize::from(*length) != HASH) {
        return Err(format!("a hash of SHA-1 has {HASH} octets (RFC 5155 §3.1.7)"));
    }
    if types.is_some_and(are_types) { Ok(()) } else { Err("these octets are no NSEC3 (RFC 5155 §3.2)".into()) }
}

/// NSEC3PARAM (RFC 5155 §4.2).
pub(super) fn hash_parameters(rdata: &[u8]) -> Result<(), String> {
    match hashing(rdata)? {
        [] => Ok(()),
        _ => Err("these octets are no NSEC3PARAM (RFC 5155 §4.2)".into()),
    }
}

/// Algorithm, flags, iterations and salt (RFC 5155 §3.1); what stands behind them.
fn hashing(rdata: &[u8]) -> Result<&[u8], String> {
    let [_, _, i0, i1, length, rest @ ..] = rdata else {
        return Err("algorithm, flags, iterations and salt are expected (RFC 5155 §3.1)".into());
    };
    let (salt, behind) = rest.split_at_checked((*length).into()).ok_or("the salt is cut off (RFC 5155 §3.1.4)")?;
    let iterations = u16::from_be_bytes([*i0, *i1]);
    match iterated(iterations, salt.len()) {
        0..=MOST_ITERATED => Ok(behind),
        blocks => Err(format!(
            "{iterations} further iterations with a salt of {} octets are {blocks} blocks to hash for each name of an answer; at most \
             {MOST_ITERATED} are taken, and RFC 9276 §3.1 asks for none",
            salt.len()
        )),
    }
}

/// Whether they are bitmaps of types (RFC 4034 §4.1.2), of which there may be none.
fn are_types(octets: &[u8]) -> bool {
    types_length(octets).is_some()
}
