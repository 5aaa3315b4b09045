//! Slots: whom a client settles on under `sticky`, found in a time that does not grow with the instances.
//!
//! Weighted rendezvous looks at every instance for every answer. Beyond [`FEW`] instances each has a slot of a table instead, and a client
//! has an order of its own in which it tries slots, each with a point between nothing and the table's scale: it settles on the first
//! instance that takes part in the answer and weighs more than the point. So each is found in proportion to its weight, and while the same
//! instances are registered a client moves only
//!
//! * from one that is out (down, drained, not of the level) to where its order leads next, and back to it once it is there again;
//! * to one whose weight grows, or from one whose weight shrinks.
//!
//! An instance's slot follows from the hash of its id: the first one of its own order that none of a lower hash has. At most half of the
//! slots are taken, so one that comes or goes moves, beside its own clients, those of less than one other on average. Only where the table
//! or its scale grows clients are dealt anew: most of them when the number of instances, in whatever state, passes 64, 256, 2048, 16384, …
//! (eightfold, so that it is rare), and half when the largest weight passes a power of two.
//!
//! A client tries as many slots as there are for each instance that takes part, 2 to 16 where all do, and less than double that for
//! weights below the scale.

use super::Member;
use super::hash::{mix, salt};
use crate::model::MAX_WEIGHT;

/// Up to so many instances are all looked at.
const FEW: usize = 64;
/// The smallest table has two to this many slots, each further one eight times as many.
const LEAST_BITS: u32 = 9;
/// So many slots are tried; where so little takes part that nobody is found by then, all instances are looked at.
const TRIES: u64 = 512;
/// A slot that nobody has.
const FREE: u32 = u32::MAX;

/// The table: in each slot the number of a member.
#[derive(Debug, Default)]
pub(super) struct Slots {
    members: Box<[u32]>,
    /// Bits of the scale: every weight, in hundredths, is less than two to this many, or equal.
    scale: u32,
}

impl Slots {
    /// The slots of these members; none where all are looked at.
    pub fn new(members: &[Member]) -> Slots {
        if members.len() <= FEW {
            return Slots::default();
        }
        let mut bits = LEAST_BITS;
        while members.len() > 1 << (bits - 1) {
            bits += 3;
        }
        let mut slots = vec![FREE; 1 << bits];
        let mut tried = vec![0u64; members.len()];
        for number in 0..members.len() as u32 {
            let mut placed = number;
            // Whoever has the lower hash keeps the slot, the other goes on: so it is the same in whatever order they come.
            while placed != FREE {
                let (seed, tries) = (members[placed as usize].seed, &mut tried[placed as usize]);
                let slot = &mut slots[(mix(seed, salt::PLACE + *tries) >> (u64::BITS - bits)) as usize];
                *tries += 1;
                let is_ours = *slot == FREE || (seed, placed) < (members[*slot as usize].seed, *slot);
                if is_ours {
                    std::mem::swap(slot, &mut placed);
                }
            }
        }
        let largest = members.iter().map(|member| member.weight.min(MAX_WEIGHT)).max().unwrap_or(0) * 100;
        Slots { members: slots.into(), scale: largest.max(1).next_power_of_two().ilog2() }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whom a client of this hash comes to, one after the other, each time with the weight, in hundredths, that is too little.
    pub fn tried(&self, client: u64) -> impl Iterator<Item = (u32, u64)> {
        let bits = self.members.len().max(2).ilog2();
        (0..TRIES).filter_map(move |n| {
            let hash = mix(client, salt::TRY + n);
            let member = *self.members.get((hash >> (u64::BITS - bits)) as usize)?;
            // The slot is told by the upper bits, the point by the lower half.
            (member != FREE).then_some((member, (hash & u64::from(u32::MAX)) << self.scale >> 32))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, members};
    use super::super::{Filter, Need, Pool, ServiceId, Silent, Standing, Start, World, decide, pick};
    use super::*;
    use crate::model::Share;
    use crate::routing::{Choice, LocalityId, Origins, Places};

    /// A world of one `sticky` service.
    struct One<'a>(&'a Fixture, Pool);

    impl World for One<'_> {
        fn pool(&self, _: ServiceId) -> Option<&Pool> {
            Some(&self.1)
        }
        fn out(&self, locality: LocalityId) -> crate::model::Out {
            self.0.out(locality)
        }
        fn is_serving(&self) -> bool {
            self.0.is_serving()
        }
        fn places(&self) -> &Places {
            &self.0.places
        }
        fn origins(&self) -> &Origins {
            self.0.origins()
        }
    }

    const CLIENTS: u32 = 20_000;

    /// Whom each client settles on, by the seed, which says who it is whatever its number.
    fn settled(fixture: &Fixture, list: &[Member], filter: Filter<'_>) -> Vec<u64> {
        let tree = fixture.service_tree(r#"{"policy":"sticky"}"#);
        let world = One(fixture, Pool::build(tree, list, &fixture.places));
        let settle = |n: u32| {
            let client = std::net::Ipv4Addr::from(10 << 24 | n << 8).into();
            let decision = decide(&world, Start::Service(ServiceId(0), &filter), client, n.into(), 0, &mut Silent);
            let Some(Choice::Instances(selection)) = decision.tiers[0] else { panic!("{decision:?}") };
            let mut found = Vec::new();
            pick(&world, &selection, Need::ANY, 8, n.into(), |picked| found.push(list[picked.member as usize].seed));
            assert_eq!((found.len(), decision.scope), (1, 24));
            found[0]
        };
        (0..CLIENTS).map(settle).collect()
    }

    fn crowd(fixture: &Fixture, count: usize) -> Vec<Member> {
        let text: Vec<String> = (0..count)
            .map(|n| format!("{}/{}:h*{}#{}", ["eu", "us"][n % 2], 1 + n / 2 % 2, 50 + n % 3 * 25, ["a", "b"][n % 7 / 6]))
            .collect();
        members(&fixture.places, &text.join(" "))
    }

    /// The part of the clients that moved, but for those that `may`, in percent.
    fn moved(before: &[u64], after: &[u64], may: impl Fn(u64, u64) -> bool) -> f64 {
        let moved = before.iter().zip(after).filter(|(from, to)| from != to && !may(**from, **to)).count();
        100.0 * moved as f64 / f64::from(CLIENTS)
    }

    #[test]
    fn each_is_settled_on_in_proportion_to_its_weight() {
        let fixture = Fixture::crowd(&[]);
        for count in [65, 100, 600] {
            let list = crowd(&fixture, count);
            let total: u32 = list.iter().map(|member| member.weight).sum();
            let found = settled(&fixture, &list, Filter::default());
            let error: f64 = list
                .iter()
                .map(|member| {
                    let (count, share) = (found.iter().filter(|seed| **seed == member.seed).count() as f64, f64::from(member.weight));
                    let expected = share / f64::from(total) * f64::from(CLIENTS);
                    (count - expected).powi(2) / expected
                })
                .sum();
            // Chi-squared, of as many degrees less one: within five deviations.
            assert!(error < count as f64 + 5.0 * (2.0 * count as f64).sqrt(), "{count}: {error}");
        }
    }

    #[test]
    fn whoever_goes_takes_none_but_its_own_clients_along() {
        let fixture = Fixture::crowd(&[]);
        let list = crowd(&fixture, 300);
        let before = settled(&fixture, &list, Filter::default());
        assert_eq!(settled(&fixture, &list, Filter::default()), before, "the same for every query, whatever is drawn");
        let one = list[17].seed;
        let with = |change: &dyn Fn(&mut Member)| {
            let mut list = list.clone();
            change(&mut list[17]);
            settled(&fixture, &list, Filter::default())
        };
        let from_it = |from: u64, _: u64| from == one;
        let gone = [
            with(&|member| member.standing = Standing::Unhealthy),
            with(&|member| member.standing = Standing::Drained),
            with(&|member| member.weight = 0),
        ];
        for after in &gone {
            assert!(moved(&before, after, from_it) == 0.0 && after.iter().all(|to| *to != one));
        }
        assert_eq!(gone[0], gone[1], "whatever the reason");
        assert_eq!(moved(&before, &with(&|member| member.weight /= 2), from_it), 0.0);
        assert_eq!(moved(&before, &with(&|member| member.warmth = 10), from_it), 0.0);
        assert_eq!(moved(&before, &with(&|member| member.out = Share::of(0.5)), from_it), 0.0);
        assert_eq!(moved(&before, &with(&|member| member.weight += 20), |_, to| to == one), 0.0);
        // A tag that few bear, and a place: those who are on one that fits stay there.
        let tagged = |seed: u64| list.iter().any(|member| member.seed == seed && member.tags[0].as_str() == "b");
        let after = settled(&fixture, &list, Filter::default().with_tag(b"b"));
        assert!(after.iter().all(|to| tagged(*to)) && moved(&before, &after, |from, _| !tagged(from)) == 0.0);
    }

    #[test]
    fn whoever_registers_or_leaves_moves_few_others() {
        let fixture = Fixture::crowd(&[]);
        let mut list = crowd(&fixture, 200);
        let mut before = settled(&fixture, &list, Filter::default());
        let mut others = 0.0;
        for _ in 0..20 {
            let one = list.swap_remove(3).seed;
            let after = settled(&fixture, &list, Filter::default());
            others += moved(&before, &after, |from, _| from == one);
            before = after;
        }
        // Each has half a percent of the clients: 10 % went with those 20.
        assert!(others < 10.0, "{others} % moved beside them");
    }

    #[test]
    fn where_hardly_anybody_takes_part_all_are_looked_at() {
        let fixture = Fixture::crowd(&[]);
        let mut list = crowd(&fixture, 3000);
        list.iter_mut().skip(2).for_each(|member| member.standing = Standing::Unhealthy);
        let found = settled(&fixture, &list, Filter::default());
        let first = found.iter().filter(|seed| **seed == list[0].seed).count() as f64;
        assert!(found.iter().all(|seed| [list[0].seed, list[1].seed].contains(seed)));
        assert!((first / f64::from(CLIENTS) - 0.4).abs() < 0.02, "{first} of weight 50 beside 75");
    }
}
