//! Shell (floor 5): signpost.toml, zone files and geo files become values, or an error that names file, line and field.
//!
//! ```text
//! signpost.toml ─┐                      geo/*.toml, *.mmdb ─▶ geo ─┐
//!                ├─▶ settings() ─▶ Settings ─▶ world() ────────────┼─▶ Loaded { zones, geo, warnings }
//! SIGNPOST__… ───┘                      zones/<apex>.toml, .zone ──┘    or every Finding of every file
//! ```
//!
//! Branches that lead to other names are replaced by what those are once all zones are read, so that nothing below this floor knows of
//! them.
//!
//! Nothing here changes what is being served: a caller loads everything, and only a world without findings replaces the one in use
//! (DESIGN §9 invariant 4). Where something was good before, [`Reread`] keeps a zone or geo data whose files are broken as they were then, and takes the rest; what was good is
//! written down ([`LastText`]), so that this holds over a restart. [`watch()`] tells when it is worth loading again.

// This shell reads files and the clock of the file system; the pure floors must not.
#![allow(clippy::disallowed_methods)]

mod alias;
mod atlas;
mod catalog;
mod checks;
mod copying;
mod databases;
mod document;
mod finding;
mod forward;
mod geo;
mod keys;
mod last;
mod lexer;
mod master;
mod policies;
mod rdata;
mod references;
mod reread;
mod secondary;
mod services;
mod settings;
mod sources;
mod suggest;
mod transfer;
mod tsig;
mod update;
mod values;
mod watch;
mod world;
mod zone;

pub use finding::{ConfigError, Finding};
pub use keys::keys;
pub use last::{LastError, LastText};
pub use rdata::parse_record;
pub use reread::{Kept, Reread};
pub use settings::settings;
pub use sources::Sources;
pub use watch::{Watch, WatchError, watch};
pub use world::{Copied, CopySource, Loaded, copied_text, copy, world, zone_text};

#[cfg(test)]
mod tests;
