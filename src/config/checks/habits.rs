//! What is legal and seldom meant: timers, TTLs, sizes, and characters in names.

use super::super::document::Spot;
use super::super::rdata::{is_signature, type_name};
use super::super::zone::NS;
use super::survey::lead;
use super::{Look, and_more};
use crate::codec::code::rtype::{A, AAAA, MX, SOA, SRV, TXT};
use crate::model::{Name, RecordSet};

const CDS: u16 = 59;
const CDNSKEY: u16 = 60;
const SPF: u16 = 99;

/// A payload that crosses every path unfragmented (DNS flag day 2020), less header, question and OPT of a usual size.
const UDP_ROOM: usize = 1232 - 12 - 40 - 11;
/// A message has at most so many octets (RFC 1035 §4.2.2), with header and question.
const TCP_ROOM: usize = 65_535 - 12 - 260;

pub(super) fn check(look: &mut Look<'_>) {
    timers(look);
    let draft = look.draft;
    let mut brief: Vec<(Spot, String)> = Vec::new();
    let is_signed = draft.zone.is_signed_elsewhere();
    // What whoever signed a zone made has habits of its own.
    for ((owner, rtype), set) in draft.zone.records.iter().filter(|((_, rtype), _)| !is_signature(*rtype)) {
        let spot = || draft.spot(owner, *rtype, 0);
        match *rtype {
            CDS | CDNSKEY if !is_signed => look.warn(&spot(), "the zone is not signed, so nobody can believe it (RFC 7344 §4.1)"),
            // RFC 7208 §3.1: the type was given up.
            SPF if !has_spf(draft.zone.records.get(&(owner.clone(), TXT))) => {
                look.warn(&spot(), "SPF records are not looked at any more (RFC 7208 §3.1): write the same as TXT");
            }
            TXT if set.rdata.iter().filter(|data| is_spf(data)).count() > 1 => {
                look.warn(&spot(), "several \"v=spf1\" texts at one name are an error to receivers (RFC 7208 §4.5)");
            }
            A | AAAA => odd(look, &spot(), "a host", owner, true),
            _ => {}
        }
        if matches!(*rtype, NS | MX | SRV) {
            for (n, data) in set.rdata.iter().enumerate() {
                if let Some(name) = lead(*rtype, data) {
                    odd(look, &draft.spot(owner, *rtype, n), "a host", &name, false);
                }
            }
        }
        if set.ttl == 0 {
            brief.push((spot(), format!("{owner} {} has TTL 0: no resolver keeps it, and each question comes here", type_name(*rtype))));
        }
        size(look, owner, *rtype, set.rdata.iter().map(|data| data.len()));
        inner_wildcard(look, owner, *rtype);
    }
    brief.sort_by(|a, b| (&a.0.file, a.0.line).cmp(&(&b.0.file, b.0.line)));
    if let Some((spot, reason)) = brief.first() {
        look.warn(spot, format!("{reason}{}", and_more(brief.len() - 1)));
    }
    size(look, &draft.zone.apex, NS, draft.zone.ns.iter().map(|name| name.wire().len()));
    for (n, name) in draft.zone.ns.iter().enumerate() {
        odd(look, &draft.spot(&draft.zone.apex, NS, n), "a name server", name, false);
    }
    for (owner, spot) in &draft.names {
        odd(look, spot, "a host", owner, true);
    }
}

/// Timers of the SOA that contradict each other (RFC 1912 §2.2), and a contact that is none.
fn timers(look: &mut Look<'_>) {
    let (soa, negative) = (&look.draft.zone.soa, look.draft.zone.ttl.negative.millis() / 1000);
    let spot = look.draft.spot(&look.draft.zone.apex, SOA, 0);
    if u64::from(soa.expire) < u64::from(soa.refresh) + u64::from(soa.retry) {
        let reason = format!(
            "expire, {} s, is less than refresh and retry together, {} s: a secondary would give the zone up before it tried again \
             (RFC 1912 §2.2)",
            soa.expire,
            u64::from(soa.refresh) + u64::from(soa.retry)
        );
        look.warn(&spot, reason);
    }
    if soa.retry > soa.refresh {
        look.warn(&spot, format!("retry, {} s, is more than refresh, {} s (RFC 1912 §2.2)", soa.retry, soa.refresh));
    }
    if negative > 86_400 {
        look.warn(
            &spot,
            format!("resolvers keep \"no such name\" for {negative} s: new names are not seen for more than a day (RFC 2308 §5)"),
        );
    }
    if negative == 0 {
        look.warn(&spot, "resolvers do not keep \"no such name\" at all: each such question comes here (RFC 2308 §5)");
    }
    if soa.contact.labels().any(|label| label.contains(&b'@')) {
        look.warn(&spot, format!("{}: a mail address in an SOA has a dot in the place of its '@' (RFC 1035 §8)", soa.contact));
    }
}

/// An answer that does not fit where it goes.
fn size(look: &mut Look<'_>, owner: &Name, rtype: u16, lengths: impl Iterator<Item = usize>) {
    // Each record has a pointer to its name, and ten octets before its data.
    let (records, octets) = lengths.fold((0, 0), |(records, octets), length| (records + 1, octets + 12 + length));
    let spot = || look.draft.spot(owner, rtype, 0);
    if octets > TCP_ROOM {
        let reason = format!("{records} records have {octets} octets together: no message holds them, so they could never be answered");
        look.refuse(&spot(), reason);
    } else if octets > UDP_ROOM {
        look.warn(&spot(), format!("{octets} octets do not fit in a datagram: whoever asks over UDP asks again over TCP"));
    }
}

/// A `*` that is not the first label is a name as any other (RFC 4592 §2.1.1).
fn inner_wildcard(look: &mut Look<'_>, owner: &Name, rtype: u16) {
    if owner.labels().skip(1).any(|label| label == b"*") && owner.labels().next() != Some(b"*") {
        let reason = format!("{owner}: a '*' stands for other names as the first label alone (RFC 4592 §2.1.1)");
        look.warn(&look.draft.spot(owner, rtype, 0), reason);
    }
}

/// Names of hosts are letters, digits and hyphens (RFC 952, RFC 1123 §2.1); names with underscores at their labels' begin are meant so (RFC 8552).
fn odd(look: &mut Look<'_>, spot: &Spot, what: &str, name: &Name, owner: bool) {
    let fine = |(n, label): (usize, &[u8])| {
        let wildcard = owner && n == 0 && label == b"*";
        let attribute = owner && label.starts_with(b"_");
        let plain = label.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-');
        wildcard || attribute || (plain && !label.starts_with(b"-") && !label.ends_with(b"-"))
    };
    if !name.labels().enumerate().all(fine) {
        look.warn(spot, format!("{name} is no name of {what}: letters, digits and '-' within (RFC 1123 §2.1); some programs refuse it"));
    }
}

fn has_spf(texts: Option<&RecordSet>) -> bool {
    texts.is_some_and(|set| set.rdata.iter().any(|data| is_spf(data)))
}

fn is_spf(data: &[u8]) -> bool {
    let text = data.get(1..).unwrap_or_default();
    text.get(..6).is_some_and(|head| head.eq_ignore_ascii_case(b"v=spf1")) && matches!(text.get(6), None | Some(b' '))
}
