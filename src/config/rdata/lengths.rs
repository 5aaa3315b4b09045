//! What the octets of some types must fulfil beyond having the form of their fields. A digest of the wrong length matches nothing, and
//! makes the name that it protects unreachable for whoever checks.

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
