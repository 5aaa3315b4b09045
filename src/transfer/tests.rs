//! Transfers without a server: versions of zones as values, their streams read back by another implementation.

use std::collections::BTreeSet;
use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record as TheirRecord};

use super::*;
use crate::codec::code::rtype;
use crate::codec::{HEADER, Header};
use crate::model::{Name, Peer, RecordSet, TsigAlgorithm, TsigKey, TsigSecret, Zone};
use crate::snapshot::{Snapshot, Update};
use crate::tsig::{self, Key, Keys, Received, Signer};

const NOW: u64 = 1_800_000_000;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A zone with one address for each number, at a name of its own, and an MX that leads to each tenth.
fn zone(serial: u32, numbers: impl IntoIterator<Item = u32>) -> Zone {
    let mut zone = Zone::new(name("Example.com"), "example.com.zone", name("ns1.example.com"), serial);
    zone.ns.push(name("ns2.elsewhere.net"));
    for number in numbers {
        let owner = name(&format!("host-{number}.deep.example.com"));
        if number % 10 == 0 {
            let mx = [&10u16.to_be_bytes()[..], owner.wire()].concat();
            let set = zone.records.entry((name("example.com"), rtype::MX)).or_insert(RecordSet { ttl: 60, rdata: Vec::new() });
            set.rdata.push(mx.into());
        }
        let set = RecordSet { ttl: 300, rdata: vec![number.to_be_bytes().into()] };
        zone.records.insert((owner, rtype::A), set);
    }
    zone
}

fn version(zone: &Zone) -> Version {
    let snapshot = Snapshot::empty().update(&[Update::Zones(std::slice::from_ref(zone))]).unwrap();
    Version::new(snapshot.zone_at(zone.apex.wire()).unwrap().clone(), Arc::default())
}

/// A request for the zone; `since`: IXFR from that serial.
fn request(since: Option<u32>) -> Vec<u8> {
    let mut message = Header { id: 77, flags: 0, counts: [1, 0, u16::from(since.is_some()), 0].into() }.octets().to_vec();
    message.extend(b"\x07eXample\x03com\x00");
    message.extend([0, if since.is_some() { 251 } else { 252 }, 0, 1]);
    if let Some(serial) = since {
        message.extend(b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x00\x00\x18\xc0\x0c\xc0\x0c");
        message.extend(serial.to_be_bytes());
        message.extend([0; 16]);
    }
    message
}

fn key() -> Arc<Key> {
    let secret = TsigSecret((*b"a secret of at least 16 octets").into());
    Arc::new(Key::new(&TsigKey { name: name("k"), algorithm: TsigAlgorithm::HmacSha256, secret }))
}

/// All messages.
fn messages(mut stream: Stream) -> Vec<Vec<u8>> {
    let messages = std::iter::from_fn(|| stream.next(NOW)).map(Result::unwrap).collect();
    assert!(stream.is_over() && stream.next(NOW).is_none());
    messages
}

fn stream(since: Option<u32>, version: &Version, journal: &Journal, signer: Option<Signer>) -> Vec<Vec<u8>> {
    messages(Stream::new(Asked::read(&request(since)).unwrap(), version, journal, signer))
}

/// All records of messages, in their order.
fn read(messages: &[Vec<u8>]) -> Vec<TheirRecord> {
    messages.iter().flat_map(|message| Message::from_vec(message).unwrap().answers).collect()
}

fn serial(record: &TheirRecord) -> Option<u32> {
    match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    }
}

/// What a secondary has, as text.
fn held(records: &[TheirRecord]) -> BTreeSet<String> {
    records.iter().filter(|record| serial(record).is_none()).map(ToString::to_string).collect()
}

#[test]
fn a_zone_is_streamed_whole_in_messages_that_are_full() {
    let (written, journal) = (zone(7, 0..12_000), Journal::default());
    let version = version(&written);
    let mut query = request(None);
    let mut verifier = tsig::ask(&mut query, &key(), NOW).unwrap();
    let settings =
        TsigKey { name: name("k"), algorithm: TsigAlgorithm::HmacSha256, secret: TsigSecret((*b"a secret of at least 16 octets").into()) };
    let Ok(Received::Signed(signer)) = tsig::receive(&query, &Keys::new([&settings]), NOW) else { panic!("signed") };
    let messages = stream(None, &version, &journal, Some(signer));
    assert!(messages.len() > 2, "{}", messages.len());
    for (n, message) in messages.iter().enumerate() {
        let header = Header::parse(message).unwrap();
        assert_eq!(
            (header.id, header.flags, header.counts.get(0)),
            (77, Header::QR | Header::AA, u16::from(n == 0)),
            "the question stands first alone"
        );
        // The next record, whose name is compressed, would not have fitted.
        assert!(message.len() <= 65_535 && (n + 1 == messages.len() || message.len() > 65_535 - 60), "{}", message.len());
        verifier.verify(message, NOW).unwrap();
    }
    verifier.finish().unwrap();
    assert_eq!(&messages[0][HEADER..HEADER + 13], b"\x07eXample\x03com\x00", "as it was asked");
    let records = read(&messages);
    assert_eq!((serial(&records[0]), serial(records.last().unwrap())), (Some(7), Some(7)));
    assert_eq!(records.iter().filter_map(serial).count(), 2);
    let held = held(&records);
    assert_eq!(held.len(), 12_000 + 1_200 + 2);
    assert!(held.contains("host-11999.deep.example.com. 300 IN A 0.0.46.223"), "{:?}", held.first());
    assert!(held.contains("example.com. 60 IN MX 10 host-0.deep.example.com."));
    let octets: usize = messages.iter().map(Vec::len).sum();
    assert!(octets < 12_000 * 32 + 1_200 * 24, "names are compressed: {octets}");
}

#[test]
fn differences_bring_a_secondary_from_any_version_to_the_latest() {
    let (mut journal, mut versions) = (Journal::default(), Vec::new());
    for (n, numbers) in [(0u32, 0..30), (1, 5..40), (2, 5..60), (3, 20..60)] {
        let mut written = zone((u32::MAX - 1).wrapping_add(n * 2), numbers);
        if n > 1 {
            // Of one RRset nothing but the TTL is another.
            written.records.get_mut(&(name("host-30.deep.example.com"), rtype::A)).unwrap().ttl = 77;
        }
        versions.push(version(&written));
    }
    for pair in versions.windows(2) {
        assert!(is_newer(pair[1].serial(), pair[0].serial()));
        journal.push(Difference::between(&pair[0], &pair[1]));
    }
    let latest = versions.last().unwrap();
    let whole = held(&read(&stream(None, latest, &journal, None)));
    for (n, old) in versions.iter().enumerate() {
        let mut held = held(&read(&stream(None, old, &journal, None)));
        let records = read(&stream(Some(old.serial()), latest, &journal, None));
        assert_eq!(serial(&records[0]), Some(latest.serial()));
        if n + 1 == versions.len() {
            assert_eq!(records.len(), 1, "the latest is there already");
            continue;
        }
        assert_eq!(serial(records.last().unwrap()), Some(latest.serial()));
        // RFC 1995 §4: SOA before, what is gone, SOA from then on, what is new.
        let (mut adding, mut at) = (true, old.serial());
        for record in &records[1..records.len() - 1] {
            match serial(record) {
                Some(serial) => {
                    adding = !adding;
                    assert!(adding || serial == at, "each difference begins where the one before ends");
                    at = serial;
                }
                None if adding => assert!(held.insert(record.to_string()), "{record} was there"),
                None => assert!(held.remove(&record.to_string()), "{record} was not there"),
            }
        }
        assert_eq!((at, &held), (latest.serial(), &whole), "from version {n}");
    }
    // A serial that nobody knows any more: the whole zone. One from the future: nothing.
    let records = read(&stream(Some(u32::MAX - 100), latest, &journal, None));
    assert_eq!((serial(&records[1]), held(&records)), (None, whole));
    assert_eq!(read(&stream(Some(latest.serial().wrapping_add(5)), latest, &journal, None)).len(), 1);
    // RFC 1995 §2: in a datagram what fits, else the SOA alone.
    let datagram = |from: &Version, payload: u16| {
        let mut asked = Asked::read(&request(Some(from.serial()))).unwrap();
        asked.payload = payload;
        let reply = Stream::datagram(&asked, latest, &journal, None, 4096, NOW).unwrap();
        assert!(reply.len() <= payload.into());
        read(&[reply])
    };
    assert!(datagram(&versions[2], 4096).len() > 10);
    assert_eq!(datagram(&versions[0], 512).len(), 1);
    // A journal with a gap knows nothing from before it; one that is too long forgets the oldest.
    let known = |journal: &Journal, of: &Version| journal.since(of.serial()).is_some();
    let mut gap = Journal::default();
    gap.push(Difference::between(&versions[0], &versions[1]));
    gap.push(Difference::between(&versions[2], &versions[3]));
    assert_eq!(versions.iter().map(|of| known(&gap, of)).collect::<Vec<_>>(), [false, false, true, false]);
    for n in 0..99 {
        let (old, new) = (version(&zone(100 + n, [n])), version(&zone(101 + n, [n + 1])));
        if n == 0 {
            journal.push(Difference::between(latest, &old));
        }
        journal.push(Difference::between(&old, &new));
    }
    assert!(!known(&journal, &versions[2]) && known(&journal, latest));
}

/// What is kept of a journal leads to one version, and to no other: not with its end missing, not to other records under the same serial.
#[test]
fn a_journal_that_was_kept_leads_to_its_version_alone() {
    let versions = [0..30, 5..40, 20..60].map(|numbers| zone(7 + numbers.start, numbers)).map(|zone| version(&zone));
    let (mut journal, mut print, mut kept) = (Journal::default(), versions[0].print(), Journal::OPENING.to_vec());
    for pair in versions.windows(2) {
        let difference = Difference::between(&pair[0], &pair[1]);
        print = difference.print(print);
        assert_eq!(print, pair[1].print(), "the print follows from the difference");
        journal.push(difference);
        kept.extend(journal.entry(print));
    }
    assert_eq!(journal.octets(print), kept, "appended or written anew");
    let latest = &versions[2];
    let restored = Journal::restore(&kept, latest, latest.print()).unwrap();
    assert_eq!(stream(Some(7), latest, &restored, None), stream(Some(7), latest, &journal, None));
    let lost = |octets: &[u8], version: &Version| Journal::restore(octets, version, version.print()).is_none();
    assert!(lost(&kept[..kept.len() - 1], latest), "the end is missing");
    assert!(lost(&kept, &versions[1]) && lost(&kept, &version(&zone(latest.serial(), 20..61))));
    assert!(lost(b"", latest) && lost(&kept[1..], latest));
    for at in (8..kept.len()).step_by(7) {
        let mut damaged = kept.clone();
        damaged[at] ^= 1;
        assert!(lost(&damaged, latest), "octet {at}");
    }
    // What is damaged in the middle costs what is behind it, and then nothing fits.
    let first = Journal::restore(&kept[..kept.len() - 1], &versions[1], versions[1].print()).unwrap();
    assert!(first.since(7).is_some_and(|differences| differences.len() == 1));
}

#[test]
fn what_is_sent_is_of_one_version() {
    let mut stream = Stream::new(Asked::read(&request(None)).unwrap(), &version(&zone(1, 0..9_000)), &Journal::default(), None);
    let first = stream.next(NOW).unwrap().unwrap();
    // Whatever becomes of the zone: nobody else holds this one any more.
    let rest: Vec<Vec<u8>> = std::iter::from_fn(|| stream.next(NOW)).map(Result::unwrap).collect();
    let records = read(&[vec![first], rest].concat());
    assert_eq!(records.iter().filter_map(serial).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(held(&records).len(), 9_000 + 900 + 2);
}

#[test]
fn a_record_that_no_message_holds_ends_the_transfer() {
    let mut large = zone(1, 0..3);
    let texts: Vec<u8> = std::iter::repeat_n([&[255u8][..], &[b'x'; 255]].concat(), 255).flatten().collect();
    let text = [texts, [&[230u8][..], &[b'y'; 230]].concat()].concat();
    large.records.insert((name("big.example.com"), rtype::TXT), RecordSet { ttl: 1, rdata: vec![text.into()] });
    let all: Vec<_> = {
        let mut stream = Stream::new(Asked::read(&request(None)).unwrap(), &version(&large), &Journal::default(), None);
        std::iter::from_fn(move || stream.next(NOW)).collect()
    };
    assert_eq!(all.last().unwrap(), &Err(StreamError::Record { rtype: rtype::TXT }));
    let sent: Vec<Vec<u8>> = all.into_iter().filter_map(Result::ok).collect();
    assert_eq!(read(&sent).iter().filter_map(serial).count(), 1, "no SOA ends it");
}

#[test]
fn requests_that_are_none_are_told_apart() {
    use crate::codec::Fault;
    assert_eq!(Asked::read(&request(Some(5))).unwrap().extent, Extent::Since(5));
    assert_eq!(Asked::read(&request(None)).unwrap().apex, name("example.com"));
    let mut plain = request(None);
    plain[26] = 251;
    assert_eq!(Asked::read(&plain).unwrap_err(), Fault::SerialMissing);
    let mut other = request(Some(5));
    other[31 - 2] = 0xc0;
    other[31 - 1] = 0x14;
    for length in 0..other.len() {
        assert!(Asked::read(&other[..length]).is_err(), "{length}");
    }
    assert_eq!(Asked::read(&other).unwrap_err(), Fault::SerialMissing, "the SOA of another zone");
    let reply = refusal(&request(None), 5, 18, "why").unwrap();
    assert_eq!((reply.len(), reply[3] & 0xf, reply[2] & 0x80), (request(None).len(), 5, 0x80), "without EDNS no reason");
    assert!(refusal(&reply, 5, 18, "why").is_none(), "no reply to a reply");
}

#[test]
fn serials_move_with_what_zones_hold_and_never_go_back() {
    let mut serials = Serials::default();
    let (one, two) = (zone(0, [1]), zone(0, [2]));
    let mut assign = |from: &Zone, said: u32, own: bool, followed: bool| {
        let mut zones = [from.clone()];
        (zones[0].soa.serial, zones[0].soa.own_serial) = (said, own);
        // As after a restart.
        serials = Serials::parse(&serials.to_text()).unwrap();
        let overruled = serials.assign(&mut zones, |_| followed);
        (zones[0].soa.serial, overruled.len())
    };
    // Without a serial of its own: the time of writing, as long as it moves.
    assert_eq!(assign(&one, 1000, false, false), (1000, 0));
    assert_eq!(assign(&one, 2000, false, false), (1000, 0), "written again, and nothing else");
    assert_eq!(assign(&two, 3000, false, false), (3000, 0));
    assert_eq!(assign(&one, 2500, false, false), (3001, 0), "an older file holds something else");
    assert_eq!(assign(&one, 2500, false, false), (3001, 0));
    assert_eq!(assign(&two, 3000, false, false), (3002, 0));
    // With one of its own: what the file says, unless secondaries would not follow.
    assert_eq!(assign(&one, 7, true, false), (7, 0));
    assert_eq!(assign(&one, 4000, true, true), (4000, 0));
    assert_eq!(assign(&two, 4000, true, true), (4001, 1));
    assert_eq!(assign(&two, 4000, true, true), (4001, 1), "told again while it is so");
    assert_eq!(assign(&two, 4005, true, true), (4005, 0), "its author moved it");
    assert_eq!(assign(&one, 1, true, true), (4006, 1), "or set it back");
    // What is rendered moves it, too.
    let apex = name("example.com");
    assert_eq!(serials.render(&apex, 1, 4006), None, "nothing was rendered before");
    assert_eq!(serials.render(&apex, 1, 4006), None);
    assert_eq!(serials.render(&apex, 2, 4006), Some(4007));
    // RFC 1982 §3.2.
    for (a, b, newer) in [(1, 0, true), (0, 1, false), (5, 5, false), (0, u32::MAX, true), (1 << 31, 0, false), (0, 1 << 31, false)] {
        assert_eq!(is_newer(a, b), newer, "{a} {b}");
    }
    assert_eq!((next_serial(7), next_serial(u32::MAX)), (8, 1));
    assert!(Serials::parse("{\"x.\": 1}").is_err());
}

#[test]
fn who_may_is_said_by_network_by_key_or_by_both() {
    let settings = |networks: &[&str], keys: &[&str]| TransferSettings {
        networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        keys: keys.iter().map(|text| name(text)).collect(),
        ..TransferSettings::default()
    };
    let check = |settings: &TransferSettings, client: &str, key: Option<&str>, may: bool| {
        assert_eq!(permits(settings, client.parse().unwrap(), key.map(name).as_ref()), may, "{settings:?} {client} {key:?}");
    };
    let networks = settings(&["192.0.2.0/24"], &[]);
    check(&networks, "192.0.2.9", None, true);
    check(&networks, "::ffff:192.0.2.9", Some("k"), true);
    check(&networks, "192.0.3.9", Some("k"), false);
    let keys = settings(&[], &["k", "l"]);
    check(&keys, "192.0.3.9", Some("l"), true);
    check(&keys, "192.0.3.9", Some("m"), false);
    check(&keys, "192.0.3.9", None, false);
    let both = settings(&["192.0.2.0/24"], &["k"]);
    check(&both, "192.0.2.9", Some("k"), true);
    check(&both, "192.0.2.9", None, false);
    check(&both, "192.0.3.9", Some("k"), false);
    check(&settings(&[], &[]), "192.0.2.9", Some("k"), false);
}

#[test]
fn who_is_told_of_a_change_is_told_again_until_it_answers() {
    let (apex, soa) = (name("example.com"), version(&zone(7, [1])).soa().clone());
    let settings =
        TsigKey { name: name("k"), algorithm: TsigAlgorithm::HmacSha256, secret: TsigSecret((*b"a secret of at least 16 octets").into()) };
    let keys = Keys::new([&settings]);
    let peer = |text: &str, key: Option<&str>| Peer { address: text.parse().unwrap(), tls: None, key: key.map(name) };
    let (plain, signed, keyless) = (peer("192.0.2.1:53", None), peer("192.0.2.2:53", Some("k")), peer("192.0.2.3:53", Some("gone")));
    let mut notifier = Notifier::default();
    let mut next_id = 0;
    let mut id = || {
        next_id += 1;
        next_id
    };
    let begin = NOW * 1000;
    notifier.changed(&apex, &[plain.clone(), signed.clone(), keyless.clone()], &soa, begin);
    let (sent, told) = notifier.poll(begin, &keys, &mut id);
    assert_eq!((sent.len(), told), (2, vec![Told::GivenUp { apex: apex.clone(), peer: keyless }]));
    // RFC 1996 §3.7: the question, and the SOA as a hint.
    let message = Message::from_vec(&sent[0].1).unwrap();
    assert_eq!((sent[0].1[2], message.queries.len(), serial(&message.answers[0])), (0x24, 1, Some(7)));
    let acknowledge = |message: &[u8]| {
        let mut reply = message[..HEADER + 13 + 4].to_vec();
        (reply[2], reply[6], reply[7], reply[10], reply[11]) = (0xa4, 0, 0, 0, 0);
        reply
    };
    let reply = acknowledge(&sent[0].1);
    assert_eq!(notifier.received("192.0.2.9:53".parse().unwrap(), &reply, begin), None, "from somebody else");
    let mut other = reply.clone();
    other[1] ^= 1;
    assert_eq!(notifier.received(plain.address, &other, begin), None, "to something else");
    assert_eq!(notifier.received(plain.address, &reply, begin), Some(Told::Acknowledged { apex: apex.clone(), peer: plain.clone() }));
    assert_eq!(notifier.received(plain.address, &reply, begin), None, "once");
    // Who has the key must sign.
    assert_eq!(notifier.received(signed.address, &acknowledge(&sent[1].1), begin), None);
    let waits: Vec<u64> = std::iter::from_fn(|| {
        let due = notifier.next_due()?;
        assert!(notifier.poll(due - 1, &keys, &mut id).0.is_empty());
        let (sent, told) = notifier.poll(due, &keys, &mut id);
        assert_eq!(sent.is_empty(), !told.is_empty());
        Some(due - begin)
    })
    .collect();
    assert_eq!(waits, [2_000, 6_000, 14_000, 30_000, 62_000, 126_000], "six attempts, and it is given up");
    notifier.changed(&apex, std::slice::from_ref(&signed), &soa, begin);
    let (sent, _) = notifier.poll(begin, &keys, &mut id);
    let Ok(Received::Signed(mut signer)) = tsig::receive(&sent[0].1, &keys, NOW) else { panic!("it is signed") };
    let mut reply = acknowledge(&sent[0].1);
    reply[3] = 5;
    signer.sign(&mut reply, NOW).unwrap();
    assert_eq!(
        notifier.received(signed.address, &reply, begin),
        Some(Told::Refused { apex: apex.clone(), peer: signed.clone(), rcode: 5 })
    );
    notifier.changed(&apex, &[plain, signed], &soa, begin);
    notifier.keep(|_, _| false);
    assert_eq!(notifier.next_due(), None);
}
