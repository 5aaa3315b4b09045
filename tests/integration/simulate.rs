//! What simulation predicts is what a drain then does, client prefix by client prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::time::Duration;

use hickory_proto::op::Message;
use serde_json::{Value, json};

use crate::message::Question;
use crate::process::{Home, Http};

/// Client prefixes, each a third of them near one of the regions.
const CLIENTS: u32 = 102;
const REGIONS: [&str; 3] = ["ap", "eu", "us"];

fn client(n: u32) -> String {
    format!("10.{}.{}.0/24", n % 3, n / 3)
}

/// Asks for `web` as a resolver of that client would, and names the regions of the addresses that come back.
fn regions(socket: &UdpSocket, client: &str) -> BTreeSet<String> {
    socket.send(&Question::parse(&format!("web.svc.example A ecs={client}")).bytes()).unwrap();
    let mut reply = [0; 1232];
    let length = socket.recv(&mut reply).unwrap();
    let message = Message::from_vec(&reply[..length]).unwrap();
    let addresses = message.answers.iter().filter_map(|record| record.data.ip_addr());
    // 192.0.2.1x stands in the first region, .2x in the second, .3x in the third.
    let region = |address: std::net::IpAddr| match address {
        std::net::IpAddr::V4(address) => format!("region/{}", REGIONS[usize::from(address.octets()[3] / 10 - 1)]),
        other => panic!("{other} was never registered"),
    };
    addresses.map(region).collect()
}

#[test]
fn a_drain_does_what_was_simulated_to_every_client() {
    let networks: String =
        (0..CLIENTS).map(|n| format!("[[network]]\ncidr = \"{}\"\nregion = \"{}\"\n", client(n), REGIONS[n as usize % 3])).collect();
    let regions_toml = "[regions.ap]\nlatitude = 35.7\nlongitude = 139.7\n[regions.eu]\nlatitude = 53.3\nlongitude = -6.3\n[regions.us]\nlatitude = 39.0\nlongitude = -77.5\n";
    let home = Home::new(&[("geo/regions.toml", regions_toml), ("geo/networks.toml", &networks)]);
    let (server, _) = home.start();
    let mut http = Http::connect(home.api).unwrap();
    let mut call = |method: &str, path: &str, body: Value| {
        let (status, text) = http.call(method, path, &body.to_string()).unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        serde_json::from_str::<Value>(&text).unwrap_or(Value::Null)
    };
    for (r, region) in REGIONS.iter().enumerate() {
        for n in 0..4 {
            let body = json!({ "addresses": [format!("192.0.2.{}", 10 * (r + 1) + n)], "region": region, "az": "a" });
            call("PUT", &format!("/v1/services/web/instances/{region}{n}"), body);
        }
    }
    // Two of four: so little is left that a part of the region's clients spills to others.
    for n in 0..2 {
        call("PUT", &format!("/v1/services/web/instances/us{n}/status"), json!({ "status": "critical", "note": "a test" }));
    }
    let clients: Vec<String> = (0..CLIENTS).map(client).collect();
    let report = call("POST", "/v1/simulate", json!({ "lose": ["region/eu"], "names": ["web.svc.example"], "clients": clients }));
    let listed = report["names"][0]["listed"].as_array().unwrap();
    assert_eq!(listed.len(), clients.len());
    let predicted: BTreeMap<&str, [BTreeSet<String>; 2]> = listed
        .iter()
        .map(|one| {
            let places = |key: &str| one[key].as_object().unwrap().keys().cloned().collect();
            (one["client"].as_str().unwrap(), [places("from"), places("to")])
        })
        .collect();

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(home.dns).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for (client, [from, _]) in &predicted {
        assert_eq!(regions(&socket, client), *from, "{client} before the drain");
    }
    call("PUT", "/v1/drains/region/eu", json!({ "reason": "a test" }));
    for (client, [_, to]) in &predicted {
        assert_eq!(regions(&socket, client), *to, "{client} while it is drained");
    }

    // Nobody is anywhere in part, and what was compared was not the same for all: some spilled before, some moved, most stayed.
    assert!(predicted.values().flatten().all(|places| places.len() == 1), "{predicted:?}");
    type Matches<'m> = &'m dyn Fn(&str, &BTreeSet<String>, &BTreeSet<String>) -> bool;
    let count = |matches: Matches<'_>| predicted.iter().filter(|(client, [from, to])| matches(client, from, to)).count();
    let near = |client: &str, region: &str| client.starts_with(&format!("10.{}.", REGIONS.iter().position(|r| *r == region).unwrap()));
    let is = |places: &BTreeSet<String>, region: &str| places.contains(&format!("region/{region}"));
    let spilled = count(&|client, from, _| near(client, "us") && !is(from, "us"));
    assert!((3..31).contains(&spilled), "{spilled} of 34 spill");
    let moved = count(&|_, from, to| from != to);
    assert!(predicted.values().all(|[from, to]| !is(from, "eu") || !is(to, "eu")), "nobody is left in eu");
    assert_eq!(moved, count(&|_, from, _| is(from, "eu")), "who was in eu moves, and nobody else");
    assert!(moved >= 34, "{moved}");
    assert!((report["names"][0]["moved"].as_f64().unwrap() - moved as f64 / f64::from(CLIENTS)).abs() < 1e-9);
    drop(server);
}
