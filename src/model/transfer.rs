//! Who may have copies of zones, and who is told of changes.

use std::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;

use super::Name;

/// Another server: its address, and the key that messages to it are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Where it answers DNS; port 53 unless another is written.
    pub address: SocketAddr,
    /// The name that its certificate is checked against, where it is asked over TLS (RFC 9103); its port is 853 then.
    pub tls: Option<String>,
    /// The name of a key of `[tsig.NAME]`.
    pub key: Option<Name>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tls {
            Some(name) => write!(f, "tls://{}#{name}", self.address)?,
            None => write!(f, "{}", self.address)?,
        }
        self.key.as_ref().map_or(Ok(()), |key| write!(f, "#{key}"))
    }
}

/// `[transfer."ZONE"]`: transfers of a zone to its secondaries. One of `networks` and `keys` is given at least; both are: both are needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransferSettings {
    /// Who may, by address.
    pub networks: Vec<IpNet>,
    /// Who may, by TSIG: names of keys of `[tsig.NAME]`.
    pub keys: Vec<Name>,
    /// Over TLS alone (RFC 9103); default no.
    pub tls: bool,
    /// Who is told of changes (RFC 1996); at most [`TransferSettings::MOST_NOTIFIED`].
    pub notify: Vec<Peer>,
    /// What becomes of the names of services; default [`ServicesInTransfer::Withhold`].
    pub services: ServicesInTransfer,
}

impl TransferSettings {
    /// A NOTIFY for each of them waits for its reply.
    pub const MOST_NOTIFIED: usize = 64;
}

/// What becomes of the names of services in a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServicesInTransfer {
    /// They are left out.
    #[default]
    Withhold,
    /// Their records are transferred as this server itself, as a client, is answered at that moment.
    Render,
}
