//! What few pools have: instances that are out of answers in part, tags, places to settle on.

use std::sync::Arc;

use super::Member;
use crate::model::{Label, Share};
use crate::routing::Tree;
use crate::routing::slots::Slots;

/// What few pools have.
#[derive(Debug, Default)]
pub(super) struct Particulars {
    /// By member number, how far each is out of answers; empty where none is in part.
    pub outs: Box<[Share]>,
    /// All tags, sorted.
    pub tags: Box<[Label]>,
    /// By member number: where its tags begin in `borne`, and where those of the last one end; empty where nobody bears any.
    pub tags_of: Box<[u32]>,
    /// The tags of all members back to back, as indexes into `tags`.
    pub borne: Box<[u32]>,
    /// Where clients look for the one that they settle on, under `sticky`.
    pub slots: Slots,
}

impl Particulars {
    pub fn of(tree: &Tree, members: &[Member]) -> Option<Arc<Particulars>> {
        let mut particulars = Particulars::default();
        if members.iter().any(|member| member.out.is_partial()) {
            particulars.outs = members.iter().map(|member| member.out).collect();
        }
        if members.iter().any(|member| !member.tags.is_empty()) {
            let mut tags: Vec<Label> = members.iter().flat_map(|m| m.tags.iter().cloned()).collect();
            tags.sort_unstable();
            tags.dedup();
            let mut borne = Vec::new();
            let mut tags_of = vec![0];
            for member in members {
                borne.extend(member.tags.iter().filter_map(|tag| tags.binary_search(tag).ok()).map(|n| n as u32));
                tags_of.push(borne.len() as u32);
            }
            (particulars.tags, particulars.tags_of, particulars.borne) = (tags.into(), tags_of.into(), borne.into());
        }
        if tree.settles() {
            particulars.slots = Slots::new(members);
        }
        let Particulars { outs, tags, slots, .. } = &particulars;
        (!outs.is_empty() || !tags.is_empty() || !slots.is_empty()).then(|| Arc::new(particulars))
    }
}
