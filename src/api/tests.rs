//! Requests through everything that stands before and behind the routes, without a socket: request → status, problem, header.

use axum::body::Body;
use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

mod access;
mod drains;
mod drills;
mod news;
mod registry;
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
        (web, vec![], r#"{"addresses":["192.0.2.1"],"region":"r","az":"a","meta":{"ID":"x"}}"#, 422, Some("meta.ID")),
        (web, vec![], r#"{"addresses":["192.0.2.1"],"region":"r","az":"a","ports":{"HTTP":1,"http":2}}"#, 422, Some("ports.http")),
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
