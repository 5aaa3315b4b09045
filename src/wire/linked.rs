//! Records that lead to instances, SRV and HTTPS, and the addresses that stand beside them.

use super::reply::{Reply, Section};
use super::services::{At, Level};
use crate::codec::code::rtype;
use crate::codec::{Full, Pointer, Rest, Spelling, Writer};
use crate::routing::{Need, Picked};
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
    list: [Option<Link<'a>>; MOST_SRV],
    count: usize,
}

#[derive(Clone, Copy)]
struct Link<'a> {
    service: &'a CompiledService,
    member: u32,
    /// Where the message holds its name; `None`: it is the owner.
    name: Option<usize>,
}

impl<'a> Linked<'a> {
    /// None yet.
    pub fn new() -> Linked<'a> {
        Linked { list: [None; MOST_SRV], count: 0 }
    }

    fn add(&mut self, link: Link<'a>) {
        if let Some(slot) = self.list.get_mut(self.count) {
            *slot = Some(link);
            self.count += 1;
        }
    }

    /// Whether a record leads to it already.
    pub fn has(&self, service: &CompiledService, member: u32) -> bool {
        self.list[..self.count].iter().flatten().any(|link| std::ptr::eq(link.service, service) && link.member == member)
    }

    /// Writes the addresses of every instance, so that nobody has to ask again (RFC 2782, RFC 9460 §4.1). Those of an instance that do
    /// not fit are left out, which costs no TC (RFC 2181 §9).
    pub fn write_addresses(&self, at: &At<'_>, ttl: u32, reply: &mut Reply<'_, '_>) {
        let Some(home) = home(at) else { return };
        reply.turn_to(Section::Additional);
        for Link { service, member, name } in self.list.iter().flatten() {
            let owner = match name.map(Pointer::to) {
                None => at.here.from(0),
                Some(Some(pointer)) => Spelling { labels: &[], rest: Rest::At(pointer) },
                Some(None) => Spelling { labels: service.target(*member), rest: Rest::Spelled(home.apex()) },
            };
            let whole = reply.whole(|reply| {
                for address in service.v4(*member).chunks_exact(4) {
                    reply.record(owner, rtype::A, ttl, |writer| writer.put(address))?;
                }
                for address in service.v6(*member).chunks_exact(16) {
                    reply.record(owner, rtype::AAAA, ttl, |writer| writer.put(address))?;
                }
                Ok(())
            });
            if whole.is_err() {
                return;
            }
        }
    }
}

/// Writes the SRV record of an instance (RFC 2782). The name it leads to is not compressed.
#[expect(clippy::too_many_arguments, reason = "one call; a struct for it would say nothing more")]
pub(super) fn write_srv<'a>(
    at: &At<'a>,
    service: &'a CompiledService,
    picked: Picked,
    priority: u16,
    port: Need,
    ttl: u32,
    linked: &mut Linked<'a>,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let Some(home) = home(at) else { return Ok(()) };
    let labels = service.target(picked.member);
    reply.record(at.here.from(0), rtype::SRV, ttl, |writer| {
        writer.u16(priority)?;
        writer.u16(service.srv_weight(picked.weight, picked.warmth))?;
        writer.u16(service.port_number(picked.member, port))?;
        writer.name(Spelling { labels, rest: Rest::Spelled(home.apex()) })
    })?;
    let name = reply.position() - labels.len() - home.apex().len();
    linked.add(Link { service, member: picked.member, name: Some(name) });
    Ok(())
}

/// Writes the HTTPS record of an instance in ServiceMode (RFC 9460 §2.4.3).
pub(super) fn write_https<'a>(
    at: &At<'a>,
    level: &Level<'a>,
    picked: Picked,
    ttl: u32,
    linked: &mut Linked<'a>,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let (service, member) = (level.service(), picked.member);
    let Some(home) = home(at) else { return Ok(()) };
    let labels = service.target(member);
    let mut name = None;
    reply.record(at.here.from(0), rtype::HTTPS, ttl, |writer| {
        writer.u16(1)?;
        match level {
            // RFC 9460 §2.5.2: "." is the owner itself.
            Level::One { .. } => writer.put(&[0])?,
            Level::Chosen { .. } => {
                name = Some(writer.position());
                writer.name(Spelling { labels, rest: Rest::Spelled(home.apex()) })?;
            }
        }
        write_params(writer, service, member)
    })?;
    linked.add(Link { service, member, name });
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
