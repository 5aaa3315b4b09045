//! An RRset as it is signed: in canonical form (RFC 4034 §6.2, §6.3).

use crate::codec::NameBuf;
use crate::codec::code::{CLASS_IN, rtype};
use crate::model::Name;

/// An RRset in canonical form: whatever is signed, and all that a signature depends on but the keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unsigned {
    /// The apex of the zone that it stands in, whose keys sign it.
    pub apex: Name,
    /// The owner name. What a wildcard answers is signed under the name that was asked for, as if it stood there.
    pub owner: Name,
    /// The type.
    pub rtype: u16,
    /// The class.
    pub class: u16,
    /// The original TTL (RFC 4034 §3.1.4), in seconds: no answer that the signature goes with has a longer one.
    pub ttl: u32,
    /// RDATA of each record: names uncompressed, in lower case where [`Unsigned::fold`] says so; sorted as octets, each once.
    pub data: Vec<Box<[u8]>>,
}

impl Unsigned {
    /// An RRset of class IN from RDATA in any order, whose names are uncompressed.
    pub fn new(apex: Name, owner: Name, rtype: u16, ttl: u32, mut data: Vec<Box<[u8]>>) -> Unsigned {
        data.iter_mut().for_each(|data| Unsigned::fold(rtype, data));
        // RFC 4034 §6.3: by octets, the shorter first; an RRset has no record twice (RFC 2181 §5).
        data.sort_unstable();
        data.dedup();
        Unsigned { apex, owner, rtype, class: CLASS_IN, ttl, data }
    }

    /// Puts the names in RDATA in lower case, for the types where signers and validators do that. Data that is malformed stays as it is.
    pub fn fold(rtype: u16, data: &mut [u8]) {
        // RFC 4034 §6.2, without NSEC (RFC 6840 §5.1). Types that came later, as SVCB, keep their case.
        let (before, names) = match rtype {
            rtype::NS | rtype::MD | rtype::MF | rtype::CNAME | rtype::MB | rtype::MG | rtype::MR | rtype::PTR | rtype::DNAME => (0, 1),
            rtype::SOA | rtype::MINFO | RP => (0, 2),
            rtype::MX | rtype::AFSDB | rtype::RT | rtype::KX => (2, 1),
            PX => (2, 2),
            rtype::SRV => (6, 1),
            // Three texts stand before the name (RFC 3403 §4.1).
            NAPTR => match (0..3).try_fold(4, |at: usize, _| Some(at + 1 + usize::from(*data.get(at)?))) {
                Some(before) => (before, 1),
                None => return,
            },
            // What of the address is not in the prefix stands before the name of that (RFC 2874 §3.1).
            A6 => match data.first() {
                Some(prefix @ 1..=128) => (1 + (128 - usize::from(*prefix)).div_ceil(8), 1),
                _ => return,
            },
            _ => return,
        };
        let mut at = before;
        for _ in 0..names {
            let Ok((_, end)) = NameBuf::parse(data, at) else { return };
            data[at..end].make_ascii_lowercase();
            at = end;
        }
    }
}

const RP: u16 = 17;
const PX: u16 = 26;
const NAPTR: u16 = 35;
const A6: u16 = 38;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_data_are_folded_where_rfc_4034_says() {
        let check = |rtype: u16, data: &[u8], folded: &[u8]| {
            let mut data = data.to_vec();
            Unsigned::fold(rtype, &mut data);
            assert_eq!(data, folded, "type {rtype}");
        };
        check(rtype::NS, b"\x02NS\x01A\0", b"\x02ns\x01a\0");
        check(rtype::SOA, b"\x01A\0\x01B\0ABCDEFGHIJKLMNOPQRST", b"\x01a\0\x01b\0ABCDEFGHIJKLMNOPQRST");
        check(rtype::MX, b"AB\x01M\0", b"AB\x01m\0");
        check(rtype::SRV, b"ABCDEF\x01M\0", b"ABCDEF\x01m\0");
        check(PX, b"AB\x01M\0\x01N\0", b"AB\x01m\0\x01n\0");
        check(NAPTR, b"ABCD\x01S\x03SIP\x00\x01R\0", b"ABCD\x01S\x03SIP\x00\x01r\0");
        check(A6, b"\x78Z\x01P\0", b"\x78Z\x01p\0");
        // Types that came later keep their case; so does NSEC (RFC 6840 §5.1).
        check(rtype::HTTPS, b"\0\x01\x01W\0", b"\0\x01\x01W\0");
        check(rtype::NSEC, b"\x01W\0\0\x01\x40", b"\x01W\0\0\x01\x40");
        check(rtype::TXT, b"\x01W", b"\x01W");
        // What is malformed stays, whole.
        check(rtype::NS, b"\x02NS\x05A\0", b"\x02NS\x05A\0");
        check(NAPTR, b"ABCD\xffS", b"ABCD\xffS");
        check(A6, b"\x01Z", b"\x01Z");
    }

    #[test]
    fn records_are_sorted_as_octets_and_kept_once() {
        let name = Name::parse("svc.example").unwrap();
        let data = [&b"\x03b"[..], b"\x01a", b"\x01", b"\x80", b"\x01a"].map(Box::from);
        let set = Unsigned::new(name.clone(), name, rtype::TXT, 30, data.to_vec());
        assert_eq!(set.data, [&b"\x01"[..], b"\x01a", b"\x03b", b"\x80"].map(Box::from));
    }
}
