//! A whole server under load, beside the kernel's share of it: `cargo bench --bench servers [-- ROW… --rounds N --seconds N]`.
//!
//! Starts Signpost (one worker) and a bare echo on one core and asks from another: the rows of `world.rs`, from eight source ports with 32 queries
//! outstanding each, and from a thousand with one each. Prints medians over the rounds: answers/s, the server's CPU time per million answers
//! from `/proc/PID/stat` with the user part in brackets, the same as a multiple of the echo's, and latencies. The echo receives and sends in batches and
//! does nothing else; its replies are as long as Signpost's. Runs are interleaved, since the floor itself moves with what else the machine does.
//!
//! Other servers: `--peer NAME=ADDRESS,PID` asks one that runs already, with its children; `--write FOLDER` writes the zones that it is to serve and ends.
#![allow(clippy::disallowed_methods)]

mod load;
mod world;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

use load::{Figures, Load};

const NAMES: usize = 100_000;
const QUERIES: usize = 100_000;
/// How the servers are asked: what it is called, and the load.
const WAYS: [(&str, Load); 3] = [
    ("8 × 32", Load { sockets: 8, window: 32, rate: None }),
    ("1000 × 1", Load { sockets: 1000, window: 1, rate: None }),
    ("20,000 q/s", Load { sockets: 4, window: 256, rate: Some(20_000.0) }),
];

/// A server that is asked.
struct Server {
    name: String,
    address: SocketAddr,
    pid: u32,
    /// Ends with the benchmark, where the benchmark began it.
    _child: Option<Ended>,
}

/// A child that is killed when it is no longer needed.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let given = Arguments::read();
    if let Some(octets) = given.echo {
        load::echo(octets);
    }
    if let Some(folder) = &given.write {
        world::write(folder, NAMES);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    world::write(folder.path(), NAMES);
    let ours = signpost(folder.path());
    let mut peers = vec![ours];
    peers.extend(given.peers);
    println!("| row | from | server | answers/s | CPU-s per million (user) | × echo | p50 µs | p99 µs | octets | lost |");
    println!("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for row in world::rows(QUERIES, NAMES) {
        if !given.rows.is_empty() && !given.rows.iter().any(|wanted| row.label.contains(wanted.as_str())) {
            continue;
        }
        let octets = measure(&peers[0], &row.queries, WAYS[0].1, Duration::from_millis(200)).figures.octets;
        let echo = echo(octets.round() as usize);
        for (way, load) in WAYS {
            let servers: Vec<&Server> = [&echo].into_iter().chain(&peers).collect();
            let mut runs: Vec<Vec<Run>> = servers.iter().map(|_| Vec::new()).collect();
            for round in 0..given.rounds {
                for turn in 0..servers.len() {
                    let turn = (turn + round) % servers.len();
                    runs[turn].push(measure(servers[turn], &row.queries, load, given.time));
                }
            }
            let floor = median(&runs[0], |run| run.user + run.system);
            for (server, runs) in servers.iter().zip(&runs) {
                let cost = median(runs, |run| run.user + run.system);
                println!(
                    "| {} | {way} | {} | {:.0} | {cost:.2} ({:.2}) | {:.2} | {:.1} | {:.1} | {:.0} | {:.0} |",
                    row.label,
                    server.name,
                    median(runs, |run| run.figures.answers as f64 / run.figures.seconds),
                    median(runs, |run| run.user),
                    cost / floor,
                    median(runs, |run| run.figures.p50),
                    median(runs, |run| run.figures.p99),
                    median(runs, |run| run.figures.octets),
                    median(runs, |run| run.figures.lost as f64),
                );
            }
        }
    }
}

/// What one run came to: seconds of CPU per million answers, user and system.
struct Run {
    figures: Figures,
    user: f64,
    system: f64,
}

fn measure(server: &Server, queries: &[Vec<u8>], load: Load, time: Duration) -> Run {
    let before = cpu(server.pid);
    let figures = load::ask(server.address, queries, load, time);
    let after = cpu(server.pid);
    let millions = figures.answers.max(1) as f64 / 1e6;
    Run { user: (after.0 - before.0) / millions, system: (after.1 - before.1) / millions, figures }
}

fn median(runs: &[Run], figure: impl Fn(&Run) -> f64) -> f64 {
    let mut figures: Vec<f64> = runs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Seconds that a process and its children have had, user and system (proc(5): utime and stime).
fn cpu(pid: u32) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
    let field = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0) / ticks;
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok()).map(cpu);
    children.fold((field(11), field(12)), |sum, child| (sum.0 + child.0, sum.1 + child.1))
}

/// Signpost over the zones of a folder.
fn signpost(folder: &Path) -> Server {
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("a free port").port();
    let config = folder.join("signpost.toml");
    let text = format!(
        "version = 1\n[dns]\nlisten = [\"127.0.0.1:{port}\"]\nworkers = 1\n[api]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"warn\"\n[zones]\ndir = \"zones\"\n[geo]\ndir = \"geo\"\n"
    );
    std::fs::write(&config, text).expect("the configuration");
    let child = begin(Command::new(env!("CARGO_BIN_EXE_signpost")).arg("serve").arg("--config").arg(&config));
    let server =
        Server { name: "Signpost".into(), address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), pid: child.0.id(), _child: Some(child) };
    let query = &world::rows(1, NAMES)[0].queries;
    let once = Load { sockets: 1, window: 1, rate: None };
    let answers = (0..100).any(|_| load::ask(server.address, query, once, Duration::from_millis(300)).answers > 0);
    assert!(answers, "Signpost does not answer");
    server
}

/// The bare echo, whose replies are that long.
fn echo(octets: usize) -> Server {
    let this = std::env::current_exe().expect("this program");
    let mut child = begin(Command::new(this).arg("--echo").arg(octets.to_string()).stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().expect("its output")).read_line(&mut line).expect("its address");
    Server { name: "bare echo".into(), address: line.trim().parse().expect("its address"), pid: child.0.id(), _child: Some(child) }
}

/// Begins a server on the first core; the load has the second, where there are two.
fn begin(command: &mut Command) -> Ended {
    pin(0);
    let child = command.spawn().expect("a program");
    pin(1);
    Ended(child)
}

/// Keeps this thread, and what it starts, to one core.
fn pin(core: usize) {
    let mut cores = CpuSet::new();
    let _ = cores.set(core);
    let _ = sched_setaffinity(Pid::from_raw(0), &cores);
}

struct Arguments {
    rows: Vec<String>,
    rounds: usize,
    time: Duration,
    peers: Vec<Server>,
    write: Option<PathBuf>,
    echo: Option<usize>,
}

impl Arguments {
    fn read() -> Arguments {
        let mut given = Arguments { rows: vec![], rounds: 3, time: Duration::from_secs(2), peers: vec![], write: None, echo: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => {} // cargo's own
                "--rounds" => given.rounds = value().parse::<usize>().expect("a number of rounds").max(1),
                "--seconds" => given.time = Duration::from_secs_f64(value().parse().expect("seconds")),
                "--peer" => given.peers.push(peer(&value()).expect("--peer NAME=ADDRESS,PID")),
                "--write" => given.write = Some(value().into()),
                "--echo" => given.echo = Some(value().parse().expect("octets")),
                row => given.rows.push(row.to_string()),
            }
        }
        given
    }
}

fn peer(text: &str) -> Option<Server> {
    let (name, rest) = text.split_once('=')?;
    let (address, pid) = rest.split_once(',')?;
    Some(Server { name: name.to_string(), address: address.parse().ok()?, pid: pid.parse().ok()?, _child: None })
}
