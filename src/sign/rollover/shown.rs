//! What answers show of a zone's keys: DNSKEY, CDS and CDNSKEY, and which key signs what.

use super::{KeyRecord, ZoneKeys};
use crate::model::{Denial, KeyRole, KeyStage, Name, ZoneKey, ZoneSigning};
use crate::sign::digest::{DigestType, cdnskey_delete, cds_delete, ds};

impl ZoneKeys {
    /// What answers show of the keys, with compact denial.
    pub fn signing(&self, apex: &Name, dnskey_ttl: u32) -> ZoneSigning {
        let mut keys = self.shown();
        keys.sort_by_key(|key| key.tag);
        let (cds, cdnskey) = match (self.leaving, self.asked_for()) {
            (Some(_), _) => (vec![cds_delete()], vec![cdnskey_delete()]),
            // RFC 7344 §4: both, and they say the same. SHA-256 (RFC 4509) is what every parent takes.
            (None, Some(key)) => (vec![ds(apex, &key.dnskey(), DigestType::Sha256)], vec![key.dnskey()]),
            (None, None) => (Vec::new(), Vec::new()),
        };
        let epoch = epoch(&keys);
        ZoneSigning { keys, dnskey_ttl, denial: Denial::Compact, cds, cdnskey, epoch }
    }

    /// The key whose DS the parent should have.
    pub fn asked_for(&self) -> Option<&KeyRecord> {
        let entry = |stage: KeyStage| self.keys.iter().find(|key| key.role.is_entry() && key.stage == stage);
        entry(KeyStage::Submitted).or_else(|| entry(KeyStage::Active))
    }

    pub(super) fn shown(&self) -> Vec<ZoneKey> {
        // The first CSK signs the zone while it waits for its DS: there is no other.
        let active = self.keys.iter().any(|key| key.role != KeyRole::Ksk && key.stage == KeyStage::Active);
        let first = |key: &KeyRecord| !active && key.role == KeyRole::Csk;
        let shown = |key: &KeyRecord| ZoneKey {
            flags: key.role.flags(),
            algorithm: key.algorithm.number(),
            tag: key.tag,
            public: key.public.clone(),
            signs_keys: key.role.is_entry(),
            signs_zone: key.role != KeyRole::Ksk && (key.stage == KeyStage::Active || first(key)),
            published: true,
        };
        self.keys.iter().map(shown).collect()
    }
}

/// Names what signs, so that signatures of other keys are never taken for theirs.
fn epoch(keys: &[ZoneKey]) -> u64 {
    use sha2::{Digest, Sha256};
    let hash = keys
        .iter()
        .filter(|key| key.signs_keys || key.signs_zone)
        .fold(Sha256::new(), |hash, key| hash.chain_update(key.rdata()).chain_update([u8::from(key.signs_keys), u8::from(key.signs_zone)]));
    hash.finalize().iter().take(8).fold(0, |epoch, octet| epoch << 8 | u64::from(*octet))
}
