//! Floor 1: compiled policies and the one function that decides. Pure: the world, the client and the draw are arguments.
//!
//! A decision goes through three steps at each inner node of a policy tree: *filter* (healthy, for this client), *sort* (order written,
//! latency, locality), *pick* (first, or by weight). The leaf is a set of instances of one service, or static records. [`decide()`] finds
//! the leaf; [`pick()`] chooses which of its instances stand in one answer. Every path (UDP, TCP, explain, tests) calls these two.
//!
//! ```text
//! compiled before            asked per query
//! places    regions, azs     origins.find   client → place, ranking, scope
//! tree      policy           decide → walk  rounds of health; branches; `levels` of a service's instances
//! pool      instances        pick           which instances of the level
//! origins   clients' places  trace          what explain shows of all that
//! ```

mod centroids;
mod continents;
mod decide;
#[cfg(test)]
mod fixture;
mod hash;
mod levels;
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
mod sites;
mod spill;
mod stands;
mod trace;
mod tree;
mod views;
mod walk;

pub use decide::{Choice, Decision, MAX_TIERS, Start, World, decide, even_draws};
pub use hash::{ClientPrefix, seed_of};
pub use measured::{FRESH, Fresh, MOST_MS, MOST_PREFIXES, MOST_REGIONS, Measured, Measurements, Survey, Surveyed, measured_prefix};
pub use mmdb::{DatabaseError, read_database};
pub use origins::{Origin, Origins};
pub use pick::{Picked, Sampling, Selection, expected_shares, pick};
pub use places::{AzName, LocalityId, Places, RegionId};
pub use pool::{Filter, Gate, Member, Need, Pool, Standing};
pub use ranking::LatencySource;
pub use stands::{Orders, Stand};
pub use trace::{Silent, Step, Steps, Trace};
pub use tree::{Against, ServiceId, Tree, TreeError};
pub use views::Views;
