//! The story that every architect tells: one name, two regions, two azs each, and things that break.
//!
//! `cargo run --release --example failover_drill` starts Signpost in this process, eight real HTTP instances on loopback addresses, and two
//! clients with a real resolver library: one in the United States, one in Europe. Then an instance dies, an az crashes, a region is marked
//! down, and everything comes back; the timeline says what each client was answered and how long each change took to reach answers.

// A program of its own: it reads the clock.
#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use serde_json::json;
use signpost::model::Settings;
use signpost::serve::Running;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What the clients ask for. The dot keeps search lists away.
const NAME: &str = "api.myapp.example.";
/// Region, az, and the network of its two instances.
const AZS: [(&str, &str, [u8; 2]); 4] =
    [("boston", "az-1", [1, 1]), ("boston", "az-2", [1, 2]), ("london", "az-1", [2, 1]), ("london", "az-2", [2, 2])];
/// A check every 200 ms, out after three failures: a dead instance is gone in well under a second.
const CHECK: (&str, &str) = ("200ms", "200ms");

#[tokio::main]
async fn main() -> ExitCode {
    match drill(&mut |line| println!("{line}")).await {
        Ok(report) if report.empty == 0 && report.drained == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the drill could not be carried out: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the drill found, beside what it printed.
#[derive(Debug)]
pub struct Report {
    /// Answers that the two clients got while everything happened.
    pub answers: u64,
    /// Answers without an address.
    pub empty: u64,
    /// Answers that held an instance of a drained region.
    pub drained: u64,
    /// Each change and how long it took to reach the answers of the client it concerns.
    pub changes: Vec<(&'static str, Duration)>,
}

/// Runs the whole story, telling each line as it happens.
pub async fn drill(tell: &mut (dyn FnMut(String) + Send)) -> Result<Report> {
    let folder = Folder::new()?;
    let server = Running::start(folder.settings()).await?;
    let api = Api { url: format!("http://{}", server.api), http: reqwest::Client::new() };
    let mut fleet = Fleet::start().await?;
    // The drill asks how soon an instance is answered again, not how gently it takes its load back.
    api.put("/v1/services/api", &json!({"slow_start": "0s"})).await?;
    for instance in fleet.0.values() {
        api.register(instance).await?;
    }
    let us = Client::new("US", server.dns[0], Ipv4Addr::new(127, 0, 0, 11))?;
    let europe = Client::new("Europe", server.dns[0], Ipv4Addr::new(127, 0, 0, 12))?;
    us.until(&fleet.in_az("boston", "az-1")).await?;
    europe.until(&fleet.in_region("london")).await?;

    let start = Instant::now();
    let watch = Watch::start(&[us.clone(), europe.clone()]);
    let mut changes = Vec::new();
    tell(format!("{:>8}  {:<46}{:<10}{:<34}{}", "time", "what happened", "took", "US is answered", "Europe is answered"));
    let mut line = async |what: &'static str, took: Option<Duration>| -> Result<()> {
        let (us, europe) = (fleet_names(&us.ask().await?), fleet_names(&europe.ask().await?));
        let took_text = took.map_or(String::new(), |took| format!("{} ms", took.as_millis()));
        tell(format!("{:>6.1} s  {what:<46}{took_text:<10}{us:<34}{europe}", start.elapsed().as_secs_f64()));
        changes.extend(took.map(|took| (what, took)));
        Ok(())
    };
    line("all is well", None).await?;

    let since = Instant::now();
    fleet.kill(&["boston-az-1-a"]);
    us.until(&fleet.alive_in("boston", "az-1")).await?;
    line("an instance in boston/az-1 is killed", Some(since.elapsed())).await?;

    let since = Instant::now();
    fleet.kill(&["boston-az-1-b"]);
    us.until(&fleet.in_az("boston", "az-2")).await?;
    line("all of boston/az-1 has crashed", Some(since.elapsed())).await?;

    let since = Instant::now();
    api.put("/v1/drains/region/boston", &json!({"reason": "failover drill", "expires": "10m"})).await?;
    watch.forbid(fleet.in_region("boston"));
    us.until(&fleet.in_region("london")).await?;
    line("all of boston is marked down", Some(since.elapsed())).await?;

    let since = Instant::now();
    fleet.revive().await?;
    watch.forbid(BTreeSet::new());
    api.delete("/v1/drains/region/boston").await?;
    us.until_any(&fleet.in_region("boston")).await?;
    line("boston is marked up again", Some(since.elapsed())).await?;
    us.until(&fleet.in_az("boston", "az-1")).await?;
    line("boston/az-1 has passed its checks again", Some(since.elapsed())).await?;

    let (answers, empty, drained) = watch.stop().await;
    tell(format!("\n{answers} answers during the drill: {empty} empty, {drained} with an instance of a drained region."));
    tell(format!("The {} client's last request was served by {}.", us.name, us.request(&api.http).await?));
    server.stop().await;
    Ok(Report { answers, empty, drained, changes })
}

/// The configuration, in a folder that goes when the drill ends.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Result<Folder> {
        let folder = tempfile::tempdir()?;
        for (path, text) in [
            ("zones/myapp.example.toml", "services = true\nns = [\"ns1.myapp.example.\"]\n[records]\nns1 = { A = [\"127.0.0.1\"] }\n"),
            (
                "geo/regions.toml",
                "[regions.boston]\nlatitude = 42.36\nlongitude = -71.06\nazs = [\"az-1\", \"az-2\"]\n\
                 [regions.london]\nlatitude = 51.51\nlongitude = -0.13\nazs = [\"az-1\", \"az-2\"]\n",
            ),
            (
                // Where the two clients are: one in Boston's first az, one in Paris.
                "geo/networks.toml",
                "[[network]]\ncidr = \"127.0.0.11/32\"\nregion = \"boston\"\naz = \"az-1\"\ncountry = \"US\"\n\
                 [[network]]\ncidr = \"127.0.0.12/32\"\ncountry = \"FR\"\nlatitude = 48.86\nlongitude = 2.35\n",
            ),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().ok_or("a path without a folder")?)?;
            std::fs::write(path, text)?;
        }
        Ok(Folder(folder))
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        settings.data_dir = self.0.path().join("data");
        settings.zones_dir = self.0.path().join("zones");
        settings.geo_dir = self.0.path().join("geo");
        settings.dns.listen = vec![loopback];
        settings.dns.workers = 2;
        settings.api.listen = loopback;
        settings.api.audit = settings.data_dir.join("audit.jsonl");
        settings
    }
}

/// One HTTP instance.
struct Instance {
    id: String,
    region: &'static str,
    az: &'static str,
    address: SocketAddr,
    task: Option<tokio::task::JoinHandle<()>>,
}

/// The eight instances, by id.
struct Fleet(BTreeMap<String, Instance>);

impl Fleet {
    async fn start() -> Result<Fleet> {
        let mut fleet = BTreeMap::new();
        for (region, az, [b, c]) in AZS {
            for (n, letter) in ["a", "b"].into_iter().enumerate() {
                let id = format!("{region}-{az}-{letter}");
                let address = SocketAddr::from(([127, b, c, n as u8 + 1], 0));
                let mut instance = Instance { id: id.clone(), region, az, address, task: None };
                instance.serve().await?;
                fleet.insert(id, instance);
            }
        }
        Ok(Fleet(fleet))
    }

    fn addresses(&self, wanted: impl Fn(&Instance) -> bool) -> BTreeSet<IpAddr> {
        self.0.values().filter(|i| wanted(i)).map(|i| i.address.ip()).collect()
    }

    fn in_region(&self, region: &str) -> BTreeSet<IpAddr> {
        self.addresses(|i| i.region == region)
    }

    fn in_az(&self, region: &str, az: &str) -> BTreeSet<IpAddr> {
        self.addresses(|i| i.region == region && i.az == az)
    }

    fn alive_in(&self, region: &str, az: &str) -> BTreeSet<IpAddr> {
        self.addresses(|i| i.region == region && i.az == az && i.task.is_some())
    }

    fn kill(&mut self, ids: &[&str]) {
        for instance in self.0.values_mut().filter(|i| ids.contains(&i.id.as_str())) {
            if let Some(task) = instance.task.take() {
                task.abort();
            }
        }
    }

    async fn revive(&mut self) -> Result<()> {
        for instance in self.0.values_mut().filter(|i| i.task.is_none()) {
            instance.serve().await?;
        }
        Ok(())
    }
}

impl Instance {
    /// Listens, on a port of the kernel's choice the first time and on the same one afterwards.
    async fn serve(&mut self) -> Result<()> {
        let listener = tokio::net::TcpListener::bind(self.address).await?;
        self.address = listener.local_addr()?;
        let id = self.id.clone();
        let app = axum::Router::new()
            .route("/", axum::routing::get(move || std::future::ready(id.clone())))
            .route("/healthz", axum::routing::get(|| std::future::ready("ok")));
        self.task = Some(tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        }));
        Ok(())
    }
}

/// The instances behind addresses, as `boston/az-1 ×2`, by the networks of [`AZS`].
fn fleet_names(addresses: &BTreeSet<IpAddr>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for address in addresses {
        if let IpAddr::V4(v4) = address {
            let network = [v4.octets()[1], v4.octets()[2]];
            let place = AZS.iter().find(|az| az.2 == network).map_or("nowhere".into(), |az| format!("{}/{}", az.0, az.1));
            *counts.entry(place).or_default() += 1;
        }
    }
    counts.iter().map(|(place, n)| format!("{place} ×{n}")).collect::<Vec<_>>().join(", ")
}

/// The HTTP API.
struct Api {
    url: String,
    http: reqwest::Client,
}

impl Api {
    async fn register(&self, instance: &Instance) -> Result<()> {
        let body = json!({
            "addresses": [instance.address.ip()],
            "ports": {"http": instance.address.port()},
            "region": instance.region,
            "az": instance.az,
            "checks": [{"http": "/healthz", "port": "http", "interval": CHECK.0, "timeout": CHECK.1, "fall": 3, "rise": 2}],
        });
        self.put(&format!("/v1/services/api/instances/{}", instance.id), &body).await
    }

    async fn put(&self, path: &str, body: &serde_json::Value) -> Result<()> {
        accepted(self.http.put(format!("{}{path}", self.url)).json(body).send().await?).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        accepted(self.http.delete(format!("{}{path}", self.url)).send().await?).await
    }
}

async fn accepted(response: reqwest::Response) -> Result<()> {
    match response.status().is_success() {
        true => Ok(()),
        false => Err(format!("{}: {}", response.url().path().to_owned(), response.text().await?).into()),
    }
}

/// Somebody who asks: a resolver library without a cache, at an address whose place Signpost knows.
#[derive(Clone)]
struct Client {
    name: &'static str,
    resolver: TokioResolver,
}

impl Client {
    fn new(name: &'static str, server: SocketAddr, own: Ipv4Addr) -> Result<Client> {
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        connection.bind_addr = Some(SocketAddr::from((own, 0)));
        let server = NameServerConfig::new(server.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut options = ResolverOpts::default();
        options.cache_size = 0;
        options.timeout = Duration::from_secs(1);
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()?;
        Ok(Client { name, resolver })
    }

    /// The IPv4 addresses that the name has for this client now.
    async fn ask(&self) -> Result<BTreeSet<IpAddr>> {
        let answer = match self.resolver.lookup(NAME, RecordType::A).await {
            Ok(answer) => answer,
            Err(error) if error.is_no_records_found() => return Ok(BTreeSet::new()),
            Err(error) => return Err(error.into()),
        };
        Ok(answer.answers().iter().filter_map(|record| record.data.ip_addr()).collect())
    }

    /// Waits until exactly these are answered; at most 10 s.
    async fn until(&self, expected: &BTreeSet<IpAddr>) -> Result<()> {
        self.wait(expected, |answered| answered == expected).await
    }

    /// Waits until only some of these are answered; at most 10 s.
    async fn until_any(&self, expected: &BTreeSet<IpAddr>) -> Result<()> {
        self.wait(expected, |answered| !answered.is_empty() && answered.is_subset(expected)).await
    }

    async fn wait(&self, expected: &BTreeSet<IpAddr>, met: impl Fn(&BTreeSet<IpAddr>) -> bool) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if met(&self.ask().await?) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("{} waited 10 s for {expected:?} and is answered {:?}", self.name, self.ask().await?).into())
    }

    /// Does what a client of the service does: SRV for port and host, the host's address, an HTTP request.
    async fn request(&self, http: &reqwest::Client) -> Result<String> {
        let answer = self.resolver.lookup(format!("_http._tcp.{NAME}"), RecordType::SRV).await?;
        let (host, port) = answer
            .answers()
            .iter()
            .find_map(|record| match &record.data {
                RData::SRV(srv) => Some((srv.target.to_string(), srv.port)),
                _ => None,
            })
            .ok_or("no SRV record")?;
        let address = self.resolver.lookup_ip(host).await?.iter().next().ok_or("no address")?;
        Ok(http.get(format!("http://{}/", SocketAddr::new(address, port))).send().await?.text().await?)
    }
}

/// Asks as every client, all the time, and counts what must never be.
struct Watch {
    going: Arc<AtomicBool>,
    forbidden: Arc<Mutex<BTreeSet<IpAddr>>>,
    counts: Arc<[AtomicU64; 3]>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Watch {
    fn start(clients: &[Client]) -> Watch {
        let watch = Watch { going: Arc::new(AtomicBool::new(true)), forbidden: Arc::default(), counts: Arc::default(), tasks: Vec::new() };
        let tasks = clients.iter().cloned().map(|client| {
            let (going, forbidden, counts) = (watch.going.clone(), watch.forbidden.clone(), watch.counts.clone());
            tokio::spawn(async move {
                while going.load(Ordering::Relaxed) {
                    // What is forbidden before the question must not be in the answer.
                    let forbidden: BTreeSet<IpAddr> = forbidden.lock().map(|f| f.clone()).unwrap_or_default();
                    let answer = client.ask().await.unwrap_or_default();
                    counts[0].fetch_add(1, Ordering::Relaxed);
                    counts[1].fetch_add(u64::from(answer.is_empty()), Ordering::Relaxed);
                    counts[2].fetch_add(u64::from(!answer.is_disjoint(&forbidden)), Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        });
        let tasks = tasks.collect();
        Watch { tasks, ..watch }
    }

    fn forbid(&self, addresses: BTreeSet<IpAddr>) {
        if let Ok(mut forbidden) = self.forbidden.lock() {
            *forbidden = addresses;
        }
    }

    async fn stop(self) -> (u64, u64, u64) {
        self.going.store(false, Ordering::Relaxed);
        for task in self.tasks {
            let _ = task.await;
        }
        let count = |n: usize| self.counts[n].load(Ordering::Relaxed);
        (count(0), count(1), count(2))
    }
}
