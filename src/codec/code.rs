//! Numbers of the protocol (IANA "Domain Name System Parameters"), as plain constants: they come from and go to the wire.

/// Internet.
pub const CLASS_IN: u16 = 1;
/// Chaosnet, which carries what a server says of itself.
pub const CLASS_CH: u16 = 3;
/// None: what an update forbids or deletes (RFC 2136 §2.4).
pub const CLASS_NONE: u16 = 254;
/// Any class: also that of a TSIG (RFC 8945 §4.2).
pub const CLASS_ANY: u16 = 255;

/// RR types and QTYPEs.
pub mod rtype {
    /// IPv4 address (RFC 1035 §3.4.1).
    pub const A: u16 = 1;
    /// Name server (RFC 1035 §3.3.11).
    pub const NS: u16 = 2;
    /// Mail destination, obsolete (RFC 1035 §3.3.4).
    pub const MD: u16 = 3;
    /// Mail forwarder, obsolete (RFC 1035 §3.3.5).
    pub const MF: u16 = 4;
    /// Alias (RFC 1035 §3.3.1).
    pub const CNAME: u16 = 5;
    /// Start of authority (RFC 1035 §3.3.13).
    pub const SOA: u16 = 6;
    /// Mailbox, experimental (RFC 1035 §3.3.3).
    pub const MB: u16 = 7;
    /// Mail group member, experimental (RFC 1035 §3.3.6).
    pub const MG: u16 = 8;
    /// Mail rename, experimental (RFC 1035 §3.3.8).
    pub const MR: u16 = 9;
    /// Pointer (RFC 1035 §3.3.12).
    pub const PTR: u16 = 12;
    /// Host information; what a minimal answer to ANY may hold (RFC 8482 §4.2).
    pub const HINFO: u16 = 13;
    /// Mailbox information, experimental (RFC 1035 §3.3.7).
    pub const MINFO: u16 = 14;
    /// Mail exchange (RFC 1035 §3.3.9).
    pub const MX: u16 = 15;
    /// Text (RFC 1035 §3.3.14).
    pub const TXT: u16 = 16;
    /// AFS database server (RFC 1183 §1).
    pub const AFSDB: u16 = 18;
    /// Route through (RFC 1183 §3.3).
    pub const RT: u16 = 21;
    /// IPv6 address (RFC 3596).
    pub const AAAA: u16 = 28;
    /// Service location (RFC 2782).
    pub const SRV: u16 = 33;
    /// Key exchanger (RFC 2230).
    pub const KX: u16 = 36;
    /// Redirection of a subtree (RFC 6672).
    pub const DNAME: u16 = 39;
    /// EDNS (RFC 6891); no data.
    pub const OPT: u16 = 41;
    /// Delegation signer (RFC 4034 §5), which lives above the cut.
    pub const DS: u16 = 43;
    /// Signature of an RRset (RFC 4034 §3).
    pub const RRSIG: u16 = 46;
    /// The types of a name, and the next name (RFC 4034 §4).
    pub const NSEC: u16 = 47;
    /// The same by the hash of the name (RFC 5155 §3).
    pub const NSEC3: u16 = 50;
    /// How its hashes are made (RFC 5155 §4).
    pub const NSEC3PARAM: u16 = 51;
    /// Public key of a zone (RFC 4034 §2).
    pub const DNSKEY: u16 = 48;
    /// The DS that a child asks its parent for (RFC 7344 §3.1).
    pub const CDS: u16 = 59;
    /// The same as a DNSKEY (RFC 7344 §3.2).
    pub const CDNSKEY: u16 = 60;
    /// Service binding (RFC 9460).
    pub const SVCB: u16 = 64;
    /// HTTPS service binding (RFC 9460).
    pub const HTTPS: u16 = 65;
    /// "No such name" in NSEC bitmaps; never asked for (RFC 9824 §3.5).
    pub const NXNAME: u16 = 128;
    /// Key negotiation (RFC 2930).
    pub const TKEY: u16 = 249;
    /// Signature of a transaction (RFC 8945).
    pub const TSIG: u16 = 250;
    /// Incremental transfer (RFC 1995).
    pub const IXFR: u16 = 251;
    /// Transfer of a zone (RFC 5936).
    pub const AXFR: u16 = 252;
    /// Mailbox records, obsolete (RFC 1035 §3.2.3).
    pub const MAILB: u16 = 253;
    /// Mail agents, obsolete (RFC 1035 §3.2.3).
    pub const MAILA: u16 = 254;
    /// Any type (RFC 8482).
    pub const ANY: u16 = 255;

    /// Whether records of the type can stand in a zone: not a QTYPE, not a meta type (RFC 6895 §3.1).
    pub fn is_data(rtype: u16) -> bool {
        rtype != 0 && rtype != OPT && !(128..=255).contains(&rtype)
    }
}

/// Response codes (RFC 6895 §2.3).
pub mod rcode {
    /// No error.
    pub const NOERROR: u16 = 0;
    /// The query cannot be read.
    pub const FORMERR: u16 = 1;
    /// The server failed.
    pub const SERVFAIL: u16 = 2;
    /// The name does not exist.
    pub const NXDOMAIN: u16 = 3;
    /// Not offered.
    pub const NOTIMP: u16 = 4;
    /// Not for this client, or not this server's.
    pub const REFUSED: u16 = 5;
    /// The name would be too long (RFC 6672 §2.2).
    pub const YXDOMAIN: u16 = 6;
    /// An RRset exists that should not (RFC 2136 §2.2).
    pub const YXRRSET: u16 = 7;
    /// An RRset does not exist that should (RFC 2136 §2.2).
    pub const NXRRSET: u16 = 8;
    /// Not authoritative (RFC 2136 §2.2), or not authorized (RFC 8945 §5.2).
    pub const NOTAUTH: u16 = 9;
    /// A name is not within the zone (RFC 2136 §2.2).
    pub const NOTZONE: u16 = 10;
    /// The EDNS version is not known (RFC 6891 §9).
    pub const BADVERS: u16 = 16;
    /// The server cookie is not valid (RFC 7873 §8).
    pub const BADCOOKIE: u16 = 23;

    /// The mnemonic.
    pub fn name(rcode: u16) -> &'static str {
        match rcode {
            NOERROR => "NOERROR",
            FORMERR => "FORMERR",
            SERVFAIL => "SERVFAIL",
            NXDOMAIN => "NXDOMAIN",
            NOTIMP => "NOTIMP",
            REFUSED => "REFUSED",
            YXDOMAIN => "YXDOMAIN",
            YXRRSET => "YXRRSET",
            NXRRSET => "NXRRSET",
            NOTAUTH => "NOTAUTH",
            NOTZONE => "NOTZONE",
            BADVERS => "BADVERS",
            BADCOOKIE => "BADCOOKIE",
            _ => "RESERVED",
        }
    }
}

/// EDNS options.
pub mod option {
    /// Name server identifier (RFC 5001).
    pub const NSID: u16 = 3;
    /// Client subnet (RFC 7871).
    pub const SUBNET: u16 = 8;
    /// Cookie (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// How long a TCP connection may be idle (RFC 7828).
    pub const KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830).
    pub const PADDING: u16 = 12;
    /// Extended DNS error (RFC 8914).
    pub const EXTENDED_ERROR: u16 = 15;
}

/// INFO-CODEs of extended DNS errors (RFC 8914 §4 and IANA's registry, which has none for rate limits or malformed queries).
pub mod extended {
    /// None of the others; the text says it.
    pub const OTHER: u16 = 0;
    /// The answer is older than its TTL (RFC 8914 §4.4).
    pub const STALE: u16 = 3;
    /// The operator does not allow it (RFC 8914 §4.19).
    pub const PROHIBITED: u16 = 18;
    /// The server is not authoritative for the name.
    pub const NOT_AUTHORITATIVE: u16 = 20;
    /// The data that the server has for the zone is not good, such as too old (RFC 8914 §4.25).
    pub const INVALID_DATA: u16 = 24;
    /// The server has not what it is to answer with yet (RFC 8914 §4.15).
    pub const NOT_READY: u16 = 14;
    /// The operation or query is not supported.
    pub const NOT_SUPPORTED: u16 = 21;
    /// Nobody who was asked said anything (RFC 8914 §4.23).
    pub const UNREACHABLE: u16 = 22;
    /// The network between did not work (RFC 8914 §4.24).
    pub const NETWORK: u16 = 23;
    /// The type cannot be asked for (RFC 9824 §10).
    pub const INVALID_TYPE: u16 = 30;
}
