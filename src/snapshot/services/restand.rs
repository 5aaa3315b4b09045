//! A service after some of its instances have turned: what did not change is shared with the service before.

use super::views::{standing, steady_ms};
use super::{CompiledService, Rest, TurnedView};
use crate::model::{Health, Share};
use crate::routing::{Stance, Standing};

impl CompiledService {
    /// This service after some of its instances have turned: what [`CompiledService::compile`] makes of it. `None`: it has to be compiled
    /// whole.
    pub(in crate::snapshot) fn restand(&self, view: &TurnedView<'_>) -> Option<CompiledService> {
        let pool = &self.pool;
        if view.count != self.len() {
            return None;
        }
        for (id, out) in view.outs {
            // A share that moves is another one now, and one that has just ended may not have been looked at yet.
            let (member, drained) = (self.member(id.as_bytes())?, out.share == Share::ALL);
            let is_known = (pool.standing(member) == Standing::Drained) == drained && (drained || pool.out(member) == out.share);
            if out.moving || !is_known {
                return None;
            }
        }
        let mut members = Vec::with_capacity(view.turned.len());
        for place in view.turned {
            // Compiled are the instances that there are, so the places are the same; what is not, is compiled whole.
            let member = u32::try_from(*place).ok().filter(|_| *place < view.count)?;
            (view.instance)(*place).filter(|instance| instance.id.as_bytes() == self.id_octets(member))?;
            members.push(member);
        }
        members.sort_unstable();
        members.dedup();
        let health = |member: u32| (view.instance)(member as usize).map(|instance| instance.vitals.health());
        let were_healthy = members.iter().filter(|member| pool.standing(**member) == Standing::Healthy).count();
        let someone_is_healthy = pool.members_healthy() > were_healthy
            || members.iter().any(|member| health(*member) == Some(Health::Healthy))
            || (pool.has_drained() && (0..view.count as u32).any(|member| health(member) == Some(Health::Healthy)));
        let last_good = match someone_is_healthy {
            true => None,
            false => self.last_good().cloned().or_else(|| Some(self.healthy_ids())),
        };
        if self.last_good().is_some() && someone_is_healthy {
            // Who was healthy last is forgotten.
            members.extend(pool.standing_as(Standing::LastGood));
        }
        // They are warmer than they were.
        members.extend(pool.warming());
        let mut stances = Vec::with_capacity(members.len());
        let mut steady = u32::MAX;
        for member in members {
            let instance = (view.instance)(member as usize)?;
            let standing = standing(instance.out, &instance, last_good.as_deref());
            stances.push(Stance { member, standing, warmth: instance.warmth });
            steady = steady.min(steady_ms(view.service, &instance));
        }
        if steady > pool.steady_ms() {
            // The others are at least as steady as all were. Where it was not the one that turned, one as steady as that is soon found.
            steady = u32::MAX;
            for number in 0..view.count {
                steady = steady.min(steady_ms(view.service, &(view.instance)(number)?));
                if steady <= pool.steady_ms() {
                    break;
                }
            }
        }
        let records = self.rest.as_ref().and_then(|rest| rest.records.clone());
        Some(CompiledService {
            pool: pool.restand(&stances, steady),
            common: self.common.clone(),
            rest: Rest { records, last_good }.boxed(),
            octets: self.octets.clone(),
            ..*self
        })
    }
}
