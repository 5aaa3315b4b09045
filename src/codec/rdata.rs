//! Record data as it comes in a message: names in it may be compressed, and what it says may not be of its type.

use super::code::rtype::*;
use super::{Fault, NameBuf, Record};

/// A part of record data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A domain name.
    Name,
    /// One that keeps its case.
    Exact,
    /// So many octets.
    Octets(usize),
    /// A character-string (RFC 1035 §3.3).
    Text,
    /// One of them or more.
    Texts,
    /// SvcParams: keys in order, each once (RFC 9460 §2.2).
    Parameters,
    /// Anything.
    Rest,
    /// Anything but nothing.
    Some,
}

use Part::{Exact, Name, Octets, Parameters, Rest, Some as NotNone, Text, Texts};

/// How the data of a type is made. Of types that are not known here anything is taken (RFC 3597 §4).
fn parts(rtype: u16) -> &'static [Part] {
    match rtype {
        A => &[Octets(4)],
        AAAA => &[Octets(16)],
        NS | MD | MF | CNAME | MB | MG | MR | PTR | DNAME => &[Name],
        SOA => &[Name, Name, Octets(20)],
        // MINFO, RP
        MINFO | 17 => &[Name, Name],
        MX | AFSDB | RT | KX => &[Octets(2), Name],
        // PX
        26 => &[Octets(2), Name, Name],
        SRV => &[Octets(6), Name],
        HINFO => &[Text, Text],
        // TXT, SPF
        TXT | 99 => &[Texts],
        // LOC
        29 => &[Octets(16)],
        // NAPTR
        35 => &[Octets(4), Text, Text, Text, Name],
        // DS, CDS, DNSKEY, CDNSKEY, DLV; URI
        DS | 59 | 48 | 60 | 32769 | 256 => &[Octets(4), NotNone],
        // SSHFP
        44 => &[Octets(2), NotNone],
        // TLSA, SMIMEA
        52 | 53 => &[Octets(3), NotNone],
        // Signed as it is written: it is not among the types of RFC 4034 §6.2.
        SVCB | HTTPS => &[Octets(2), Exact, Parameters],
        // CAA
        257 => &[Octets(1), Text, Rest],
        _ => &[Rest],
    }
}

/// Appends a record's data with every name written out, in lower case where that changes no signature (RFC 4034 §6.2), as zones hold it.
///
/// Types that came after RFC 1035 should not hold compressed names, and who reads them should understand them all the same (RFC 3597 §4).
///
/// # Errors
/// Data that does not have the form of its type.
pub fn expand(message: &[u8], record: &Record<'_>, octets: &mut Vec<u8>) -> Result<(), Fault> {
    let (mut at, end) = (record.data_at, record.end);
    let mut name = NameBuf::default();
    for part in parts(record.rtype) {
        let rest = message.get(at..end).ok_or(Fault::Short)?;
        let length = match *part {
            Name => {
                let next = name.follow(message, at)?;
                if next > end {
                    return Err(Fault::RecordData);
                }
                octets.extend_from_slice(name.wire());
                at = next;
                continue;
            }
            Exact => {
                let next = name.follow(message, at)?;
                let written = message.get(at..next).filter(|_| next <= end).ok_or(Fault::RecordData)?;
                // It is not compressed (RFC 9460 §2.2); one that is all the same is read.
                octets.extend_from_slice(if written.len() == name.wire().len() { written } else { name.wire() });
                at = next;
                continue;
            }
            Octets(count) => count,
            Text => text(rest).ok_or(Fault::RecordData)?,
            Texts => texts(rest).ok_or(Fault::RecordData)?,
            Parameters => parameters(rest).ok_or(Fault::RecordData)?,
            NotNone if rest.is_empty() => return Err(Fault::RecordData),
            Rest | NotNone => rest.len(),
        };
        octets.extend_from_slice(rest.get(..length).ok_or(Fault::RecordData)?);
        at += length;
    }
    if at == end { Ok(()) } else { Err(Fault::RecordData) }
}

/// Octets of a character-string.
fn text(rest: &[u8]) -> Option<usize> {
    let length = 1 + usize::from(*rest.first()?);
    (length <= rest.len()).then_some(length)
}

/// Octets of one character-string after the other, as many as there are.
fn texts(rest: &[u8]) -> Option<usize> {
    let mut at = text(rest)?;
    while at < rest.len() {
        at += text(&rest[at..])?;
    }
    Some(at)
}

/// Octets of SvcParams.
fn parameters(rest: &[u8]) -> Option<usize> {
    let (mut at, mut before) = (0, None);
    while at < rest.len() {
        let [k0, k1, l0, l1] = *rest.get(at..)?.first_chunk()?;
        let (key, length) = (u16::from_be_bytes([k0, k1]), usize::from(u16::from_be_bytes([l0, l1])));
        if before.is_some_and(|before| before >= key) {
            return None;
        }
        before = Some(key);
        at += 4 + length;
    }
    (at == rest.len()).then_some(at)
}

/// Record data of a zone as people write it (RFC 1035 §5.1), or in the form that every type has (RFC 3597 §5).
pub fn present(rtype: u16, data: &[u8]) -> String {
    presented(rtype, data).unwrap_or_else(|| {
        let digits: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("\\# {} {digits}", data.len()).trim_end().into()
    })
}

fn presented(rtype: u16, data: &[u8]) -> Option<String> {
    let name = |at: usize| NameBuf::from_wire(data.get(at..)?).map(|name| name.to_string());
    let number = |at: usize| Some(u16::from_be_bytes(*data.get(at..)?.first_chunk()?));
    Some(match rtype {
        A => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string(),
        AAAA => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string(),
        NS | CNAME | PTR | DNAME => name(0)?,
        MX => format!("{} {}", number(0)?, name(2)?),
        SRV => format!("{} {} {} {}", number(0)?, number(2)?, number(4)?, name(6)?),
        TXT => {
            let (mut rest, mut texts) = (data, Vec::new());
            while !rest.is_empty() {
                let length = text(rest)?;
                texts.push(quoted(&rest[1..length]));
                rest = &rest[length..];
            }
            texts.join(" ")
        }
        SOA => {
            let (first, end) = NameBuf::parse(data, 0).ok()?;
            let (second, end) = NameBuf::parse(data, end).ok()?;
            let (numbers, []) = data.get(end..)?.as_chunks::<4>() else { return None };
            let numbers: Vec<String> = numbers.iter().map(|number| u32::from_be_bytes(*number).to_string()).collect();
            format!("{first} {second} {}", numbers.join(" "))
        }
        _ => return None,
    })
}

/// A character-string in quotes.
fn quoted(octets: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for &octet in octets {
        match octet {
            b'"' | b'\\' => quoted.extend(['\\', char::from(octet)]),
            0x20..=0x7e => quoted.push(char::from(octet)),
            _ => quoted.push_str(&format!("\\{octet:03}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::Records;
    use super::*;

    /// Expands the data of one record behind the question `ns.x.`.
    fn expanded(rtype: u16, data: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut message = b"\0\x01\x80\0\0\x01\0\x01\0\0\0\0\x02nS\x01x\0\0\x01\0\x01\xc0\x0c".to_vec();
        message.extend(rtype.to_be_bytes());
        message.extend(b"\0\x01\0\0\0\x1e");
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
        let record = Records::of(&message)?.next().unwrap()?;
        let mut octets = Vec::new();
        expand(&message, &record, &mut octets).map(|()| octets)
    }

    #[test]
    fn data_is_shown_as_people_write_it() {
        let check = |rtype: u16, data: &[u8], text: &str| assert_eq!(present(rtype, data), text);
        check(A, b"\xc0\x00\x02\x01", "192.0.2.1");
        check(A, b"\xc0", r"\# 1 c0");
        check(MX, b"\0\x0a\x02mx\x01x\0", "10 mx.x.");
        check(SRV, b"\0\x01\0\x02\x1f\x90\x01x\0", "1 2 8080 x.");
        check(TXT, b"\x03a\"\x07\x01b", r#""a\"\007" "b""#);
        check(SOA, b"\x01a\0\x01b\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05", "a. b. 1 2 3 4 5");
        check(65280, b"", r"\# 0");
    }

    #[test]
    fn data_is_written_out_or_refused() {
        let check = |rtype: u16, data: &[u8], expected: Result<&[u8], Fault>| {
            assert_eq!(expanded(rtype, data).as_deref(), expected.as_deref(), "{rtype} {data:?}");
        };
        let wrong = Err(Fault::RecordData);
        check(A, b"\x01\x02\x03\x04", Ok(b"\x01\x02\x03\x04"));
        check(A, b"\x01\x02\x03", wrong);
        check(A, b"\x01\x02\x03\x04\x05", wrong);
        check(NS, b"\xc0\x0c", Ok(b"\x02ns\x01x\0"));
        check(NS, b"\x01A\xc0\x0f", Ok(b"\x01a\x01x\0"));
        check(NS, b"\x01a\0\0", wrong);
        check(NS, b"\xc0\x23", Err(Fault::Pointer));
        check(MX, b"\0\x0a\xc0\x0c", Ok(b"\0\x0a\x02ns\x01x\0"));
        check(SOA, &[&b"\xc0\x0c\xc0\x0f"[..], &[7; 20]].concat(), Ok(&[&b"\x02ns\x01x\0\x01x\0"[..], &[7; 20]].concat()));
        check(SOA, &[&b"\xc0\x0c\xc0\x0f"[..], &[7; 19]].concat(), wrong);
        check(TXT, b"\x01a\x00", Ok(b"\x01a\x00"));
        check(TXT, b"", wrong);
        check(TXT, b"\x02a", wrong);
        check(HTTPS, b"\0\x01\x01W\0", Ok(b"\0\x01\x01W\0"));
        check(HTTPS, b"\0\x01\xc0\x0c", Ok(b"\0\x01\x02ns\x01x\0"));
        check(HTTPS, b"\0\x01\0\0\x01\0\x03\x02h2\0\x03\0\x02\0\x50", Ok(b"\0\x01\0\0\x01\0\x03\x02h2\0\x03\0\x02\0\x50"));
        check(HTTPS, b"\0\x01\0\0\x03\0\x02\0\x50\0\x01\0\x03\x02h2", wrong);
        check(HTTPS, b"\0\x01\0\0\x03\0\x02\0", wrong);
        check(257, b"\0\x05issuex", Ok(b"\0\x05issuex"));
        check(257, b"\0\x07issuex", wrong);
        check(DS, b"\0\x01\x08\x02", wrong);
        check(65280, b"", Ok(b""));
    }
}
