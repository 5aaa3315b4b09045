//! `[dnssec]`: which zones are signed, with what, and what rollovers wait for.

use super::{Form, Key};
use crate::config::values::{DAY, one_of, parents, period, texts};
use crate::model::{Algorithm, Denial, FieldError, Name};

pub(super) const KEYS: &[Key] = &[
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
];
