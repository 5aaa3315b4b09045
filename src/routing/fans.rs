//! An index over sorted addresses: where to look for one of them, in a few steps however many there are and however they are crowded.
//!
//! The first 16 bits of an address lead to those that begin with them: that is enough for IPv4. Of IPv6 most begin as a few registries'
//! blocks do; there a fan divides them by as many further bits as leave a few in each of its slots, from the first bit on that they do not
//! have in common; and so on. It is a trie with level and path compression (Nilsson and Karlsson 1999) above a flat table, and hardly ever deeper
//! than two: what is left is a short binary search, which is faster than a further fan.

use super::prefixes::Address;

/// From so many addresses on, the index by 16 bits (256 KiB) is worth its cache lines.
const INDEXED: usize = 1024;
/// So many addresses in a slot are crowded.
const CROWDED: usize = 256;
/// Bits of the first fan, and most of any other.
const BITS: u8 = 16;
/// An entry that is the number of a fan.
const FAN: u32 = 1 << 31;

/// The index.
#[derive(Debug)]
pub(super) struct Index<A: Address> {
    /// For each slot of each fan, how many addresses of all lie below it, or its own fan; and behind the slots of each fan where they end.
    /// Those of the first fan, over everything, stand first; none where there are few addresses.
    slots: Box<[u32]>,
    /// The fans but the first one.
    fans: Box<[Fan<A::Head>]>,
}

#[derive(Debug)]
struct Fan<H> {
    /// The lowest of its addresses.
    lowest: H,
    /// How many first bits they have in common.
    skip: u8,
    bits: u8,
    /// Its first slot.
    base: u32,
    /// Its addresses, by their places.
    first: u32,
    end: u32,
}

impl<A: Address> Index<A> {
    /// The index of these heads of addresses, which are sorted; there are fewer than 2³¹.
    pub fn new(heads: &[A::Head]) -> Index<A> {
        let mut builder = Builder::<A> { heads, fans: Vec::new(), slots: Vec::new() };
        if heads.len() >= INDEXED {
            builder.divide(0, heads.len(), 0, BITS);
        }
        Index { slots: builder.slots.into(), fans: builder.fans.into() }
    }

    /// A range of places in which, or directly behind it, the first head above `head` stands. `count` is how many there are.
    #[inline]
    pub fn range(&self, head: A::Head, count: usize) -> (usize, usize) {
        if self.slots.is_empty() {
            return (0, count);
        }
        let mut slot = A::part(head, 0, BITS);
        loop {
            let (here, next) = (self.slots[slot], self.slots[slot + 1]);
            if !A::LONG || here & FAN == 0 {
                return (here as usize, if !A::LONG || next & FAN == 0 { next } else { self.fan(next).first } as usize);
            }
            let fan = self.fan(here);
            if A::common(head, fan.lowest) < fan.skip {
                let outside = if head < fan.lowest { fan.first } else { fan.end } as usize;
                return (outside, outside);
            }
            slot = fan.base as usize + A::part(head, fan.skip, fan.bits);
        }
    }

    /// Whether there are slots at all.
    #[cfg(test)]
    pub fn is_divided(&self) -> bool {
        !self.slots.is_empty()
    }

    #[cfg(test)]
    pub fn fans(&self) -> usize {
        self.fans.len()
    }

    fn fan(&self, entry: u32) -> &Fan<A::Head> {
        &self.fans[(entry & !FAN) as usize]
    }
}

struct Builder<'a, A: Address> {
    heads: &'a [A::Head],
    fans: Vec<Fan<A::Head>>,
    slots: Vec<u32>,
}

impl<A: Address> Builder<'_, A> {
    /// Divides the addresses of these places, which have the first `skip` bits in common, by further bits; returns the first slot.
    fn divide(&mut self, first: usize, end: usize, skip: u8, bits: u8) -> u32 {
        let base = self.slots.len();
        self.slots.resize(base + (1 << bits) + 1, end as u32);
        let mut at = first;
        for slot in 0..1 << bits {
            let from = at;
            while at < end && A::part(self.heads[at], skip, bits) == slot {
                at += 1;
            }
            // Heads that are all equal cannot be divided.
            let crowded = A::LONG && at - from > CROWDED && self.heads[from] != self.heads[at - 1];
            self.slots[base + slot] = if crowded { FAN | self.fan(from, at) } else { from as u32 };
        }
        base as u32
    }

    /// Makes the fan of the addresses of these places; returns its number. It is no deeper than a head has bits, for each fan takes one
    /// at least.
    fn fan(&mut self, first: usize, end: usize) -> u32 {
        let lowest = self.heads[first];
        let skip = A::common(lowest, self.heads[end - 1]);
        let left = A::common(lowest, lowest) - skip;
        let bits = ((end - first).ilog2() as u8 - 1).min(BITS).min(left);
        let number = self.fans.len();
        self.fans.push(Fan { lowest, skip, bits, base: 0, first: first as u32, end: end as u32 });
        self.fans[number].base = self.divide(first, end, skip, bits);
        number as u32
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::mix;
    use super::super::prefixes::Table;
    use super::*;

    /// Looks addresses up in a table of these starts, beside them and all over, and compares with a search through all starts.
    fn check<A: Address + std::fmt::Debug>(mut starts: Vec<A>, others: impl Iterator<Item = A>, fans: usize) {
        starts.push(A::default());
        starts.sort();
        starts.dedup();
        let table = Table::merged(starts.iter().enumerate().map(|(n, start)| (*start, n as u32)));
        assert!(table.fans() >= fans, "{} fans", table.fans());
        let step = |address: A, by: i8| A::from_wide(address.wide().wrapping_add_signed(by.into()).min(A::MAX.wide()));
        let beside: Vec<A> = starts.iter().flat_map(|start| [step(*start, -1), *start, step(*start, 1)]).collect();
        for address in beside.into_iter().chain(others) {
            let expected = starts.partition_point(|start| *start <= address) - 1;
            assert_eq!(table.find(address).0 as usize, expected, "{address:?}");
        }
    }

    #[test]
    fn an_index_finds_what_a_search_through_all_finds() {
        let random = |salt: u64| (0..20_000u64).map(move |n| mix(n, salt));
        check::<u32>(random(1).map(|n| n as u32).collect(), random(2).map(|n| n as u32), 0);
        check::<u32>(random(1).map(|n| 10 << 24 | (n as u32 & 0x1fff)).collect(), random(2).map(|n| n as u32), 0);
        // A few registries' blocks, in each a few providers', in those many networks; and some that differ in their last bits only.
        let crowded = |n: u64| {
            let block = [0x2001u128, 0x2400, 0x2a00, 0x2a02][(n % 4) as usize] << 112;
            block | u128::from(n >> 8 & 7) << 96 | u128::from(n >> 16 & 0xffff) << 80
        };
        let last = |n: u64| 0x2a02_0001u128 << 96 | u128::from(n % 5000);
        let starts = random(3).map(crowded).chain(random(4).map(last)).chain((0..3000).map(|n| n << 32)).collect();
        check::<u128>(starts, random(5).map(crowded).map(|a| a | 7 << 70).chain(random(6).map(|n| u128::from(n) << 64)), 10);
    }
}
