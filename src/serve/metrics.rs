//! Every number that `/metrics` shows, brought together from those who count.

use std::sync::{Arc, Weak};

use super::transfers::{TransferStats, Transfers};
use super::updates::Updates;
use super::{Refused, VERSION};
use crate::control::{Clock, Control};
use crate::forward::Forward;
use crate::model::{Counter, ForwardStats, SecondaryState, UpstreamStats};
use crate::probe::{ProbeStats, Prober};
use crate::routing::Measurements;
use crate::secondary::Secondaries;
use crate::server::{ConnectionStats, Server, SlowStats};
use crate::snapshot::Shelf;
use crate::telemetry::{Metrics, Reading, WorkerCounters};
use crate::wire::Transport;

/// Those who count.
pub(super) struct Sources<'s> {
    pub control: &'s Control,
    pub server: &'s Arc<Server>,
    pub prober: &'s Arc<Prober>,
    pub forward: &'s Arc<Forward>,
    pub refused: &'s Refused,
    pub clock: &'s Clock,
    pub secondaries: &'s Secondaries,
    pub transfers: &'s Arc<Transfers>,
    pub updates: &'s Arc<Updates>,
}

/// What they say of themselves.
pub(super) fn metrics(sources: &Sources<'_>) -> Metrics {
    let Sources { control, server, prober, forward, refused, clock, secondaries, .. } = sources;
    let refused = Refused::clone(refused);
    let counters = server.counters().into_iter().map(|(_, counters)| counters).collect();
    let workers = server.counters().into_iter().map(|(labels, counters)| WorkerCounters {
        listen: labels.listen,
        transport: match labels.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Https => "https",
            Transport::Quic => "quic",
        },
        worker: labels.worker,
        counters,
    });
    let mut metrics = Metrics::new(VERSION).with_workers(workers.collect()).with_control(Control::clone(control), Clock::clone(clock));
    metrics = metrics.with_regions(counters, control.publisher().clone());
    let help = "1 while the files as last read are in force, 0 while they are wrong and what was read before them is served";
    metrics = metrics.with_reading(Reading::Gauge, "files_in_force", help, move || f64::from(refused.borrow().is_none()));
    type OfZones = fn(&[SecondaryState]) -> f64;
    let copied: [(Reading, &'static str, &'static str, OfZones); 5] = [
        (Reading::Gauge, "secondary_zones", "Zones that are copied from other servers", |zones| zones.len() as f64),
        (Reading::Gauge, "secondary_zones_failing", "Zones of which the last attempt to copy them failed", |zones| {
            zones.iter().filter(|zone| !zone.failure.is_empty()).count() as f64
        }),
        (
            Reading::Gauge,
            "secondary_zones_expired",
            "Zones that no primary has confirmed for too long: they are answered with SERVFAIL",
            |zones| zones.iter().filter(|zone| zone.expired).count() as f64,
        ),
        (Reading::Counter, "secondary_transfers", "Copies of zones taken", |zones| {
            zones.iter().map(|zone| zone.transfers).sum::<u64>() as f64
        }),
        (Reading::Counter, "secondary_failures", "Attempts to copy a zone that came to nothing", |zones| {
            zones.iter().map(|zone| zone.failures).sum::<u64>() as f64
        }),
    ];
    for (kind, name, help, read) in copied {
        let secondaries = Secondaries::clone(secondaries);
        metrics = metrics.with_reading(kind, name, help, move || read(&secondaries.states()));
    }
    type OfProbes = fn(&ProbeStats) -> f64;
    let probes: [(Reading, &'static str, &'static str, OfProbes); 9] = [
        (Reading::Gauge, "probe_checks", "Active checks of all instances", |s| s.checks as f64),
        (Reading::Counter, "probes", "Probes run", |s| s.probes as f64),
        (Reading::Counter, "probe_failures", "Probes that failed", |s| s.failures as f64),
        (Reading::Counter, "probes_not_made", "Probes that this machine could not make", |s| s.not_made as f64),
        (Reading::Gauge, "probes_in_flight", "Probes under way", |s| s.in_flight as f64),
        (Reading::Gauge, "probe_lag_milliseconds", "By how much the last probe started too late", |s| s.lag_ms as f64),
        (Reading::Gauge, "probe_worst_lag_milliseconds", "By how much a probe of the last 10 to 20 s started too late at most", |s| {
            s.worst_lag_ms as f64
        }),
        (Reading::Counter, "probes_late", "Probes that started late by more than a tenth of their interval", |s| s.late as f64),
        (Reading::Counter, "probe_stalled_milliseconds", "Time in which probes were under way and the prober was not let run", |s| {
            s.stalled_ms as f64
        }),
    ];
    for (kind, name, help, read) in probes {
        let prober: Weak<Prober> = Arc::downgrade(prober);
        metrics = metrics.with_reading(kind, name, help, move || prober.upgrade().map_or(0.0, |prober| read(&prober.stats())));
    }
    type OfMeasurements = fn(&Measurements) -> f64;
    let measurements: [(Reading, &'static str, &'static str, OfMeasurements); 3] = [
        (Reading::Gauge, "measured_prefixes", "Client prefixes with measured round trips", |m| m.len() as f64),
        (Reading::Counter, "measurement_samples", "Measured round trips taken", |m| m.taken() as f64),
        (Reading::Counter, "measurements_evicted", "Means of a prefix and region that were forgotten for want of room", |m| {
            m.evicted() as f64
        }),
    ];
    for (kind, name, help, read) in measurements {
        let control = Control::clone(control);
        metrics = metrics.with_reading(kind, name, help, move || read(&control.measurements()));
    }
    type OfConnections = fn(&ConnectionStats) -> f64;
    let connections: [(Reading, &'static str, &'static str, OfConnections); 10] = [
        (Reading::Gauge, "dns_tcp_connections", "Connections open, TCP, TLS, HTTPS and QUIC together", |s| s.open as f64),
        (Reading::Counter, "dns_tcp_accepted", "Connections accepted", |s| s.accepted as f64),
        (Reading::Counter, "dns_tcp_displaced", "Longest idle connections closed to make room", |s| s.displaced as f64),
        (
            Reading::Counter,
            "dns_tcp_displaced_by_own",
            "Longest idle connections closed to make room for another one of a client that has its share",
            |s| s.displaced_by_own as f64,
        ),
        (Reading::Counter, "dns_tcp_idle_timeouts", "Connections closed because no query came in time", |s| s.idle as f64),
        (Reading::Counter, "dns_tcp_read_timeouts", "Connections closed because part of a query did not come in time", |s| {
            s.slow_read as f64
        }),
        (Reading::Counter, "dns_tcp_write_timeouts", "Connections closed because their client did not take its replies", |s| {
            s.slow_write as f64
        }),
        (Reading::Counter, "dns_tls_handshakes_failed", "Handshakes of TLS and QUIC that failed", |s| s.handshakes_failed as f64),
        (Reading::Counter, "dns_tls_handshake_timeouts", "Handshakes of TLS and QUIC that took too long", |s| {
            s.handshakes_timed_out as f64
        }),
        (Reading::Counter, "dns_quic_retries", "QUIC clients asked to show that their address is theirs", |s| s.retries as f64),
    ];
    let encrypted: Weak<Server> = Arc::downgrade(server);
    let help = "When the certificate of encrypted DNS runs out, in seconds since the Unix epoch; 0 where there is none";
    metrics = metrics.with_reading(Reading::Gauge, "dns_tls_certificate_expires", help, move || {
        encrypted.upgrade().and_then(|server| server.certificate_expires()).map_or(0.0, |end| end.as_secs() as f64)
    });
    for (kind, name, help, read) in connections {
        let server: Weak<Server> = Arc::downgrade(server);
        metrics = metrics.with_reading(kind, name, help, move || server.upgrade().map_or(0.0, |server| read(&server.connections())));
    }
    type OfSlow = fn(&SlowStats) -> f64;
    let slow: [(Reading, &'static str, &'static str, OfSlow); 3] = [
        (Reading::Gauge, "dns_slow_under_way", "Queries that wait for something: forwarded ones, and others that take their time", |s| {
            s.under_way as f64
        }),
        (Reading::Counter, "dns_slow_taken", "Queries that the slow path took", |s| s.taken as f64),
        (Reading::Counter, "dns_slow_overloaded", "Datagrams dropped because too many queries were on the slow path", |s| {
            s.overloaded as f64
        }),
    ];
    for (kind, name, help, read) in slow {
        let server: Weak<Server> = Arc::downgrade(server);
        metrics = metrics.with_reading(kind, name, help, move || server.upgrade().map_or(0.0, |server| read(&server.slow())));
    }
    with_zones(with_signatures(with_forward(metrics, forward), sources), sources)
}

/// What is known of signatures, and how often there was one.
fn with_signatures(mut metrics: Metrics, sources: &Sources<'_>) -> Metrics {
    let counts = [
        ("signature_hits", "RRsets of answers whose signatures were there", Counter::SignatureFound),
        ("signature_misses", "RRsets of answers whose signatures had to be made first", Counter::SignatureMissing),
    ];
    for (name, help, counter) in counts {
        let counters: Vec<_> = sources.server.counters().into_iter().map(|(_, counters)| counters).collect();
        metrics = metrics.with_reading(Reading::Counter, name, help, move || counters.iter().map(|c| c.get(counter)).sum::<u64>() as f64);
    }
    let publisher = sources.control.publisher().clone();
    let made = move || publisher.load().signatures().made() as f64;
    metrics = metrics.with_reading(Reading::Counter, "signatures_made", "RRsets that were signed, be it before anybody asked", made);
    let publisher = sources.control.publisher().clone();
    let kept = move || {
        let snapshot = publisher.load();
        [("zone", Shelf::Zone), ("asked", Shelf::Asked)].map(|(name, shelf)| (name.into(), snapshot.signatures().len(shelf) as f64)).into()
    };
    let help = "Signed RRsets that are kept: of what zones hold, and of names that whoever asked made up";
    metrics.with_readings(Reading::Gauge, "signatures_kept", help, "of", kept)
}

/// How zones are handed on and changed over DNS.
fn with_zones(mut metrics: Metrics, sources: &Sources<'_>) -> Metrics {
    type OfTransfers = fn(&TransferStats) -> Vec<(String, f64)>;
    let transfers: [(Reading, &'static str, &'static str, OfTransfers); 2] = [
        (Reading::Counter, "transfers", "Zones and differences that others asked for, by what came of it", |s| {
            [("sent", s.sent), ("refused", s.refused), ("broken_off", s.broken_off)].map(|(name, count)| (name.into(), count as f64)).into()
        }),
        (Reading::Counter, "notifies", "Changes that secondaries were told of, by whether they said that they had heard", |s| {
            [("heard", s.told), ("unheard", s.not_told)].map(|(name, count)| (name.into(), count as f64)).into()
        }),
    ];
    for (kind, name, help, read) in transfers {
        let transfers = sources.transfers.clone();
        metrics = metrics.with_readings(kind, name, help, "result", move || read(&transfers.stats()));
    }
    let (transfers, updates) = (sources.transfers.clone(), sources.updates.clone());
    let under_way = move || transfers.stats().under_way as f64;
    metrics = metrics.with_reading(Reading::Gauge, "transfers_under_way", "Zones that are being sent", under_way);
    let help = "Updates whose signature holds, by the RCODE of the reply";
    metrics.with_readings(Reading::Counter, "updates", help, "rcode", move || updates.stats())
}

/// What forwarding says of itself, and of each upstream.
fn with_forward(mut metrics: Metrics, forward: &Arc<Forward>) -> Metrics {
    type Of = fn(&ForwardStats) -> f64;
    let readings: [(Reading, &'static str, &'static str, Of); 10] = [
        (Reading::Counter, "forward_queries", "Queries for names of others, by clients that may have them looked up", |s| s.queries as f64),
        (Reading::Counter, "forward_hits", "Queries for names of others that were answered from what was known", |s| s.hits as f64),
        (Reading::Counter, "forward_misses", "Queries for names of others of which nothing fresh was known", |s| s.misses as f64),
        (Reading::Counter, "forward_local", "Queries for localhost, invalid and onion, which are never forwarded", |s| s.local as f64),
        (Reading::Counter, "forward_stale", "Queries answered with what was no longer fresh, as no upstream replied in time", |s| {
            s.stale as f64
        }),
        (Reading::Counter, "forward_failed", "Queries for names of others that no upstream answered", |s| s.failed as f64),
        (Reading::Counter, "forward_joined", "Queries added to another under way that asks the same", |s| s.joined as f64),
        (Reading::Counter, "forward_overloaded", "Queries not asked because too many were under way", |s| s.overloaded as f64),
        (Reading::Gauge, "forward_kept", "Questions whose replies are kept", |s| s.kept as f64),
        (Reading::Gauge, "forward_kept_bytes", "Octets that these take", |s| s.kept_octets as f64),
    ];
    for (kind, name, help, read) in readings {
        let forward = forward.clone();
        metrics = metrics.with_reading(kind, name, help, move || read(&forward.stats()));
    }
    type OfOne = fn(&UpstreamStats) -> f64;
    let each: [(Reading, &'static str, &'static str, OfOne); 4] = [
        (Reading::Counter, "forward_upstream_queries", "Queries that an upstream was asked", |u| u.queries as f64),
        (Reading::Counter, "forward_upstream_failures", "Queries that an upstream did not reply to, or not with what is of use", |u| {
            u.failures as f64
        }),
        (Reading::Gauge, "forward_upstream_seconds", "How long an upstream takes to reply, smoothed", |u| u.round_trip_us as f64 / 1e6),
        (Reading::Gauge, "forward_upstream_up", "1 while an upstream is in use, 0 while it is aside because it does not reply", |u| {
            f64::from(!u.is_aside)
        }),
    ];
    for (kind, name, help, read) in each {
        let forward = forward.clone();
        let read = move || forward.stats().upstreams.iter().map(|u| (u.upstream.clone(), read(u))).collect();
        metrics = metrics.with_readings(kind, name, help, "upstream", read);
    }
    metrics
}
