//! The same random zones, the same random queries, the same answers as NSD and Knot.
//!
//! `SIGNPOST_DIFFERENTIAL_SEED` looks elsewhere, `SIGNPOST_DIFFERENTIAL_ROUNDS` looks longer,
//! `SIGNPOST_DIFFERENTIAL_SHRINK=1` makes what is found small.

mod compare;
mod data;
mod excuses;
mod lab;
mod message;
mod peers;
mod queries;
mod random;
mod shrink;
mod tally;
mod zones;

use lab::Lab;
use random::Random;
use tally::Tally;
use zones::Family;

/// Families of one round, each with so many queries.
const FAMILIES: usize = 200;
const QUERIES: usize = 600;
/// What the issue asks for, of each round.
const LEAST_CASES: usize = 100_000;

fn from_environment(key: &str, default: u64) -> u64 {
    match std::env::var(key) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{key} is a whole number, not {text:?}")),
        Err(_) => default,
    }
}

#[test]
fn random_zones_are_answered_as_nsd_and_knot_answer_them() {
    let seed = from_environment("SIGNPOST_DIFFERENTIAL_SEED", 20_261_121);
    let rounds = from_environment("SIGNPOST_DIFFERENTIAL_ROUNDS", 1);
    let mut tally = Tally::default();
    for round in 0..rounds {
        run(seed.wrapping_add(round), &mut tally);
    }
    println!("seed {seed}, rounds {rounds}\n{tally}");
    let (differences, told, cases, missing) = (tally.differences(), tally.told().to_string(), tally.cases, tally.missing());
    if from_environment("SIGNPOST_DIFFERENTIAL_SHRINK", 0) == 1 {
        for subject in tally.into_subjects() {
            println!("\n--- small: {}", subject.kind);
            println!("{}", subject.shrink());
        }
    }
    assert_eq!(differences, 0, "seed {seed}: {told}");
    assert!(missing.is_empty(), "hardly ever seen: {missing:?}");
    assert!(cases >= LEAST_CASES * rounds as usize, "only {cases} cases");
}

/// One round: other zones, other queries.
fn run(seed: u64, tally: &mut Tally) {
    let families: Vec<Family> = (0..FAMILIES).map(|n| Family::random(&mut Random::new(seed, 1 + n as u64))).collect();
    let lab = Lab::start(&families);
    let mut queries = Vec::new();
    for (n, family) in lab.families().iter().enumerate() {
        match family {
            Ok(known) => {
                let records: Vec<_> = known.zones.iter().flat_map(|zone| zone.records.iter().cloned()).collect();
                let mut random = Random::new(seed, 1_000_000 + n as u64);
                let of_family = queries::random(&mut random, &known.zones[0].apex, &records, QUERIES);
                queries.extend(of_family.into_iter().map(|query| (n, query)));
            }
            Err(refusal) => tally.note_refusal(seed, &families[n], n, refusal),
        }
    }
    let asked: Vec<_> = queries.iter().map(|(n, query)| (*n, query)).collect();
    for case in lab.ask(&asked) {
        let Ok(known) = &lab.families()[case.family] else { continue };
        let judgement = lab.judge(&case, known);
        tally.note(seed, &families[case.family], &case, &judgement, known);
    }
}
