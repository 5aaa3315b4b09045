//! `signpost.toml` and the `SIGNPOST__SECTION__KEY` variables over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Value;

use super::document::{Document, Item, Spot};
use super::finding::{ConfigError, Finding};
use super::keys::{self, CATALOG, DRILLS, Draft, Form, Key, SECONDARY, TRANSFER, TSIG, UPDATE};
use super::{catalog, forward, secondary, suggest, transfer, tsig, update};
use crate::model::{DrillFields, FieldError, Label, Locality, Settings};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "signpost.toml";
/// What the variables begin with; the parts of a key are joined by two underscores as well.
const PREFIX: &str = "SIGNPOST__";
/// Tables whose keys are names: they are taken whole.
const NAMED: [&str; 6] = [DRILLS, TSIG, TRANSFER, UPDATE, SECONDARY, CATALOG];
/// Where a finding about a variable says it stands.
const ENVIRONMENT: &str = "environment";

/// Reads the settings.
///
/// `path` must exist if it is given; without it `signpost.toml` in the working directory is read if it is there, else the defaults hold.
/// Variables of `env` named `SIGNPOST__SECTION__KEY` win over the file: lists with commas or as TOML. Relative paths are relative to the
/// file's folder; those of variables to the working directory.
///
/// # Errors
/// Everything that is wrong with the file and the variables, not just the first.
pub fn settings(path: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Settings, ConfigError> {
    let default = Path::new(DEFAULT_FILE);
    let path = path.or_else(|| default.exists().then_some(default));
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut settings = Settings { file: path.map(PathBuf::from), ..Settings::default() };
    settings.dns.workers = cores.min(1024);
    if let Some(base) = path.and_then(Path::parent) {
        // The folders that nobody names stand beside the file as well.
        for folder in [&mut settings.data_dir, &mut settings.zones_dir, &mut settings.geo_dir] {
            *folder = base.join(&*folder);
        }
    }

    let mut reading = Reading {
        draft: Draft { settings, region: None, az: None, audit: None, versioned: false },
        findings: Vec::new(),
        origins: BTreeMap::new(),
        named: Vec::new(),
    };
    if let Some(path) = path {
        reading.file(path)?;
    }
    for (name, text) in env.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        reading.variable(name, text);
    }
    reading.finish()
}

struct Reading {
    draft: Draft,
    findings: Vec<Finding>,
    /// Who said what: for findings about values that do not go together.
    origins: BTreeMap<&'static str, (String, Spot)>,
    /// Keys of `[tsig.NAME]` that other tables name.
    named: Vec<transfer::Named>,
}

impl Reading {
    fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let document = Document::parse(&file, &text).map_err(ConfigError::Wrong)?;
        let base = path.parent().unwrap_or(Path::new(""));
        self.table(&file, &document.root(), "", base);
        if !self.draft.versioned {
            let spot = Spot { line: Some(1), field: "version".into(), file: None };
            self.findings.push(spot.finding(&file, "`version = 1` is missing; it stands first in every file"));
        }
        Ok(())
    }

    /// Takes the keys of a section; `prefix` is its path with a dot behind it.
    fn table(&mut self, file: &str, section: &Item<'_>, prefix: &str, base: &Path) {
        let Some(entries) = section.entries() else {
            self.findings.push(section.finding("", format!("a table is expected: [{}]", prefix.trim_end_matches('.'))));
            return;
        };
        for (name, item) in entries {
            let path = format!("{prefix}{name}");
            let inner = format!("{path}.");
            if NAMED.contains(&path.as_str()) {
                self.named(&path, &item, base);
            } else if path == forward::ZONES {
                self.origins.insert(forward::ZONES, (file.into(), item.spot("")));
                forward::zones(&item, &mut self.draft.settings.forward, &mut self.findings);
            } else if let Some(key) = keys::all().find(|k| k.path == path) {
                let Some(value) = item.read::<Value>(&[], &mut self.findings) else { continue };
                self.origins.insert(key.path, (file.into(), item.spot("")));
                if let Err(error) = (key.set)(&mut self.draft, value, base) {
                    let mut finding = item.finding(&error.field, error.expected);
                    finding.field = joined(&path, &error.field);
                    self.findings.push(finding);
                }
            } else if keys::all().any(|k| k.path.starts_with(&inner)) {
                self.table(file, &item, &inner, base);
            } else if path == "store.regions" {
                self.findings.push(item.finding("", "goes with the etcd store, which does not exist yet; leave it away"));
            } else {
                self.findings.push(item.finding("", format!("unknown key; {}", instead_of(prefix, name))));
            }
        }
    }

    /// Takes tables whose keys are names.
    fn named(&mut self, path: &str, table: &Item<'_>, base: &Path) {
        match path {
            TRANSFER => self.draft.settings.transfer = transfer::read(table, &mut self.named, &mut self.findings),
            TSIG => self.draft.settings.tsig = tsig::read(table, base, &mut self.findings),
            UPDATE => self.draft.settings.updates = update::read(table, &mut self.named, &mut self.findings),
            CATALOG => self.draft.settings.catalogs = catalog::read(table, &mut self.findings),
            SECONDARY => self.draft.settings.secondary = secondary::read(table, base, &mut self.named, &mut self.findings),
            _ => self.drills(table),
        }
    }

    /// Takes `[drills.NAME]` tables.
    fn drills(&mut self, table: &Item<'_>) {
        let Some(entries) = table.entries() else {
            self.findings.push(table.finding("", "drills are written as [drills.NAME] tables"));
            return;
        };
        self.draft.settings.drills.clear();
        for (name, item) in entries {
            let name = match Label::parse(name) {
                Ok(name) => name,
                Err(error) => {
                    self.findings.push(item.finding("", error.to_string()));
                    continue;
                }
            };
            let Some(drill) = item.read::<DrillFields>(&[], &mut self.findings) else { continue };
            match drill.validate() {
                Ok(()) if self.draft.settings.drills.contains_key(&name) => {
                    self.findings.push(item.finding("", "stands twice: names are the same in upper and lower case"));
                }
                Ok(()) => _ = self.draft.settings.drills.insert(name, drill),
                Err(error) => self.findings.push(item.finding(&error.field, error.expected)),
            }
        }
    }

    /// Takes `{ NAME = { … } }`, the value of a variable.
    fn named_by_variable(&mut self, path: &str, name: &str, text: &str) {
        let text = format!("{path} = {text}");
        let before = self.findings.len();
        match Document::parse(ENVIRONMENT, &text) {
            Ok(document) => document.root().get(path).iter().for_each(|table| self.named(path, table, Path::new(""))),
            Err(findings) => self.findings.extend(findings),
        }
        for finding in &mut self.findings[before..] {
            // The variable has no lines that anybody could find.
            finding.line = None;
            finding.field = finding.field.strip_prefix(path).map_or_else(|| name.into(), |within| format!("{name}{within}"));
        }
    }

    fn variable(&mut self, name: &str, text: &str) {
        let path = name[PREFIX.len()..].replace("__", ".").to_ascii_lowercase();
        let at = Spot { line: None, field: name.into(), file: None };
        if NAMED.contains(&path.as_str()) {
            return self.named_by_variable(&path, name, text);
        }
        let Some(key) = keys::all().find(|k| k.path == path) else {
            let known: Vec<String> = keys::all().map(variable_of).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let reason = match suggest::nearest(name, &known) {
                Some(near) => format!("unknown variable; did you mean `{near}`?"),
                None => "unknown variable; it is SIGNPOST__SECTION__KEY for a key of signpost.toml, such as SIGNPOST__DNS__LISTEN".into(),
            };
            self.findings.push(at.finding(ENVIRONMENT, reason));
            return;
        };
        let taken = value_of(key, text).and_then(|value| (key.set)(&mut self.draft, value, Path::new("")));
        if let Err(error) = taken {
            let at = Spot { line: None, field: joined(name, &error.field), file: None };
            self.findings.push(at.finding(ENVIRONMENT, error.expected));
        }
        self.origins.insert(key.path, (ENVIRONMENT.into(), at));
    }

    /// Checks what concerns several keys.
    fn finish(mut self) -> Result<Settings, ConfigError> {
        let Draft { mut settings, region, az, audit, .. } = self.draft;
        let mut wrong = |key: &'static str, reason: String| {
            let (file, spot) = self.origins.get(key).cloned().unwrap_or_else(|| {
                let file = settings.file.as_ref().map_or(ENVIRONMENT.into(), |f| f.display().to_string());
                (file, Spot { line: None, field: key.into(), file: None })
            });
            self.findings.push(spot.finding(&file, reason));
        };
        match (region, az) {
            (Some(region), Some(az)) => settings.here = Some(Locality { region, az }),
            (Some(_), None) => wrong("here.region", "goes with `az`: say both, or neither".into()),
            (None, Some(_)) => wrong("here.az", "goes with `region`: say both, or neither".into()),
            (None, None) => {}
        }
        let limits = &settings.dns.rate_limit;
        if !limits.is_on() && !self.origins.contains_key("dns.rate_limit.per_second") {
            // Without it nothing is limited, which is not what somebody means who says how.
            if let Some(key) = self.origins.keys().copied().find(|key| key.starts_with("dns.rate_limit.")) {
                wrong(key, "goes with `per_second`, without which there is no rate limit; `per_second = 0` turns it off".into());
            }
        }
        for (key, reason) in forward::contradictions(&settings, |key| self.origins.contains_key(key)) {
            wrong(key, reason);
        }
        settings.dns.forward = if settings.forward.is_on() { settings.forward.networks.clone() } else { Vec::new() };
        settings.api.audit = audit.unwrap_or_else(|| settings.data_dir.join("audit.jsonl"));
        let api = &settings.api;
        if !api.listen.ip().is_loopback() && api.tokens.is_empty() && !api.insecure {
            let reason = format!(
                "{} can be reached from other machines, so the API needs tokens: add [[api.token]] with name, hash and rights, \
                 listen on 127.0.0.1, or say `insecure = true` to let everyone change everything",
                api.listen
            );
            wrong("api.listen", reason);
        }
        if api.listen.port() != 0 && settings.dns.listen.contains(&api.listen) {
            wrong("api.listen", format!("{} is in dns.listen too, and DNS answers on TCP as well: take another port", api.listen));
        }
        settings.dns.transfers = !settings.transfer.is_empty();
        settings.dns.secondaries = !settings.secondary.is_empty();
        // What a primary says is not ours to change.
        for apex in settings.updates.keys().filter(|apex| settings.secondary.contains_key(*apex)) {
            wrong("update", format!("{apex} is copied from its primaries ([secondary]): send updates to them"));
        }
        for apex in settings.catalogs.keys() {
            let shown = apex.to_string();
            let shown = shown.trim_end_matches('.');
            if settings.transfer(apex).is_none() {
                wrong("catalog", format!("nobody could follow {shown}: add [transfer.\"{shown}\"] with networks or keys"));
            }
            if settings.secondary.contains_key(apex) {
                wrong("catalog", format!("{shown} is copied from its primaries ([secondary]): it is made elsewhere"));
            }
        }
        encrypted(&settings, &mut wrong);
        self.findings.extend(transfer::unknown_keys(self.named, &settings.tsig));
        self.findings.sort();
        match self.findings.is_empty() {
            true => Ok(settings),
            false => Err(ConfigError::Wrong(self.findings)),
        }
    }
}

/// What must hold between the keys of `[dns.tls]` and others.
fn encrypted(settings: &Settings, wrong: &mut impl FnMut(&'static str, String)) {
    let (dns, tls) = (&settings.dns, &settings.dns.tls);
    let listeners = [("dns.tls.dot", &tls.dot), ("dns.tls.doh", &tls.doh), ("dns.tls.doq", &tls.doq)];
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => wrong("dns.tls.certificate", "goes with `key`: say both, or neither".into()),
        (None, Some(_)) => wrong("dns.tls.key", "goes with `certificate`: say both, or neither".into()),
        (None, None) => {
            for (key, _) in listeners.iter().filter(|(_, addresses)| !addresses.is_empty()) {
                wrong(key, "needs `certificate` and `key`".into());
            }
        }
        (Some(_), Some(_)) if !tls.is_on() => {
            wrong("dns.tls.certificate", "is for `dot`, `doh` or `doq`, and none of them has an address".into());
        }
        (Some(_), Some(_)) => {}
    }
    // RFC 7858 §3.1 and RFC 9250 §4.1.1: that port is for DNS that everybody can read.
    for (key, addresses) in &listeners {
        if let Some(address) = addresses.iter().find(|address| address.port() == 53) {
            wrong(key, format!("{address}: port 53 is for plain DNS; 853 is that of DNS over TLS and QUIC, 443 that of DNS over HTTPS"));
        }
    }
    // DNS and DNS over HTTPS take UDP and TCP of a port; DNS over TLS takes TCP alone, DNS over QUIC UDP alone.
    let taken = [
        ("dns.tls.dot", &tls.dot, "dns.listen", &dns.listen),
        ("dns.tls.doh", &tls.doh, "dns.listen", &dns.listen),
        ("dns.tls.doq", &tls.doq, "dns.listen", &dns.listen),
        ("dns.tls.dot", &tls.dot, "dns.tls.doh", &tls.doh),
        ("dns.tls.doq", &tls.doq, "dns.tls.doh", &tls.doh),
    ];
    for (key, addresses, other, others) in taken {
        if let Some(address) = addresses.iter().find(|address| address.port() != 0 && others.contains(address)) {
            wrong(key, format!("{address} is in {other} too: take another port"));
        }
    }
    let api = settings.api.listen;
    if api.port() != 0 && (tls.dot.contains(&api) || tls.doh.contains(&api)) {
        wrong("api.listen", format!("{api} is in [dns.tls] too: take another port"));
    }
}

/// A path and a path within it: `api.token` and `[0].hash`.
fn joined(path: &str, within: &str) -> String {
    match within.is_empty() || within.starts_with('[') {
        true => format!("{path}{within}"),
        false => format!("{path}.{within}"),
    }
}

/// The variable of a key.
fn variable_of(key: &Key) -> String {
    format!("{PREFIX}{}", key.path.replace('.', "__").to_ascii_uppercase())
}

/// What to write instead of the unknown `name` in the section `prefix`.
fn instead_of(prefix: &str, name: &str) -> String {
    let mut siblings: Vec<&str> =
        keys::all().filter_map(|k| k.path.strip_prefix(prefix)).map(|rest| rest.split('.').next().unwrap_or(rest)).collect();
    siblings.dedup();
    // A key that stands in another section: `listen` at the top level.
    let elsewhere = keys::all().find(|k| k.path.rsplit('.').next() == Some(name));
    match (suggest::nearest(name, &siblings), elsewhere) {
        (None, Some(key)) => format!("did you mean `{}`?", key.path),
        _ => suggest::instead_of(name, siblings),
    }
}

/// A variable's text as a value of its key.
fn value_of(key: &Key, text: &str) -> Result<Value, FieldError> {
    let toml = |text: &str| -> Option<Value> {
        let mut table: toml::Table = toml::from_str(&format!("v = {text}")).ok()?;
        table.remove("v")
    };
    let trimmed = text.trim();
    let wrong = |expected: &str| FieldError::new("", format!("{expected} is expected, not {text:?}"));
    match key.form {
        Form::Text => Ok(Value::String(text.into())),
        Form::Whole => trimmed.parse().map(Value::Integer).map_err(|_| wrong("a whole number")),
        Form::Truth => trimmed.parse().map(Value::Boolean).map_err(|_| wrong("true or false")),
        Form::List | Form::Secrets if trimmed.starts_with('[') && trimmed.ends_with(']') && trimmed.contains(['"', '\'']) => {
            let expected = "a TOML list, or texts with commas between them,";
            toml(trimmed).ok_or_else(|| match key.form {
                Form::Secrets => FieldError::new("", format!("{expected} is expected")),
                _ => wrong(expected),
            })
        }
        Form::List | Form::Secrets => {
            let parts = trimmed.split(',').map(str::trim).filter(|p| !p.is_empty());
            Ok(Value::Array(parts.map(|p| Value::String(p.into())).collect()))
        }
        Form::Tables => {
            toml(trimmed).filter(|value| value.is_array() || value.is_table()).ok_or_else(|| wrong("a TOML list of inline tables"))
        }
    }
}

#[cfg(test)]
mod tests;
