//! Metrics in OpenMetrics text, made when somebody asks: nothing is counted twice, and nothing is added up on the query path.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter as Total;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry as Collectors, Unit};

use super::facts::{Facts, MOST_INSTANCES};
use crate::control::{Clock, Control};
use crate::model::{COUNTED_REGIONS, Counter, Counters};
use crate::snapshot::Publisher;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    collectors: Collectors,
    requests: Family<RequestLabels, Total>,
    writes: Histogram,
}

/// The counters of one worker of the DNS server.
#[derive(Debug, Clone)]
pub struct WorkerCounters {
    /// The address it answers on.
    pub listen: SocketAddr,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// Its number among those of the same address and transport.
    pub worker: usize,
    /// What it counts.
    pub counters: Arc<Counters>,
}

/// What a number from elsewhere is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It only grows.
    Counter,
    /// It comes and goes.
    Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: u16,
}

impl Metrics {
    /// The metrics of a server of that version; what it has is added to them before the first scrape.
    pub fn new(version: &'static str) -> Metrics {
        let mut collectors = Collectors::with_prefix("signpost");
        collectors.register("build", "What is running", Info::new([("version", version)]));
        let requests = Family::default();
        collectors.register("api_requests", "Requests that the API answered", requests.clone());
        // From half a millisecond to 8 s: below lies memory, above lie timeouts.
        let writes = Histogram::new(exponential_buckets(0.0005, 2.0, 15));
        collectors.register_with_unit("api_write", "Time until writes to the API were answered", Unit::Seconds, writes.clone());
        Metrics { collectors, requests, writes }
    }

    /// Adds what the workers of the DNS server count.
    pub fn with_workers(mut self, workers: Vec<WorkerCounters>) -> Metrics {
        self.collectors.register_collector(Box::new(Workers(workers)));
        self
    }

    /// Adds how many answers held an instance of each region, whose names the snapshot knows.
    pub fn with_regions(mut self, counters: Vec<Arc<Counters>>, publisher: Arc<Publisher>) -> Metrics {
        let read = move || answers_by_region(&counters, &publisher);
        self.collectors.register_collector(Box::new(Regions(Box::new(read))));
        self
    }

    /// Adds services, instances, drains, revision and generation.
    pub fn with_control(mut self, control: Control, clock: Clock) -> Metrics {
        let suppressing = control.clone();
        let help = "Times that an instance was held down because it flaps";
        self = self.with_reading(Reading::Counter, "flaps_suppressed", help, move || suppressing.flaps_suppressed() as f64);
        let read = move || {
            let generation = control.publisher().load().generation;
            Facts::read(&control.registry(), generation, MOST_INSTANCES, clock())
        };
        self.collectors.register_collector(Box::new(FactsNow(read)));
        self
    }

    /// Adds a number that is kept elsewhere, such as `probes`: exposed as `signpost_NAME`, counters with `_total` behind it.
    pub fn with_reading(
        mut self,
        kind: Reading,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Metrics {
        self.collectors.register_collector(Box::new(Elsewhere { kind, name, help, read: Box::new(read) }));
        self
    }

    /// As [`Metrics::with_reading`], with a value for each of several things: label and value of each.
    pub fn with_readings(
        mut self,
        kind: Reading,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(String, f64)> + Send + Sync + 'static,
    ) -> Metrics {
        self.collectors.register_collector(Box::new(EachElsewhere { kind, name, help, label, read: Box::new(read) }));
        self
    }

    /// Counts a request to the API. `method` and `route` come from a fixed table: each pair makes a series.
    pub fn count_request(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { method, route, status }).inc();
        if !matches!(method, "get" | "other") {
            self.writes.observe(took.as_secs_f64());
        }
    }

    /// Everything, as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only where a collector does, and ours do not.
        if prometheus_client::encoding::text::encode(&mut text, &self.collectors).is_err() {
            tracing::error!("the metrics cannot be written");
        }
        text
    }
}

#[derive(Debug)]
struct Workers(Vec<WorkerCounters>);

/// Whether it is counted beside an outcome, and so no part of their sum.
pub fn is_mark(counter: Counter) -> bool {
    use Counter::{CookieInvalid, CookieNew, CookieValid, EcsUsed, Empty, FailOpen, Panic, Punted, Truncated};
    matches!(counter, Punted | Truncated | EcsUsed | FailOpen | Panic | Empty | CookieNew | CookieValid | CookieInvalid)
        || is_of_sets(counter)
}

/// Whether it counts RRsets, of which an answer may have several: these are shown elsewhere.
fn is_of_sets(counter: Counter) -> bool {
    matches!(counter, Counter::SignatureFound | Counter::SignatureMissing)
}

impl Collector for Workers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut write = |name, help, label, marks| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for worker in &self.0 {
                let (listen, number) = (worker.listen.to_string(), worker.worker.to_string());
                for counter in Counter::ALL.iter().filter(|counter| is_mark(**counter) == marks && !is_of_sets(**counter)) {
                    let labels =
                        [("listen", listen.as_str()), ("transport", worker.transport), ("worker", &number), (label, counter.as_str())];
                    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&worker.counters.get(*counter), None)?;
                }
            }
            Ok(())
        };
        write("dns_queries", "Queries by what came of them", "outcome", false)?;
        write(
            "dns_answers_marked",
            "Queries that were handed to the slow path; answers that were cut, used the client's subnet, were given although nothing was healthy, or were left empty by drains; \
             queries with a cookie",
            "mark",
            true,
        )?;
        let mut octets = |name, help, read: fn(&Counters) -> u64| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for worker in &self.0 {
                let (listen, number) = (worker.listen.to_string(), worker.worker.to_string());
                let labels = [("listen", listen.as_str()), ("transport", worker.transport), ("worker", &number)];
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&read(&worker.counters), None)?;
            }
            Ok(())
        };
        octets("dns_query_octets", "Octets of queries, as DNS messages", |counters| counters.octets().0)?;
        octets("dns_reply_octets", "Octets of replies, as DNS messages", |counters| counters.octets().1)
    }
}

/// How many answers held an instance of each region, by its name. Regions beyond those with a counter of their own are left out.
pub fn answers_by_region(counters: &[Arc<Counters>], publisher: &Publisher) -> BTreeMap<String, u64> {
    let snapshot = publisher.load();
    let counted = snapshot.places.regions().take(COUNTED_REGIONS - 1);
    counted.map(|id| (snapshot.places.region_label(id).to_string(), counters.iter().map(|c| c.region(id.0)).sum())).collect()
}

struct Regions(Box<dyn Fn() -> BTreeMap<String, u64> + Send + Sync>);

impl fmt::Debug for Regions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Regions")
    }
}

impl Collector for Regions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Answers that held an instance of the region; one with instances of two regions counts for both";
        let mut metric = encoder.encode_descriptor("answers_by_region", help, None, MetricType::Counter)?;
        for (region, count) in (self.0)() {
            metric.encode_family(&[("region", region.as_str())])?.encode_counter::<NoLabelSet, u64, f64>(&count, None)?;
        }
        Ok(())
    }
}

struct FactsNow<F>(F);

impl<F> fmt::Debug for FactsNow<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FactsNow")
    }
}

impl<F: Fn() -> Facts + Send + Sync + 'static> Collector for FactsNow<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.0)().encode(&mut encoder)
    }
}

struct Elsewhere {
    kind: Reading,
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

impl Collector for Elsewhere {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        match self.kind {
            Reading::Counter => {
                let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
                metric.encode_counter::<NoLabelSet, f64, f64>(&(self.read)(), None)
            }
            Reading::Gauge => {
                let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
                metric.encode_gauge(&(self.read)())
            }
        }
    }
}

struct EachElsewhere {
    kind: Reading,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: Box<dyn Fn() -> Vec<(String, f64)> + Send + Sync>,
}

impl fmt::Debug for EachElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

impl Collector for EachElsewhere {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.kind {
            Reading::Counter => MetricType::Counter,
            Reading::Gauge => MetricType::Gauge,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for (which, value) in (self.read)() {
            let labels = [(self.label, which.as_str())];
            let mut one = metric.encode_family(&labels)?;
            match self.kind {
                Reading::Counter => one.encode_counter::<NoLabelSet, f64, f64>(&value, None)?,
                Reading::Gauge => one.encode_gauge(&value)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Course, Drain, Generation, Health, Instance, Label, Period, Revision, Source, Subject, Timestamp, Vitals, Warming};
    use crate::registry::{DrainEntry, InstanceEntry, Registry, ServiceEntry};

    fn label(text: &str) -> Label {
        Label::parse(text).unwrap()
    }

    fn registry(instances: &[(&str, &str, Option<Health>)]) -> Registry {
        let entry = |region: &str, probed: Option<Health>| {
            let json = format!(r#"{{"addresses":["192.0.2.1"],"region":"{region}","az":"a"}}"#);
            let instance: Instance = serde_json::from_str(&json).unwrap();
            // What is unhealthy flaps; what is healthy warms up, and wavers.
            let mut vitals = Vitals { probed, ..Vitals::default() };
            match probed {
                Some(Health::Unhealthy) => (0..3).for_each(|_| _ = vitals.damp(|damping| damping.fell(Timestamp(0)))),
                Some(Health::Healthy) => {
                    vitals.set_warming(Warming::begin(Timestamp(0), Duration::from_secs(60)));
                    vitals.wavers.probed = true;
                }
                _ => {}
            }
            InstanceEntry { instance, source: Source::Api, revision: Revision(1), vitals }
        };
        let instances = instances.iter().map(|(id, region, probed)| (label(id), entry(region, *probed))).collect();
        let web = ServiceEntry::of(instances, Revision(1));
        let mut registry = Registry::default();
        registry.services.insert(label("web"), web);
        registry.revision = Revision(42);
        registry
    }

    fn lines(metrics: Metrics) -> Vec<String> {
        metrics.text().lines().map(String::from).collect()
    }

    fn with_facts(registry: Registry, most: usize) -> Vec<String> {
        let mut metrics = Metrics::new("0.0.0");
        metrics.collectors.register_collector(Box::new(FactsNow(move || Facts::read(&registry, Generation(7), most, Timestamp(50_000)))));
        lines(metrics)
    }

    #[test]
    fn instances_are_counted_by_region_and_health_and_shown_one_by_one() {
        let healthy = Some(Health::Healthy);
        let text =
            with_facts(registry(&[("a", "eu", healthy), ("b", "eu", Some(Health::Unhealthy)), ("c", "us", Some(Health::Pending))]), 10);
        for line in [
            "signpost_build_info{version=\"0.0.0\"} 1",
            "signpost_revision 42",
            "signpost_snapshot_generation 7",
            "signpost_services 1",
            "signpost_drains{kind=\"az\"} 0",
            "signpost_instances{region=\"eu\",health=\"healthy\"} 1",
            "signpost_instances{region=\"us\",health=\"healthy\"} 0",
            "signpost_instances_held_down{region=\"eu\"} 1",
            "signpost_instances_held_down{region=\"us\"} 0",
            "signpost_instances_warming{region=\"eu\"} 1",
            "signpost_instances_wavering{region=\"eu\"} 1",
            "signpost_instance_health{service=\"web\",instance=\"a\",region=\"eu\",az=\"a\"} 1.0",
            "signpost_instance_health{service=\"web\",instance=\"b\",region=\"eu\",az=\"a\"} 0.0",
            "signpost_instance_health{service=\"web\",instance=\"c\",region=\"us\",az=\"a\"} 0.5",
            "signpost_instance_health_left_out 0",
        ] {
            assert!(text.iter().any(|l| l == line), "{line} is not in\n{}", text.join("\n"));
        }
        assert_eq!(text.last().unwrap(), "# EOF");
    }

    #[test]
    fn a_drain_counts_as_far_as_it_has_come() {
        let mut registry = registry(&[("a", "eu", None), ("b", "us", None)]);
        for (region, course) in [("eu", Course::ramped(Timestamp(0), Period::seconds(100))), ("us", Course::at_once(Timestamp(0)))] {
            let (reason, author) = ("storm".into(), "me".into());
            let drain = Drain { reason, author, started: Timestamp(0), expires: Timestamp(200_000), course, overridden: None };
            registry.drains.insert(Subject::Region(label(region)), DrainEntry { drain, revision: Revision(9) });
        }
        let text = with_facts(registry, 10);
        for line in [
            "signpost_drains{kind=\"region\"} 2",
            "signpost_drain_share{subject=\"region/eu\"} 0.5",
            "signpost_drain_share{subject=\"region/us\"} 1.0",
            "signpost_instances_drained{region=\"eu\"} 0",
            "signpost_instances_drained{region=\"us\"} 1",
            "signpost_instance_drained{service=\"web\",instance=\"b\",region=\"us\",az=\"a\"} 1",
        ] {
            assert!(text.iter().any(|l| l == line), "{line} is not in\n{}", text.join("\n"));
        }
        assert!(!text.iter().any(|l| l.starts_with("signpost_instance_drained{") && l.contains("region=\"eu\"")), "half way is in answers");
    }

    #[test]
    fn among_very_many_instances_only_those_out_have_series() {
        let text = with_facts(registry(&[("a", "eu", None), ("b", "eu", Some(Health::Unhealthy)), ("c", "eu", None)]), 2);
        let series: Vec<_> = text.iter().filter(|l| l.starts_with("signpost_instance_health{")).collect();
        assert!(series.len() == 1 && series[0].contains("instance=\"b\""), "{series:?}");
        assert!(text.contains(&"signpost_instance_health_left_out 2".to_string()));
    }

    #[test]
    fn counters_of_workers_requests_and_others_are_shown() {
        let counters = Arc::new(Counters::default());
        counters.count(Counter::Answered);
        counters.count(Counter::Truncated);
        counters.count_octets(40, 120);
        let worker = WorkerCounters { listen: "127.0.0.1:5300".parse().unwrap(), transport: "udp", worker: 0, counters };
        let metrics = Metrics::new("0.0.0")
            .with_workers(vec![worker])
            .with_reading(Reading::Counter, "probes", "Probes made", || 3.0)
            .with_readings(Reading::Counter, "asked", "Who was asked", "whom", || vec![("9.9.9.9".into(), 7.0)])
            .with_reading(Reading::Gauge, "probes_under_way", "Probes under way", || 2.0);
        metrics.count_request("put", "/v1/services/{service}", 201, Duration::from_millis(2));
        let text = lines(metrics);
        for line in [
            "signpost_dns_queries_total{listen=\"127.0.0.1:5300\",transport=\"udp\",worker=\"0\",outcome=\"answered\"} 1",
            "signpost_dns_queries_total{listen=\"127.0.0.1:5300\",transport=\"udp\",worker=\"0\",outcome=\"nxdomain\"} 0",
            "signpost_dns_answers_marked_total{listen=\"127.0.0.1:5300\",transport=\"udp\",worker=\"0\",mark=\"truncated\"} 1",
            "signpost_dns_queries_total{listen=\"127.0.0.1:5300\",transport=\"udp\",worker=\"0\",outcome=\"limited\"} 0",
            "signpost_dns_answers_marked_total{listen=\"127.0.0.1:5300\",transport=\"udp\",worker=\"0\",mark=\"cookie_valid\"} 0",
            "signpost_dns_query_octets_total{listen=\"127.0.0.1:5300\",transport=\"udp\",worker=\"0\"} 40",
            "signpost_dns_reply_octets_total{listen=\"127.0.0.1:5300\",transport=\"udp\",worker=\"0\"} 120",
            "signpost_probes_total 3.0",
            "signpost_asked_total{whom=\"9.9.9.9\"} 7.0",
            "signpost_probes_under_way 2.0",
            "signpost_api_requests_total{method=\"put\",route=\"/v1/services/{service}\",status=\"201\"} 1",
            "signpost_api_write_seconds_bucket{le=\"0.002\"} 1",
        ] {
            assert!(text.iter().any(|l| l == line), "{line} is not in\n{}", text.join("\n"));
        }
        assert!(!text.iter().any(|l| l.contains("outcome=\"truncated\"")), "a mark is no outcome");
    }
}
