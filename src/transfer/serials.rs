//! Serials that move with what zones hold, and never go back: not over a restart, not where files are set back (RFC 1982).

use std::collections::BTreeMap;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::model::{Name, Zone};

/// Whether serial `a` is beyond `b` (RFC 1982 §3.2). Of two that are half the circle apart, neither is.
pub fn is_newer(a: u32, b: u32) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead != 0 && ahead < 1 << 31
}

/// The serial behind another (RFC 1982 §3.1). 0 is left out: some take it for none.
pub fn next_serial(serial: u32) -> u32 {
    serial.wrapping_add(1).max(1)
}

/// The serials that were served last, by apex, and what the zones held under them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Serials(BTreeMap<String, Kept>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    serial: u32,
    /// A hash of what the zone's files say, but the serial.
    content: String,
    /// A hash of what was rendered of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rendered: Option<String>,
}

/// A zone whose file says a serial that secondaries would not follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// The zone's file.
    pub file: String,
    /// What the file says.
    pub said: u32,
    /// What is served.
    pub served: u32,
}

/// What was kept cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("serials that were served cannot be read: {0}")]
pub struct SerialsError(#[from] serde_json::Error);

impl Serials {
    /// Reads what [`Serials::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Serials, SerialsError> {
        Ok(Serials(serde_json::from_str(text)?))
    }

    /// As it is kept: JSON.
    pub fn to_text(&self) -> String {
        // Texts and numbers always become JSON.
        serde_json::to_string_pretty(&self.0).unwrap_or_default()
    }

    /// Gives zones the serials that they are served with: the same as before where they hold the same; else the one that comes with them,
    /// if it is beyond that, or the next one. A zone whose file says its serial keeps it, unless it is `followed` by secondaries.
    pub fn assign(&mut self, zones: &mut [Zone], followed: impl Fn(&Name) -> bool) -> Vec<Overruled> {
        let mut overruled = Vec::new();
        for zone in zones {
            if zone.soa.own_serial && !followed(&zone.apex) {
                continue;
            }
            let (content, said) = (hash_of(zone), zone.soa.serial);
            let (apex, kept) = (zone.apex.to_string(), self.0.get(&zone.apex.to_string()));
            let serial = match kept {
                // Also where the file says another one that is beyond it: its author moved it.
                Some(kept) if kept.content == content && !(zone.soa.own_serial && is_newer(said, kept.serial)) => kept.serial,
                Some(kept) if !is_newer(said, kept.serial) => next_serial(kept.serial),
                _ => said,
            };
            zone.soa.serial = serial;
            if zone.soa.own_serial && serial != said {
                overruled.push(Overruled { file: zone.file.clone(), said, served: serial });
            }
            let rendered = kept.and_then(|kept| kept.rendered.clone());
            self.0.insert(apex, Kept { serial, content, rendered });
        }
        overruled
    }

    /// Notes what was rendered of a zone, by its hash. Returns the serial that goes with it where that is another than the one before:
    /// something else was rendered under that.
    pub fn render(&mut self, apex: &Name, rendered: u128, serial: u32) -> Option<u32> {
        let now = format!("{rendered:032x}");
        let kept = self.0.entry(apex.to_string()).or_insert_with(|| Kept { serial, content: String::new(), rendered: None });
        let same = kept.rendered.as_ref().is_none_or(|before| *before == now);
        kept.rendered = Some(now);
        (!same).then(|| {
            kept.serial = next_serial(kept.serial);
            kept.serial
        })
    }
}

/// A hash of what the files of a zone say, but its serial. It may be another in another version of Signpost; then the serial moves once.
fn hash_of(zone: &Zone) -> String {
    let mut hash = SipHasher13::new_with_key(b"signpost serials");
    let mut part = |octets: &[u8]| {
        hash.write_u64(octets.len() as u64);
        hash.write(octets);
    };
    let soa = &zone.soa;
    for name in [&soa.primary, &soa.contact].into_iter().chain(&zone.ns) {
        part(name.wire());
    }
    for number in [soa.ttl, soa.refresh, soa.retry, soa.expire, zone.ns_ttl] {
        part(&number.to_be_bytes());
    }
    for ((owner, rtype), set) in &zone.records {
        part(owner.wire());
        part(&[&rtype.to_be_bytes()[..], &set.ttl.to_be_bytes()[..]].concat());
        set.rdata.iter().for_each(|data| part(data));
    }
    part(format!("{:?}", (zone.services, zone.ttl, &zone.names, &zone.aliases, &zone.defined)).as_bytes());
    let hash = hash.finish128();
    format!("{:016x}{:016x}", hash.h1, hash.h2)
}
