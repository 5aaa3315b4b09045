//! Records that the store does not hold as they are, each once, in the order in which that was noticed.
//!
//! A flood of changes of health makes a million of them within seconds, and what grows by doubling moves all of it at once: of half a
//! million records in 30 ms, of a million in 60, in which nothing is published. So the line and what finds the records in it are in pieces that grow, or
//! come, one at a time.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

/// Tables: of a million records, the largest that doubles holds a thousand.
const TABLES: usize = 1024;
/// Records of a piece of the line.
const PIECE: usize = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct Stale<Record> {
    line: VecDeque<VecDeque<Record>>,
    /// What is in line, by hash.
    known: Vec<HashTable<Record>>,
    hasher: foldhash::quality::RandomState,
    count: usize,
}

impl<Record> Default for Stale<Record> {
    fn default() -> Stale<Record> {
        Stale { line: VecDeque::new(), known: Vec::new(), hasher: foldhash::quality::RandomState::default(), count: 0 }
    }
}

impl<Record: Clone + Eq + Hash> Stale<Record> {
    /// Puts a record at the end of the line, unless it is in it.
    pub fn note(&mut self, record: Record) {
        if self.known.is_empty() {
            self.known.resize_with(TABLES, HashTable::new);
        }
        let hash = self.hasher.hash_one(&record);
        let table = &mut self.known[table_of(hash)];
        if table.find(hash, |known| *known == record).is_some() {
            return;
        }
        let hasher = &self.hasher;
        table.insert_unique(hash, record.clone(), |known| hasher.hash_one(known));
        self.count += 1;
        match self.line.back_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => piece.push_back(record),
            None => self.line.push_back(VecDeque::from([record])),
        }
    }

    /// Takes the first record out of the line.
    pub fn take(&mut self) -> Option<Record> {
        let piece = self.line.front_mut()?;
        let record = piece.pop_front()?;
        if piece.is_empty() {
            self.line.pop_front();
        }
        self.count -= 1;
        let hash = self.hasher.hash_one(&record);
        if let Ok(known) = self.known[table_of(hash)].find_entry(hash, |known| *known == record) {
            known.remove();
        }
        Some(record)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The table of a hash: by bits that tables do not use themselves.
fn table_of(hash: u64) -> usize {
    (hash >> 40) as usize % TABLES
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Whatever comes and goes, it is what a list would hold that is searched from its beginning to its end.
    #[test]
    fn records_are_in_line_once_and_leave_in_their_order() {
        let (mut stale, mut list): (Stale<u32>, VecDeque<u32>) = Default::default();
        let mut most = 0;
        for step in 0..20_000_u32 {
            // Comes twice as often as it goes, then the other way round.
            if (step % 3 == 0) == (step < 10_000) {
                let first = stale.take();
                assert_eq!(first, list.pop_front());
            } else {
                let record = step.wrapping_mul(0x9e37_79b1) >> 20;
                stale.note(record);
                if !list.contains(&record) {
                    list.push_back(record);
                }
            }
            assert_eq!((stale.len(), stale.is_empty()), (list.len(), list.is_empty()));
            most = most.max(list.len());
        }
        assert!(most > 2 * PIECE, "{most}");
        while let Some(record) = stale.take() {
            assert_eq!(Some(record), list.pop_front());
        }
        assert!(list.is_empty() && stale.known.iter().all(HashTable::is_empty));
    }
}
