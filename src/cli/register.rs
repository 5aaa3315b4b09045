//! `register`: an instance from flags, from a file or from standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use serde_json::{Map, Value};

use super::failure::Failure;
use crate::model::{Check, DEFAULT_WEIGHT, Instance, InstanceFields, InstanceKey, Label, Period, Port};

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct RegisterArguments {
    /// The instance
    #[arg(value_name = "SERVICE/ID", value_parser = super::arguments::instance_key)]
    pub(super) instance: InstanceKey,
    /// Take everything from a JSON file instead, as the API reads it; '-' is standard input
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, conflicts_with_all = FLAGS)]
    pub(super) file: Option<PathBuf>,
    /// Address that clients connect to, IPv4 or IPv6; may stand several times
    #[arg(long = "address", value_name = "IP", value_delimiter = ',', required_unless_present = "file")]
    pub(super) addresses: Vec<IpAddr>,
    /// A named port: http=8080, dns=53/udp; may stand several times
    #[arg(long = "port", value_name = "NAME=PORT", value_delimiter = ',', value_parser = port)]
    pub(super) ports: Vec<(Label, Port)>,
    /// The region it stands in
    #[arg(long, required_unless_present = "file")]
    pub(super) region: Option<Label>,
    /// The availability zone within the region
    #[arg(long, required_unless_present = "file")]
    pub(super) az: Option<Label>,
    /// Its share relative to its peers, 0 to 65535 [default: 100]
    #[arg(long)]
    pub(super) weight: Option<u32>,
    /// A tag that names can select it by; may stand several times
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    pub(super) tags: Vec<Label>,
    /// Something to show in TXT; may stand several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = meta)]
    pub(super) meta: Vec<(String, String)>,
    /// The longest time between two heartbeats, such as 30s; without it no heartbeats are expected
    #[arg(long, value_name = "PERIOD")]
    pub(super) heartbeat: Option<Period>,
    /// Remove it so long after the last missed heartbeat, such as 10m
    #[arg(long, value_name = "PERIOD", requires = "heartbeat")]
    pub(super) deregister_after: Option<Period>,
    /// How it is probed: http=/healthz,port=http or https=/,sni=NAME or tcp; also interval, timeout, rise, fall, status, body, host,
    /// verify_tls; JSON as in files is read too; may stand several times [default: the service's checks]
    #[arg(long = "check", value_name = "KEY=VALUE,…", value_parser = check)]
    pub(super) checks: Vec<Check>,
    /// Probe nothing, whatever the service's checks are
    #[arg(long, conflicts_with = "checks")]
    pub(super) no_checks: bool,
}

const FLAGS: [&str; 11] =
    ["addresses", "ports", "region", "az", "weight", "tags", "meta", "heartbeat", "deregister_after", "checks", "no_checks"];

impl RegisterArguments {
    /// The request's body.
    pub(super) fn body(self) -> Result<Value, Failure> {
        if let Some(path) = &self.file {
            return read(path);
        }
        // clap has demanded both; a missing one would be a fault in the definition above and is said as one.
        let (Some(region), Some(az)) = (self.region, self.az) else {
            return Err(Failure::usage("--region and --az are needed without --file"));
        };
        let instance = Instance::from(InstanceFields {
            addresses: self.addresses.into(),
            ports: distinct("--port", self.ports)?.into(),
            region,
            az,
            weight: self.weight.unwrap_or(DEFAULT_WEIGHT),
            tags: BTreeSet::from_iter(self.tags),
            meta: distinct("--meta", self.meta)?,
            heartbeat: self.heartbeat,
            deregister_after: self.deregister_after,
            checks: match (self.no_checks, self.checks.is_empty()) {
                (true, _) => Some(Vec::new()),
                (false, true) => None,
                (false, false) => Some(self.checks),
            },
        });
        instance.validate().map_err(|e| Failure::usage(e.to_string()))?;
        serde_json::to_value(instance).map_err(|e| Failure::usage(e.to_string()))
    }
}

/// A file's JSON, passed on as it is: the server says what is wrong with a field.
fn read(path: &Path) -> Result<Value, Failure> {
    let failed = |reason: String| Failure::Input { path: path.to_owned(), reason };
    let mut text = String::new();
    let done = match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    done.map_err(|e| failed(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| failed(format!("no JSON: {e}")))
}

/// Pairs as a map; a key that stands twice is a mistake, not an overwriting.
fn distinct<K: Ord + std::fmt::Display, V>(flag: &str, pairs: Vec<(K, V)>) -> Result<BTreeMap<K, V>, Failure> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.contains_key(&key) {
            return Err(Failure::usage(format!("{flag}: {key} stands twice")));
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// `http=8080`, `dns=53/udp`
fn port(text: &str) -> Result<(Label, Port), String> {
    let (name, port) = text.split_once('=').ok_or("expected NAME=PORT, such as http=8080 or dns=53/udp")?;
    let name = Label::parse(name).map_err(|e| e.to_string())?;
    Ok((name, serde_json::from_value(Value::String(port.into())).map_err(|e| e.to_string())?))
}

/// `version=1.2`
fn meta(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.into(), value.into()))
}

/// `http=/healthz,port=http`, or the same as JSON.
fn check(text: &str) -> Result<Check, String> {
    let fields = match text.starts_with('{') {
        true => serde_json::from_str(text).map_err(|e| e.to_string())?,
        false => check_fields(text)?,
    };
    let check: Check = serde_json::from_value(fields).map_err(|e| e.to_string())?;
    check.validate().map_err(|e| e.to_string())?;
    Ok(check)
}

/// `key=value` pairs as the JSON that [`Check`] is read from. A key alone means `true`.
fn check_fields(text: &str) -> Result<Value, String> {
    let mut fields = Map::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
        let value = match key {
            "tcp" | "verify_tls" => value.parse().map(Value::Bool).map_err(|_| format!("{key} is true or false, not {value:?}"))?,
            "rise" | "fall" => value.parse::<u8>().map(Value::from).map_err(|_| format!("{key} is 1 to 10, not {value:?}"))?,
            "http" | "https" if value == "true" && !pair.contains('=') => return Err(format!("{key} needs a path: {key}=/healthz")),
            _ => Value::String(value.into()),
        };
        if fields.insert(key.into(), value).is_some() {
            return Err(format!("{key} stands twice"));
        }
    }
    Ok(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_written_as_pairs_or_as_json() {
        let described = |text: &str| check(text).map(|c| format!("{} every {} within {}", c.describe(), c.interval, c.timeout));
        for (text, expected) in [
            ("http=/healthz,port=http", "http /healthz on http every 5s within 2s"),
            ("tcp", "tcp every 5s within 2s"),
            ("tcp=true,port=db,interval=200ms,timeout=100ms", "tcp on db every 200ms within 100ms"),
            ("https=/,sni=www.example,verify_tls,rise=1,fall=2", "https / every 5s within 2s"),
            (r#"{"http":"/?a=1,2","status":"200"}"#, "http /?a=1,2 every 5s within 2s"),
        ] {
            assert_eq!(described(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, said) in [
            ("port=http", "exactly one of"),
            ("http", "http needs a path"),
            ("http=healthz", "beginning with '/'"),
            ("http=/,every=1s", "every"),
            ("tcp,rise=many", "rise is 1 to 10"),
            ("tcp,tcp", "tcp stands twice"),
            ("tcp,interval=soon", "no length of time"),
            ("{", "EOF"),
        ] {
            let error = check(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn ports_have_a_name_and_may_have_a_protocol() {
        assert_eq!(port("dns=53/udp").map(|(name, port)| (name.to_string(), port.number)), Ok(("dns".into(), 53)));
        for text in ["8080", "http=0", "http=http", "=80", "dns=53/sctp"] {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
