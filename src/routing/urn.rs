//! The draw of one branch among those that live.

use super::ServiceId;

/// What the branches of a fork weigh in a draw among those that live; all that live weigh nothing: they are equal (Route 53).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Urn {
    living: u64,
    /// What they weigh together.
    pub total: u64,
    /// How many of them can be drawn.
    pub drawable: u32,
    equal: bool,
}

impl Urn {
    /// For branches that live, one bit each, and what each of them weighs.
    #[inline]
    pub fn new(living: u64, weight: impl Fn(u32) -> u32) -> Urn {
        let (mut total, mut drawable) = (0, 0);
        for weight in bits(living).map(weight) {
            total += u64::from(weight);
            drawable += u32::from(weight > 0);
        }
        match total {
            0 => Urn { living, total: living.count_ones().into(), drawable: living.count_ones(), equal: true },
            _ => Urn { living, total, drawable, equal: false },
        }
    }

    /// Whether a branch lives.
    #[inline]
    pub fn lives(&self, n: u32) -> bool {
        self.living >> n & 1 == 1
    }

    /// What a branch weighs in the draw.
    #[inline]
    pub fn weigh(&self, n: u32, weight: impl Fn(u32) -> u32) -> u64 {
        match self.lives(n) {
            true if !self.equal => weight(n).into(),
            lives => lives.into(),
        }
    }

    /// The branch that a random number comes to, each with the probability `weight / sum of weights`; none where none lives.
    #[inline]
    pub fn draw(&self, random: u64, weight: impl Fn(u32) -> u32) -> Option<u32> {
        let mut point = ((u128::from(random) * u128::from(self.total)) >> 64) as u64;
        bits(self.living).find(|n| {
            let weight = if self.equal { 1 } else { weight(*n).into() };
            let hit = point < weight;
            point = point.wrapping_sub(weight);
            hit
        })
    }

    /// Those that can be drawn.
    pub fn drawable(&self, weight: impl Fn(u32) -> u32) -> impl Iterator<Item = u32> {
        bits(self.living).filter(move |n| self.equal || weight(*n) > 0)
    }
}

/// Each place of a tree where branches are drawn has a draw of its own, so that those one below the other are independent.
#[inline]
pub(super) fn draw_salt(service: Option<ServiceId>, part: u32) -> u64 {
    service.map_or(0, |service| u64::from(service.0) + 1) << 32 | u64::from(part)
}

/// The places of the bits that are set.
#[inline]
fn bits(mut set: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros());
        set &= set.wrapping_sub(1);
        lowest
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_drawn_in_proportion_to_its_weight() {
        let check = |living: u64, weights: &[u32], expected: &[u64]| {
            let urn = Urn::new(living, |n| weights[n as usize]);
            let mut found = vec![0; weights.len()];
            let steps = 1000;
            for step in 0..steps {
                if let Some(n) = urn.draw(step * (u64::MAX / steps + 1), |n| weights[n as usize]) {
                    found[n as usize] += 1;
                }
            }
            assert_eq!(found, expected, "{weights:?} of which {living:b} live");
            let drawable: Vec<u32> = urn.drawable(|n| weights[n as usize]).collect();
            let drawn: Vec<u32> = (0..).zip(&found).filter(|(_, found)| **found > 0).map(|(n, _)| n).collect();
            assert_eq!((drawable.len() as u32, drawable), (urn.drawable, drawn));
        };
        check(0b1111, &[10, 20, 30, 40], &[100, 200, 300, 400]);
        check(0b1010, &[10, 20, 30, 20], &[0, 500, 0, 500]);
        check(0b111, &[0, 1, 1], &[0, 500, 500]);
        check(0b11, &[0, 0], &[500, 500]);
        check(0b101, &[0, 7, 0], &[500, 0, 500]);
        check(0, &[1, 1], &[0, 0]);
    }
}
