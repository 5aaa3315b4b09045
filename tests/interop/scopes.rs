//! The proof of exact scopes: unbound with `subnetcache` gives every client the answer that Signpost itself would give, for every policy.
//!
//! The world is that of `tests/overlap`: networks within networks, to both sides of what resolvers send. For each name, 10,000 clients ask
//! unbound, in an order that mixes wide prefixes with narrow ones; each answer is compared with that to a direct query which carries the
//! client's prefix at unbound's source length. TTLs outlast the test, so that whatever a scope claims too much of is served to somebody
//! whom it is not for. How many queries reached Signpost is printed, and few must be: else there was no cache, and nothing is proven.
//!
//! Clients are told by a PROXY header (v2, by HAProxy) before each query, so that they may have any address; some send ECS themselves, with
//! lengths that unbound would not choose.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use ipnet::IpNet;

use crate::datagrams::{Answer, ask_all, proxy_header, query};
use crate::harness::{Peer, Signpost, run, wait_until};
use crate::overlap::{self, DOWN, DRAINED, Dice, FILES, PARTLY, net};

/// What an answer must be.
#[derive(Clone, Copy, PartialEq)]
enum Must {
    /// The one that the direct query had.
    Equal,
    /// One that a direct query may have: some of it is drawn, for some clients at least.
    BePossible,
}

/// What is asked: name and type, what an answer must be, and how many different ones there are at least. One where all clients are alike.
const QUESTIONS: &[(&str, RecordType, Must, usize)] = &[
    ("simple", RecordType::A, Must::Equal, 1),
    ("multivalue", RecordType::A, Must::BePossible, 1),
    ("weighted", RecordType::A, Must::BePossible, 1),
    ("failover", RecordType::A, Must::Equal, 1),
    ("latency", RecordType::A, Must::Equal, 3),
    ("geoproximity", RecordType::A, Must::BePossible, 5),
    ("by-country", RecordType::A, Must::Equal, 6),
    ("some-countries", RecordType::A, Must::Equal, 6),
    ("some-countries", RecordType::AAAA, Must::Equal, 2),
    ("by-prefix", RecordType::A, Must::Equal, 3),
    ("by-prefixes", RecordType::A, Must::Equal, 3),
    ("some-prefixes", RecordType::A, Must::Equal, 4),
    ("by-system", RecordType::A, Must::Equal, 4),
    ("some-systems", RecordType::A, Must::Equal, 3),
    ("sticky", RecordType::A, Must::Equal, 3),
    ("nearest", RecordType::A, Must::BePossible, 4),
    ("panicking", RecordType::A, Must::Equal, 2),
    ("resort", RecordType::A, Must::Equal, 3),
    ("refused", RecordType::A, Must::Equal, 2),
    ("counted", RecordType::A, Must::Equal, 3),
    ("nested", RecordType::A, Must::Equal, 8),
    ("nested", RecordType::AAAA, Must::Equal, 3),
    ("any", RecordType::A, Must::BePossible, 5),
    ("leads", RecordType::A, Must::Equal, 8),
    ("through", RecordType::A, Must::Equal, 6),
    ("www", RecordType::A, Must::Equal, 6),
    ("away", RecordType::A, Must::Equal, 5),
    // Services, by their own policies.
    ("web", RecordType::A, Must::Equal, 6),
    ("web", RecordType::AAAA, Must::Equal, 4),
    ("web", RecordType::HTTPS, Must::Equal, 6),
    ("_https._tcp.web", RecordType::SRV, Must::Equal, 6),
    ("ams.region.web", RecordType::A, Must::Equal, 3),
    ("ams-1.az.web", RecordType::A, Must::Equal, 1),
    ("syd-1a.id.web", RecordType::A, Must::Equal, 1),
    ("half", RecordType::A, Must::Equal, 5),
    ("iad.region.half", RecordType::A, Must::Equal, 1),
    ("deep", RecordType::SRV, Must::Equal, 6),
    ("panicky", RecordType::A, Must::Equal, 2),
    ("gone", RecordType::A, Must::Equal, 4),
    ("before", RecordType::A, Must::Equal, 1),
    ("dead", RecordType::A, Must::Equal, 1),
    ("plain", RecordType::A, Must::Equal, 1),
    ("several", RecordType::A, Must::BePossible, 1),
    ("drawn", RecordType::A, Must::BePossible, 1),
    ("kept", RecordType::A, Must::Equal, 4),
    ("listed", RecordType::A, Must::Equal, 1),
    ("quick", RecordType::A, Must::Equal, 3),
    ("split", RecordType::A, Must::BePossible, 4),
    // What is out of answers for a part of the clients.
    ("moved", RecordType::A, Must::Equal, 6),
    ("fra-1.az.moved", RecordType::A, Must::Equal, 1),
    ("settled", RecordType::A, Must::Equal, 4),
    ("thinned", RecordType::A, Must::Equal, 2),
    ("left", RecordType::A, Must::Equal, 3),
    ("mostly", RecordType::A, Must::BePossible, 4),
    ("nowhere", RecordType::A, Must::Equal, 1),
];

/// The longest prefixes that unbound sends.
#[derive(Clone, Copy)]
struct Lengths {
    v4: u8,
    v6: u8,
}

/// Somebody who asks unbound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Client {
    address: IpAddr,
    /// The source length of the ECS that it sends itself.
    sends: Option<u8>,
}

impl Client {
    /// What unbound tells Signpost of it.
    fn source(&self, lengths: Lengths) -> IpNet {
        let longest = if self.address.is_ipv4() { lengths.v4 } else { lengths.v6 };
        net(self.address, self.sends.unwrap_or(longest).min(longest))
    }
}

#[test]
fn every_client_gets_its_own_answer_at_24_and_56() {
    prove(Lengths { v4: 24, v6: 56 }, 10_000, 0.12);
}

#[test]
fn every_client_gets_its_own_answer_at_32_and_128() {
    prove(Lengths { v4: 32, v6: 128 }, 2_500, 0.35);
}

#[test]
fn every_client_gets_its_own_answer_at_20_and_48() {
    prove(Lengths { v4: 20, v6: 48 }, 2_500, 0.25);
}

/// Asks every question of [`QUESTIONS`] for `count` clients; at most `share` of the queries may reach Signpost.
fn prove(lengths: Lengths, count: usize, share: f64) {
    let begin = Instant::now();
    let signpost = start();
    let unbound = unbound(&signpost, lengths);
    let mut dice = Dice(u64::from(lengths.v4));
    let clients = clients(&mut dice, lengths, count);
    let sources: BTreeSet<IpNet> = clients.iter().map(|client| client.source(lengths)).collect();
    let mut wrong = Vec::new();
    let (mut asked, mut reached) = (0, 0);
    println!("{count} clients, {} sources up to /{} and /{}", sources.len(), lengths.v4, lengths.v6);
    println!("{:>20} {:<6} {:>8} {:>8} {:>8}", "name", "type", "asked", "reached", "answers");
    for (name, rtype, must, different) in QUESTIONS {
        let truth = Truth::ask(&signpost, name, *rtype, &sources);
        let mut clients = clients.clone();
        dice.shuffle(&mut clients);
        let before = signpost.queries();
        let answers = ask_all(unbound.address, clients.len(), |n, id| {
            let own = clients[n].sends.map(|length| net(clients[n].address, length));
            [proxy_header(clients[n].address), query(id, name, *rtype, own)].concat()
        });
        let through = signpost.queries() - before;
        (asked, reached) = (asked + clients.len(), reached + through);
        let found: BTreeSet<&Answer> = answers.iter().map(|(answer, _)| answer).collect();
        println!("{name:>20} {rtype:<6} {:>8} {through:>8} {:>8}", clients.len(), found.len());
        let given = clients.iter().zip(&answers).map(|(client, (answer, _))| (client.source(lengths), answer.clone())).collect();
        let refused = truth.refuse(*must, given);
        for (source, answer) in refused.iter().take(4) {
            let (expected, scope) = &truth.answers[source];
            wrong.push(format!("{name} {rtype} for {source}, one of {}: {answer:?}, not {expected:?} of scope {scope}", refused.len()));
        }
        if found.len() < *different {
            wrong.push(format!("{name} {rtype} has {} different answers, not {different}: {found:?}", found.len()));
        }
    }
    let ratio = reached as f64 / asked as f64;
    println!("{asked} queries, of which {reached} ({:.1} %) reached Signpost; {:.1?}", ratio * 100.0, begin.elapsed());
    assert!(wrong.is_empty(), "of {asked} answers some are wrong:\n{}", wrong.join("\n"));
    assert!(reached > 0 && ratio < share, "{reached} of {asked} queries reached Signpost: where was the cache?");
}

/// A server of the overlapping networks, with what is down and drained there.
fn start() -> Signpost {
    let signpost = Signpost::start(FILES);
    for (service, ids) in DOWN {
        for id in *ids {
            signpost.put(&format!("/v1/services/{service}/instances/{id}/status"), r#"{"status":"critical"}"#);
        }
    }
    for subject in DRAINED {
        signpost.put(&format!("/v1/drains/{subject}"), DRAIN);
    }
    PARTLY.iter().for_each(|subject| drain_partly(&signpost, subject));
    signpost
}

const DRAIN: &str = r#"{"reason":"power works","override":"nobody is served"}"#;

/// Drains, and stops the ramp that lifts it where a third to nine tenths of the clients are still without.
fn drain_partly(signpost: &Signpost, subject: &str) {
    let path = format!("/v1/drains/{subject}");
    let share = || {
        let list = signpost.get("/v1/drains");
        let found = list["drains"].as_array().and_then(|drains| drains.iter().find(|drain| drain["subject"] == subject)?["share"].as_f64());
        found.unwrap_or_default()
    };
    let stopped = (0..10).any(|_| {
        signpost.put(&path, DRAIN);
        signpost.delete(&format!("{path}?ramp=2s"));
        wait_until(Duration::from_secs(5), || share() < 90.0);
        signpost.post(&format!("{path}/pause"));
        share() > 33.0
    });
    assert!(stopped, "{subject} is never drained in part: {}", signpost.get("/v1/drains"));
}

/// An unbound that caches by subnet, on a port where a PROXY header stands before each query. It may keep as many subnets of a name as
/// there are clients (by default 100), and does not give up a server that a busy machine kept waiting.
fn unbound(signpost: &Signpost, lengths: Lengths) -> Peer {
    let built_with = run("unbound", &["-V"]);
    assert!(built_with.contains("subnetcache"), "this unbound has no subnet support:\n{built_with}");
    Peer::start("unbound", |folder, address| {
        let (at, port, Lengths { v4, v6 }) = (address.ip(), address.port(), lengths);
        let stub = |zone: &str| {
            let (ip, port) = (signpost.dns.ip(), signpost.dns.port());
            format!("stub-zone:\n  name: \"{zone}\"\n  stub-addr: {ip}@{port}\n  stub-first: no\n")
        };
        let config = format!(
            "server:\n  interface: {at}@{port}\n  port: {port}\n  proxy-protocol-port: {port}\n  directory: \"{folder}\"\n  \
             chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  log-queries: no\n  verbosity: 1\n  num-threads: 1\n  \
             access-control: 0.0.0.0/0 allow\n  access-control: ::/0 allow\n  do-ip6: no\n  do-not-query-localhost: no\n  \
             module-config: \"subnetcache iterator\"\n  local-zone: \"example.\" nodefault\n  minimal-responses: yes\n  \
             send-client-subnet: {at}\n  client-subnet-zone: \"example.\"\n  client-subnet-always-forward: yes\n  \
             max-client-subnet-ipv4: {v4}\n  max-client-subnet-ipv6: {v6}\n  max-ecs-tree-size-ipv4: 1000000\n  \
             max-ecs-tree-size-ipv6: 1000000\n  msg-cache-size: 256m\n  rrset-cache-size: 256m\n  \
             infra-host-ttl: 1\n  infra-keep-probing: yes\n{}{}\
             remote-control:\n  control-enable: no\n",
            stub("svc.example."),
            stub("else.example."),
            folder = folder.display(),
        );
        std::fs::write(folder.join("unbound.conf"), config).expect("a config file");
        vec!["-d".into(), "-p".into(), "-c".into(), folder.join("unbound.conf").display().to_string()]
    })
}

/// What Signpost itself answers about a name, source by source.
struct Truth<'q> {
    signpost: &'q Signpost,
    name: &'q str,
    rtype: RecordType,
    /// The answer of one query, and its scope.
    answers: BTreeMap<IpNet, (Answer, u8)>,
}

impl<'q> Truth<'q> {
    fn ask(signpost: &'q Signpost, name: &'q str, rtype: RecordType, sources: &BTreeSet<IpNet>) -> Truth<'q> {
        let mut truth = Truth { signpost, name, rtype, answers: BTreeMap::new() };
        let list: Vec<IpNet> = sources.iter().copied().collect();
        truth.answers = list.iter().copied().zip(truth.ask_for(&list)).collect();
        truth
    }

    fn ask_for(&self, sources: &[IpNet]) -> Vec<(Answer, u8)> {
        ask_all(self.signpost.dns, sources.len(), |n, id| query(id, self.name, self.rtype, Some(sources[n])))
    }

    /// The answers that are not what they must be, each for one source.
    fn refuse(&self, must: Must, mut given: BTreeSet<(IpNet, Answer)>) -> BTreeSet<(IpNet, Answer)> {
        given.retain(|(source, answer)| self.answers[source].0 != *answer);
        // Nothing has a probability of less than a tenth: what was not drawn in that many queries cannot be.
        let draws = if must == Must::BePossible { 300 } else { 0 };
        for _ in 0..draws {
            let sources: Vec<IpNet> = given.iter().map(|(source, _)| *source).collect();
            let drawn = self.ask_for(&sources);
            given = given.into_iter().zip(drawn).filter(|((_, answer), (drawn, _))| answer != drawn).map(|(given, _)| given).collect();
        }
        given
    }
}

/// `count` clients, most of which leave it to unbound to say where they are.
///
/// Longer ECS than unbound sends on is cut by it, but where it cuts within an octet, it takes the reply for somebody else's: it then asks
/// without, and serves that answer to all (1.17.1; `common_prefix` of its subnetmod.c compares whole octets). Nobody else can help that.
fn clients(dice: &mut Dice, lengths: Lengths, count: usize) -> Vec<Client> {
    let addresses = overlap::addresses(dice, count);
    let mut client = |address: IpAddr| {
        let (longest, bits) = if address.is_ipv4() { (lengths.v4, 32) } else { (lengths.v6, 128) };
        let sends = match dice.below(100) {
            0..=9 if longest.is_multiple_of(8) => Some(bits),
            0..=14 => Some(longest),
            15..=21 => Some(dice.below(longest.into()) as u8),
            // It wants nothing to be told of it (RFC 7871 §7.1.2).
            22..=23 => Some(0),
            _ => None,
        };
        Client { address, sends }
    };
    addresses.into_iter().map(&mut client).collect()
}
