//! Requests through everything that stands before and behind the routes, without a socket: request → status, problem, header.

use axum::body::Body;
use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

mod drills;
mod simulate;

use self::drills::Rehearsal;
use super::*;
use crate::model::{Geo, KeyRole, Name, Right, Settings, Token, Zone};
use crate::store::{Embedded, Engine};

/// A desk of a server that signs nothing.
struct NoKeys;

impl KeyDesk for NoKeys {
    fn list(&self) -> KeyList {
        KeyList { zones: Vec::new() }
    }

    fn zone(&self, apex: &Name) -> Result<ZoneKeysDocument, KeyRefusal> {
        Err(KeyRefusal::NotSigned(apex.clone()))
    }

    fn roll(&self, apex: Name, _: KeyRole) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        Box::pin(async { Err(KeyRefusal::NotSigned(apex)) })
    }

    fn ds_seen(&self, _: Name, tag: u16) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        Box::pin(async move { Err(crate::sign::RollRefusal::Unknown(tag).into()) })
    }

    fn unsign(&self, apex: Name, _: UnsignStep) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        Box::pin(async { Err(KeyRefusal::UnknownZone(apex)) })
    }

    fn import(&self, _: Name, _: Vec<ImportedKey>) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        Box::pin(async { Err(KeyRefusal::Storage("disk full".into())) })
    }
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

/// A server's API on an in-memory world, with the folder of its audit log.
struct Desk {
    shared: Arc<Shared>,
    router: Router,
    folder: tempfile::TempDir,
    stop: watch::Sender<bool>,
    ready: watch::Sender<bool>,
    reloaded: watch::Sender<()>,
}

/// A world with the zone `svc.example`, in which services are shown, kept in memory.
async fn control(clock: Clock) -> Control {
    let apex = Name::parse("svc.example.").unwrap();
    let zone = Zone { services: true, ..Zone::new(apex, "zones/svc.example.toml", Name::parse("ns1.svc.example.").unwrap(), 1) };
    let engine = Engine::Embedded(Embedded::in_memory().unwrap());
    let dns = Settings::default().dns;
    Control::start(engine, vec![zone], Geo::default(), dns, None, clock).await.unwrap()
}

impl Desk {
    async fn new(tokens: &[Token]) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let (stop, stopping) = watch::channel(false);
        let (ready, is_ready) = watch::channel(false);
        let (reloaded, reloads) = watch::channel(());
        let clock: Clock = Arc::new(|| Timestamp(1_700_000_000_000));
        let context = ApiContext {
            control: control(clock.clone()).await,
            clock,
            records: |rtype, _| Err(format!("{rtype} is not known here")),
            drills: Arc::new(Rehearsal::default()),
            secondaries: Arc::new(Vec::new),
            forward: Arc::new(|| None),
            keys: Arc::new(NoKeys),
            clients: Arc::new(Vec::new),
            ready: is_ready,
            refused: watch::channel(None).1,
            metrics: Arc::new(|| "# EOF\n".into()),
            answered: Arc::new(|_| {}),
            here: None,
            started: Timestamp(1_700_000_000_000 - 5_000),
            dns: vec!["127.0.0.1:5300".parse().unwrap()],
            version: "0.0.0",
        };
        let access = Arc::new(ArcSwap::from_pointee(Access::new(tokens, false)));
        let audit = Audit::open(&folder.path().join("audit.jsonl")).unwrap();
        let shared = Arc::new(Shared::new(context, (access, reloads), audit, stopping, "127.0.0.1:8053".parse().unwrap()));
        Desk { router: router(shared.clone()), shared, folder, stop, ready, reloaded }
    }

    /// Sends `METHOD PATH`, with headers and a body.
    async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:8053");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap()
    }

    /// Sends and reads status and JSON.
    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let response = self.send(line, headers, body).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// The lines of the audit log.
    fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn token(name: &str, rights: &[Right], services: &[&str]) -> Token {
    let services = services.iter().map(ToString::to_string).collect();
    Token { name: name.into(), hash: Sha256::digest(name.as_bytes()).into(), rights: rights.into(), services }
}

const INSTANCE: &str = r#"{"addresses":["192.0.2.10"],"ports":{"http":8080},"region":"eu-west","az":"eu-west-1a"}"#;

#[tokio::test]
async fn what_cannot_be_is_refused_with_a_problem() {
    let desk = Desk::new(&[]).await;
    let big = format!(r#"{{"meta":{{"a":"{}"}}}}"#, "x".repeat(request::MAX_BODY));
    let web = "PUT /v1/services/web/instances/eu1";
    for (line, headers, body, status, field) in [
        ("GET /nothing", vec![], "", 404, None),
        ("PUT /nothing", vec![], "", 404, None),
        ("POST /v1/services", vec![], "", 405, None),
        ("PUT /healthz", vec![], "", 405, None),
        (web, vec![], big.as_str(), 413, None),
        (web, vec![], "", 400, None),
        (web, vec![], "{", 400, None),
        (web, vec![], r#"{"region":"r","az":"a"}"#, 422, Some("addresses")),
        (web, vec![], r#"{"addresses":["0.0.0.0"],"region":"r","az":"a"}"#, 422, Some("addresses[0]")),
        ("PUT /v1/services/web/instances/a.b", vec![], INSTANCE, 422, Some("id")),
        ("PUT /v1/services/w%20b/instances/a", vec![], INSTANCE, 422, Some("service")),
        ("PUT /v1/services/%FF/instances/a", vec![], INSTANCE, 400, Some("path")),
        (web, vec![("if-match", "7")], INSTANCE, 400, Some("If-Match")),
        (web, vec![("host", "attacker.example")], INSTANCE, 403, Some("Host")),
        (web, vec![("origin", "https://attacker.example")], INSTANCE, 403, Some("Origin")),
        ("PUT /nothing", vec![("origin", "https://attacker.example")], "", 403, Some("Origin")),
        ("GET /v1/services", vec![("host", "attacker.example")], "", 403, Some("Host")),
        ("GET /v1/services?helthy", vec![], "", 400, Some("helthy")),
        ("GET /v1/services/web?wait=1s", vec![], "", 400, Some("wait")),
        ("PUT /v1/services/web", vec![], r#"{"policy":"fastest"}"#, 422, Some("policy")),
        ("PUT /v1/services/web", vec![], r#"{"max_srv":65}"#, 422, Some("max_srv")),
        ("PUT /v1/services/web", vec![], r#"{"branches":[{"records":{"A":["x"]}}]}"#, 422, Some("branches[0].records.A[0]")),
        ("PUT /v1/services/web", vec![], r#"{"panic_threshold":101}"#, 422, Some("panic_threshold")),
        ("PUT /v1/services/web", vec![], r#"{"slow_start":"16m"}"#, 422, Some("slow_start")),
        ("PUT /v1/services/web", vec![], r#"{"damping":"yes"}"#, 422, Some("damping")),
        ("PUT /v1/services/web", vec![], r#"{"dampening":true}"#, 422, Some("dampening")),
        (
            "PUT /v1/services/web",
            vec![],
            r#"{"policy":"geoproximity","branches":[{"region":"eu","bias":100}]}"#,
            422,
            Some("branches[0].bias"),
        ),
        (
            "PUT /v1/services/web",
            vec![],
            r#"{"policy":"sticky","branches":[{"region":"eu","weight":65536}]}"#,
            422,
            Some("branches[0].weight"),
        ),
        ("PUT /v1/services/web", vec![], r#"{"branches":[{"region":"eu","capacity":0}]}"#, 422, Some("branches[0].capacity")),
        ("PUT /v1/services/web", vec![], r#"{"policy":"cidr","branches":[{"cidrs":["10.1.0.0/8"]}]}"#, 422, Some("branches[0].cidrs")),
        ("PUT /v1/services/web", vec![], r#"{"policy":"asn"}"#, 422, Some("branches")),
        ("PUT /v1/services/web", vec![], r#"{"branches":[{"name":"api.svc.example."}]}"#, 422, Some("branches[0].name")),
        ("PUT /v1/drains/planet/earth", vec![], r#"{"reason":"x"}"#, 422, Some("subject")),
        ("PUT /v1/drains/region/eu-west", vec![], r#"{"reason":""}"#, 422, Some("reason")),
        ("PUT /v1/drains/region/eu-west", vec![], r#"{"reason":"x","expires":"73h"}"#, 422, Some("expires")),
        ("PUT /v1/drains/region/eu-west", vec![], r#"{"reason":"x","ramp":"25h","expires":"72h"}"#, 422, Some("ramp")),
        ("PUT /v1/drains/region/eu-west", vec![], r#"{"reason":"x","override":""}"#, 422, Some("override")),
        ("DELETE /v1/drains/region/eu-west?ramp=soon", vec![], "", 400, Some("ramp")),
        ("DELETE /v1/drains/region/eu-west?speed=3", vec![], "", 400, Some("speed")),
        ("POST /v1/drains/planet/earth/pause", vec![], "", 422, Some("subject")),
        ("PUT /v1/drains/region/eu-west", vec![("if-match", "\"1\"")], r#"{"reason":"x"}"#, 400, Some("if-match")),
        ("PUT /v1/services/web/instances/eu1/status", vec![], r#"{"status":"poorly"}"#, 422, Some("status")),
        (
            "POST /v1/measurements",
            vec![],
            r#"{"samples":[{"client":"198.51.100.0/33","region":"r","rtt_ms":1}]}"#,
            422,
            Some("samples[0].client"),
        ),
        (
            "POST /v1/measurements",
            vec![],
            r#"{"samples":[{"client":"198.51.100.1","region":"r","rtt_ms":1}]}"#,
            422,
            Some("samples[0].region"),
        ),
        ("POST /v1/measurements", vec![], r#"{"samples":[{"client":"198.51.100.1","region":"r","rtt":1}]}"#, 422, Some("samples[0].rtt")),
        ("GET /v1/measurements?client=here", vec![], "", 400, Some("client")),
        ("GET /v1/measurements?limit=1001", vec![], "", 400, Some("limit")),
        ("GET /v1/explain", vec![], "", 400, Some("name")),
        ("GET /v1/explain?name=web.svc.example&type=FOO", vec![], "", 400, Some("type")),
        ("GET /v1/explain?name=web.svc.example&client=x", vec![], "", 400, Some("client")),
        ("GET /v1/explain?name=web.svc.example&with=region/eu", vec![], "", 400, Some("with")),
    ] {
        let response = desk.send(line, &headers, body).await;
        assert_eq!(response.status().as_u16(), status, "{line} {body}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{line}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{line}");
        assert_eq!(response.headers().contains_key("allow"), status == 405, "{line}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((problem["status"].as_u64(), problem["field"].as_str()), (Some(status.into()), field), "{line}: {problem}");
        assert!(["type", "title", "detail"].iter().all(|key| problem[key].is_string()), "{line}: {problem}");
    }
}

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
async fn the_server_says_when_it_is_ready() {
    let desk = Desk::new(&[]).await;
    assert_eq!(desk.ask("GET /readyz", &[], "").await.0, 503);
    desk.ready.send_replace(true);
    assert_eq!(desk.ask("GET /readyz", &[], "").await.0, 200);
    desk.stop.send_replace(true);
    assert_eq!(desk.ask("GET /readyz", &[], "").await.0, 503);
    assert_eq!(desk.ask("GET /healthz", &[], "").await.0, 200);
}

#[tokio::test]
async fn the_page_runs_its_own_script_only() {
    let desk = Desk::new(&[]).await;
    let response = desk.send("GET /", &[], "").await;
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_string();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_string();
    let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.contains(&format!("<script nonce=\"{nonce}\">")) && !text.contains("NONCE"));
    assert!(!text.contains("src=\"http") && !text.contains("innerHTML"));
}

#[tokio::test]
async fn an_instance_is_registered_seen_and_deregistered() {
    let desk = Desk::new(&[]).await;
    let eu1 = "/v1/services/web/instances/eu1";
    let put = format!("PUT {eu1}");
    let response = desk.send(&put, &[("if-none-match", "*")], INSTANCE).await;
    assert_eq!(response.status(), 201);
    let tag = response.headers()["etag"].to_str().unwrap().to_string();
    let (_, document) = desk.ask(&format!("GET {eu1}"), &[], "").await;
    assert_eq!((document["health"].as_str(), document["source"].as_str()), (Some("healthy"), Some("api")));
    assert_eq!(format!("\"{}\"", document["revision"]), tag);
    assert_eq!(desk.send(&format!("GET {eu1}"), &[], "").await.headers()["etag"], *tag);

    let (status, problem) = desk.ask(&put, &[("if-none-match", "*")], INSTANCE).await;
    assert_eq!((status, &problem["revision"]), (412, &document["revision"]));
    assert_eq!(desk.ask(&put, &[("if-match", "\"999\"")], INSTANCE).await.0, 412);
    assert_eq!(desk.ask(&put, &[("if-match", &tag)], INSTANCE).await.0, 200);
    assert_eq!(desk.ask(&put, &[("if-match", &tag)], INSTANCE).await.0, 412);
    assert_eq!(desk.ask(&put, &[("if-match", "*")], INSTANCE).await.0, 200);

    assert_eq!(desk.ask(&format!("{put}/status"), &[], r#"{"status":"critical","note":"disk full"}"#).await.0, 200);
    let (_, document) = desk.ask(&format!("GET {eu1}"), &[], "").await;
    assert_eq!(document["health"], "unhealthy");
    assert!(document["why"].as_str().unwrap().contains("disk full"), "{document}");
    let (status, problem) = desk.ask(&format!("{put}/heartbeat"), &[], "").await;
    assert_eq!((status, problem["field"].as_str()), (422, Some("heartbeat")), "{problem}");
    let with_heartbeat = INSTANCE.replace('{', "{\"heartbeat\":\"30s\",").replace(":{\"heartbeat\":\"30s\",", ":{");
    assert_eq!(desk.ask(&put, &[], &with_heartbeat).await.0, 200);
    assert_eq!(desk.ask(&format!("{put}/heartbeat"), &[], "").await.0, 204);

    assert_eq!(desk.ask(&format!("DELETE {eu1}"), &[("if-match", "\"999\"")], "").await.0, 412);
    let (status, written) = desk.ask(&format!("DELETE {eu1}"), &[], "").await;
    assert_eq!(status, 200);
    for (line, kind) in [
        (format!("GET {eu1}"), "unknown-instance"),
        (format!("DELETE {eu1}"), "unknown-instance"),
        (format!("{put}/heartbeat"), "unknown-instance"),
        ("GET /v1/services/web".into(), "unknown-service"),
        ("GET /v1/services/web?after=1&wait=5m".into(), "unknown-service"),
        ("DELETE /v1/services/web".into(), "unknown-service"),
        ("DELETE /v1/drains/service/web".into(), "unknown-subject"),
        ("PUT /v1/drains/service/web".into(), "unknown-subject"),
    ] {
        let (status, problem) = desk.ask(&line, &[], r#"{"reason":"test"}"#).await;
        assert_eq!((status, problem["type"].as_str()), (404, Some(format!("urn:signpost:problem:{kind}").as_str())), "{line}: {problem}");
    }
    // Each write made a line with its revision; the refused ones say why.
    let audit = desk.audit();
    let last = audit.iter().rev().find(|line| line["method"] == "DELETE" && line["status"] == 200).unwrap();
    assert_eq!((&last["revision"], &last["author"]), (&written["revision"], &Value::from("local")));
    assert!(audit.iter().all(|line| line["status"].as_u64().unwrap() < 300 || line["reason"].is_string()), "{audit:?}");
}

#[tokio::test]
async fn a_service_is_given_back_as_it_was_set() {
    let desk = Desk::new(&[]).await;
    let settings = [
        r#"{"policy":"nearest","panic_threshold":50,"slow_start":"0s","damping":false}"#,
        r#"{"policy":"sticky","branches":[{"region":"eu","weight":0,"capacity":40},{"region":"us","weight":1,"min_healthy":2}]}"#,
        r#"{"policy":"geoproximity","branches":[{"region":"eu","bias":-99},{"latitude":-33.9,"longitude":151.25},{"tag":"old","resort":true}]}"#,
        r#"{"policy":"cidr","branches":[{"region":"eu","cidrs":["10.0.0.0/8","2001:db8::/32"]},{"default":true}]}"#,
        r#"{"policy":"asn","branches":[{"region":"eu","asns":[64500,4294967295]},{"default":true}]}"#,
        r#"{"policy":"geolocation","branches":[{"continents":["EU"],"countries":["US"],"subdivisions":["CA-QC"]},{"default":true,"az":"1a"}]}"#,
    ];
    for text in settings {
        assert!(desk.ask("PUT /v1/services/web", &[], text).await.0 < 300, "{text}");
        let given: Value = serde_json::from_str(text).unwrap();
        assert_eq!(desk.ask("GET /v1/services/web", &[], "").await.1["settings"], given);
    }
}

#[tokio::test]
async fn services_regions_and_drains_tell_one_story() {
    let desk = Desk::new(&[]).await;
    let instance = |region: &str, rest: &str| {
        format!(r#"{{"addresses":["192.0.2.1","2001:db8::1"],"ports":{{"http":80,"dns":"53/udp"}},"region":"{region}","az":"a"{rest}}}"#)
    };
    let service = r#"{"policy":"weighted","default_port":"http"}"#;
    let response = desk.send("PUT /v1/services/web", &[], service).await;
    let tag = response.headers()["etag"].clone();
    assert_eq!(response.status(), 201);
    for (id, body) in [
        ("eu1", instance("eu", r#","tags":["blue"],"meta":{"Team Name":"a"}"#)),
        ("eu2", instance("eu", r#","weight":50"#)),
        ("us1", instance("us", "")),
    ] {
        assert_eq!(desk.ask(&format!("PUT /v1/services/web/instances/{id}"), &[], &body).await.0, 201);
    }
    desk.ask("PUT /v1/services/web/instances/eu2/status", &[], r#"{"status":"critical"}"#).await;
    assert_eq!(desk.send("GET /v1/services/web", &[], "").await.headers()["etag"], tag);
    let (status, drain) = desk.ask("PUT /v1/drains/region/eu", &[], r#"{"reason":"storm","expires":"1h"}"#).await;
    assert_eq!((status, drain["expires"].as_str()), (201, Some("2023-11-14T23:13:20.000Z")));
    assert_eq!(desk.ask("PUT /v1/drains/region/eu", &[], r#"{"reason":"storm"}"#).await.0, 200);

    // One that is announced, or has not come all the way, leaves everything in the answers of somebody.
    assert_eq!(desk.ask("PUT /v1/drains/region/us", &[], r#"{"reason":"storm","ramp":"10m","override":"test"}"#).await.0, 201);

    for (line, pointer, expected) in [
        ("GET /v1/regions", "/regions/1/drain/state", Value::from("announced")),
        ("GET /v1/services/web/instances/us1", "/drained_by/share", 0.0.into()),
        ("GET /v1/services", "/services/0/name", Value::from("web")),
        ("GET /v1/services", "/services/0/policy", "weighted".into()),
        ("GET /v1/services", "/services/0/instances", 3.into()),
        ("GET /v1/services", "/services/0/healthy", 2.into()),
        ("GET /v1/services", "/services/0/drained", 2.into()),
        ("GET /v1/services", "/services/0/available", 1.into()),
        ("GET /v1/services?region=eu&healthy", "/services", Value::Array(vec![])),
        ("GET /v1/services?tag=blue", "/services/0/instances", 1.into()),
        ("GET /v1/services/web", "/settings/default_port", "http".into()),
        ("GET /v1/services/web?healthy", "/instances/0/id", "us1".into()),
        ("GET /v1/services/web?region=eu", "/instances/1/id", "eu2".into()),
        ("GET /v1/services/web/instances/eu1", "/drained_by/subject", "region/eu".into()),
        ("GET /v1/services/web/instances/eu1", "/drained_by/author", "local".into()),
        ("GET /v1/drains", "/drains/0/reason", "storm".into()),
        ("GET /v1/regions", "/regions/0/name", "eu".into()),
        ("GET /v1/regions", "/regions/0/drain/reason", "storm".into()),
        ("GET /v1/regions", "/regions/0/load/weight", 150.into()),
        ("GET /v1/regions", "/regions/0/load/available", 0.into()),
        ("GET /v1/regions", "/regions/1/azs/0/instances/available", 1.into()),
        ("GET /v1/regions", "/regions/1/load/available", 100.into()),
        ("GET /v1/status", "/instances/total", 3.into()),
        ("GET /v1/status", "/uptime_seconds", 5.into()),
        ("GET /v1/status", "/zones/0", "svc.example.".into()),
        ("GET /v1/sd/prometheus?healthy", "/0/targets/0", "192.0.2.1:80".into()),
        ("GET /v1/sd/prometheus?healthy", "/1", Value::Null),
        ("GET /v1/sd/prometheus", "/0/labels/__meta_signpost_tags", ",blue,".into()),
        ("GET /v1/sd/prometheus", "/0/labels/__meta_signpost_meta_team_name", "a".into()),
        ("GET /v1/sd/prometheus?service=db", "", Value::Array(vec![])),
        ("GET /v1/explain?name=web.svc.example&client=198.51.100.1", "/rcode", "NOERROR".into()),
        ("GET /v1/explain?name=web.svc.example&client=198.51.100.1", "/names/0/levels/0/instances/0/id", "us1".into()),
        ("GET /v1/explain?name=us1.id.web.svc.example&type=AAAA", "/answer/0/data", "2001:db8::1".into()),
        (
            "GET /v1/explain?name=web.svc.example&with=region/eu=serving&with=region/us=drained",
            "/names/0/levels/0/instances/0/id",
            "eu1".into(),
        ),
    ] {
        let (status, document) = desk.ask(line, &[], "").await;
        assert_eq!(status, 200, "{line}: {document}");
        assert_eq!(document.pointer(pointer).cloned().unwrap_or_default(), expected, "{line} {pointer}: {document}");
    }
    assert_eq!(desk.ask("DELETE /v1/drains/region/eu", &[], "").await.0, 200);
    let (status, problem) = desk.ask("DELETE /v1/drains/region/eu", &[], "").await;
    assert_eq!((status, problem["type"].as_str()), (404, Some("urn:signpost:problem:not-drained")));
    assert_eq!(desk.ask("DELETE /v1/services/web", &[("if-match", "\"999\"")], "").await.0, 412);
    assert_eq!(desk.ask("DELETE /v1/services/web", &[], "").await.0, 200);
    assert_eq!(desk.ask("GET /v1/services", &[], "").await.1["services"], Value::Array(vec![]));
}

#[tokio::test]
async fn a_drain_is_held_to_rules_ramped_paused_and_lifted() {
    let desk = Desk::new(&[]).await;
    for (id, region) in [("eu1", "eu"), ("us1", "us")] {
        let body = format!(r#"{{"addresses":["192.0.2.1"],"region":"{region}","az":"a"}}"#);
        assert_eq!(desk.ask(&format!("PUT /v1/services/web/instances/{id}"), &[], &body).await.0, 201);
    }
    let ask = async |line: &str, body: &str, status: u16, expected: &[(&str, Value)]| {
        let (found, document) = desk.ask(line, &[], body).await;
        assert_eq!(found, status, "{line}: {document}");
        for (pointer, expected) in expected {
            assert_eq!(document.pointer(pointer).cloned().unwrap_or_default(), *expected, "{line} {pointer}: {document}");
        }
    };
    let ramped = r#"{"reason":"storm","ramp":"10m","expires":"1h"}"#;
    // It is announced for 30 s, the longest TTL.
    ask("PUT /v1/drains/region/eu", ramped, 201, &[("/whole", "2023-11-14T22:23:50.000Z".into()), ("/over", Value::Null)]).await;
    let list = [
        ("/drains/0/state", "announced".into()),
        ("/drains/0/share", 0.0.into()),
        ("/drains/0/ramp", "10m".into()),
        ("/drains/0/whole", "2023-11-14T22:23:50.000Z".into()),
        ("/drains/0/override", Value::Null),
        ("/safety/min_regions", 1.into()),
        ("/safety/regions_up", 1.into()),
        ("/safety/regions", 2.into()),
        ("/safety/one_region_at_a_time", true.into()),
        ("/safety/wait", "0s".into()),
    ];
    ask("GET /v1/drains", "", 200, &list).await;
    let refused = "0 of 2 regions would be up, 1 is the least; region eu is drained already, and only one may be at a time; \
                   `--override` with a reason overrules";
    let problem = [("/type", "urn:signpost:problem:unsafe".into()), ("/detail", refused.into())];
    ask("PUT /v1/drains/region/us", r#"{"reason":"x"}"#, 409, &problem).await;
    ask("PUT /v1/drains/az/us/a", r#"{"reason":"x"}"#, 409, &problem).await;
    ask("PUT /v1/drains/az/us/a", r#"{"reason":"x","override":"nobody is there"}"#, 201, &[("/whole", Value::Null)]).await;
    let paused = [("/drains/0/state", "paused".into()), ("/drains/0/whole", Value::Null), ("/drains/1/override", "nobody is there".into())];
    ask("POST /v1/drains/region/eu/pause", "", 200, &[("/whole", Value::Null)]).await;
    ask("GET /v1/drains", "", 200, &paused).await;
    ask("POST /v1/drains/region/eu/pause", "", 409, &[("/type", "urn:signpost:problem:not-moving".into())]).await;
    ask("POST /v1/drains/az/us/a/pause", "", 409, &[("/type", "urn:signpost:problem:not-moving".into())]).await;
    ask("POST /v1/drains/az/us/a/resume", "", 409, &[("/type", "urn:signpost:problem:not-paused".into())]).await;
    ask("POST /v1/drains/region/eu/resume", "", 200, &[("/whole", "2023-11-14T22:23:50.000Z".into())]).await;
    ask("DELETE /v1/drains/az/us/a?ramp=5m", "", 200, &[("/over", "2023-11-14T22:18:20.000Z".into())]).await;
    ask("GET /v1/regions", "", 200, &[("/regions/1/azs/0/drain/state", "lifting".into())]).await;
    ask("DELETE /v1/drains/az/us/a?ramp=0s", "", 200, &[("/over", Value::Null)]).await;
    ask("DELETE /v1/drains/region/eu", "", 200, &[("/over", Value::Null)]).await;
    ask("GET /v1/drains", "", 200, &[("/drains", Value::Array(vec![])), ("/safety/regions_up", 2.into())]).await;
    let audit = desk.audit();
    assert!(audit.iter().any(|line| line["status"] == 201 && line["body"]["override"] == "nobody is there"), "{audit:?}");
    assert!(audit.iter().any(|line| line["status"] == 409 && line["reason"] == refused), "{audit:?}");
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
async fn the_api_starts_on_a_port_reloads_tokens_and_stops() {
    let desk = Desk::new(&[]).await;
    let audit = desk.folder.path().join("audit.jsonl");
    let settings =
        |listen: &str, tokens: Vec<Token>| ApiSettings { listen: listen.parse().unwrap(), insecure: false, tokens, audit: audit.clone() };
    let exposed = start(&settings("0.0.0.0:0", vec![]), desk.shared.context.clone()).await.unwrap_err();
    assert!(exposed.to_string().contains("[[api.token]]"), "{exposed}");
    let loopback = settings("127.0.0.1:0", vec![]);
    let api = start(&loopback, desk.shared.context.clone()).await.unwrap();
    let at = |path: &str| format!("http://{}{path}", api.address());
    let client = reqwest::Client::new();
    assert_eq!(client.get(at("/v1/status")).send().await.unwrap().status(), 200);
    let written = client.put(at("/v1/services/web/instances/a")).body(INSTANCE).send().await.unwrap();
    assert_eq!(written.status(), 201);
    assert!(desk.audit()[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    api.reload(&settings("127.0.0.1:0", vec![token("t", &[Right::Read], &[])])).unwrap();
    assert_eq!(client.get(at("/v1/status")).send().await.unwrap().status(), 401);
    api.reload(&loopback).unwrap();
    let mut events = client.get(at("/v1/events")).send().await.unwrap();
    assert!(events.chunk().await.unwrap().is_some());
    let busy = start(&settings(&api.address().to_string(), vec![]), desk.shared.context.clone()).await.unwrap_err();
    assert!(matches!(busy, ListenError::Bind { .. }), "{busy}");
    let address = api.address();
    tokio::time::timeout(Duration::from_secs(20), api.stop()).await.unwrap();
    assert!(events.chunk().await.unwrap().is_none());
    assert!(client.get(format!("http://{address}/healthz")).send().await.is_err());
}

#[tokio::test]
async fn measured_round_trips_are_taken_all_or_none_and_listed() {
    let desk =
        Desk::new(&[token("agent", &[Right::Operate], &[]), token("looker", &[Right::Read], &[]), token("web", &[Right::Admin], &["web"])])
            .await;
    let agent = [("authorization", "Bearer agent")];
    let looker = [("authorization", "Bearer looker")];
    assert_eq!(desk.ask("PUT /v1/services/web/instances/eu1", &[("authorization", "Bearer web")], INSTANCE).await.0, 201);
    let body = |samples: &[(&str, &str, f64)]| {
        let samples: Vec<Value> =
            samples.iter().map(|(client, region, ms)| serde_json::json!({ "client": client, "region": region, "rtt_ms": ms })).collect();
        serde_json::json!({ "samples": samples }).to_string()
    };
    let post = "POST /v1/measurements";
    let good = [("198.51.100.7", "eu-west", 20.0), ("198.51.100.0/24", "EU-West", 30.0), ("2001:db8::/32", "eu-west", 9.5)];
    for (headers, samples, status, field) in [
        (&looker, &good[..], 403, None),
        (&[("authorization", "Bearer web")], &good[..], 403, None),
        (&agent, &[good[0], ("198.51.100.7", "mars", 1.0)], 422, Some("samples[1].region")),
        (&agent, &[good[0], ("198.51.100.7", "eu-west", 0.0)], 422, Some("samples[1].rtt_ms")),
        (&agent, &vec![good[0]; 10_001], 422, Some("samples")),
    ] {
        let (found, problem) = desk.ask(post, headers, &body(samples)).await;
        assert_eq!((found, problem["field"].as_str()), (status, field), "{problem}");
    }
    assert_eq!(desk.ask("GET /v1/measurements", &looker, "").await.1["prefixes"], 0);
    assert_eq!(desk.ask(post, &agent, &body(&good)).await, (202, serde_json::json!({ "taken": 3 })));
    assert_eq!(desk.ask(post, &agent, &body(&vec![good[2]; 10_000])).await.0, 202, "more than other bodies may hold");
    let (_, list) = desk.ask("GET /v1/measurements?client=198.51.100.9", &looker, "").await;
    let mean = serde_json::json!({ "region": "eu-west", "rtt_ms": 23.0, "samples": 2, "last": "2023-11-14T22:13:20.000Z", "age": "0s" });
    let row = serde_json::json!({ "client": "198.51.100.0/24", "regions": [mean] });
    assert_eq!(list, serde_json::json!({ "prefixes": 2, "measurements": [row] }));
    let (_, first) = desk.ask("GET /v1/measurements?limit=1", &looker, "").await;
    assert_eq!(first["next"], "198.51.100.0/24");
    let (_, rest) = desk.ask("GET /v1/measurements?limit=1&after=198.51.100.0/24", &looker, "").await;
    assert_eq!((&rest["measurements"][0]["client"], &rest["next"]), (&Value::from("2001:db8::/32"), &Value::Null));
    assert_eq!(desk.ask("GET /v1/measurements", &agent, "").await.0, 403);
    let audit = desk.audit();
    let line = audit.iter().rfind(|line| line["status"] == 202).unwrap();
    assert!(line["path"] == "/v1/measurements" && line["author"] == "agent" && line["body"].is_null(), "{line}");
}

#[tokio::test]
async fn heartbeats_of_many_are_taken_each_by_itself() {
    let desk = Desk::new(&[token("agent", &[Right::Register], &["web"]), token("ops", &[Right::Admin], &[])]).await;
    let (agent, ops) = ([("authorization", "Bearer agent")], [("authorization", "Bearer ops")]);
    let with_heartbeat = INSTANCE.replacen('{', "{\"heartbeat\":\"30s\",", 1);
    for (path, body) in
        [("web/instances/a", &with_heartbeat), ("db/instances/a", &with_heartbeat), ("web/instances/still", &INSTANCE.into())]
    {
        assert_eq!(desk.ask(&format!("PUT /v1/services/{path}"), &ops, body).await.0, 201);
    }
    let lines = desk.audit().len();
    let all = r#"{"instances":["web/a","WEB/A","web/still","db/a","web/gone","web","we b/a"]}"#;
    let seen = |answer: &Value| -> Vec<(u64, u64, String)> {
        let refused = answer["refused"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
        let problem = |r: &Value| (r["index"].as_u64().unwrap(), r["problem"]["status"].as_u64().unwrap(), r["instance"].to_string());
        refused.map(problem).collect()
    };
    let (status, answer) = desk.ask("POST /v1/heartbeats", &ops, all).await;
    assert_eq!((status, answer["renewed"].as_u64()), (200, Some(3)), "{answer}");
    let refused = |list: &[(u64, u64, &str)]| list.iter().map(|(n, s, name)| (*n, *s, format!("{name:?}"))).collect::<Vec<_>>();
    let expected = refused(&[(2, 422, "web/still"), (4, 404, "web/gone"), (5, 422, "web"), (6, 422, "we b/a")]);
    assert_eq!(seen(&answer), expected, "{answer}");
    assert_eq!(answer["refused"][2]["problem"]["field"], "instances[5]");
    assert_eq!(desk.audit().len(), lines, "heartbeats leave no line");

    let (status, answer) = desk.ask("POST /v1/heartbeats", &agent, r#"{"instances":["db/a","web/a"]}"#).await;
    assert_eq!((status, answer["renewed"].as_u64(), seen(&answer)), (200, Some(1), refused(&[(0, 403, "db/a")])), "{answer}");
    let audit = desk.audit();
    assert_eq!(audit.len(), lines + 1, "but for what somebody was not allowed to send");
    assert!(audit[lines]["reason"].as_str().unwrap().contains("1 heartbeats"), "{:?}", audit[lines]);

    let many = format!("{{\"instances\":[{}\"web/a\"]}}", "\"web/a\",".repeat(10_000));
    for (body, field) in [(many.as_str(), Some("instances")), (r#"{"instances":["web/a"],"x":1}"#, Some("x")), ("{}", Some("instances"))] {
        let (status, problem) = desk.ask("POST /v1/heartbeats", &agent, body).await;
        assert_eq!((status, problem["field"].as_str()), (422, field), "{problem}");
    }
    assert_eq!(desk.ask("POST /v1/heartbeats", &[], all).await.0, 401);
    assert_eq!(desk.ask("POST /v1/heartbeats", &agent, r#"{"instances":[]}"#).await.1["renewed"], 0);
}
