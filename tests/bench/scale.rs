//! Figures of scale, of the real server over its real sockets: `cargo bench --bench scale -- ROW…`.
//!
//! - `registrations [CONNECTIONS…]`: durable registrations per second over that many connections (64, 256 and 512 unless said).
//! - `fill SHAPE COUNT`: so many registrations into one server, with what each tenth of them came to.
//! - `start [SHAPE…]`: from the start of the process to `/readyz` with 1,000,000 instances in the embedded store, and its memory.
//!
//! A shape is the number of instances of a service: 10 or 1. `SIGNPOST_BENCH_SERVER` names another binary than the one just built, such as
//! one from before a change; `SIGNPOST_BENCH_FOLDER` says where the stores lie: what a disk takes to sync is part of the figure.
#![allow(clippy::disallowed_methods)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signpost::store::{Condition, Embedded, Operation, Store};

/// Instances in the store of a start.
const INSTANCES: usize = 1_000_000;
/// How long a row of registrations is measured.
const WHILE: Duration = Duration::from_secs(8);
/// Threads of the client, each with its part of the connections.
const CLIENTS: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let or = |default: &[usize]| if numbers.is_empty() { default.to_vec() } else { numbers.clone() };
    match arguments.first().map(String::as_str) {
        Some("registrations") => or(&[64, 256, 512]).into_iter().for_each(registrations),
        Some("fill") => match or(&[10, INSTANCES])[..] {
            [shape, count] => fill(shape, count),
            _ => println!("fill SHAPE COUNT"),
        },
        Some("start") => or(&[10, 1]).into_iter().for_each(start),
        _ => println!("registrations [CONNECTIONS…] | fill SHAPE COUNT | start [SHAPE…]"),
    }
}

/// Durable registrations per second, each with the next free number.
fn registrations(connections: usize) {
    let home = Home::new();
    let server = Server::start(&home);
    let (begin, next) = (Instant::now(), AtomicUsize::new(0));
    let mut took = register(home.api, connections, 10, &next, &|_| begin.elapsed() < WHILE);
    let (count, seconds) = (took.len(), begin.elapsed().as_secs_f64());
    took.sort_unstable();
    let at = |share: usize| took[(count - 1) * share / 100] as f64 / 1000.0;
    println!(
        "registrations over {connections} connections: {:.0}/s ({count} in {seconds:.1} s); 201 after {:.1} ms (p50), {:.1} ms (p99); \
         CPU of the server {:.1} µs each; {} MB resident",
        count as f64 / seconds,
        at(50),
        at(99),
        server.cpu() * 1e6 / count as f64,
        server.resident_mb(),
    );
}

/// Registers so many and tells of each tenth of the way.
fn fill(shape: usize, count: usize) {
    let home = Home::new();
    let server = Server::start(&home);
    let next = AtomicUsize::new(0);
    for tenth in 1..=10 {
        let (begin, cpu, first) = (Instant::now(), server.cpu(), next.load(Ordering::Relaxed));
        register(home.api, 512, shape, &next, &|number| number < count * tenth / 10);
        let made = next.load(Ordering::Relaxed) - first;
        println!(
            "{} of {count} instances, {shape} a service: {:.0}/s; CPU of the server {:.1} µs each; {} MB resident",
            first + made,
            made as f64 / begin.elapsed().as_secs_f64(),
            (server.cpu() - cpu) * 1e6 / made as f64,
            server.resident_mb(),
        );
    }
    let store = std::fs::metadata(home.folder.path().join("data/store.redb")).map_or(0, |file| file.len());
    println!("the store's file: {} MB", store >> 20);
}

/// From the start of the process to ready, with a full store.
fn start(shape: usize) {
    let home = Home::new();
    populate(&home.folder.path().join("data"), shape);
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let begin = Instant::now();
        let server = Server::start(&home);
        let took = begin.elapsed();
        best = best.min(took);
        println!(
            "ready with {INSTANCES} instances, {shape} a service: {:.2} s; CPU {:.2} s; {} MB resident, {} octets an instance, at most {} MB",
            took.as_secs_f64(),
            server.cpu(),
            server.resident_mb(),
            server.status("VmRSS:") * 1024 / INSTANCES,
            server.status("VmHWM:") >> 10,
        );
    }
    println!("best: {:.2} s", best.as_secs_f64());
}

/// Registers over `connections` while `more` says so of the next number; returns the microseconds that each took.
///
/// The client must not be what is measured: each thread sends one request on every connection of its own, then reads the replies.
fn register(api: SocketAddr, connections: usize, shape: usize, next: &AtomicUsize, more: &(dyn Fn(usize) -> bool + Sync)) -> Vec<u32> {
    let client = || {
        let connect = |_| {
            let stream = TcpStream::connect(api).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        };
        let mut streams: Vec<TcpStream> = (0..connections.div_ceil(CLIENTS)).map(connect).collect();
        let mut sent = vec![Instant::now(); streams.len()];
        let (mut took, mut request, mut reply) = (Vec::new(), Vec::new(), [0; 2048]);
        loop {
            let mut open = 0;
            for (stream, sent) in streams.iter_mut().zip(&mut sent) {
                let Ok(number) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| more(number).then_some(number + 1))
                else {
                    break;
                };
                let body = body(number);
                request.clear();
                write!(
                    request,
                    "PUT /v1/services/s{}/instances/i{number} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                     content-length: {}\r\n\r\n{body}",
                    number / shape,
                    body.len()
                )
                .unwrap();
                *sent = Instant::now();
                stream.write_all(&request).unwrap();
                open += 1;
            }
            if open == 0 {
                return took;
            }
            for (stream, sent) in streams.iter_mut().zip(&sent).take(open) {
                let mut have = 0;
                // The body is one object and a line end.
                while !reply[..have].ends_with(b"}\n") {
                    let read = stream.read(&mut reply[have..]).unwrap();
                    assert!(read > 0, "the server hung up after {:?}", String::from_utf8_lossy(&reply[..have]));
                    have += read;
                }
                assert!(reply.starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&reply[..have]));
                took.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// An instance as it is registered and as it is stored.
fn body(number: usize) -> String {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    format!(
        r#"{{"addresses":["10.{a}.{b}.{c}"],"ports":{{"http":8080}},"region":"eu-west","az":"eu-west-1{}"}}"#,
        ["a", "b", "c"][number % 3]
    )
}

/// Writes [`INSTANCES`] into the store in `folder`, as registrations would.
fn populate(folder: &Path, shape: usize) {
    let store = Embedded::open(folder).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let commit = |first: usize| {
        let put = |number: usize| Operation::Put {
            key: format!("instances/s{}/i{number}", number / shape).into(),
            value: Arc::from(body(number).as_bytes()),
            condition: Condition::Absent,
        };
        store.commit((first..(first + 100).min(INSTANCES)).map(put).collect())
    };
    // Some thousand at once share one sync.
    for group in (0..INSTANCES).step_by(100).collect::<Vec<_>>().chunks(40) {
        let outcomes = runtime.block_on(futures_util::future::join_all(group.iter().map(|first| commit(*first))));
        outcomes.into_iter().for_each(|outcome| _ = outcome.unwrap());
    }
}

/// A folder with a configuration.
struct Home {
    folder: tempfile::TempDir,
    api: SocketAddr,
}

impl Home {
    fn new() -> Home {
        let place = std::env::var_os("SIGNPOST_BENCH_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::tempdir_in(place).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        // Data and log lie beside the configuration's folder, for that is watched.
        let config = format!(
            "version = 1\ndata_dir = \"../data\"\n[dns]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n[api]\nlisten = \"{free}\"\n\
             audit = \"../data/audit.jsonl\"\n"
        );
        let zone = "services = true\nns = [\"ns1.svc.example.\"]\n[records]\nns1 = { A = [\"127.0.0.1\"] }\n";
        std::fs::create_dir_all(folder.path().join("config/zones")).unwrap();
        std::fs::write(folder.path().join("config/signpost.toml"), config).unwrap();
        std::fs::write(folder.path().join("config/zones/svc.example.toml"), zone).unwrap();
        Home { folder, api: free }
    }
}

/// A running server; killed when dropped.
struct Server(Child);

impl Server {
    /// Starts it and waits until it is ready.
    fn start(home: &Home) -> Server {
        let binary = std::env::var("SIGNPOST_BENCH_SERVER").unwrap_or_else(|_| env!("CARGO_BIN_EXE_signpost").into());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(home.folder.path().join("log")).unwrap();
        let mut command = Command::new(binary);
        command.args(["serve", "--config", "signpost.toml"]).current_dir(home.folder.path().join("config")).stdin(Stdio::null());
        let mut server = Server(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let ready = || {
            let mut stream = TcpStream::connect(home.api)?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply)?;
            Ok::<_, std::io::Error>(reply.starts_with(b"HTTP/1.1 200"))
        };
        while !ready().is_ok_and(|ready| ready) {
            if let Ok(Some(status)) = server.0.try_wait() {
                panic!("it ended with {status}: {}", std::fs::read_to_string(home.folder.path().join("log")).unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(2));
        }
        server
    }

    /// Seconds of CPU so far.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
        // A tick is a hundredth of a second on every Linux.
        (ticks(11) + ticks(12)) / 100.0
    }

    /// A line of its status, in KB.
    fn status(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    fn resident_mb(&self) -> usize {
        self.status("VmRSS:") >> 10
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
