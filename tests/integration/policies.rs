//! The example of all policies (`examples/policies`): each name answers each client as its comment says.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use signpost::config;
use signpost::control::Writer;
use signpost::model::{Counters, Revision, Timestamp};
use signpost::wire::{self, Outcome, Query, Transport, Worker};

use crate::message::{Question, render, summary};

/// Clients of the example: in Massachusetts, in Britain with AS64500, in both parts of 10/8, and one of whom nothing is known.
const CLIENTS: [&str; 5] = ["198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/24", "10.1.0.0/24", "192.0.2.0/24"];

#[test]
fn every_name_of_the_example_answers_each_client_as_its_comment_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies/signpost.toml");
    let settings = config::settings(Some(&file), &Default::default()).unwrap();
    let world = config::world(&settings).unwrap();
    let names: BTreeSet<String> = world.zones[0].names.keys().map(ToString::to_string).collect();
    let writer = Writer::<()>::begin((Revision(0), Vec::new()), world.zones, world.geo, &settings.dns, Timestamp(0)).unwrap();
    let snapshot = writer.snapshot().clone();
    let mut worker = Worker::new(7, Arc::new(Counters::default()));
    let mut ask = |name: &str, client: &str| {
        let question = Question::parse(&format!("{name}.policies.example A ecs={client}"));
        let bytes = question.bytes();
        let peer = SocketAddr::new(question.from, 40_000);
        let mut reply = vec![0; 65_535];
        // Enough draws for a branch of 5 % to come up, whatever the worker draws.
        let mut answers = BTreeSet::new();
        // A draw may lead to a branch that is the same for everybody; the longest scope is that of the others.
        let mut longest = 0;
        for _ in 0..400 {
            let Outcome::Reply(length) =
                wire::answer(&snapshot, &mut worker, &Query { bytes: &bytes, peer, transport: Transport::Udp, now_ms: 0 }, &mut reply)
            else {
                panic!("{name} is answered")
            };
            answers.insert(summary(&reply[..length]).replace("A 192.0.2.", ".").replace("CNAME ", ""));
            let line = render(&reply[..length], &question).swap_remove(0);
            let scope =
                line.split_whitespace().find_map(|word| word.strip_prefix("scope=")).map_or(0, |scope| scope.parse::<u8>().unwrap());
            longest = longest.max(scope);
        }
        format!("{}/{longest}", answers.into_iter().collect::<Vec<_>>().join(" | "))
    };
    // Boston is .11 and .12, of which .11 is the canary; London is .21 and .22; Sydney .41. Behind the slash: the scope.
    let boston = |scope| format!(".11, .12/{scope}");
    let london = |scope| format!(".21, .22/{scope}");
    let either = |scope| format!(".11, .12 | .21, .22/{scope}");
    let every = |scope| format!(".11, .12, .21, .22/{scope}");
    let one = |answer: &str, scope| format!("{answer}/{scope}");
    let cases: [(&str, [String; 5]); 13] = [
        ("first", [boston(24), boston(24), boston(1), boston(1), boston(6)]),
        ("any", [either(24), either(24), either(1), either(1), either(6)]),
        (
            "beta",
            [
                one(".11 | .11, .12", 24),
                one(".11 | .21, .22", 24),
                one(".11 | .11, .12, .21, .22", 1),
                one(".11 | .11, .12, .21, .22", 1),
                one(".11 | .11, .12, .21, .22", 6),
            ],
        ),
        // Hashes: never less than the prefix that is hashed.
        ("trial", [boston(24), london(24), every(24), every(24), every(24)]),
        ("api", [boston(24), boston(24), boston(1), boston(1), boston(6)]),
        // For clients of unknown place: in the order written.
        ("fast", [boston(24), london(24), boston(1), boston(1), boston(6)]),
        // For clients of unknown place: any.
        ("near", [boston(24), london(24), either(1), either(1), either(6)]),
        ("shop", [boston(24), london(24), every(1), every(1), every(6)]),
        (
            "proximity",
            [
                boston(24),
                london(24),
                one(".11, .12 | .21, .22 | .41", 1),
                one(".11, .12 | .21, .22 | .41", 1),
                one(".11, .12 | .21, .22 | .41", 6),
            ],
        ),
        // 10.1/16 is cut out of 10/8, so 10.0/16 is the largest prefix beside it.
        ("office", [boston(24), london(24), london(16), boston(16), every(6)]),
        ("peering", [boston(24), london(24), every(1), every(1), every(6)]),
        ("www", [boston(24), london(24), one("www.cdn.example.net.", 1), one("www.cdn.example.net.", 1), one("www.cdn.example.net.", 6)]),
        (
            "alias",
            [
                either(24),
                london(24),
                one(".11, .12, .21, .22 | .21, .22", 1),
                one(".11, .12, .21, .22 | .21, .22", 1),
                one(".11, .12, .21, .22 | .21, .22", 6),
            ],
        ),
    ];
    let mut wrong = String::new();
    for (name, expected) in &cases {
        for (client, expected) in CLIENTS.iter().zip(expected) {
            let found = ask(name, client);
            if found != *expected {
                wrong += &format!("{name} for {client}:\n  - {expected}\n  + {found}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(
        cases.map(|(name, _)| format!("{name}.policies.example.")).into_iter().collect::<BTreeSet<_>>(),
        names,
        "every name is asked"
    );
}
