//! What must hold between a query and its reply.

use std::collections::BTreeMap;

use hickory_proto::op;
use signpost::model::DnsSettings;
use signpost::wire::Transport;

use super::message::{self, ANY, CNAME, DNAME, Message, NS, OPT, Record, SOA, is_within, word};

const QR: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;

/// RCODEs after which nothing but OPT follows.
const BARE: [u16; 6] = [1, 4, 5, 9, 16, 23];
/// Those with a name's data or its absence: NOERROR, NXDOMAIN, YXDOMAIN (RFC 6672 §2.2).
const TOLD: [u16; 3] = [0, 3, 6];
/// Most aliases that an answer follows, and what stands beside each.
const CHAIN: usize = 16;

/// Replies over TLS to who padded are multiples of this many octets (RFC 8467 §4.1).
const PADDED: usize = 468;

/// Whether octets get no reply: RFC 8906 §3: nothing but a response or less than a header stays without one.
pub fn is_silent(query: &[u8]) -> bool {
    query.len() < 12 || query[2] & 0x80 != 0
}

/// Checks a reply; `payload` is the most that the server sends in a datagram, `dns` what it was told. Returns the reply as it was read.
pub fn check(query: &[u8], reply: &[u8], transport: Transport, payload: u16, dns: &DnsSettings) -> Message {
    let read = form(query, reply, transport, payload, dns);
    if let Err(reason) = owed(query, reply, &read, transport, dns) {
        panic!("{reason}\nquery {}\nreply {}", hex(query), hex(reply));
    }
    read
}

/// As [`check`], but for the options that a query is owed: a reply in the place of FORMERR or BADVERS cannot have them.
pub fn form(query: &[u8], reply: &[u8], transport: Transport, payload: u16, dns: &DnsSettings) -> Message {
    let told = || format!("\nquery {}\nreply {}", hex(query), hex(reply));
    let read = match message::read(reply) {
        Ok(read) => read,
        Err(reason) => panic!("{reason}{}", told()),
    };
    // A subnet of family 0, "no address at all" (`dig +subnet=0`), is one that hickory does not know; nor does it take a record without
    // octets (RFC 3597 §5) for one.
    let second = op::Message::from_vec(reply);
    let empty = read.records.iter().any(|record| record.rtype != OPT && record.data.is_empty());
    let excused = empty || reply.windows(8).any(|option| option == [0, 8, 0, 4, 0, 0, 0, 0]);
    assert!(second.is_ok() || excused, "hickory cannot read the reply: {:?}{}", second.err(), told());
    if let Err(reason) = consider(query, reply, &read, transport, payload).and_then(|()| extended(query, reply, &read, transport, dns)) {
        panic!("{reason}{}", told());
    }
    read
}

/// Octets as people copy them.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn consider(query: &[u8], reply: &[u8], read: &Message, transport: Transport, payload: u16) -> Result<(), String> {
    let told = |holds: bool, reason: &str| if holds { Ok(()) } else { Err(reason.to_string()) };
    let asked = message::read(query).ok();

    // RFC 1035 §4.1.1: the id, the opcode and RD come back; RA, Z, AD and CD stay clear. Of an opcode that nobody offers, RD has no meaning
    // that could come back (RFC 8906 §8.1.4).
    let flags = word(&query[2..]);
    let kept = if flags & OPCODE == 0 { OPCODE | RD } else { OPCODE };
    told(reply[..2] == query[..2], "another id")?;
    told(read.flags & (QR | OPCODE | RD) == QR | flags & kept, "QR, opcode or RD")?;
    told(read.flags & 0x00f0 == 0, "RA, Z, AD or CD is set")?;

    // Invariant 7: the question comes back octet for octet.
    match (asked.as_ref().and_then(|asked| asked.question.as_ref()), &read.question) {
        (Some(asked), Some(answered)) => {
            told(asked.end == answered.end && query[12..asked.end] == reply[12..asked.end], "another question")?;
        }
        (Some(_), None) => told(read.rcode() != 0, "an answer without its question")?,
        (None, Some(answered)) => told(query.get(12..answered.end) == Some(&reply[12..answered.end]), "a question that was not asked")?,
        (None, None) => {}
    }

    // RFC 6891 §6.1.1 and §6.2.3: an OPT for an OPT, and no more octets than the client takes.
    let opt = asked.as_ref().and_then(|asked| asked.opts().next());
    let limit = match (transport, asked.is_some(), opt) {
        (Transport::Udp, true, None) => 512,
        (Transport::Udp, true, Some(opt)) => opt.class.clamp(512, payload.max(512)),
        (Transport::Udp, false, _) => payload.max(512),
        _ => u16::MAX,
    };
    told(reply.len() <= usize::from(limit), &format!("{} octets, of {limit}", reply.len()))?;
    told(read.opts().count() <= 1 && read.opts().all(|opt| opt.section == 3 && opt.owner == [0]), "a misplaced OPT")?;
    if let Some(asked) = &asked {
        told(asked.opts().count() != 0 || read.opts().count() == 0, "an OPT that nobody asked for")?;
        let sound = |opt: &Record| opt.section == 3 && opt.owner == [0];
        told(asked.opts().count() != 1 || !opt.is_some_and(sound) || read.opts().count() == 1, "no OPT for an OPT")?;
    }
    if let Some(opt) = read.opts().next() {
        told(opt.ttl & 0x00ff_7fff == 0, "version or flags of OPT")?;
        options(asked.as_ref(), read)?;
    }
    told(read.flags & TC == 0 || transport == Transport::Udp || reply.len() > 32_768, "a short reply over TCP is truncated")?;

    let rcode = read.rcode();
    told(BARE.contains(&rcode) || TOLD.contains(&rcode), &format!("RCODE {rcode}"))?;
    if BARE.contains(&rcode) {
        told(read.flags & AA == 0, "AA on an error")?;
        return told(read.records.iter().all(|record| record.rtype == OPT), "records beside an error");
    }
    records(read)?;
    match &read.question {
        Some(question) if question.qclass == 1 => answer(read, &question.name, question.qtype),
        _ => Ok(()),
    }
}

/// What an OPT says back: payload, DO, and options that are the server's to say.
fn extended(query: &[u8], reply: &[u8], read: &Message, transport: Transport, dns: &DnsSettings) -> Result<(), String> {
    let told = |holds: bool, reason: &str| if holds { Ok(()) } else { Err(reason.to_string()) };
    let Some(opt) = read.opts().next() else { return Ok(()) };
    told(opt.class == dns.udp_payload.max(512), "another payload than the server's")?;
    let options = read.options()?;
    let find = |code: u16| options.iter().find(|(found, _)| *found == code).map(|(_, data)| *data);
    // A stream says how long it is kept, in tenths of a second (RFC 7828 §3.1); padding is for what nobody else reads, and comes last.
    let idle = u16::try_from(dns.tcp_idle_ms / 100).unwrap_or(u16::MAX).to_be_bytes();
    told(find(11).is_none_or(|data| transport.is_stream() && data == idle), "a keepalive in a datagram, or another")?;
    let whole = reply.len().is_multiple_of(PADDED) || reply.len() == usize::from(u16::MAX);
    let last = options.last().is_some_and(|(code, _)| *code == 12);
    told(find(12).is_none_or(|data| transport == Transport::Tls && whole && last && data.iter().all(|octet| *octet == 0)), "padding")?;
    told(find(3).is_none_or(|data| Some(data) == dns.identity.as_deref().map(str::as_bytes)), "another identity")?;
    told(find(10).is_none_or(|data| dns.cookies.enabled && data.len() == 24 && data[8] == 1), "a cookie of another form")?;

    let Some(asked) = message::read(query).ok().filter(|asked| asked.opts().count() == 1) else { return Ok(()) };
    told(asked.opts().all(|asked| (asked.ttl ^ opt.ttl) & 0x8000 == 0), "another DO")?;
    let Ok(sent) = asked.options() else { return Ok(()) };
    let first = |code: u16| sent.iter().find(|(found, _)| *found == code).map(|(_, data)| *data);
    told(find(10).zip(first(10)).is_none_or(|(given, own)| own.len() >= 8 && given[..8] == own[..8]), "another client's cookie")
}

/// What the options of a query are owed, however little of the answer fits.
fn owed(query: &[u8], reply: &[u8], read: &Message, transport: Transport, dns: &DnsSettings) -> Result<(), String> {
    let told = |holds: bool, reason: &str| if holds { Ok(()) } else { Err(reason.to_string()) };
    let Some(asked) = message::read(query).ok().filter(|asked| asked.opts().count() == 1) else { return Ok(()) };
    let (Ok(sent), options) = (asked.options(), read.options()?) else { return Ok(()) };
    let first = |code: u16| sent.iter().find(|(found, _)| *found == code);
    let find = |code: u16| options.iter().find(|(found, _)| *found == code);
    // Of a message that is not understood, its options need not be.
    if [1, 16].contains(&read.rcode()) || word(&query[2..]) & OPCODE != 0 {
        return Ok(());
    }
    told(first(8).is_none() || find(8).is_some(), "no subnet for a subnet")?;
    told(first(10).is_none() || !dns.cookies.enabled || find(10).is_some(), "no cookie for a cookie")?;
    told(first(11).is_none() || !transport.is_stream() || find(11).is_some(), "no keepalive for who asked")?;
    let filled = reply.len() > usize::from(u16::MAX) - 4;
    told(first(12).is_none() || transport != Transport::Tls || find(12).is_some() || filled, "no padding for who padded")?;
    // In a datagram the identity may be left out for the answer.
    told(first(3).is_none() || dns.identity.is_none() || !transport.is_stream() || find(3).is_some(), "no identity for who asked")
}

/// Options are whole and come once; the subnet is the query's (RFC 7871 §7.2.1).
fn options(asked: Option<&Message>, read: &Message) -> Result<(), String> {
    let options = read.options()?;
    let mut codes: Vec<u16> = options.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    if codes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("an option twice".into());
    }
    let Some(asked) = asked.and_then(|asked| asked.options().ok()) else { return Ok(()) };
    if let Some((_, subnet)) = options.iter().find(|(code, _)| *code == 8) {
        // Family, source prefix length and address are as they came; the scope is the server's word.
        let same = |sent: &[u8]| sent.len() == subnet.len() && sent[..3] == subnet[..3] && sent[4..] == subnet[4..];
        if !asked.iter().any(|(code, sent)| *code == 8 && same(sent)) {
            return Err("another client subnet".into());
        }
        if subnet[2] == 0 && subnet[3] != 0 {
            return Err("a scope for a source of 0 bits".into());
        }
    }
    // NSID, keepalive and padding are for those who asked, by these options (RFC 5001 §2.1, RFC 7828 §3.3.2, RFC 7830 §4).
    match options.iter().find(|(code, _)| [3, 8, 10, 11, 12].contains(code) && !asked.iter().any(|(sent, _)| sent == code)) {
        Some((code, _)) => Err(format!("the option {code}, which nobody asked for")),
        None => Ok(()),
    }
}

/// No record twice in a section, one TTL in each RRset (RFC 2181 §5), and nothing of class 255.
fn records(read: &Message) -> Result<(), String> {
    let mut ttls: BTreeMap<(u8, &[u8], u16), u32> = BTreeMap::new();
    let mut seen: Vec<&Record> = read.records.iter().filter(|record| record.rtype != OPT).collect();
    for record in &seen {
        if *ttls.entry((record.section, &record.owner, record.rtype)).or_insert(record.ttl) != record.ttl {
            return Err(format!("two TTLs in the RRset of type {}", record.rtype));
        }
        // RFC 2181 §8: the highest bit is never set.
        if record.ttl > i32::MAX as u32 || read.question.as_ref().is_some_and(|question| question.qclass != record.class) {
            return Err("a TTL or class that no record has".into());
        }
    }
    seen.sort();
    match seen.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("a record of type {} twice", pair[0].rtype)),
        None => Ok(()),
    }
}

/// The shape of an answer: a chain of aliases from the question on, then data, a referral, or an SOA that says that there is none.
fn answer(read: &Message, name: &[u8], qtype: u16) -> Result<(), String> {
    let told = |holds: bool, reason: &str| if holds { Ok(()) } else { Err(reason.to_string()) };
    let mut here = name.to_vec();
    let (mut links, mut data, mut under) = (0, 0, None);
    let mut dnames: Vec<&Record> = Vec::new();
    for record in read.section(1) {
        if record.rtype == DNAME && record.owner != here {
            // RFC 6672 §3.1: the CNAME that follows from it comes behind it.
            told(is_within(&here, &record.owner) && under.is_none(), "a DNAME that is not above the name")?;
            under = Some(record);
            dnames.push(record);
            continue;
        }
        told(record.owner == here, "an answer to another name")?;
        // A DNAME that a chain comes by again is there already (RFC 2181 §5).
        let above = |dname: &&&Record| record.rtype == CNAME && here != dname.owner && is_within(&here, &dname.owner);
        let made_by = under.take().or_else(|| dnames.iter().find(above).copied());
        let is_link = record.rtype == CNAME && qtype != CNAME && (qtype != ANY || made_by.is_some());
        if let Some(dname) = made_by {
            let mut target = here[..here.len() - dname.owner.len()].to_vec();
            target.extend(dname.data.iter().map(u8::to_ascii_lowercase));
            told(record.rtype == CNAME && target == record.data, "not the CNAME that the DNAME makes")?;
            told(record.ttl == dname.ttl, "a synthesized CNAME has the TTL of its DNAME (RFC 6672 §3.1)")?;
        }
        if is_link {
            told(data == 0, "an alias behind data")?;
            (links, here) = (links + 1, record.data.clone());
        } else {
            told(qtype == ANY || record.rtype == qtype, "an answer of another type")?;
            data += 1;
        }
    }
    // The name that ends a chain too long to be followed is one more than are followed.
    told(links <= CHAIN + 1, "a chain without end")?;
    let truncated = read.flags & TC != 0;
    told(under.is_none() || truncated || read.rcode() == 6, "a DNAME that leads nowhere")?;

    let soas: Vec<&Record> = read.section(2).filter(|record| record.rtype == SOA).collect();
    let referrals = read.section(2).filter(|record| record.rtype == NS).count();
    told(read.section(2).all(|record| matches!(record.rtype, NS | SOA | 43)), "neither NS nor SOA in authority")?;
    told(soas.len() <= 1 && (soas.is_empty() || referrals == 0), "an SOA beside another or beside a referral")?;
    if let Some(soa) = soas.first() {
        told(is_within(&here, &soa.owner), "the SOA of a zone that the name is not in")?;
        // RFC 2308 §3: the TTL is the lesser of MINIMUM and the SOA's own.
        let minimum = soa.data.last_chunk::<4>().copied().map(u32::from_be_bytes);
        told(minimum.is_some_and(|minimum| soa.ttl <= minimum), "a negative TTL over MINIMUM")?;
        told(data == 0, "an SOA beside data")?;
    }
    let authoritative = read.flags & AA != 0;
    match read.rcode() {
        3 => told(authoritative && data == 0 && (truncated || soas.len() == 1), "NXDOMAIN without AA or SOA"),
        6 => told(authoritative && data == 0, "YXDOMAIN with data"),
        _ if !authoritative => {
            told(data == 0 && links == 0 && soas.is_empty() && (truncated || referrals > 0), "neither AA nor a referral")
        }
        _ => told(truncated || data + links > 0 || soas.len() == 1, "nothing at all"),
    }
}
