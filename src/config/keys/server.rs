//! The server around its answers: whom it asks, its API, its place, its files and store, what drains must leave, probes, logs and drills.

use super::{Form, Key};
use crate::config::values::{folder, here, label, networks, period, socket, text, texts, tokens, truth, whole};
use crate::config::{forward, suggest};
use crate::model::LogFormat;

pub(super) const KEYS: &[Key] = &[
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
];

/// The table of drills, whose keys are their names.
pub(in crate::config) const DRILLS: &str = "drills";
