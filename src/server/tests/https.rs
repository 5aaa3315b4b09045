//! DNS over HTTPS, in every version of HTTP.

use std::time::Instant;

use futures_util::future::join_all;
use hyper::Version;
use hyper::header::{ALLOW, ALT_SVC, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};

use super::clients::{Https, VERSIONS, base64url};
use super::encrypted::Safe;
use super::*;

#[tokio::test]
async fn every_version_answers_get_and_post_and_says_how_long_replies_hold() {
    let safe = Safe::new(|_| {});
    for version in VERSIONS {
        let mut https = Https::connect(safe.doh(), version).await;
        for n in 0..20 {
            let query = [&b"\0\0a query of "[..], &vec![b'x'; n * 50]].concat();
            let expected = [&query, &[0][..]].concat();
            for answered in [https.get(&query).await, https.post(&query).await] {
                assert_eq!((answered.status.as_u16(), &answered.body[..]), (200, &expected[..]), "{version:?}");
                assert_eq!(answered.head[CONTENT_TYPE], "application/dns-message");
                assert_eq!(answered.head[CONTENT_LENGTH], expected.len().to_string());
                assert_eq!(answered.head[CACHE_CONTROL], "no-store", "what is no reply has no TTL");
                let alternative = answered.head.get(ALT_SVC).map(|value| value.to_str().unwrap().to_string());
                let expected = (version != Version::HTTP_3).then(|| format!("h3=\":{}\"; ma=86400", safe.doh().port()));
                assert_eq!(alternative, expected, "{version:?}");
            }
        }
        let head = https.call(&format!("HEAD /dns-query?dns={}", base64url(b"only the head")), &[], b"").await.unwrap();
        assert_eq!((head.status.as_u16(), head.head[CONTENT_LENGTH].to_str().unwrap(), head.body.len()), (200, "14", 0), "{version:?}");
        // The largest there are: POST takes them, and all of the reply comes.
        let largest = vec![b'x'; LARGEST - 1];
        assert_eq!(https.post(&largest).await.body.len(), LARGEST, "{version:?}");
    }
    assert_eq!(safe.house.answered(Transport::Https), 3 * 42);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_its_status_and_the_connection_goes_on() {
    let safe = Safe::new(|_| {});
    let (post, long) = ("content-type: application/dns-message", vec![b'x'; LARGEST + 1]);
    let cases: [(&str, &[&str], &[u8], u16); 10] = [
        ("GET /", &[], b"", 404),
        ("POST /dns-query/", &[post], b"a good query", 404),
        ("PUT /dns-query", &[post], b"a good query", 405),
        ("GET /dns-query", &[], b"", 400),
        ("GET /dns-query?dns=????", &[], b"", 400),
        ("GET /dns-query?dns=RHJvcA", &[], b"", 400),
        ("POST /dns-query", &[post], b"too short", 400),
        ("POST /dns-query", &[post], b"Dropped by the answer", 400),
        ("POST /dns-query", &["content-type: text/plain"], b"a good query", 415),
        ("POST /dns-query", &[post], &long, 413),
    ];
    for version in VERSIONS {
        let mut https = Https::connect(safe.doh(), version).await;
        for (request, head, body, status) in cases {
            let answered = https.call(request, head, body).await.unwrap();
            assert_eq!(answered.status.as_u16(), status, "{version:?} {request}");
            assert!(!answered.body.is_empty() && answered.head[CONTENT_TYPE] == "text/plain; charset=utf-8");
            assert_eq!(answered.head.contains_key(ALLOW), status == 405);
        }
        assert_eq!(https.post(b"a good query").await.body, &b"a good query\0"[..], "{version:?}");
        let large_head = format!("x-large: {}", "x".repeat(70_000));
        let refused = https.call("GET /dns-query?dns=AAAA", &[&large_head], b"").await;
        assert!(refused.is_err() || refused.is_ok_and(|answered| answered.status.as_u16() == 431), "{version:?}");
    }
}

#[tokio::test]
async fn many_requests_of_one_connection_are_under_way_at_once() {
    let safe = Safe::new(|_| {});
    for version in [Version::HTTP_2, Version::HTTP_3] {
        let https = Https::connect(safe.doh(), version).await;
        // More than there may be at once, some with bodies and replies of which few fit at once.
        let all = (0..300usize).map(|n| {
            let mut https = match &https {
                Https::Two(requests) => Https::Two(requests.clone()),
                Https::Three(requests) => Https::Three(requests.clone()),
                Https::One(_) => unreachable!(),
            };
            async move {
                let query = vec![b'a' + (n % 26) as u8; if n % 100 == 0 { 60_000 } else { 12 + n }];
                let answered = https.post(&query).await;
                assert!(answered.body[..] == [&query, &[0][..]].concat(), "{n}");
            }
        });
        join_all(all).await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_and_silence_end_the_connection() {
    let safe = Safe::new(|s| s.tcp_idle_ms = 500);
    for version in VERSIONS {
        let mut https = Https::connect(safe.doh(), version).await;
        assert_eq!(https.post(b"a good query").await.status, 200);
        safe.until("it is idle", |stats| stats.open == 0);
        let begin = Instant::now();
        // It may end what is under way, for a moment.
        while https.call("GET /dns-query?dns=AAAAAAAAAAAAAAAA", &[], b"").await.is_ok() {
            assert!(begin.elapsed() < PATIENCE, "{version:?}");
        }
    }
    // More is announced than comes.
    let mut half = clients::shake(safe.doh(), clients::client(clients::BOTH, &[b"http/1.1"])).unwrap();
    let head = "POST /dns-query HTTP/1.1\r\nhost: x\r\ncontent-type: application/dns-message\r\ncontent-length: 100\r\n\r\nhalf";
    half.write_all(head.as_bytes()).unwrap();
    let mut said = String::new();
    let _ = half.read_to_string(&mut said);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
    safe.until("it is gone", |stats| stats.open == 0);
}
