//! Signpost: an authoritative DNS server that points every client at the nearest healthy instance of a service.

pub mod api;
pub mod cli;
pub mod codec;
pub mod config;
pub mod control;
pub mod model;
pub mod probe;
pub mod registry;
pub mod routing;
pub mod serve;
pub mod server;
pub mod snapshot;
pub mod store;
pub mod telemetry;
pub mod wire;
