//! A zone in the master file format (RFC 1035 §5): static zones as every other name server has them.

mod generate;
mod rrsets;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::rrsets::Placed;
use super::document::Spot;
use super::finding::{Finding, Notes};
use super::lexer::{self, Entry, Lexer, Semicolon, Token};
use super::rdata;
use super::zone::{Draft, SOA};
use crate::model::{Name, Period, Soa};

/// Reads a file that `$INCLUDE` names; its path is the including file's folder and the name as written.
pub(super) type Include<'i> = dyn FnMut(&Path) -> io::Result<Arc<str>> + 'i;

/// Files within files.
const MAX_DEPTH: usize = 8;
/// Files of one zone.
const MAX_FILES: usize = 10_000;
/// Octets of all the text of one zone, files that are read twice counted twice, and what `$GENERATE` writes.
pub(super) const MAX_TEXT: usize = 256 << 20;
/// The same while `$GENERATE` writes; fewer in tests.
const MAX_WRITTEN: usize = if cfg!(test) { 8 << 20 } else { MAX_TEXT };
/// Records that `$GENERATE` makes in one zone; fewer in tests, for which a million takes long.
const MAX_GENERATED: usize = if cfg!(test) { 70_000 } else { 1_000_000 };
/// Findings after which a zone is not read on: who has so many has named the wrong file.
const MAX_FINDINGS: usize = 1_000;

/// Who wrote a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Whoever runs this server. Signatures are none of his to write: they are made here.
    Operator,
    /// The primary from which it was copied, which may have signed it.
    Primary,
}

/// Reads a master file. `None` where its text cannot be split into entries. The serial is the SOA's.
pub(super) fn read(file: &str, text: &str, apex: &Name, from: From, include: &mut Include<'_>, notes: &mut Notes) -> Option<Draft> {
    let mut reading = Reading {
        from,
        draft: Draft::new(file, apex, 0),
        origin: apex.clone(),
        owner: None,
        default_ttl: None,
        last_ttl: None,
        soa: None,
        records: Vec::new(),
        signed: BTreeSet::new(),
        open: vec![file.into()],
        octets: 0,
        generated: 0,
        include,
        said: notes.findings.len(),
        notes,
    };
    reading.file(text).ok()?;
    Some(reading.finish())
}

/// Why reading ends before the text does; it was said already.
struct Broken;

struct Reading<'r, 'i> {
    from: From,
    draft: Draft,
    origin: Name,
    /// Of the entry before.
    owner: Option<Name>,
    /// `$TTL` (RFC 2308 §4).
    default_ttl: Option<u32>,
    /// Of the record before, where there is no `$TTL` (RFC 1035 §5.1).
    last_ttl: Option<u32>,
    soa: Option<Spot>,
    records: Vec<Placed>,
    /// Types of signatures that were found.
    signed: BTreeSet<u16>,
    /// The zone's file, and the files within it that are being read.
    open: Vec<Arc<str>>,
    octets: usize,
    generated: usize,
    include: &'r mut Include<'i>,
    /// Findings of others.
    said: usize,
    notes: &'r mut Notes,
}

impl Reading<'_, '_> {
    /// Reads the text of the innermost open file.
    fn file(&mut self, text: &str) -> Result<(), Broken> {
        self.octets += text.len();
        if self.octets > MAX_TEXT {
            self.finding(None, String::new(), too_much_text());
            return Err(Broken);
        }
        let (mut lexer, mut entry) = (Lexer::new(text, Semicolon::Comment), Entry::default());
        loop {
            match lexer.read(&mut entry) {
                Ok(true) => self.entry(&entry)?,
                Ok(false) => return Ok(()),
                Err((line, reason)) => {
                    self.finding(Some(line), String::new(), reason);
                    return Err(Broken);
                }
            }
        }
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), Broken> {
        let directive = entry.tokens.first().filter(|first| !entry.indented && !first.quoted && first.text.starts_with('$'));
        let done = match directive {
            Some(name) if name.text.eq_ignore_ascii_case("$INCLUDE") => match self.included(&entry.tokens[1..]) {
                Ok((path, text, origin)) => return self.inside(path, &text, origin),
                Err(reason) => Err(reason),
            },
            Some(name) => self.directive(name.text, &entry.tokens[1..], entry.line),
            None => self.record(entry),
        };
        let Err(reason) = done else { return Ok(()) };
        let field = match (entry.indented, entry.tokens.first()) {
            (false, Some(first)) => first.text.into(),
            _ => self.owner.as_ref().map(Name::to_string).unwrap_or_default(),
        };
        self.finding(Some(entry.line), field, reason);
        if self.notes.findings.len() - self.said < MAX_FINDINGS {
            return Ok(());
        }
        self.finding(Some(entry.line), String::new(), format!("reading ends here, after {MAX_FINDINGS} findings"));
        Err(Broken)
    }

    /// `[<domain-name>|<blank>] [<TTL>] [<class>] <type> <RDATA>`.
    fn record(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let mut tokens = entry.tokens.as_slice();
        if !entry.indented
            && let [first, rest @ ..] = tokens
        {
            self.owner = Some(self.owner(first.text)?);
            tokens = rest;
        }
        let owner = self.owner.clone().ok_or("the first record has no owner name")?;
        let (ttl, number, data) = head(tokens)?;
        let data = match self.from {
            // One finding tells it for all of them.
            From::Operator if rdata::is_signature(number) && !self.signed.insert(number) => return Ok(()),
            From::Operator => rdata::encode(number, data, &self.origin)?,
            From::Primary => rdata::encode_copied(number, data, &self.origin)?,
        };
        self.place(owner, ttl, number, data, entry.line)
    }

    fn owner(&self, text: &str) -> Result<Name, String> {
        let owner = Name::parse_relative(text, Some(&self.origin)).map_err(|e| e.to_string())?;
        match owner.is_within(&self.draft.zone.apex) {
            true => Ok(owner),
            false => Err(format!("{owner} is not in the zone {}", self.draft.zone.apex)),
        }
    }

    fn place(&mut self, owner: Name, ttl: Option<u32>, number: u16, data: Box<[u8]>, line: usize) -> Result<(), String> {
        let ttl = ttl.or(self.default_ttl).or(self.last_ttl);
        self.last_ttl = ttl;
        if number == SOA {
            return self.soa(&owner, &data, ttl, line);
        }
        let file = self.here();
        self.records.push(Placed { owner, number, data, ttl, line, file });
        Ok(())
    }

    /// The file that is being read, where it is not the zone's own.
    fn here(&self) -> Option<Arc<str>> {
        self.open.get(1..).and_then(<[_]>::last).cloned()
    }

    fn finding(&mut self, line: Option<usize>, field: String, reason: String) {
        let file = self.open.last().map_or("", |file| file).to_string();
        self.notes.findings.push(Finding { file, line, field, reason });
    }

    fn directive(&mut self, name: &str, arguments: &[Token<'_>], line: usize) -> Result<(), String> {
        match (name.to_ascii_uppercase().as_str(), arguments) {
            ("$ORIGIN", [origin]) => {
                self.origin = Name::parse_relative(origin.text, Some(&self.origin)).map_err(|e| e.to_string())?;
            }
            ("$TTL", [ttl]) => {
                let seconds = time_to_live(ttl.text)?;
                self.default_ttl = Some(seconds);
            }
            ("$GENERATE", [range, owner, rest @ ..]) => return self.generate(range.text, owner.text, rest, line),
            ("$GENERATE", _) => return Err("a range, an owner and data are expected, such as: $GENERATE 1-9 host-$ A 192.0.2.$".into()),
            ("$ORIGIN" | "$TTL", _) => return Err("one value is expected".into()),
            _ => return Err("unknown directive; known are $ORIGIN, $TTL, $INCLUDE and $GENERATE".into()),
        }
        Ok(())
    }

    /// `$GENERATE <range> <owner> [<TTL>] [<class>] <type> <data>`. It ends with the first record that cannot be.
    fn generate(&mut self, range: &str, template: &str, rest: &[Token<'_>], line: usize) -> Result<(), String> {
        let range = generate::Range::parse(range)?;
        let (ttl, number, data) = head(rest)?;
        let data = generate::data(data).ok_or("the record data is missing")?;
        let (mut owner, mut text) = (String::new(), String::new());
        for n in range.numbers() {
            if self.octets > MAX_WRITTEN {
                return Err(format!("{}, and that which $GENERATE writes", too_much_text()));
            }
            self.generated += 1;
            if self.generated > MAX_GENERATED {
                return Err(format!("at most {MAX_GENERATED} records of a zone are made by $GENERATE"));
            }
            let mut one = || {
                generate::expand(template, n, &mut owner)?;
                generate::expand(&data, n, &mut text)?;
                let tokens = lexer::one(&text, Semicolon::Refused)?;
                Ok((self.owner(&owner)?, rdata::encode(number, &tokens, &self.origin)?))
            };
            let (name, rdata) = one().map_err(|reason: String| format!("for {n}: {reason}"))?;
            self.octets += owner.len() + text.len();
            self.place(name, ttl, number, rdata, line)?;
        }
        Ok(())
    }

    /// `$INCLUDE <file-name> [<domain-name>]`: the file, its text and the origin in it.
    fn included(&mut self, arguments: &[Token<'_>]) -> Result<(PathBuf, Arc<str>, Name), String> {
        let (name, origin) = match arguments {
            [name] => (name, self.origin.clone()),
            [name, origin] => (name, Name::parse_relative(origin.text, Some(&self.origin)).map_err(|e| e.to_string())?),
            _ => return Err("a file is expected, and the origin in it if that is another: $INCLUDE hosts.inc sub".into()),
        };
        let name = lexer::unescape(name.text)?;
        let name = std::str::from_utf8(&name).ok().filter(|name| !name.is_empty()).ok_or("the name of a file is expected")?;
        let including = self.open.last().map_or(Path::new(""), |file| Path::new(&**file));
        let path = including.parent().unwrap_or(Path::new("")).join(name);
        let shown = path.display().to_string();
        if self.open.iter().any(|open| **open == *shown) {
            return Err(format!("{shown} would include itself"));
        }
        if self.open.len() > MAX_DEPTH {
            return Err(format!("files are included to a depth of {MAX_DEPTH} at most"));
        }
        if self.draft.included.len() >= MAX_FILES {
            return Err(format!("a zone is read from {MAX_FILES} files at most"));
        }
        // Also one that cannot be read: it is worth another look when it appears.
        self.draft.included.push(path.clone());
        let text = (self.include)(&path).map_err(|error| format!("{shown}: {error}"))?;
        Ok((path, text, origin))
    }

    /// Reads an included file. RFC 1035 §5.1: whatever it does, the origin of the including file stays; so does its owner, as in BIND,
    /// while `$TTL` is for all that follows (RFC 2308 §4).
    fn inside(&mut self, path: PathBuf, text: &str, origin: Name) -> Result<(), Broken> {
        let (origin, owner) = (std::mem::replace(&mut self.origin, origin), self.owner.clone());
        self.open.push(path.display().to_string().into());
        self.file(text)?;
        self.open.pop();
        (self.origin, self.owner) = (origin, owner);
        Ok(())
    }

    fn soa(&mut self, owner: &Name, data: &[u8], ttl: Option<u32>, line: usize) -> Result<(), String> {
        if *owner != self.draft.zone.apex {
            return Err(format!("the SOA stands at the apex, {}", self.draft.zone.apex));
        }
        if let Some(first) = &self.soa {
            let file = first.file.as_ref().map(|file| format!(" of {file}")).unwrap_or_default();
            return Err(format!("a second SOA; the first is in line {}{file}", first.line.unwrap_or_default()));
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
        self.draft.zone.soa = Soa { ttl: ttl.unwrap_or(minimum), primary, contact, serial, own_serial: true, refresh, retry, expire };
        self.draft.soa = Spot { file: self.here(), line: Some(line), field: format!("{owner} SOA") };
        self.soa = Some(self.draft.soa.clone());
        Ok(())
    }

    fn finish(mut self) -> Draft {
        let file = self.draft.zone.file.clone();
        rrsets::gather(&mut self.draft, self.records, self.notes);
        if self.soa.is_none() {
            self.notes.findings.push(Finding::of_file(&file, "has no SOA record at the apex"));
        }
        if self.draft.zone.ns.is_empty() {
            self.notes.findings.push(Finding::of_file(&file, "has no NS record at the apex"));
        }
        self.draft
    }
}

/// `[<TTL>] [<class>] <type>`, or with TTL and class the other way round (RFC 1035 §5.1); what is left is the data.
fn head<'e, 't>(mut tokens: &'e [Token<'t>]) -> Result<(Option<u32>, u16, &'e [Token<'t>]), String> {
    let (mut ttl, mut class) = (None, false);
    loop {
        let Some((first, rest)) = tokens.split_first() else {
            return Err("a type and data are expected, such as: www 300 IN A 192.0.2.1".into());
        };
        let is = |word: &str| first.text.eq_ignore_ascii_case(word);
        if ttl.is_none() && first.text.starts_with(|c: char| c.is_ascii_digit()) {
            ttl = Some(time_to_live(first.text)?);
        } else if !class && (is("IN") || is("CLASS1")) {
            class = true;
        } else if ["CH", "HS", "CS", "ANY", "NONE"].into_iter().any(is) || numbered_class(first.text) {
            return Err(format!("class {} is not served; only IN is", first.text.to_ascii_uppercase()));
        } else {
            return Ok((ttl, rdata::type_number(first.text)?, rest));
        }
        tokens = rest;
    }
}

fn too_much_text() -> String {
    format!("a zone is at most {} MiB of text with all that it includes", MAX_TEXT >> 20)
}

/// RFC 2181 §8: 31 bits.
fn time_to_live(text: &str) -> Result<u32, String> {
    rdata::ttl(text).ok_or_else(|| format!("a TTL of at most {} s is expected, such as 300 or 1h30m, not {text:?}", i32::MAX))
}

/// Whether it is a class as RFC 3597 §5 writes those without a name.
fn numbered_class(text: &str) -> bool {
    text.split_at_checked(5).is_some_and(|(word, number)| word.eq_ignore_ascii_case("CLASS") && number.parse::<u16>().is_ok())
}
