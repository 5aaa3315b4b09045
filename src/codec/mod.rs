//! Floor 0: the wire format of names, questions, RRs and OPT (RFC 1035 §4, RFC 6891, RFC 7871, RFC 7873). Bytes ↔ values, without allocation.
//!
//! [`Request::parse`] reads a query as far as it makes sense and says what is wrong with the rest; [`Writer`] writes into a buffer that
//! may be too small, and then says so instead of panicking. Nothing here knows zones or services.

pub mod code;
mod cookie;
mod edns;
mod hashed;
mod name;
mod rdata;
mod records;
mod request;
mod subnet;
mod writer;

pub use cookie::Cookie;
pub use edns::{EDNS_FIXED, Edns, Keepalive};
pub use hashed::{HASH, HASH_LABEL, MOST_ITERATED, NameHash, iterated};
pub use name::{MAX_LABELS, MAX_NAME, NameBuf};
pub use rdata::{expand, present};
pub use records::{Record, Records, Section};
pub use request::{Counts, Fault, HEADER, Header, Question, Request};
pub use subnet::{ClientSubnet, SubnetFault};
pub use writer::{Full, Pointer, Rest, Spelling, Writer};
