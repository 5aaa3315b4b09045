//! Floor 3: keys, signatures, and how one key follows another. Pure: time and randomness are arguments, private keys are values. (The one
//! number that ECDSA needs for each signature, the cryptographic library draws itself: it must not be ours to repeat.)
//!
//! ```text
//!   files ─▶ formats ─▶ PrivateKey ─┐
//!                                   ├─▶ Ring ─▶ Keyring::sign(Unsigned) ─▶ Signature
//!   files ─▶ ZoneKeys ─▶ ZoneSigning┘
//!              │  ▲          └─▶ DNSKEY, CDS and CDNSKEY of the zone
//!              └──┘ take, confirm: rollover ◀── parent: what its servers say of the DS
//! ```
//! A [`Keyring`] holds the private keys of every signed zone and signs RRsets ([`Keyring::sign`]).

pub mod digest;
pub mod formats;
mod keyring;
pub mod parent;
mod private;
mod rollover;

pub use keyring::{Keyring, Ring, SignError, Signature};
pub use private::{PrivateKey, SECRET, Secret};
pub use rollover::{Awaited, Due, KeyRecord, OddKeys, RollRefusal, Step, Timing, Watched, ZoneKeys};
