//! The regions of the instances in an answer, gathered while it is written and counted when it is whole.

use crate::model::COUNTED_REGIONS;
use crate::routing::RegionId;

/// The regions that have counters of their own; those numbered higher are one.
#[derive(Debug, Default)]
pub(super) struct RegionSet([u64; COUNTED_REGIONS / 64]);

impl RegionSet {
    /// Takes a region in.
    #[inline]
    pub fn add(&mut self, region: RegionId) {
        let number = usize::from(region.0).min(COUNTED_REGIONS - 1);
        self.0[number / 64] |= 1 << (number % 64);
    }

    /// Whether none is in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    /// The numbers in it.
    #[inline]
    pub fn numbers(&self) -> impl Iterator<Item = u16> {
        self.0.iter().enumerate().flat_map(|(word, bits)| {
            let mut bits = *bits;
            std::iter::from_fn(move || {
                let lowest = (bits != 0).then(|| bits.trailing_zeros());
                bits &= bits.wrapping_sub(1);
                lowest.map(|bit| (word * 64) as u16 + bit as u16)
            })
        })
    }
}
