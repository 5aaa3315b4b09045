//! Data that depends on itself: gateways, prefixes, services and types in bitmaps, host identities.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::digits::{base64, hex};
use super::mnemonics::{self, PORTS, PROTOCOLS};
use super::{Token, name, name_length, stored_type};
use crate::model::Name;

/// Takes the next token's text.
pub(super) fn take<'t>(rest: &mut &[Token<'t>], what: &str) -> Result<&'t str, String> {
    let (first, others) = rest.split_first().ok_or_else(|| format!("the {what} is missing"))?;
    *rest = others;
    Ok(first.text)
}

pub(super) fn v4(text: &str) -> Result<[u8; 4], String> {
    text.parse::<Ipv4Addr>().map(|address| address.octets()).map_err(|_| format!("an IPv4 address is expected, not {text:?}"))
}

pub(super) fn v6(text: &str) -> Result<[u8; 16], String> {
    text.parse::<Ipv6Addr>().map(|address| address.octets()).map_err(|_| format!("an IPv6 address is expected, not {text:?}"))
}

fn small(text: &str, most: u8) -> Result<u8, String> {
    text.parse().ok().filter(|number| *number <= most).ok_or_else(|| format!("a whole number from 0 to {most} is expected, not {text:?}"))
}

/// Whom a gateway or relay of a type is: none, an address, or a name (RFC 4025 §2.3, RFC 8777 §4.2.3).
fn whom(kind: u8, text: &str, origin: &Name, rdata: &mut Vec<u8>) -> Result<(), String> {
    match kind {
        0 if text == "." => Ok(()),
        0 => Err(format!("\".\" is expected of type 0, not {text:?}")),
        1 => v4(text).map(|octets| rdata.extend(octets)),
        2 => v6(text).map(|octets| rdata.extend(octets)),
        3 => name(text, origin, rdata),
        _ => Err(format!("a type from 0 to 3 is expected, not {kind}")),
    }
}

fn whom_length(kind: u8, wire: &[u8]) -> Option<usize> {
    let length = match kind {
        0 => 0,
        1 => 4,
        2 => 16,
        3 => name_length(wire)?,
        _ => return None,
    };
    (length <= wire.len()).then_some(length)
}

/// IPSECKEY: gateway type, algorithm and gateway (RFC 4025 §3.1).
pub(super) fn gateway(rest: &mut &[Token<'_>], origin: &Name, rdata: &mut Vec<u8>) -> Result<(), String> {
    let kind = small(take(rest, "gateway type")?, 3)?;
    let algorithm = small(take(rest, "algorithm")?, u8::MAX)?;
    rdata.extend([kind, algorithm]);
    whom(kind, take(rest, "gateway")?, origin, rdata)?;
    match (algorithm, rest.is_empty()) {
        (0, false) => Err("algorithm 0 has no key".into()),
        (1.., true) => Err("the key is missing".into()),
        _ => Ok(()),
    }
}

pub(super) fn gateway_length(wire: &[u8]) -> Option<usize> {
    let [kind, _, gateway @ ..] = wire else { return None };
    whom_length(*kind, gateway).map(|length| 2 + length)
}

/// AMTRELAY: discovery optional, relay type and relay (RFC 8777 §4.3.1).
pub(super) fn relay(rest: &mut &[Token<'_>], origin: &Name, rdata: &mut Vec<u8>) -> Result<(), String> {
    let optional = small(take(rest, "discovery optional bit")?, 1)?;
    let kind = small(take(rest, "relay type")?, 3)?;
    rdata.push(optional << 7 | kind);
    whom(kind, take(rest, "relay")?, origin, rdata)
}

pub(super) fn relay_length(wire: &[u8]) -> Option<usize> {
    let (kind, relay) = wire.split_first()?;
    whom_length(kind & 0x7f, relay).map(|length| 1 + length)
}

/// APL: `[!]family:address/prefix`, any number of them (RFC 3123 §5).
pub(super) fn prefixes(rest: &mut &[Token<'_>], rdata: &mut Vec<u8>) -> Result<(), String> {
    for token in std::mem::take(rest) {
        let wrong = || format!("a prefix such as 1:192.0.2.0/24 or !2:2001:db8::/32 is expected, not {:?}", token.text);
        let (negated, text) = token.text.strip_prefix('!').map_or((0, token.text), |text| (0x80, text));
        let (family, network) = text.split_once(':').ok_or_else(wrong)?;
        let (address, length) = network.split_once('/').ok_or_else(wrong)?;
        let length: u8 = length.parse().map_err(|_| wrong())?;
        let octets = match family {
            "1" if length <= 32 => v4(address)?.to_vec(),
            "2" if length <= 128 => v6(address)?.to_vec(),
            _ => return Err(wrong()),
        };
        // RFC 3123 §4: trailing zero octets are not sent.
        let used = octets.iter().rposition(|octet| *octet != 0).map_or(0, |at| at + 1);
        rdata.extend([0, u8::from(family == "2") + 1, length, negated | used as u8]);
        rdata.extend(&octets[..used]);
    }
    Ok(())
}

pub(super) fn prefixes_length(wire: &[u8]) -> Option<usize> {
    let mut rest = wire;
    while let [f1, f2, prefix, length, others @ ..] = rest {
        let length = usize::from(length & 0x7f);
        let (bits, most) = match u16::from_be_bytes([*f1, *f2]) {
            1 => (32, 4),
            2 => (128, 16),
            _ => (u8::MAX, 127),
        };
        let octets = others.get(..length)?;
        if *prefix > bits || length > most || octets.last() == Some(&0) {
            return None;
        }
        rest = &others[length..];
    }
    rest.is_empty().then_some(wire.len())
}

/// WKS: a protocol and the services that are there (RFC 1035 §3.4.2).
pub(super) fn services(rest: &mut &[Token<'_>], rdata: &mut Vec<u8>) -> Result<(), String> {
    let protocol = take(rest, "protocol")?;
    let known = mnemonics::number(PROTOCOLS, protocol).and_then(|number| u8::try_from(number).ok());
    rdata.push(known.map_or_else(|| small(protocol, u8::MAX), Ok)?);
    let mut bitmap = Vec::new();
    for token in std::mem::take(rest) {
        let port = token.text.parse().ok().or_else(|| mnemonics::number(PORTS, token.text));
        let port = usize::from(port.ok_or_else(|| format!("a port or a service such as smtp is expected, not {:?}", token.text))?);
        set(&mut bitmap, port);
    }
    rdata.extend(bitmap);
    Ok(())
}

pub(super) fn services_length(wire: &[u8]) -> Option<usize> {
    (1..=1 + 8192).contains(&wire.len()).then_some(wire.len())
}

/// Sets a bit, counted from the first octet's highest.
fn set(bitmap: &mut Vec<u8>, bit: usize) {
    if bitmap.len() <= bit / 8 {
        bitmap.resize(bit / 8 + 1, 0);
    }
    bitmap[bit / 8] |= 0x80 >> (bit % 8);
}

/// Types in windows of bits (RFC 4034 §4.1.2); none is allowed (RFC 7477 §2.1.3).
pub(super) fn types(rest: &mut &[Token<'_>], rdata: &mut Vec<u8>) -> Result<(), String> {
    let numbers: BTreeSet<u16> = std::mem::take(rest).iter().map(|token| stored_type(token.text)).collect::<Result<_, _>>()?;
    let mut windows: Vec<(u8, Vec<u8>)> = Vec::new();
    for number in numbers {
        let [window, bit] = number.to_be_bytes();
        if windows.last().is_none_or(|(last, _)| *last != window) {
            windows.push((window, Vec::new()));
        }
        if let Some((_, bitmap)) = windows.last_mut() {
            set(bitmap, bit.into());
        }
    }
    for (window, bitmap) in windows {
        rdata.extend([window, bitmap.len() as u8]);
        rdata.extend(bitmap);
    }
    Ok(())
}

pub(super) fn types_length(wire: &[u8]) -> Option<usize> {
    let (mut rest, mut least) = (wire, 0);
    while let [window, length, others @ ..] = rest {
        let bitmap = others.get(..usize::from(*length))?;
        if u16::from(*window) < least || bitmap.len() > 32 || bitmap.last().is_none_or(|last| *last == 0) {
            return None;
        }
        least = u16::from(*window) + 1;
        rest = &others[bitmap.len()..];
    }
    rest.is_empty().then_some(wire.len())
}

/// HIP: algorithm, host identity tag and public key; on the wire with their lengths in front (RFC 8005 §5, §6).
pub(super) fn identity(rest: &mut &[Token<'_>], rdata: &mut Vec<u8>) -> Result<(), String> {
    let algorithm = small(take(rest, "algorithm")?, u8::MAX)?;
    let tag = hex(take(rest, "host identity tag")?)?;
    let key = base64(take(rest, "public key")?)?;
    rdata.push(u8::try_from(tag.len()).map_err(|_| "a host identity tag has at most 255 octets")?);
    rdata.push(algorithm);
    rdata.extend(u16::try_from(key.len()).map_err(|_| "a public key has at most 65535 octets")?.to_be_bytes());
    rdata.extend(tag);
    rdata.extend(key);
    Ok(())
}

pub(super) fn identity_length(wire: &[u8]) -> Option<usize> {
    let [tag, _, k1, k2, ..] = wire else { return None };
    let key = usize::from(u16::from_be_bytes([*k1, *k2]));
    let length = 4 + usize::from(*tag) + key;
    (*tag > 0 && key > 0 && length <= wire.len()).then_some(length)
}

/// A6: a prefix length, the bits behind the prefix as an address, and the name that has the prefix (RFC 2874 §3.1; historic, RFC 6563).
pub(super) fn suffix(rest: &mut &[Token<'_>], origin: &Name, rdata: &mut Vec<u8>) -> Result<(), String> {
    let prefix = small(take(rest, "prefix length")?, 128)?;
    rdata.push(prefix);
    if prefix < 128 {
        let mut octets = v6(take(rest, "address")?)?;
        octets[usize::from(prefix / 8)] &= 0xff >> (prefix % 8);
        rdata.extend(&octets[usize::from(prefix / 8)..]);
    }
    match prefix {
        0 => Ok(()),
        _ => name(take(rest, "name of the prefix")?, origin, rdata),
    }
}

pub(super) fn suffix_length(wire: &[u8]) -> Option<usize> {
    let prefix = *wire.first().filter(|prefix| **prefix <= 128)?;
    let at = 1 + 16 - usize::from(prefix / 8);
    match prefix {
        0 => (wire.len() >= at).then_some(at),
        _ => name_length(wire.get(at..)?).map(|length| at + length),
    }
}
