//! Floor 3: keys, signatures, and how one key follows another. Pure: time and randomness are arguments, private keys are values. (The one
//! number that ECDSA needs for each signature, the cryptographic library draws itself: it must not be ours to repeat.)
//!
//! A [`Keyring`] holds the private keys of every signed zone and signs RRsets ([`Keyring::sign`]).

pub mod digest;
pub mod formats;
mod keyring;
mod private;

pub use keyring::{Keyring, Ring, SignError, Signature};
pub use private::{PrivateKey, SECRET, Secret};
