//! Dynamic updates as values (RFC 2136): what a message asks for, and who may ask for what.

use std::collections::BTreeSet;
use std::fmt;

use super::{FieldError, Name};

/// An update of one zone, read and well formed (RFC 2136 §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneUpdate {
    /// The zone's apex.
    pub apex: Name,
    /// What must hold before anything is changed.
    pub prerequisites: Vec<Prerequisite>,
    /// The changes, in the order in which they are made.
    pub edits: Vec<Edit>,
}

/// What must hold before an update is made (RFC 2136 §2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prerequisite {
    /// Records stand at the name (§2.4.4).
    InUse(Name),
    /// None do (§2.4.5).
    Unused(Name),
    /// The RRset exists, whatever is in it (§2.4.1).
    Exists(Name, u16),
    /// It does not (§2.4.3).
    Absent(Name, u16),
    /// A record of an RRset that holds these and no others, given record by record (§2.4.2).
    Holds(Name, u16, Box<[u8]>),
}

/// One change (RFC 2136 §2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A record is added to its RRset (§2.5.1).
    Add {
        /// The owner.
        name: Name,
        /// The type.
        rtype: u16,
        /// Seconds.
        ttl: u32,
        /// RDATA, uncompressed.
        rdata: Box<[u8]>,
    },
    /// An RRset is deleted (§2.5.2).
    DeleteSet(Name, u16),
    /// Every RRset of a name is deleted (§2.5.3).
    DeleteName(Name),
    /// A record is deleted from its RRset (§2.5.4).
    DeleteRecord(Name, u16, Box<[u8]>),
}

impl Edit {
    /// The owner that it is about.
    pub fn name(&self) -> &Name {
        match self {
            Edit::Add { name, .. } | Edit::DeleteSet(name, _) | Edit::DeleteName(name) | Edit::DeleteRecord(name, ..) => name,
        }
    }

    /// The type that it is about; `None`: all that stand there.
    pub fn rtype(&self) -> Option<u16> {
        match self {
            Edit::Add { rtype, .. } | Edit::DeleteSet(_, rtype) | Edit::DeleteRecord(_, rtype, _) => Some(*rtype),
            Edit::DeleteName(_) => None,
        }
    }
}

/// What the holder of a key may change in a zone. What nothing grants is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateRight {
    /// The name of the key that signs the message (RFC 8945).
    pub key: Name,
    /// Owners.
    pub names: Vec<NamePattern>,
    /// Types.
    pub types: UpdateTypes,
}

impl UpdateRight {
    /// Whether it grants changes of an RRset; `types` `None`: of any at the name.
    pub fn grants(&self, apex: &Name, name: &Name, rtype: Option<u16>) -> bool {
        rtype.is_none_or(|rtype| self.types.has(rtype)) && self.names.iter().any(|pattern| pattern.covers(apex, name))
    }
}

/// Types of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateTypes {
    /// Every type, SOA and NS of the apex included.
    Every,
    /// These.
    These(BTreeSet<u16>),
}

impl UpdateTypes {
    fn has(&self, rtype: u16) -> bool {
        match self {
            UpdateTypes::Every => true,
            UpdateTypes::These(types) => types.contains(&rtype),
        }
    }
}

/// Names of a zone, relative to its apex: `@` is the apex, `*` stands for one label, `**` for any number of them, none included.
///
/// `_acme-challenge` is one name, `*.dyn` every name one label below `dyn`, `_acme-challenge.**` that label before any name, `**` all.
#[derive(Clone, PartialEq, Eq)]
pub struct NamePattern {
    labels: Vec<Box<[u8]>>,
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// No name, or an absolute one.
    pub fn parse(text: &str) -> Result<NamePattern, FieldError> {
        if text == "@" {
            return Ok(NamePattern { labels: Vec::new() });
        }
        if text.ends_with('.') && !text.ends_with("\\.") {
            return Err(FieldError::new("", format!("names are relative to the zone, without a last dot, not {text:?}")));
        }
        let name = Name::parse(text).map_err(|error| FieldError::new("", error.to_string()))?;
        Ok(NamePattern { labels: name.labels().map(Box::from).collect() })
    }

    /// Whether it stands for a name of the zone.
    pub fn covers(&self, apex: &Name, name: &Name) -> bool {
        if !name.is_within(apex) {
            return false;
        }
        let labels: Vec<&[u8]> = name.labels().collect();
        let own = labels.len() - apex.labels().count();
        // `reach[n]`: the pattern up to here stands for the first `n` labels. No pattern makes this slower than labels × labels.
        let mut reach = vec![false; own + 1];
        reach[0] = true;
        for part in &self.labels {
            if **part == *b"**" {
                for n in 1..=own {
                    reach[n] |= reach[n - 1];
                }
            } else {
                for n in (1..=own).rev() {
                    reach[n] = reach[n - 1] && (**part == *b"*" || **part == *labels[n - 1]);
                }
                reach[0] = false;
            }
        }
        reach[own]
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.labels.is_empty() {
            return f.write_str("@");
        }
        let texts: Vec<_> = self.labels.iter().map(|label| String::from_utf8_lossy(label)).collect();
        f.write_str(&texts.join("."))
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_say() {
        let apex = Name::parse("x.example.").unwrap();
        let check = |pattern: &str, covered: &[&str], others: &[&str]| {
            let pattern = NamePattern::parse(pattern).unwrap();
            let covers = |text: &&str| pattern.covers(&apex, &Name::parse_relative(text, Some(&apex)).unwrap());
            assert!(covered.iter().all(covers), "{pattern} covers {covered:?}");
            assert!(!others.iter().any(covers), "{pattern} does not cover {others:?}");
        };
        check("@", &["@"], &["a", "example.", "y.example."]);
        check("**", &["@", "a", "b.a", "*.a"], &["example.", "ax.example."]);
        check("_acme-challenge", &["_acme-challenge", "_ACME-challenge"], &["@", "_acme-challenge.www", "a._acme-challenge"]);
        check("*.dyn", &["a.dyn", "*.dyn"], &["dyn", "b.a.dyn", "a.din"]);
        check("**.dyn", &["dyn", "a.dyn", "b.a.dyn"], &["@", "adyn", "dyn.a"]);
        check("_acme-challenge.**", &["_acme-challenge", "_acme-challenge.www", "_acme-challenge.a.b"], &["www", "a._acme-challenge"]);
        check("*.**.a.**", &["b.a", "c.b.a", "b.a.a.d"], &["a", "@", "a.b"]);
        for wrong in ["", "a..b", "a.", "..", r"a\"] {
            assert!(NamePattern::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
