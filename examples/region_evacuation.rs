//! A region is evacuated, rehearsed as a drill: clients move away little by little, nobody is left without an answer, and all come back.
//!
//! `cargo run --release --example region_evacuation` starts Signpost in this process with one service in three regions, and asks for it all
//! the time from two hundred client networks in each (EDNS client subnet, RFC 7871). Then `POST /v1/drills` loses eu-west: the timeline tells
//! what the clients of eu-west are answered, and at the end stands the report that the drill leaves in `data/drills/`.

// A program of its own: it reads the clock.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use serde_json::{Value, json};
use signpost::model::Settings;
use signpost::serve::Running;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The regions, each with clients in 10.N.0.0/16 and two instances.
const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
/// Client networks (/24) of each region.
const NETWORKS: usize = 200;
/// The region that is lost.
const LOST: usize = 0;

/// How long it all takes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The longest TTL of answers, in seconds.
    pub ttl: u64,
    /// Milliseconds over which clients are led away, it stays lost, and they are led back.
    pub ramp: u64,
    /// See `ramp`.
    pub hold: u64,
    /// See `ramp`.
    pub lift: u64,
}

/// What the drill found, and what the clients saw.
#[derive(Debug)]
pub struct Evacuation {
    /// The report as JSON.
    pub report: Value,
    /// The report as Markdown.
    pub page: String,
    /// Answers that the clients got.
    pub answers: u64,
    /// Answers without an address.
    pub empty: u64,
    /// The most changes of region that any client network of eu-west, and any other, saw.
    pub changes: (usize, usize),
    /// Networks of eu-west that were ever led elsewhere.
    pub moved: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let pace = Pace { ttl: 2, ramp: 10_000, hold: 5_000, lift: 5_000 };
    match evacuate(pace, &mut |line| println!("{line}")).await {
        Ok(evacuation) => {
            println!("\n{}", evacuation.page);
            if evacuation.empty == 0 && evacuation.report["state"] == "done" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("the evacuation could not be carried out: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the drill, telling what happens as it does.
pub async fn evacuate(pace: Pace, tell: &mut (dyn FnMut(String) + Send)) -> Result<Evacuation> {
    let folder = Folder::new(pace)?;
    let server = Running::start(folder.settings()).await?;
    let clients = Clients::start(server.dns[0]);
    // What was before is part of the report.
    tokio::time::sleep(Duration::from_millis(pace.ramp.min(2_000))).await;

    let api = format!("http://{}/v1/drills", server.api);
    let http = reqwest::Client::new();
    let drill = json!({
        "lose": format!("region/{}", REGIONS[LOST]),
        "ramp": format!("{}ms", pace.ramp),
        "hold": format!("{}ms", pace.hold),
        "lift": format!("{}ms", pace.lift),
        "require": { "min_healthy_regions": 2, "min_healthy_weight": 80 },
        "abort": { "empty_answers": 1, "min_healthy_weight": 60 },
    });
    let begun = Instant::now();
    let run: Value = accepted(http.post(&api).json(&drill).send().await?).await?;
    let url = format!("{api}/{}", run["run"].as_str().ok_or("the run has no name")?);
    tell(format!("{:>8}  {:<24}what the clients of {} were answered since the line before", "time", "what happened", REGIONS[LOST]));
    let (mut told, mut quiet) = (0, Instant::now());
    let report = loop {
        let report: Value = accepted(http.get(&url).send().await?).await?;
        let timeline = report["timeline"].as_array().map(Vec::as_slice).unwrap_or_default();
        let news: Vec<&str> = timeline.iter().skip(told).filter_map(|moment| moment["what"].as_str()).collect();
        if !news.is_empty() || quiet.elapsed() >= Duration::from_secs(1) {
            let (what, shares) = (news.join(", "), clients.shares());
            tell(format!("{:>6.1} s  {what:<24}{shares}", begun.elapsed().as_secs_f64()));
            (told, quiet) = (timeline.len(), Instant::now());
        }
        if report["ended"].is_string() {
            break report;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // Answers under way when it ended are part of the story.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let page = http.get(&url).header("accept", "text/markdown").send().await?.error_for_status()?.text().await?;
    let seen = clients.stop().await;
    server.stop().await;
    let most = |lost: bool| {
        let of = seen.path.iter().filter(|((region, _), _)| (*region == LOST) == lost);
        of.map(|(_, regions)| regions.len().saturating_sub(1)).max().unwrap_or_default()
    };
    let moved = seen.path.iter().filter(|((region, _), regions)| *region == LOST && regions.len() > 1).count();
    Ok(Evacuation { report, page, answers: seen.answers, empty: seen.empty, changes: (most(true), most(false)), moved })
}

async fn accepted(response: reqwest::Response) -> Result<Value> {
    match response.status().is_success() {
        true => Ok(response.json().await?),
        false => Err(format!("{}: {}", response.url().path().to_owned(), response.text().await?).into()),
    }
}

/// The configuration, in a folder that goes when the drill ends.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(pace: Pace) -> Result<Folder> {
        let folder = tempfile::tempdir()?;
        let mut zone = format!(
            "services = true\nns = [\"ns1.svc.example.\"]\nttl = {{ min = \"1s\", max = \"{}s\", negative = \"1s\" }}\n[records]\nns1 = {{ A = [\"127.0.0.1\"] }}\n",
            pace.ttl
        );
        let mut networks = String::new();
        for (n, region) in REGIONS.iter().enumerate() {
            networks.push_str(&format!("[[network]]\ncidr = \"10.{n}.0.0/16\"\nregion = \"{region}\"\n"));
            for host in 1..=2 {
                zone.push_str(&format!(
                    "[services.web.instances.{region}-{host}]\naddresses = [\"192.0.2.{}{host}\"]\nregion = \"{region}\"\naz = \"a\"\nports = {{ http = 80 }}\n"
                , n + 1));
            }
        }
        for (path, text) in [
            ("zones/svc.example.toml", zone.as_str()),
            ("geo/networks.toml", networks.as_str()),
            (
                "geo/regions.toml",
                "[regions.eu-west]\nlatitude = 53.3\nlongitude = -6.3\n[regions.us-east]\nlatitude = 38.9\nlongitude = -77.5\n\
                 [regions.ap-south]\nlatitude = 19.1\nlongitude = 72.9\n",
            ),
            (
                "geo/latency.toml",
                "[rtt_ms]\neu-west = { eu-west = 8.0, us-east = 78.0, ap-south = 120.0 }\nus-east = { us-east = 7.0, ap-south = 190.0 }\n\
                 ap-south = { ap-south = 9.0 }\n",
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
        settings.api.listen = loopback;
        settings.api.audit = settings.data_dir.join("audit.jsonl");
        settings
    }
}

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    answers: u64,
    empty: u64,
    /// The regions that each network (its region, its number) was led to, one after the other.
    path: BTreeMap<(usize, usize), Vec<usize>>,
    /// Answers to the networks of the lost region since the last look, by region.
    lately: [u64; REGIONS.len()],
}

/// Somebody who asks in the name of every network, all the time, as resolvers without a cache do.
struct Clients {
    going: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<tokio::task::JoinHandle<Result<()>>>,
}

impl Clients {
    fn start(server: SocketAddr) -> Clients {
        let (going, seen) = (Arc::new(AtomicBool::new(true)), Arc::<Mutex<Seen>>::default());
        let tasks = (0..REGIONS.len()).map(|region| tokio::spawn(ask_all(server, region, going.clone(), seen.clone()))).collect();
        Clients { going, seen, tasks }
    }

    /// What the networks of the lost region were answered since the last look.
    fn shares(&self) -> String {
        let lately = std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).lately);
        let all: u64 = lately.iter().sum();
        let share = |(n, count): (usize, &u64)| (*count > 0).then(|| format!("{} {:.0} %", REGIONS[n], *count as f64 * 100.0 / all as f64));
        lately.iter().enumerate().filter_map(share).collect::<Vec<_>>().join(", ")
    }

    async fn stop(self) -> Seen {
        self.going.store(false, Ordering::Relaxed);
        for task in self.tasks {
            // A task that failed has asked for less; the counts say so.
            let _ = task.await;
        }
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks for the networks of a region in turn: all of them ten times a second, or as fast as answers come.
async fn ask_all(server: SocketAddr, region: usize, going: Arc<AtomicBool>, seen: Arc<Mutex<Seen>>) -> Result<()> {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    let mut reply = [0; 512];
    let mut id = 0u16;
    while going.load(Ordering::Relaxed) {
        let round = Instant::now();
        for network in 0..NETWORKS {
            id = id.wrapping_add(1);
            socket.send(&query(id, [10, region as u8, network as u8])).await?;
            let Ok(length) = tokio::time::timeout(Duration::from_secs(1), socket.recv(&mut reply)).await else { continue };
            let message = Message::from_vec(&reply[..length?])?;
            let answered = message.answers.iter().find_map(|record| match &record.data {
                RData::A(address) => Some(usize::from(Ipv4Addr::from(*address).octets()[3] / 10).wrapping_sub(1)),
                _ => None,
            });
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.answers += 1;
            let Some(answered) = answered.filter(|region| *region < REGIONS.len()) else {
                seen.empty += 1;
                continue;
            };
            if region == LOST {
                seen.lately[answered] += 1;
            }
            let path = seen.path.entry((region, network)).or_default();
            if path.last() != Some(&answered) {
                path.push(answered);
            }
        }
        tokio::time::sleep(Duration::from_millis(100).saturating_sub(round.elapsed())).await;
    }
    Ok(())
}

/// `web.svc.example A`, for a client in that /24.
fn query(id: u16, prefix: [u8; 3]) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    // RD; one question and one additional record, the OPT.
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    query.extend(b"\x03web\x03svc\x07example\x00\x00\x01\x00\x01");
    // RFC 6891 §6.1.2: root, OPT, payload 1232; RFC 7871 §6: option 8 with family 1, source /24, scope 0.
    query.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0]);
    query.extend(prefix);
    query
}
