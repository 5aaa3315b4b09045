//! A private key as a value: made from a secret that the caller drew, or read from what other servers export.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use super::SignError;
use crate::model::{Algorithm, KeyRole, ZoneKey};

/// Octets of a secret, of either algorithm.
pub const SECRET: usize = 32;

/// The secret of a key, in octets: the scalar of ECDSA, the seed of Ed25519. Nothing shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; SECRET]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A private key.
pub struct PrivateKey {
    secret: Secret,
    public: Box<[u8]>,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// The key of a secret. Of the 2²⁵⁶ secrets all are keys of Ed25519, and all but some 2²²⁴ keys of P-256.
    pub fn new(algorithm: Algorithm, secret: Secret) -> Result<PrivateKey, SignError> {
        let refused = |_| SignError::Key;
        match algorithm {
            Algorithm::EcdsaP256Sha256 => {
                let der = sec1(&secret.0);
                let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).map_err(refused)?;
                PrivateKey::of_ecdsa(pair)
            }
            Algorithm::Ed25519 => Ok(PrivateKey::of_ed25519(secret, Ed25519KeyPair::from_seed_unchecked(&secret.0).map_err(refused)?)),
        }
    }

    /// A key on P-256 from DER: PKCS #8 (RFC 5208), or what SEC 1 calls ECPrivateKey.
    pub(super) fn ecdsa_of_der(der: &[u8]) -> Result<PrivateKey, SignError> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der).or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, der));
        PrivateKey::of_ecdsa(pair.map_err(|_| SignError::Key)?)
    }

    /// A key of Ed25519 from PKCS #8.
    pub(super) fn ed25519_of_der(der: &[u8]) -> Result<PrivateKey, SignError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| SignError::Key)?;
        let seed = pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_| SignError::Key)?;
        let secret = Secret(seed.as_ref().try_into().map_err(|_| SignError::Key)?);
        Ok(PrivateKey::of_ed25519(secret, pair))
    }

    fn of_ecdsa(pair: EcdsaKeyPair) -> Result<PrivateKey, SignError> {
        // RFC 6605 §4: the two coordinates, without the octet that says that both are there.
        let public = pair.public_key().as_ref().strip_prefix(&[4]).ok_or(SignError::Key)?.into();
        let secret: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(|_| SignError::Key)?;
        let secret = Secret(secret.as_ref().try_into().map_err(|_| SignError::Key)?);
        Ok(PrivateKey { secret, public, pair: Pair::Ecdsa(pair) })
    }

    fn of_ed25519(secret: Secret, pair: Ed25519KeyPair) -> PrivateKey {
        PrivateKey { secret, public: pair.public_key().as_ref().into(), pair: Pair::Ed25519(pair) }
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ecdsa(_) => Algorithm::EcdsaP256Sha256,
            Pair::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// The secret, to be kept.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The public key as a DNSKEY has it (RFC 6605 §4, RFC 8080 §3).
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// RDATA of its DNSKEY in a role.
    pub fn dnskey(&self, role: KeyRole) -> Box<[u8]> {
        let key = ZoneKey {
            flags: role.flags(),
            algorithm: self.algorithm().number(),
            tag: 0,
            public: self.public.clone(),
            signs_keys: false,
            signs_zone: false,
            published: false,
        };
        key.rdata()
    }

    /// Signs octets, as the signature stands in an RRSIG. Two signatures of the same by ECDSA differ: the library draws a number for each.
    pub fn sign(&self, octets: &[u8]) -> Result<impl AsRef<[u8]> + use<>, SignError> {
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&SystemRandom::new(), octets),
            Pair::Ed25519(pair) => pair.try_sign(octets),
        }
        .map_err(|_| SignError::Key)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({:?})", self.algorithm())
    }
}

/// A scalar as an ECPrivateKey on P-256 without public key, which is computed (RFC 5915 §3).
fn sec1(scalar: &[u8; SECRET]) -> Vec<u8> {
    const HEAD: &[u8] = &[0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    // The named curve 1.2.840.10045.3.1.7.
    const CURVE: &[u8] = &[0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    [HEAD, scalar, CURVE].concat()
}
