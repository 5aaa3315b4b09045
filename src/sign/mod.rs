//! Floor 3: keys, signatures, and how one key follows another. Pure: time and randomness are arguments, private keys are values.
//!
//! A [`Keyring`] holds the private keys of every signed zone and signs RRsets ([`Keyring::sign`]).

mod keyring;

pub use keyring::{Keyring, SignError, Signature};
