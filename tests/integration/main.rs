//! The one integration test binary: what is true of the whole.

// Tests start processes, read files and measure time: they stand on no floor.
#![allow(clippy::disallowed_methods)]

mod allocation;
mod amplification;
mod ask;
#[path = "../fuzz/checks/mod.rs"]
mod checks;
mod command;
mod connections;
mod corpus;
mod dnssec;
mod drill;
mod durability;
mod encrypted;
mod evacuation;
mod figures;
mod floors;
mod forward;
mod half_open;
mod interplay;
mod message;
mod oracle;
#[path = "../overlap/mod.rs"]
mod overlap;
mod policies;
mod presigned;
mod process;
mod reload;
mod rfc_table;
mod signed;
mod simulate;
mod steering;
mod transcripts;
mod transfer;
mod updates;

/// Counts allocations, thread by thread, for the one test that looks; the others notice nothing.
#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;
