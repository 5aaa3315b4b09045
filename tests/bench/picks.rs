//! Nanoseconds to decide and to pick, by policy and by how many instances a service has, and to compile it: `cargo bench --bench picks`.
//! No reply is parsed or written.
#![allow(clippy::disallowed_methods)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use signpost::model::{Geo, Label, Locality, Out, Policy, PolicyKind, Share};
use signpost::routing::{
    Against, Choice, Filter, LocalityId, Member, Need, Origins, Places, Pool, ServiceId, Silent, Standing, Start, Tree, Views, World,
    decide, pick, seed_of,
};

/// A world of one service, whose clients are all of unknown place.
struct One {
    places: Places,
    origins: Origins,
    pool: Pool,
}

impl World for One {
    fn pool(&self, _: ServiceId) -> Option<&Pool> {
        Some(&self.pool)
    }

    fn out(&self, _: LocalityId) -> Out {
        Out::SERVING
    }

    fn is_serving(&self) -> bool {
        true
    }

    fn places(&self) -> &Places {
        &self.places
    }

    fn origins(&self) -> &Origins {
        &self.origins
    }
}

fn main() {
    println!("{:<12} {:>8} {:>10} {:>8} {:>14}", "policy", "members", "ns/answer", "picked", "compiled in µs");
    for kind in [PolicyKind::Nearest, PolicyKind::Weighted, PolicyKind::Multivalue, PolicyKind::Sticky] {
        for count in [4, 64, 100, 1000, 10_000] {
            row(kind, count);
        }
    }
}

fn row(kind: PolicyKind, count: usize) {
    let label = |text: &str| Label::parse(text).unwrap();
    let locality = |n: usize| Locality { region: label(["eu", "us"][n % 2]), az: label("a") };
    let geo = Geo::default();
    let places = Places::new(&geo, (0..2).map(locality));
    let origins = Origins::build(&places, &geo);
    let policy = Policy { kind, ..Policy::default() };
    let tree = || {
        let mut against = Against { places: &places, origins: &origins, views: &mut Views::default() };
        Tree::compile(&policy, b"web", &mut against, &mut |_| None).unwrap()
    };
    let member = |n: usize| Member {
        locality: places.locality(&locality(n)).unwrap(),
        weight: 1 + n as u32 % 4,
        warmth: 100,
        standing: Standing::Healthy,
        out: Share::NONE,
        seed: seed_of(format!("i{n}").as_bytes()),
        has: Need::V4,
        steady_ms: 1000,
        tags: Vec::new(),
    };
    let members: Vec<Member> = (0..count).map(member).collect();
    let mut compiled = Duration::MAX;
    for _ in 0..10 {
        let begin = Instant::now();
        let pool = Pool::build(tree(), &members, &places);
        compiled = compiled.min(begin.elapsed());
        drop(pool);
    }
    let pool = Pool::build(tree(), &members, &places);
    let world = One { places, origins, pool };
    let clients: Vec<IpAddr> = (0..2000u32).map(|n| std::net::Ipv4Addr::from(10 << 24 | n << 8).into()).collect();
    let (mut best, mut picked) = (Duration::MAX, 0u64);
    for _ in 0..20 {
        let (begin, mut draw) = (Instant::now(), 7u64);
        picked = 0;
        for client in &clients {
            draw = draw.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let decision = decide(&world, Start::Service(ServiceId(0), &Filter::ALL), *client, draw, 0, &mut Silent);
            if let Some(Choice::Instances(selection)) = &decision.tiers[0] {
                pick(&world, selection, Need::V4, 8, draw, |_| picked += 1);
            }
        }
        best = best.min(begin.elapsed());
    }
    let queries = clients.len() as f64;
    println!(
        "{:<12} {count:>8} {:>10.1} {:>8.1} {:>14.1}",
        kind.to_string(),
        best.as_nanos() as f64 / queries,
        picked as f64 / queries,
        compiled.as_nanos() as f64 / 1000.0
    );
}
