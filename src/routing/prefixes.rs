//! Prefixes of one address family: overlapping ones go in, a table of disjoint ones comes out.

/// An address as a number.
pub(super) trait Address: Copy + Ord + Default {
    /// Its bits.
    const BITS: u8;
    const MAX: Self;
    fn from_wide(wide: u128) -> Self;
    fn wide(self) -> u128;
}

impl Address for u32 {
    const BITS: u8 = 32;
    const MAX: u32 = u32::MAX;
    fn from_wide(wide: u128) -> u32 {
        wide as u32
    }
    fn wide(self) -> u128 {
        self.into()
    }
}

impl Address for u128 {
    const BITS: u8 = 128;
    const MAX: u128 = u128::MAX;
    fn from_wide(wide: u128) -> u128 {
        wide
    }
    fn wide(self) -> u128 {
        self
    }
}

/// Disjoint prefixes that together are everything, sorted, each with a number.
#[derive(Debug)]
pub(super) struct Table<A> {
    /// The first address of each prefix; the first one is 0.
    starts: Box<[A]>,
    /// The number and the length of each prefix.
    leaves: Box<[(u32, u8)]>,
    /// How many starts lie below each value of the first 16 bits, and one more for the end; empty for a small table.
    below: Box<[u32]>,
}

impl<A: Address> Default for Table<A> {
    /// Everything is number 0.
    fn default() -> Table<A> {
        Table { starts: Box::new([A::default()]), leaves: Box::new([(0, 0)]), below: Box::default() }
    }
}

/// From so many prefixes on, the index by 16 bits (256 KiB) is worth its cache lines.
const INDEXED: usize = 1024;

impl<A: Address> Table<A> {
    /// The number of the prefix that holds `address`, and its length.
    #[inline]
    pub fn find(&self, address: A) -> (u32, u8) {
        let (mut from, mut to) = (0, self.starts.len());
        if !self.below.is_empty() {
            let first = (address.wide() >> (A::BITS - 16)) as usize;
            (from, to) = (self.below[first] as usize, self.below[first + 1] as usize);
        }
        // The last start that is not above the address; the first start of all is 0, so there is one.
        let at = (from + self.starts[from..to].partition_point(|start| *start <= address)).saturating_sub(1);
        self.leaves[at]
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    fn new(leaves: Vec<(A, u8, u32)>) -> Table<A> {
        let mut below = Vec::new();
        if leaves.len() >= INDEXED {
            below.reserve_exact((1 << 16) + 1);
            let mut count = 0;
            for first in 0..=1u32 << 16 {
                while leaves.get(count).is_some_and(|(start, ..)| start.wide() >> (A::BITS - 16) < u128::from(first)) {
                    count += 1;
                }
                below.push(count as u32);
            }
        }
        Table {
            starts: leaves.iter().map(|(start, ..)| *start).collect(),
            leaves: leaves.iter().map(|(_, length, number)| (*number, *length)).collect(),
            below: below.into(),
        }
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
    /// Adds a prefix, unless it is `None` of this family.
    pub fn add(&mut self, prefix: Option<(A, u8)>, source: usize) {
        if let Some((start, length)) = prefix {
            self.prefixes.push((start, length, source as u32));
        }
    }

    /// Goes over all addresses once. `cover` makes the state within a prefix from that around it; of equal prefixes the later source lies
    /// within the earlier one. `number` is asked once for each state that holds anywhere.
    pub fn sweep<S>(mut self, around: S, cover: impl Fn(&S, usize) -> S, mut number: impl FnMut(&S) -> u32) -> Table<A> {
        // A database comes sorted, which this sort notices.
        self.prefixes.sort();
        let mut pieces = Pieces { leaves: Vec::with_capacity(self.prefixes.len() + 1), run: None };
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
        pieces.cut();
        Table::new(pieces.leaves)
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
    leaves: Vec<(A, u8, u32)>,
    /// The piece at the end, which may grow: first and last address, and number.
    run: Option<(A, A, u32)>,
}

impl<A: Address> Pieces<A> {
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
            self.leaves.push((A::from_wide(first), A::BITS - host as u8, number));
            let end = first | (1u128.unbounded_shl(host).wrapping_sub(1));
            if end >= last {
                return;
            }
            first = end + 1;
        }
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
                covering.add(Some((block << 16 | n << 6, 26)), sources.len());
                sources.push(block << 16 | n << 6);
            }
        }
        let table = covering.sweep(0, |_, source| source as u32 + 1, |number| *number);
        assert!(!table.below.is_empty() && table.len() > sources.len());
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
}
