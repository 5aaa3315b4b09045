//! The levels of a service's instances under a rule: which part of them is tried first, which next.

use super::{LocalityId, Pool, RegionId, Stand};
use crate::model::PolicyKind;

/// A part of a service's instances that answers as one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    pub region: Option<RegionId>,
    pub locality: Option<LocalityId>,
    pub except: Option<LocalityId>,
    pub place: Standpoint,
}

impl Level {
    /// All of a service.
    const EVERYWHERE: Level = Level { region: None, locality: None, except: None, place: Standpoint::Everywhere };

    /// Whether the locality, one of the level's region, belongs to it.
    #[inline]
    pub fn has(&self, locality: LocalityId) -> bool {
        self.locality.is_none_or(|l| l == locality) && self.except != Some(locality)
    }

    /// Whether it is the client's own az or region.
    pub fn is_own(&self) -> bool {
        matches!(self.place, Standpoint::OwnAz | Standpoint::OwnRegion)
    }
}

/// How a level lies to the client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Standpoint {
    /// Everything: there is no order.
    Everywhere,
    /// The client's own az.
    OwnAz,
    /// The client's own region.
    OwnRegion,
    /// So many milliseconds away.
    Ranked(f32),
    /// Nothing is known of the way to it.
    Unranked,
    /// The next in order, wherever the client is.
    Declared,
}

/// Whether nothing is known by which `nearest` could tell places apart.
#[inline]
pub(super) fn is_unknown(stand: &Stand) -> bool {
    stand.region.is_none() && stand.locality.is_none() && stand.ranking.is_empty()
}

/// Goes through the levels, best first. Levels are disjoint, and together they are everything.
#[derive(Debug, Clone)]
pub(super) struct Levels<'w> {
    pool: &'w Pool,
    /// Where the client stands; only `nearest` and `latency` ask.
    stand: Option<&'w Stand>,
    /// The client's own region and az have levels of their own.
    own: bool,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    All,
    OwnAz,
    OwnRegion,
    Ranking(usize),
    /// Regions outside the ranking, from that group of the pool on.
    Rest(usize),
    /// Every region, from that group of the pool on.
    Declared(usize),
    Done,
}

impl<'w> Levels<'w> {
    #[inline]
    pub fn new(rule: Option<PolicyKind>, pool: &'w Pool, stand: Option<&'w Stand>) -> Levels<'w> {
        let own = rule == Some(PolicyKind::Nearest);
        let stage = match rule {
            Some(PolicyKind::Nearest) if stand.is_none_or(is_unknown) => Stage::All,
            Some(PolicyKind::Nearest) => Stage::OwnAz,
            Some(PolicyKind::Latency) => Stage::Ranking(0),
            Some(PolicyKind::Failover) => Stage::Declared(0),
            _ => Stage::All,
        };
        Levels { pool, stand, own, stage }
    }

    /// The level, where there is but one: everything.
    #[inline]
    pub fn only(&self) -> Option<Level> {
        matches!(self.stage, Stage::All).then_some(Level::EVERYWHERE)
    }

    fn is_own(&self, region: RegionId) -> bool {
        self.own && self.stand.and_then(|stand| stand.region) == Some(region)
    }
}

impl Iterator for Levels<'_> {
    type Item = Level;

    #[inline]
    fn next(&mut self) -> Option<Level> {
        let everywhere = Level::EVERYWHERE;
        loop {
            match self.stage {
                Stage::All => {
                    self.stage = Stage::Done;
                    return Some(everywhere);
                }
                Stage::OwnAz => {
                    self.stage = Stage::OwnRegion;
                    if let Some(stand) = self.stand
                        && let Some(locality) = stand.locality
                    {
                        let region = stand.region;
                        return Some(Level { region, locality: Some(locality), place: Standpoint::OwnAz, ..everywhere });
                    }
                }
                Stage::OwnRegion => {
                    self.stage = Stage::Ranking(0);
                    if let Some(stand) = self.stand
                        && let Some(region) = stand.region
                    {
                        let except = stand.locality;
                        return Some(Level { region: Some(region), except, place: Standpoint::OwnRegion, ..everywhere });
                    }
                }
                Stage::Ranking(n) => match self.stand.and_then(|stand| stand.ranking.get(n)) {
                    Some((region, ms)) => {
                        self.stage = Stage::Ranking(n + 1);
                        if !self.is_own(*region) {
                            return Some(Level { region: Some(*region), place: Standpoint::Ranked(*ms), ..everywhere });
                        }
                    }
                    None => self.stage = Stage::Rest(0),
                },
                Stage::Rest(group) => match self.pool.region_at(group) {
                    Some((region, next)) => {
                        self.stage = Stage::Rest(next);
                        if !self.is_own(region) && !self.stand.is_some_and(|stand| stand.ranking.iter().any(|(r, _)| *r == region)) {
                            return Some(Level { region: Some(region), place: Standpoint::Unranked, ..everywhere });
                        }
                    }
                    None => self.stage = Stage::Done,
                },
                Stage::Declared(group) => match self.pool.region_at(group) {
                    Some((region, next)) => {
                        self.stage = Stage::Declared(next);
                        return Some(Level { region: Some(region), place: Standpoint::Declared, ..everywhere });
                    }
                    None => self.stage = Stage::Done,
                },
                Stage::Done => return None,
            }
        }
    }
}
