//! The names of services (DESIGN §3): which exist, which are NODATA, which do not exist.

use super::world::{World, zone};

/// What a name is, in a word.
fn kind(reply: &str) -> &'static str {
    match reply {
        r if r.starts_with("NXDOMAIN") => "nxdomain",
        r if r.starts_with("NOERROR aa auth:") => "nodata",
        r if r.starts_with("NOERROR aa") => "answer",
        r if r.starts_with("NOERROR auth:") => "referral",
        _ => "refused",
    }
}

#[test]
fn every_name_of_the_grammar_is_what_it_should_be() {
    let services = zone(
        "svc.example.",
        true,
        &[
            "ns1 A 192.0.2.53",
            "* A 192.0.2.99",
            "*.sub A 192.0.2.98",
            "_acme.web TXT token",
            "*.deep.web TXT below",
            "cut NS ns.elsewhere.test.",
        ],
        &[],
    );
    let mut world = World::new(&[services, zone("quiet.example.", true, &[], &[]), zone("plain.example.", false, &[], &[])])
        .service("dns", r#"{"default_port":"dns"}"#)
        .with(&[
            "web/b1 192.0.2.11 boston/az-1 http:8080 tag=blue tag=canary",
            "web/l1 192.0.2.21 london/az-2 http:8080 tag=green",
            "dns/a 192.0.2.41 london/az-1 dns:53/udp metrics:9153",
            "many/a 192.0.2.42 london/az-1 http:80 grpc:90",
            "cut/a 192.0.2.43 london/az-1 http:80",
        ]);
    let table = [
        ("web A", "answer"),
        ("WEB A", "answer"),
        ("web MX", "nodata"),
        ("web SRV", "answer"),
        ("many SRV", "nodata"),
        ("_http._tcp.web SRV", "answer"),
        ("_http._tcp.web A", "nodata"),
        ("_http._tcp.web ANY", "answer"),
        ("_http._udp.web SRV", "nxdomain"),
        ("_grpc._tcp.web SRV", "nxdomain"),
        ("http._tcp.web SRV", "nxdomain"),
        ("_tcp.web SRV", "nodata"),
        ("_udp.web SRV", "nxdomain"),
        ("x._http._tcp.web SRV", "nxdomain"),
        ("_grpc._tcp.many SRV", "answer"),
        ("_web._tcp SRV", "answer"),
        ("_web._udp SRV", "nxdomain"),
        ("_dns._udp SRV", "answer"),
        ("_dns._tcp SRV", "nxdomain"),
        ("_many._tcp SRV", "nxdomain"),
        ("_nosuch._tcp SRV", "nxdomain"),
        ("x._web._tcp SRV", "nxdomain"),
        ("_tcp A", "nodata"),
        ("b1.id.web A", "answer"),
        ("B1.ID.web A", "answer"),
        ("b1.id.web SRV", "answer"),
        ("b1.id.web TXT", "answer"),
        ("b1.id.web AAAA", "nodata"),
        ("b1.id.web HTTPS", "nodata"),
        ("_http._tcp.b1.id.web SRV", "answer"),
        ("_grpc._tcp.b1.id.web SRV", "nxdomain"),
        ("_tcp.b1.id.web SRV", "nodata"),
        ("b9.id.web A", "nxdomain"),
        ("x.b1.id.web A", "nxdomain"),
        ("id.web A", "nodata"),
        ("b1.web A", "nxdomain"),
        ("blue.tag.web A", "answer"),
        ("red.tag.web A", "nxdomain"),
        ("tag.web A", "nodata"),
        ("canary.tag.blue.tag.web A", "answer"),
        ("green.tag.blue.tag.web A", "nodata"),
        ("b1.id.blue.tag.web A", "nxdomain"),
        ("boston.region.web A", "answer"),
        ("atlantis.region.web A", "nxdomain"),
        ("region.web A", "nodata"),
        ("london.region.boston.region.web A", "nodata"),
        ("az-2.az.web A", "answer"),
        ("az-9.az.web A", "nxdomain"),
        ("az.web A", "nodata"),
        ("az-1.az.boston.region.web A", "answer"),
        ("boston.region.az-1.az.web A", "answer"),
        ("az-2.az.boston.region.web A", "nodata"),
        ("_http._tcp.blue.tag.boston.region.web SRV", "answer"),
        ("_tcp.boston.region.web SRV", "nodata"),
        // Static names beside and below services.
        ("_acme.web TXT", "answer"),
        ("_acme.web A", "nodata"),
        ("x._acme.web TXT", "nxdomain"),
        ("deep.web TXT", "nodata"),
        ("x.deep.web TXT", "answer"),
        // Wildcards take what no service encloses.
        ("nosuch A", "answer"),
        ("a.b.nosuch A", "answer"),
        ("x.web A", "nxdomain"),
        ("x.sub A", "answer"),
        ("sub A", "nodata"),
        ("cut A", "referral"),
        ("a.id.cut A", "referral"),
    ];
    for (question, expected) in table {
        let (owner, qtype) = question.split_once(' ').unwrap();
        let reply = world.ask(&format!("{owner}.svc.example {qtype}"));
        assert_eq!(kind(&reply), expected, "{question}: {reply}");
    }
    world.check(&[(
        "web.plain.example A",
        "NXDOMAIN aa auth: plain.example. 5 SOA ns1.plain.example. hostmaster.plain.example. 7 7200 900 1209600 5",
    )]);
    assert_eq!(kind(&world.ask("web.quiet.example A")), "answer");
    let mut empty = World::new(&[zone("svc.example.", true, &[], &[])]);
    assert_eq!(kind(&empty.ask("_tcp.svc.example A")), "nxdomain");
}
