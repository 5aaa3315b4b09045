//! Settings: `signpost.toml` after parsing, defaults and environment.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::{
    CatalogSettings, DnssecSettings, DrillFields, ForwardSettings, Label, Locality, Name, Period, SecondarySettings, TransferSettings,
    TsigKey, UpdateRight,
};

/// Everything the server is told at start.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The file they were read from; `None` where defaults hold.
    pub file: Option<PathBuf>,
    /// Embedded store and last good state.
    pub data_dir: PathBuf,
    /// Listeners and answers.
    pub dns: DnsSettings,
    /// Signed zones.
    pub dnssec: DnssecSettings,
    /// Names that are not ours.
    pub forward: ForwardSettings,
    /// The HTTP API.
    pub api: ApiSettings,
    /// Where this server stands.
    pub here: Option<Locality>,
    /// The folder of zone files.
    pub zones_dir: PathBuf,
    /// The folder of geo files.
    pub geo_dir: PathBuf,
    /// What drains must leave.
    pub safety: SafetySettings,
    /// Probing.
    pub probe: ProbeSettings,
    /// What is written about what happens.
    pub log: LogSettings,
    /// `[drills.NAME]`: drills, by name.
    pub drills: BTreeMap<Label, DrillFields>,
    /// `[tsig.NAME]`: secrets shared with other servers, by name.
    pub tsig: BTreeMap<Name, TsigKey>,
    /// `[secondary."ZONE"]`: zones that are copied from other servers, by zone.
    pub secondary: BTreeMap<Name, SecondarySettings>,
    /// `[catalog."ZONE"]`: catalogs of zones that are transferred, by zone.
    pub catalogs: BTreeMap<Name, CatalogSettings>,
    /// `[update."ZONE"]`: who may change records of zones over DNS, by zone.
    pub updates: BTreeMap<Name, Vec<UpdateRight>>,
    /// `[transfer."ZONE"]`: transfers to secondaries, by zone; `None`: every zone that has no table of its own.
    pub transfer: BTreeMap<Option<Name>, TransferSettings>,
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    /// Addresses to answer on, UDP and TCP each.
    pub listen: Vec<SocketAddr>,
    /// UDP threads per address; default: one per core.
    pub workers: usize,
    /// Largest UDP reply in octets, 512–4096; default 1232 (DNS flag day 2020).
    pub udp_payload: u16,
    /// Most connections at once, TCP, TLS and QUIC together; default 4096. An idle one of plain TCP takes about 2 KB of the process, beside what the kernel keeps.
    pub tcp_connections: usize,
    /// Most of them of one client, which is an IPv4 address or an IPv6 /64; default 64.
    pub tcp_per_client: usize,
    /// Idle time in milliseconds before a connection is closed (RFC 7766 §6.2.3); default 10,000.
    pub tcp_idle_ms: u64,
    /// What `version.bind` and `version.server` answer in class CH; `None`: refused.
    pub version: Option<String>,
    /// What `hostname.bind` and `id.server` answer (RFC 4892); `None`: refused.
    pub identity: Option<String>,
    /// Most octets of a UDP reply to a query without a valid server cookie, 128–4096; 0, the default: as any other. Header, question and
    /// OPT are sent whole whatever it says.
    pub unverified_max: u16,
    /// `[forward] networks`: clients whose queries for names that are not ours are answered from elsewhere; none: nobody's.
    pub forward: Vec<IpNet>,
    /// Whether any zone is transferred to anybody: there is a `[transfer."ZONE"]`.
    pub transfers: bool,
    /// Whether any zone is copied from another server: there is a `[secondary."ZONE"]`.
    pub secondaries: bool,
    /// DNS cookies.
    pub cookies: CookieSettings,
    /// Response rate limiting.
    pub rate_limit: RateLimitSettings,
    /// DNS that nobody else can read.
    pub tls: TlsSettings,
}

/// `[dns.tls]`: DNS over TLS, HTTPS and QUIC, with one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and what leads to a root, in PEM, the server's own first; goes with `key`.
    pub certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
    /// Addresses to answer DNS over TLS on (RFC 7858); default none.
    pub dot: Vec<SocketAddr>,
    /// Addresses to answer DNS over HTTPS on (RFC 8484): HTTP/1.1 and HTTP/2 on TCP, HTTP/3 on UDP; default none.
    pub doh: Vec<SocketAddr>,
    /// The path of DNS over HTTPS; default `/dns-query`.
    pub doh_path: String,
    /// Addresses to answer DNS over QUIC on (RFC 9250); default none.
    pub doq: Vec<SocketAddr>,
}

impl TlsSettings {
    /// Whether anything is to be answered so that nobody else can read it.
    pub fn is_on(&self) -> bool {
        !(self.dot.is_empty() && self.doh.is_empty() && self.doq.is_empty())
    }

    /// The files that certificate and key are read from.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.certificate.iter().chain(&self.key)
    }
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        let nowhere = Vec::new;
        TlsSettings { certificate: None, key: None, dot: nowhere(), doh: nowhere(), doh_path: "/dns-query".into(), doq: nowhere() }
    }
}

/// `[dns.cookies]`: DNS cookies (RFC 7873, RFC 9018).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieSettings {
    /// Whether queries with a COOKIE option get a server cookie; default yes.
    pub enabled: bool,
    /// At most [`CookieSettings::MOST_SECRETS`]. The first signs, all are accepted. Empty: one drawn at start.
    pub secrets: Vec<CookieSecret>,
}

impl CookieSettings {
    /// Each wrong cookie is hashed with every secret; a rollover needs two (RFC 9018 §5).
    pub const MOST_SECRETS: usize = 4;
}

/// What server cookies are signed with: 128 bits. Nothing shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CookieSecret(pub [u8; 16]);

impl fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecret(…)")
    }
}

/// `[dns.rate_limit]`: how many UDP replies a client prefix may get that has shown no valid server cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitSettings {
    /// Replies of one kind about one name per second, 1–100,000; 0, the default: no limit at all.
    pub per_second: u32,
    /// NXDOMAIN from one zone per second, 1–100,000; default: `per_second`.
    pub nxdomain_per_second: Option<u32>,
    /// REFUSED, FORMERR and other errors per second, 1–100,000; default: `per_second`.
    pub errors_per_second: Option<u32>,
    /// Replies of all kinds per second, 1–1,000,000; 0, the default: no such limit.
    pub all_per_second: u32,
    /// Beyond the limit one query in so many gets a small reply that sends its client to TCP or gives it a cookie, the others none;
    /// 0–10, default 2. 0: none does; 1: every one does.
    pub slip: u8,
    /// IPv4 clients are told apart by so many bits, 8–32; default 24.
    pub ipv4_prefix: u8,
    /// IPv6 clients are told apart by so many bits, 16–64; default 56.
    pub ipv6_prefix: u8,
    /// Clients without limit; at most 256 networks.
    pub exempt: Vec<IpNet>,
    /// How many prefixes, kinds and names are kept in mind at once, 1,024–16,777,216, at 8 octets each; default 131,072.
    pub table_size: usize,
}

impl RateLimitSettings {
    /// Whether anything is limited.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.per_second != 0
    }
}

impl Default for CookieSettings {
    fn default() -> CookieSettings {
        CookieSettings { enabled: true, secrets: Vec::new() }
    }
}

impl Default for RateLimitSettings {
    fn default() -> RateLimitSettings {
        RateLimitSettings {
            per_second: 0,
            nxdomain_per_second: None,
            errors_per_second: None,
            all_per_second: 0,
            slip: 2,
            ipv4_prefix: 24,
            ipv6_prefix: 56,
            exempt: Vec::new(),
            table_size: 131_072,
        }
    }
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Listen beyond loopback without tokens: everyone who can reach it may change everything.
    pub insecure: bool,
    /// Who may do what. Empty: the API needs no token.
    pub tokens: Vec<Token>,
    /// The append-only audit log; default `<data_dir>/audit.jsonl`.
    pub audit: PathBuf,
}

/// `[[api.token]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name, shown in the audit log.
    pub name: String,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// What it may do.
    pub rights: Vec<Right>,
    /// The services it is for, by prefix of their names; empty: all.
    pub services: Vec<String>,
}

/// What a token may do. Each right stands alone; `admin` is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Look at everything.
    Read,
    /// Register, deregister, beat and push status of instances.
    Register,
    /// Change services, drain and lift drains.
    Operate,
    /// Everything.
    Admin,
}

/// `[safety]`: the rules that a drain is held to, unless it says why it overrules them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SafetySettings {
    /// Regions that must still have a healthy instance that is not drained once the drain of a region, or of the last az of one, is whole;
    /// default 1. Zero: none.
    pub min_regions: usize,
    /// In percent, 0–100: the healthy weight that each service concerned must keep in answers, of all its registered weight; default 0.
    pub min_healthy_weight: u8,
    /// Whether a region may go out of answers only while no other is drained; default yes.
    pub one_region_at_a_time: bool,
    /// How long after the end of one region's drain that of another may start, 0–24 h; default 0.
    pub wait: Period,
}

impl Default for SafetySettings {
    fn default() -> SafetySettings {
        SafetySettings { min_regions: 1, min_healthy_weight: 0, one_region_at_a_time: true, wait: Period::seconds(0) }
    }
}

/// `[probe]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Whether active checks run on this server; default yes.
    pub enabled: bool,
    /// Most probes under way at once; default 20,000, as for 100,000 checks of which half say nothing until their timeout.
    pub concurrency: usize,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// What is worth a line: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,signpost::probe=debug`; default `info`.
    pub level: String,
    /// How lines look; default [`LogFormat::Text`].
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// For people, coloured on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Settings {
    /// What `serve` without a config does: loopback only, folders in the working directory.
    fn default() -> Settings {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Settings {
            file: None,
            data_dir: "data".into(),
            dns: DnsSettings {
                listen: vec![loopback(5300)],
                workers: 1,
                udp_payload: 1232,
                tcp_connections: 4096,
                tcp_per_client: 64,
                tcp_idle_ms: 10_000,
                version: None,
                identity: None,
                unverified_max: 0,
                forward: Vec::new(),
                transfers: false,
                secondaries: false,
                cookies: CookieSettings::default(),
                rate_limit: RateLimitSettings::default(),
                tls: TlsSettings::default(),
            },
            dnssec: DnssecSettings::default(),
            forward: ForwardSettings::default(),
            api: ApiSettings { listen: loopback(8053), insecure: false, tokens: Vec::new(), audit: "data/audit.jsonl".into() },
            here: None,
            zones_dir: "zones".into(),
            geo_dir: "geo".into(),
            safety: SafetySettings::default(),
            probe: ProbeSettings { enabled: true, concurrency: 20_000 },
            log: LogSettings { level: "info".into(), format: LogFormat::Text },
            drills: BTreeMap::new(),
            tsig: BTreeMap::new(),
            updates: BTreeMap::new(),
            secondary: BTreeMap::new(),
            catalogs: BTreeMap::new(),
            transfer: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// How a zone is transferred; `None`: to nobody.
    pub fn transfer(&self, apex: &Name) -> Option<&TransferSettings> {
        self.transfer.get(&Some(apex.clone())).or_else(|| self.transfer.get(&None))
    }

    /// The region this server stands in.
    pub fn region(&self) -> Option<&Label> {
        self.here.as_ref().map(|l| &l.region)
    }
}
