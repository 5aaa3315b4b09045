//! Record data: presentation form (RFC 1035 §5.1) → uncompressed wire form.
//!
//! One table says how each type is written; [`parse_record`] and the master file reader share it. hickory-proto's own text parser is the
//! oracle of the tests, not the reader: it lacks DS, DNAME and relative names in SVCB, and takes `\DDD` escapes for something else.

mod digits;
mod fields;
mod lengths;
mod mnemonics;
mod networks;
mod places;
mod svcb;
#[cfg(test)]
mod tests;
mod types;

pub(super) use self::digits::base64;
use self::digits::{hex, joined};
use self::fields::{Field, name, name_length, push_string};
use self::types::{RecordType, TYPES};
use super::lexer::{self, Semicolon, Token};
use super::suggest;
use crate::model::{Name, Period};

/// Turns a record's text into its type and RDATA.
///
/// `rtype` is a name such as `MX`, or `TYPE123`; any type may be written as `\# LENGTH HEX` (RFC 3597 §5). Names without a last dot are
/// relative to `origin`. A TXT text that does not begin with a quote is one text, split into strings of 255 octets; quotes make several.
///
/// # Errors
/// What is wrong with the text, and what was expected.
pub fn parse_record(rtype: &str, text: &str, origin: &Name) -> Result<(u16, Box<[u8]>), String> {
    match type_number(rtype)? {
        ALIAS => Err(format!("{rtype} stands among the records of a zone; a branch leads to another name with `name`")),
        _ => parse_in_zone(rtype, text, origin),
    }
}

/// The same for records of a zone file, among which [`ALIAS`] is.
pub(super) fn parse_in_zone(rtype: &str, text: &str, origin: &Name) -> Result<(u16, Box<[u8]>), String> {
    let number = type_number(rtype)?;
    let plain = matches!(number, TXT | SPF) && !text.trim_start().starts_with(['"', '\\']);
    if plain {
        let octets = text.as_bytes();
        let mut rdata = Vec::with_capacity(octets.len() + octets.len() / 255 + 1);
        for part in octets.chunks(255) {
            push_string(&mut rdata, part)?;
        }
        if octets.is_empty() {
            rdata.push(0);
        }
        return finish(rdata).map(|rdata| (number, rdata));
    }
    let tokens = lexer::one(text, Semicolon::Refused)?;
    encode(number, &tokens, origin).map(|rdata| (number, rdata))
}

/// ALIAS, or ANAME: no type of its own, but the wish for the addresses of another name, which `alias` makes a policy of. Nothing can be
/// written for TYPE0, so the number is free for it as long as a file is read.
pub(super) const ALIAS: u16 = 0;
const TXT: u16 = 16;
const SPF: u16 = 99;
const CDS: u16 = 59;

/// Signatures and what proves that a name is not there, in the DNSSEC of today and of RFC 2535: SIG, NXT, RRSIG, NSEC, NSEC3, NSEC3PARAM.
const SIGNATURES: [u16; 6] = [24, 30, 46, 47, 50, 51];

/// Whether a type is made by signing a zone, which nobody but the signer can keep right.
pub(super) fn is_signature(number: u16) -> bool {
    SIGNATURES.contains(&number)
}

/// The number of a type by its name, or of `TYPE123` (RFC 3597 §5).
pub(super) fn type_number(name: &str) -> Result<u16, String> {
    if name.eq_ignore_ascii_case("ALIAS") || name.eq_ignore_ascii_case("ANAME") {
        return Ok(ALIAS);
    }
    if let Some(known) = TYPES.iter().find(|t| t.name.eq_ignore_ascii_case(name)) {
        return Ok(known.number);
    }
    let upper = name.to_ascii_uppercase();
    // RFC 6895 §3.1: 0, OPT and 128–255 are no data.
    let meta = || format!("{upper} is no type of stored data");
    match upper.strip_prefix("TYPE").filter(|n| !n.starts_with('+')).and_then(|n| n.parse::<u16>().ok()) {
        Some(0 | 41 | 128..=255) => Err(meta()),
        Some(number) => Ok(number),
        None if matches!(&*upper, "ANY" | "*" | "OPT" | "NXNAME" | "AXFR" | "IXFR" | "TSIG" | "TKEY" | "MAILA" | "MAILB") => Err(meta()),
        None => {
            let names: Vec<&str> = TYPES.iter().map(|t| t.name).collect();
            let more = match suggest::nearest(&upper, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "a type without a name here is written TYPE123 = [\"\\\\# LENGTH HEX\"] (RFC 3597)".into(),
            };
            Err(format!("unknown record type {name:?}; {more}"))
        }
    }
}

/// The same where a type is data, which [`ALIAS`] is none of.
pub(super) fn stored_type(name: &str) -> Result<u16, String> {
    match type_number(name)? {
        ALIAS => Err(format!("{name} is no type of stored data")),
        number => Ok(number),
    }
}

/// The row of a type.
fn known(number: u16) -> Option<&'static RecordType> {
    TYPES.binary_search_by_key(&number, |t| t.number).ok().map(|at| &TYPES[at])
}

/// A type as people write it.
pub(super) fn type_name(number: u16) -> String {
    if number == ALIAS {
        return "ALIAS".into();
    }
    known(number).map_or_else(|| format!("TYPE{number}"), |t| t.name.into())
}

/// Whether a type's data holds domain names.
pub(super) fn holds_names(number: u16) -> bool {
    number == ALIAS || known(number).is_some_and(|t| t.fields.iter().any(|(_, field)| matches!(field, Field::Name | Field::Names)))
}

/// Encodes a record's tokens.
pub(super) fn encode(number: u16, tokens: &[Token<'_>], origin: &Name) -> Result<Box<[u8]>, String> {
    if is_signature(number) {
        let name = type_name(number);
        return Err(format!(
            "{name}: the zone is signed by another program, whose signatures would not fit these answers; load the unsigned zone"
        ));
    }
    encode_copied(number, tokens, origin)
}

/// The same of a zone that was copied: whoever signed it keeps its signatures right.
pub(super) fn encode_copied(number: u16, tokens: &[Token<'_>], origin: &Name) -> Result<Box<[u8]>, String> {
    if number == ALIAS {
        let [one] = tokens else { return Err("one name is expected; ALIAS is written \"www.example.\"".into()) };
        return Ok(Name::parse_relative(one.text, Some(origin)).map_err(|error| error.to_string())?.wire().into());
    }
    let known = known(number);
    if let [marker, rest @ ..] = tokens
        && marker.text == "\\#"
        && !marker.quoted
    {
        let (length, digits) = rest.split_first().ok_or("the number of octets is expected behind \\#")?;
        let rdata = generic(length.text, digits)?;
        let Some(known) = known else { return finish(rdata) };
        if !fits(known, &rdata) {
            return Err(format!("these octets are no {} record", known.name));
        }
        return (known.check)(&rdata).and_then(|()| finish(rdata));
    }
    let Some(known) = known else {
        return Err(format!("TYPE{number} is written as \"\\\\# LENGTH HEX\" (RFC 3597)"));
    };
    let mut rdata = Vec::with_capacity(16);
    let mut rest = tokens;
    if number == CDS && rest.len() == 4 && rest.iter().all(|token| token.text == "0") {
        // RFC 8078 §4 as published; its erratum writes the digest as 00.
        return Ok([0; 5].into());
    }
    for (what, field) in known.fields {
        field
            .encode(&mut rest, origin, &mut rdata)
            .map_err(|reason| format!("{what}: {reason}; {} is written {:?}", known.name, known.example))?;
    }
    if let Some(extra) = rest.first() {
        return Err(format!("{:?} is too much; {} is written {:?}", extra.text, known.name, known.example));
    }
    (known.check)(&rdata)?;
    finish(rdata)
}

/// RDLENGTH has 16 bits (RFC 1035 §3.2.1).
fn finish(rdata: Vec<u8>) -> Result<Box<[u8]>, String> {
    match rdata.len() <= usize::from(u16::MAX) {
        true => Ok(rdata.into()),
        false => Err(format!("a record holds at most 65535 octets, not {}", rdata.len())),
    }
}

/// Whether RDATA given as octets has the form of its type: the answer path relies on it.
fn fits(known: &RecordType, rdata: &[u8]) -> bool {
    let mut rest = rdata;
    known.fields.iter().all(|(_, field)| {
        field.length(rest).is_some_and(|n| {
            rest = &rest[n..];
            true
        })
    }) && rest.is_empty()
}

/// `LENGTH HEX…` behind `\#` (RFC 3597 §5).
fn generic(length: &str, mut rest: &[Token<'_>]) -> Result<Vec<u8>, String> {
    let length: usize = length.parse().map_err(|_| format!("the number of octets is expected behind \\#, not {length:?}"))?;
    let octets = match rest {
        [] => Vec::new(),
        _ => hex(&joined(&mut rest))?,
    };
    match octets.len() == length {
        true => Ok(octets),
        false => Err(format!("{length} octets are announced, {} are given", octets.len())),
    }
}

/// A TTL: seconds, or a length of time such as `1h` or `1h30m`; at most 2^31 − 1 s (RFC 2181 §8).
pub(super) fn ttl(text: &str) -> Option<u32> {
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let period: Period = text.to_ascii_lowercase().parse().ok()?;
            period.millis().is_multiple_of(1000).then_some(period.millis() / 1000)?
        }
    };
    u32::try_from(seconds).ok().filter(|s| *s <= i32::MAX as u32)
}
