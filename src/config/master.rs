//! A zone in the master file format (RFC 1035 §5): static zones as every other name server has them.

use super::document::Spot;
use super::finding::{Finding, Notes};
use super::lexer::{self, Entry, Semicolon, Token};
use super::rdata;
use super::zone::{Draft, NS, SOA};
use crate::model::{Name, Period, RecordSet, Soa};

/// Reads a master file. `None` where its text cannot be split into entries. The serial is the SOA's.
pub(super) fn read(file: &str, text: &str, apex: &Name, notes: &mut Notes) -> Option<Draft> {
    let entries = match lexer::entries(text, Semicolon::Comment) {
        Ok(entries) => entries,
        Err((line, reason)) => {
            notes.findings.push(Finding { file: file.into(), line: Some(line), field: String::new(), reason });
            return None;
        }
    };
    let mut reading = Reading {
        draft: Draft::new(file, apex, 0),
        origin: apex.clone(),
        owner: None,
        default_ttl: None,
        last_ttl: None,
        soa: None,
        notes,
    };
    for entry in &entries {
        if let Err(reason) = reading.entry(entry) {
            let field = match (entry.indented, entry.tokens.first()) {
                (false, Some(first)) => first.text.clone(),
                _ => reading.owner.as_ref().map(Name::to_string).unwrap_or_default(),
            };
            reading.notes.findings.push(Finding { file: file.into(), line: Some(entry.line), field, reason });
        }
    }
    reading.finish();
    Some(reading.draft)
}

struct Reading<'r> {
    draft: Draft,
    origin: Name,
    /// Of the entry before.
    owner: Option<Name>,
    /// `$TTL` (RFC 2308 §4).
    default_ttl: Option<u32>,
    /// Of the record before, where there is no `$TTL` (RFC 1035 §5.1).
    last_ttl: Option<u32>,
    soa: Option<Spot>,
    notes: &'r mut Notes,
}

impl Reading<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<(), String> {
        let mut tokens = entry.tokens.as_slice();
        if !entry.indented
            && let [first, rest @ ..] = tokens
        {
            if first.text.starts_with('$') && !first.quoted {
                return self.directive(&first.text, rest);
            }
            let owner = Name::parse_relative(&first.text, Some(&self.origin)).map_err(|e| e.to_string())?;
            if !owner.is_within(&self.draft.zone.apex) {
                return Err(format!("{owner} is not in the zone {}", self.draft.zone.apex));
            }
            self.owner = Some(owner);
            tokens = rest;
        }
        let owner = self.owner.clone().ok_or("the first record has no owner name")?;
        let (mut ttl, mut class) = (None, false);
        // [<TTL>] [<class>] <type>, or with TTL and class the other way round.
        let (rtype, data) = loop {
            let Some((first, rest)) = tokens.split_first() else {
                return Err("a type and data are expected, such as: www 300 IN A 192.0.2.1".into());
            };
            let upper = first.text.to_ascii_uppercase();
            if ttl.is_none() && upper.starts_with(|c: char| c.is_ascii_digit()) {
                ttl = Some(rdata::ttl(&first.text).ok_or_else(|| format!("a TTL is expected, not {:?}", first.text))?);
            } else if !class && upper == "IN" {
                class = true;
            } else if matches!(upper.as_str(), "CH" | "HS" | "CS" | "ANY") || upper.starts_with("CLASS") {
                return Err(format!("class {upper} is not served; only IN is"));
            } else {
                break (&first.text, rest);
            }
            tokens = rest;
        };
        let number = rdata::type_number(rtype)?;
        let data = rdata::encode(number, data, &self.origin)?;
        let ttl = ttl.or(self.default_ttl).or(self.last_ttl);
        self.last_ttl = ttl.or(self.last_ttl);
        let spot = Spot { line: Some(entry.line), field: format!("{owner} {}", rdata::type_name(number)), file: None };
        if number == SOA {
            return self.soa(&owner, &data, ttl, spot);
        }
        if number == NS && owner == self.draft.zone.apex {
            let name = Name::from_wire(&data);
            if self.draft.zone.ns.is_empty() {
                self.draft.ns = spot;
            } else {
                self.draft.further.entry((owner.clone(), NS)).or_default().push(spot);
            }
            let zone = &mut self.draft.zone;
            // RFC 2181 §5.2: the records of an RRset have one TTL; without any, that of the SOA.
            zone.ns_ttl = match (zone.ns.is_empty(), ttl) {
                (true, ttl) => ttl.unwrap_or(zone.soa.ttl),
                (false, ttl) => ttl.map_or(zone.ns_ttl, |ttl| ttl.min(zone.ns_ttl)),
            };
            if !zone.ns.contains(&name) {
                zone.ns.push(name);
            }
            return Ok(());
        }
        self.record(owner, number, data, ttl, spot);
        Ok(())
    }

    fn directive(&mut self, name: &str, arguments: &[Token]) -> Result<(), String> {
        match (name.to_ascii_uppercase().as_str(), arguments) {
            ("$ORIGIN", [origin]) => {
                self.origin = Name::parse_relative(&origin.text, Some(&self.origin)).map_err(|e| e.to_string())?;
            }
            ("$TTL", [ttl]) => {
                let seconds = rdata::ttl(&ttl.text).ok_or_else(|| format!("a TTL is expected, not {:?}", ttl.text))?;
                self.default_ttl = Some(seconds);
            }
            ("$ORIGIN" | "$TTL", _) => return Err("one value is expected".into()),
            ("$INCLUDE" | "$GENERATE", _) => return Err("is not offered: a zone is one file, with its records written out".into()),
            _ => return Err("unknown directive; known are $ORIGIN and $TTL".into()),
        }
        Ok(())
    }

    fn soa(&mut self, owner: &Name, data: &[u8], ttl: Option<u32>, spot: Spot) -> Result<(), String> {
        if *owner != self.draft.zone.apex {
            return Err(format!("the SOA stands at the apex, {}", self.draft.zone.apex));
        }
        if let Some(first) = &self.soa {
            return Err(format!("a second SOA; the first is in line {}", first.line.unwrap_or_default()));
        }
        let length = |wire: &[u8]| {
            let mut at = 0;
            while let Some(label) = wire.get(at).filter(|l| **l > 0) {
                at += 1 + usize::from(*label);
            }
            at + 1
        };
        // The data came from `rdata::encode`: two names and five numbers of 32 bits.
        let (primary, rest) = data.split_at_checked(length(data)).ok_or("broken SOA")?;
        let (contact, numbers) = rest.split_at_checked(length(rest)).ok_or("broken SOA")?;
        let number = |n: usize| numbers.get(4 * n..4 * n + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes).unwrap_or_default();
        let [serial, refresh, retry, expire, minimum] = [0, 1, 2, 3, 4].map(number);
        let (primary, contact) = (Name::from_wire(primary), Name::from_wire(contact));
        // RFC 2308 §4: the last number is the TTL of negative answers, and the only hint where the record has no TTL of its own.
        self.draft.zone.ttl.negative = Period::seconds(minimum.into());
        self.draft.zone.soa = Soa { ttl: ttl.unwrap_or(minimum), primary, contact, serial, refresh, retry, expire };
        self.draft.soa = spot.clone();
        self.soa = Some(spot);
        Ok(())
    }

    fn record(&mut self, owner: Name, number: u16, data: Box<[u8]>, ttl: Option<u32>, spot: Spot) {
        let zone = &mut self.draft.zone;
        let file = zone.file.clone();
        let longest = u32::try_from(zone.ttl.max.0.as_secs()).unwrap_or(u32::MAX);
        let key = (owner, number);
        match zone.records.get_mut(&key) {
            None => {
                zone.records.insert(key.clone(), RecordSet { ttl: ttl.unwrap_or(longest), rdata: vec![data] });
                self.draft.records.insert(key, spot);
            }
            Some(set) if set.rdata.contains(&data) => {
                self.notes.warnings.push(spot.finding(&file, "stands twice, and is answered once"));
            }
            Some(set) => {
                set.rdata.push(data);
                self.draft.further.entry(key).or_default().push(spot.clone());
                // RFC 2181 §5.2: the records of an RRset have one TTL.
                if let Some(ttl) = ttl.filter(|ttl| *ttl != set.ttl) {
                    set.ttl = set.ttl.min(ttl);
                    let reason = format!("the records of an RRset have one TTL; the least, {}, is answered", set.ttl);
                    self.notes.warnings.push(spot.finding(&file, reason));
                }
            }
        }
    }

    fn finish(&mut self) {
        let file = self.draft.zone.file.clone();
        if self.soa.is_none() {
            self.notes.findings.push(Finding::of_file(&file, "has no SOA record at the apex"));
        }
        if self.draft.ns.line.is_none() {
            self.notes.findings.push(Finding::of_file(&file, "has no NS record at the apex"));
        }
    }
}
