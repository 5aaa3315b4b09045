//! Questions at a fixed rate from a process of its own: a thread that sends what is due and sleeps, another that waits for answers.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::world::Dice;

/// Times in µs: how many of each.
pub struct Delays(Vec<u64>);

impl Delays {
    pub fn new() -> Delays {
        Delays(Vec::new())
    }

    pub fn add(&mut self, time: Duration) {
        self.0.push(time.as_nanos() as u64);
    }

    /// The share of them that is no longer, in µs.
    pub fn at(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let rank = (self.0.len() as f64 * share) as usize;
        self.0.get(rank.min(self.0.len().saturating_sub(1))).map_or(f64::NAN, |nanos| *nanos as f64 / 1e3)
    }

    /// In words.
    pub fn words(&mut self) -> String {
        let (p50, p90, p99, p999, most) = (self.at(0.5), self.at(0.9), self.at(0.99), self.at(0.999), self.at(1.0));
        format!("p50 {p50:.0} p90 {p90:.0} p99 {p99:.0} p99.9 {p999:.0} max {most:.0} µs of {}", self.0.len())
    }
}

/// A query for an A record; `signed`: with DO.
pub fn query(id: u16, name: &str, signed: bool) -> Vec<u8> {
    let mut octets = vec![(id >> 8) as u8, id as u8, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(signed)];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.extend_from_slice(&[0, 0, 1, 0, 1]);
    if signed {
        octets.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 0]);
    }
    octets
}

/// Starts the process that asks `rate` times a second for the addresses of services.
pub fn start(dns: SocketAddr, services: usize, rate: usize, seconds: u64) -> Child {
    start_of("plain", dns, services, rate, seconds)
}

/// The same with DO.
pub fn start_signed(dns: SocketAddr, services: usize, rate: usize, seconds: u64) -> Child {
    start_of("signed", dns, services, rate, seconds)
}

fn start_of(kind: &str, dns: SocketAddr, services: usize, rate: usize, seconds: u64) -> Child {
    let itself = std::env::current_exe().unwrap();
    let mut command = Command::new(itself);
    command.args(["ask", &dns.to_string(), &services.to_string(), &rate.to_string(), &seconds.to_string(), kind]);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What the process said.
pub fn finish(mut child: Child) -> String {
    let mut said = String::new();
    _ = BufReader::new(child.stdout.take().unwrap()).read_line(&mut said);
    _ = child.wait();
    said.trim().to_string()
}

/// The process: `ADDRESS SERVICES RATE SECONDS plain|signed`.
pub fn run(arguments: &[String]) {
    let address: SocketAddr = arguments[0].parse().unwrap();
    let number = |at: usize| arguments[at].parse::<u64>().unwrap();
    let signed = arguments[4] == "signed";
    let (services, rate, length) = (number(1) as usize, number(2), Duration::from_secs(number(3)));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let sent_at: Arc<Vec<AtomicU64>> = Arc::new((0..=u16::MAX).map(|_| AtomicU64::new(0)).collect());
    let begin = Instant::now();
    let (receiver, times) = (socket.try_clone().unwrap(), sent_at.clone());
    let answers = std::thread::spawn(move || {
        let mut delays = Delays::new();
        let mut reply = [0; 4096];
        while begin.elapsed() < length + Duration::from_millis(300) {
            let Ok(length) = receiver.recv(&mut reply) else { continue };
            let now = begin.elapsed().as_nanos() as u64;
            let id = u16::from_be_bytes([reply[0], reply[1]]);
            let at = times[usize::from(id)].swap(0, Ordering::Relaxed);
            if length > 12 && at > 0 {
                delays.add(Duration::from_nanos(now - at));
            }
        }
        delays
    });
    let (mut dice, mut sent) = (Dice(11), 0_u64);
    while begin.elapsed() < length {
        let due = (begin.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due {
            let octets = query(sent as u16, &format!("s{}.svc.example", dice.below(services)), signed);
            sent_at[usize::from(sent as u16)].store(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
            socket.send(&octets).unwrap();
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(20));
    }
    let mut delays = answers.join().unwrap();
    let lost = sent.saturating_sub(delays.0.len() as u64);
    println!("{} ({lost} lost)", delays.words());
}
