//! A reply under way: header, sections, the limit, and the OPT that is kept room for.

use super::cookies::{Given, Proof};
use super::regions::RegionSet;
use super::signed::Signing;
use super::{Punt, Transport};
use crate::codec::code::{CLASS_IN, extended, option, rcode, rtype};
use crate::codec::{Cookie, Counts, EDNS_FIXED, Edns, Full, HEADER, Header, Keepalive, NameBuf, Pointer, Request, Rest, Spelling, Writer};
use crate::model::{Counter, DnsSettings};
use crate::snapshot::{CompiledZone, Shelf, Signer};

/// Least UDP payload that everyone takes (RFC 1035 §2.3.4).
const LEAST_PAYLOAD: u16 = 512;
/// Octets of the keepalive option of a reply, its head included (RFC 7828 §3.1).
const KEEPALIVE: usize = 6;
/// Padded replies are multiples of this many octets (RFC 8467 §4.1).
const PADDED: usize = 468;

/// The sections behind the question, by their place in the header's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

/// What a reply is written for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'m> {
    pub dns: &'m DnsSettings,
    pub transport: Transport,
    /// What the query's cookie proves of its sender.
    pub proof: Proof,
    /// The cookie that goes back.
    pub cookie: Option<Given>,
    /// Where signatures are taken from, if the query wants any.
    pub signing: Option<&'m Signing<'m>>,
    /// Names that are not ours are asked for elsewhere, for this client.
    pub recursion: bool,
}

/// A reply under way.
pub(super) struct Reply<'r, 'm> {
    writer: Writer<'r>,
    header: Header,
    section: Section,
    rcode: u16,
    edns: Option<&'m Edns<'m>>,
    terms: &'m Terms<'m>,
    identity: Option<&'m str>,
    /// Octets that the whole reply may have, OPT included.
    limit: usize,
    /// What we say that we take over UDP.
    payload: u16,
    extended: Option<(u16, &'static str)>,
    /// The prefix length for which the answer holds (RFC 7871 §7.2.1).
    pub scope: u8,
    /// What it is counted as.
    pub outcome: Counter,
    /// Something in it has no signature yet; the shelf where what is least urgent of that belongs.
    pub unsigned: Option<Shelf>,
    /// CO of the query is heard (RFC 9824 §5.1).
    pub compact_ok: bool,
    /// What the answer waits for.
    pub punt: Option<Punt>,
    /// The answer depends on who asks.
    pub by_client: bool,
    /// Nothing was healthy.
    pub fail_open: bool,
    /// So little was healthy that all were answered.
    pub panic: bool,
    /// There is nothing to answer, and would be if no region and no az were drained.
    pub empty: bool,
    /// The regions of the instances in the answer.
    pub regions: RegionSet,
}

/// How long a reply may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room<'m> {
    /// Octets that the whole reply may have, OPT included.
    limit: usize,
    /// Octets of these that are kept for the OPT.
    opt: usize,
    identity: Option<&'m str>,
    /// What we say that we take over UDP.
    payload: u16,
}

impl<'m> Room<'m> {
    /// The room for the reply to a request, in a buffer of so many octets; `None` where that holds not even header, question and OPT.
    #[inline]
    pub fn of(request: &Request<'m>, terms: &Terms<'m>, buffer: usize) -> Option<Room<'m>> {
        let Terms { dns, transport, proof, cookie, .. } = terms;
        // The OPT is kept, whatever else has to go (RFC 6891 §7); the identifier only where there is room for it and an answer.
        let opt = request.edns.as_ref().map_or(0, |edns| {
            let keepalive = transport.has_keepalive() && edns.keepalive == Keepalive::Asked;
            EDNS_FIXED
                + edns.subnet.as_ref().map_or(0, |subnet| subnet.length())
                + cookie.as_ref().map_or(0, |_| Cookie::LENGTH)
                + if keepalive { KEEPALIVE } else { 0 }
        });
        let payload = dns.udp_payload.max(LEAST_PAYLOAD);
        let limit = match &request.edns {
            _ if transport.is_stream() => u16::MAX,
            None => LEAST_PAYLOAD,
            // RFC 6891 §6.2.3: less than 512 counts as 512. Never more than we want to send in one datagram.
            Some(edns) => edns.payload.clamp(LEAST_PAYLOAD, payload),
        };
        // Who has not shown that it receives what we send gets less (RFC 7873 §5.2.3), but for what every reply holds.
        let unverified = dns.unverified_max != 0 && !transport.is_stream() && *proof != Proof::Valid;
        let limit = if unverified { limit.min(dns.unverified_max) } else { limit };
        let begun = request.opening.len() + opt;
        let limit = usize::from(limit).max(begun).min(buffer).min(usize::from(u16::MAX));
        let room = limit.checked_sub(begun)?;
        let wants_identity = request.edns.as_ref().is_some_and(|edns| edns.wants_identity);
        let identity = dns.identity.as_deref().filter(|text| wants_identity && 4 + text.len() <= room / 2);
        let opt = opt + identity.map_or(0, |text| 4 + text.len());
        Some(Room { limit, opt, identity, payload })
    }
}

impl<'r, 'm> Reply<'r, 'm> {
    /// Begins a reply: header and question.
    #[inline(always)]
    pub fn new(request: &'m Request<'m>, terms: &'m Terms<'m>, room: Room<'m>, buffer: &'r mut [u8]) -> Reply<'r, 'm> {
        let mut writer = Writer::new(buffer);
        // The header is another one at the end. There is room, or there would be none at all.
        let _ = writer.put(request.opening);
        writer.set_limit(room.limit - room.opt);
        let Room { limit, identity, payload, .. } = room;

        // RFC 1035 §4.1.1: id, opcode and RD are the query's. RA is set for those whose queries are forwarded, else clear as Z and AD are:
        // nothing is validated. CD stays clear too, as RFC 4035 §3.1.6 asks of authoritative servers. What RD means is defined for QUERY alone: in the reply to an opcode that
        // is not known, no bit of the query's but the opcode is meant (RFC 8906 §8.1.4).
        let copied = if request.header.is_query() { Header::OPCODE | Header::RD } else { Header::OPCODE };
        let offered = if terms.recursion && request.header.is_query() { Header::RA } else { 0 };
        let flags = Header::QR | offered | request.header.flags & copied;
        let counts = Counts::of_question(request.question.is_some());
        Reply {
            writer,
            header: Header { id: request.header.id, flags, counts },
            section: Section::Answer,
            rcode: rcode::NOERROR,
            edns: request.edns.as_ref(),
            terms,
            identity,
            limit,
            payload,
            extended: None,
            scope: 0,
            outcome: Counter::Answered,
            unsigned: None,
            compact_ok: false,
            punt: None,
            by_client: false,
            fail_open: false,
            panic: false,
            empty: false,
            regions: RegionSet::default(),
        }
    }

    /// Whether it depends on who asks, or holds instances.
    #[inline]
    pub fn is_of_instances(&self) -> bool {
        self.by_client || !self.regions.is_empty()
    }

    /// How the query came.
    pub fn transport(&self) -> Transport {
        self.terms.transport
    }

    /// Whether the query wants signatures of any zone.
    #[inline(always)]
    pub fn is_signing(&self) -> bool {
        self.terms.signing.is_some()
    }

    /// Where signatures are taken from, if the query wants any.
    #[inline]
    pub fn any_signing(&self) -> Option<&'m Signing<'m>> {
        self.terms.signing
    }

    /// The same, and who signs the zone, if somebody does.
    #[inline]
    pub fn signed_by<'z>(&self, zone: &'z CompiledZone) -> Option<(&'m Signing<'m>, Signer<'z>)> {
        self.terms.signing.zip(zone.signer())
    }

    /// The same, where the query has DO: it wants the signatures of what is answered.
    #[inline]
    pub fn signing<'z>(&self, zone: &'z CompiledZone) -> Option<(&'m Signing<'m>, Signer<'z>)> {
        self.signed_by(zone).filter(|(signing, _)| signing.dnssec_ok)
    }

    /// What is written from an offset on.
    pub fn written(&self, from: usize) -> &[u8] {
        self.writer.written(from)
    }

    /// Takes out a record that was written from `from` up to `to`; what stands behind it moves.
    pub fn take_out(&mut self, from: usize, to: usize) {
        self.writer.rotate(from, to - from);
        self.writer.rewind(self.writer.position() - (to - from));
        self.header.counts.remove(self.section as u32, 1);
    }

    /// What the query's cookie proves of its sender.
    pub fn proof(&self) -> Proof {
        self.terms.proof
    }

    /// Takes everything back but the question, and sends the client to where its address is beyond doubt: to TCP, or, where it takes part
    /// in cookies, back with the server cookie that this reply gives it (RFC 7873 §5.2.3), which is one round trip instead of three.
    pub fn slip(&mut self, question: &Request<'_>) {
        self.writer.rewind(question.opening.len());
        self.header.counts = Counts::of_question(question.question.is_some());
        self.header.flags &= Header::QR | Header::OPCODE | Header::RD;
        if !question.header.is_query() {
            // Still NOTIMP: to NOTIFY or UPDATE, NOERROR would say that it was taken.
        } else if self.terms.cookie.is_some() {
            self.rcode = rcode::BADCOOKIE;
        } else {
            self.rcode = rcode::NOERROR;
            self.truncate();
        }
        self.outcome = Counter::Slipped;
        (self.scope, self.identity, self.extended) = (0, None, None);
        self.compact_ok = false;
    }

    /// Takes everything back but the question, where what was answered cannot be signed now: whoever asked asks again, by TCP, where there
    /// is a reply that says so.
    #[cold]
    pub fn give_up(&mut self, question: &Request<'_>) {
        self.slip(question);
        if self.terms.transport.is_stream() {
            self.header.flags &= !Header::TC;
            self.fail(rcode::SERVFAIL, Counter::Servfail, extended::OTHER, "the answer cannot be signed now");
        } else {
            self.rcode = rcode::NOERROR;
            self.truncate();
        }
    }

    /// Sets the RCODE, what it counts as, and the reason for people (RFC 8914).
    pub fn fail(&mut self, code: u16, outcome: Counter, reason: u16, text: &'static str) {
        (self.rcode, self.outcome) = (code, outcome);
        self.explain(reason, text);
    }

    /// Says why, where the client reads extended errors (RFC 8914). It never changes what the answer means.
    pub fn explain(&mut self, reason: u16, text: &'static str) {
        self.extended = Some((reason, text));
    }

    /// What is said beside the RCODE.
    pub fn note(&self) -> Option<&'static str> {
        self.extended.map(|(_, text)| text)
    }

    /// The RCODE so far.
    pub fn rcode(&self) -> u16 {
        self.rcode
    }

    /// Sets the RCODE and what it counts as.
    pub fn conclude(&mut self, code: u16, outcome: Counter) {
        (self.rcode, self.outcome) = (code, outcome);
    }

    /// The answer is ours to give.
    pub fn set_authoritative(&mut self) {
        self.header.flags |= Header::AA;
    }

    /// A name is in no zone of ours: leaves it to the slow path to ask for it elsewhere, where the client may have that and wants it.
    /// RFC 1034 §4.3.1: nothing is asked for anybody who does not say RD. Returns whether it did.
    pub fn forward(&mut self) -> bool {
        let forwards = self.terms.recursion && self.header.flags & Header::RD != 0 && !self.is_truncated();
        if forwards {
            (self.punt, self.outcome) = (Some(Punt::Forward), Counter::Forwarded);
        }
        forwards
    }

    /// Something that belongs in the reply did not fit.
    pub fn truncate(&mut self) {
        self.header.flags |= Header::TC;
    }

    /// Whether something did not fit.
    pub fn is_truncated(&self) -> bool {
        self.header.flags & Header::TC != 0
    }

    /// How many records the answer section has.
    pub fn answers(&self) -> u16 {
        self.header.counts.get(Section::Answer as u32)
    }

    /// Where the next octet goes.
    pub fn position(&self) -> usize {
        self.writer.position()
    }

    /// Turns to a section. Sections are written in their order.
    pub fn turn_to(&mut self, section: Section) {
        debug_assert!(section >= self.section);
        self.section = section;
    }

    /// Writes a record of class IN into the current section.
    #[inline]
    pub fn record(
        &mut self,
        owner: Spelling<'_>,
        rtype: u16,
        ttl: u32,
        data: impl FnOnce(&mut Writer<'r>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        self.record_in(CLASS_IN, owner, rtype, ttl, data)
    }

    /// Writes a record of any class.
    #[inline]
    pub fn record_in(
        &mut self,
        class: u16,
        owner: Spelling<'_>,
        rtype: u16,
        ttl: u32,
        data: impl FnOnce(&mut Writer<'r>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        self.writer.record(owner, rtype, class, ttl, data)?;
        self.header.counts.add(self.section as u32, 1);
        Ok(())
    }

    /// Appends `count` whole records, encoded, to the current section, or none of them. Pointers in them must lead to where the message
    /// holds what they stand for.
    #[inline]
    pub fn records(&mut self, count: u16, octets: &[u8]) -> Result<(), Full> {
        self.writer.put(octets)?;
        self.header.counts.add(self.section as u32, count);
        Ok(())
    }

    /// Sets what was written at an offset to a compression pointer. It is within reach, as all of a question is.
    #[inline]
    pub fn point(&mut self, at: usize, to: usize) {
        if let Some(pointer) = Pointer::to(to) {
            self.writer.set(at, &pointer.octets());
        }
    }

    /// The message as far as it is written.
    pub fn message(&self) -> &[u8] {
        self.writer.written(0)
    }

    /// What is written from `from` on, to be changed.
    #[inline]
    pub fn written_from(&mut self, from: usize) -> &mut [u8] {
        self.writer.written_mut(from)
    }

    /// Turns the answers behind `from`, which are all of one length, so that the one that `draw` says comes first.
    pub fn rotate_answers(&mut self, from: usize, count: u16, draw: u32) {
        let octets = self.writer.position().saturating_sub(from);
        if count > 1 && octets.is_multiple_of(usize::from(count)) {
            // The upper half of a product of 32 bits and a count: every place is as likely as the other.
            let first = ((u64::from(draw) * u64::from(count)) >> 32) as usize;
            self.writer.rotate(from, first * (octets / usize::from(count)));
        }
    }

    /// Whether one of the `count` answers behind `from`, which are all of one length, ends in `data`.
    pub fn has_answer(&self, from: usize, count: u16, data: &[u8]) -> bool {
        let written = self.writer.written(from);
        count > 0 && written.chunks_exact((written.len() / usize::from(count)).max(1)).any(|record| record.ends_with(data))
    }

    /// Writes several records or none of them.
    #[inline]
    pub fn whole(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Full>) -> Result<(), Full> {
        let (position, counts) = (self.writer.position(), self.header.counts);
        let written = write(self);
        if written.is_err() {
            self.writer.rewind(position);
            self.header.counts = counts;
        }
        written
    }

    /// Writes the OPT and the header; returns the reply's length.
    #[inline(always)]
    pub fn finish(&mut self) -> usize {
        self.writer.set_limit(self.limit);
        if let Some(edns) = self.edns {
            let before = self.writer.position();
            match self.write_opt(edns) {
                Ok(()) => self.header.counts.add(Section::Additional as u32, 1),
                // Cannot happen: room was kept. A reply without OPT is the lesser evil.
                Err(Full) => self.writer.rewind(before),
            }
        }
        let flags = self.header.flags | self.rcode & 0x0f;
        self.writer.set(0, &Header { flags, ..self.header }.octets());
        self.writer.position()
    }

    #[inline(always)]
    fn write_opt(&mut self, edns: &Edns<'m>) -> Result<(), Full> {
        // RFC 6891 §6.1.3: the upper eight bits of the RCODE, version 0, and DO as it came (RFC 3225 §3); CO where it was heard.
        let ttl = u32::from(self.rcode >> 4) << 24 | u32::from(edns.dnssec_ok) << 15 | u32::from(self.compact_ok) << 14;
        let ([p0, p1], [t0, t1, t2, t3]) = (self.payload.to_be_bytes(), ttl.to_be_bytes());
        self.writer.put(&[0, 0, rtype::OPT as u8, p0, p1, t0, t1, t2, t3, 0, 0])?;
        let begin = self.writer.position();
        if let Some(subnet) = &edns.subnet {
            // RFC 7871 §7.2.1: a source prefix length of 0 gets scope 0.
            subnet.write(&mut self.writer, if subnet.source() == 0 { 0 } else { self.scope })?;
        }
        if let Some(Given { client, server }) = &self.terms.cookie {
            Cookie::write(&mut self.writer, client, server)?;
        }
        let (keepalive, padding) = (edns.keepalive == Keepalive::Asked, edns.wants_padding);
        if keepalive || padding || self.identity.is_some() || self.extended.is_some() {
            self.write_further_options(edns)?;
        }
        let length = self.writer.position() - begin;
        if length != 0 {
            self.writer.set_u16(begin - 2, length as u16);
        }
        Ok(())
    }

    #[inline(never)]
    fn write_further_options(&mut self, edns: &Edns<'m>) -> Result<(), Full> {
        let (writer, terms) = (&mut self.writer, &self.terms);
        if terms.transport.has_keepalive() && edns.keepalive == Keepalive::Asked {
            // RFC 7828 §3.1: in units of 100 milliseconds.
            let idle = u16::try_from(terms.dns.tcp_idle_ms / 100).unwrap_or(u16::MAX);
            writer.u16(option::KEEPALIVE)?;
            writer.u16(2)?;
            writer.u16(idle)?;
        }
        if let Some(text) = self.identity {
            writer.u16(option::NSID)?;
            writer.u16(text.len() as u16)?;
            writer.put(text.as_bytes())?;
        }
        if let Some((code, text)) = self.extended {
            let before = writer.position();
            // A reason for people is left out where it does not fit; the one for programs is shorter.
            if write_extended(writer, code, text).is_err() {
                writer.rewind(before);
                if write_extended(writer, code, "").is_err() {
                    writer.rewind(before);
                }
            }
        }
        if edns.wants_padding && terms.transport.is_encrypted() {
            pad(writer)?;
        }
        Ok(())
    }
}

/// Fills the message up to the next multiple of [`PADDED`] octets, or to its limit (RFC 7830 §4, RFC 8467 §4.1). The last option there is.
fn pad(writer: &mut Writer<'_>) -> Result<(), Full> {
    let begin = writer.position() + 4;
    let length = begin.next_multiple_of(PADDED).min(writer.limit()).saturating_sub(begin);
    if begin > writer.limit() {
        return Ok(());
    }
    writer.u16(option::PADDING)?;
    writer.u16(length as u16)?;
    writer.put(&[0; PADDED][..length])
}

fn write_extended(writer: &mut Writer<'_>, code: u16, text: &str) -> Result<(), Full> {
    writer.u16(option::EXTENDED_ERROR)?;
    writer.u16(2 + text.len() as u16)?;
    writer.u16(code)?;
    writer.put(text.as_bytes())
}

/// The name that is being answered, and where the message holds it: the question's, or that of an alias before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Here<'n> {
    pub name: &'n NameBuf,
    base: usize,
    /// From this offset in the name on, the message holds it at `tail`; behind it, nowhere that is known.
    split: usize,
    tail: usize,
}

/// Where a message holds a name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    base: u16,
    split: u16,
    tail: u16,
}

impl Place {
    /// The name.
    pub fn name(self, message: &[u8]) -> Option<NameBuf> {
        let mut name = NameBuf::default();
        name.follow(message, self.base.into()).ok()?;
        Some(name)
    }
}

/// A name that an answer leads to, in the data of its last record.
pub(super) struct Alias {
    pub name: NameBuf,
    /// The offset in the message at which it begins.
    pub base: usize,
    /// The offset in the name from which on it is a pointer.
    pub split: Option<(usize, Pointer)>,
    /// The DNAME RRset that led there, if it was one: known by its place in the snapshot.
    pub by: Option<*const u8>,
}

impl Alias {
    /// Where an answer for that name stands.
    pub fn here(&self) -> Here<'_> {
        let (split, tail) = self.split.map_or((usize::MAX, 0), |(at, pointer)| (at, pointer.offset()));
        Here { name: &self.name, base: self.base, split, tail }
    }
}

impl<'n> Here<'n> {
    /// The question's name, which stands behind the header.
    #[inline]
    pub fn question(name: &'n NameBuf) -> Here<'n> {
        Here { name, base: HEADER, split: usize::MAX, tail: 0 }
    }

    /// Where the message holds it, which is no longer than 65,535 octets.
    pub fn place(&self) -> Place {
        let octets = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Place { base: octets(self.base), split: octets(self.split), tail: octets(self.tail) }
    }

    /// A name that the message holds there.
    pub fn placed(name: &'n NameBuf, place: Place) -> Here<'n> {
        let split = if place.split == u16::MAX { usize::MAX } else { place.split.into() };
        Here { name, base: place.base.into(), split, tail: place.tail.into() }
    }

    /// Whether it is the question's, from label `index` on, and not the root.
    #[inline]
    pub fn is_question(&self, index: usize) -> bool {
        self.base == HEADER && self.split == usize::MAX && index < self.name.labels()
    }

    /// Where the message holds the name from label `index` on; `None` where it does not, or where a pointer would be longer.
    pub fn pointer(&self, index: usize) -> Option<Pointer> {
        let offset = self.name.start(index);
        match index >= self.name.labels() {
            true => None,
            false if offset < self.split => Pointer::to(self.base + offset),
            false if offset == self.split => Pointer::to(self.tail),
            false => None,
        }
    }

    /// The name from label `index` on, as an owner.
    pub fn from(&self, index: usize) -> Spelling<'n> {
        self.below(&[], index)
    }

    /// `labels` before the name from label `index` on, as an owner.
    pub fn below<'l>(&self, labels: &'l [u8], index: usize) -> Spelling<'l>
    where
        'n: 'l,
    {
        let rest = match self.pointer(index) {
            Some(pointer) => Rest::At(pointer),
            None => Rest::Spelled(&self.name.wire()[self.name.start(index)..]),
        };
        Spelling { labels, rest }
    }
}
