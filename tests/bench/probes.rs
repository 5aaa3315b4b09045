//! What active checks cost: `cargo bench --bench probes [-- KIND CHECKS …]`, KIND being `tcp`, `http`, or `quarter`: HTTP, and a quarter of
//! the instances say nothing until the timeout of 2 s. Checks are 5 s apart. The prober's thread is pinned to core 0, and the 1,000 addresses
//! of 127/8 that are probed are served by a process on core 1. The kernel's share is that of loopback: the sender's core also takes the
//! instance's side of the handshake.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use signpost::control::{Observation, ProbeOrder, Probes};
use signpost::model::{Check, Health, InstanceKey, ProbeSettings};
use signpost::probe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long is measured.
const SPAN: Duration = Duration::from_secs(10);

/// The environment variable that makes this program the instances that are probed.
const ROLE: &str = "SIGNPOST_BENCH_INSTANCES";

fn main() {
    if let Ok(kind) = std::env::var(ROLE) {
        return serve(&kind);
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut wanted = wanted.iter();
    println!(
        "{:<5} {:>7} {:>9} {:>8} {:>9} {:>8} {:>9} {:>9} {:>9} {:>8} {:>8} {:>6}",
        "kind", "checks", "probes/s", "core %", "CPU µs", "user µs", "late p50", "late p99", "late max", "memory", "in fl.", "wrong"
    );
    if wanted.len() == 0 {
        for kind in ["tcp", "http"] {
            for checks in [10_000, 50_000, 100_000] {
                measure(kind, checks);
            }
        }
    }
    while let (Some(kind), Some(checks)) = (wanted.next(), wanted.next()) {
        measure(kind, checks.parse().expect("a number of checks"));
    }
}

/// One row of the table.
fn measure(kind: &str, checks: usize) {
    let (instances, port) = Instances::start(kind);
    signpost::server::raise_open_files();
    let json = match kind {
        "tcp" => r#"{"tcp":true,"interval":"5s"}"#,
        _ => r#"{"http":"/healthz","interval":"5s"}"#,
    };
    let check: Check = serde_json::from_str(json).unwrap();
    let (orders, ordered) = tokio::sync::mpsc::unbounded_channel();
    let (found, other) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (up, wrong, quarter) = (found.clone(), other.clone(), kind == "quarter");
    let report = move |observation: Observation| {
        let right = (observation.health == Health::Healthy) != (quarter && is_silent(address_of(observation.order as usize)));
        let right = right && observation.health != Health::Pending && !observation.wavers;
        if right { &up } else { &wrong }.fetch_add(1, Ordering::Relaxed);
    };
    let before = resident();
    let prober = probe::start_on(ordered, &ProbeSettings { enabled: true, concurrency: 20_000 }, report).unwrap();
    sleep(Duration::from_millis(50));
    let thread = prober_thread();
    pin(&thread, 0);
    let service: Vec<signpost::model::Label> = (0..checks / 10 + 1).map(|n| format!("s{n}").parse().unwrap()).collect();
    for number in 0..checks {
        let key = InstanceKey { service: service[number / 10].clone(), id: format!("i{number}").parse().unwrap() };
        let probes = Probes { order: number as u64, address: address_of(number).into(), checks: vec![(check.clone(), port)], last: None };
        orders.send(ProbeOrder { key, probes: Some(probes) }).unwrap();
    }
    // All have had their first probe, and the rhythm is each one's own.
    sleep(Duration::from_secs(if quarter { 25 } else { 11 }));
    let (begin, cpu, stats) = (Instant::now(), cpu_of(&thread), prober.stats());
    let (mut lags, mut in_flight) = (Vec::new(), 0);
    while begin.elapsed() < SPAN {
        sleep(Duration::from_millis(2));
        let stats = prober.stats();
        lags.push(stats.lag_ms);
        in_flight = in_flight.max(stats.in_flight);
    }
    let (took, after) = (begin.elapsed().as_secs_f64(), prober.stats());
    let now = cpu_of(&thread);
    let probes = (after.probes - stats.probes) as f64;
    lags.sort_unstable();
    let (cpu, user) = (now.0 - cpu.0, now.1 - cpu.1);
    println!(
        "{kind:<5} {checks:>7} {:>9.0} {:>8.1} {:>9.2} {:>8.2} {:>6} ms {:>6} ms {:>6} ms {:>6} B {:>8} {:>6}",
        probes / took,
        cpu / took * 100.0,
        cpu / probes * 1e6,
        user / probes * 1e6,
        lags[lags.len() / 2],
        lags[lags.len() * 99 / 100],
        lags[lags.len() - 1],
        (resident() - before) / checks,
        in_flight,
        other.load(Ordering::Relaxed) as u64 + after.not_made + if quarter { 0 } else { after.failures },
    );
    if found.load(Ordering::Relaxed) != checks || after.late > 0 {
        println!("      {} of {checks} were judged; {after:?}", found.load(Ordering::Relaxed));
    }
    prober.stop();
    drop(instances);
}

/// Where an instance is.
fn address_of(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, (number % 1000 / 250) as u8, (number % 250 + 1) as u8)
}

/// Whether an instance is in the quarter that says nothing.
fn is_silent(address: Ipv4Addr) -> bool {
    address.octets()[2] == 3
}

/// The process whose instances are probed.
struct Instances(Child);

impl Instances {
    fn start(kind: &str) -> (Instances, u16) {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new("taskset").args(["-c", "1"]).arg(program).env(ROLE, kind).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Instances(child), line.trim().parse().unwrap())
    }
}

impl Drop for Instances {
    fn drop(&mut self) {
        // It has no state to lose.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Listens on every address and answers until it is killed.
fn serve(kind: &str) {
    let quarter = kind == "quarter";
    signpost::server::raise_open_files();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    let listener = TcpListener::from(socket);
    println!("{}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    if kind == "tcp" {
        listener.incoming().for_each(drop);
        return;
    }
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                let (mut request, mut length) = ([0; 1024], 0);
                while !request[..length].ends_with(b"\r\n\r\n") {
                    match stream.read(&mut request[length..]).await {
                        Ok(count) if count > 0 => length += count,
                        _ => return,
                    }
                }
                if quarter && matches!(stream.local_addr(), Ok(SocketAddr::V4(own)) if is_silent(*own.ip())) {
                    let _ = stream.read(&mut request).await;
                    return;
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok").await;
            });
        }
    });
}

/// The directory of the prober's thread in /proc.
fn prober_thread() -> String {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let mut named = tasks.filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "prober"));
    named.next().unwrap().display().to_string()
}

fn pin(thread: &str, core: usize) {
    let id = thread.rsplit('/').next().unwrap();
    let done = Command::new("taskset").args(["-cp", &core.to_string(), id]).stdout(Stdio::null()).status().unwrap();
    assert!(done.success());
}

/// Seconds of CPU that a thread has taken, and those of them in user mode (by ticks of 10 ms, where the kernel counts so).
fn cpu_of(thread: &str) -> (f64, f64) {
    let exact = std::fs::read_to_string(format!("{thread}/schedstat")).unwrap();
    let stat = std::fs::read_to_string(format!("{thread}/stat")).unwrap();
    let user = stat.rsplit(')').next().unwrap().split_whitespace().nth(11).unwrap().parse::<f64>().unwrap() / 100.0;
    (exact.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9, user)
}

/// Octets of memory of this process.
fn resident() -> usize {
    let mut text = String::new();
    std::fs::File::open("/proc/self/statm").unwrap().read_to_string(&mut text).unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
