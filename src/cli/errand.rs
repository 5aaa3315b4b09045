//! What the command line does itself: it asks a server and shows the answer, or makes tokens, man pages and completions.

use std::path::PathBuf;
use std::time::SystemTime;

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{ClientOrder, DrainArguments, ExplainArguments, InstancesArguments, Output, TokenArguments};
use super::connection::{self, Connection, Reply};
use super::failure::{Failure, Problem};
use super::{Page, complain, documents, drills, explain, keys, print, simulate, status, token, views};
use crate::model::{DEFAULT_DRAIN, DrainFields, Timestamp};

/// Something to do, and how to show what came of it.
#[derive(Debug)]
pub struct Errand {
    pub(super) job: Job,
    pub(super) output: Output,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Job {
    Ask { order: Box<ClientOrder>, api: Url, token_file: Option<PathBuf> },
    Token(TokenArguments),
    Completions(clap_complete::Shell),
    Man { subcommand: Vec<String>, dir: Option<PathBuf> },
}

impl Errand {
    /// Does it, shows what came of it, and returns the exit code: 0 fine, 1 refused, 2 wrong usage.
    pub fn run(self) -> u8 {
        let done = match self.job {
            Job::Ask { order, api, token_file } => ask(*order, &api, token_file),
            Job::Token(arguments) => token::create(arguments),
            Job::Completions(shell) => Ok(documents::completions(shell)),
            Job::Man { subcommand, dir: None } => documents::man(&subcommand),
            Job::Man { dir: Some(dir), .. } => documents::man_pages(&dir),
        };
        match done.and_then(|page| print(&page, self.output)) {
            Ok(()) => 0,
            Err(failure) => {
                if let (Output::Json, Failure::Refused(problem)) = (self.output, &failure)
                    && !problem.document.is_null()
                {
                    // The exit code tells already; a second failure of printing adds nothing.
                    let _ = print(&Page { document: problem.document.clone(), ..Page::default() }, Output::Json);
                }
                complain(&failure);
                failure.exit_code()
            }
        }
    }
}

/// Asks a server, on a runtime that lives for this one errand.
fn ask(order: ClientOrder, api: &Url, token_file: Option<PathBuf>) -> Result<Page, Failure> {
    let token = connection::token(token_file.as_deref(), std::env::var("SIGNPOST_TOKEN").ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { carry_out(order, &Connection::new(api, token)?).await })
}

async fn carry_out(order: ClientOrder, server: &Connection) -> Result<Page, Failure> {
    match order {
        ClientOrder::Status => status_page(server).await,
        ClientOrder::Services => shown(server, views::services(server.get("/v1/services", &[]).await?.body)),
        ClientOrder::Instances(arguments) => instances(arguments, server).await,
        ClientOrder::Explain(arguments) => explained(arguments, server).await,
        ClientOrder::Register(arguments) => {
            let key = arguments.instance.clone();
            let path = format!("/v1/services/{}/instances/{}", key.service, key.id);
            let reply = server.put(&path, &arguments.body()?).await?;
            let done = if reply.status == StatusCode::CREATED { "registered" } else { "replaced" };
            Ok(said(format!("{done} {key}"), reply))
        }
        ClientOrder::Deregister { instance } => {
            let reply = server.delete(&format!("/v1/services/{}/instances/{}", instance.service, instance.id)).await?;
            Ok(said(format!("deregistered {instance}"), reply))
        }
        ClientOrder::Drain(arguments) => {
            let DrainArguments { subject, reason, ramp, expires, overrule } = arguments;
            let fields = DrainFields { reason, ramp, expires, r#override: overrule };
            let reply = server.put(&format!("/v1/drains/{subject}"), &json!(fields)).await?;
            let ends = fields.expires.unwrap_or(DEFAULT_DRAIN);
            let whole = instant(&reply, "whole");
            let mut page = said(format!("{} {subject}", if whole.is_some() { "draining" } else { "drained" }), reply);
            if let Some(whole) = whole {
                let lines =
                    format!("all clients have moved in {}; `signpost pause {subject}` holds it\n", views::length(whole.since(now())));
                page.text.push_str(&lines);
            }
            page.text.push_str(&format!("it ends by itself in {ends}; `signpost undrain {subject}` lifts it\n"));
            Ok(page)
        }
        ClientOrder::Undrain { subject, ramp } => {
            let query = ramp.map(|ramp| format!("?ramp={ramp}")).unwrap_or_default();
            let reply = server.delete(&format!("/v1/drains/{subject}{query}")).await?;
            Ok(match instant(&reply, "over") {
                None => said(format!("{subject} serves again"), reply),
                Some(over) => {
                    let mut page = said(format!("{subject} comes back"), reply);
                    page.text.push_str(&format!("it serves all clients again in {}\n", views::length(over.since(now()))));
                    page
                }
            })
        }
        ClientOrder::Pause { subject } => {
            let reply = server.post(&format!("/v1/drains/{subject}/pause"), &json!({})).await?;
            let mut page = said(format!("the drain of {subject} stands still"), reply);
            page.text.push_str(&format!("`signpost resume {subject}` lets it go on; it expires all the same\n"));
            Ok(page)
        }
        ClientOrder::Resume { subject } => {
            let reply = server.post(&format!("/v1/drains/{subject}/resume"), &json!({})).await?;
            Ok(said(format!("the drain of {subject} goes on"), reply))
        }
        ClientOrder::Drains => shown(server, views::drains(server.get("/v1/drains", &[]).await?.body, now())),
        ClientOrder::Measurements { client } => {
            let query: Vec<_> = client.iter().map(|client| ("client", client.as_str())).chain([("limit", "1000")]).collect();
            shown(server, views::measurements(server.get("/v1/measurements", &query).await?.body))
        }
        ClientOrder::Updates { zone, drop: false } => {
            shown(server, views::updates(server.get(&format!("/v1/zones/{zone}/updates"), &[]).await?.body, now()))
        }
        ClientOrder::Updates { zone, drop: true } => {
            let reply = server.delete(&format!("/v1/zones/{zone}/updates")).await?;
            Ok(said(format!("{zone} is as its file says"), reply))
        }
        ClientOrder::Secondaries => shown(server, views::secondaries(server.get("/v1/secondaries", &[]).await?.body, now())),
        ClientOrder::Drills { order } => drills::carry_out(order, server).await,
        ClientOrder::Keys { order } => keys::carry_out(order, server).await,
        ClientOrder::Simulate(arguments) => simulate::carry_out(arguments, server).await,
        ClientOrder::Healthcheck => healthcheck(server).await,
    }
}

async fn status_page(server: &Connection) -> Result<Page, Failure> {
    // A token that is limited to some services may not see what all of them share: that is no reason to show nothing.
    let beside = async |path: &str| match server.get(path, &[]).await {
        Ok(reply) => Ok(Some(reply.body)),
        Err(Failure::Refused(problem)) if problem.status == 403 => Ok(None),
        Err(failure) => Err(failure),
    };
    let document = server.get("/v1/status", &[]).await?.body;
    let (regions, drains) = (beside("/v1/regions").await?, beside("/v1/drains").await?);
    shown(server, status::status(document, regions.as_ref(), drains.as_ref(), now()))
}

async fn instances(arguments: InstancesArguments, server: &Connection) -> Result<Page, Failure> {
    let mut query = Vec::new();
    if arguments.healthy {
        query.push(("healthy", "true"));
    }
    query.extend(arguments.region.as_ref().map(|r| ("region", r.as_str())));
    query.extend(arguments.tag.as_ref().map(|t| ("tag", t.as_str())));
    let reply = server.get(&format!("/v1/services/{}", arguments.service), &query).await?;
    shown(server, views::instances(reply.body, now()))
}

async fn explained(arguments: ExplainArguments, server: &Connection) -> Result<Page, Failure> {
    let kind = arguments.kind.to_ascii_uppercase();
    let client = arguments.client.to_string();
    let mut query = vec![("name", arguments.name.as_str()), ("type", kind.as_str()), ("client", client.as_str())];
    query.extend(arguments.assumptions.iter().map(|a| ("with", a.as_str())));
    shown(server, explain::page(server.get("/v1/explain", &query).await?.body))
}

async fn healthcheck(server: &Connection) -> Result<Page, Failure> {
    let (status, body) = server.exchange(Method::GET, "/readyz", &[], None).await?;
    match status {
        StatusCode::OK => Ok(Page { text: "ready\n".into(), document: json!({ "ready": true }) }),
        StatusCode::SERVICE_UNAVAILABLE => Err(Failure::NotReady(Problem::read(status, &body).to_string())),
        other => Err(server.stranger(format!("/readyz says {other}"))),
    }
}

/// A page made from what the server gave, or the complaint that it is not what Signpost gives.
pub(super) fn shown(server: &Connection, page: Result<Page, serde_json::Error>) -> Result<Page, Failure> {
    page.map_err(|e| server.stranger(e.to_string()))
}

/// One line about a write, with the revision that the server gave.
fn said(line: String, reply: Reply) -> Page {
    let revision = reply.body.get("revision").and_then(Value::as_u64).map(|r| format!(" at revision {r}")).unwrap_or_default();
    Page { text: format!("{line}{revision}\n"), document: reply.body }
}

/// An instant that the server named in its reply.
fn instant(reply: &Reply, name: &str) -> Option<Timestamp> {
    reply.body.get(name).and_then(|instant| Timestamp::deserialize(instant).ok())
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().plus(since)
}
#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::cli::{Invocation, arguments, invocation};

    /// A server that answers one request with `status` and `body`, and returns the request: its first line, its token and its body.
    fn server(status: &'static str, body: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let text = loop {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8(request.clone()).unwrap();
                let lower = text.to_ascii_lowercase();
                let Some(head) = lower.find("\r\n\r\n") else { continue };
                let length = lower.split("content-length: ").nth(1).and_then(|l| l.split("\r\n").next()?.parse().ok()).unwrap_or(0);
                if text.len() >= head + 4 + length {
                    break text;
                }
            };
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let token = head.lines().find(|l| l.starts_with("authorization: ")).unwrap_or_default();
            format!("{} {token} {body}", head.lines().next().unwrap().trim_end_matches(" HTTP/1.1")).trim().replace("  ", " ")
        });
        (api, thread)
    }

    /// Carries out a command line against `api`.
    fn run(line: &str, api: &str, token: Option<&str>) -> Result<String, Failure> {
        let words = line.split_whitespace().chain(["--api", api]);
        let Invocation::Errand(Errand { job: Job::Ask { order, api, .. }, .. }) = invocation(arguments::parse(words).unwrap()) else {
            panic!("{line} asks nobody");
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let page = runtime.block_on(async { carry_out(*order, &Connection::new(&api, token.map(Into::into))?).await })?;
        Ok(anstream::adapter::strip_str(&page.text).to_string())
    }

    fn check(line: &str, reply: (&'static str, &'static str), request: &str, said: &str) {
        let (api, thread) = server(reply.0, reply.1);
        let text = match run(line, &api, Some("s3cret")) {
            Ok(text) => text,
            Err(failure) => format!("error {}: {failure}", failure.exit_code()).replace(&api, "API"),
        };
        let seen = thread.join().unwrap();
        assert!(seen.contains(" authorization: Bearer s3cret"), "{line}: {seen}");
        assert_eq!(seen.replace(" authorization: Bearer s3cret", ""), request, "{line}");
        assert!(text.starts_with(said), "{line}:\n{text}");
    }

    #[test]
    fn each_subcommand_asks_its_question_and_shows_the_answer() {
        check(
            "signpost register web/eu1 --address 192.0.2.10 --port http=8080 --region eu-west --az a --check tcp,port=http",
            ("201 Created", r#"{"revision":7}"#),
            r#"PUT /v1/services/web/instances/eu1 {"addresses":["192.0.2.10"],"az":"a","checks":[{"fall":3,"interval":"5s","port":"http","rise":2,"tcp":true,"timeout":"2s"}],"ports":{"http":8080},"region":"eu-west","weight":100}"#,
            "registered web/eu1 at revision 7\n",
        );
        check(
            "signpost register web/eu1 --address 192.0.2.10 --region eu-west --az a --no-checks",
            ("200 OK", r#"{"revision":8}"#),
            r#"PUT /v1/services/web/instances/eu1 {"addresses":["192.0.2.10"],"az":"a","checks":[],"region":"eu-west","weight":100}"#,
            "replaced web/eu1 at revision 8\n",
        );
        check("signpost deregister web/eu1", ("204 No Content", ""), "DELETE /v1/services/web/instances/eu1", "deregistered web/eu1\n");
        check(
            "signpost drain az/eu-west/a --reason drill --expires 30m",
            ("200 OK", r#"{"revision":9}"#),
            r#"PUT /v1/drains/az/eu-west/a {"expires":"30m","reason":"drill"}"#,
            "drained az/eu-west/a at revision 9\nit ends by itself in 30m; `signpost undrain az/eu-west/a` lifts it\n",
        );
        check(
            "signpost undrain region/eu-west",
            ("200 OK", r#"{"revision":9}"#),
            "DELETE /v1/drains/region/eu-west",
            "region/eu-west serves again",
        );
        check(
            "signpost measurements --client 10.0.0.0/8",
            ("200 OK", r#"{"prefixes":0,"measurements":[]}"#),
            "GET /v1/measurements?client=10.0.0.0%2F8&limit=1000",
            "nothing was measured\n",
        );
        check(
            "signpost drain az/eu-west/a --reason drill --ramp 10m --override tested",
            ("200 OK", r#"{"revision":9,"whole":"2026-11-20T12:00:00Z"}"#),
            r#"PUT /v1/drains/az/eu-west/a {"override":"tested","ramp":"10m","reason":"drill"}"#,
            "draining az/eu-west/a at revision 9\nall clients have moved in ",
        );
        check(
            "signpost undrain region/eu-west --ramp 5m",
            ("200 OK", r#"{"revision":9,"over":"2026-11-20T12:00:00Z"}"#),
            "DELETE /v1/drains/region/eu-west?ramp=5m",
            "region/eu-west comes back at revision 9\nit serves all clients again in ",
        );
        check(
            "signpost pause service/web",
            ("200 OK", "{}"),
            "POST /v1/drains/service/web/pause {}",
            "the drain of service/web stands still",
        );
        check("signpost resume service/web", ("200 OK", "{}"), "POST /v1/drains/service/web/resume {}", "the drain of service/web goes on");
        check(
            "signpost updates x.example",
            ("200 OK", r#"{"zone":"x.example.","serial":7,"changes":0,"updates":[]}"#),
            "GET /v1/zones/x.example./updates",
            "no updates: x.example. is as its file says, serial 7\n",
        );
        check("signpost secondaries", ("200 OK", r#"{"secondaries":[]}"#), "GET /v1/secondaries", "no zones are copied");
        let update = r#"{"zone":"x.example.","serial":8,"changes":1,"updates":[{"name":"a.x.example.","type":"A","ttl":60,
            "records":["192.0.2.1"],"key":"k.","at":"2026-11-20T12:00:00Z","file_changed":true,"answered":true}]}"#;
        check("signpost updates x.example", ("200 OK", update), "GET /v1/zones/x.example./updates", "x.example. serial 8");
        check(
            "signpost updates x.example --drop",
            ("200 OK", r#"{"revision":7}"#),
            "DELETE /v1/zones/x.example./updates",
            "x.example. is as its file says at revision 7\n",
        );
        check("signpost drains", ("200 OK", r#"{"drains":[]}"#), "GET /v1/drains", "nothing is drained\n");
        check("signpost services", ("200 OK", r#"{"services":[]}"#), "GET /v1/services", "no services yet");
        check(
            "signpost instances web --healthy --region eu-west --tag blue",
            ("200 OK", r#"{"name":"web","policy":"nearest","instances":[]}"#),
            "GET /v1/services/web?healthy=true&region=eu-west&tag=blue",
            "web has no such instances\n",
        );
        check("signpost simulate", ("200 OK", r#"{"losses":[]}"#), "GET /v1/simulate", "there are no regions yet\n");
        let report = r#"{"lost":["region/eu"],"clients":2,"population":9,"total":{"name":"","moved":0,"emptied":0,"fail_open":0,"moves":[],"exceeded":[]},"names":[]}"#;
        check(
            "signpost simulate --lose region/eu --lose az/us/a --name web.test --client 10.1.0.0/16",
            ("200 OK", report),
            r#"POST /v1/simulate {"clients":["10.1.0.0/16"],"lose":["region/eu","az/us/a"],"names":["web.test"]}"#,
            "without region/eu, 2 of 9 client prefixes\n",
        );
        check("signpost drills", ("200 OK", r#"{"drills":[],"runs":[]}"#), "GET /v1/drills", "no drills are defined");
        let run =
            r#"{"run":"20261124T100000Z-x","lose":"region/eu","state":"moving","why":"","author":"ann","started":"2026-11-24T10:00:00Z"}"#;
        check(
            "signpost drills run x",
            ("201 Created", run),
            r#"POST /v1/drills {"name":"x"}"#,
            "drill 20261124T100000Z-x has begun: region/eu goes out of answers\n",
        );
        check(
            "signpost drills run --lose region/eu --ramp 10m",
            ("201 Created", run),
            r#"POST /v1/drills {"abort":{"empty_answers":1},"hold":"5m","lose":"region/eu","ramp":"10m","require":{}}"#,
            "drill 20261124T100000Z-x has begun",
        );
        check(
            "signpost drills stop 20261124T100000Z-x",
            ("202 Accepted", run),
            "DELETE /v1/drills/20261124T100000Z-x",
            "drill 20261124T100000Z-x is stopped: clients are led back to region/eu\n",
        );
        check("signpost healthcheck", ("200 OK", "ready\n"), "GET /readyz", "ready\n");
    }

    #[test]
    fn refusals_say_what_to_do() {
        const PROBLEM: &str = r#"{"type":"urn:signpost:problem:field","title":"t","status":422,"detail":"one of a, b","field":"az"}"#;
        const WHO: &str =
            r#"{"type":"urn:signpost:problem:unauthenticated","title":"A token is needed","status":401,"detail":"no token was given"}"#;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{ "addresses": ["192.0.2.10"], "region": "eu-west", "az": "nowhere" }"#).unwrap();
        let register = &format!("signpost register web/eu1 --file {}", file.path().display());
        let request = r#"PUT /v1/services/web/instances/eu1 {"addresses":["192.0.2.10"],"az":"nowhere","region":"eu-west"}"#;
        check(register, ("422 Unprocessable Entity", PROBLEM), request, "error 1: az: one of a, b");
        check(
            "signpost drains",
            ("401 Unauthorized", WHO),
            "GET /v1/drains",
            "error 1: no token was given\n  the API wants a token: pass --token-file",
        );
        check(
            "signpost healthcheck",
            ("503 Service Unavailable", r#"{"detail":"zones are not loaded"}"#),
            "GET /readyz",
            "error 1: not ready: zones are not loaded",
        );
        check("signpost healthcheck", ("404 Not Found", ""), "GET /readyz", "error 1: what answers at API does not look like Signpost");
        check("signpost services", ("200 OK", "<html>"), "GET /v1/services", "error 1: what answers at API does not look like Signpost");
        check(
            "signpost services",
            ("200 OK", r#"{"a":1}"#),
            "GET /v1/services",
            "error 1: what answers at API does not look like Signpost (missing field `services`",
        );
        check("signpost services", ("302 Found", ""), "GET /v1/services", "error 1: what answers at API does not look like Signpost");
    }

    #[test]
    fn nobody_there_is_said_as_such() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = run("signpost status", &format!("http://{free}"), None).unwrap_err();
        let said = format!("no Signpost answers at http://{free}: is `signpost serve` running? --api names another");
        assert!(failure.to_string().starts_with(&said), "{failure}");
        assert_eq!(failure.exit_code(), 1);
    }
}
