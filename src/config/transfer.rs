//! `[transfer."ZONE"]`: who may have copies of zones, and who is told of changes. Also how other servers are written.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use rustls::pki_types::DnsName;

use super::document::Item;
use super::finding::Finding;
use super::suggest;
use crate::model::{Name, Peer, ServicesInTransfer, TransferSettings, TsigKey};

/// The tables, by zone; `None`: every zone that has no table of its own.
pub(super) type Transfers = BTreeMap<Option<Name>, TransferSettings>;

/// A key that a table names, and where it does: keys may stand behind it in the file.
pub(super) struct Named {
    pub key: Name,
    pub unknown: Finding,
}

/// Reads the tables. `named` is told of the keys in them.
pub(super) fn read(table: &Item<'_>, named: &mut Vec<Named>, findings: &mut Vec<Finding>) -> Transfers {
    let mut transfers = BTreeMap::new();
    let Some(entries) = table.entries() else {
        findings.push(table.finding("", "transfers are written as [transfer.\"ZONE\"] tables, or [transfer.\"*\"] for every zone"));
        return transfers;
    };
    for (zone, item) in entries {
        item.only_keys(&["networks", "keys", "notify", "services", "tls"], findings);
        let zone = match zone {
            "*" => None,
            zone => match Name::parse(zone) {
                Ok(apex) => Some(apex),
                Err(error) => {
                    findings.push(item.finding("", format!("a zone's name is expected, or \"*\": {error}")));
                    continue;
                }
            },
        };
        let before = findings.len();
        let settings = TransferSettings {
            networks: texts(&item, "networks", findings, network),
            keys: keys(&item, named, findings),
            notify: peers(&item, "notify", named, findings),
            services: services(&item, findings),
            tls: item.get("tls").and_then(|flag| flag.read(&[], findings)).unwrap_or(false),
        };
        if let Some(n) = settings.notify.iter().position(|peer| peer.tls.is_some()) {
            let reason = "who is told of a change is told over UDP (RFC 1996 §3.5): without tls://";
            findings.push(item.finding(&format!("notify[{n}]"), reason));
        }
        if settings.notify.len() > TransferSettings::MOST_NOTIFIED {
            findings.push(item.finding("notify", format!("at most {} servers are told", TransferSettings::MOST_NOTIFIED)));
        }
        if settings.networks.is_empty() && settings.keys.is_empty() && findings.len() == before {
            findings.push(item.finding("", "`networks` or `keys` is missing: nobody could transfer the zone"));
        }
        if transfers.insert(zone, settings).is_some() {
            findings.push(item.finding("", "the zone stands twice"));
        }
    }
    transfers
}

/// Findings about keys that there are not.
pub(super) fn unknown_keys(named: Vec<Named>, keys: &BTreeMap<Name, TsigKey>) -> impl Iterator<Item = Finding> {
    named.into_iter().filter(|named| !keys.contains_key(&named.key)).map(|named| named.unknown)
}

/// Reads a list of servers: `"192.0.2.1"`, `"[2001:db8::1]:5353#key"`, `"tls://192.0.2.1#ns1.example#key"`.
pub(super) fn peers(item: &Item<'_>, field: &str, named: &mut Vec<Named>, findings: &mut Vec<Finding>) -> Vec<Peer> {
    let peers = texts(item, field, findings, peer);
    for (n, peer) in peers.iter().enumerate() {
        named.extend(peer.key.clone().map(|key| named_key(item, &format!("{field}[{n}]"), key)));
    }
    peers
}

fn keys(item: &Item<'_>, named: &mut Vec<Named>, findings: &mut Vec<Finding>) -> Vec<Name> {
    let keys = texts(item, "keys", findings, |text| Name::parse(text).map_err(|error| format!("the name of a key is expected: {error}")));
    named.extend(keys.iter().enumerate().map(|(n, key)| named_key(item, &format!("keys[{n}]"), key.clone())));
    keys
}

pub(super) fn named_key(item: &Item<'_>, path: &str, key: Name) -> Named {
    let shown = key.to_string();
    let reason = format!("there is no key {0}: add [tsig.{1}] with algorithm and secret", shown, quoted(shown.trim_end_matches('.')));
    Named { key, unknown: item.finding(path, reason) }
}

fn quoted(name: &str) -> String {
    if name.contains('.') { format!("{name:?}") } else { name.into() }
}

fn services(item: &Item<'_>, findings: &mut Vec<Finding>) -> ServicesInTransfer {
    let Some(services) = item.get("services") else { return ServicesInTransfer::default() };
    match services.read::<String>(&[], findings).as_deref() {
        Some("render") => ServicesInTransfer::Render,
        None | Some("withhold") => ServicesInTransfer::Withhold,
        Some(other) => {
            findings.push(services.finding("", format!("unknown value {other:?}; {}", suggest::instead_of(other, ["withhold", "render"]))));
            ServicesInTransfer::Withhold
        }
    }
}

/// Reads a list of texts, each by `read`; a text alone is a list of one.
fn texts<T>(item: &Item<'_>, field: &str, findings: &mut Vec<Finding>, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    let Some(list) = item.get(field) else { return Vec::new() };
    let all = match list.elements() {
        Some(elements) => elements,
        None => vec![list],
    };
    let each = all.iter().filter_map(|element| {
        let text: String = element.read(&[], findings)?;
        read(&text).map_err(|reason| findings.push(element.finding("", reason))).ok()
    });
    each.collect()
}

fn network(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("a network such as \"192.0.2.0/24\" or an address is expected, not {text:?}");
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| wrong())?,
    };
    match network.trunc() == network {
        true => Ok(network),
        false => Err(format!("{text} has bits set behind its prefix; did you mean {}?", network.trunc())),
    }
}

fn peer(text: &str) -> Result<Peer, String> {
    let (secret, place) = text.strip_prefix("tls://").map_or((false, text), |place| (true, place));
    let mut parts = place.split('#');
    let address = parts.next().unwrap_or_default();
    let missing = || format!("the name that the certificate is for is missing: \"tls://{address}#ns1.example.net\"");
    let tls = match secret {
        false => None,
        true => {
            let name = parts.next().filter(|name| !name.is_empty()).ok_or_else(missing)?;
            let name = DnsName::try_from(name.trim_end_matches('.'));
            Some(name.map_err(|_| "behind the address stands the name of a host, which its certificate has")?.as_ref().to_ascii_lowercase())
        }
    };
    let key = parts.next().map(Name::parse).transpose().map_err(|error| format!("behind # stands the name of a key: {error}"))?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, if secret { 853 } else { 53 }),
        Err(_) => address.parse().map_err(|_| {
            let known = "\"192.0.2.53\", \"[2001:db8::1]:5353#key\" or \"tls://192.0.2.53#ns1.example.net\"";
            format!("an address such as {known} is expected, not {text:?}")
        })?,
    };
    match (address.port(), parts.next()) {
        (0, _) => Err("no server answers on port 0".into()),
        (_, Some(_)) => Err(format!("{text:?} has one # too many")),
        _ => Ok(Peer { address, tls, key }),
    }
}
