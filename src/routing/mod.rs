//! Floor 1: compiled policies and the one function that decides. Pure: the world, the client and the draw are arguments.
//!
//! A decision goes through three steps at each inner node of a policy tree: *filter* (healthy, for this client), *sort* (order written,
//! latency, locality), *pick* (first, or by weight). The leaf is a set of instances of one service, or static records. [`decide()`] finds
//! the leaf; [`pick()`] chooses which of its instances stand in one answer. Every path (UDP, TCP, explain, tests) calls these two.
//!
//! ```text
//! compiled before               asked per query
//! places    regions, azs        decide → walk   rounds of health; branches
//! tree      policy              own → levels    a service's instances, best level first
//! pool      instances           spill           which level serves this client, where they are not whole
//!   slots   sticky, of many     sieve           what names and branches narrow them to
//! origins   clients' places     pick            which instances of the level
//!   stands  ranking of regions  hash            what is the same for a client's prefix every time
//!   views   order of branches   trace           what explain shows of all that
//!   fans    where to look for an address
//! ```
//!
//! What a decision depends on makes its scope: the prefix of the stand or view that was looked at, the hashed prefix where a client's hash
//! decided. All of them hold the client, so the longest one is where all of it holds (DESIGN §9, invariant 8).

mod centroids;
mod continents;
mod decide;
mod fans;
mod few;
#[cfg(test)]
mod fixture;
mod hash;
mod levels;
mod living;
#[cfg(test)]
mod matrix;
mod measured;
mod mmdb;
mod origins;
mod own;
mod pick;
mod places;
mod pool;
mod prefixes;
#[cfg(test)]
mod properties;
mod ranking;
mod sieve;
mod sites;
mod slots;
mod spill;
mod stands;
mod trace;
mod tree;
mod urn;
mod views;
mod walk;

pub use decide::{Choice, Decision, MAX_TIERS, Start, World, decide, decide_into, even_draws};
pub use hash::{ClientPrefix, seed_of};
pub use measured::{FRESH, Fresh, MOST_MS, MOST_PREFIXES, MOST_REGIONS, Measured, Measurements, Survey, Surveyed, measured_prefix};
pub use mmdb::{DatabaseError, read_database};
pub use origins::{Origin, Origins};
pub use pick::{Picked, Sampling, Selection, expected_shares, pick};
pub use places::{AzName, LocalityId, Places, RegionId};
pub use pool::{Member, Need, Pool, Stance, Standing};
pub use ranking::LatencySource;
pub use sieve::{Filter, Gate};
pub use stands::{Orders, Stand};
pub use trace::{Silent, Step, Steps, Trace};
pub use tree::{Against, ServiceId, Tree, TreeError};
pub use views::Views;
