//! Records that lead to instances, SRV and HTTPS, and the addresses that stand beside them.

use super::copied;
use super::reply::{Reply, Section};
use super::services::{Among, At, Level};
use super::signed::{self, Covered, Owner};
use crate::codec::code::{CLASS_IN, rtype};
use crate::codec::{Full, MAX_NAME, Pointer, Rest, Spelling, Writer};
use crate::routing::{MAX_TIERS, Need, Picked};
use crate::snapshot::{CompiledService, CompiledZone};

/// Most SRV records of an answer, whatever a service says.
pub(super) const MOST_SRV: usize = 64;
/// SvcParamKeys (RFC 9460 §14.3.2), in the order in which they must stand.
const ALPN: u16 = 1;
const PORT: u16 = 3;
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;
/// The port that an HTTPS record means where it names none (RFC 9460 §9.1).
const HTTPS_PORT: u16 = 443;

/// The instances that the records of an answer lead to.
pub(super) struct Linked<'a> {
    /// The services of the levels.
    services: [Option<&'a CompiledService>; MAX_TIERS],
    first: [Link; FEW],
    /// Those behind; most answers lead to few.
    further: Option<[Link; MOST_SRV - FEW]>,
    count: usize,
    /// The address records of the first, where each has one address, of IPv4, and the message holds its name.
    addresses: [[u8; HEAD + 4]; FEW],
    /// So many of them are written.
    addressed: usize,
}

/// So many are noted without more room.
const FEW: usize = 8;

#[derive(Clone, Copy)]
struct Link {
    member: u32,
    /// Where the message holds its name; 0, where no name begins: it is the owner.
    name: u16,
    level: u8,
}

const NONE: Link = Link { member: 0, name: 0, level: 0 };

impl<'a> Linked<'a> {
    /// None yet.
    #[inline]
    pub fn new() -> Linked<'a> {
        let addresses = [[0; HEAD + 4]; FEW];
        Linked { services: [None; MAX_TIERS], first: [NONE; FEW], further: None, count: 0, addresses, addressed: 0 }
    }

    #[inline(always)]
    fn add(&mut self, level: usize, service: &'a CompiledService, member: u32, name: usize) {
        let link = Link { member, name: name as u16, level: level as u8 };
        let slot = match self.count.checked_sub(FEW) {
            None => self.first.get_mut(self.count),
            Some(behind) => self.further.get_or_insert([NONE; MOST_SRV - FEW]).get_mut(behind),
        };
        if let Some((slot, known)) = slot.zip(self.services.get_mut(level)) {
            (*slot, *known) = (link, Some(service));
            self.count += 1;
        }
    }

    /// Notes the address record of the instance that was added last, whose name stands at `name`.
    #[inline(always)]
    fn add_address(&mut self, name: usize, fields: &[u8; HEAD - 2], address: &[u8; 4]) {
        if let (Some(pointer), Some(record)) = (Pointer::to(name), self.addresses.get_mut(self.addressed)) {
            record[..2].copy_from_slice(&pointer.octets());
            record[2..HEAD].copy_from_slice(fields);
            record[HEAD..].copy_from_slice(address);
            self.addressed += 1;
        }
    }

    fn links(&self) -> impl Iterator<Item = (&'a CompiledService, &Link)> {
        (0..self.count).map_while(|n| self.link(n))
    }

    #[inline]
    fn link(&self, n: usize) -> Option<(&'a CompiledService, &Link)> {
        let link = match n.checked_sub(FEW) {
            None => self.first.get(n)?,
            Some(behind) => self.further.as_ref()?.get(behind)?,
        };
        Some((*self.services.get(usize::from(link.level))?.as_ref()?, link))
    }

    /// Whether a record leads to it already.
    fn has(&self, service: &CompiledService, member: u32) -> bool {
        self.links().any(|(known, link)| link.member == member && std::ptr::eq(known, service))
    }

    /// Writes the addresses of every instance, so that nobody has to ask again (RFC 2782, RFC 9460 §4.1). Those of an instance that do
    /// not fit are left out, which costs no TC (RFC 2181 §9).
    pub fn write_addresses(&self, at: &At<'_>, ttl: u32, reply: &mut Reply<'_, '_>) {
        if self.count == 0 {
            return;
        }
        let Some(home) = home(at) else { return };
        if reply.is_signing() && copied::prove_expansions(reply).is_err() {
            return reply.truncate();
        }
        reply.turn_to(Section::Additional);
        if reply.signing(home).is_some() {
            return self.write_signed_addresses(at, home, ttl, reply);
        }
        // Of most answers all of them are at hand.
        let ready = self.addresses.get(..self.addressed).filter(|ready| ready.len() == self.count);
        if ready.is_some_and(|ready| reply.records(ready.len() as u16, ready.as_flattened()).is_ok()) {
            return;
        }
        // The record of one address, whose owner and data are another link's each time.
        let mut record = [0; HEAD + 4];
        record[2..HEAD].copy_from_slice(&fixed_fields(rtype::A, ttl));
        for (service, link) in self.links() {
            let addresses = (service.v4(link.member).as_chunks::<4>().0, service.v6(link.member).as_chunks::<16>().0);
            if let (Some(pointer), ([one], [])) = (Pointer::to(link.name.into()).filter(|_| link.name != 0), addresses) {
                record[..2].copy_from_slice(&pointer.octets());
                record[HEAD..].copy_from_slice(one);
                if reply.records(1, &record).is_err() {
                    return;
                }
                continue;
            }
            let (v4, v6) = addresses;
            let owner = match link.name {
                0 => at.here.from(0),
                name => match Pointer::to(name.into()) {
                    Some(pointer) => Spelling { labels: &[], rest: Rest::At(pointer) },
                    None => Spelling { labels: service.target(link.member), rest: Rest::Spelled(home.apex()) },
                },
            };
            let heads = [AddressHead::new(owner, rtype::A, ttl), AddressHead::new(owner, rtype::AAAA, ttl)];
            let written = reply.whole(|reply| {
                v4.iter().try_for_each(|address| heads[0].write(address, reply))?;
                v6.iter().try_for_each(|address| heads[1].write(address, reply))
            });
            if written.is_err() {
                return;
            }
        }
    }
}

impl Linked<'_> {
    /// The same from a signed zone: each RRset with its signature, or not at all (RFC 4035 §3.1.1).
    #[inline(never)]
    fn write_signed_addresses(&self, at: &At<'_>, home: &CompiledZone, ttl: u32, reply: &mut Reply<'_, '_>) {
        for (service, link) in self.links() {
            let (labels, mut name) = (service.target(link.member), [0; MAX_NAME]);
            let owner = match link.name {
                0 => Owner::at(at.here, 0),
                place => {
                    let Some(wire) = joined(&mut name, labels, home.apex()) else { return };
                    let spelling = match Pointer::to(place.into()) {
                        Some(pointer) => Spelling { labels: &[], rest: Rest::At(pointer) },
                        None => Spelling { labels, rest: Rest::Spelled(home.apex()) },
                    };
                    Owner { wire, spelling, of: wire }
                }
            };
            let (v4, v6) = (service.v4(link.member).as_chunks::<4>().0, service.v6(link.member).as_chunks::<16>().0);
            let covered = |rtype: u16| Covered { owner, rtype, ttl, original: home.ttl().max.max(ttl) };
            let written = write_signed_set(home, &covered(rtype::A), v4, reply)
                .and_then(|()| write_signed_set(home, &covered(rtype::AAAA), v6, reply));
            if written.is_err() {
                return;
            }
        }
    }
}

/// Writes addresses and their signature, or nothing.
fn write_signed_set<const OCTETS: usize>(
    home: &CompiledZone,
    covered: &Covered<'_>,
    addresses: &[[u8; OCTETS]],
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    if addresses.is_empty() {
        return Ok(());
    }
    let (start, head) = (reply.position(), AddressHead::new(covered.owner.spelling, covered.rtype, covered.ttl));
    reply.whole(|reply| {
        addresses.iter().try_for_each(|address| head.write(address, reply))?;
        signed::written(home, covered, start, addresses.len() as u16, reply)
    })
}

/// Labels before an apex, as one name.
pub(super) fn joined<'n>(room: &'n mut [u8; MAX_NAME], labels: &[u8], apex: &[u8]) -> Option<&'n [u8]> {
    let end = labels.len() + apex.len();
    room.get_mut(..labels.len())?.copy_from_slice(labels);
    room.get_mut(labels.len()..end)?.copy_from_slice(apex);
    room.get(..end)
}

/// What stands before the addresses of one owner.
#[derive(Clone, Copy)]
pub(super) struct AddressHead<'a> {
    owner: Spelling<'a>,
    rtype: u16,
    ttl: u32,
    /// Everything up to the address, where the owner is a pointer.
    encoded: Option<[u8; HEAD]>,
}

/// Octets before an address: a pointer and the fixed fields (RFC 1035 §3.2.1).
const HEAD: usize = 12;

/// What stands between the owner of an address record and the address.
#[inline(always)]
fn fixed_fields(rtype: u16, ttl: u32) -> [u8; HEAD - 2] {
    let ([t0, t1], [c0, c1], [s0, s1, s2, s3]) = (rtype.to_be_bytes(), CLASS_IN.to_be_bytes(), ttl.to_be_bytes());
    let length = if rtype == rtype::AAAA { 16 } else { 4 };
    [t0, t1, c0, c1, s0, s1, s2, s3, 0, length]
}

impl<'a> AddressHead<'a> {
    #[inline]
    pub fn new(owner: Spelling<'a>, rtype: u16, ttl: u32) -> AddressHead<'a> {
        let encoded = match owner.rest {
            Rest::At(pointer) if owner.labels.is_empty() => {
                let length: u16 = if rtype == rtype::AAAA { 16 } else { 4 };
                let owner = u64::from(0xc000 | pointer.offset() as u16);
                let mut encoded = [0; HEAD];
                let first = owner << 48 | u64::from(rtype) << 32 | u64::from(CLASS_IN) << 16 | u64::from(ttl >> 16);
                encoded[..8].copy_from_slice(&first.to_be_bytes());
                encoded[8..].copy_from_slice(&(ttl << 16 | u32::from(length)).to_be_bytes());
                Some(encoded)
            }
            _ => None,
        };
        AddressHead { owner, rtype, ttl, encoded }
    }

    /// Writes the record of an address.
    #[inline(always)]
    pub fn write<const OCTETS: usize>(&self, address: &[u8; OCTETS], reply: &mut Reply<'_, '_>) -> Result<(), Full> {
        let Some(encoded) = &self.encoded else { return reply.record(self.owner, self.rtype, self.ttl, |writer| writer.put(address)) };
        if let (Some(first), Some(rest), Some(address)) = (encoded.first_chunk(), encoded.last_chunk(), address.first_chunk())
            && OCTETS == 4
        {
            // In two words, lest it be read again before it is written.
            let (first, rest) = (u64::from_ne_bytes(*first), u64::from(u32::from_be_bytes(*rest)));
            let words = [first, (rest << 32 | u64::from(u32::from_be_bytes(*address))).to_be()];
            return reply.records(1, words.map(u64::to_ne_bytes).as_flattened());
        }
        let mut record = [0; HEAD + 16];
        record[..HEAD].copy_from_slice(encoded);
        record[HEAD..HEAD + OCTETS].copy_from_slice(address);
        reply.records(1, &record[..HEAD + OCTETS])
    }

    /// Writes addresses as far as there is room for them. `seen` is where the answers of before begin, and their count before them: what
    /// stands there is not written again.
    #[inline(always)]
    pub fn write_unseen<const OCTETS: usize>(
        &self,
        addresses: &[[u8; OCTETS]],
        seen: Option<(usize, u16)>,
        room: &mut usize,
        reply: &mut Reply<'_, '_>,
    ) -> Result<(), Full> {
        for address in addresses.iter().take(*room) {
            if seen.is_some_and(|(from, before)| reply.has_answer(from, reply.answers() - before, address)) {
                continue;
            }
            self.write(address, reply)?;
            *room -= 1;
        }
        Ok(())
    }
}

/// Writes the SRV records of the instances of a level (RFC 2782). The names they lead to are not compressed.
pub(super) struct SrvWriter<'a, 'h, 'l> {
    owner: Spelling<'h>,
    home: Option<&'a CompiledZone>,
    service: &'a CompiledService,
    /// Its number, which is the priority.
    level: usize,
    port: Need,
    ttl: u32,
    /// The record that was written last, where the owner is a pointer: the next one has much in common with it.
    last: &'l mut SrvRecord,
    has_pointer: bool,
    /// The fixed fields of an address record.
    fields: [u8; HEAD - 2],
}

/// Octets of an SRV record before its target, where the owner is a pointer.
const SRV_HEAD: usize = 18;
/// Octets that are copied in one piece.
const PIECE: usize = 16;
/// Octets of the names that are written by way of an [`SrvRecord`], and longer ones are not.
const COMMON_NAME: usize = 78;

/// Room for an SRV record whose owner is a pointer and whose target is not uncommonly long; and for one piece more.
pub(super) struct SrvRecord([u8; SRV_HEAD + COMMON_NAME + PIECE]);

impl SrvRecord {
    #[inline(always)]
    pub fn new() -> SrvRecord {
        SrvRecord([0; SRV_HEAD + COMMON_NAME + PIECE])
    }

    /// Copies the first `length` octets of `from` to `at`, in pieces: what then stands behind them means nothing.
    #[inline(always)]
    fn paste(&mut self, at: usize, from: &[u8], length: usize) {
        let room = self.0.get_mut(at..).unwrap_or_default();
        match (room.first_chunk_mut::<PIECE>(), from.first_chunk()) {
            // Nearly always.
            (Some(room), Some(piece)) if length <= PIECE => *room = *piece,
            _ => paste_more(room, from, length),
        }
    }
}

#[inline(never)]
fn paste_more(room: &mut [u8], from: &[u8], length: usize) {
    if let (Some(room), Some(octets)) = (room.get_mut(..length), from.get(..length)) {
        room.copy_from_slice(octets);
    }
}

impl<'a, 'h, 'l> SrvWriter<'a, 'h, 'l> {
    /// For the records of the level of that number; `last` is room for one.
    #[inline(always)]
    pub fn new(
        at: &At<'a>,
        owner: Spelling<'h>,
        (level, service): (usize, &'a CompiledService),
        port: Need,
        ttl: u32,
        last: &'l mut SrvRecord,
    ) -> SrvWriter<'a, 'h, 'l> {
        let head = AddressHead::new(owner, rtype::SRV, ttl).encoded;
        last.0[..HEAD].copy_from_slice(&head.unwrap_or_default());
        let fields = fixed_fields(rtype::A, ttl);
        SrvWriter { owner, home: home(at), service, level, port, ttl, last, has_pointer: head.is_some(), fields }
    }

    /// Writes one, unless a better level leads to the instance: branches may share instances, and each has one priority.
    #[inline(always)]
    pub fn write(&mut self, picked: Picked, linked: &mut Linked<'a>, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
        let Some(home) = self.home else { return Ok(()) };
        let (service, member) = (self.service, picked.member);
        if self.level > 0 && linked.has(service, member) {
            return Ok(());
        }
        let (parts, apex) = (service.srv(member, self.port), home.name());
        let weight = service.srv_weight(picked.weight, picked.warmth);
        let octets = parts.length + apex.wire().len();
        // What stands between length and target.
        let fields = (self.level as u64) << 32 | u64::from(weight) << 16 | u64::from(parts.port);
        if self.has_pointer && octets <= COMMON_NAME {
            let fields = (6 + octets as u64) << 48 | fields;
            self.last.0[HEAD - 2..SRV_HEAD].copy_from_slice(&fields.to_be_bytes());
            self.last.paste(SRV_HEAD, parts.target, parts.length);
            self.last.paste(SRV_HEAD + parts.length, apex.padded(), apex.wire().len());
            reply.records(1, self.last.0.get(..SRV_HEAD + octets).unwrap_or_default())?;
        } else {
            let labels = parts.target.get(..parts.length).unwrap_or_default();
            reply.record(self.owner, rtype::SRV, self.ttl, |writer| {
                writer.put(&fields.to_be_bytes()[2..])?;
                writer.name(Spelling { labels, rest: Rest::Spelled(apex.wire()) })
            })?;
        }
        let name = reply.position() - octets;
        linked.add(self.level, service, member, name);
        if let Some(address) = parts.only_address {
            linked.add_address(name, &self.fields, address);
        }
        Ok(())
    }
}

/// Writes the HTTPS record of an instance in ServiceMode (RFC 9460 §2.4.3).
pub(super) fn write_https<'a>(
    at: &At<'a>,
    level: &Level<'a>,
    number: usize,
    picked: Picked,
    ttl: u32,
    linked: &mut Linked<'a>,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let (service, member) = (level.service, picked.member);
    let Some(home) = home(at) else { return Ok(()) };
    let labels = service.target(member);
    let mut name = 0;
    reply.record(at.here.from(0), rtype::HTTPS, ttl, |writer| {
        writer.u16(1)?;
        match level.among {
            // RFC 9460 §2.5.2: "." is the owner itself.
            Among::One(_) => writer.put(&[0])?,
            Among::Chosen(_) => {
                name = writer.position();
                writer.name(Spelling { labels, rest: Rest::Spelled(home.apex()) })?;
            }
        }
        write_params(writer, service, member)
    })?;
    linked.add(number, service, member, name);
    Ok(())
}

fn write_params(writer: &mut Writer<'_>, service: &CompiledService, member: u32) -> Result<(), Full> {
    let port = service.tls_port(member);
    let octets = port.to_be_bytes();
    let port: &[u8] = if port == HTTPS_PORT { &[] } else { &octets };
    let params = [(ALPN, service.alpn()), (PORT, port), (IPV4_HINT, service.v4(member)), (IPV6_HINT, service.v6(member))];
    for (key, value) in params.into_iter().filter(|(_, value)| !value.is_empty()) {
        writer.u16(key)?;
        writer.u16(value.len() as u16)?;
        writer.put(value)?;
    }
    Ok(())
}

/// The zone in which instances have names.
fn home<'a>(at: &At<'a>) -> Option<&'a CompiledZone> {
    if at.zone.services() { Some(at.zone) } else { at.asked.snapshot.services_zone() }
}
