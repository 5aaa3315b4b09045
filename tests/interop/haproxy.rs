//! HAProxy's `server-template`: servers, ports and weights from SRV, followed as they change, with real requests through it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::harness::{Files, Peer, Signpost, at, http, run, wait_until};
use crate::reply::Reply;

/// HAProxy asks every second and holds what is gone for half of one; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(25);

const FILES: Files = &[(
    "zones/svc.example.toml",
    "services = true\nns = [\"ns1.svc.example.\"]\nttl = { min = \"1s\", max = \"2s\", negative = \"1s\" }\n[records]\nns1 = { A = [\"192.0.2.53\"] }\n",
)];

/// A server as HAProxy sees it: `<target> <address>:<port>`, and its weight.
type Servers = BTreeMap<String, u32>;

/// An HTTP server on an address of its own that answers everything with its name. It ends with the test binary.
fn instance(name: &'static str, address: [u8; 4]) -> SocketAddr {
    let listener = TcpListener::bind(SocketAddr::from((address, 0))).expect("a loopback address");
    let address = listener.local_addr().expect("a bound address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let mut request = Vec::new();
            let mut octets = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut octets) {
                    Ok(read) if read > 0 => request.extend_from_slice(&octets[..read]),
                    _ => break,
                }
            }
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{name}", name.len());
        }
    });
    address
}

fn register(signpost: &Signpost, id: &str, address: SocketAddr, weight: u32) {
    let body = serde_json::json!({
        "addresses": [address.ip()], "ports": { "http": address.port() }, "region": "here", "az": "a", "weight": weight,
    });
    signpost.put(&format!("/v1/services/web/instances/{id}"), &body.to_string());
}

/// A HAProxy whose servers come from `_http._tcp.web.svc.example`; `transport` stands before the name server's address.
fn haproxy(signpost: &Signpost, transport: &str) -> Peer {
    Peer::start("haproxy", |folder, address| {
        let config = format!(
            "global\n    stats socket {socket} mode 600 level admin\n    maxconn 100\n    nbthread 1\n\
             defaults\n    mode http\n    timeout connect 2s\n    timeout client 5s\n    timeout server 5s\n    http-reuse never\n\
             resolvers signpost\n    nameserver signpost {transport}{dns}\n    accepted_payload_size 1232\n    resolve_retries 3\n\
             \x20   timeout resolve 1s\n    timeout retry 5s\n    hold valid 1s\n    hold obsolete 500ms\n    hold nx 1s\n    hold refused 1s\n    hold timeout 10s\n\
             frontend in\n    bind {address}\n    default_backend web\n\
             backend web\n    balance roundrobin\n\
             \x20   server-template web 4 _http._tcp.web.svc.example resolvers signpost resolve-prefer ipv4 init-addr none\n",
            socket = folder.join("s").display(),
            dns = signpost.dns,
        );
        std::fs::write(folder.join("haproxy.cfg"), config).expect("a config file");
        vec!["-db".into(), "-f".into(), folder.join("haproxy.cfg").display().to_string()]
    })
}

/// One command over the stats socket.
fn stats(folder: &Path, command: &str) -> String {
    // It gets its name a moment after the frontend listens.
    let mut stream = None;
    wait_until(SOON, || {
        stream = UnixStream::connect(folder.join("s")).ok();
        stream.is_some()
    });
    let mut stream = stream.expect("the stats socket");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
    writeln!(stream, "{command}").expect("a command");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the stats");
    text
}

/// The servers that HAProxy would send requests to.
fn servers(folder: &Path) -> Servers {
    let text = stats(folder, "show servers state web");
    let header = text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_else(|| panic!("no header in {text:?}"));
    let column = |name: &str| header.split(' ').position(|c| c == name).unwrap_or_else(|| panic!("no {name} in {header:?}"));
    let [address, port, fqdn, state, weight] = ["srv_addr", "srv_port", "srv_fqdn", "srv_op_state", "srv_uweight"].map(column);
    let rows = text.lines().skip(2).map(|line| line.split(' ').collect::<Vec<_>>()).filter(|row| row.len() > port);
    rows.filter(|row| row[state] == "2")
        .map(|row| (format!("{} {}:{}", row[fqdn], row[address], row[port]), row[weight].parse().unwrap_or(0)))
        .collect()
}

/// What Signpost's SRV answer says in HAProxy's terms: it divides the 16-bit weight by 256 and rounds up.
fn published(signpost: &Signpost) -> Servers {
    let mut args: Vec<String> = at(signpost.dns).into();
    args.extend(["+time=5", "+tries=1", "_http._tcp.web.svc.example", "SRV"].map(String::from));
    let reply = Reply::one(&run("dig", &args));
    let of_record = |data: &str| {
        let words: Vec<&str> = data.split(' ').collect();
        let [_priority, weight, port, target] = words.as_slice() else { panic!("no SRV data: {data:?}") };
        let weight: u32 = weight.parse().expect("a weight");
        let address = reply.additional.iter().find(|r| r.rtype == "A" && r.owner == *target).expect("the target's address");
        (format!("{} {}:{port}", target.trim_end_matches('.'), address.data), weight.div_ceil(256))
    };
    reply.data("SRV").into_iter().map(of_record).collect()
}

/// Which instances answer so many requests through HAProxy, and how often each.
fn reached(frontend: SocketAddr, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let (status, body) = http(frontend, "GET", "/", "").expect("a reply through HAProxy");
        assert_eq!(status, 200, "{body}");
        *counts.entry(body).or_default() += 1;
    }
    counts
}

fn follows(transport: &str) {
    let signpost = Signpost::start(FILES);
    let (one, two, three) = (instance("one", [127, 0, 0, 11]), instance("two", [127, 0, 0, 12]), instance("three", [127, 0, 0, 13]));
    register(&signpost, "one", one, 100);
    register(&signpost, "two", two, 300);
    let haproxy = haproxy(&signpost, transport);
    let becomes = |expected: &[(&str, SocketAddr)]| {
        let expected: Vec<String> = expected.iter().map(|(id, address)| format!("{id}.id.web.svc.example {address}")).collect();
        let mut seen = Servers::new();
        let done = wait_until(SOON, || {
            seen = servers(&haproxy.folder);
            seen.keys().eq(expected.iter())
        });
        assert!(done, "HAProxy has {seen:?}, not {expected:?}\n{}\n{}", stats(&haproxy.folder, "show resolvers"), haproxy.log());
        assert_eq!(seen, published(&signpost), "servers and their weights are those of the SRV answer");
        seen
    };

    let seen = becomes(&[("one", one), ("two", two)]);
    let weights: Vec<u32> = seen.values().copied().collect();
    assert!(weights[0] * 3 == weights[1], "HAProxy keeps the weights' ratio: {seen:?}");
    let counts = reached(haproxy.address, 16);
    assert_eq!((counts.get("one"), counts.get("two")), (Some(&4), Some(&12)), "{counts:?}");

    register(&signpost, "three", three, 100);
    becomes(&[("one", one), ("three", three), ("two", two)]);
    assert_eq!(reached(haproxy.address, 20).len(), 3);

    signpost.delete("/v1/services/web/instances/one");
    becomes(&[("three", three), ("two", two)]);
    assert_eq!(reached(haproxy.address, 8).keys().collect::<Vec<_>>(), ["three", "two"]);

    signpost.put("/v1/drains/instance/web/two", r#"{"reason":"new kernel"}"#);
    becomes(&[("three", three)]);
    assert_eq!(reached(haproxy.address, 4).keys().collect::<Vec<_>>(), ["three"]);

    // Not one reply that HAProxy could not use.
    let counters = stats(&haproxy.folder, "show resolvers");
    let ours = counters.split("nameserver signpost:").nth(1).unwrap_or_else(|| panic!("no name server in {counters}"));
    let count = |name: &str| -> u64 {
        let line = ours.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}:")).map(str::trim));
        line.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no {name} in {counters}"))
    };
    assert!(count("valid") > 0, "{counters}");
    for name in ["snd_error", "nx", "timeout", "refused", "other", "invalid", "too_big", "truncated", "outdated"] {
        assert_eq!(count(name), 0, "{name}: {counters}");
    }
}

#[test]
fn haproxy_follows_srv_over_udp() {
    follows("");
}

#[test]
fn haproxy_follows_srv_over_tcp() {
    follows("tcp@");
}
