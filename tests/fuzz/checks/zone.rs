//! A text as a zone: it is refused with reasons, or it is served, and then what it says is what is answered.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use signpost::config;
use signpost::control::Writer;
use signpost::model::{Geo, Name, Revision, Settings, Timestamp, Zone};
use signpost::snapshot::Snapshot;

use super::ask::{Asker, query};
use super::message::{self, ANY, CNAME, DNAME, Message, NS, SOA};

const DS: u16 = 43;
/// Owners of a zone that are asked for: more would make one text take seconds.
const OWNERS: usize = 48;

/// Reads a text as the file `file`; what it says must be refused with reasons or served.
pub fn check(file: &str, octets: &[u8], asker: &mut Asker) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let lines = text.lines().count() + 1;
    let zone = match config::zone_text(file, text) {
        Ok((zone, warnings)) => {
            warnings.iter().for_each(|warning| placed(warning, lines));
            zone
        }
        Err(findings) => {
            assert!(!findings.is_empty(), "refused without a reason");
            return findings.iter().for_each(|finding| placed(finding, lines));
        }
    };
    let settings = Settings::default();
    let zones = [zone];
    let begun = Writer::<()>::begin((Revision(0), Vec::new()), zones.to_vec(), Geo::default(), &settings.dns, Timestamp(1_800_000_000_000));
    let writer = begun.unwrap_or_else(|error| panic!("a zone that passed the checks is not served: {error}"));
    let [zone] = zones;
    served(&zone, writer.snapshot(), asker);
}

/// A finding names its file and says something of a line that is there.
fn placed(finding: &config::Finding, lines: usize) {
    assert!(!finding.reason.is_empty() && !finding.file.is_empty(), "{finding:?}");
    assert!(finding.line.is_none_or(|line| (1..=lines).contains(&line)), "{finding:?} of {lines} lines");
    assert!(finding.line.is_some() || finding.field.is_empty() || finding.field == "ns", "a finding without a line: {finding:?}");
}

/// Asks for every owner with its types, for ANY, for what is above and below it.
fn served(zone: &Zone, snapshot: &Snapshot, asker: &mut Asker) {
    let peer: SocketAddr = "198.51.100.7:40000".parse().expect("an address");
    let mut ask = |name: &[u8], rtype: u16| asker.ask(snapshot, &query(name, rtype), peer).expect("a query gets a reply");
    for rtype in [SOA, NS, ANY, 1, 43] {
        let reply = ask(zone.apex.wire(), rtype);
        assert!(reply.rcode() == 0 && reply.flags & 0x0400 != 0, "the apex is not answered: {rtype}");
        assert!(!matches!(rtype, SOA | NS) || reply.section(1).any(|record| record.rtype == rtype), "no {rtype} at the apex");
    }
    let owners: BTreeSet<&Name> = zone.records.keys().map(|(owner, _)| owner).chain(zone.names.keys()).take(OWNERS).collect();
    for owner in &owners {
        for rtype in [1, 28, 33, 65, ANY, CNAME, DNAME, NS, DS] {
            ask(owner.wire(), rtype);
        }
        for label in [&b"x"[..], b"*", b"_tcp", &[b'l'; 63]] {
            if let Some(child) = owner.child(label) {
                ask(child.wire(), 1);
            }
        }
        if let Some(parent) = owner.parent() {
            ask(parent.wire(), 16);
        }
    }
    for ((owner, rtype), set) in zone.records.iter().take(2 * OWNERS) {
        let reply = ask(owner.wire(), *rtype);
        if is_hidden(zone, owner, *rtype) || reply.flags & 0x0200 != 0 {
            continue;
        }
        let mut said: Vec<Vec<u8>> = set.rdata.iter().map(|data| spelled(*rtype, data)).collect();
        let mut answered: Vec<Vec<u8>> = data(&reply, owner, *rtype);
        said.sort();
        answered.sort();
        assert_eq!(answered, said, "{owner} {rtype}");
    }
    for service in zone.defined.keys().take(OWNERS) {
        let Some(name) = zone.apex.child(service.as_str().as_bytes()) else { continue };
        for rtype in [1, 28, 33, 65, 16, ANY, 2] {
            assert!(!zone.services || ask(name.wire(), rtype).rcode() == 0, "the service {service} is no name");
        }
    }
}

/// The data of an answer's records.
fn data(reply: &Message, owner: &Name, rtype: u16) -> Vec<Vec<u8>> {
    reply.section(1).filter(|record| record.owner == owner.wire() && record.rtype == rtype).map(|record| record.data.clone()).collect()
}

/// Data as [`message`] reads it: names that may be compressed in lower case.
fn spelled(rtype: u16, data: &[u8]) -> Vec<u8> {
    let mut octets = vec![0; 12];
    octets[7] = 1;
    octets.extend([0]);
    octets.extend(rtype.to_be_bytes());
    octets.extend([0, 1, 0, 0, 0, 0]);
    octets.extend(u16::try_from(data.len()).expect("data of a record").to_be_bytes());
    octets.extend(data);
    message::read(&octets).unwrap_or_else(|reason| panic!("{reason}: {data:02x?} of type {rtype}")).records.remove(0).data
}

/// Whether a delegation or a DNAME stands over the owner (RFC 1034 §4.3.2), so that it is not answered.
fn is_hidden(zone: &Zone, owner: &Name, rtype: u16) -> bool {
    let has = |name: &Name, rtype: u16| zone.records.contains_key(&(name.clone(), rtype));
    let above = std::iter::successors(owner.parent(), Name::parent).take_while(|name| name.is_within(&zone.apex));
    let cut = |name: &Name| *name != zone.apex && has(name, NS);
    above.into_iter().any(|name| cut(&name) || has(&name, DNAME)) || cut(owner) && rtype != DS
}
