//! Eyes on an answer under way: the query path keeps them closed, [`super::explain()`] opens them.

use super::names::Meaning;
use super::services::Level;
use crate::codec::NameBuf;
use crate::routing::{Decision, Need, Silent, Trace};
use crate::snapshot::{CompiledZone, Snapshot};

/// Sees what an answer goes through. All of it comes to nothing where nobody looks.
pub(super) trait Watch {
    /// Takes the steps of decisions.
    type Steps: Trace;

    /// Where the steps of the next decision go.
    fn trace(&mut self) -> &mut Self::Steps;

    /// A name was looked up: the question's, or that of an alias.
    fn name(&mut self, _snapshot: &Snapshot, _zone: &CompiledZone, _name: &NameBuf, _meaning: &Meaning<'_>) {}

    /// A name is in no zone.
    fn outside(&mut self, _name: &NameBuf) {}

    /// A decision was made; so many seconds does it hold.
    fn decided(&mut self, _decision: &Decision<'_>, _ttl: u32) {}

    /// Nothing had to be decided; so many seconds does it hold.
    fn held(&mut self, _ttl: u32) {}

    /// Instances of a level are about to be picked.
    fn level(&mut self, _snapshot: &Snapshot, _level: &Level<'_>, _need: Need, _limit: usize, _draw: u64) {}
}

/// Nobody looks.
#[derive(Debug, Default)]
pub(super) struct Unwatched(Silent);

impl Watch for Unwatched {
    type Steps = Silent;

    #[inline(always)]
    fn trace(&mut self) -> &mut Silent {
        &mut self.0
    }
}
