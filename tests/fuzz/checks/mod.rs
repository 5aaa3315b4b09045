//! What must hold of every reply and of every zone, whatever the octets: shared by the fuzz targets and by `tests/integration/corpus.rs`,
//! which runs every seed through it.
//!
//! ```text
//! answer(octets)       a query to a rich world      ─┬─ ask ──────┐
//!                      …, or a flood of it          ─┼─ limited ──┴─ reply::check ─ message::read
//! zone_text(file, …)   a zone, then queries to it   ─┘
//! update(octets)       an update of a zone, which is refused or served
//! transfer(octets)     a message of another server: TSIG, AXFR, IXFR, a reply to NOTIFY
//! ```

pub mod answer;
pub mod ask;
pub mod limited;
pub mod message;
pub mod reply;
pub mod transfer;
pub mod update;
pub mod zone;
