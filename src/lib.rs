//! Signpost: an authoritative DNS server that points every client at the nearest healthy instance of a service.
//!
//! This page is the tour of the house; `ARCHITECTURE.md` is the same with a picture.
//!
//! # Floors
//!
//! A module uses only floors below its own; a test reads the imports and holds it.
//!
//! | floor | modules | in a sentence |
//! | --- | --- | --- |
//! | 0 | [`model`], [`codec`] | the words as values; the wire format of DNS |
//! | 1 | [`routing`], [`registry`], [`tsig`] | what answers this client; what was registered; who signed a message |
//! | 2 | [`snapshot`] | the immutable, precompiled world that one query sees |
//! | 3 | [`wire`], [`sign`], [`store`], [`simulate`], [`transfer`] | bytes in, bytes out; keys and signatures; what is written down; who would be served where, if; copies of zones |
//! | 4 | [`control`] | the single writer |
//! | 5 | [`config`], [`secondary`], [`probe`], [`server`], [`forward`], [`drill`], [`api`], [`cli`], [`telemetry`] | shells: IO, clocks, threads; they never use each other |
//! | roof | [`serve`] | joins the shells into a running server |
//!
//! # The straight lines
//!
//! **A query**: [`server`] receives a datagram, with those that wait beside it, and calls [`wire::answer`], which parses it ([`codec`]), finds the zone and the service
//! ([`snapshot`]), decides and picks ([`routing`]), and writes the reply. Nothing is allocated and nobody is waited for.
//!
//! **What waits**: what cannot be answered at once ([`wire::Punt`]) goes aside ([`server::Slow`]); the roof joins what answers it, such as
//! [`forward`], with what is ours of the answer ([`wire::answer_again`]).
//!
//! **A registration**: [`api`] hands a [`registry::Command`] to [`control::Control::apply`]. It is checked by the registry, made durable by the
//! [`store`], compiled into the next snapshot, published, and only then acknowledged.
//!
//! **A health result**: [`probe`] runs a check and counts ([`model::CheckState`]). Only when the verdict turns, wavers or is steady
//! again does it call [`control::Control::observe`], which publishes at once and persists behind.
//!
//! # Without a socket
//!
//! Everything up to floor 4 runs without IO. This is a whole query, answered from a world without zones:
//!
//! ```
//! use std::sync::Arc;
//! use signpost::model::{Counter, Counters};
//! use signpost::snapshot::Snapshot;
//! use signpost::wire::{Outcome, Query, Transport, Worker, answer};
//!
//! let counters = Arc::new(Counters::default());
//! let mut worker = Worker::new(1, counters.clone());
//! // ID 7, RD; one question: "example." A IN
//! let bytes = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x00\x00\x01\x00\x01";
//! let query = Query { bytes, peer: ([127, 0, 0, 1], 5353).into(), transport: Transport::Udp, now_ms: 0 };
//! let mut reply = [0; 512];
//! let Outcome::Reply(length) = answer(&Snapshot::empty(), &mut worker, &query, &mut reply) else { panic!("a query is answered") };
//! assert_eq!(&reply[..2], b"\x00\x07");
//! assert_eq!(reply[3] & 0x0f, 5, "REFUSED: no zone of ours");
//! assert_eq!((counters.get(Counter::Refused), length), (1, bytes.len()));
//! ```
//!
//! # Where to begin
//!
//! To see how an answer comes about, read [`wire::answer`], then [`routing::decide`]. To see how the world changes, read [`control`]. To add
//! a policy, begin with [`model::PolicyKind`].

pub mod api;
pub mod cli;
pub mod codec;
pub mod config;
pub mod control;
pub mod drill;
pub mod forward;
pub mod model;
pub mod probe;
pub mod registry;
pub mod routing;
pub mod secondary;
pub mod serve;
pub mod server;
pub mod sign;
pub mod simulate;
pub mod snapshot;
pub mod store;
pub mod telemetry;
pub mod transfer;
pub mod tsig;
pub mod wire;
