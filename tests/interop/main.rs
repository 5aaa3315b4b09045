//! Tests against other people's programs: dig, kdig and drill, Unbound, BIND and Knot Resolver, NSD and Knot, dnsmasq and glibc, HAProxy, curl.
//!
//! They start the real binary on loopback and need what `.ci/run` installs; a missing program is a failure, never a skip.
//! Run them with `cargo test --features interop --test interop`.
// Waiting for a real process takes a real clock, and its log is a file.
#![allow(clippy::disallowed_methods)]

mod catalogs;
mod checks;
mod clients;
mod compliance;
mod datagrams;
mod differential;
mod dnssec;
mod encrypted;
mod forward;
mod glibc;
mod haproxy;
mod harness;
mod internet;
mod keys;
mod narrow;
mod options;
#[path = "../overlap/mod.rs"]
mod overlap;
mod peers;
mod presigned;
mod primaries;
mod rdata;
mod recursors;
mod reply;
mod rollover;
mod scopes;
mod secondaries;
mod updates;
mod walkers;
mod world;
mod xot;
mod zonemaster;
