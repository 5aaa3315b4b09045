//! What goes to upstreams and what comes back: subnets, DNSSEC bits, case, aliases of ours, TLS.

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_resolver::proto::rr::rdata::{CNAME, TXT};
use hickory_resolver::proto::rr::{Name as Spelled, RData, Record, RecordType};

use super::fake::{lasts, name, own, reasons};
use super::*;

fn subnet_of(message: &Message) -> Option<String> {
    let option = message.edns.as_ref()?.option(EdnsCode::Subnet)?;
    let data: Vec<u8> = option.try_into().unwrap();
    let address: Vec<String> = data[4..].iter().map(u8::to_string).collect();
    Some(format!("{}/{}/{}", address.join("."), data[2], data[3]))
}

#[tokio::test]
async fn each_subnet_gets_what_is_for_it() {
    // By the third octet of the subnet; for all where nothing is said.
    let fake = Fake::new(|query, _| {
        let option = query.edns.as_ref().unwrap().option(EdnsCode::Subnet);
        let data: Option<Vec<u8>> = option.map(|option| option.try_into().unwrap());
        let mut reply = answers(query, vec![a("www.test.", 60, data.as_ref().and_then(|d| d.get(6)).copied().unwrap_or(0))]);
        if let Some(data) = data.filter(|data| data[2] > 0) {
            let address: [u8; 4] = std::array::from_fn(|n| data.get(4 + n).copied().unwrap_or(0));
            reply.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Subnet(ClientSubnet::new(address.into(), data[2], 23)));
        }
        Says::This(reply)
    })
    .await;
    let forward = forward_to(&[fake.upstream()]);
    let from = |subnet: Option<([u8; 4], u8)>| {
        let mut asked = query("www.test.", RecordType::A);
        let options = asked.edns.as_mut().unwrap().options_mut();
        subnet.into_iter().for_each(|(address, bits)| options.insert(EdnsOption::Subnet(ClientSubnet::new(address.into(), bits, 0))));
        asked
    };
    for (subnet, last, scope, asked) in [
        (Some(([198, 51, 100, 0], 24)), 100, Some("198.51.100/24/23"), 1),
        (Some(([198, 51, 101, 0], 24)), 100, Some("198.51.101/24/23"), 1),
        (Some(([198, 51, 102, 0], 24)), 102, Some("198.51.102/24/23"), 2),
        (None, 0, None, 3),
        (None, 0, None, 3),
        // RFC 7871 §7.1.2: who wants nothing said gets that passed on.
        (Some(([0, 0, 0, 0], 0)), 0, Some("/0/0"), 4),
        (Some(([198, 51, 100, 0], 24)), 100, Some("198.51.100/24/23"), 4),
    ] {
        let reply = ask(&forward, &from(subnet)).await;
        assert_eq!((lasts(&reply), subnet_of(&reply).as_deref(), fake.asked()), (vec![last], scope, asked), "{subnet:?}");
    }
    let seen: Vec<Option<String>> = fake.seen.lock().unwrap().iter().map(|(query, _)| subnet_of(query)).collect();
    assert_eq!(seen, [Some("198.51.100/24/0".into()), Some("198.51.102/24/0".into()), None, Some("/0/0".into())]);
}

#[tokio::test]
async fn bits_of_dnssec_pass_both_ways() {
    let fake = Fake::new(|query, _| {
        let mut reply = answers(query, vec![a("www.test.", 60, u8::from(query.edns.as_ref().unwrap().flags().dnssec_ok))]);
        reply.metadata.authentic_data = query.metadata.authentic_data;
        Says::This(reply)
    })
    .await;
    let forward = forward_to(&[fake.upstream()]);
    // DO, CD and AD of the query; AD of the reply.
    for (dnssec_ok, checking_disabled, authentic, told) in [
        (false, false, false, false),
        (false, false, true, true),
        (true, false, false, true),
        (true, true, false, true),
        (false, true, false, false),
    ] {
        let mut asked = query("www.test.", RecordType::A);
        asked.edns.as_mut().unwrap().set_dnssec_ok(dnssec_ok);
        (asked.metadata.checking_disabled, asked.metadata.authentic_data) = (checking_disabled, authentic);
        let reply = ask(&forward, &asked).await;
        // RFC 6840 §5.8, RFC 4035 §3.2.2, RFC 3225 §3.
        assert_eq!((reply.metadata.authentic_data, reply.metadata.checking_disabled), (told, checking_disabled));
        assert_eq!((reply.edns.as_ref().unwrap().flags().dnssec_ok, lasts(&reply)), (dnssec_ok, vec![u8::from(dnssec_ok)]));
    }
    // With and without DO and CD are four questions.
    let seen: Vec<(bool, bool)> = fake
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|(query, _)| (query.edns.as_ref().unwrap().flags().dnssec_ok, query.metadata.checking_disabled))
        .collect();
    assert_eq!(seen, [(false, false), (true, false), (true, true), (false, true)]);
}

#[tokio::test]
async fn names_are_asked_in_mixed_case_and_who_folds_it_over_tcp() {
    let fake = Fake::new(|query, _| {
        let mut reply = answers(query, vec![a("a-rather-long-name.test.", 60, 1)]);
        reply.queries[0].name = reply.queries[0].name().to_lowercase();
        Says::This(reply)
    })
    .await;
    let forward = forward_to(&[fake.upstream()]);
    for n in 0..3 {
        let asked = query(&format!("a-rather-long-name-number-{n}-with-letters.test."), RecordType::A);
        assert_eq!(lasts(&ask(&forward, &asked).await), [1]);
    }
    let seen = fake.seen.lock().unwrap();
    let spelled = |spelled: &Spelled| spelled.to_string().bytes().any(|octet| octet.is_ascii_uppercase());
    assert!(spelled(seen[0].0.queries[0].name()) && !seen[0].1, "the first datagram");
    assert!(seen[1].1 && !spelled(seen[1].0.queries[0].name()), "then over TCP, and from then on as it is");
    assert!(!seen[2].1 && seen.len() == 4, "{}", seen.len());
    // RFC 5452 §9.2: each id and port is another.
    assert!(seen.iter().any(|(query, _)| query.metadata.id != seen[0].0.metadata.id));
}

#[tokio::test]
async fn an_alias_of_ours_is_followed_to_what_upstreams_know() {
    let fake = Fake::new(|query, _| match query.queries[0].name().to_lowercase().to_string().as_str() {
        "www.elsewhere.test." => {
            let onward = Record::from_rdata(name("www.elsewhere.test."), 60, RData::CNAME(CNAME(name("real.elsewhere.test."))));
            Says::This(answers(query, vec![onward, a("real.elsewhere.test.", 60, 8), a("real.elsewhere.test.", 60, 9)]))
        }
        "silent.elsewhere.test." => Says::This(negative(query, ResponseCode::ServFail, None)),
        _ => Says::This(negative(query, ResponseCode::NXDomain, Some(60))),
    })
    .await;
    let forward = forward_to(&[fake.upstream()]);
    let asked = query("out.svc.test.", RecordType::A);
    for (target, expected, code, count) in [
        ("WWW.elsewhere.test.", vec![8, 9], ResponseCode::NoError, 4),
        ("nothing.elsewhere.test.", vec![], ResponseCode::NXDomain, 1),
        ("silent.elsewhere.test.", vec![], ResponseCode::ServFail, 0),
    ] {
        let ours = Record::from_rdata(name("out.svc.test."), 30, RData::CNAME(CNAME(name(target))));
        let (octets, own) = (asked.to_vec().unwrap(), own(&asked, vec![ours.clone()]));
        let reply = forward.answer(ToForward { query: &octets, own: &own, limit: 1232, draw: 1 }).await.unwrap();
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!((lasts(&reply), reply.metadata.response_code, reply.answers.len()), (expected, code, count), "{target}");
        assert_eq!((&reply.queries, reply.metadata.id), (&asked.queries, 7));
        if count > 0 {
            // The case in which an upstream was asked is nobody else's business.
            assert!(reply.answers[1..].iter().all(|record| record.name.eq_case(&record.name.to_lowercase())));
            // RFC 1034 §4.3.1: AA speaks of the first name, which is ours.
            assert_eq!((&reply.answers[0], reply.metadata.authoritative), (&ours, true));
        }
        assert_eq!(reply.authorities.len(), usize::from(code == ResponseCode::NXDomain));
    }
}

#[tokio::test]
async fn what_an_upstream_says_of_its_trouble_is_passed_on_and_an_opt_among_records_is_ours_to_place() {
    let fake = Fake::new(|query, _| {
        let mut reply = negative(query, ResponseCode::ServFail, None);
        let bogus = EdnsOption::Unknown(15, [&[0, 6][..], b"signature expired"].concat());
        reply.edns.as_mut().unwrap().options_mut().insert(bogus);
        Says::This(reply)
    })
    .await;
    let forward = forward_to(&[fake.upstream()]);
    let reply = ask(&forward, &query("bogus.test.", RecordType::A)).await;
    assert_eq!((reply.metadata.response_code, reasons(&reply)), (ResponseCode::ServFail, vec![6]));

    // OPT, and then a record whose owner is a pointer over it.
    let question = Question {
        name: b"\x03www\x04test\x00".as_slice().into(),
        qtype: 16,
        dnssec_ok: false,
        checking_disabled: false,
        origin: question::Origin::Unsaid,
    };
    let mut octets = question.opening();
    (octets[2], octets[7], octets[11]) = (0x81, 1, 2);
    octets.extend(b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x03\x02hi");
    octets.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    octets.extend(b"\x03add\xc0\x10\x00\x10\x00\x01\x00\x00\x00\x05\x00\x03\x02ho");
    let stored = Stored::read(&octets, &question).unwrap();
    assert_eq!(stored.ttl, 5);
    let message = Message::from_vec(stored.octets_for_tests()).unwrap();
    assert_eq!((message.answers.len(), message.additionals.len(), message.edns), (1, 1, None));
    assert_eq!(message.additionals[0].name, name("add.test."));
    assert_eq!(message.answers[0].data, RData::TXT(TXT::new(vec!["hi".into()])));
    for (change, expected) in [
        ((2, 0x01), message::Unusable::NotAsked),
        ((2, 0x83), message::Unusable::Truncated),
        ((5, 2), message::Unusable::NotAsked),
        ((7, 2), message::Unusable::Malformed),
        ((7, 0), message::Unusable::Malformed),
        ((13, b'x'), message::Unusable::NotAsked),
    ] {
        let mut octets = octets.clone();
        octets[change.0] = change.1;
        assert_eq!(Stored::read(&octets, &question), Err(expected), "{change:?}");
    }
    for length in 0..octets.len() {
        assert!(Stored::read(&octets[..length], &question).is_err(), "{length}");
    }
}

#[tokio::test]
async fn over_tls_the_name_of_the_certificate_counts() {
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["dns.test".to_string()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let named: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let names = named.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, names) = (acceptor.clone(), names.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                names.lock().unwrap().push(stream.get_ref().1.server_name().map(String::from));
                // Two on one connection, and then it is closed: the third needs another.
                for _ in 0..2 {
                    let Ok(length) = stream.read_u16().await else { return };
                    let mut octets = vec![0; length.into()];
                    stream.read_exact(&mut octets).await.unwrap();
                    let query = Message::from_vec(&octets).unwrap();
                    let octets = answers(&query, vec![a("x.test.", 60, 5)]).to_vec().unwrap();
                    stream.write_all(&[&(octets.len() as u16).to_be_bytes()[..], &octets].concat()).await.unwrap();
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    let ask_as = |name: &str, count: usize| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let upstream = Upstream::parse(&format!("tls://{address}#{name}")).unwrap();
        let forward = Forward::with(SHORT, 1 << 20, 16);
        forward.set_trusting(&ForwardSettings { upstreams: vec![upstream], ..ForwardSettings::default() }, move || roots.clone());
        let forward = Arc::new(forward);
        async move {
            let mut replies = Vec::new();
            for n in 0..count {
                tokio::time::sleep(Duration::from_millis(20)).await;
                replies.push(ask(&forward, &query(&format!("n{n}.test."), RecordType::A)).await);
            }
            replies
        }
    };
    for reply in ask_as("dns.test", 5).await {
        assert_eq!(lasts(&reply), [5]);
    }
    // RFC 7858 §3.2 leaves it to TLS: the name whose certificate is expected is said (RFC 6066 §3).
    let said = named.lock().unwrap().clone();
    assert!(said.len() >= 3 && said.iter().all(|name| name.as_deref() == Some("dns.test")), "{said:?}");
    let reply = &ask_as("other.test", 1).await[0];
    assert_eq!((reply.metadata.response_code, reasons(reply)), (ResponseCode::ServFail, vec![23]));
}

/// RFC 6761 §6.3 and §6.4, RFC 7686 §2: no upstream learns that they were asked for, unless the file says which one knows them.
#[tokio::test]
async fn names_that_everybody_knows_are_answered_here() {
    let fake = Fake::new(|query, _| Says::This(answers(query, vec![a("x.onion.", 60, 7)]))).await;
    let forward = forward_to(&[fake.upstream()]);
    let cases: [(&str, RecordType, ResponseCode, Option<&str>); 9] = [
        ("localhost.", RecordType::A, ResponseCode::NoError, Some("127.0.0.1")),
        ("LOCALHOST.", RecordType::AAAA, ResponseCode::NoError, Some("::1")),
        ("a.b.localhost.", RecordType::A, ResponseCode::NoError, Some("127.0.0.1")),
        ("a.localhost.", RecordType::MX, ResponseCode::NoError, None),
        ("invalid.", RecordType::A, ResponseCode::NXDomain, None),
        ("www.invalid.", RecordType::AAAA, ResponseCode::NXDomain, None),
        ("onion.", RecordType::NS, ResponseCode::NXDomain, None),
        ("www.abc.onion.", RecordType::A, ResponseCode::NXDomain, None),
        ("www.abc.Onion.", RecordType::TXT, ResponseCode::NXDomain, None),
    ];
    for (asked, rtype, code, address) in cases {
        let reply = ask(&forward, &query(asked, rtype)).await;
        let found = reply.answers.first().and_then(|record| record.data.ip_addr()).map(|address| address.to_string());
        assert_eq!((reply.metadata.response_code, found.as_deref()), (code, address), "{asked} {rtype}");
        let soa = reply.authorities.iter().filter(|record| record.record_type() == RecordType::SOA).count();
        assert_eq!((soa, reply.answers.len()), if address.is_some() { (0, 1) } else { (1, 0) }, "{asked} {rtype}");
        assert!(reply.metadata.recursion_available && !reply.metadata.authoritative);
    }
    assert_eq!((fake.asked(), forward.stats().local, forward.stats().queries), (0, 9, 0));
    assert_eq!(lasts(&ask(&forward, &query("localhost.test.", RecordType::A)).await), [7], "that is another name");
    let zones = [(Name::parse("onion").unwrap(), vec![Upstream::parse(&fake.upstream()).unwrap()])].into();
    let forward = with(&ForwardSettings { zones, ..ForwardSettings::default() }, 256);
    assert_eq!(lasts(&ask(&forward, &query("www.abc.onion.", RecordType::A)).await), [7]);
}
