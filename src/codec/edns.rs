//! EDNS: what an OPT record says (RFC 6891).

use super::{ClientSubnet, Cookie, Fault, SubnetFault, code};

/// Octets of an OPT record without options: owner, type, class, TTL and length.
pub const EDNS_FIXED: usize = 11;

/// What a query's OPT says. Unknown options are passed over (RFC 6891 §6.1.2).
#[derive(Debug, Clone, Copy)]
pub struct Edns<'m> {
    /// The largest UDP payload the sender takes, in octets.
    pub payload: u16,
    /// The EDNS version; only 0 is known.
    pub version: u8,
    /// DO: the sender takes DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
    /// CO: the sender takes NXDOMAIN beside a compact denial (RFC 9824 §5.1).
    pub compact_ok: bool,
    /// The client's subnet (RFC 7871).
    pub subnet: Option<ClientSubnet<'m>>,
    /// The sender asks for the server's identifier (RFC 5001 §2.1).
    pub wants_identity: bool,
    /// The cookies of the client and of the server (RFC 7873).
    pub cookie: Option<Cookie<'m>>,
    /// The sender asks how long its connection may be idle (RFC 7828).
    pub keepalive: Keepalive,
    /// The sender pads its messages, and wants replies padded where nobody else can read them (RFC 7830 §4).
    pub wants_padding: bool,
    options: &'m [u8],
}

/// What a query says with the edns-tcp-keepalive option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalive {
    /// Nothing.
    Absent,
    /// The option without data, as clients send it (RFC 7828 §3.2.1).
    Asked,
    /// The option with data, which is for servers to say. Means nothing in a datagram (RFC 7828 §3.3.1).
    Malformed,
}

impl<'m> Edns<'m> {
    /// From the fields of an OPT record; the options are not read yet.
    pub(super) fn new(class: u16, ttl: u32, options: &'m [u8]) -> Edns<'m> {
        let [_extended_rcode, version, high, _] = ttl.to_be_bytes();
        Edns {
            payload: class,
            version,
            dnssec_ok: high & 0x80 != 0,
            compact_ok: high & 0x40 != 0,
            subnet: None,
            wants_identity: false,
            cookie: None,
            keepalive: Keepalive::Absent,
            wants_padding: false,
            options,
        }
    }

    /// Reads the options of version 0.
    pub(super) fn read_options(&mut self) -> Result<(), Fault> {
        let mut rest = self.options;
        while !rest.is_empty() {
            let (head, behind) = rest.split_first_chunk::<4>().ok_or(Fault::OptionLength)?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (data, next) = behind.split_at_checked(length).ok_or(Fault::OptionLength)?;
            match u16::from_be_bytes([head[0], head[1]]) {
                code::option::SUBNET if self.subnet.is_some() => return Err(SubnetFault::Twice.into()),
                code::option::SUBNET => self.subnet = Some(ClientSubnet::parse(data)?),
                // RFC 5001 §2.1: data in a query means nothing.
                code::option::NSID => self.wants_identity = true,
                // RFC 7873 §5.2: the first counts, all others are passed over.
                code::option::COOKIE if self.cookie.is_none() => self.cookie = Some(Cookie::parse(data).ok_or(Fault::CookieLength)?),
                code::option::KEEPALIVE if data.is_empty() && self.keepalive == Keepalive::Absent => self.keepalive = Keepalive::Asked,
                code::option::KEEPALIVE if !data.is_empty() => self.keepalive = Keepalive::Malformed,
                code::option::PADDING => self.wants_padding = true,
                _ => {}
            }
            rest = next;
        }
        Ok(())
    }
}
