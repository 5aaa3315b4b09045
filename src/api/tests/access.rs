//! Who may do what, and what of it stands in the audit log.

use super::*;

#[tokio::test]
async fn tokens_may_do_what_they_say() {
    let tokens = [
        token("reader", &[Right::Read], &[]),
        token("web-reader", &[Right::Read], &["web"]),
        token("web-deploy", &[Right::Register], &["web"]),
        token("ops", &[Right::Operate], &[]),
        token("web-ops", &[Right::Operate], &["web"]),
        token("root", &[Right::Admin], &[]),
    ];
    let desk = Desk::new(&tokens).await;
    for (who, line, status, said) in [
        // Without a token: only what tells nothing.
        ("", "GET /healthz", 200, ""),
        ("", "GET /openapi.json", 200, ""),
        ("", "GET /", 200, ""),
        ("", "GET /metrics", 401, "needs a token"),
        ("", "GET /v1/services", 401, "needs a token"),
        ("nobody", "GET /v1/services", 401, "not known"),
        // A body that is refused with 422 shows that the caller was let in.
        ("web-deploy", "PUT /v1/services/web-api/instances/a", 422, ""),
        ("web-deploy", "PUT /v1/services/WEB/instances/a", 422, ""),
        ("web-deploy", "PUT /v1/services/db/instances/a", 403, "web*"),
        ("web-deploy", "PUT /v1/services/web", 403, "`operate`"),
        ("web-deploy", "GET /v1/services", 403, "`read`"),
        ("web-reader", "GET /metrics", 403, "every service"),
        ("reader", "GET /metrics", 200, ""),
        ("reader", "DELETE /v1/services/web", 403, "`operate`"),
        ("ops", "PUT /v1/drains/region/eu-west", 422, ""),
        ("web-ops", "PUT /v1/drains/region/eu-west", 403, "every service"),
        ("web-ops", "PUT /v1/drains/az/eu-west/1a", 403, "every service"),
        ("web-ops", "PUT /v1/drains/service/db", 403, "web*"),
        ("web-ops", "POST /v1/drains/service/db/pause", 403, "web*"),
        ("web-ops", "POST /v1/drains/service/web/pause", 404, ""),
        ("web-ops", "POST /v1/drains/instance/db/one/resume", 403, "web*"),
        ("web-ops", "POST /v1/drains/instance/web/one/resume", 404, ""),
        ("web-ops", "POST /v1/drains/az/eu-west/1a/resume", 403, "every service"),
        ("web-ops", "PUT /v1/drains/instance/db/one", 403, "web*"),
        ("web-ops", "PUT /v1/drains/instance/web/one", 422, ""),
        ("root", "PUT /v1/services/db", 422, ""),
        ("root", "PUT /v1/services/db/instances/a/heartbeat/x", 404, ""),
    ] {
        let bearer = format!("Bearer {who}");
        let headers: &[(&str, &str)] = if who.is_empty() { &[] } else { &[("authorization", &bearer)] };
        let response = desk.send(line, headers, r#"{"unknown":1}"#).await;
        assert_eq!(response.status().as_u16(), status, "{who}: {line}");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401, "{who}: {line}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&bytes).contains(said), "{who}: {line}");
    }
}

#[tokio::test]
async fn refused_writes_are_audited_too() {
    let desk = Desk::new(&[token("deploy", &[Right::Register], &["web"])]).await;
    let bearer = [("authorization", "Bearer deploy")];
    desk.send("PUT /v1/services/web/instances/a", &[], INSTANCE).await;
    desk.send("PUT /v1/services/db/instances/a", &bearer, INSTANCE).await;
    desk.send("PUT /v1/services/web/instances/a", &bearer, "{\n\"weight\": 1}").await;
    desk.send("PUT /v1/services/db/instances/a/heartbeat", &bearer, "").await;
    desk.send("GET /v1/services", &bearer, "").await;
    desk.send("PUT /nothing", &bearer, "").await;
    let lines = desk.audit();
    let seen: Vec<_> =
        lines.iter().map(|l| (l["author"].as_str().unwrap(), l["path"].as_str().unwrap(), l["status"].as_u64().unwrap())).collect();
    let expected = [
        ("", "/v1/services/web/instances/a", 401),
        ("deploy", "/v1/services/db/instances/a", 403),
        ("deploy", "/v1/services/web/instances/a", 422),
        ("deploy", "/v1/services/db/instances/a/heartbeat", 403),
    ];
    assert_eq!(seen, expected);
    assert!(lines[0]["body"].is_null(), "a stranger's body is not kept");
    assert_eq!(lines[2]["body"]["weight"], 1);
    assert!(lines[2]["reason"].as_str().unwrap().contains("missing field"));
}

#[tokio::test]
async fn without_an_audit_log_nothing_changes() {
    let desk = Desk::new(&[]).await;
    let log = desk.folder.path().join("audit.jsonl");
    // A folder in the log's place cannot be appended to.
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    let (status, problem) = desk.ask("PUT /v1/services/web/instances/a", &[], "{}").await;
    assert_eq!((status, problem["type"].as_str()), (503, Some("urn:signpost:problem:audit")));
    let (status, problem) = desk.ask("PUT /v1/services/web/instances/a", &[], INSTANCE).await;
    assert_eq!(status, 503);
    assert!(problem["detail"].as_str().unwrap().starts_with("nothing may change"), "{problem}");
    std::fs::remove_dir(&log).unwrap();
    assert_eq!(desk.ask("PUT /v1/services/web/instances/a", &[], "{}").await.0, 422);
    assert_eq!(desk.audit().len(), 2, "the kept line, and the new one");
}

#[tokio::test]
async fn a_limited_token_sees_its_own_services_only() {
    let tokens = [token("root", &[Right::Admin], &[]), token("web-all", &[Right::Admin], &["web"])];
    let desk = Desk::new(&tokens).await;
    let (root, limited) = ([("authorization", "Bearer root")], [("authorization", "Bearer web-all")]);
    for service in ["web", "db"] {
        assert_eq!(desk.ask(&format!("PUT /v1/services/{service}/instances/a"), &root, INSTANCE).await.0, 201);
        assert_eq!(desk.ask(&format!("PUT /v1/drains/service/{service}"), &root, r#"{"reason":"x"}"#).await.0, 201);
    }
    for (path, list) in [("/v1/services", "/services"), ("/v1/drains", "/drains"), ("/v1/sd/prometheus", "")] {
        let count = async |who| desk.ask(&format!("GET {path}"), who, "").await.1.pointer(list).unwrap().as_array().unwrap().len();
        assert_eq!((count(&root).await, count(&limited).await), (2, 1), "{path}");
    }
    for (query, status) in [
        ("name=web.svc.example", 200),
        ("name=web.svc.example&with=region/eu-west=drained", 200),
        ("name=nothing.svc.example", 200),
        ("name=db.svc.example", 403),
        ("name=a.id.db.svc.example", 403),
        ("name=web.svc.example&with=service/db=drained", 403),
        ("name=web.svc.example&with=instance/nothing/a=healthy", 403),
    ] {
        assert_eq!(desk.ask(&format!("GET /v1/explain?{query}"), &limited, "").await.0, status, "{query}");
    }
    assert_eq!(desk.ask("GET /v1/services/db", &limited, "").await.0, 403);
    assert_eq!(desk.ask("DELETE /v1/services/db/instances/a", &limited, "").await.0, 403);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_its_audit_line() {
    let desk = Desk::new(&[]).await;
    let mut write = Box::pin(desk.send("PUT /v1/services/web/instances/a", &[], INSTANCE));
    // One look at it starts the write; then the client is gone.
    let looked = futures_util::poll!(write.as_mut());
    drop(write);
    assert!(looked.is_pending());
    let all = desk.shared.writes.acquire_many(MAX_WRITES).await.unwrap();
    drop(all);
    assert_eq!(desk.audit()[0]["status"], 201);
}

#[tokio::test]
async fn keys_are_for_admins_and_their_refusals_have_names() {
    let desk =
        Desk::new(&[token("reader", &[Right::Read], &[]), token("oncall", &[Right::Operate], &[]), token("boss", &[Right::Admin], &[])])
            .await;
    let asked = async |line: &str, who: &str, body: &str| {
        let (status, problem) = desk.ask(line, &[("authorization", &format!("Bearer {who}"))], body).await;
        (status, problem["type"].as_str().unwrap_or_default().replace("urn:signpost:problem:", ""))
    };
    for (line, who, body, status, kind) in [
        ("GET /v1/keys", "reader", "", 200, ""),
        ("GET /v1/keys/svc.example", "reader", "", 409, "not-signed"),
        ("POST /v1/keys/svc.example/roll", "oncall", r#"{"key":"zsk"}"#, 403, "forbidden"),
        ("POST /v1/keys/svc.example/import", "oncall", r#"{"keys":[{"private":"HUSH"}]}"#, 403, "forbidden"),
        ("POST /v1/keys/svc.example/roll", "boss", r#"{"key":"zsk"}"#, 409, "not-signed"),
        ("POST /v1/keys/svc.example/roll", "boss", r#"{"role":"zsk"}"#, 422, "field"),
        ("POST /v1/keys/svc.example/ds-seen", "boss", r#"{"tag":7}"#, 404, "unknown-key"),
        ("POST /v1/keys/svc.example/ds-seen", "boss", r#"{"tag":70000}"#, 422, "field"),
        ("POST /v1/keys/svc.example/unsign", "boss", r#"{"step":"ask"}"#, 404, "unknown-zone"),
        ("POST /v1/keys/svc.example/import", "boss", r#"{"keys":[]}"#, 422, "field"),
        ("POST /v1/keys/svc.example/import", "boss", r#"{"keys":["HUSH"]}"#, 422, "field"),
        ("POST /v1/keys/svc.example/import", "boss", r#"{"keys":[{"private":"HUSH"}]}"#, 503, "store"),
    ] {
        assert_eq!(asked(line, who, body).await, (status, kind.into()), "{line} {who} {body}");
    }
    let audit: Vec<String> = desk.audit().iter().map(ToString::to_string).collect();
    assert_eq!((audit.len(), audit.iter().filter(|line| line.contains("HUSH")).count()), (10, 0), "every write, and no secret");
}
