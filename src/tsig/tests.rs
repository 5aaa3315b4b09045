//! Both sides against each other, and against another implementation.

use std::str::FromStr;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::tsig::TsigAlgorithm as Theirs;
use hickory_proto::rr::{Name as TheirName, RecordType, TSigner};

use super::*;
use crate::codec::Header;
use crate::model::TsigSecret;

const NOW: u64 = 1_800_000_000;
/// `id 7, RD; www.example. A IN`.
const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x01\0\x01";

fn key(name: &str, algorithm: TsigAlgorithm, secret: &[u8]) -> Arc<Key> {
    Arc::new(Key::new(&TsigKey { name: Name::parse(name).unwrap(), algorithm, secret: TsigSecret(secret.into()) }))
}

fn keys(keys: &[&Arc<Key>]) -> Keys {
    Keys(keys.iter().map(|key| (key.name.clone(), Arc::clone(key))).collect())
}

/// The query's reply, with `n` in its id.
fn reply(n: u8) -> Vec<u8> {
    let mut reply = QUERY.to_vec();
    (reply[1], reply[2]) = (n, 0x84);
    reply
}

fn signer(query: &[u8], known: &Keys, now: u64) -> Signer {
    match receive(query, known, now) {
        Ok(Received::Signed(signer)) => signer,
        other => panic!("{other:?}"),
    }
}

fn refused(query: &[u8], known: &Keys, now: u64) -> Refusal {
    match receive(query, known, now) {
        Ok(Received::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_is_signed_and_verified_message_by_message() {
    for algorithm in TsigAlgorithm::ALL {
        let key = key("k.example", algorithm, b"secret");
        let known = keys(&[&key]);
        let mut query = QUERY.to_vec();
        let mut verifier = ask(&mut query, &key, NOW).unwrap();
        assert_eq!(query.len(), QUERY.len() + key.room());
        assert_eq!(Tsig::find(&query).unwrap().unwrap().plain(&query), QUERY);
        let mut signer = signer(&query, &known, NOW + 300);
        assert!(verifier.finish().is_err(), "no reply yet");
        let mut replies: Vec<Vec<u8>> = (0..4).map(reply).collect();
        for (n, reply) in replies.iter_mut().enumerate() {
            signer.sign(reply, NOW + n as u64).unwrap();
        }
        let once = verifier.clone();
        for reply in &replies {
            verifier.verify(reply, NOW).unwrap();
        }
        verifier.finish().unwrap();
        // Out of order, changed, cut, too late, with another key: none passes.
        let fails = |reply: &[u8], now: u64, error: ReplyError| assert_eq!(once.clone().verify(reply, now), Err(error));
        fails(&replies[1], NOW, ReplyError::Wrong);
        let mut changed = replies[0].clone();
        changed[13] ^= 1;
        fails(&changed, NOW, ReplyError::Wrong);
        fails(&replies[0], NOW + 301, ReplyError::Time);
        fails(&reply(0), NOW, ReplyError::Unsigned);
        fails(&replies[0][..replies[0].len() - 1], NOW, ReplyError::Malformed(Malformed::Message(crate::codec::Fault::Short)));
        let mut again = once.clone();
        again.verify(&replies[0], NOW).unwrap();
        assert_eq!(again.verify(&replies[0], NOW), Err(ReplyError::Wrong), "a reply counts once");
        again.verify(&replies[1], NOW).unwrap();
    }
}

#[test]
fn up_to_99_replies_of_a_stream_come_without() {
    let key = key("k", TsigAlgorithm::HmacSha256, b"secret");
    let mut query = QUERY.to_vec();
    let mut verifier = ask(&mut query, &key, NOW).unwrap();
    let mut signer = signer(&query, &keys(&[&key]), NOW);
    let mut first = reply(0);
    signer.sign(&mut first, NOW).unwrap();
    verifier.verify(&first, NOW).unwrap();
    // What is signed of the last: the MAC before, all replies since, and the timers.
    let mut digest = record::context(&key, Some(&signer.prior));
    for n in 1..100 {
        verifier.verify(&reply(n), NOW).unwrap();
        digest.update(&reply(n));
    }
    assert_eq!(verifier.finish(), Err(ReplyError::Unsigned));
    assert_eq!(verifier.clone().verify(&reply(100), NOW), Err(ReplyError::Unsigned));
    let mut last = reply(100);
    digest.update(&last);
    record::digest_timers(&mut digest, NOW, FUDGE);
    let variables = record::Variables { key: &key.name, algorithm: key.algorithm.wire(), time: NOW, fudge: FUDGE, error: 0, other: &[] };
    variables.append(&mut last, digest.sign().as_ref()).unwrap();
    let mut left_out = verifier.clone();
    left_out.digest = record::context(&key, Some(&signer.prior));
    verifier.verify(&last, NOW).unwrap();
    verifier.finish().unwrap();
    assert_eq!(left_out.verify(&last, NOW), Err(ReplyError::Wrong), "what was left out is missed");
}

#[test]
fn a_request_that_is_not_what_it_says_is_told_why() {
    let ours = key("k", TsigAlgorithm::HmacSha256, b"secret");
    let known = keys(&[&ours]);
    let ask_with = |key: &Arc<Key>| {
        let mut query = QUERY.to_vec();
        let verifier = ask(&mut query, key, NOW).unwrap();
        (query, verifier)
    };
    let check = |key: &Arc<Key>, change: &dyn Fn(&mut Vec<u8>), now: u64, error: TsigError, signed: bool| {
        let (mut query, mut verifier) = ask_with(key);
        change(&mut query);
        let refusal = refused(&query, &known, now);
        assert_eq!(refusal.error(), error);
        let mut answer = reply(7);
        refusal.conclude(&mut answer, now).unwrap();
        let tsig = Tsig::find(&answer).unwrap().unwrap();
        assert_eq!((answer[3] & 0xf, tsig.error, !tsig.mac.is_empty()), (9, error.code(), signed));
        if error == TsigError::BadTime {
            assert_eq!((tsig.time, tsig.other), (NOW, &now.to_be_bytes()[2..]), "the client's clock, and the server's");
        }
        // RFC 8945 §5.4: the client learns it; a signed error verifies.
        if error != TsigError::BadTrunc {
            assert_eq!(verifier.verify(&answer, now), Err(ReplyError::Refused(error)));
        }
    };
    let as_is = |_: &mut Vec<u8>| {};
    check(&key("other", TsigAlgorithm::HmacSha256, b"secret"), &as_is, NOW, TsigError::BadKey, false);
    check(&key("k", TsigAlgorithm::HmacSha512, b"secret"), &as_is, NOW, TsigError::BadKey, false);
    check(&key("k", TsigAlgorithm::HmacSha256, b"guess"), &as_is, NOW, TsigError::BadSig, false);
    check(&ours, &|query| query[13] ^= 1, NOW, TsigError::BadSig, false);
    check(&ours, &as_is, NOW + 301, TsigError::BadTime, true);
    check(&ours, &as_is, NOW - 301, TsigError::BadTime, true);
    // The MAC cut to half: 16 octets may be, if both agree on it; fewer are no MAC at all.
    let cut_to = |octets: usize| {
        move |query: &mut Vec<u8>| {
            let (mac_at, rdlength_at) = (query.len() - 6 - 32, QUERY.len() + 3 + 8);
            query.drain(mac_at + octets..mac_at + 32);
            query[mac_at - 1] = octets as u8;
            query[rdlength_at + 1] -= 32 - octets as u8;
        }
    };
    check(&ours, &cut_to(16), NOW, TsigError::BadTrunc, true);
    let (mut query, _) = ask_with(&ours);
    cut_to(15)(&mut query);
    assert_eq!(receive(&query, &known, NOW).unwrap_err(), Malformed::MacLength);
    // Behind another server's id: what was signed is the original one.
    let (mut query, _) = ask_with(&ours);
    query[0] = 0x55;
    signer(&query, &known, NOW);
    assert!(matches!(receive(QUERY, &known, NOW), Ok(Received::Unsigned)));
}

#[test]
fn what_is_no_tsig_is_malformed_and_never_more() {
    let key = key("k", TsigAlgorithm::HmacSha256, b"secret");
    let known = keys(&[&key]);
    let mut query = QUERY.to_vec();
    ask(&mut query, &key, NOW).unwrap();
    for length in 0..query.len() {
        assert!(receive(&query[..length], &known, NOW).is_err(), "{length}");
    }
    for at in 0..query.len() {
        for bit in 0..8 {
            let mut changed = query.clone();
            changed[at] ^= 1 << bit;
            let good = matches!(receive(&changed, &known, NOW), Ok(Received::Signed(_)));
            // The id on the way, and the case of names, are not signed.
            let unsigned = at < 2 || bit == 5 && query[at].is_ascii_alphabetic() && (QUERY.len()..QUERY.len() + 26).contains(&at);
            assert_eq!(good, unsigned, "octet {at}, bit {bit}");
        }
    }
    let mut class = query.clone();
    class[QUERY.len() + 3 + 3] = 1;
    assert_eq!(receive(&class, &known, NOW).unwrap_err(), Malformed::Fixed);
    assert_eq!(ask(&mut vec![0; 11], &key, NOW).unwrap_err(), NoRoom);
    let mut full = [QUERY, &vec![0; 65_535 - QUERY.len() - key.room() + 1]].concat();
    assert_eq!(ask(&mut full, &key, NOW).unwrap_err(), NoRoom);
    assert_eq!((full.len(), Header::parse(&full).unwrap().counts.get(3)), (65_536 - key.room(), 0));
    assert_eq!(format!("{key:?}"), "Key(k. hmac-sha256)");
}

#[test]
fn another_implementation_agrees() {
    for (algorithm, theirs) in [
        (TsigAlgorithm::HmacSha256, Theirs::HmacSha256),
        (TsigAlgorithm::HmacSha384, Theirs::HmacSha384),
        (TsigAlgorithm::HmacSha512, Theirs::HmacSha512),
    ] {
        let key = key("Transfer.Key", algorithm, b"0123456789abcdef");
        let name = TheirName::from_str("transfer.key.").unwrap();
        let other = TSigner::new(b"0123456789abcdef".to_vec(), theirs, name, 300).unwrap();
        let mut question = Message::new(7, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(TheirName::from_str("www.example.").unwrap(), RecordType::AXFR));
        // Theirs is good for us …
        question.finalize(&other, NOW).unwrap();
        let bytes = question.to_vec().unwrap();
        let mut signer = signer(&bytes, &keys(&[&key]), NOW);
        // … and ours for them: the first reply is verified with the MAC of the request, the next ones with the one before.
        let mut prior = Tsig::find(&bytes).unwrap().unwrap().mac.to_vec();
        for n in 0..3 {
            let mut answer = reply(n);
            signer.sign(&mut answer, NOW + 1).unwrap();
            let (mac, _, range) = other.verify_message_byte(&answer, Some(&prior), n == 0).unwrap();
            assert!(range.contains(&NOW));
            prior = mac;
        }
    }
}
