//! What the instances that take part in a pick come to: how many there are, and what they weigh together.

use super::{Sampling, Selection};
use crate::routing::pool::Row;

#[derive(Default)]
pub(super) struct Sums {
    /// How many can be picked at all.
    pub eligible: u64,
    pub weights: u64,
    pub largest: u64,
    pub all_zero: bool,
}

impl Sums {
    /// How many instances stand in an answer, which counts its records with 16 bits (RFC 1035 §4.1.1).
    #[inline]
    pub fn count(&self, selection: &Selection<'_>, limit: usize) -> usize {
        let most = limit.min(selection.most.into()).min(self.eligible as usize);
        match selection.sampling {
            Sampling::Sticky => most.min(1),
            Sampling::ByWeight if most as u64 * self.largest > self.weights => (self.weights / self.largest) as usize,
            _ => most,
        }
    }

    #[inline]
    pub fn total(&self, sampling: Sampling) -> u64 {
        if sampling == Sampling::ByWeight { self.weights } else { self.eligible }
    }

    #[inline]
    pub fn can_pick(&self, row: &Row) -> bool {
        self.all_zero || row.weight() > 0
    }

    /// What a row weighs in the draw.
    #[inline]
    pub fn weigh(&self, row: &Row, sampling: Sampling) -> u64 {
        match sampling {
            _ if self.all_zero => 1,
            Sampling::ByWeight => row.warm_weight(),
            Sampling::Equally | Sampling::InOrder | Sampling::Sticky => u64::from(row.weight() > 0),
        }
    }
}
