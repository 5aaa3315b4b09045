//! Names that are not ours, for clients that may have them looked up: what is punted, and what of the answer is ours.

use super::super::{Outcome, Punt, Query, Transport, answer};
use super::world::{Asked, World, read, zone};

fn world() -> World {
    let records =
        ["www A 192.0.2.80", "out CNAME www.elsewhere.test.", "twice CNAME out.plain.example.", "child NS ns.child.plain.example."];
    let more = ["ns.child A 192.0.2.70", "child DS x", "moved DNAME elsewhere.test."];
    let mut world = World::new(&[zone("plain.example.", false, &[&records[..], &more].concat(), &[])]);
    world.dns(|dns| {
        dns.forward = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        // Within the networks nobody is held back.
        (dns.rate_limit.per_second, dns.rate_limit.slip) = (1, 0);
    });
    world
}

#[test]
fn names_of_others_are_punted_for_clients_of_the_networks_and_for_nobody_else() {
    let mut world = world();
    let mut check = |question: &str, punts: bool, expected: &str| {
        let before = world.punts;
        let question = if question.contains("from=") { question.into() } else { format!("{question} from=192.0.2.9") };
        assert_eq!(world.ask(&question), expected, "{question}");
        assert_eq!(world.punts - before == 1, punts, "{question}");
    };
    // RFC 1035 §4.1.1: RA is set in each reply to those for whom it is so.
    check("www.plain.example A tcp", false, "NOERROR aa ra www.plain.example. 60 A 192.0.2.80");
    check("www.plain.example A tcp from=198.51.100.9", false, "NOERROR aa www.plain.example. 60 A 192.0.2.80");
    for _ in 0..5 {
        check("www.elsewhere.test A", true, "REFUSED ra ede=20");
    }
    check("www.elsewhere.test A from=198.51.100.9", false, "REFUSED ede=20");
    check("www.elsewhere.test A tcp from=198.51.100.9 ecs=192.0.2.0/24", false, "REFUSED ecs=24/0 ede=20");
    check("www.elsewhere.test A from=2001:db8::9", true, "REFUSED ra ede=20");
    check("www.elsewhere.test A from=::ffff:192.0.2.9", true, "REFUSED ra ede=20");
    check("www.elsewhere.test A noedns", true, "REFUSED ra");
    check("www.elsewhere.test A cookie=0102030405060708 nsid do", true, "REFUSED ra do cookie+16 ede=20");
    // RFC 1034 §4.3.2 step 3a: the answer goes on where the alias leads.
    let out = "out.plain.example. 60 CNAME www.elsewhere.test.";
    check("out.plain.example A", true, &format!("NOERROR aa ra {out}"));
    check("twice.plain.example A", true, &format!("NOERROR aa ra twice.plain.example. 60 CNAME out.plain.example., {out}"));
    let moved = "moved.plain.example. 60 DNAME CWVsc2V3aGVyZQR0ZXN0AA==, a.moved.plain.example. 60 CNAME a.elsewhere.test.";
    check("a.moved.plain.example A", true, &format!("NOERROR aa ra {moved}"));
    check("out.plain.example CNAME tcp", false, &format!("NOERROR aa ra {out}"));
    check("out.plain.example A tcp from=198.51.100.9", false, &format!("NOERROR aa {out}"));
    // What is delegated is not ours either, but for the DS.
    check("x.child.plain.example A", true, "NOERROR ra");
    // What is refused, whoever asks.
    check("elsewhere.test AXFR tcp", false, "REFUSED ra ede=21");
    check("elsewhere.test A class=3 tcp", false, "REFUSED ra ede=20");
    check("elsewhere.test A opcode=4 tcp", false, "NOTIMP ede=21");
    assert!(world.ask("child.plain.example DS tcp from=192.0.2.9").starts_with("NOERROR aa ra child.plain.example. 60 DS "));
    assert_eq!(world.counted().split(' ').find(|c| c.starts_with("punted")), Some("punted=13"));
    assert_eq!(world.counted().split(' ').find(|c| c.starts_with("forwarded")), Some("forwarded=13"));
}

#[test]
fn who_does_not_ask_for_recursion_gets_none() {
    let mut world = world();
    let mut octets = Asked::read("www.elsewhere.test A").octets();
    // RFC 1034 §4.3.1: RD asks for it.
    octets[2] &= !1;
    let mut reply = world.send(&octets, "192.0.2.9".parse().unwrap(), Transport::Tcp).unwrap();
    assert_eq!(world.punts, 0);
    reply[2] |= 1;
    assert_eq!(read(&reply), "REFUSED ra ede=20");
}

#[test]
fn the_draw_of_a_punted_query_is_that_of_its_answer() {
    let mut world = world();
    let octets = Asked::read("www.elsewhere.test A").octets();
    let mut drawn = Vec::new();
    for _ in 0..3 {
        let query = Query { bytes: &octets, peer: "192.0.2.9:5353".parse().unwrap(), transport: Transport::Udp, now_ms: 0 };
        assert_eq!(answer(&world.snapshot, &mut world.worker, &query, &mut [0; 512]), Outcome::Punt(Punt::Forward));
        drawn.push(world.worker.drawn());
        assert_eq!(world.worker.drawn(), drawn[drawn.len() - 1]);
    }
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2]);
}
