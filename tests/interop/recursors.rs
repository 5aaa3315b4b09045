//! Recursors and forwarders in front: Unbound with a stub zone, BIND and Knot Resolver as forwarders, and dnsmasq.

use std::time::Duration;

use crate::harness::{Peer, Signpost, run, wait_until};
use crate::internet;
use crate::peers::{self, ask};
use crate::world::{self, APEX, IN_BOSTON, IN_LONDON};

/// The longest a change may take to reach a client of the recursor: the TTL of 2 s, and time for a busy machine, short of the usual TTL.
const SOON: Duration = Duration::from_secs(20);

/// An unbound that asks `signpost` about the zone.
fn unbound(signpost: &Signpost, modules: &str, more: &str) -> Peer {
    let stub = format!("stub-zone:\n  name: \"{APEX}\"\n  stub-addr: {}@{}\n  stub-first: no\n", signpost.dns.ip(), signpost.dns.port(),);
    peers::unbound(modules, "", &format!("  do-ip6: no\n  domain-insecure: \"{APEX}\"\n{more}"), &stub)
}

#[test]
fn unbound_resolves_every_name_and_sees_changes_after_the_ttl() {
    let signpost = world::start();
    let unbound = unbound(&signpost, "iterator", "");
    world::check_names(|name, rtype| ask(unbound.address, &format!("{name} {rtype}")));
    // Once more, from its cache.
    world::check_names(|name, rtype| ask(unbound.address, &format!("{name} {rtype}")));
    let reply = ask(unbound.address, "svc.example NS");
    assert_eq!(reply.data("NS"), ["ns1.svc.example.", "ns2.svc.example."], "{reply}");
    let reply = ask(unbound.address, "store.svc.example HTTPS");
    assert_eq!(reply.data("HTTPS").len(), 1, "{reply}");
    let reply = ask(unbound.address, "big.svc.example TXT");
    assert_eq!(reply.data("TXT").len(), 6, "{reply}");
    // Had a reply not kept the question's case, unbound would have asked again, several times, and compared.
    assert!(!unbound.log().contains("Capsforid"), "{}", unbound.log());

    let becomes = |name: &str, data: &[&str]| {
        let mut last = None;
        let done = wait_until(SOON, || last.insert(ask(unbound.address, &format!("{name} A"))).data("A") == data);
        assert!(done, "{name} became {last:?} instead of {data:?}");
    };
    signpost.delete("/v1/services/web/instances/b1");
    becomes("web.svc.example", &["192.0.2.12"]);
    let gone = wait_until(SOON, || ask(unbound.address, "b1.id.web.svc.example A").status == "NXDOMAIN");
    assert!(gone, "b1's own name is still there");
    signpost.put("/v1/drains/region/boston", r#"{"reason":"power works"}"#);
    becomes("web.svc.example", &["192.0.2.21", "192.0.2.22"]);
    becomes("api.svc.example", &["192.0.2.21", "192.0.2.22"]);
    signpost.delete("/v1/drains/region/boston");
    signpost.put(world::REGISTERED[0].0, world::REGISTERED[0].1);
    becomes("web.svc.example", &["192.0.2.11", "192.0.2.12"]);
    becomes("b1.id.web.svc.example", &["192.0.2.11"]);
}

#[test]
fn unbound_with_subnetcache_gives_each_client_its_own_region() {
    let signpost = world::start();
    let built_with = run("unbound", &["-V"]);
    assert!(built_with.contains("subnetcache"), "this unbound has no subnet support:\n{built_with}");
    let unbound = unbound(
        &signpost,
        "subnetcache iterator",
        "  send-client-subnet: 127.0.0.1\n  client-subnet-zone: \"svc.example.\"\n  client-subnet-always-forward: yes\n  \
         max-client-subnet-ipv4: 24\n",
    );
    let (boston, london) = (&["192.0.2.11", "192.0.2.12"][..], &["192.0.2.21", "192.0.2.22"][..]);
    // Both ways round and from the cache: neither client ever gets the other's answer.
    for _ in 0..3 {
        for name in ["web", "shop"] {
            let check = |subnet: &str, data: &[&str]| {
                let reply = ask(unbound.address, &format!("+subnet={subnet} {name}.svc.example A"));
                assert_eq!(reply.data("A"), data, "{name} for {subnet}: {reply}");
            };
            check(IN_BOSTON, boston);
            check(IN_LONDON, london);
            check("203.0.113.200/32", london);
            check("198.51.100.200/32", boston);
        }
    }
    // An answer that is everyone's, and one that is nobody's.
    for subnet in [IN_BOSTON, IN_LONDON] {
        let reply = ask(unbound.address, &format!("+subnet={subnet} l1.id.web.svc.example A"));
        assert_eq!(reply.data("A"), ["192.0.2.21"], "{reply}");
        ask(unbound.address, &format!("+subnet={subnet} web.svc.example HTTPS")).assert_no_data(APEX);
        ask(unbound.address, &format!("+subnet={subnet} nosuch.svc.example A")).assert_no_name(APEX);
    }
}

/// Two that forward without walking: in a network of their own, since both would like to know the root.
#[test]
fn named_and_kresd_forward_to_it() {
    internet::alone("recursors::named_and_kresd_forward_to_it", || {
        let signpost = world::start();
        let (ip, port) = (signpost.dns.ip(), signpost.dns.port());
        let zone = format!("zone \"{APEX}\" {{ type forward; forward only; forwarders {{ {ip} port {port}; }}; }};\n");
        let stub = format!("policy.add(policy.suffix(policy.STUB('{ip}@{port}'), policy.todnames({{ '{APEX}' }})))\n");
        // kresd as a stub hands an alias on that has no data, and leaves the SOA behind it away.
        for (peer, left_out) in [(peers::named("", &zone), &[][..]), (peers::kresd(&stub), &[("alias", "AAAA")])] {
            for _ in ["asked", "kept"] {
                world::check_names_but(left_out, |name, rtype| ask(peer.address, &format!("{name} {rtype}")));
            }
            let reply = ask(peer.address, "big.svc.example TXT");
            assert_eq!(reply.data("TXT").len(), 6, "{reply}");
            signpost.delete("/v1/services/web/instances/l2");
            let gone = wait_until(SOON, || ask(peer.address, "london.region.web.svc.example A").data("A") == ["192.0.2.21"]);
            assert!(gone, "l2 is still there");
            signpost.put(world::REGISTERED[3].0, world::REGISTERED[3].1);
        }
    });
}

#[test]
fn dnsmasq_forwards_to_it() {
    let signpost = world::start();
    let dnsmasq = |more: &'static [&'static str]| {
        Peer::start("dnsmasq", |folder, address| {
            std::fs::write(folder.join("dnsmasq.conf"), "").expect("a config file");
            let mut args = vec![
                "--keep-in-foreground".into(),
                "--no-resolv".into(),
                "--no-hosts".into(),
                "--bind-interfaces".into(),
                "--pid-file=".into(),
                "--log-facility=-".into(),
                // Nobody to become: it is started by whoever runs the tests, on a port that anyone may have.
                "--user=".into(),
                "--group=".into(),
                format!("--conf-file={}", folder.join("dnsmasq.conf").display()),
                format!("--listen-address={}", address.ip()),
                format!("--port={}", address.port()),
                format!("--server=/svc.example/{}#{}", signpost.dns.ip(), signpost.dns.port()),
            ];
            args.extend(more.iter().map(|arg| arg.to_string()));
            args
        })
    };
    let plain = dnsmasq(&[]);
    // First, while its cache is empty: what it answers from there it answers without additional records.
    let reply = ask(plain.address, "WEB.svc.example SRV");
    assert_eq!(reply.data("SRV").len(), 2, "{reply}");
    assert_eq!(reply.additional.iter().filter(|r| r.rtype == "A").count(), 2, "{reply}");
    world::check_names(|name, rtype| ask(plain.address, &format!("{name} {rtype}")));
    world::check_names(|name, rtype| ask(plain.address, &format!("{name} {rtype}")));
    let reply = ask(plain.address, "+bufsize=512 big.svc.example TXT");
    assert_eq!(reply.data("TXT").len(), 6, "{reply}");

    // A forwarder that says where its clients are (RFC 7871): it drops a reply that does not echo the subnet.
    let in_london = dnsmasq(&["--add-subnet=203.0.113.9/24"]);
    let reply = ask(in_london.address, "web.svc.example A");
    assert_eq!(reply.data("A"), ["192.0.2.21", "192.0.2.22"], "{reply}");
}
