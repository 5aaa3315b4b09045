//! Class CH: what the server says of itself, where the operator lets it (RFC 4892).

use super::reply::{Here, Reply};
use crate::codec::Question;
use crate::codec::code::{CLASS_CH, extended, rcode, rtype};
use crate::model::{Counter, DnsSettings};

/// Answers a question of class CH.
pub(super) fn answer(dns: &DnsSettings, question: &Question<'_>, reply: &mut Reply<'_, '_>) {
    let text = match question.name.wire() {
        b"\x07version\x04bind\x00" | b"\x07version\x06server\x00" => dns.version.as_deref(),
        b"\x08hostname\x04bind\x00" | b"\x02id\x06server\x00" => dns.identity.as_deref(),
        _ => {
            let reason = "nothing is known in class CH by that name";
            return reply.fail(rcode::REFUSED, Counter::Refused, extended::NOT_AUTHORITATIVE, reason);
        }
    };
    let Some(text) = text else {
        return reply.fail(rcode::REFUSED, Counter::Refused, extended::PROHIBITED, "the operator does not say");
    };
    reply.set_authoritative();
    if !matches!(question.qtype, rtype::TXT | rtype::ANY) {
        return reply.conclude(rcode::NOERROR, Counter::Nodata);
    }
    let here = Here::question(question.name);
    let written = reply.record_in(CLASS_CH, here.from(0), rtype::TXT, 0, |writer| {
        if text.is_empty() {
            return writer.put(&[0]);
        }
        // A character-string holds at most 255 octets (RFC 1035 §3.3).
        text.as_bytes().chunks(255).try_for_each(|part| {
            writer.put(&[part.len() as u8])?;
            writer.put(part)
        })
    });
    if written.is_err() {
        reply.truncate();
    }
}
