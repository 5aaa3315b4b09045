//! `[dns]`: where and how queries are answered, cookies, rate limits, TLS.

use toml::Value;

use super::{Form, Key};
use crate::config::values::{chaos, folder, here, networks, period, secrets, sockets, truth, url_path, whole};

pub(super) const KEYS: &[Key] = &[
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
];
