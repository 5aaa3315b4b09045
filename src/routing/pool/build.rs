//! A pool built of all its instances, and what pools have in common held once.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::particulars::Particulars;
use super::rows::{Group, Healthy, Row};
use super::{Body, Member, Pool};
use crate::model::Shared;
use crate::routing::{Places, Tree};

impl Pool {
    /// Groups and orders `members` under the service's compiled policy.
    pub fn build(tree: Tree, members: &[Member], places: &Places) -> Pool {
        // By names, not by numbers: those depend on what was declared or registered first, and may differ after a restart.
        let place = |m: &Member| (places.region_label(places.region_of(m.locality)), places.az_label(m.locality));
        let mut order: Vec<u32> = (0..members.len() as u32).collect();
        if members.len() > 1 {
            order.sort_unstable_by(|a, b| {
                let (one, other) = (&members[*a as usize], &members[*b as usize]);
                let by_place = if one.locality == other.locality { Ordering::Equal } else { place(one).cmp(&place(other)) };
                by_place.then(one.standing.cmp(&other.standing)).then(a.cmp(b))
            });
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut rows: Vec<Row> = Vec::with_capacity(members.len());
        for number in &order {
            let member = &members[*number as usize];
            if groups.last().is_none_or(|g| g.locality != member.locality) {
                groups.push(Group::begin(member.locality, rows.len() as u32, places));
            }
            if let Some(group) = groups.last_mut() {
                rows.push(group.take(member, *number, rows.last()));
            }
        }
        let mut end = groups.len();
        for n in (0..groups.len()).rev() {
            if groups.get(n + 1).is_some_and(|next| next.region != groups[n].region) {
                end = n + 1;
            }
            groups[n].region_end = end as u16;
        }
        if let [row] = rows.as_mut_slice() {
            // Nobody can settle on another one.
            row.seed = 0;
        }
        let particulars = Particulars::of(&tree, members);
        let (seed, tree) = tree.without_seed();
        let body = Body {
            tree,
            row_of: row_of(&rows),
            healthy: Healthy::of(&groups, &rows),
            groups: groups.into(),
            rows: rows.into(),
            particulars,
            steady_ms: members.iter().map(|m| m.steady_ms).min().unwrap_or(u32::MAX),
        };
        Pool { seed, body: body.held() }
    }
}

impl Body {
    /// This, held once for all pools of one instance that are equal.
    pub(super) fn held(self) -> Arc<Body> {
        static ONES: Shared<Body> = Shared::new();
        match self.rows.len() == 1 && self.particulars.is_none() && self.tree.is_common() {
            true => ONES.one(self),
            false => Arc::new(self),
        }
    }
}

/// Of pools of one instance: without particulars, under a tree that many have, which is compared by where it lies.
impl PartialEq for Body {
    fn eq(&self, other: &Body) -> bool {
        let told = |body: &Body| (body.tree.told(), body.steady_ms, body.healthy);
        told(self) == told(other) && *self.rows == *other.rows && *self.groups == *other.groups
    }
}

impl Eq for Body {}

impl Hash for Body {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tree.told().hash(state);
        self.steady_ms.hash(state);
        self.rows.iter().for_each(|row| row.hash(state));
        self.groups.iter().for_each(|group| group.locality.hash(state));
    }
}

/// By member number, where its row is; empty where the rows stand in that order.
pub(super) fn row_of(rows: &[Row]) -> Box<[u32]> {
    if rows.iter().enumerate().all(|(at, row)| at as u32 == row.member) {
        return Box::default();
    }
    let mut row_of = vec![0; rows.len()];
    rows.iter().enumerate().for_each(|(at, row)| row_of[row.member as usize] = at as u32);
    row_of.into()
}
