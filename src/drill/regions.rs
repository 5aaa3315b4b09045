//! Which regions answers held, stage by stage.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{DrillState, RegionShares};

type Counts = BTreeMap<String, u64>;

/// Counts by region: before, and from the beginning to the end of each stage.
#[derive(Debug)]
pub(super) struct Stages {
    before: Counts,
    /// Moving, holding, restoring: at its beginning, and as last seen.
    stages: [Option<(Counts, Counts)>; 3],
    now: Option<usize>,
}

impl Stages {
    /// `before`: what was counted in the minute before.
    pub fn new(before: Counts) -> Stages {
        Stages { before, stages: [None, None, None], now: None }
    }

    /// A stage begins.
    pub fn enter(&mut self, state: DrillState, counts: &Counts) {
        self.count(counts);
        let stage = match state {
            DrillState::Moving => 0,
            DrillState::Holding => 1,
            DrillState::Restoring => 2,
            _ => return,
        };
        if self.now != Some(stage) {
            self.stages[stage] = Some((counts.clone(), counts.clone()));
            self.now = Some(stage);
        }
    }

    /// The counters as they are now.
    pub fn count(&mut self, counts: &Counts) {
        if let Some((_, latest)) = self.now.and_then(|stage| self.stages[stage].as_mut()) {
            latest.clone_from(counts);
        }
    }

    /// The shares of each stage.
    pub fn shares(&self) -> Vec<RegionShares> {
        let grown = |stage: usize| self.stages[stage].as_ref().map(|(from, to)| difference(from, to)).unwrap_or_default();
        let stages = [self.before.clone(), grown(0), grown(1), grown(2)];
        let totals = [0, 1, 2, 3].map(|stage: usize| stages[stage].values().sum::<u64>());
        let regions: BTreeSet<&String> = stages.iter().flat_map(|counts| counts.iter().filter(|(_, n)| **n > 0).map(|(r, _)| r)).collect();
        let share = |stage: usize, region: &str| match totals[stage] {
            0 => None,
            total => Some(stages[stage].get(region).copied().unwrap_or_default() as f64 / total as f64),
        };
        let line = |region: &String| RegionShares {
            before: share(0, region),
            moving: share(1, region),
            holding: share(2, region),
            restoring: share(3, region),
            region: region.clone(),
        };
        regions.into_iter().map(line).collect()
    }
}

/// By how much counters grew.
pub(super) fn difference(from: &Counts, to: &Counts) -> Counts {
    to.iter().map(|(region, n)| (region.clone(), n.saturating_sub(from.get(region).copied().unwrap_or_default()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(eu: u64, us: u64) -> Counts {
        [("eu".to_string(), eu), ("us".to_string(), us)].into()
    }

    #[test]
    fn each_stage_has_its_own_shares() {
        let mut stages = Stages::new(counts(75, 25));
        stages.enter(DrillState::Moving, &counts(100, 100));
        stages.enter(DrillState::Holding, &counts(130, 170));
        stages.count(&counts(130, 190));
        let shares = stages.shares();
        let eu = &shares[0];
        assert_eq!((eu.region.as_str(), eu.before, eu.moving, eu.holding, eu.restoring), ("eu", Some(0.75), Some(0.3), Some(0.0), None));
        assert_eq!((shares.len(), shares[1].moving), (2, Some(0.7)));
    }
}
