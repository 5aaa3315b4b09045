//! Prefixes: overlapping ones go in, a table of disjoint ones comes out, for one address family ([`Table`]) or both ([`Prefixes`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::fans::Index;

/// An address as a number.
pub(super) trait Address: Copy + Ord + Default {
    /// Its bits.
    const BITS: u8;
    const MAX: Self;
    /// What is searched for: the upper half of IPv6, where nearly all prefixes end, as it is compared in one step.
    type Head: Copy + Ord + std::fmt::Debug;
    /// Whether there is more to an address than its head.
    const LONG: bool;
    fn from_wide(wide: u128) -> Self;
    fn wide(self) -> u128;
    fn head(self) -> Self::Head;
    /// What stands behind the head.
    fn tail(self) -> u64;
    fn joined(head: Self::Head, tail: u64) -> Self;
    /// `bits` bits of a head behind the first `skip`; 1 to 32 of them, and no more than there are.
    fn part(head: Self::Head, skip: u8, bits: u8) -> usize;
    /// How many first bits two heads have in common.
    fn common(one: Self::Head, other: Self::Head) -> u8;
}

impl Address for u32 {
    const BITS: u8 = 32;
    const MAX: u32 = u32::MAX;
    type Head = u32;
    const LONG: bool = false;
    fn from_wide(wide: u128) -> u32 {
        wide as u32
    }
    fn wide(self) -> u128 {
        self.into()
    }
    #[inline]
    fn head(self) -> u32 {
        self
    }
    #[inline]
    fn tail(self) -> u64 {
        0
    }
    fn joined(head: u32, _: u64) -> u32 {
        head
    }
    #[inline]
    fn part(head: u32, skip: u8, bits: u8) -> usize {
        ((head << skip) >> (32 - bits)) as usize
    }
    #[inline]
    fn common(one: u32, other: u32) -> u8 {
        (one ^ other).leading_zeros() as u8
    }
}

impl Address for u128 {
    const BITS: u8 = 128;
    const MAX: u128 = u128::MAX;
    type Head = u64;
    const LONG: bool = true;
    fn from_wide(wide: u128) -> u128 {
        wide
    }
    fn wide(self) -> u128 {
        self
    }
    #[inline]
    fn head(self) -> u64 {
        (self >> 64) as u64
    }
    #[inline]
    fn tail(self) -> u64 {
        self as u64
    }
    fn joined(head: u64, tail: u64) -> u128 {
        u128::from(head) << 64 | u128::from(tail)
    }
    #[inline]
    fn part(head: u64, skip: u8, bits: u8) -> usize {
        ((head << skip) >> (64 - bits)) as usize
    }
    #[inline]
    fn common(one: u64, other: u64) -> u8 {
        (one ^ other).leading_zeros() as u8
    }
}

/// Disjoint prefixes that together are everything, sorted, each with a number.
#[derive(Debug)]
pub(super) struct Table<A: Address> {
    /// The first address of each prefix; the first one is 0.
    heads: Box<[A::Head]>,
    /// What stands behind the heads; empty where that is nothing.
    tails: Box<[u64]>,
    /// The number and the length of each prefix.
    leaves: Box<[(u32, u8)]>,
    index: Index<A>,
}

impl<A: Address> Default for Table<A> {
    /// Everything is number 0.
    fn default() -> Table<A> {
        Table::new(vec![A::default()], vec![(0, 0)])
    }
}

impl<A: Address> Table<A> {
    /// The number of the prefix that holds `address`, and its length.
    #[inline]
    pub fn find(&self, address: A) -> (u32, u8) {
        // The last start that is not above the address; the first start of all is 0, so there is one.
        let head = address.head();
        let (from, to) = self.index.range(head, self.heads.len());
        let mut at = (from + self.heads[from..to].partition_point(|known| *known <= head)).saturating_sub(1);
        if A::LONG && self.tails.get(at).is_some_and(|tail| *tail > address.tail()) && self.heads[at] == head {
            let first = self.heads[..at].partition_point(|known| *known < head);
            at = (first + self.tails[first..at].partition_point(|tail| *tail <= address.tail())).saturating_sub(1);
        }
        self.leaves[at]
    }

    /// How many fans its index has.
    #[cfg(test)]
    pub fn fans(&self) -> usize {
        self.index.fans()
    }

    fn start(&self, at: usize) -> Option<A> {
        Some(A::joined(*self.heads.get(at)?, self.tails.get(at).copied().unwrap_or_default()))
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// First address, length and number of each prefix, in the order of addresses.
    pub fn leaves(&self) -> impl Iterator<Item = (A, u8, u32)> {
        (0..self.len()).filter_map(|at| self.start(at)).zip(&self.leaves).map(|(start, (number, length))| (start, *length, *number))
    }

    /// The table of consecutive pieces: the first address of each, in order, and its number. The first piece begins at 0 and each ends
    /// where the next one begins. Neighbours of equal number are joined, and what results is cut into the fewest prefixes.
    pub fn merged(pieces: impl Iterator<Item = (A, u32)>) -> Table<A> {
        let mut merged = Pieces::with_capacity(pieces.size_hint().0);
        let mut before: Option<(A, u32)> = None;
        for (start, number) in pieces {
            if let Some((first, number)) = before {
                merged.add(first, A::from_wide(start.wide().saturating_sub(1)), number);
            }
            before = Some((start, number));
        }
        if let Some((first, number)) = before {
            merged.add(first, A::MAX, number);
        }
        merged.table()
    }

    /// The same addresses under other numbers; what is equal then is joined.
    fn renumbered(&self, mut number: impl FnMut(u32) -> u32) -> Table<A> {
        let mut pieces = Pieces::with_capacity(self.len());
        let mut from = 0;
        while let Some((first, _)) = self.leaves.get(from) {
            let new = number(*first);
            let (mut to, mut alike) = (from + 1, true);
            while let Some((old, _)) = self.leaves.get(to)
                && (*old == self.leaves[to - 1].0 || number(*old) == new)
            {
                alike &= old == first;
                to += 1;
            }
            if alike {
                // Already cut into the fewest.
                pieces.starts.extend((from..to).filter_map(|at| self.start(at)));
                pieces.leaves.extend(self.leaves[from..to].iter().map(|(_, length)| (new, *length)));
            } else {
                let last = self.start(to).map_or(A::MAX, |next| A::from_wide(next.wide() - 1));
                pieces.add(self.start(from).unwrap_or_default(), last, new);
                pieces.cut();
            }
            from = to;
        }
        pieces.table()
    }

    /// Both tables as one: each address has the number that `join` makes of its two.
    fn joined(&self, other: &Table<A>, mut join: impl FnMut(u32, u32) -> u32) -> Table<A> {
        let (mut a, mut b) = (0, 0);
        let mut done = false;
        let pieces = std::iter::from_fn(|| {
            if done {
                return None;
            }
            // Both prefixes hold the later of their starts.
            let start = self.start(a)?.max(other.start(b)?);
            let number = join(self.leaves[a].0, other.leaves[b].0);
            match (self.start(a + 1), other.start(b + 1)) {
                (None, None) => done = true,
                (Some(_), None) => a += 1,
                (None, Some(_)) => b += 1,
                (Some(x), Some(y)) => {
                    a += usize::from(x <= y);
                    b += usize::from(y <= x);
                }
            }
            Some((start, number))
        });
        Table::merged(pieces)
    }

    fn new(starts: Vec<A>, leaves: Vec<(u32, u8)>) -> Table<A> {
        let heads: Box<[A::Head]> = starts.iter().map(|start| start.head()).collect();
        let tails = match starts.iter().any(|start| start.tail() != 0) {
            true => starts.iter().map(|start| start.tail()).collect(),
            false => Box::default(),
        };
        let index = Index::new(&heads);
        Table { heads, tails, leaves: leaves.into(), index }
    }
}

/// Prefixes that may lie within each other.
#[derive(Debug)]
pub(super) struct Covering<A> {
    /// First address, length, and the number of its source.
    prefixes: Vec<(A, u8, u32)>,
}

impl<A> Default for Covering<A> {
    fn default() -> Covering<A> {
        Covering { prefixes: Vec::new() }
    }
}

/// A prefix that is open.
struct Open<A, S> {
    last: A,
    state: S,
    /// The number of the state, once it was asked for.
    number: Option<u32>,
}

impl<A: Address> Covering<A> {
    /// Adds a prefix.
    pub fn add(&mut self, (start, length): (A, u8), source: usize) {
        self.prefixes.push((start, length, source as u32));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Goes over all addresses once. `cover` makes the state within a prefix from that around it; of equal prefixes the later source lies
    /// within the earlier one. `number` is asked once for each state that holds anywhere.
    pub fn sweep<S>(mut self, around: S, cover: impl Fn(&S, usize) -> S, mut number: impl FnMut(&S) -> u32) -> Table<A> {
        // A database comes sorted, which this sort notices.
        self.prefixes.sort();
        let mut pieces = Pieces::with_capacity(self.prefixes.len() + 1);
        let mut open = vec![Open { last: A::MAX, state: around, number: None }];
        let mut next = Some(A::default());
        for (start, length, source) in self.prefixes {
            close(&mut open, &mut next, start, &mut pieces, &mut number);
            let Some(around) = open.last() else { break };
            let state = cover(&around.state, source as usize);
            open.push(Open { last: A::from_wide(last(start, length)), state, number: None });
        }
        while let Some(top) = open.pop() {
            emit(top, &mut next, &mut pieces, &mut number);
        }
        pieces.table()
    }
}

/// Closes what ends before `start`, and emits what lies before it.
fn close<A: Address, S>(
    open: &mut Vec<Open<A, S>>,
    next: &mut Option<A>,
    start: A,
    pieces: &mut Pieces<A>,
    number: &mut impl FnMut(&S) -> u32,
) {
    while let Some(top) = open.pop_if(|top| top.last < start) {
        emit(top, next, pieces, number);
    }
    if let (Some(top), Some(first)) = (open.last_mut(), *next)
        && first < start
    {
        let number = *top.number.get_or_insert_with(|| number(&top.state));
        pieces.add(first, A::from_wide(start.wide() - 1), number);
        *next = Some(start);
    }
}

/// Emits the rest of an open prefix.
fn emit<A: Address, S>(top: Open<A, S>, next: &mut Option<A>, pieces: &mut Pieces<A>, number: &mut impl FnMut(&S) -> u32) {
    if let Some(first) = next.filter(|first| *first <= top.last) {
        pieces.add(first, top.last, top.number.unwrap_or_else(|| number(&top.state)));
        *next = (top.last < A::MAX).then(|| A::from_wide(top.last.wide() + 1));
    }
}

/// Consecutive pieces of the address space.
struct Pieces<A> {
    /// As in [`Table`].
    starts: Vec<A>,
    leaves: Vec<(u32, u8)>,
    /// The piece at the end, which may grow: first and last address, and number.
    run: Option<(A, A, u32)>,
}

impl<A: Address> Pieces<A> {
    fn with_capacity(capacity: usize) -> Pieces<A> {
        Pieces { starts: Vec::with_capacity(capacity), leaves: Vec::with_capacity(capacity), run: None }
    }

    fn table(mut self) -> Table<A> {
        self.cut();
        Table::new(self.starts, self.leaves)
    }

    fn add(&mut self, first: A, last: A, number: u32) {
        match &mut self.run {
            Some((_, end, n)) if *n == number => *end = last,
            _ => {
                self.cut();
                self.run = Some((first, last, number));
            }
        }
    }

    /// Cuts the run into the fewest prefixes.
    fn cut(&mut self) {
        let Some((first, last, number)) = self.run.take() else { return };
        let (mut first, last) = (first.wide(), last.wide());
        loop {
            // As many host bits as the start is aligned to, and as fit below the end.
            let aligned = first.trailing_zeros().min(A::BITS.into());
            let fitting = match last - first {
                u128::MAX => 128,
                rest => (rest + 1).ilog2(),
            };
            let host = aligned.min(fitting);
            self.starts.push(A::from_wide(first));
            self.leaves.push((number, A::BITS - host as u8));
            let end = first | (1u128.unbounded_shl(host).wrapping_sub(1));
            if end >= last {
                return;
            }
            first = end + 1;
        }
    }
}

/// Disjoint prefixes of both families that together are everything, each with a number.
///
/// An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) is looked up as IPv4; the length found still counts from the start of the IPv6 address.
/// Prefixes for IPv6 never hold the mapped ones together with others, unless everything has one number.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    v4: Table<u32>,
    v6: Table<u128>,
}

/// ::ffff:0:0/96, whose addresses are looked up as IPv4.
const MAPPED: (u128, u8) = (0xffff_0000_0000, 96);

/// The number of [`MAPPED`] in the table for IPv6, where nobody asks for it.
const APART: u32 = u32::MAX;

impl Prefixes {
    /// Goes over all addresses once, as [`Covering::sweep`] does. `nets` come with the numbers of their sources; networks of IPv4-mapped
    /// addresses alone are left out.
    pub fn sweep<S>(
        nets: impl Iterator<Item = (IpNet, usize)>,
        around: S,
        cover: impl Fn(&S, usize) -> S,
        mut number: impl FnMut(&S) -> u32,
    ) -> Prefixes
    where
        S: Clone,
    {
        let (mut v4, mut v6) = (Covering::default(), Covering::default());
        for (net, source) in nets {
            match net {
                IpNet::V4(net) => v4.add((u32::from(net.network()), net.prefix_len()), source),
                IpNet::V6(net) if net.network().to_ipv4_mapped().is_none() || net.prefix_len() < MAPPED.1 => {
                    v6.add((u128::from(net.network()), net.prefix_len()), source);
                }
                IpNet::V6(_) => {}
            }
        }
        if v4.is_empty() && v6.is_empty() {
            let only = number(&around);
            return Prefixes { v4: Table::merged([(0, only)].into_iter()), v6: Table::merged([(0, only)].into_iter()) };
        }
        v6.add(MAPPED, APART as usize);
        let v4 = v4.sweep(around.clone(), &cover, &mut number);
        let cover = |outer: &Option<S>, source: usize| match outer {
            Some(outer) if source != APART as usize => Some(cover(outer, source)),
            _ => None,
        };
        let v6 = v6.sweep(Some(around), cover, |state| state.as_ref().map_or(APART, &mut number));
        Prefixes { v4, v6 }
    }

    /// The number of the prefix that holds `client`, and its length.
    #[inline]
    pub fn find(&self, client: IpAddr) -> (u32, u8) {
        match client {
            IpAddr::V4(v4) => self.v4.find(u32::from(v4)),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => {
                    let (number, length) = self.v4.find(u32::from(v4));
                    (number, MAPPED.1 + length)
                }
                None => self.v6.find(u128::from(v6)),
            },
        }
    }

    /// The same addresses under other numbers; neighbours of equal number are one prefix then.
    pub fn renumbered(&self, mut number: impl FnMut(u32) -> u32) -> Prefixes {
        let v4 = self.v4.renumbered(&mut number);
        let v6 = self.v6.renumbered(|old| if old == APART { APART } else { number(old) });
        Prefixes { v4, v6 }
    }

    /// Both as one: each address has the number that `join` makes of its two; neighbours of equal number are one prefix.
    pub fn joined(&self, other: &Prefixes, mut join: impl FnMut(u32, u32) -> u32) -> Prefixes {
        let v4 = self.v4.joined(&other.v4, &mut join);
        let v6 = self.v6.joined(&other.v6, |a, b| if a == APART || b == APART { APART } else { join(a, b) });
        Prefixes { v4, v6 }
    }

    /// All prefixes with their numbers, those of IPv4 first, each family in the order of addresses. Together they are every address that
    /// can be asked for.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, u32)> {
        let v4 = self.v4.leaves().map(|(start, length, number)| (IpNet::new_assert(Ipv4Addr::from(start).into(), length), number));
        let v6 = self.v6.leaves().filter(|(_, _, number)| *number != APART);
        v4.chain(v6.map(|(start, length, number)| (IpNet::new_assert(Ipv6Addr::from(start).into(), length), number)))
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

/// The last address of a prefix.
fn last<A: Address>(start: A, length: u8) -> u128 {
    let host = u32::from(A::BITS - length.min(A::BITS));
    start.wide() | 1u128.unbounded_shl(host).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_table_finds_by_its_index_what_a_small_one_finds_without() {
        // Every other /26 of some spread-out /16s, so that many indexed ranges are empty, full or single.
        let mut covering: Covering<u32> = Covering::default();
        let mut sources = Vec::new();
        for block in [0u32, 1, 7, 0x7fff, 0x8000, 0xfffe, 0xffff] {
            for n in (0..1024).step_by(2) {
                covering.add((block << 16 | n << 6, 26), sources.len());
                sources.push(block << 16 | n << 6);
            }
        }
        let table = covering.sweep(0, |_, source| source as u32 + 1, |number| *number);
        assert!(table.index.is_divided() && table.len() > sources.len());
        for (n, start) in sources.iter().enumerate() {
            assert_eq!(table.find(*start), (n as u32 + 1, 26));
            assert_eq!(table.find(start + 63), (n as u32 + 1, 26));
            assert_eq!(table.find(start + 64).0, 0);
        }
        assert_eq!(table.find(0x0004_1234), (0, 15));
        assert_eq!(table.find(u32::MAX), (0, 26));
        let count: u64 = table.leaves.iter().map(|(_, length)| 1u64 << (32 - length)).sum();
        assert_eq!(count, 1 << 32, "disjoint, and everything");
    }

    #[test]
    fn joined_tables_know_both_numbers_and_join_what_is_equal() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse::<IpNet>().unwrap()).collect::<Vec<_>>();
        let table = |texts: &[&str]| {
            let nets = nets(texts);
            Prefixes::sweep(nets.into_iter().enumerate().map(|(n, net)| (net, n)), 0, |_, source| source as u32 + 1, |number| *number)
        };
        let a = table(&["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"]);
        let b = table(&["10.1.128.0/17", "0.0.0.0/1", "2001:db8:1::/48"]);
        let both = a.joined(&b, |a, b| 10 * a + b);
        let coarse = both.renumbered(|number| u32::from(number > 0));
        for (client, expected, merged) in [
            ("10.1.200.1", (21, 17), (1, 1)),
            ("10.1.1.1", (22, 17), (1, 1)),
            ("10.2.1.1", (12, 15), (1, 1)),
            ("11.0.0.0", (2, 8), (1, 1)),
            ("192.0.2.1", (0, 1), (0, 1)),
            ("2001:db8:1::1", (33, 48), (1, 32)),
            ("2001:db8:2::1", (30, 47), (1, 32)),
            ("2001:db9::1", (0, 32), (0, 32)),
            ("::ffff:10.1.200.1", (21, 113), (1, 97)),
            ("::fffe:10.1.200.1", (0, 96), (0, 96)),
        ] {
            let client = client.parse().unwrap();
            assert_eq!((both.find(client), coarse.find(client)), (expected, merged), "{client}");
        }
        let listed: Vec<(String, u32)> = coarse.iter().map(|(net, number)| (net.to_string(), number)).take(3).collect();
        assert_eq!(listed, [("0.0.0.0/1".into(), 1), ("128.0.0.0/1".into(), 0), ("::/81".into(), 0)]);
        assert_eq!(table(&[]).find("2001:db8::1".parse().unwrap()), (0, 0));
    }
}
