//! Who is asked, how, how often, and what of it is kept.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;

use super::fake::{lasts, reasons};
use super::*;

#[tokio::test]
async fn what_is_known_is_answered_for_its_time_and_asked_for_once() {
    let fake = Fake::new(|query, _| match query.queries[0].query_type() {
        RecordType::A => Says::This(answers(query, vec![a("www.test.", 300, 1), a("www.test.", 100, 2)])),
        RecordType::AAAA => Says::This(negative(query, ResponseCode::NoError, Some(60))),
        RecordType::MX => Says::This(negative(query, ResponseCode::NoError, None)),
        _ => Says::This(negative(query, ResponseCode::NXDomain, Some(60))),
    })
    .await;
    let forward = forward_to(&[fake.upstream()]);
    for n in 0..3 {
        let reply = ask(&forward, &query("www.test.", RecordType::A)).await;
        assert_eq!((lasts(&reply), reply.metadata.response_code), (vec![1, 2], ResponseCode::NoError), "{n}");
        assert!(reply.answers[0].ttl <= 300 && reply.answers[0].ttl >= 295);
    }
    // Case is the client's (RFC 4343), and what is known the same.
    assert_eq!(lasts(&ask(&forward, &query("wWw.TEST.", RecordType::A)).await), [1, 2]);
    assert_eq!(fake.asked(), 1);
    // RFC 2308 §5: so is what is not there, where the SOA says for how long.
    for (rtype, code, asked) in [
        (RecordType::AAAA, ResponseCode::NoError, 2),
        (RecordType::TXT, ResponseCode::NXDomain, 3),
        (RecordType::MX, ResponseCode::NoError, 6),
    ] {
        for _ in 0..3 {
            let reply = ask(&forward, &query("www.test.", rtype)).await;
            assert_eq!((reply.metadata.response_code, reply.answers.len()), (code, 0));
        }
        assert_eq!(fake.asked(), asked, "{rtype}");
    }
    let stats = forward.stats();
    assert_eq!((stats.queries, stats.hits, stats.failed, stats.kept), (13, 7, 0, 3));
    assert_eq!((stats.upstreams[0].queries, stats.upstreams[0].failures), (6, 0));
    // Other upstreams may say something else.
    forward.set(&ForwardSettings::default());
    assert_eq!(forward.stats().kept, 0);
    assert_eq!(ask(&forward, &query("www.test.", RecordType::A)).await.metadata.response_code, ResponseCode::Refused);
}

#[tokio::test]
async fn the_same_asked_at_once_is_asked_once() {
    let fake = Fake::new(|query, _| Says::Later(Duration::from_millis(250), answers(query, vec![a("www.test.", 0, 1)]))).await;
    let forward = forward_to(&[fake.upstream()]);
    let one = || {
        let forward = forward.clone();
        tokio::spawn(async move { lasts(&ask(&forward, &query("www.test.", RecordType::A)).await) })
    };
    let all: Vec<_> = (0..100).map(|_| one()).collect();
    for each in all {
        assert_eq!(each.await.unwrap(), [1]);
    }
    assert_eq!((fake.asked(), forward.stats().joined), (1, 99));
    // A TTL of 0 is for those who asked meanwhile.
    assert_eq!(one().await.unwrap(), [1]);
    assert_eq!(fake.asked(), 2);
}

#[tokio::test]
async fn what_is_truncated_is_asked_over_tcp_and_cut_for_the_client() {
    let fake = Fake::new(|query, tcp| {
        let mut reply = answers(query, (0..100).map(|n| a("big.test.", 60, n)).collect());
        if !tcp {
            reply.answers.truncate(1);
            reply.metadata.truncation = true;
        }
        Says::This(reply)
    })
    .await;
    let forward = forward_to(&[fake.upstream()]);
    let mut asked = query("big.test.", RecordType::A);
    asked.edns.as_mut().unwrap().set_max_payload(4096);
    let reply = ask(&forward, &asked).await;
    assert_eq!((lasts(&reply), reply.metadata.truncation), ((0..100).collect::<Vec<u8>>(), false));
    assert_eq!(fake.seen.lock().unwrap().iter().map(|(_, tcp)| *tcp).collect::<Vec<_>>(), [false, true]);
    // RFC 2181 §9: whole records, and TC.
    for (payload, most) in [(1232, 74), (512, 29)] {
        asked.edns.as_mut().unwrap().set_max_payload(payload);
        let reply = ask(&forward, &asked).await;
        assert_eq!((reply.answers.len(), reply.metadata.truncation), (most, true), "{payload}");
        assert!(reply.edns.is_some());
    }
    // Over the connection that is there.
    let mut other = query("large.test.", RecordType::A);
    other.edns = None;
    let reply = ask(&forward, &other).await;
    assert!(reply.metadata.truncation && reply.edns.is_none());
    assert_eq!(fake.asked(), 4);
}

#[tokio::test]
async fn an_upstream_that_dies_is_put_aside_and_comes_back() {
    let alive = Arc::new(AtomicBool::new(true));
    let lives = alive.clone();
    let first = Fake::new(move |query, _| match lives.load(Ordering::Relaxed) {
        true => Says::This(answers(query, vec![a("x.test.", 60, 1)])),
        false => Says::Nothing,
    })
    .await;
    let second = Fake::new(|query, _| Says::Later(Duration::from_millis(20), answers(query, vec![a("x.test.", 60, 2)]))).await;
    let forward = forward_to(&[first.upstream(), second.upstream()]);
    let each = |n: usize| {
        let forward = forward.clone();
        async move { lasts(&ask(&forward, &query(&format!("n{n}.test."), RecordType::A)).await)[0] }
    };
    // The quicker one is asked: once both are known.
    let mut by = [0; 3];
    for n in 0..20 {
        by[usize::from(each(n).await)] += 1;
    }
    assert!(by[1] >= 15, "{by:?}");
    alive.store(false, Ordering::Relaxed);
    let begin = Instant::now();
    for n in 20..30 {
        assert_eq!(each(n).await, 2);
    }
    // Ten deadlines, had each waited for the dead one.
    assert!(begin.elapsed() < SHORT.deadline * 5, "{:?} for ten", begin.elapsed());
    let aside = |which: usize| forward.stats().upstreams[which].is_aside;
    let patience = Instant::now() + Duration::from_secs(10);
    while !aside(0) {
        assert!(Instant::now() < patience, "it is never put aside");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!aside(1));
    let asked = first.seen.lock().unwrap().iter().filter(|(query, _)| !query.queries[0].name().is_root()).count();
    for n in 30..35 {
        each(n).await;
    }
    let probed = first.seen.lock().unwrap().iter().filter(|(query, _)| !query.queries[0].name().is_root()).count();
    assert_eq!(probed, asked, "who is aside is asked by probes alone");
    alive.store(true, Ordering::Relaxed);
    let patience = Instant::now() + Duration::from_secs(10);
    while aside(0) {
        assert!(Instant::now() < patience, "it never came back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn when_all_are_silent_it_is_over_in_time_and_not_asked_again_at_once() {
    let fakes = [Fake::new(|_, _| Says::Nothing).await, Fake::new(|_, _| Says::Nothing).await];
    let forward = forward_to(&fakes.each_ref().map(Fake::upstream));
    let begin = Instant::now();
    let reply = ask(&forward, &query("www.test.", RecordType::A)).await;
    assert!(begin.elapsed() < SHORT.deadline * 2, "{:?}: one after the other", begin.elapsed());
    // RFC 8914 §4.23.
    assert_eq!((reply.metadata.response_code, reasons(&reply)), (ResponseCode::ServFail, vec![22]));
    assert!(fakes.iter().all(|fake| fake.asked() >= 2), "datagrams are sent again");
    // RFC 9520 §3.2.
    let queries = || forward.stats().upstreams.iter().map(|upstream| upstream.queries).sum::<u64>();
    let before = queries();
    let reply = ask(&forward, &query("www.test.", RecordType::A)).await;
    assert_eq!((reply.metadata.response_code, reasons(&reply)), (ResponseCode::ServFail, vec![22]));
    assert_eq!(queries(), before);
}

#[tokio::test]
async fn what_was_true_is_told_while_nothing_better_is_to_be_had() {
    let state = Arc::new(Mutex::new("well"));
    let is = state.clone();
    let fake = Fake::new(move |query, _| {
        let reply = answers(query, vec![a("www.test.", 1, 1)]);
        match *is.lock().unwrap() {
            "well" => Says::This(reply),
            "slow" => Says::Later(SHORT.stale_after * 3, answers(query, vec![a("www.test.", 60, 2)])),
            "declines" => Says::This(negative(query, ResponseCode::ServFail, None)),
            _ => Says::Nothing,
        }
    })
    .await;
    let forward = forward_to(&[fake.upstream()]);
    let ask = || async { ask(&forward, &query("www.test.", RecordType::A)).await };
    // Waits for a reply that is not out of date.
    let until = async |last: u8, what: &str| {
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            let reply = ask().await;
            if reasons(&reply).is_empty() {
                return assert_eq!(lasts(&reply), [last], "{what}");
            }
            assert!(Instant::now() < patience, "{what}: {reply:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until(1, "at first").await;
    for ails in ["silent", "declines"] {
        *state.lock().unwrap() = "well";
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        until(1, &format!("before it is {ails}")).await;
        *state.lock().unwrap() = ails;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let begin = Instant::now();
        let reply = ask().await;
        // RFC 8767 §4 and §5, RFC 8914 §4.4.
        assert_eq!((lasts(&reply), reply.answers[0].ttl), (vec![1], 30), "{ails}");
        assert_eq!(reasons(&reply), [3], "{ails}");
        assert!(begin.elapsed() < SHORT.deadline, "{ails}: {:?}", begin.elapsed());
        if ails == "silent" {
            // Once it has failed nobody waits for it again for a moment.
            tokio::time::sleep(SHORT.deadline).await;
            let queries = || forward.stats().upstreams[0].queries;
            let before = queries();
            assert_eq!((reasons(&ask().await), queries()), (vec![3], before));
            *state.lock().unwrap() = "slow";
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            let reply = ask().await;
            assert_eq!((lasts(&reply), reasons(&reply)), (vec![1], vec![3]), "too late for who asked");
            until(2, "and in time for the next").await;
            forward.cache.clear();
        }
    }
    assert!(forward.stats().stale >= 4);
}

#[tokio::test]
async fn who_declines_is_not_the_last_to_be_asked() {
    let first = Fake::new(|query, _| Says::This(negative(query, ResponseCode::Refused, None))).await;
    let second = Fake::new(|query, _| Says::This(answers(query, vec![a("x.test.", 60, 2)]))).await;
    let forward = forward_to(&[first.upstream(), second.upstream()]);
    for n in 0..10 {
        assert_eq!(lasts(&ask(&forward, &query(&format!("n{n}.test."), RecordType::A)).await), [2]);
    }
    assert!(first.asked() > 0 && !forward.stats().upstreams[0].is_aside, "it replies");
    let alone = forward_to(&[first.upstream()]);
    let before = first.asked();
    for _ in 0..3 {
        let reply = ask(&alone, &query("www.test.", RecordType::A)).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    }
    assert_eq!(first.asked(), before + 1);
}

#[tokio::test]
async fn names_with_upstreams_of_their_own_are_asked_there() {
    let by = |last: u8| Fake::new(move |query, _| Says::This(answers(query, vec![a("x.test.", 60, last)])));
    let (all, corp, lab) = (by(1).await, by(2).await, by(3).await);
    let upstream = |fake: &Fake| vec![Upstream::parse(&fake.upstream()).unwrap()];
    let zone = |name: &str, fake: &Fake| (Name::parse(name).unwrap(), upstream(fake));
    let zones = BTreeMap::from([zone("corp.test", &corp), zone("lab.corp.test", &lab)]);
    let mut settings = ForwardSettings { networks: Vec::new(), upstreams: upstream(&all), zones };
    let forward = with(&settings, 256);
    for (name, last) in [
        ("www.test.", 1),
        ("corp.test.", 2),
        ("a.b.corp.test.", 2),
        ("LAB.corp.test.", 3),
        ("a.lab.corp.test.", 3),
        ("xcorp.test.", 1),
        (".", 1),
    ] {
        assert_eq!(lasts(&ask(&forward, &query(name, RecordType::A)).await), [last], "{name}");
    }
    settings.upstreams.clear();
    forward.set(&settings);
    assert_eq!(ask(&forward, &query("www.test.", RecordType::A)).await.metadata.response_code, ResponseCode::Refused);
    assert_eq!(lasts(&ask(&forward, &query("corp.test.", RecordType::A)).await), [2]);
    assert_eq!(forward.stats().upstreams.len(), 2);
}

#[tokio::test]
async fn ten_thousand_questions_at_once_are_bounded_and_answered_in_time() {
    let fake = Fake::new(|_, _| Says::Nothing).await;
    let settings = ForwardSettings { upstreams: vec![Upstream::parse(&fake.upstream()).unwrap()], ..ForwardSettings::default() };
    let forward = with(&settings, 64);
    let begin = Instant::now();
    let all: Vec<_> = (0..10_000)
        .map(|n| {
            let forward = forward.clone();
            tokio::spawn(async move { ask(&forward, &query(&format!("n{n}.test."), RecordType::A)).await.metadata.response_code })
        })
        .collect();
    for each in all {
        assert_eq!(each.await.unwrap(), ResponseCode::ServFail);
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let stats = forward.stats();
    assert!(stats.overloaded >= 9_000 && stats.upstreams[0].queries <= 1_000, "{stats:?}");
    // Who asked may be gone a moment before what it asked.
    let patience = Instant::now() + Duration::from_secs(10);
    while forward.places.available_permits() < 64 {
        assert!(Instant::now() < patience, "{} places are free", forward.places.available_permits());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(forward.flights.lock().unwrap().is_empty());
}
