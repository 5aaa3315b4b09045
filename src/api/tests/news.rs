//! Reads that wait and streams of events.

use super::*;

#[tokio::test]
async fn a_blocking_read_returns_when_there_is_news() {
    let desk = Desk::new(&[]).await;
    desk.ask("PUT /v1/services/web/instances/a", &[], INSTANCE).await;
    let revision = |response: &Response<Body>| response.headers()["x-signpost-revision"].to_str().unwrap().parse::<u64>().unwrap();
    for path in ["/v1/services/web", "/v1/services"] {
        let known = revision(&desk.send(&format!("GET {path}"), &[], "").await);
        let line = format!("GET {path}?after={known}&wait=5m");
        // News of another kind each time: a registration, a pushed status, a drained region.
        for (write, body) in [
            ("PUT /v1/services/web/instances/b", INSTANCE),
            ("PUT /v1/services/web/instances/b/status", r#"{"status":"critical"}"#),
            ("PUT /v1/drains/region/eu-west", r#"{"reason":"x","override":"test"}"#),
        ] {
            let known = revision(&desk.send(&format!("GET {path}"), &[], "").await);
            let line = format!("GET {path}?after={known}&wait=5m");
            let (read, _) = tokio::join!(tokio::time::timeout(Duration::from_secs(20), desk.send(&line, &[], "")), async {
                tokio::task::yield_now().await;
                assert!(desk.send(write, &[], body).await.status().is_success(), "{write}");
            });
            let read = read.unwrap_or_else(|_| panic!("{path} did not hear of {write}"));
            assert!(revision(&read) > known, "{path}: {write}");
            desk.send("DELETE /v1/drains/region/eu-west", &[], "").await;
        }
        // What is known already, and what is from another store's future, need no waiting.
        assert_eq!(desk.send(&line, &[], "").await.status(), 200);
        assert_eq!(desk.send(&format!("GET {path}?after=999999&wait=5m"), &[], "").await.status(), 200);
        let known = revision(&desk.send(&format!("GET {path}"), &[], "").await);
        let same = desk.send(&format!("GET {path}?after={known}&wait=1ms"), &[], "").await;
        assert_eq!(revision(&same), known);
    }
    let known = revision(&desk.send("GET /v1/services", &[], "").await);
    let line = format!("GET /v1/services?after={known}&wait=5m");
    let (read, ()) = tokio::join!(desk.send(&line, &[], ""), async { _ = desk.stop.send_replace(true) });
    assert_eq!(read.status(), 200, "a server that stops keeps nobody waiting");
}

/// The next event of a stream, as its lines.
async fn next_event(body: &mut Body) -> String {
    let frame = tokio::time::timeout(Duration::from_secs(20), body.frame()).await.unwrap().unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn events_tell_of_every_change_the_caller_may_see() {
    let tokens = [token("root", &[Right::Admin], &[]), token("web-reader", &[Right::Read], &["web"])];
    let desk = Desk::new(&tokens).await;
    let root = [("authorization", "Bearer root")];
    let response = desk.send("GET /v1/events", &[("authorization", "Bearer web-reader")], "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    assert!(next_event(&mut body).await.contains("event: connected"));
    desk.ask("PUT /v1/services/db/instances/a", &root, INSTANCE).await;
    let (_, written) = desk.ask("PUT /v1/services/web/instances/a", &root, INSTANCE).await;
    let event = next_event(&mut body).await;
    for part in ["event: registered", &format!("id: {}", written["revision"]), r#""subject":"instance/web/a""#, r#""author":"root""#] {
        assert!(event.contains(part), "{part} is not in {event}");
    }
    desk.ask("PUT /v1/drains/region/eu-west", &root, r#"{"reason":"storm","override":"test"}"#).await;
    assert!(next_event(&mut body).await.contains(r#""subject":"region/eu-west""#), "what concerns all, everyone sees");
    desk.stop.send_replace(true);
    assert!(body.frame().await.is_none(), "a server that stops ends its streams");
    drop(body);
    assert_eq!(desk.shared.waiting.available_permits(), MAX_WAITING);
}

#[tokio::test]
async fn an_event_stream_ends_with_its_token() {
    let (root, reader) = (token("root", &[Right::Admin], &[]), token("reader", &[Right::Read], &[]));
    let desk = Desk::new(&[root.clone(), reader.clone()]).await;
    let mut streams = Vec::new();
    for secret in ["Bearer root", "Bearer reader"] {
        let mut body = desk.send("GET /v1/events", &[("authorization", secret)], "").await.into_body();
        assert!(next_event(&mut body).await.contains("event: connected"));
        streams.push(body);
    }
    let reload = |tokens: &[Token]| {
        desk.shared.access.store(Arc::new(Access::new(tokens, false)));
        desk.reloaded.send_replace(());
    };
    let narrower = Token { services: vec!["web".into()], ..reader };
    reload(&[token("other", &[Right::Read], &[]), root.clone(), narrower]);
    assert!(streams[1].frame().await.is_none(), "it may see less now");
    desk.ask("PUT /v1/services/db/instances/a", &[("authorization", "Bearer root")], INSTANCE).await;
    assert!(next_event(&mut streams[0]).await.contains("event: registered"), "nothing has changed for this one");
    reload(&[]);
    assert!(streams[0].frame().await.is_none());
}
