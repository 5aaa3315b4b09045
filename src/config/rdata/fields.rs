//! The parts that record data is made of: as written, and on the wire.

use super::super::lexer;
use super::digits::{atma, base64, groups, hex, hyphened, joined, nsap};
use super::mnemonics::{self, Mnemonics};
use super::networks::{self, v4, v6};
use super::{Token, places, stored_type, svcb, ttl};
use crate::model::Name;

/// A part of RDATA, as written and in wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// A domain name, uncompressed (RFC 3597 §4).
    Name,
    /// The rest: domain names, any number of them.
    Names,
    /// A whole number in one octet.
    U8,
    /// A whole number in two octets.
    U16,
    /// A whole number in four octets.
    U32,
    /// A whole number in eight octets.
    U64,
    /// Seconds in four octets, or a length of time such as `1h` (as most servers read them in SOA records).
    Time,
    /// A number in one octet, or its name.
    Mnemonic8(Mnemonics),
    /// A number in two octets, or its name.
    Mnemonic16(Mnemonics),
    /// An RR type.
    Type,
    /// The rest: RR types as a bitmap.
    Types,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// One character-string (RFC 1035 §3.3).
    Text,
    /// One, or none at the end.
    OptionalText,
    /// One character-string or more.
    Texts,
    /// A character-string of digits: an X.121 address (RFC 1183 §3.1).
    Digits,
    /// A character-string with a decimal number (RFC 1712 §3).
    Decimal,
    /// A character-string of letters and digits (RFC 8659 §4.1).
    Tag,
    /// The rest: octets in hex, blanks allowed.
    Hex,
    /// The rest: octets in base64, blanks allowed.
    Base64,
    /// The same, or nothing.
    OptionalBase64,
    /// The same, with `-` for nothing.
    DashOrBase64,
    /// Octets in hex with hyphens between them.
    Hyphened(u8),
    /// 64 bits in four groups of hex digits.
    Groups,
    /// An NSAP address.
    Nsap,
    /// An ATM address.
    Atma,
    /// A place on earth.
    Location,
    /// WKS: protocol and services.
    Services,
    /// APL: prefixes.
    Prefixes,
    /// IPSECKEY: gateway type, algorithm, gateway.
    Gateway,
    /// AMTRELAY: discovery bit, relay type, relay.
    Relay,
    /// HIP: algorithm, tag, key.
    Hip,
    /// A6: prefix length, address, name.
    Suffix,
    /// The rest: one text without a length octet (RFC 8659 §4.1, RFC 7553 §4.5).
    Rest,
    /// The rest: SvcParams (RFC 9460 §2.1).
    Params,
    /// Octets that have no form but RFC 3597's.
    Generic,
}

impl Field {
    /// Takes the field's tokens off `rest` and appends its wire form.
    pub fn encode(self, rest: &mut &[Token<'_>], origin: &Name, rdata: &mut Vec<u8>) -> Result<(), String> {
        match self {
            // What may be missing.
            Field::Params => return svcb::encode(std::mem::take(rest), rdata),
            Field::Types => return networks::types(rest, rdata),
            Field::Prefixes => return networks::prefixes(rest, rdata),
            Field::Names => return std::mem::take(rest).iter().try_for_each(|token| name(token.text, origin, rdata)),
            Field::OptionalBase64 | Field::OptionalText if rest.is_empty() => return Ok(()),
            _ => {}
        }
        let Some((first, others)) = rest.split_first() else { return Err("is missing".into()) };
        let text = first.text;
        match self {
            Field::Hex => rdata.extend(hex(&joined(rest))?),
            Field::DashOrBase64 if text == "-" => {}
            Field::Base64 | Field::OptionalBase64 | Field::DashOrBase64 => {
                rdata.extend(base64(&joined(rest))?);
                return Ok(());
            }
            Field::Texts => {
                for token in std::mem::take(rest) {
                    push_string(rdata, &lexer::unescape(token.text)?)?;
                }
            }
            Field::Services => networks::services(rest, rdata)?,
            Field::Gateway => networks::gateway(rest, origin, rdata)?,
            Field::Relay => networks::relay(rest, origin, rdata)?,
            Field::Hip => networks::identity(rest, rdata)?,
            Field::Suffix => networks::suffix(rest, origin, rdata)?,
            Field::Location => rdata.extend(places::location(rest)?),
            _ => {
                *rest = others;
                return self.word(text, origin, rdata);
            }
        }
        if self == Field::DashOrBase64 {
            *rest = others;
        }
        Ok(())
    }

    /// Appends the wire form of a field that is one word.
    fn word(self, text: &str, origin: &Name, rdata: &mut Vec<u8>) -> Result<(), String> {
        let number = |most: u64| match text.parse::<u64>() {
            Ok(number) if number <= most && !text.starts_with('+') => Ok(number),
            _ => Err(format!("a whole number from 0 to {most} is expected, not {text:?}")),
        };
        let named = |of: Mnemonics, most: u64| match mnemonics::number(of, text) {
            Some(number) => Ok(number),
            None => number(most).map(|number| number as u16).map_err(|reason| match of.first() {
                Some((name, _)) if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    format!("{reason}; it may also be a name such as {name}")
                }
                _ => reason,
            }),
        };
        match self {
            Field::Name => name(text, origin, rdata)?,
            Field::U8 => rdata.push(number(u8::MAX.into())? as u8),
            Field::U16 => rdata.extend((number(u16::MAX.into())? as u16).to_be_bytes()),
            Field::U32 => rdata.extend((number(u32::MAX.into())? as u32).to_be_bytes()),
            Field::U64 => rdata.extend(number(u64::MAX)?.to_be_bytes()),
            Field::Time => {
                let value = text.parse::<u32>().ok().or_else(|| ttl(text));
                rdata.extend(value.ok_or_else(|| format!("seconds, or a time such as 1h, are expected, not {text:?}"))?.to_be_bytes());
            }
            Field::Mnemonic8(of) => rdata.push(named(of, u8::MAX.into())? as u8),
            Field::Mnemonic16(of) => rdata.extend(named(of, u16::MAX.into())?.to_be_bytes()),
            Field::Type => rdata.extend(stored_type(text)?.to_be_bytes()),
            Field::V4 => rdata.extend(v4(text)?),
            Field::V6 => rdata.extend(v6(text)?),
            Field::Text | Field::OptionalText => push_string(rdata, &lexer::unescape(text)?)?,
            Field::Digits if text.len() < 4 || !text.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(format!("at least 4 digits are expected, not {text:?}"));
            }
            Field::Decimal if !places::is_decimal(text) => return Err(format!("a number such as -32.6882 is expected, not {text:?}")),
            Field::Tag if !is_tag(text.as_bytes()) => return Err(format!("letters and digits are expected, not {text:?}")),
            Field::Digits | Field::Decimal | Field::Tag => push_string(rdata, text.as_bytes())?,
            Field::Rest => rdata.extend_from_slice(&lexer::unescape(text)?),
            Field::Hyphened(octets) => rdata.extend(hyphened(text, octets.into())?),
            Field::Groups => rdata.extend(groups(text)?),
            Field::Nsap => rdata.extend(nsap(text)?),
            Field::Atma => rdata.extend(atma(text)?),
            Field::Generic => return Err("is only written as octets: \\# LENGTH HEX (RFC 3597 §5)".into()),
            // Those that are more than a word were read.
            _ => {}
        }
        Ok(())
    }

    /// How many octets at the begin of `wire` are this field; `None` where they are not.
    pub fn length(self, wire: &[u8]) -> Option<usize> {
        let fixed = |length: usize| (wire.len() >= length).then_some(length);
        let string = |wire: &[u8]| wire.first().map(|n| 1 + usize::from(*n)).filter(|n| *n <= wire.len());
        match self {
            Field::U8 | Field::Mnemonic8(_) => fixed(1),
            Field::U16 | Field::Mnemonic16(_) | Field::Type => fixed(2),
            Field::U32 | Field::Time | Field::V4 => fixed(4),
            Field::U64 | Field::Groups => fixed(8),
            Field::V6 => fixed(16),
            Field::Hyphened(octets) => fixed(octets.into()),
            Field::Text | Field::Digits | Field::Decimal => string(wire),
            Field::Tag => string(wire).filter(|length| is_tag(&wire[1..*length])),
            Field::OptionalText if wire.is_empty() => Some(0),
            Field::OptionalText => string(wire),
            Field::Texts => {
                let mut at = string(wire)?;
                while at < wire.len() {
                    at += string(&wire[at..])?;
                }
                Some(at)
            }
            Field::Name => name_length(wire),
            Field::Names => {
                let mut at = 0;
                while at < wire.len() {
                    at += name_length(&wire[at..])?;
                }
                Some(at)
            }
            Field::Location => places::is_location(wire).then_some(16),
            Field::Services => networks::services_length(wire),
            Field::Prefixes => networks::prefixes_length(wire),
            Field::Gateway => networks::gateway_length(wire),
            Field::Relay => networks::relay_length(wire),
            Field::Hip => networks::identity_length(wire),
            Field::Suffix => networks::suffix_length(wire),
            Field::Types => networks::types_length(wire),
            Field::Params => svcb::well_formed(wire).then_some(wire.len()),
            Field::Hex | Field::Base64 | Field::Nsap | Field::Atma => (!wire.is_empty()).then_some(wire.len()),
            Field::Rest | Field::OptionalBase64 | Field::DashOrBase64 | Field::Generic => Some(wire.len()),
        }
    }
}

/// RFC 8659 §4.1: a tag is ASCII letters and digits.
fn is_tag(tag: &[u8]) -> bool {
    !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric)
}

/// Appends a domain name.
pub(super) fn name(text: &str, origin: &Name, rdata: &mut Vec<u8>) -> Result<(), String> {
    rdata.extend_from_slice(Name::parse_relative(text, Some(origin)).map_err(|e| e.to_string())?.wire());
    Ok(())
}

/// The octets of the uncompressed name at the begin of `wire`.
pub(super) fn name_length(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let label = usize::from(*wire.get(at)?);
        at += 1 + label;
        // A compression pointer means nothing outside its message.
        if label > 63 || at > 255 || at > wire.len() {
            return None;
        }
        if label == 0 {
            return Some(at);
        }
    }
}

/// Appends a character-string (RFC 1035 §3.3).
pub(super) fn push_string(rdata: &mut Vec<u8>, octets: &[u8]) -> Result<(), String> {
    let length = u8::try_from(octets.len())
        .map_err(|_| format!("one string holds at most 255 octets, not {}; split it into several in quotes", octets.len()))?;
    rdata.push(length);
    rdata.extend_from_slice(octets);
    Ok(())
}
