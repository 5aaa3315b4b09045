use super::*;
use crate::codec::code::rcode;

const ZONE: &[u8] = b"\x01x\x07example\0\0\x06\0\x01";

/// An update of `x.example.` with these records as prerequisites, edits and additional ones.
pub(crate) fn message(prerequisites: &[&[u8]], edits: &[&[u8]], additional: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0x28, 0];
    [1, prerequisites.len(), edits.len(), additional.len()].iter().for_each(|count| message.extend((*count as u16).to_be_bytes()));
    message.extend(ZONE);
    [prerequisites, edits, additional].concat().into_iter().for_each(|record| message.extend(record));
    message
}

/// A record of `www.x.example.`.
fn record(rtype: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut octets = b"\x03wWw\xc0\x0c".to_vec();
    octets.extend([rtype.to_be_bytes(), class.to_be_bytes()].concat());
    octets.extend(ttl.to_be_bytes());
    octets.extend((data.len() as u16).to_be_bytes());
    octets.extend(data);
    octets
}

const ADDRESS: &[u8] = b"\xc0\x00\x02\x01";

#[test]
fn what_is_asked_for_is_read() {
    let name = || Name::parse("www.x.example.").unwrap();
    let prerequisites = [
        (record(255, 255, 0, b""), Prerequisite::InUse(name())),
        (record(255, 254, 0, b""), Prerequisite::Unused(name())),
        (record(1, 255, 0, b""), Prerequisite::Exists(name(), 1)),
        (record(1, 254, 0, b""), Prerequisite::Absent(name(), 1)),
        (record(1, 1, 0, ADDRESS), Prerequisite::Holds(name(), 1, ADDRESS.into())),
        (record(2, 1, 0, b"\xc0\x0c"), Prerequisite::Holds(name(), 2, b"\x01x\x07example\0"[..].into())),
    ];
    let edits = [
        (record(1, 1, 60, ADDRESS), Edit::Add { name: name(), rtype: 1, ttl: 60, rdata: ADDRESS.into() }),
        (record(1, 1, 0x8000_0000, ADDRESS), Edit::Add { name: name(), rtype: 1, ttl: 0, rdata: ADDRESS.into() }),
        (record(1, 255, 0, b""), Edit::DeleteSet(name(), 1)),
        (record(255, 255, 0, b""), Edit::DeleteName(name())),
        (record(1, 254, 0, ADDRESS), Edit::DeleteRecord(name(), 1, ADDRESS.into())),
    ];
    let octets = |of: &[Vec<u8>]| of.to_vec();
    let (first, second) = (octets(&prerequisites.each_ref().map(|p| p.0.clone())), octets(&edits.each_ref().map(|e| e.0.clone())));
    let slices = |of: &'_ [Vec<u8>]| of.iter().map(Vec::as_slice).collect::<Vec<_>>().into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (first, second) = (slices(&first), slices(&second));
    let opt: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let bytes =
        message(&first.iter().map(Vec::as_slice).collect::<Vec<_>>(), &second.iter().map(Vec::as_slice).collect::<Vec<_>>(), &[opt]);
    let update = read_update(&bytes).unwrap();
    assert_eq!(update.apex, Name::parse("x.example.").unwrap());
    assert_eq!(update.prerequisites, prerequisites.map(|(_, prerequisite)| prerequisite));
    assert_eq!(update.edits, edits.map(|(_, edit)| edit));
    assert!(is_update(&Header::parse(&bytes).unwrap()));
    for end in 0..bytes.len() {
        assert!(read_update(&bytes[..end]).is_err(), "{end} octets");
    }
    assert_eq!(read_update(&[&bytes[..], b"x"].concat()), Err(Fault::Trailing.into()));
}

#[test]
fn what_means_nothing_is_malformed() {
    let prerequisite =
        |record: Vec<u8>| assert_eq!(read_update(&message(&[&record], &[], &[])), Err(Malformed::Prerequisite(1)), "{record:?}");
    prerequisite(record(1, 1, 1, ADDRESS));
    prerequisite(record(1, 255, 1, b""));
    prerequisite(record(1, 255, 0, ADDRESS));
    prerequisite(record(1, 254, 0, ADDRESS));
    prerequisite(record(255, 1, 0, b""));
    prerequisite(record(252, 255, 0, b""));
    prerequisite(record(1, 3, 0, ADDRESS));
    let edit = |record: Vec<u8>| assert_eq!(read_update(&message(&[], &[&record], &[])), Err(Malformed::Edit(1)), "{record:?}");
    edit(record(255, 1, 0, b""));
    edit(record(41, 1, 0, b""));
    edit(record(252, 255, 0, b""));
    edit(record(1, 255, 1, b""));
    edit(record(1, 255, 0, ADDRESS));
    edit(record(1, 254, 1, ADDRESS));
    edit(record(255, 254, 0, b""));
    edit(record(1, 3, 0, ADDRESS));
    assert_eq!(read_update(&message(&[], &[&record(1, 1, 0, b"\x01")], &[])), Err(Fault::RecordData.into()));
    assert_eq!(read_update(&message(&[], &[&record(1, 254, 0, b"\x01")], &[])), Err(Fault::RecordData.into()));
    for (at, octet) in [(5, 2), (5, 0), (24, 1), (26, 3)] {
        let mut other = message(&[], &[], &[]);
        other[at] = octet;
        assert_eq!(read_update(&other), Err(Malformed::Zone), "octet {at}");
    }
}

#[test]
fn the_reply_says_which_zone_and_why() {
    let opt: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let reply = conclude(&message(&[], &[], &[opt]), rcode::REFUSED, Some((18, "not yours"))).unwrap();
    assert_eq!(&reply[..12], b"\xab\xcd\xa8\x05\0\x01\0\0\0\0\0\x01");
    assert_eq!(&reply[12..12 + ZONE.len()], ZONE);
    assert_eq!(&reply[12 + ZONE.len()..], b"\0\0\x29\x04\xd0\0\0\0\0\0\x0f\0\x0f\0\x0b\0\x12not yours");
    assert_eq!(conclude(&message(&[], &[], &[]), 0, None).unwrap().len(), 12 + ZONE.len());
    assert_eq!(conclude(&reply, 0, None), None);
    assert_eq!(conclude(b"\0\x01\x28\0\0\x01\0\0\0\0\0\0\xc0\xff", rcode::FORMERR, None).unwrap(), b"\0\x01\xa8\x01\0\0\0\0\0\0\0\0");
}
