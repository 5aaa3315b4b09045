//! The rows of a pool, one for each instance, and what is known of them without looking at each: by locality, and of all that is healthy.

use std::ops::Range;

use super::{Member, Need, Standing};
use crate::model::MAX_WEIGHT;
use crate::routing::{AzName, LocalityId, Places, RegionId};

/// The instances of one locality.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    pub locality: LocalityId,
    pub region: RegionId,
    pub az: AzName,
    /// Behind the last group of its region.
    pub(super) region_end: u16,
    /// Where its rows begin.
    pub(super) start: u32,
    /// Where the rows of each standing end, by [`Standing`]; drained ones follow behind the last.
    pub(super) ends: [u32; 4],
    pub(super) end: u32,
    /// The most that one of its rows weighs, down to each standing, as warm as it is, in hundredths.
    pub(super) largest: [u32; 4],
    /// The whole weight of its rows but for those that wait for their first result, in hundredths.
    pub full: u64,
    /// What every one of its rows has.
    common: Need,
    /// One of its rows weighs nothing.
    weightless: bool,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    pub(super) has: Need,
    pub(super) seed: u64,
    /// The weight of the rows of its group up to this one, as warm as they are, in hundredths.
    pub(super) through: u64,
    pub member: u32,
    pub(super) weight: u16,
    pub(super) standing: Standing,
    pub(super) warmth: u8,
}

/// What of a pool is healthy, wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Healthy {
    pub instances: u32,
    /// Localities and regions that have one at least.
    pub localities: u16,
    pub regions: u16,
    /// What they weigh together, as warm as they are, in hundredths.
    pub weights: u64,
    /// The most that one of them weighs so.
    pub largest: u32,
    /// What every instance of those localities has; `None` where one of them weighs nothing.
    even: Option<Need>,
}

impl Group {
    /// Where its rows lie down to a standing; never the drained ones.
    #[inline]
    pub fn range(&self, standing: Standing) -> Range<usize> {
        self.start as usize..self.ends[(standing as usize).min(Standing::Unhealthy as usize)] as usize
    }

    /// The most that one of its rows weighs, down to a standing, as warm as it is, in hundredths.
    #[inline]
    pub fn largest(&self, standing: Standing) -> u64 {
        self.largest[(standing as usize).min(Standing::Unhealthy as usize)].into()
    }

    /// Whether every one of its rows weighs something and has everything that `need` asks: then all that is to be known of them is
    /// known from [`Row::through`] and [`Group::largest`].
    #[inline]
    pub fn is_even(&self, need: Need) -> bool {
        !self.weightless && self.common.covers(need)
    }
}

impl Row {
    #[inline]
    pub fn weight(&self) -> u32 {
        self.weight.into()
    }

    #[inline]
    pub fn warmth(&self) -> u8 {
        self.warmth
    }

    /// The weight as warm as it is, in hundredths.
    #[inline]
    pub fn warm_weight(&self) -> u64 {
        u64::from(self.weight) * u64::from(self.warmth)
    }

    /// The whole weight, in hundredths.
    pub fn full_weight(&self) -> u64 {
        u64::from(self.weight) * 100
    }

    /// The weight of the rows of its group up to this one, as warm as they are, in hundredths.
    #[inline]
    pub fn through(&self) -> u64 {
        self.through
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    #[inline]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    #[inline]
    pub fn has(&self, need: Need) -> bool {
        self.has.covers(need)
    }
}

impl Healthy {
    /// As [`Group::is_even`], of all its localities.
    #[inline]
    pub fn is_even(&self, need: Need) -> bool {
        self.even.is_some_and(|common| common.covers(need))
    }
}

impl Group {
    pub(super) fn begin(locality: LocalityId, start: u32, places: &Places) -> Group {
        Group {
            locality,
            region: places.region_of(locality),
            az: places.az_name_of(locality),
            region_end: 0,
            start,
            ends: [start; 4],
            end: start,
            largest: [0; 4],
            full: 0,
            common: Need(u64::MAX),
            weightless: false,
        }
    }

    /// Takes the next member, which stands no better than those before; `before`: the row before its own.
    pub(super) fn take(&mut self, member: &Member, number: u32, before: Option<&Row>) -> Row {
        let through = before.filter(|_| self.end > self.start).map_or(0, |before| before.through);
        let mut row = Row {
            has: member.has,
            seed: member.seed,
            through,
            member: number,
            weight: member.weight.min(MAX_WEIGHT) as u16,
            standing: member.standing,
            warmth: member.warmth.clamp(1, 100),
        };
        row.through += row.warm_weight();
        self.common = Need(self.common.0 & row.has.0);
        self.weightless |= row.weight == 0;
        self.count(&row);
        row
    }

    /// Counts the next row by how it stands.
    pub(super) fn count(&mut self, row: &Row) {
        let standing = row.standing as usize;
        self.end += 1;
        // A better standing's end moves no more once a worse one has begun; the worse ones start where it ends.
        self.ends.iter_mut().skip(standing).for_each(|end| *end = self.end);
        self.largest.iter_mut().skip(standing).for_each(|most| *most = (*most).max(row.warm_weight() as u32));
        self.full += if row.standing == Standing::Pending { 0 } else { row.full_weight() };
    }
}

impl Healthy {
    pub(super) fn of(groups: &[Group], rows: &[Row]) -> Healthy {
        let mut healthy = Healthy { even: Some(Need(u64::MAX)), ..Healthy::default() };
        let mut last = None;
        for group in groups {
            let Some(row) = rows[group.range(Standing::Healthy)].last() else { continue };
            healthy.instances += group.ends[0] - group.start;
            healthy.localities += 1;
            healthy.regions += u16::from(last.replace(group.region) != Some(group.region));
            healthy.weights += row.through;
            healthy.largest = healthy.largest.max(group.largest[0]);
            healthy.even = healthy.even.filter(|_| !group.weightless).map(|common| Need(common.0 & group.common.0));
        }
        healthy
    }
}
