//! The private keys of all zones, and signing with them.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::FixedState;

use super::private::PrivateKey;
use crate::codec::code::rtype;
use crate::model::{Name, Timestamp, ZoneKey, ZoneSigning};
use crate::snapshot::Unsigned;

/// The private keys of every signed zone. A value: rollover makes another.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    zones: BTreeMap<Name, Arc<Ring>>,
}

/// The keys of one zone that sign.
#[derive(Debug)]
pub struct Ring {
    keys: Vec<Signer>,
    epoch: u64,
    validity: Duration,
    seed: u64,
}

/// A key that signs.
#[derive(Debug)]
struct Signer {
    private: Arc<PrivateKey>,
    tag: u16,
    signs_keys: bool,
    signs_zone: bool,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// RDATA of the RRSIG (RFC 4034 §3.1).
    pub rdata: Box<[u8]>,
    /// From when on another should be made: a quarter of its time is left then.
    pub refresh: Timestamp,
    /// From when on nobody believes it.
    pub expires: Timestamp,
}

/// Why an RRset cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The zone has no keys, or none that signs this type.
    #[error("the zone has no key that signs this")]
    NoKeys,
    /// The private key of a key that signs is not there.
    #[error("the private key with tag {0} is missing")]
    Missing(u16),
    /// The owner is not within the zone, or a record is longer than 65,535 octets.
    #[error("the RRset cannot stand in the zone")]
    Foreign,
    /// The cryptographic library refused.
    #[error("the key cannot be used")]
    Key,
}

/// How long before it was made a signature begins to hold: validators whose clocks are slow believe it all the same.
const SLOW_CLOCKS: Duration = Duration::from_secs(3600);
/// Expirations are spread over one part in so many of the validity, so that signatures made together are not made again together.
const JITTER: u64 = 8;
/// A signature is made again when one part in so many of its validity is left.
const REST: u32 = 4;

impl Keyring {
    /// Signs an RRset: one signature by each key that signs it, all of them with the same times.
    pub fn sign(&self, set: &Unsigned, now: Timestamp) -> Result<Vec<Signature>, SignError> {
        self.zones.get(&set.apex).ok_or(SignError::NoKeys)?.sign(set, now)
    }

    /// The epoch of a zone ([`ZoneSigning::epoch`]) whose keys these are; `None`: it is not signed.
    pub fn epoch(&self, apex: &Name) -> Option<u64> {
        self.zones.get(apex).map(|ring| ring.epoch)
    }

    /// Takes the keys of a zone; `None`: it is signed no more.
    pub fn put(&mut self, apex: Name, ring: Option<Arc<Ring>>) {
        match ring {
            Some(ring) => _ = self.zones.insert(apex, ring),
            None => _ = self.zones.remove(&apex),
        }
    }
}

impl Ring {
    /// The keys of a zone as it shows them, with their private sides by tag. Signatures hold for `validity`, less a jitter by `seed`.
    pub fn new(signing: &ZoneSigning, private: &BTreeMap<u16, Arc<PrivateKey>>, validity: Duration, seed: u64) -> Result<Ring, SignError> {
        let signs = signing.keys.iter().filter(|key| key.signs_keys || key.signs_zone);
        let signer = |key: &ZoneKey| {
            let ours = private.get(&key.tag).filter(|ours| *ours.public() == *key.public).ok_or(SignError::Missing(key.tag))?;
            Ok(Signer { private: ours.clone(), tag: key.tag, signs_keys: key.signs_keys, signs_zone: key.signs_zone })
        };
        let keys = signs.map(signer).collect::<Result<Vec<_>, SignError>>()?;
        Ok(Ring { keys, epoch: signing.epoch, validity, seed })
    }

    fn sign(&self, set: &Unsigned, now: Timestamp) -> Result<Vec<Signature>, SignError> {
        if !set.owner.is_within(&set.apex) {
            return Err(SignError::Foreign);
        }
        // RFC 4034 §2.1.1, RFC 7344 §4.1: keys, and what the parent is asked for, are signed by those that its DS leads to.
        let of_keys = set.owner == set.apex && matches!(set.rtype, rtype::DNSKEY | rtype::CDS | rtype::CDNSKEY);
        let times = self.times(set, now);
        let records = records(set)?;
        let signers = self.keys.iter().filter(|key| if of_keys { key.signs_keys } else { key.signs_zone });
        let signatures = signers.map(|key| key.sign(set, &records, times)).collect::<Result<Vec<_>, _>>()?;
        match signatures.is_empty() {
            true => Err(SignError::NoKeys),
            false => Ok(signatures),
        }
    }

    fn times(&self, set: &Unsigned, now: Timestamp) -> Times {
        let spread = (self.validity.as_secs() / JITTER).max(1);
        let hash = FixedState::with_seed(self.seed).hash_one((set.owner.wire(), set.rtype, &set.data));
        let expires = now.plus(self.validity - Duration::from_secs(hash % spread).min(self.validity));
        let inception = Timestamp(now.0.saturating_sub(SLOW_CLOCKS.as_millis() as u64));
        // Of the time that it has, not of the time that none has.
        let rest = expires.since(now) / REST;
        Times { inception, expires, refresh: Timestamp(expires.0 - rest.as_millis() as u64) }
    }
}

/// When a signature holds.
#[derive(Clone, Copy)]
struct Times {
    inception: Timestamp,
    expires: Timestamp,
    refresh: Timestamp,
}

impl Signer {
    fn sign(&self, set: &Unsigned, records: &[u8], times: Times) -> Result<Signature, SignError> {
        // RFC 4034 §3.1.5: seconds since 1970 in 32 bits, which begin again in 2106.
        let seconds = |at: Timestamp| ((at.0 / 1000) as u32).to_be_bytes();
        let mut rdata = Vec::with_capacity(18 + set.apex.wire().len() + 64);
        rdata.extend(set.rtype.to_be_bytes());
        rdata.extend([self.private.algorithm().number(), labels(&set.owner)]);
        rdata.extend(set.ttl.to_be_bytes());
        rdata.extend([seconds(times.expires), seconds(times.inception)].concat());
        rdata.extend(self.tag.to_be_bytes());
        rdata.extend_from_slice(set.apex.wire());
        // RFC 4034 §3.1.8.1: the RDATA without the signature, and each record.
        let signature = self.private.sign(&[&rdata, records].concat())?;
        rdata.extend_from_slice(signature.as_ref());
        let expires = Timestamp(times.expires.0 / 1000 * 1000);
        Ok(Signature { rdata: rdata.into(), refresh: times.refresh, expires })
    }
}

/// The records of an RRset one behind the other, as they are signed (RFC 4034 §3.1.8.1).
fn records(set: &Unsigned) -> Result<Vec<u8>, SignError> {
    let owner = set.owner.wire();
    let mut octets = Vec::with_capacity(set.data.iter().map(|data| owner.len() + 10 + data.len()).sum());
    for data in &set.data {
        octets.extend_from_slice(owner);
        octets.extend(set.rtype.to_be_bytes());
        octets.extend(set.class.to_be_bytes());
        octets.extend(set.ttl.to_be_bytes());
        octets.extend(u16::try_from(data.len()).map_err(|_| SignError::Foreign)?.to_be_bytes());
        octets.extend_from_slice(data);
    }
    Ok(octets)
}

/// RFC 4034 §3.1.3: labels of the owner, without the root and without a leading `*`.
fn labels(owner: &Name) -> u8 {
    // A name has at most 127 labels.
    let count = owner.labels().count() as u8;
    count - u8::from(owner.labels().next() == Some(b"*"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use data_encoding::BASE64;

    use super::super::digest::key_tag;
    use super::super::formats::private_key;
    use super::super::private::Secret;
    use super::*;
    use crate::model::{Algorithm, Denial, KeyRole};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// A zone with these keys and what they sign.
    fn signing(keys: &[(&Arc<PrivateKey>, KeyRole)]) -> (ZoneSigning, BTreeMap<u16, Arc<PrivateKey>>) {
        let tag = |key: &PrivateKey, role: KeyRole| key_tag(&key.dnskey(role));
        let shown = |(key, role): &(&Arc<PrivateKey>, KeyRole)| ZoneKey {
            flags: role.flags(),
            algorithm: key.algorithm().number(),
            tag: tag(key, *role),
            public: key.public().into(),
            signs_keys: role.is_entry(),
            signs_zone: *role != KeyRole::Ksk,
            published: true,
        };
        let keys_shown = keys.iter().map(shown).collect();
        let signing =
            ZoneSigning { keys: keys_shown, dnskey_ttl: 3600, denial: Denial::Compact, cds: Vec::new(), cdnskey: Vec::new(), epoch: 9 };
        (signing, keys.iter().map(|(key, role)| (tag(key, *role), (*key).clone())).collect())
    }

    fn ring(keys: &[(&Arc<PrivateKey>, KeyRole)], validity: u64) -> Arc<Ring> {
        let (signing, private) = signing(keys);
        Arc::new(Ring::new(&signing, &private, Duration::from_secs(validity), 7).unwrap())
    }

    fn key(algorithm: Algorithm, seed: u8) -> Arc<PrivateKey> {
        Arc::new(PrivateKey::new(algorithm, Secret([seed; 32])).unwrap())
    }

    const ED25519: [(&str, &str, u16, &str); 2] = [
        (
            "ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=",
            "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
            3613,
            "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
        ),
        (
            "DSSF3o0s0f+ElWzj9E/Osxw8hLpk55chkmx0LYN5WiY=",
            "zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs=",
            35217,
            "zXQ0bkYgQTEFyfLyi9QoiY6D8ZdYo4wyUhVioYZXFdT410QPRITQSqJSnzQoSm5poJ7gD7AQR0O7KuI5k2pcBg==",
        ),
    ];

    #[test]
    fn signatures_are_those_of_rfc_8080_and_6605() {
        let mx = Unsigned::new(
            name("example.com"),
            name("example.com"),
            rtype::MX,
            3600,
            vec![b"\0\x0a\x04mail\x07EXAMPLE\x03com\0"[..].into()],
        );
        for (private, public, tag, signature) in ED25519 {
            let text = format!("Private-key-format: v1.2\nAlgorithm: 15 (ED25519)\nPrivateKey: {private}\n");
            let key = Arc::new(private_key(&text).unwrap());
            assert_eq!(BASE64.encode(key.public()), public);
            let (signing, private) = signing(&[(&key, KeyRole::Csk)]);
            assert_eq!(signing.keys[0].tag, tag);
            let ring = Ring::new(&signing, &private, Duration::from_secs(1), 0).unwrap();
            // Times of the RFC's own: 1440021600 and 1438207200.
            let times = Times { inception: Timestamp(1_438_207_200_000), expires: Timestamp(1_440_021_600_000), refresh: Timestamp(0) };
            let made = ring.keys[0].sign(&mx, &records(&mx).unwrap(), times).unwrap();
            assert_eq!(BASE64.encode(&made.rdata[18 + 13..]), signature);
        }
        // RFC 6605 §6.1: signatures differ each time, so that of the RFC is held against what we would sign, and ours against the key.
        let text = "Private-key-format: v1.2\nAlgorithm: 13\nPrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=\n";
        let key = Arc::new(private_key(text).unwrap());
        let www = Unsigned::new(name("example.net"), name("www.example.net"), rtype::A, 3600, vec![[192, 0, 2, 1].into()]);
        let ring = ring(&[(&key, KeyRole::Csk)], 1);
        let times = Times { inception: Timestamp(1_281_607_479_000), expires: Timestamp(1_284_026_679_000), refresh: Timestamp(0) };
        let made = ring.keys[0].sign(&www, &records(&www).unwrap(), times).unwrap();
        let (head, ours) = made.rdata.split_at(18 + 13);
        let theirs = BASE64.decode(b"qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==").unwrap();
        let verifier = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4], key.public()].concat());
        let signed = [head, &records(&www).unwrap()].concat();
        for signature in [&theirs[..], ours] {
            verifier.verify(&signed, signature).unwrap();
        }
        assert!(verifier.verify(&signed[1..], ours).is_err());
    }

    #[test]
    fn each_key_signs_what_its_role_says() {
        let (ksk, zsk) = (key(Algorithm::EcdsaP256Sha256, 1), key(Algorithm::EcdsaP256Sha256, 2));
        let ring = ring(&[(&ksk, KeyRole::Ksk), (&zsk, KeyRole::Zsk)], 1_209_600);
        let (mut keyring, now) = (Keyring::default(), Timestamp(1_700_000_000_000));
        keyring.put(name("a.test"), Some(ring));
        let tags = |owner: &str, rtype: u16| -> Vec<u16> {
            let set = Unsigned::new(name("a.test"), name(owner), rtype, 30, vec![[1; 4].into()]);
            keyring.sign(&set, now).unwrap().iter().map(|s| u16::from_be_bytes([s.rdata[16], s.rdata[17]])).collect()
        };
        let (of_keys, of_zone) = (vec![key_tag(&ksk.dnskey(KeyRole::Ksk))], vec![key_tag(&zsk.dnskey(KeyRole::Zsk))]);
        for rtype in [rtype::DNSKEY, rtype::CDS, rtype::CDNSKEY] {
            assert_eq!(tags("a.test", rtype), of_keys);
        }
        assert_eq!(tags("a.test", rtype::SOA), of_zone);
        assert_eq!(tags("www.a.test", rtype::CDS), of_zone, "only the apex has keys");
        let set = |apex: &str, owner: &str| Unsigned::new(name(apex), name(owner), rtype::A, 30, vec![[1; 4].into()]);
        assert_eq!(keyring.sign(&set("b.test", "b.test"), now), Err(SignError::NoKeys));
        assert_eq!(keyring.sign(&set("a.test", "b.test"), now), Err(SignError::Foreign));
        assert_eq!((keyring.epoch(&name("a.test")), keyring.epoch(&name("b.test"))), (Some(9), None));
        let (signing, mut private) = signing(&[(&ksk, KeyRole::Ksk), (&zsk, KeyRole::Zsk)]);
        private.remove(&of_zone[0]);
        assert_eq!(Ring::new(&signing, &private, Duration::from_secs(1), 0).unwrap_err(), SignError::Missing(of_zone[0]));
    }

    #[test]
    fn times_hold_back_spread_and_leave_a_quarter() {
        let csk = key(Algorithm::Ed25519, 3);
        let ring = ring(&[(&csk, KeyRole::Csk)], 1_209_600);
        let now = Timestamp(1_700_000_000_000);
        let mut ends = std::collections::BTreeSet::new();
        for n in 0..64 {
            let owner = name(&format!("w{n}.a.test"));
            let set = Unsigned::new(name("a.test"), owner, rtype::A, 30, vec![[1; 4].into()]);
            let [made] = &ring.sign(&set, now).unwrap()[..] else { panic!("one key") };
            assert_eq!(ring.sign(&set, now).unwrap()[0].rdata, made.rdata, "the same RRset has the same times");
            let word = |at: usize| u64::from(u32::from_be_bytes(made.rdata[at..at + 4].try_into().unwrap()));
            let (expiration, inception) = (word(8), word(12));
            assert_eq!((inception, expiration * 1000), (1_700_000_000 - 3600, made.expires.0));
            let holds = expiration - 1_700_000_000;
            assert!((1_209_600 * 7 / 8..=1_209_600).contains(&holds), "{holds}");
            assert_eq!((made.expires.0 - made.refresh.0) / 1000, holds / 4);
            ends.insert(expiration);
        }
        assert!(ends.len() > 50, "{} different ends of 64", ends.len());
    }

    #[test]
    #[ignore = "a figure: signatures a second"]
    #[allow(clippy::disallowed_methods)]
    fn figures_signatures_a_second() {
        for algorithm in Algorithm::ALL {
            let csk = key(algorithm, 5);
            let ring = ring(&[(&csk, KeyRole::Csk)], 1_209_600);
            let sets = |n: u32| Unsigned::new(name("a.test"), name(&format!("w{n}.a.test")), rtype::A, 30, vec![n.to_be_bytes().into()]);
            let sets: Vec<Unsigned> = (0..10_000).map(sets).collect();
            let begin = std::time::Instant::now();
            for set in &sets {
                assert_eq!(ring.sign(set, Timestamp(1_700_000_000_000)).unwrap().len(), 1);
            }
            println!("{}: {:.0} signatures a second on one core", algorithm.name(), sets.len() as f64 / begin.elapsed().as_secs_f64());
        }
    }

    #[test]
    fn labels_leave_the_root_and_a_wildcard_out() {
        for (owner, count) in [(".", 0), ("*.", 0), ("example", 1), ("*.a.test", 2), ("b.*.a.test", 4)] {
            assert_eq!(labels(&name(owner)), count, "{owner}");
        }
    }
}
