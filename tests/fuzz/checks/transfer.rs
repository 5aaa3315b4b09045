//! Octets as a signed message, as a request for a copy of a zone, and as a reply to ours: nothing panics, and nothing passes that nobody signed.

use std::sync::Arc;

use signpost::codec::{Header, NameBuf, Records};
use signpost::model::{Name, Peer, TsigAlgorithm, TsigKey, TsigSecret};
use signpost::transfer::{Asked, Notifier, refusal};
use signpost::tsig::{self, Key, Keys, Received, Tsig};

/// When all messages come: in 2027, in seconds.
const NOW: u64 = 1_800_000_000;

/// What seeds are signed with.
pub fn key() -> TsigKey {
    let secret = TsigSecret((*b"a secret of at least 16 octets").into());
    TsigKey { name: Name::parse("k").unwrap(), algorithm: TsigAlgorithm::HmacSha256, secret }
}

/// Holds octets against everything that reads messages of other servers.
pub fn check(octets: &[u8]) {
    let settings = key();
    let (keys, key) = (Keys::new([&settings]), Arc::new(Key::new(&settings)));
    let mut name = NameBuf::default();
    for at in 0..octets.len().min(64) {
        if let Ok(end) = name.follow(octets, at) {
            assert!(end > at && end <= octets.len() && name.wire().len() <= 255);
        }
    }
    if let Ok(records) = Records::of(octets) {
        let mut behind = 0;
        for record in records.map_while(Result::ok) {
            assert!(record.end > behind && octets[record.data_at..record.end] == *record.data);
            behind = record.end;
        }
    }
    match tsig::receive(octets, &keys, NOW) {
        Err(_) => {}
        Ok(Received::Unsigned) => assert!(Tsig::find(octets).unwrap().is_none()),
        Ok(Received::Signed(mut signer)) => {
            let tsig = Tsig::find(octets).unwrap().unwrap();
            let mut plain = tsig.plain(octets);
            assert!(plain.len() < octets.len() && Tsig::find(&plain).unwrap().is_none());
            // Signed by us as well, it has the same signature; and its reply is signed.
            if signer.sign(&mut plain, NOW).is_ok() {
                assert!(Tsig::find(&plain).unwrap().is_some());
            }
        }
        Ok(Received::Refused(refused)) => {
            if let Some(mut reply) = refusal(octets, 9, 0, "why") {
                let room = refused.conclude(&mut reply, NOW);
                assert!(room.is_err() || reply[3] & 0xf == 9 && Tsig::find(&reply).unwrap().is_some());
            }
        }
    }
    if let Ok(asked) = Asked::read(octets) {
        assert!(asked.payload >= 512);
    }
    if let Some(reply) = refusal(octets, 5, 18, "why") {
        let header = Header::parse(&reply).unwrap();
        assert!(header.is_response() && header.id == Header::parse(octets).unwrap().id);
        assert!(refusal(&reply, 5, 18, "why").is_none(), "a reply to a reply");
    }
    // Nobody who lacks the key replies to what was asked just now.
    let mut query = b"\0\x07\0\0\0\x01\0\0\0\0\0\0\0\0\x06\0\x01".to_vec();
    let mut verifier = tsig::ask(&mut query, &key, NOW).unwrap();
    assert!(verifier.verify(octets, NOW).is_err());
    let peer = Peer { address: ([192, 0, 2, 1], 53).into(), tls: None, key: Some(settings.name.clone()) };
    let mut notifier = Notifier::default();
    notifier.changed(&Name::root(), std::slice::from_ref(&peer), &Arc::default(), NOW * 1000);
    let id = Header::parse(octets).map_or(0, |header| header.id);
    notifier.poll(NOW * 1000, &keys, &mut || id);
    assert_eq!(notifier.received(peer.address, octets, NOW * 1000), None);
}
