//! Octets written in hex and base64.

use super::Token;

/// Takes all tokens off `rest` as one text: digits may be written in several pieces.
pub(super) fn joined(rest: &mut &[Token<'_>]) -> String {
    std::mem::take(rest).iter().map(|token| token.text).collect()
}

/// An even number of hex digits.
pub(super) fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("an even number of hex digits is expected, not {:?}", shortened(digits));
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8).ok_or_else(wrong);
    digits.as_bytes().chunks_exact(2).map(|pair| Ok(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

/// RFC 4648 §4, with padding.
pub(in crate::config) fn base64(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("base64 with padding is expected, not {:?}", shortened(text));
    let body = text.trim_end_matches('=');
    if text.is_empty() || !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return Err(wrong());
    }
    let mut octets = Vec::with_capacity(body.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for byte in body.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(wrong()),
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    match bits {
        0 => Ok(octets),
        _ => Err(wrong()),
    }
}

/// Octets in hex, with hyphens between them: an EUI-48 or EUI-64 (RFC 7043 §3.2, §4.2).
pub(super) fn hyphened(text: &str, octets: usize) -> Result<Vec<u8>, String> {
    let parts: Vec<&str> = text.split('-').collect();
    let read = || match parts.len() == octets && parts.iter().all(|part| part.len() == 2) {
        true => hex(&parts.concat()).ok(),
        false => None,
    };
    read().ok_or_else(|| format!("{octets} octets in hex with '-' between them are expected, not {text:?}"))
}

/// 64 bits as four groups of hex digits: `0014:4fff:ff20:ee64` (RFC 6742 §2.1.2).
pub(super) fn groups(text: &str) -> Result<[u8; 8], String> {
    let wrong = || format!("four groups of hex digits are expected, such as 0014:4fff:ff20:ee64, not {text:?}");
    let mut octets = [0; 8];
    let mut parts = text.split(':');
    for place in octets.chunks_exact_mut(2) {
        let part = parts.next().filter(|p| (1..=4).contains(&p.len()) && !p.starts_with('+')).ok_or_else(wrong)?;
        place.copy_from_slice(&u16::from_str_radix(part, 16).map_err(|_| wrong())?.to_be_bytes());
    }
    match parts.next() {
        None => Ok(octets),
        Some(_) => Err(wrong()),
    }
}

/// An NSAP address: `0x` and hex digits, with dots anywhere (RFC 1706 §7).
pub(super) fn nsap(text: &str) -> Result<Vec<u8>, String> {
    let digits =
        text.strip_prefix("0x").or(text.strip_prefix("0X")).ok_or_else(|| format!("0x and hex digits are expected, not {text:?}"))?;
    hex(&digits.replace('.', ""))
}

/// An ATM address: `+` and the digits of an E.164 number, or the hex digits of an AESA with dots anywhere (ATM Forum, ATM Name System).
pub(super) fn atma(text: &str) -> Result<Vec<u8>, String> {
    let Some(number) = text.strip_prefix('+') else {
        return hex(&text.replace('.', "")).map(|octets| [vec![0], octets].concat());
    };
    let digits = number.replace('.', "");
    match !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok([&[1], digits.as_bytes()].concat()),
        false => Err(format!("the digits of an E.164 number are expected behind '+', not {text:?}")),
    }
}

/// The begin of a long text, for an error.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(24) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}
