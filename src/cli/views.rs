//! What the API gave, as tables for people. Each view reads only what it shows; the document itself is kept for `--output json`.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::Style;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Page;
use super::table::{BAD, Cell, FAINT, GOOD, ODD, Table, push};
use crate::model::{Period, Timestamp};

/// A drain, as `GET /v1/drains` and the instances name it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DrainLine {
    subject: String,
    reason: String,
    author: String,
    started: Timestamp,
    expires: Timestamp,
    state: String,
    share: f64,
    whole: Option<Timestamp>,
    over: Option<Timestamp>,
    #[serde(rename = "override")]
    overruled: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct DrainList {
    pub(super) drains: Vec<DrainLine>,
    #[serde(default)]
    safety: Option<Safety>,
}

/// The rules that drains are held to.
#[derive(Debug, Deserialize)]
struct Safety {
    min_regions: u64,
    regions_up: u64,
    regions: u64,
    min_healthy_weight: u64,
    one_region_at_a_time: bool,
    wait: Period,
}

#[derive(Debug, Deserialize)]
struct ServiceList {
    services: Vec<ServiceLine>,
}

#[derive(Debug, Deserialize)]
struct ServiceLine {
    name: String,
    #[serde(default)]
    policy: String,
    instances: u64,
    healthy: u64,
    drained: u64,
    available: u64,
    #[serde(default)]
    source: String,
    #[serde(default)]
    file: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ServiceDetail {
    name: String,
    #[serde(default)]
    policy: String,
    #[serde(default)]
    settings: Settings,
    instances: Vec<InstanceLine>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    ports: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct InstanceLine {
    id: String,
    addresses: Vec<String>,
    #[serde(default)]
    ports: BTreeMap<String, Value>,
    region: String,
    az: String,
    #[serde(default)]
    weight: u64,
    #[serde(default)]
    tags: Vec<String>,
    health: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    since: Option<Timestamp>,
    #[serde(default)]
    unconfirmed: bool,
    #[serde(default)]
    wavering: bool,
    #[serde(default)]
    warmth: Option<u8>,
    #[serde(default)]
    drained_by: Option<DrainLine>,
}

/// `services`
pub(super) fn services(document: Value) -> Result<Page, serde_json::Error> {
    let list: ServiceList = read(&document)?;
    let mut table = Table::new(["SERVICE", "POLICY", "AVAILABLE", "INSTANCES", "HEALTHY", "DRAINED", "SET BY"]);
    for service in &list.services {
        table.row([
            Cell::new(&service.name),
            Cell::new(&service.policy),
            Cell::number(service.available).styled(share_style(service.available, service.instances)),
            Cell::number(service.instances),
            Cell::number(service.healthy),
            count(service.drained, ODD),
            Cell::new(service.file.as_ref().unwrap_or(&service.source)).styled(FAINT),
        ]);
    }
    let empty = "no services yet: `signpost register SERVICE/ID …` makes the first\n";
    Ok(page(document, if list.services.is_empty() { empty.into() } else { table.render() }))
}

/// `instances SERVICE`
pub(super) fn instances(document: Value, now: Timestamp) -> Result<Page, serde_json::Error> {
    let service: ServiceDetail = read(&document)?;
    let mut table = Table::new(["ID", "ADDRESSES", "PORTS", "LOCALITY", "WEIGHT", "TAGS", "DRAINED BY", "HEALTH"]);
    for instance in &service.instances {
        // An instance without ports of its own has the service's.
        let ports = if instance.ports.is_empty() { &service.settings.ports } else { &instance.ports };
        table.row([
            Cell::new(&instance.id),
            Cell::list(&instance.addresses),
            Cell::list(ports.iter().map(|(name, port)| format!("{name}={}", port_text(port)))),
            Cell::new(format!("{}/{}", instance.region, instance.az)),
            Cell::number(instance.weight),
            if instance.tags.is_empty() { Cell::default() } else { Cell::list(&instance.tags) },
            instance.drained_by.as_ref().map(|d| Cell::new(drained_by(d)).styled(ODD)).unwrap_or_default(),
            Cell::new(instance.health(now)).styled(health_style(&instance.health)),
        ]);
    }
    let available =
        service.instances.iter().filter(|i| i.health == "healthy" && i.drained_by.as_ref().is_none_or(|d| d.share < 100.0)).count();
    let mut text = if service.instances.is_empty() { String::new() } else { table.render() };
    let name = super::table::plain(&service.name);
    match service.instances.len() {
        0 => push(&mut text, &format!("{name} has no such instances\n"), FAINT),
        shown => {
            let policy = super::table::plain(&service.policy);
            push(&mut text, &format!("{available} of {shown} available, policy {policy}\n"), FAINT);
        }
    }
    Ok(page(document, text))
}

impl InstanceLine {
    /// `unhealthy 12s: http /healthz: connection refused`, `healthy 20s, 40% warm`
    fn health(&self, now: Timestamp) -> String {
        let mut text = self.health.clone();
        if let Some(since) = self.since {
            text.push(' ');
            text.push_str(&length(now.since(since)));
        }
        if let Some(warmth) = self.warmth {
            text.push_str(&format!(", {warmth}% warm"));
        }
        if self.wavering {
            text.push_str(", wavering");
        }
        if self.unconfirmed {
            text.push_str(" (from before the restart)");
        }
        if !self.why.is_empty() {
            text.push_str(": ");
            text.push_str(&self.why);
        }
        text
    }
}

/// `drains`
pub(super) fn drains(document: Value, now: Timestamp) -> Result<Page, serde_json::Error> {
    let list: DrainList = read(&document)?;
    let mut text = if list.drains.is_empty() { "nothing is drained\n".into() } else { drain_table(&list.drains, now).render() };
    if let Some(safety) = &list.safety {
        push(&mut text, &format!("{safety}\n"), FAINT);
    }
    Ok(page(document, text))
}

#[derive(Debug, Deserialize)]
struct UpdateList {
    zone: String,
    serial: u32,
    updates: Vec<UpdateLine>,
}

#[derive(Debug, Deserialize)]
struct UpdateLine {
    name: String,
    r#type: String,
    #[serde(default)]
    ttl: Option<u32>,
    records: Vec<String>,
    key: String,
    at: Timestamp,
    file_changed: bool,
    answered: bool,
}

/// `updates`
pub(super) fn updates(document: Value, now: Timestamp) -> Result<Page, serde_json::Error> {
    let list: UpdateList = read(&document)?;
    if list.updates.is_empty() {
        let text = format!("no updates: {} is as its file says, serial {}\n", list.zone, list.serial);
        return Ok(page(document, text));
    }
    let mut table = Table::new(["NAME", "TTL", "TYPE", "RECORDS", "KEY", "CHANGED", "NOTE"]);
    for line in &list.updates {
        let (note, style) = match (line.answered, line.file_changed) {
            (false, _) => ("does not go with the file: not answered", BAD),
            (true, true) => ("the file changed since", ODD),
            (true, false) => ("", FAINT),
        };
        let records = if line.ttl.is_none() { "(gone)".into() } else { line.records.join(", ") };
        table.row([
            Cell::new(&line.name),
            Cell::new(line.ttl.map(|ttl| ttl.to_string()).unwrap_or_default()),
            Cell::new(&line.r#type),
            Cell::new(records),
            Cell::new(&line.key),
            Cell::new(format!("{} ago", length(now.since(line.at)))).styled(FAINT),
            Cell::new(note).styled(style),
        ]);
    }
    Ok(page(document, format!("{} serial {}\n{}", list.zone, list.serial, table.render())))
}

#[derive(Debug, Deserialize)]
struct SecondaryList {
    secondaries: Vec<SecondaryLine>,
}

#[derive(Debug, Deserialize)]
struct SecondaryLine {
    zone: String,
    #[serde(default)]
    catalog: String,
    #[serde(default)]
    serial: Option<u32>,
    #[serde(default)]
    confirmed: Option<Timestamp>,
    next: Timestamp,
    #[serde(default)]
    expires: Option<Timestamp>,
    expired: bool,
    failure: String,
}

/// `secondaries`
pub(super) fn secondaries(document: Value, now: Timestamp) -> Result<Page, serde_json::Error> {
    let list: SecondaryList = read(&document)?;
    if list.secondaries.is_empty() {
        return Ok(page(document, "no zones are copied from other servers: [secondary] names those that are\n".into()));
    }
    let mut table = Table::new(["ZONE", "SERIAL", "CONFIRMED", "NEXT", "EXPIRES", "CATALOG", "TROUBLE"]);
    for line in &list.secondaries {
        let (state, style) = match (line.expired, line.expires) {
            (true, _) => ("expired".to_string(), BAD),
            (false, Some(at)) => (format!("in {}", length(at.since(now))), FAINT),
            (false, None) => (String::new(), FAINT),
        };
        table.row([
            Cell::new(&line.zone),
            line.serial.map_or_else(|| Cell::new("never came").styled(BAD), Cell::number),
            Cell::new(line.confirmed.map(|at| format!("{} ago", length(now.since(at)))).unwrap_or_default()),
            Cell::new(format!("in {}", length(line.next.since(now)))).styled(FAINT),
            Cell::new(state).styled(style),
            Cell::new(&line.catalog),
            Cell::new(&line.failure).styled(ODD),
        ]);
    }
    Ok(page(document, table.render()))
}

impl std::fmt::Display for Safety {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Safety { min_regions, regions_up, regions, .. } = self;
        write!(f, "{regions_up} of {regions} regions up, at least {min_regions} must be")?;
        if self.min_healthy_weight > 0 {
            write!(f, "; every service keeps {} % of its weight", self.min_healthy_weight)?;
        }
        if self.one_region_at_a_time {
            f.write_str("; one region at a time")?;
        }
        if !self.wait.0.is_zero() {
            write!(f, ", {} apart", self.wait)?;
        }
        Ok(())
    }
}

impl DrainLine {
    /// `ramping 25 %, whole in 3m20s`
    fn state(&self, now: Timestamp) -> String {
        let share = match self.state.as_str() {
            "ramping" | "paused" | "lifting" => format!(" {} %", self.share),
            _ => String::new(),
        };
        let whole = self.whole.map(|whole| format!(", whole in {}", length(whole.since(now)))).unwrap_or_default();
        let over = self.over.map(|over| format!(", gone in {}", length(over.since(now)))).unwrap_or_default();
        format!("{}{share}{whole}{over}", self.state)
    }
}

/// Drains with how long they have held and how long they still do.
pub(super) fn drain_table(drains: &[DrainLine], now: Timestamp) -> Table {
    let mut table = Table::new(["DRAINED", "STATE", "FOR", "ENDS IN", "BY", "REASON", "OVERRULED"]);
    for drain in drains {
        table.row([
            Cell::new(&drain.subject).styled(ODD),
            Cell::new(drain.state(now)),
            Cell::new(length(now.since(drain.started))),
            Cell::new(length(drain.expires.since(now))),
            Cell::new(&drain.author),
            Cell::new(&drain.reason),
            Cell::new(&drain.overruled).styled(ODD),
        ]);
    }
    table
}

#[derive(Debug, Deserialize)]
struct MeasurementList {
    prefixes: usize,
    measurements: Vec<MeasuredPrefix>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct MeasuredPrefix {
    client: String,
    regions: Vec<MeasuredRegion>,
}

#[derive(Debug, Deserialize)]
struct MeasuredRegion {
    region: String,
    rtt_ms: f64,
    samples: u32,
    age: Period,
}

/// `measurements`
pub(super) fn measurements(document: Value) -> Result<Page, serde_json::Error> {
    let list: MeasurementList = read(&document)?;
    if list.measurements.is_empty() {
        return Ok(page(document, "nothing was measured\n".into()));
    }
    let mut table = Table::new(["CLIENTS", "REGION", "MS", "SAMPLES", "LAST"]);
    for prefix in &list.measurements {
        for (n, region) in prefix.regions.iter().enumerate() {
            table.row([
                Cell::new(if n == 0 { prefix.client.as_str() } else { "" }),
                Cell::new(&region.region),
                Cell::number(format!("{:.1}", region.rtt_ms)),
                Cell::number(region.samples),
                Cell::new(format!("{} ago", length(region.age.0))),
            ]);
        }
    }
    let mut text = table.render();
    if list.next.is_some() {
        let more = format!("the first {} of {} prefixes; --client narrows them\n", list.measurements.len(), list.prefixes);
        push(&mut text, &more, FAINT);
    }
    Ok(page(document, text))
}

/// Reads the part of a document that is shown.
pub(super) fn read<T: DeserializeOwned>(document: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(document)
}

/// A page whose text is ready.
pub(super) fn page(document: Value, text: String) -> Page {
    Page { text, document }
}

/// How a health looks.
pub(super) fn health_style(health: &str) -> Style {
    match health {
        "healthy" => GOOD,
        "unhealthy" => BAD,
        _ => ODD,
    }
}

/// How a share of all looks: all, some, none.
pub(super) fn share_style(share: u64, all: u64) -> Style {
    match share {
        0 => BAD,
        share if share == all => GOOD,
        _ => ODD,
    }
}

/// A number that stands out where it is not zero.
pub(super) fn count(number: u64, style: Style) -> Cell {
    Cell::number(number).styled(if number == 0 { FAINT } else { style })
}

/// A length of time in one or two units: `12s`, `5m12s`, `3h20m`, `4d2h`.
pub(super) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let (large, unit, small, rest) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => (seconds / 60, 'm', seconds % 60, 's'),
        3_600..86_400 => (seconds / 3_600, 'h', seconds % 3_600 / 60, 'm'),
        _ => (seconds / 86_400, 'd', seconds % 86_400 / 3_600, 'h'),
    };
    if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{rest}") }
}

/// `region/eu-west (power maintenance)`, `region/eu-west 25 % (power maintenance)`
fn drained_by(drain: &DrainLine) -> String {
    let share = if drain.share < 100.0 { format!(" {} %", drain.share) } else { String::new() };
    let reason = if drain.reason.is_empty() { String::new() } else { format!(" ({})", drain.reason) };
    format!("{}{share}{reason}", drain.subject)
}

/// A port: `8080`, `53/udp`.
fn port_text(port: &Value) -> String {
    port.as_str().map_or_else(|| port.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Noon of a day.
    fn noon() -> Timestamp {
        Timestamp::try_from("2026-11-20T12:00:00Z".to_string()).unwrap()
    }

    fn check(page: Result<Page, serde_json::Error>, expected: &[&str]) {
        let text = anstream::adapter::strip_str(&page.unwrap().text).to_string();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "\n{text}");
    }

    #[test]
    fn instances_show_who_is_out_and_why() {
        let drain = json!({
            "subject": "az/us-east/1b", "reason": "power", "author": "ann", "revision": 9,
            "started": "2026-11-20T11:00:00Z", "expires": "2026-11-20T15:00:00Z", "state": "drained", "share": 100.0,
        });
        let mut begun = drain.clone();
        (begun["state"], begun["share"]) = (json!("ramping"), json!(25.0));
        let document = json!({ "name": "web", "revision": 12, "policy": "nearest", "settings": { "ports": { "http": 80 } }, "source": "api", "instances": [
            { "service": "web", "id": "eu1", "addresses": ["192.0.2.10", "2001:db8::10"], "ports": { "http": 8080, "dns": "53/udp" },
              "region": "eu-west", "az": "eu-west-1a", "weight": 100, "source": "api", "revision": 3, "health": "healthy", "why": "",
              "since": "2026-11-20T08:40:00Z", "unconfirmed": true, "parts": {} },
            { "service": "web", "id": "eu2-with-a-long-id", "addresses": ["192.0.2.11"], "region": "eu-west", "az": "eu-west-1b",
              "weight": 5, "health": "unhealthy", "why": "http /healthz: connection refused", "since": "2026-11-20T11:59:48Z" },
            { "service": "web", "id": "us1", "addresses": ["192.0.2.20"], "region": "us-east", "az": "1b", "weight": 100,
              "health": "pending", "why": "", "drained_by": drain },
            { "service": "web", "id": "us2", "addresses": ["192.0.2.21"], "region": "us-east", "az": "1b", "weight": 100,
              "health": "healthy", "why": "tcp: timeout", "since": "2026-11-20T11:59:40Z", "warmth": 40, "wavering": true, "drained_by": begun },
        ]});
        check(
            instances(document.clone(), noon()),
            &[
                "ID                  ADDRESSES                PORTS                 LOCALITY            WEIGHT  DRAINED BY                  HEALTH",
                "eu1                 192.0.2.10,2001:db8::10  dns=53/udp,http=8080  eu-west/eu-west-1a     100                              healthy 3h20m (from before the restart)",
                "eu2-with-a-long-id  192.0.2.11               http=80               eu-west/eu-west-1b       5                              unhealthy 12s: http /healthz: connection refused",
                "us1                 192.0.2.20               http=80               us-east/1b             100  az/us-east/1b (power)       pending",
                "us2                 192.0.2.21               http=80               us-east/1b             100  az/us-east/1b 25 % (power)  healthy 20s, 40% warm, wavering: tcp: timeout",
                "2 of 4 available, policy nearest",
            ],
        );
        let page = instances(document.clone(), noon()).unwrap();
        assert!(page.text.contains("\u{1b}[31munhealthy 12s"), "red");
        assert_eq!(page.document, document, "JSON is what the API gave");
    }

    #[test]
    fn services_and_drains_are_tables_or_say_that_there_is_nothing() {
        let line = |name: &str, available: u64| {
            json!({ "name": name, "policy": "nearest", "instances": 3, "healthy": 3, "drained": 3 - available, "available": available,
                    "source": "file", "file": "zones/svc.example.toml", "changed": 4 })
        };
        check(
            services(json!({ "revision": 4, "services": [line("web", 3), line("payments", 0)] })),
            &[
                "SERVICE   POLICY   AVAILABLE  INSTANCES  HEALTHY  DRAINED  SET BY",
                "web       nearest          3          3        3        0  zones/svc.example.toml",
                "payments  nearest          0          3        3        3  zones/svc.example.toml",
            ],
        );
        check(services(json!({ "services": [] })), &["no services yet: `signpost register SERVICE/ID …` makes the first"]);
        check(
            drains(
                json!({ "drains": [{ "subject": "region/eu-west", "reason": "power", "author": "ann",
                                     "started": "2026-11-20T11:54:48Z", "expires": "2026-11-22T14:00:00Z" }] }),
                noon(),
            ),
            &["DRAINED         FOR    ENDS IN  BY   REASON", "region/eu-west  5m12s  2d2h     ann  power"],
        );
        let line = |subject: &str, state: &str, share: f64, rest: (&str, &str)| {
            json!({ "subject": subject, "reason": "power", "author": "ann", "state": state, "share": share, rest.0: rest.1,
                    "started": "2026-11-20T11:54:48Z", "expires": "2026-11-20T14:00:00Z" })
        };
        check(
            drains(
                json!({
                    "drains": [
                        line("region/eu-west", "ramping", 25.5, ("whole", "2026-11-20T12:03:20Z")),
                        line("service/web", "lifting", 10.0, ("over", "2026-11-20T12:00:40Z")),
                        line("instance/web/a", "drained", 100.0, ("override", "tested")),
                    ],
                    "safety": { "min_regions": 1, "regions_up": 2, "regions": 3, "min_healthy_weight": 50, "one_region_at_a_time": true, "wait": "10m" },
                }),
                noon(),
            ),
            &[
                "DRAINED         STATE                           FOR    ENDS IN  BY   REASON  OVERRULED",
                "region/eu-west  ramping 25.5 %, whole in 3m20s  5m12s  2h       ann  power",
                "service/web     lifting 10 %, gone in 40s       5m12s  2h       ann  power",
                "instance/web/a  drained                         5m12s  2h       ann  power   tested",
                "2 of 3 regions up, at least 1 must be; every service keeps 50 % of its weight; one region at a time, 10m apart",
            ],
        );
        check(drains(json!({ "drains": [] }), noon()), &["nothing is drained"]);
        let to = |region: &str, ms: f64| json!({ "region": region, "rtt_ms": ms, "samples": 12, "last": "2026-11-20T11:54:48Z", "age": "1m12s" });
        check(
            measurements(json!({ "prefixes": 7, "next": "10.1.2.0/24", "measurements": [
                { "client": "10.1.2.0/24", "regions": [to("eu-west", 9.04), to("us-east", 88.0)] } ] })),
            &[
                "CLIENTS      REGION     MS  SAMPLES  LAST",
                "10.1.2.0/24  eu-west   9.0       12  1m12s ago",
                "             us-east  88.0       12  1m12s ago",
                "the first 1 of 7 prefixes; --client narrows them",
            ],
        );
        assert!(services(json!({ "hello": "world" })).is_err());
    }
}
