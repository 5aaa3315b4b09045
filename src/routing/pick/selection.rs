//! What is picked from: some instances of a service, and how many of them are chosen, and how.

use crate::routing::sieve::{Gate, Sieve};
use crate::routing::{LocalityId, Pool, RegionId, ServiceId, Standing};

/// Instances of one service on one level, down to a standing.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'w> {
    /// The service.
    pub service: ServiceId,
    /// Its pool.
    pub pool: &'w Pool,
    /// What the name and the branches narrow it to.
    pub(in crate::routing) sieve: Sieve,
    /// Only this region, where the level is one.
    pub region: Option<RegionId>,
    /// Only this locality, where the level is an az.
    pub locality: Option<LocalityId>,
    /// Not this locality: it is a level of its own, before this one.
    pub except: Option<LocalityId>,
    /// The worst standing that takes part.
    pub standing: Standing,
    /// How instances are chosen where not all can stand in one answer.
    pub sampling: Sampling,
    /// Most instances that the policy allows in one answer (`weighted`: 1); the answer's own limit holds beside it.
    pub most: u16,
    /// For which client: some instances may be out of answers for a part of them.
    pub gate: Gate,
}

/// How a pick chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// The first ones, in the order of their numbers; nothing is drawn (`simple`).
    InOrder,
    /// By systematic sampling with probability in proportion to the weight.
    ByWeight,
    /// By systematic sampling, each as likely as the other: for answers that carry the weights themselves.
    Equally,
    /// The one that the client settles on by its hash, each in proportion to its weight: the same one for every query.
    Sticky,
}

impl Selection<'_> {
    /// The same instances for an answer that carries their weights (SRV, RFC 2782): the client draws by them, so the pick must not
    /// do it as well, and as many stand in the answer as it can hold. Where the policy answers one instance, that is drawn still.
    pub fn carrying_weights(mut self) -> Self {
        if self.sampling == Sampling::ByWeight && self.most > 1 {
            self.sampling = Sampling::Equally;
        }
        self
    }
}
