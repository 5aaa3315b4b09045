//! What cannot be served: the second line of defence behind the checks of the files, which say it with the line.
//!
//! What is occluded, at or below a delegation, is not looked at: it is never answered (RFC 1034 §4.3.2 step 3b).

use super::ZoneError;
use super::compile::{Draft, Key, parent};
use crate::codec::code::rtype;

impl Draft<'_> {
    /// Refuses what would make answers wrong.
    pub fn check(&self) -> Result<(), ZoneError> {
        self.check_services()?;
        self.check_delegations()?;
        self.check_aliases()?;
        self.check_redirections()
    }

    /// Whether something stands below a delegation.
    fn is_occluded(&self, key: &[u8]) -> bool {
        parent(key).is_some_and(|above| self.cut_above(above).is_some())
    }

    /// Nothing else can stand on the name of a service (DESIGN §3).
    fn check_services(&self) -> Result<(), ZoneError> {
        for label in self.zone.defined.keys().filter(|_| self.zone.services) {
            let key = [&[label.as_str().len() as u8], label.as_str().as_bytes()].concat();
            if self.owners.get(key.as_slice()).is_some_and(|entry| entry.policy.is_some() || !entry.sets.is_empty()) {
                return Err(self.error(self.named(&key), "is the name of a service: no static record or policy can stand there"));
            }
        }
        // Services come and go: a DNAME above the names that they may have would hide them all.
        let above = [&b""[..], b"\x04_tcp", b"\x04_udp"];
        match above.into_iter().find(|key| self.zone.services && self.redirections.contains(*key)) {
            Some(key) => Err(self.error(self.named(key), "a DNAME would hide the names of services, which stand below")),
            None => Ok(()),
        }
    }

    fn check_delegations(&self) -> Result<(), ZoneError> {
        for (key, _) in self.owners.iter().filter(|(_, entry)| entry.policy.is_some()) {
            if let Some(cut) = self.cut_above(key) {
                let reason = format!("has a policy and stands at or below the delegation of {}, which answers instead", self.named(cut));
                return Err(self.error(self.named(key), reason));
            }
        }
        // RFC 1034 §4.2.1: an SOA begins a zone, and this zone has begun; one of a zone below is occluded.
        let begins =
            self.owners.iter().find(|(key, entry)| !key.is_empty() && entry.set(rtype::SOA).is_some() && self.cut_above(key).is_none());
        if let Some((key, _)) = begins {
            return Err(self.error(self.named(key), "an SOA stands at the apex alone"));
        }
        // What it would mean is undefined (RFC 4592 §4.2).
        match self.cuts.iter().find(|key| key.starts_with(b"\x01*") && !self.is_occluded(key)) {
            Some(key) => Err(self.error(self.named(key), "a wildcard cannot be delegated (RFC 4592 §4.2)")),
            None => Ok(()),
        }
    }

    fn check_aliases(&self) -> Result<(), ZoneError> {
        for (key, entry) in self.owners.iter().filter(|(key, _)| !self.is_occluded(key)) {
            let Some(alias) = entry.set(rtype::CNAME) else { continue };
            // RFC 4035 §2.5: but for what signs it.
            let others = entry.sets.iter().any(|set| !matches!(set.set().rtype(), rtype::CNAME | rtype::RRSIG | rtype::NSEC));
            if others || entry.policy.is_some() || alias.len() > 1 {
                return Err(self.error(self.named(key), "a CNAME stands alone at its name (RFC 1034 §3.6.2)"));
            }
        }
        Ok(())
    }

    fn check_redirections(&self) -> Result<(), ZoneError> {
        let refuse = |key: &Key, reason: &str| Err(self.error(self.named(key), reason));
        for key in self.redirections.iter().filter(|key| !self.is_occluded(key)) {
            let Some(entry) = self.owners.get(key) else { continue };
            if entry.set(rtype::DNAME).is_some_and(|set| set.len() > 1) {
                return refuse(key, "a name has one DNAME at most (RFC 6672 §2.4)");
            }
            if entry.set(rtype::NS).is_some() && !key.is_empty() {
                return refuse(key, "a DNAME cannot stand beside NS, but for the apex (RFC 6672 §2.3)");
            }
        }
        for (key, entry) in self.owners.iter().filter(|_| !self.redirections.is_empty()) {
            let stands = (entry.policy.is_some() || !entry.sets.is_empty()) && !entry.is_hash();
            if let Some(above) = self.redirection_above(key).filter(|_| stands) {
                return refuse(key, &format!("nothing can stand below the DNAME of {} (RFC 6672 §2.4)", self.named(above)));
            }
        }
        Ok(())
    }
}
