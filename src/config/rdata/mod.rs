//! Record data: presentation form (RFC 1035 §5.1) → uncompressed wire form.
//!
//! One table says how each type is written; [`parse_record`] and the master file reader share it. hickory-proto's own text parser is the
//! oracle of the tests, not the reader: it lacks DS, DNAME and relative names in SVCB, and takes `\DDD` escapes for something else.

mod svcb;
mod types;

use std::net::{Ipv4Addr, Ipv6Addr};

use self::types::{Field, RecordType, TYPES};
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
    let entries = lexer::entries(text, Semicolon::Refused).map_err(|(_, reason)| reason)?;
    let tokens = match entries.as_slice() {
        [] => &[][..],
        [one] => &one.tokens,
        _ => return Err("one record is expected, not several lines".into()),
    };
    encode(number, tokens, origin).map(|rdata| (number, rdata))
}

/// ALIAS, or ANAME: no type of its own, but the wish for the addresses of another name, which `alias` makes a policy of. Nothing can be
/// written for TYPE0, so the number is free for it as long as a file is read.
pub(super) const ALIAS: u16 = 0;
const TXT: u16 = 16;
const SPF: u16 = 99;

/// The number of a type by its name, or of `TYPE123` (RFC 3597 §5).
pub(super) fn type_number(name: &str) -> Result<u16, String> {
    if name.eq_ignore_ascii_case("ALIAS") || name.eq_ignore_ascii_case("ANAME") {
        return Ok(ALIAS);
    }
    let upper = name.to_ascii_uppercase();
    if let Some(known) = TYPES.iter().find(|t| t.name == upper) {
        return Ok(known.number);
    }
    // RFC 6895 §3.1: 0, OPT and 128–255 are no data.
    let meta = || format!("{upper} is no type of stored data");
    match upper.strip_prefix("TYPE").and_then(|n| n.parse::<u16>().ok()) {
        Some(0 | 41 | 128..=255) => Err(meta()),
        Some(number) => Ok(number),
        None if matches!(&*upper, "ANY" | "*" | "OPT" | "AXFR" | "IXFR" | "TSIG" | "TKEY" | "MAILA" | "MAILB") => Err(meta()),
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

/// A type as people write it.
pub(super) fn type_name(number: u16) -> String {
    if number == ALIAS {
        return "ALIAS".into();
    }
    TYPES.iter().find(|t| t.number == number).map_or_else(|| format!("TYPE{number}"), |t| t.name.into())
}

/// Whether a type's data holds domain names.
pub(super) fn holds_names(number: u16) -> bool {
    number == ALIAS || TYPES.iter().any(|t| t.number == number && t.fields.iter().any(|(_, field)| *field == Field::Name))
}

/// Encodes a record's tokens.
pub(super) fn encode(number: u16, tokens: &[Token], origin: &Name) -> Result<Box<[u8]>, String> {
    if number == ALIAS {
        let [one] = tokens else { return Err("one name is expected; ALIAS is written \"www.example.\"".into()) };
        return Ok(Name::parse_relative(&one.text, Some(origin)).map_err(|error| error.to_string())?.wire().into());
    }
    let known = TYPES.iter().find(|t| t.number == number);
    if let [marker, length, digits @ ..] = tokens
        && marker.text == "\\#"
    {
        let rdata = generic(&length.text, digits)?;
        return match known.is_none_or(|known| fits(known, &rdata)) {
            true => finish(rdata),
            false => Err(format!("these octets are no {} record", type_name(number))),
        };
    }
    let Some(known) = known else {
        return Err(format!("TYPE{number} is written as \"\\\\# LENGTH HEX\" (RFC 3597)"));
    };
    let mut rdata = Vec::new();
    let mut rest = tokens;
    for (what, field) in known.fields {
        field
            .encode(&mut rest, origin, &mut rdata)
            .map_err(|reason| format!("{what}: {reason}; {} is written {:?}", known.name, known.example))?;
    }
    if let Some(extra) = rest.first() {
        return Err(format!("{:?} is too much; {} is written {:?}", extra.text, known.name, known.example));
    }
    // RFC 9460 §2.4.2: an alias has no parameters.
    if known.fields.iter().any(|(_, f)| *f == Field::Params) && rdata.starts_with(&[0, 0]) && fields_length(known, &rdata) < rdata.len() {
        return Err("priority 0 makes an alias, which has no parameters".into());
    }
    finish(rdata)
}

/// RDLENGTH has 16 bits (RFC 1035 §3.2.1).
fn finish(rdata: Vec<u8>) -> Result<Box<[u8]>, String> {
    match rdata.len() <= usize::from(u16::MAX) {
        true => Ok(rdata.into()),
        false => Err(format!("a record holds at most 65535 octets, not {}", rdata.len())),
    }
}

impl Field {
    /// Takes the field's tokens off `rest` and appends its wire form.
    fn encode(self, rest: &mut &[Token], origin: &Name, rdata: &mut Vec<u8>) -> Result<(), String> {
        if matches!(self, Field::Params) {
            return svcb::encode(std::mem::take(rest), rdata);
        }
        let Some((first, others)) = rest.split_first() else { return Err("is missing".into()) };
        let text = first.text.as_str();
        match self {
            Field::Hex | Field::Base64 => {
                let all: String = std::mem::take(rest).iter().map(|t| t.text.as_str()).collect();
                rdata.extend(if self == Field::Hex { hex(&all)? } else { base64(&all)? });
                return Ok(());
            }
            Field::Texts => {
                for token in std::mem::take(rest) {
                    push_string(rdata, &lexer::unescape(&token.text)?)?;
                }
                return Ok(());
            }
            _ => *rest = others,
        }
        let number = |most: u32| match text.parse::<u32>() {
            Ok(number) if number <= most => Ok(number),
            _ => Err(format!("a whole number from 0 to {most} is expected, not {text:?}")),
        };
        match self {
            Field::Name => rdata.extend_from_slice(Name::parse_relative(text, Some(origin)).map_err(|e| e.to_string())?.wire()),
            Field::U8 => rdata.push(number(255)? as u8),
            Field::U16 => rdata.extend((number(65_535)? as u16).to_be_bytes()),
            Field::U32 => {
                let value = text.parse::<u32>().ok().or_else(|| ttl(text));
                rdata.extend(value.ok_or_else(|| format!("a whole number of 32 bits is expected, not {text:?}"))?.to_be_bytes());
            }
            Field::V4 => {
                let address: Ipv4Addr = text.parse().map_err(|_| format!("an IPv4 address is expected, not {text:?}"))?;
                rdata.extend(address.octets());
            }
            Field::V6 => {
                let address: Ipv6Addr = text.parse().map_err(|_| format!("an IPv6 address is expected, not {text:?}"))?;
                rdata.extend(address.octets());
            }
            Field::Text => push_string(rdata, &lexer::unescape(text)?)?,
            Field::Rest => rdata.extend(lexer::unescape(text)?),
            Field::Texts | Field::Hex | Field::Base64 | Field::Params => {}
        }
        Ok(())
    }

    /// How many octets at the begin of `wire` are this field; `None` where they are not.
    fn length(self, wire: &[u8]) -> Option<usize> {
        let fixed = |length: usize| (wire.len() >= length).then_some(length);
        let string = |wire: &[u8]| wire.first().map(|n| 1 + usize::from(*n)).filter(|n| *n <= wire.len());
        match self {
            Field::U8 => fixed(1),
            Field::U16 => fixed(2),
            Field::U32 | Field::V4 => fixed(4),
            Field::V6 => fixed(16),
            Field::Text => string(wire),
            Field::Texts => {
                let mut at = string(wire)?;
                while at < wire.len() {
                    at += string(&wire[at..])?;
                }
                Some(at)
            }
            Field::Name => {
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
            Field::Hex | Field::Base64 | Field::Rest => Some(wire.len()),
            Field::Params => svcb::well_formed(wire).then_some(wire.len()),
        }
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

/// Octets before the parameters of SVCB and HTTPS.
fn fields_length(known: &RecordType, rdata: &[u8]) -> usize {
    let mut at = 0;
    for (_, field) in known.fields.iter().filter(|(_, f)| *f != Field::Params) {
        at += field.length(&rdata[at..]).unwrap_or_default();
    }
    at
}

/// `LENGTH HEX…` behind `\#` (RFC 3597 §5).
fn generic(length: &str, digits: &[Token]) -> Result<Vec<u8>, String> {
    let length: usize = length.parse().map_err(|_| format!("the number of octets is expected behind \\#, not {length:?}"))?;
    let all: String = digits.iter().map(|t| t.text.as_str()).collect();
    let octets = if all.is_empty() { Vec::new() } else { hex(&all)? };
    match octets.len() == length {
        true => Ok(octets),
        false => Err(format!("{length} octets are announced, {} are given", octets.len())),
    }
}

/// Appends a character-string (RFC 1035 §3.3).
fn push_string(rdata: &mut Vec<u8>, octets: &[u8]) -> Result<(), String> {
    let length = u8::try_from(octets.len())
        .map_err(|_| format!("one string holds at most 255 octets, not {}; split it into several in quotes", octets.len()))?;
    rdata.push(length);
    rdata.extend_from_slice(octets);
    Ok(())
}

fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("an even number of hex digits is expected, not {:?}", shortened(digits));
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) || digits.is_empty() {
        return Err(wrong());
    }
    let octet = |n: usize| digits.get(n..n + 2).filter(|d| !d.starts_with('+')).and_then(|d| u8::from_str_radix(d, 16).ok());
    (0..digits.len()).step_by(2).map(|n| octet(n).ok_or_else(wrong)).collect()
}

/// RFC 4648 §4, with padding.
fn base64(text: &str) -> Result<Vec<u8>, String> {
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

/// The begin of a long text, for an error.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(24) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
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

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RData;
    use hickory_proto::serialize::binary::BinEncodable;

    use super::*;

    fn origin() -> Name {
        Name::parse("svc.example.").unwrap()
    }

    fn wire(rtype: &str, text: &str) -> Result<Vec<u8>, String> {
        parse_record(rtype, text, &origin()).map(|(_, rdata)| rdata.to_vec())
    }

    #[test]
    fn what_hickory_can_read_is_read_alike() {
        for (rtype, text) in [
            ("A", "192.0.2.1"),
            ("AAAA", "2001:db8::1"),
            ("CNAME", "www.example."),
            ("NS", "ns1.example."),
            ("PTR", "www.example."),
            ("MX", "10 mail.example."),
            ("SRV", "10 100 443 www.example."),
            ("TXT", "\"a b\" \"c\""),
            ("HINFO", "\"PC\" \"Linux\""),
            ("CAA", "0 issue \"ca.example\""),
            ("CAA", "128 iodef \"mailto:a@example\""),
            ("TLSA", "3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971"),
            ("SSHFP", "4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789"),
            ("NAPTR", "10 100 \"S\" \"SIP+D2U\" \"\" _sip._udp.example."),
            ("OPENPGPKEY", "AQIDBA=="),
            ("HTTPS", "1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1"),
            ("SVCB", "16 pool.example. mandatory=alpn,port alpn=h2 no-default-alpn port=53 ech=AQIDBA=="),
            ("HTTPS", "0 www.example."),
        ] {
            let (number, ours) = parse_record(rtype, text, &origin()).unwrap_or_else(|e| panic!("{rtype} {text}: {e}"));
            let theirs = RData::try_from_str(number.into(), text).unwrap().to_bytes().unwrap();
            assert_eq!(ours.to_vec(), theirs, "{rtype} {text}");
            // And the octets, written as RFC 3597 has it, are the same record.
            let octets: String = ours.iter().map(|o| format!("{o:02x}")).collect();
            assert_eq!(wire(&format!("TYPE{number}"), &format!("\\# {} {octets}", ours.len())).unwrap(), theirs, "{rtype} {text}");
        }
    }

    #[test]
    fn texts_names_and_escapes() {
        let check = |rtype: &str, text: &str, expected: &[u8]| assert_eq!(wire(rtype, text).as_deref(), Ok(expected), "{rtype} {text}");
        check("txt", "v=spf1 ip4:192.0.2.0/24; -all", b"\x1dv=spf1 ip4:192.0.2.0/24; -all");
        check("TXT", "", b"\0");
        check("TXT", r#""a\"b" "\200\001""#, b"\x03a\"b\x02\xc8\x01");
        check("CNAME", "www", b"\x03www\x03svc\x07example\0");
        check("CNAME", "@", b"\x03svc\x07example\0");
        check("MX", "0 .", b"\0\0\0");
        check("SOA", "a. b. 1 2h 1h 2w 5m", b"\x01a\0\x01b\0\0\0\0\x01\0\0\x1c\x20\0\0\x0e\x10\0\x12\x75\0\0\0\x01\x2c");
        check("DNAME", "Other.Example.", b"\x05other\x07example\0");
        check("DS", "60485 13 2 D4B7 D520", b"\xec\x45\x0d\x02\xd4\xb7\xd5\x20");
        check("URI", "10 1 \"https://a/\"", b"\0\x0a\0\x01https://a/");
        check("TYPE65280", "\\# 3 01 02 03", b"\x01\x02\x03");
        check("TYPE65280", "\\# 0", b"");
        check(
            "HTTPS",
            r#"1 www key667="a\255" alpn="h2,f\\,oo""#,
            b"\0\x01\x03www\x03svc\x07example\0\0\x01\0\x08\x02h2\x04f,oo\x02\x9b\0\x02a\xff",
        );
        let long = wire("TXT", &"x".repeat(300)).unwrap();
        assert_eq!((long.len(), long[0], long[256]), (302, 255, 45));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |rtype: &str, text: &str, expected: &str| {
            let said = wire(rtype, text).unwrap_err();
            assert!(said.contains(expected), "{rtype} {text}: {said}");
        };
        check("A", "192.0.2.256", "address: an IPv4 address is expected, not \"192.0.2.256\"; A is written \"192.0.2.1\"");
        check("A", "", "address: is missing");
        check("A", "192.0.2.1 192.0.2.2", "\"192.0.2.2\" is too much");
        check("AAAA", "192.0.2.1", "an IPv6 address");
        check("MX", "mail.example.", "preference: a whole number from 0 to 65535 is expected, not \"mail.example.\"");
        check("MX", "10", "mail server: is missing; MX is written \"10 mail.example.\"");
        check("CNAME", "a..b.", "empty");
        check("TXT", &format!("\"{}\"", "x".repeat(256)), "at most 255 octets");
        check("TXT", "\"a", "not closed");
        check("CAA", "0 issue ca.example; policy=ev", "put the text that holds it in quotes");
        check("DS", "1 13 2 ABC", "hex digits");
        check("OPENPGPKEY", "AQIDBA", "base64");
        check("AAA", "x", "did you mean `");
        check("LOC", "x", "TYPE123");
        check("ANY", "x", "no type of stored data");
        check("TYPE255", "\\# 0", "no type of stored data");
        check("TYPE65280", "x", "RFC 3597");
        check("A", "\\# 3 010203", "no A record");
        check("MX", "\\# 4 000ac000", "no MX record");
        check("A", "\\# 4 0102", "4 octets are announced, 2 are given");
        check("HTTPS", "1 . alpn=h2 alpn=h3", "alpn stands twice");
        check("HTTPS", "1 . mandatory=port alpn=h2", "`mandatory` names port");
        check("HTTPS", "1 . no-default-alpn", "needs `alpn`");
        check("HTTPS", "1 . prot=443", "did you mean `port`?");
        check("HTTPS", "0 www alpn=h2", "no parameters");
        check("HTTPS", "1 . ipv4hint=::1", "IPv4");
    }

    #[test]
    fn times_to_live() {
        assert_eq!((ttl("300"), ttl("1h"), ttl("1H30M"), ttl("1w")), (Some(300), Some(3600), Some(5400), Some(604_800)));
        assert_eq!((ttl("soon"), ttl("1500ms"), ttl("2147483648"), ttl("")), (None, None, None, None));
    }
}
