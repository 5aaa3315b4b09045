//! Tables about other servers of the same zones: keys shared with them, transfers, updates, copies and catalogs.

use super::{Form, Key};
use crate::config::values::here;

pub(super) const KEYS: &[Key] = &[
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
                false), and services (\"withhold\", the default, or \"render\": as this server itself would be answered). Copies of zones \
                of [dnssec] are unsigned: signatures are made as they are asked for",
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

/// The table of keys for messages between servers, by name.
pub(in crate::config) const TSIG: &str = "tsig";

/// The table of transfers, by zone.
pub(in crate::config) const TRANSFER: &str = "transfer";

/// The table of rights to change zones, by zone.
pub(in crate::config) const UPDATE: &str = "update";

/// The table of zones that are copied, by zone.
pub(in crate::config) const SECONDARY: &str = "secondary";

/// The table of catalogs, by zone.
pub(in crate::config) const CATALOG: &str = "catalog";
