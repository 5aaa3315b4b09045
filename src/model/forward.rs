//! Where names are looked up that are not ours: `[forward]`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::Name;

/// `[forward]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForwardSettings {
    /// The clients that may have names looked up; none: nobody's are.
    pub networks: Vec<IpNet>,
    /// Who is asked for names that are under none of `zones`; none: nobody is.
    pub upstreams: Vec<Upstream>,
    /// Names at and below these have upstreams of their own.
    pub zones: BTreeMap<Name, Vec<Upstream>>,
}

impl ForwardSettings {
    /// Most upstreams of one name.
    pub const MOST_UPSTREAMS: usize = 16;

    /// Most names with upstreams of their own.
    pub const MOST_ZONES: usize = 1024;

    /// Whether anything is forwarded for anybody.
    pub fn is_on(&self) -> bool {
        !self.networks.is_empty() && (!self.upstreams.is_empty() || !self.zones.is_empty())
    }

    /// Every upstream, in the order of the file.
    pub fn all(&self) -> impl Iterator<Item = &Upstream> {
        self.upstreams.iter().chain(self.zones.values().flatten())
    }
}

/// A resolver, or a server that knows the names it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is asked.
    pub transport: UpstreamTransport,
}

/// How an upstream is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UpstreamTransport {
    /// By datagrams, and over TCP where a reply is truncated.
    Udp,
    /// Over TCP.
    Tcp,
    /// Over TLS (RFC 7858), where the certificate is for this name.
    Tls(String),
}

/// How forwarding fares.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, utoipa::ToSchema)]
pub struct ForwardStats {
    /// Queries that were to be forwarded.
    pub queries: u64,
    /// Of these, answered from what was known.
    pub hits: u64,
    /// Of these, not known, or no longer fresh.
    pub misses: u64,
    /// Of these, answered with what was no longer fresh, for want of better.
    pub stale: u64,
    /// Of these, answered with SERVFAIL.
    pub failed: u64,
    /// Of these, added to another that asks the same.
    pub joined: u64,
    /// Of these, not asked because too many were.
    pub overloaded: u64,
    /// Queries for names that no upstream is asked for, as every server knows what they are (RFC 6761).
    pub local: u64,
    /// Questions whose replies are kept.
    pub kept: usize,
    /// Octets that they take.
    pub kept_octets: usize,
    /// Each upstream, in the order of the file.
    pub upstreams: Vec<UpstreamStats>,
}

/// How one upstream fares.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct UpstreamStats {
    /// As it is written in the file.
    pub upstream: String,
    /// Queries that it was asked.
    pub queries: u64,
    /// Of these, without a reply that is of use.
    pub failures: u64,
    /// How long it takes to reply, in microseconds.
    pub round_trip_us: u64,
    /// It is left alone until a probe finds it well.
    pub is_aside: bool,
}

/// Why a text is no upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The part behind `://` is no address.
    #[error("{0:?} is no address; an upstream is \"9.9.9.9\", \"tcp://192.0.2.1:5353\" or \"tls://9.9.9.9#dns.quad9.net\"")]
    Address(String),
    /// The part before `://`.
    #[error("{0:?} is no way to ask; it is udp, tcp or tls")]
    Scheme(String),
    /// TLS without a name.
    #[error("the name that the certificate is for is missing: \"tls://{0}#dns.example.net\"")]
    NoName(String),
    /// A name without TLS.
    #[error("a name goes with tls:// alone, where the certificate is checked against it")]
    Name,
    /// Nobody listens there.
    #[error("{0} is nobody's address")]
    Nobody(SocketAddr),
}

impl Upstream {
    /// Reads `[udp|tcp|tls://]ADDRESS[:PORT][#NAME]`; the port is 53, or 853 over TLS.
    pub fn parse(text: &str) -> Result<Upstream, UpstreamError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("udp", text));
        let (place, name) = rest.split_once('#').map_or((rest, None), |(place, name)| (place, Some(name)));
        let (port, transport) = match (scheme, name) {
            ("udp", None) => (53, UpstreamTransport::Udp),
            ("tcp", None) => (53, UpstreamTransport::Tcp),
            ("tls", Some(name)) if !name.is_empty() => (853, UpstreamTransport::Tls(name.to_ascii_lowercase())),
            ("tls", _) => return Err(UpstreamError::NoName(place.into())),
            ("udp" | "tcp", Some(_)) => return Err(UpstreamError::Name),
            _ => return Err(UpstreamError::Scheme(scheme.into())),
        };
        let alone = |place: &str| place.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let address = place.parse().ok().or_else(|| alone(place).map(|ip| SocketAddr::new(ip, port)));
        let address: SocketAddr = address.ok_or_else(|| UpstreamError::Address(place.into()))?;
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(UpstreamError::Nobody(address));
        }
        Ok(Upstream { address, transport })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, port, name) = match &self.transport {
            UpstreamTransport::Udp => ("", 53, ""),
            UpstreamTransport::Tcp => ("tcp://", 53, ""),
            UpstreamTransport::Tls(name) => ("tls://", 853, name.as_str()),
        };
        f.write_str(scheme)?;
        match self.address.port() == port {
            true => write!(f, "{}", self.address.ip())?,
            false => write!(f, "{}", self.address)?,
        }
        if name.is_empty() { Ok(()) } else { write!(f, "#{name}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_read_and_shown() {
        for (text, shown) in [
            ("9.9.9.9", "9.9.9.9"),
            ("udp://9.9.9.9:53", "9.9.9.9"),
            ("9.9.9.9:5353", "9.9.9.9:5353"),
            ("2620:fe::fe", "2620:fe::fe"),
            ("[2620:fe::fe]:5353", "[2620:fe::fe]:5353"),
            ("tcp://192.0.2.1:5353", "tcp://192.0.2.1:5353"),
            ("tls://9.9.9.9#dns.Quad9.net", "tls://9.9.9.9#dns.quad9.net"),
            ("tls://[2620:fe::fe]#dns.quad9.net", "tls://2620:fe::fe#dns.quad9.net"),
            ("tls://9.9.9.9:8853#dns.quad9.net", "tls://9.9.9.9:8853#dns.quad9.net"),
        ] {
            let read = Upstream::parse(text).unwrap();
            assert_eq!(read.to_string(), shown);
            assert_eq!(Upstream::parse(shown).unwrap(), read);
        }
        for (text, says) in [
            ("dns.quad9.net", "is no address"),
            ("9.9.9", "is no address"),
            ("https://9.9.9.9", "is no way to ask"),
            ("tls://9.9.9.9", "tls://9.9.9.9#dns.example.net"),
            ("tls://9.9.9.9#", "is missing"),
            ("9.9.9.9#dns.quad9.net", "goes with tls:// alone"),
            ("0.0.0.0", "nobody's"),
            ("9.9.9.9:0", "nobody's"),
        ] {
            let error = Upstream::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
