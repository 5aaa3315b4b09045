//! Replies of upstreams as they are kept, and the replies that are made from them.
//!
//! A reply is kept as the octets that came, without its OPT: that speaks of the hop to the upstream, and clients get one of ours. Their question has
//! the same length and place as the upstream's, so that every compression pointer still leads where it led. TTLs are set in place.

use hickory_resolver::proto::op::Message;

use super::question::{Asked, Question, Subnet};
use crate::codec::code::{extended, option, rcode, rtype};
use crate::codec::{EDNS_FIXED, HEADER, Header};

/// The longest that a reply is kept, in seconds: a day, as most resolvers have it.
pub(super) const LONGEST_TTL: u32 = 86_400;
/// The same for what says that there is nothing (RFC 2308 §5 has one to three hours).
const LONGEST_NEGATIVE_TTL: u32 = 3_600;
/// The TTL of what is answered although its time is over (RFC 8767 §4).
pub(super) const STALE_TTL: u32 = 30;
/// Padded replies are multiples of this many octets (RFC 8467 §4.1).
const PADDED: usize = 468;
/// The most text of an extended error that is kept.
const MOST_TEXT: usize = 200;

/// Why a reply of an upstream is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// It ends within a name or a record, or holds octets that belong to none.
    #[error("it is malformed")]
    Malformed,
    /// It is no response to a query, or to another one.
    #[error("it answers another question")]
    NotAsked,
    /// It was cut.
    #[error("it is truncated")]
    Truncated,
}

/// What is wrong beside the RCODE, or why it is (RFC 8914).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) code: u16,
    pub(super) text: Box<str>,
}

/// A reply of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// Header, question and records; no OPT.
    octets: Box<[u8]>,
    records: Box<[Record]>,
    /// Where the first record begins.
    begin: usize,
    /// With the upper bits of the OPT.
    pub(super) rcode: u16,
    /// AD: the upstream validated it.
    authentic: bool,
    /// The prefix length for which it holds (RFC 7871 §7.2.1); `None` where the upstream did not say.
    scope: Option<u8>,
    extended: Option<Extended>,
    /// How long it may be kept, in seconds.
    pub(super) ttl: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    /// 1 to 3, as in the header's counts.
    section: u8,
    start: u32,
    /// Where its TTL stands.
    ttl: u32,
}

impl Stored {
    /// Reads what an upstream replied to a question.
    pub(super) fn read(octets: &[u8], question: &Question) -> Result<Stored, Unusable> {
        let header = Header::parse(octets).ok_or(Unusable::Malformed)?;
        if !header.is_response() || !header.is_query() || header.counts.get(0) != 1 {
            return Err(Unusable::NotAsked);
        }
        // RFC 5452 §9.1: name, type and class are those asked for.
        let opening = question.opening();
        let begin = opening.len();
        let same = octets.get(HEADER..begin).is_some_and(|theirs| theirs.eq_ignore_ascii_case(&opening[HEADER..]));
        if !same {
            return Err(Unusable::NotAsked);
        }
        if header.flags & Header::TC != 0 {
            return Err(Unusable::Truncated);
        }
        // In its plain spelling, whatever case it was sent in: names in the answer point there.
        let mut octets = octets.to_vec();
        octets[HEADER..begin].copy_from_slice(&opening[HEADER..]);
        let length = octets.len();
        let mut stored = Stored {
            octets: octets.into(),
            records: Box::default(),
            begin,
            rcode: header.flags & 0x0f,
            authentic: header.flags & Header::AD != 0,
            scope: None,
            extended: None,
            ttl: LONGEST_TTL,
        };
        match stored.walk(&header)? {
            Some((_, end)) if end < length => stored = stored.without_opt()?,
            Some((start, _)) => {
                let [questions, answers, authority, additional] = header.counts.into();
                let counts = [questions, answers, authority, additional.saturating_sub(1)];
                let mut kept = stored.octets[..start].to_vec();
                kept[..HEADER].copy_from_slice(&Header { counts: counts.into(), ..header }.octets());
                stored.octets = kept.into();
            }
            None => {}
        }
        Ok(stored)
    }

    /// A reply of our own that says that nobody could be asked.
    pub(super) fn failure(question: &Question, code: u16, text: &str, ttl: u32) -> Stored {
        let octets: Box<[u8]> = question.opening().into();
        Stored {
            begin: octets.len(),
            octets,
            records: Box::default(),
            rcode: rcode::SERVFAIL,
            authentic: false,
            scope: None,
            extended: Some(Extended { code, text: text.into() }),
            ttl,
        }
    }

    /// Whether it answers the question, be it with nothing. All else says something about the upstream.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self.rcode, rcode::NOERROR | rcode::NXDOMAIN | rcode::YXDOMAIN)
    }

    /// The octets that it takes.
    pub(super) fn size(&self) -> usize {
        size_of::<Stored>() + self.octets.len() + self.records.len() * size_of::<Record>()
    }

    /// The subnets that it holds for, of those asked for (RFC 7871 §7.3.1): a scope beyond what was said is no more than what was said.
    pub(super) fn holds_for(&self, subnet: Subnet) -> Subnet {
        Subnet { bits: self.scope.unwrap_or(0).min(subnet.bits), ..subnet }
    }

    /// The octets as they are kept.
    #[cfg(test)]
    pub(super) fn octets_for_tests(&self) -> &[u8] {
        &self.octets
    }

    /// Goes through the records; gives where the OPT begins and ends, if there is one.
    fn walk(&mut self, header: &Header) -> Result<Option<(usize, usize)>, Unusable> {
        let mut records = Vec::new();
        let (mut at, mut opt, mut ttl, mut soa) = (self.begin, None, u32::MAX, false);
        for section in 1..=3u8 {
            for _ in 0..header.counts.get(u32::from(section)) {
                let start = at;
                let fixed = skip_name(&self.octets, at).ok_or(Unusable::Malformed)?;
                let octets: [u8; 10] = *self.octets.get(fixed..).and_then(|rest| rest.first_chunk()).ok_or(Unusable::Malformed)?;
                let [t0, t1, _, _, l0, l1, l2, l3, d0, d1] = octets;
                let (kind, lives) = (u16::from_be_bytes([t0, t1]), u32::from_be_bytes([l0, l1, l2, l3]));
                let end = fixed + 10 + usize::from(u16::from_be_bytes([d0, d1]));
                let data = self.octets.get(fixed + 10..end).ok_or(Unusable::Malformed)?;
                at = end;
                if kind == rtype::OPT {
                    if opt.replace((start, end)).is_some() || section != 3 {
                        return Err(Unusable::Malformed);
                    }
                    self.rcode |= u16::from(l0) << 4;
                    (self.scope, self.extended) = read_options(data);
                    continue;
                }
                // RFC 2181 §8: a TTL with the highest bit set is none.
                ttl = ttl.min(if lives > i32::MAX as u32 { 0 } else { lives });
                if section == 2 && kind == rtype::SOA {
                    soa = true;
                    // RFC 2308 §5: the lesser of the SOA's TTL and its MINIMUM, which is its last field.
                    let minimum = data.last_chunk::<4>().map_or(0, |octets| u32::from_be_bytes(*octets));
                    ttl = ttl.min(minimum).min(LONGEST_NEGATIVE_TTL);
                }
                records.push(Record { section, start: start as u32, ttl: (fixed + 4) as u32 });
            }
        }
        if at != self.octets.len() {
            return Err(Unusable::Malformed);
        }
        let is_negative = self.rcode == rcode::NXDOMAIN || header.counts.get(1) == 0;
        // RFC 2308 §5: what says that there is nothing, and not for how long, is not kept.
        self.ttl = if is_negative && !soa { 0 } else { ttl.min(LONGEST_TTL) };
        self.records = records.into();
        Ok(opt)
    }

    /// Takes an OPT out from among other records. Pointers may lead over it, so that the message is written anew.
    fn without_opt(self) -> Result<Stored, Unusable> {
        let mut message = Message::from_vec(&self.octets).map_err(|_| Unusable::Malformed)?;
        message.edns = None;
        let octets = message.to_vec().map_err(|_| Unusable::Malformed)?;
        let header = Header::parse(&octets).ok_or(Unusable::Malformed)?;
        let mut anew = Stored { octets: octets.into(), ..self.clone() };
        anew.walk(&header)?;
        Ok(Stored { rcode: self.rcode, scope: self.scope, extended: self.extended, ..anew })
    }
}

/// How old a reply is that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// So many seconds of its time are over.
    Seconds(u32),
    /// All of it is (RFC 8767 §4).
    Stale,
}

/// What a client gets beside the records: from its query, and from the reply that we would make ourselves.
#[derive(Debug)]
pub(super) struct Own<'o> {
    reply: &'o [u8],
    header: Header,
    /// Where the first record begins.
    begin: usize,
    opt: Option<(usize, usize)>,
}

impl<'o> Own<'o> {
    /// Reads a reply of our own: question, aliases of ours if any, and OPT if the client speaks EDNS.
    pub(super) fn read(reply: &'o [u8]) -> Option<Own<'o>> {
        let header = Header::parse(reply)?;
        let mut at = skip_name(reply, HEADER)? + 4;
        let (begin, mut opt) = (at, None);
        for _ in 0..records_of(header) {
            let fixed = skip_name(reply, at)?;
            let octets: &[u8; 10] = reply.get(fixed..)?.first_chunk()?;
            let end = fixed + 10 + usize::from(u16::from_be_bytes([octets[8], octets[9]]));
            if octets[..2] == rtype::OPT.to_be_bytes() {
                opt = Some((at, end));
            }
            at = end;
        }
        (at == reply.len()).then_some(Own { reply, header, begin, opt })
    }

    /// The name that the last alias of ours leads to, in wire form and lower case; `None` where there is none.
    pub(super) fn leads_to(&self) -> Option<Vec<u8>> {
        if self.header.counts.get(1) == 0 {
            return None;
        }
        let message = Message::from_vec(self.reply).ok()?;
        let last = message.answers.iter().rev().find_map(|record| match &record.data {
            hickory_resolver::proto::rr::RData::CNAME(name) => Some(name.0.to_lowercase()),
            _ => None,
        })?;
        let mut wire = Vec::new();
        for label in last.iter() {
            wire.push(label.len() as u8);
            wire.extend(label);
        }
        wire.push(0);
        Some(wire)
    }

    /// The reply to the client: what is ours, then what an upstream said, in at most `limit` octets.
    ///
    /// AD is as the upstream has it where the client asks for it (RFC 6840 §5.8), and all of the answer is the upstream's. CD comes back
    /// (RFC 4035 §3.2.2).
    pub(super) fn reply(&self, stored: &Stored, age: Age, asked: &Asked, limit: usize) -> Vec<u8> {
        let aged = stored.aged(age);
        let has_own = self.header.counts.get(1) != 0 && stored.is_answer();
        let joined = if has_own { self.joined(&aged) } else { None };
        let begin = self.begin;
        // Where the upstream has no answer to where our alias leads, there is none at all.
        let (octets, records): (&[u8], &[Record]) = match &joined {
            Some((octets, records)) => (octets, records),
            None if self.header.counts.get(1) != 0 => (&[], &[]),
            None => (&aged, &stored.records),
        };
        let code = if has_own && joined.is_none() { rcode::SERVFAIL } else { stored.rcode };
        let mut message = self.reply[..begin].to_vec();
        message.extend(octets.get(begin..).unwrap_or_default());
        let opt = self.opt(stored, age);

        // RFC 2181 §9: whole records only; TC where an answer, or what says that there is none, is missing.
        let room = limit.saturating_sub(opt.len()).max(begin);
        let kept = match message.len() <= room {
            true => records.len(),
            false => {
                let ends = records.iter().skip(1).map(|record| record.start as usize).chain([message.len()]);
                ends.take_while(|end| *end <= room).count()
            }
        };
        let cut = records.get(kept);
        if let Some(first) = cut {
            message.truncate(first.start as usize);
        }
        let truncated = cut.is_some_and(|first| first.section < 3);
        let in_section = |section: u8| records[..kept].iter().filter(|record| record.section == section).count() as u16;
        let counts = [1, in_section(1), in_section(2), in_section(3) + u16::from(!opt.is_empty())];
        let mut flags = self.header.flags & !(Header::TC | Header::AA | Header::AD | 0x0f) | Header::RA | code & 0x0f;
        if has_own {
            flags |= self.header.flags & Header::AA;
        } else if stored.authentic && asked.wants_authentic && age != Age::Stale {
            flags |= Header::AD;
        }
        if truncated {
            flags |= Header::TC;
        }
        if asked.question.checking_disabled {
            flags |= Header::CD;
        }
        message[..HEADER].copy_from_slice(&Header { flags, counts: counts.into(), ..self.header }.octets());
        message.extend(opt);
        self.pad(&mut message, limit);
        message
    }

    /// Our records and an upstream's in one message, without OPT; `None` where either cannot be read after all.
    fn joined(&self, theirs: &[u8]) -> Option<(Vec<u8>, Vec<Record>)> {
        let mut ours = Message::from_vec(self.reply).ok()?;
        let theirs = Message::from_vec(theirs).ok()?;
        ours.answers.extend(theirs.answers);
        ours.authorities = theirs.authorities;
        ours.additionals = theirs.additionals;
        ours.edns = None;
        let octets = ours.to_vec().ok()?;
        let header = Header::parse(&octets)?;
        let mut all = Stored {
            octets: octets.into(),
            records: Box::default(),
            begin: self.begin,
            rcode: 0,
            authentic: false,
            scope: None,
            extended: None,
            ttl: 0,
        };
        all.walk(&header).ok()?;
        Some((all.octets.into(), all.records.into()))
    }

    /// The OPT: ours, with the scope, the reason and the upper bits of the RCODE of an upstream's.
    fn opt(&self, stored: &Stored, age: Age) -> Vec<u8> {
        let Some((start, end)) = self.opt else { return Vec::new() };
        let (fixed, mut options) = self.reply[start..end].split_at(EDNS_FIXED);
        let mut opt = fixed.to_vec();
        opt[5] = (stored.rcode >> 4) as u8;
        while let Some((head, rest)) = options.split_first_chunk::<4>() {
            let (code, length) = (u16::from_be_bytes([head[0], head[1]]), usize::from(u16::from_be_bytes([head[2], head[3]])));
            let (data, behind) = rest.split_at(length.min(rest.len()));
            options = behind;
            match code {
                // Why we would not answer is no matter any more; padding comes last.
                option::EXTENDED_ERROR | option::PADDING => {}
                // RFC 7871 §7.2.1: family, source and address as they came. The answer holds where both parts of it do.
                option::SUBNET if data.len() >= 4 => {
                    opt.extend(head);
                    opt.extend(&data[..3]);
                    opt.push(if data[2] == 0 { 0 } else { data[3].max(stored.scope.unwrap_or(0)) });
                    opt.extend(&data[4..]);
                }
                _ => {
                    opt.extend(head);
                    opt.extend(data);
                }
            }
        }
        let mut explain = |code: u16, text: &str| {
            opt.extend(option::EXTENDED_ERROR.to_be_bytes());
            opt.extend((2 + text.len() as u16).to_be_bytes());
            opt.extend(code.to_be_bytes());
            opt.extend(text.as_bytes());
        };
        if age == Age::Stale {
            explain(extended::STALE, "");
        }
        if let Some(Extended { code, text }) = &stored.extended {
            explain(*code, text);
        }
        let length = (opt.len() - EDNS_FIXED) as u16;
        opt[EDNS_FIXED - 2..EDNS_FIXED].copy_from_slice(&length.to_be_bytes());
        opt
    }

    /// Fills a reply up to a multiple of [`PADDED`] octets where ours would be (RFC 8467 §4.1). The OPT stands last.
    fn pad(&self, message: &mut Vec<u8>, limit: usize) {
        let Some((start, end)) = self.opt else { return };
        let options = &self.reply[start + EDNS_FIXED..end];
        if !has_option(options, option::PADDING) {
            return;
        }
        let begin = message.len() + 4;
        if begin > limit {
            return;
        }
        let padding = begin.next_multiple_of(PADDED).min(limit) - begin;
        message.extend(option::PADDING.to_be_bytes());
        message.extend((padding as u16).to_be_bytes());
        message.resize(begin + padding, 0);
        // The OPT's own length: it begins as many octets before the end as it has.
        if let Some(at) = last_opt(message) {
            let length = (message.len() - at - EDNS_FIXED) as u16;
            message[at + EDNS_FIXED - 2..at + EDNS_FIXED].copy_from_slice(&length.to_be_bytes());
        }
    }
}

impl Stored {
    /// The octets with the TTLs that are left.
    fn aged(&self, age: Age) -> Vec<u8> {
        let mut octets = self.octets.to_vec();
        for record in &self.records {
            let at = record.ttl as usize;
            let Some(field) = octets.get_mut(at..at + 4) else { continue };
            let lives = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
            let left = match age {
                Age::Seconds(seconds) => lives.min(LONGEST_TTL).saturating_sub(seconds),
                Age::Stale => STALE_TTL,
            };
            field.copy_from_slice(&left.to_be_bytes());
        }
        octets
    }
}

/// How many records a message has, by its header.
fn records_of(header: Header) -> u32 {
    (1..=3).map(|section| u32::from(header.counts.get(section))).sum()
}

/// Where the OPT of a message of ours begins: it is the last record.
fn last_opt(message: &[u8]) -> Option<usize> {
    let header = Header::parse(message)?;
    let mut at = skip_name(message, HEADER)? + 4;
    let records = records_of(header);
    for _ in 1..records {
        let fixed = skip_name(message, at)?;
        let octets: &[u8; 10] = message.get(fixed..)?.first_chunk()?;
        at = fixed + 10 + usize::from(u16::from_be_bytes([octets[8], octets[9]]));
    }
    (records > 0).then_some(at)
}

fn has_option(mut options: &[u8], wanted: u16) -> bool {
    while let Some((head, rest)) = options.split_first_chunk::<4>() {
        if u16::from_be_bytes([head[0], head[1]]) == wanted {
            return true;
        }
        options = rest.get(usize::from(u16::from_be_bytes([head[2], head[3]]))..).unwrap_or_default();
    }
    false
}

/// The scope and the extended error of an upstream's OPT.
fn read_options(mut options: &[u8]) -> (Option<u8>, Option<Extended>) {
    let (mut scope, mut said) = (None, None);
    while let Some((head, rest)) = options.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])).min(rest.len());
        let (data, behind) = rest.split_at(length);
        options = behind;
        match (u16::from_be_bytes([head[0], head[1]]), data) {
            (option::SUBNET, [_, _, _, theirs, ..]) => scope = Some(*theirs),
            (option::EXTENDED_ERROR, [c0, c1, text @ ..]) => {
                let text = String::from_utf8_lossy(&text[..text.len().min(MOST_TEXT)]).trim_end_matches('\0').into();
                said = Some(Extended { code: u16::from_be_bytes([*c0, *c1]), text });
            }
            _ => {}
        }
    }
    (scope, said)
}

/// The offset behind a name, which may end in a pointer.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + length,
            192.. => return (at + 2 <= message.len()).then_some(at + 2),
            _ => return None,
        }
    }
}
