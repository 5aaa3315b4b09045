//! The keys of `signpost.toml`, in one table: the file, the `SIGNPOST__…` variables and the reference all come from it.

use std::path::{Path, PathBuf};

use toml::Value;

use super::values::{
    DAY, chaos, folder, here, label, networks, one_of, parents, period, secrets, socket, sockets, text, texts, tokens, truth, url_path,
    whole,
};
use super::{forward, suggest};
use crate::model::{Algorithm, Denial, FieldError, Label, LogFormat, Name, Settings};

/// A key.
pub(super) struct Key {
    /// Section and name: `dns.listen`.
    pub path: &'static str,
    /// What it says and its default, for the reference.
    pub about: &'static str,
    /// How its value is written in a variable.
    pub form: Form,
    /// Takes the value; relative paths are relative to the folder given.
    pub set: fn(&mut Draft, Value, &Path) -> Result<(), FieldError>,
}

/// How a variable's text becomes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it stands.
    Text,
    /// A whole number.
    Whole,
    /// `true` or `false`.
    Truth,
    /// Texts with commas between them, or a TOML list.
    List,
    /// As a list, of what no error may show.
    Secrets,
    /// A TOML list of inline tables, or one.
    Tables,
}

/// Settings on the way: what the file and the variables said so far.
pub(super) struct Draft {
    pub settings: Settings,
    pub region: Option<Label>,
    pub az: Option<Label>,
    pub audit: Option<PathBuf>,
    pub versioned: bool,
}

/// Every key of `signpost.toml` with what it says, in the order of the reference.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|key| (key.path, key.about))
}

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "version",
        about: "the version of this file's format: 1; needed in every file",
        form: Form::Whole,
        set: |draft, value, _| {
            draft.versioned = true;
            match value {
                Value::Integer(1) => Ok(()),
                other => Err(here(format!("1 is expected, not {other}: this Signpost knows no other version"))),
            }
        },
    },
    Key {
        path: "data_dir",
        about: "folder of the embedded store and the audit log; default data",
        form: Form::Text,
        set: |draft, value, base| folder(value, base).map(|v| draft.settings.data_dir = v),
    },
    Key {
        path: "dns.listen",
        about: "addresses to answer on, UDP and TCP; default [\"127.0.0.1:5300\"]",
        form: Form::List,
        set: |draft, value, _| {
            let listen = sockets(value)?;
            if listen.is_empty() {
                return Err(here("at least one address is needed, such as [\"127.0.0.1:5300\"]"));
            }
            draft.settings.dns.listen = listen;
            Ok(())
        },
    },
    Key {
        path: "dns.workers",
        about: "UDP threads per address, 1 to 1024; default: one per core",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 1, 1024).map(|v| draft.settings.dns.workers = v as usize),
    },
    Key {
        path: "dns.udp_payload",
        about: "largest UDP reply in octets, 512 to 4096; default 1232",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 512, 4096).map(|v| draft.settings.dns.udp_payload = v as u16),
    },
    Key {
        path: "dns.tcp_connections",
        about: "most connections at once, TCP, TLS and QUIC together; default 4096",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 1, 1_000_000).map(|v| draft.settings.dns.tcp_connections = v as usize),
    },
    Key {
        path: "dns.tcp_per_client",
        about: "most of them of one client address; default 64",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 1, 1_000_000).map(|v| draft.settings.dns.tcp_per_client = v as usize),
    },
    Key {
        path: "dns.tcp_idle",
        about: "idle time after which a connection is closed, 100ms to 10m; default \"10s\"",
        form: Form::Text,
        set: |draft, value, _| {
            let idle = period(value, 100, 600_000)?;
            draft.settings.dns.tcp_idle_ms = idle.millis();
            Ok(())
        },
    },
    Key {
        path: "dns.version",
        about: "the answer to version.bind and version.server in class CH; default: refused",
        form: Form::Text,
        set: |draft, value, _| chaos(value).map(|v| draft.settings.dns.version = Some(v)),
    },
    Key {
        path: "dns.identity",
        about: "the answer to hostname.bind and id.server in class CH (RFC 4892); default: refused",
        form: Form::Text,
        set: |draft, value, _| chaos(value).map(|v| draft.settings.dns.identity = Some(v)),
    },
    Key {
        path: "dns.unverified_max",
        about: "most octets of a UDP reply to a client without a valid cookie, 128 to 4096; the rest is for TCP; 0, the default: no such limit",
        form: Form::Whole,
        set: |draft, value, _| {
            if value != Value::Integer(0) {
                draft.settings.dns.unverified_max = whole(value, 128, 4096)
                    .map_err(|e| here(e.expected.replacen("a whole number from", "0 (no such limit) or a whole number from", 1)))?
                    as u16;
            } else {
                draft.settings.dns.unverified_max = 0;
            }
            Ok(())
        },
    },
    Key {
        path: "dns.cookies.enabled",
        about: "whether queries with a cookie get a server cookie (RFC 7873, RFC 9018); default true",
        form: Form::Truth,
        set: |draft, value, _| truth(value).map(|v| draft.settings.dns.cookies.enabled = v),
    },
    Key {
        path: "dns.cookies.secrets",
        about: "what server cookies are signed with: up to 4 texts of 32 hex digits, the same on every server of an anycast set; the first signs, \
                all are accepted; default: drawn at each start",
        form: Form::Secrets,
        set: |draft, value, _| secrets(value).map(|v| draft.settings.dns.cookies.secrets = v),
    },
    Key {
        path: "dns.rate_limit.per_second",
        about: "UDP replies of one kind about one name that a client network gets per second without a valid cookie, 1 to 100000; \
                0, the default: no rate limit",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 0, 100_000).map(|v| draft.settings.dns.rate_limit.per_second = v as u32),
    },
    Key {
        path: "dns.rate_limit.nxdomain_per_second",
        about: "the same for names that do not exist, by zone, 1 to 100000; default per_second",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 1, 100_000).map(|v| draft.settings.dns.rate_limit.nxdomain_per_second = Some(v as u32)),
    },
    Key {
        path: "dns.rate_limit.errors_per_second",
        about: "the same for REFUSED, FORMERR and other errors, 1 to 100000; default per_second",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 1, 100_000).map(|v| draft.settings.dns.rate_limit.errors_per_second = Some(v as u32)),
    },
    Key {
        path: "dns.rate_limit.all_per_second",
        about: "the same for all replies together, whatever they are about, 1 to 1000000; 0, the default: no such limit",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 0, 1_000_000).map(|v| draft.settings.dns.rate_limit.all_per_second = v as u32),
    },
    Key {
        path: "dns.rate_limit.slip",
        about: "beyond the limit one query in so many gets a small reply that leads it to TCP or gives it a cookie, 0 (none) to 10; default 2",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 0, 10).map(|v| draft.settings.dns.rate_limit.slip = v as u8),
    },
    Key {
        path: "dns.rate_limit.ipv4_prefix",
        about: "bits of an IPv4 address by which client networks are told apart, 8 to 32; default 24",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 8, 32).map(|v| draft.settings.dns.rate_limit.ipv4_prefix = v as u8),
    },
    Key {
        path: "dns.rate_limit.ipv6_prefix",
        about: "bits of an IPv6 address by which client networks are told apart, 16 to 64; default 56",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 16, 64).map(|v| draft.settings.dns.rate_limit.ipv6_prefix = v as u8),
    },
    Key {
        path: "dns.rate_limit.exempt",
        about: "networks without rate limit, up to 256, such as [\"192.0.2.0/24\", \"2001:db8::1\"]; default none",
        form: Form::List,
        set: |draft, value, _| networks(value).map(|v| draft.settings.dns.rate_limit.exempt = v),
    },
    Key {
        path: "dns.rate_limit.table_size",
        about: "networks, kinds and names kept in mind at once, 1024 to 16777216, at 8 octets each; default 131072",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 1024, 16_777_216).map(|v| draft.settings.dns.rate_limit.table_size = v as usize),
    },
    Key {
        path: "dns.tls.certificate",
        about: "the certificate of DNS over TLS, HTTPS and QUIC: a PEM file, the server's own first, then what leads to a root; \
                read again when it changes",
        form: Form::Text,
        set: |draft, value, base| folder(value, base).map(|v| draft.settings.dns.tls.certificate = Some(v)),
    },
    Key {
        path: "dns.tls.key",
        about: "its private key: a PEM file (PKCS #8, SEC1 or PKCS #1)",
        form: Form::Text,
        set: |draft, value, base| folder(value, base).map(|v| draft.settings.dns.tls.key = Some(v)),
    },
    Key {
        path: "dns.tls.dot",
        about: "addresses to answer DNS over TLS on (RFC 7858), such as [\"0.0.0.0:853\"]; default none",
        form: Form::List,
        set: |draft, value, _| sockets(value).map(|v| draft.settings.dns.tls.dot = v),
    },
    Key {
        path: "dns.tls.doh",
        about: "addresses to answer DNS over HTTPS on (RFC 8484), such as [\"0.0.0.0:443\"]: HTTP/2 and 1.1, and HTTP/3 on the same UDP port; \
                default none",
        form: Form::List,
        set: |draft, value, _| sockets(value).map(|v| draft.settings.dns.tls.doh = v),
    },
    Key {
        path: "dns.tls.doh_path",
        about: "the path of DNS over HTTPS; default \"/dns-query\"",
        form: Form::Text,
        set: |draft, value, _| url_path(value).map(|v| draft.settings.dns.tls.doh_path = v),
    },
    Key {
        path: "dns.tls.doq",
        about: "addresses to answer DNS over QUIC on (RFC 9250), such as [\"0.0.0.0:853\"]; default none",
        form: Form::List,
        set: |draft, value, _| sockets(value).map(|v| draft.settings.dns.tls.doq = v),
    },
    Key {
        path: "dnssec.zones",
        about: "zones that are signed, by apex, such as [\"svc.example\"]; [\"*\"]: all; default none",
        form: Form::List,
        set: |draft, value, _| {
            let mut zones: Vec<Name> = Vec::new();
            let texts = texts(value)?;
            draft.settings.dnssec.all = texts == ["*"];
            for (n, text) in texts.iter().enumerate().filter(|_| texts != ["*"]) {
                let wrong = |expected: String| FieldError::new(format!("[{n}]"), expected);
                if text == "*" {
                    return Err(wrong("\"*\" is all zones, and stands alone".into()));
                }
                let apex = Name::parse(text).map_err(|e| wrong(e.to_string()))?;
                if zones.contains(&apex) {
                    return Err(wrong(format!("{apex} stands twice")));
                }
                zones.push(apex);
            }
            draft.settings.dnssec.zones = zones;
            Ok(())
        },
    },
    Key {
        path: "dnssec.algorithm",
        about: "what keys are made for: \"ecdsap256sha256\" or \"ed25519\"; default \"ecdsap256sha256\"; zones that have keys keep theirs",
        form: Form::Text,
        set: |draft, value, _| {
            let names = Algorithm::ALL.map(Algorithm::name);
            let algorithm = one_of(value, names)?;
            draft.settings.dnssec.algorithm = Algorithm::ALL[algorithm];
            Ok(())
        },
    },
    Key {
        path: "dnssec.keys",
        about: "\"csk\": one key signs everything; \"ksk+zsk\": one signs the keys, one the rest; default \"csk\"; zones that have keys keep theirs",
        form: Form::Text,
        set: |draft, value, _| one_of(value, ["csk", "ksk+zsk"]).map(|n| draft.settings.dnssec.split = n == 1),
    },
    Key {
        path: "dnssec.denial",
        about: "how it is proved that something is not there: \"compact\" (RFC 9824), the default, or \"nsec3\" (RFC 5155), with NXDOMAIN and larger replies",
        form: Form::Text,
        set: |draft, value, _| {
            one_of(value, ["compact", "nsec3"]).map(|n| draft.settings.dnssec.denial = [Denial::Compact, Denial::Nsec3][n])
        },
    },
    Key {
        path: "dnssec.validity",
        about: "how long a signature holds, 1d to 90d; it is made again when a quarter of it is left; default \"14d\"",
        form: Form::Text,
        set: |draft, value, _| period(value, DAY, 90 * DAY).map(|v| draft.settings.dnssec.validity = v),
    },
    Key {
        path: "dnssec.zsk_lifetime",
        about: "how long a zone-signing key signs until another follows by itself, 1d to 3650d; default \"90d\"; \"0s\": for ever",
        form: Form::Text,
        set: |draft, value, _| match period(value.clone(), 0, 0) {
            Ok(never) => {
                draft.settings.dnssec.zsk_lifetime = never;
                Ok(())
            }
            Err(_) => period(value, DAY, 3650 * DAY).map(|v| draft.settings.dnssec.zsk_lifetime = v),
        },
    },
    Key {
        path: "dnssec.dnskey_ttl",
        about: "TTL of DNSKEY, CDS and CDNSKEY, 1s to 7d; default \"1h\"",
        form: Form::Text,
        set: |draft, value, _| period(value, 1000, 7 * DAY).map(|v| draft.settings.dnssec.dnskey_ttl = v),
    },
    Key {
        path: "dnssec.ds_ttl",
        about: "TTL of the DS records in the parent zone, which rollovers wait for, 1s to 7d; default \"24h\"",
        form: Form::Text,
        set: |draft, value, _| period(value, 1000, 7 * DAY).map(|v| draft.settings.dnssec.ds_ttl = v),
    },
    Key {
        path: "dnssec.propagation",
        about: "how long after a change every server of a zone has it, up to 7d; default \"5m\"",
        form: Form::Text,
        set: |draft, value, _| period(value, 0, 7 * DAY).map(|v| draft.settings.dnssec.propagation = v),
    },
    Key {
        path: "dnssec.parent_propagation",
        about: "the same of the parent zone; default \"1h\"",
        form: Form::Text,
        set: |draft, value, _| period(value, 0, 7 * DAY).map(|v| draft.settings.dnssec.parent_propagation = v),
    },
    Key {
        path: "dnssec.parent",
        about: "who is asked, over TCP, whether the parent has the DS that a rollover waits for: all servers of the parent, or a resolver, which is \
                asked who they are; such as [\"192.0.2.1\", \"[2001:db8::1]:5353\"], or by zone { \"svc.example\" = [\"192.0.2.1\"], \"*\" = […] }; \
                default nobody: `signpost keys ds-seen` says so",
        form: Form::List,
        set: |draft, value, _| parents(value).map(|v| draft.settings.dnssec.parents = v),
    },
    Key {
        path: "forward.networks",
        about: "clients that may have names looked up that are not ours, never everybody; default none",
        form: Form::List,
        set: |draft, value, _| networks(value).and_then(forward::networks).map(|v| draft.settings.forward.networks = v),
    },
    Key {
        path: "forward.upstreams",
        about: "who is asked for such names, such as [\"9.9.9.9\", \"tcp://192.0.2.1:5353\", \"tls://9.9.9.9#dns.quad9.net\"]; default nobody",
        form: Form::List,
        set: |draft, value, _| forward::upstreams(&texts(value)?).map(|v| draft.settings.forward.upstreams = v),
    },
    Key {
        path: forward::ZONES,
        about: "names with upstreams of their own: \"corp.example\" = [\"10.0.0.53\"]",
        form: Form::Tables,
        set: |draft, value, _| forward::zones_of_variable(value, &mut draft.settings.forward),
    },
    Key {
        path: "api.listen",
        about: "where the HTTP API listens; beyond loopback it needs api.token; default \"127.0.0.1:8053\"",
        form: Form::Text,
        set: |draft, value, _| {
            draft.settings.api.listen = socket(&text(value)?).map_err(here)?;
            Ok(())
        },
    },
    Key {
        path: "api.insecure",
        about: "listen beyond loopback without tokens: everyone who can reach the API may change everything; default false",
        form: Form::Truth,
        set: |draft, value, _| truth(value).map(|v| draft.settings.api.insecure = v),
    },
    Key {
        path: "api.token",
        about: "who may do what: tables with name, hash (\"sha256:HEX\"), rights (read, register, operate, admin), services (prefixes)",
        form: Form::Tables,
        set: |draft, value, _| tokens(value).map(|v| draft.settings.api.tokens = v),
    },
    Key {
        path: "api.audit",
        about: "the append-only audit log; default audit.jsonl in data_dir",
        form: Form::Text,
        set: |draft, value, base| folder(value, base).map(|v| draft.audit = Some(v)),
    },
    Key {
        path: "here.region",
        about: "the region this server stands in; goes with here.az",
        form: Form::Text,
        set: |draft, value, _| label(value).map(|v| draft.region = Some(v)),
    },
    Key {
        path: "here.az",
        about: "the az this server stands in; goes with here.region",
        form: Form::Text,
        set: |draft, value, _| label(value).map(|v| draft.az = Some(v)),
    },
    Key {
        path: "zones.dir",
        about: "folder of the zone files, <apex>.toml and <apex>.zone; default zones",
        form: Form::Text,
        set: |draft, value, base| folder(value, base).map(|v| draft.settings.zones_dir = v),
    },
    Key {
        path: "geo.dir",
        about: "folder of regions.toml, networks.toml, latency.toml and *.mmdb; default geo",
        form: Form::Text,
        set: |draft, value, base| folder(value, base).map(|v| draft.settings.geo_dir = v),
    },
    Key {
        path: "store.kind",
        about: "\"embedded\": one file in data_dir; default embedded",
        form: Form::Text,
        set: |_, value, _| match text(value)?.as_str() {
            "embedded" => Ok(()),
            "etcd" => Err(here("the etcd store does not exist yet; \"embedded\" does, and keeps all regions in data_dir")),
            other => Err(here(format!("unknown store {other:?}; \"embedded\" is the one there is"))),
        },
    },
    Key {
        path: "safety.min_regions",
        about: "regions that must have a healthy instance left when a region is drained, 0 to 1000; default 1",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 0, 1000).map(|v| draft.settings.safety.min_regions = v as usize),
    },
    Key {
        path: "safety.min_healthy_weight",
        about: "percent of its weight that each service must keep in answers and healthy when something is drained, 0 to 100; default 0",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 0, 100).map(|v| draft.settings.safety.min_healthy_weight = v as u8),
    },
    Key {
        path: "safety.one_region_at_a_time",
        about: "whether a region may be drained only while no other is; default true",
        form: Form::Truth,
        set: |draft, value, _| truth(value).map(|v| draft.settings.safety.one_region_at_a_time = v),
    },
    Key {
        path: "safety.wait",
        about: "time between the end of one region's drain and the start of another's, 0s to 24h; default \"0s\"",
        form: Form::Text,
        set: |draft, value, _| period(value, 0, 86_400_000).map(|v| draft.settings.safety.wait = v),
    },
    Key {
        path: "probe.enabled",
        about: "whether health checks run on this server; default true",
        form: Form::Truth,
        set: |draft, value, _| truth(value).map(|v| draft.settings.probe.enabled = v),
    },
    Key {
        path: "probe.concurrency",
        about: "most probes under way at once, 1 to 100000; default 20000",
        form: Form::Whole,
        set: |draft, value, _| whole(value, 1, 100_000).map(|v| draft.settings.probe.concurrency = v as usize),
    },
    Key {
        path: "log.level",
        about: "error, warn, info, debug or trace, or directives such as \"info,signpost::probe=debug\"; default info",
        form: Form::Text,
        set: |draft, value, _| {
            let level = text(value)?;
            // Directives name modules, so only a bare word can be checked here.
            let levels = ["off", "error", "warn", "info", "debug", "trace"];
            if level.is_empty() || !level.contains(['=', ',', ':']) && !levels.contains(&level.to_ascii_lowercase().as_str()) {
                return Err(here(format!("unknown level {level:?}; {}", suggest::instead_of(&level, levels))));
            }
            draft.settings.log.level = level;
            Ok(())
        },
    },
    Key {
        path: "log.format",
        about: "\"text\" or \"json\"; default text",
        form: Form::Text,
        set: |draft, value, _| {
            draft.settings.log.format = match text(value)?.as_str() {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                other => return Err(here(format!("unknown format {other:?}; known are \"text\" and \"json\""))),
            };
            Ok(())
        },
    },
    Key {
        path: DRILLS,
        about: "[drills.NAME] tables: lose, schedule, ramp, hold, lift, require and abort; see `POST /v1/drills`",
        form: Form::Tables,
        set: |_, _, _| Err(here("drills are written as [drills.NAME] tables")),
    },
    Key {
        path: TSIG,
        about: "[tsig.NAME] tables of keys shared with other servers (RFC 8945): algorithm (hmac-sha256, the default, hmac-sha384 or \
                hmac-sha512) and secret (base64) or secret_file",
        form: Form::Tables,
        set: |_, _, _| Err(here("keys are written as [tsig.NAME] tables")),
    },
    Key {
        path: TRANSFER,
        about: "[transfer.\"ZONE\"] tables, \"*\" for every zone: who may transfer it, by networks and keys (both given: both needed), \
                notify (servers told of changes, as \"192.0.2.53\" or \"[2001:db8::1]:5353#key\"), tls (over TLS alone, RFC 9103; default \
                false), and services (\"withhold\", the default, or \"render\": as this server itself would be answered). Copies are \
                unsigned: signatures are made as they are asked for",
        form: Form::Tables,
        set: |_, _, _| Err(here("transfers are written as [transfer.\"ZONE\"] tables")),
    },
    Key {
        path: UPDATE,
        about: "[update.\"ZONE\"] tables: who may change the zone's records over DNS (RFC 2136): rights, a list of { key (of [tsig.NAME]), \
                names (relative to the zone: \"@\", \"_acme-challenge\", \"*.dyn\" for one label, \"**\" for any number), types (\"ANY\": all) }",
        form: Form::Tables,
        set: |_, _, _| Err(here("rights are written as [update.\"ZONE\"] tables")),
    },
    Key {
        path: SECONDARY,
        about: "[secondary.\"ZONE\"] tables: zones that are copied from other servers: primaries (a list as of notify in [transfer], or \
                \"tls://192.0.2.1#ns1.example.net#key\", RFC 9103), ca (the roots that their certificates lead to, in PEM; default: those of \
                the system), and catalog (whether it lists zones that are copied from the same primaries, RFC 9432; default false)",
        form: Form::Tables,
        set: |_, _, _| Err(here("secondaries are written as [secondary.\"ZONE\"] tables")),
    },
    Key {
        path: CATALOG,
        about: "[catalog.\"ZONE\"] tables: catalogs of zones that are transferred, for secondaries that follow them (RFC 9432): zones (a list; \
                default: every zone with [transfer]). A catalog is transferred as any zone is: by [transfer.\"ZONE\"]",
        form: Form::Tables,
        set: |_, _, _| Err(here("catalogs are written as [catalog.\"ZONE\"] tables")),
    },
];

/// The table of catalogs, by zone.
pub(super) const CATALOG: &str = "catalog";

/// The table of zones that are copied, by zone.
pub(super) const SECONDARY: &str = "secondary";

/// The table of transfers, by zone.
pub(super) const TRANSFER: &str = "transfer";

/// The table of rights to change zones, by zone.
pub(super) const UPDATE: &str = "update";

/// The table of keys for messages between servers, by name.
pub(super) const TSIG: &str = "tsig";

/// The table of drills, whose keys are their names.
pub(super) const DRILLS: &str = "drills";
