//! Heartbeats over HTTP: one in a request, or many.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use signpost::serve::{self, Running};

use crate::asking::Delays;
use crate::world;

/// Runs it and prints what came of it.
pub fn run(services: usize, size: usize, rate: usize, seconds: u64, many: usize) {
    let folder = tempfile::tempdir().unwrap();
    let file = world::home(folder.path(), services, size, true);
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("signpost").enable_all().build().unwrap();
    let running = runtime.block_on(Running::start(serve::settings(Some(&file)).unwrap())).unwrap();
    println!("{services} services × {size}: ready in {:.1} s, {:.0} MB resident", begin.elapsed().as_secs_f64(), world::usage().1);
    // The first beat of each confirms what was known before the restart.
    for (round, seconds) in [("first", (services * size) as u64 / rate.max(1) as u64 + 1), ("steady", seconds)] {
        let (used, before, begin) = (world::usage(), world::threads(), Instant::now());
        let generation = running.control.publisher().load().generation.0;
        let mut command = Command::new(std::env::current_exe().unwrap());
        let numbers = [services, size, rate, seconds as usize, many].map(|number| number.to_string());
        command.arg("send").arg(running.api.to_string()).args(numbers).stdout(Stdio::piped());
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let (now, took) = (world::usage(), begin.elapsed().as_secs_f64());
        let published = running.control.publisher().load().generation.0 - generation;
        println!("\n{round}: {}", said.trim());
        println!("  server {:.2} cores, {:.0} MB resident, {published} snapshots", (now.0 - used.0) / took, now.1);
        let used = world::threads().into_iter().map(|(name, seconds)| (seconds - before.get(&name).unwrap_or(&0.0), name));
        let threads: Vec<String> = used.filter(|(s, _)| *s > 0.01).map(|(s, name)| format!("{name} {:.0} %", s / took * 100.0)).collect();
        println!("  threads {}", threads.join(", "));
    }
    runtime.block_on(running.stop());
}

/// The process that sends: `ADDRESS SERVICES SIZE RATE SECONDS MANY`.
pub fn send(arguments: &[String]) {
    let address: SocketAddr = arguments[0].parse().unwrap();
    let number = |at: usize| arguments[at].parse::<usize>().unwrap();
    let (services, size, rate, seconds, many) = (number(1), number(2), number(3), number(4), number(5));
    let connections = if many == 1 { 16 } else { 2 };
    let begin = Instant::now();
    let length = Duration::from_secs(seconds as u64);
    let senders: Vec<_> = (0..connections)
        .map(|n| {
            std::thread::spawn(move || {
                let mut http = Http::connect(address);
                let (mut sent, mut delays) = (0, Delays::new());
                // One after the other, so that the first round reaches every instance.
                let mut next = n * services * size / connections;
                let mut requests: Vec<String> = Vec::new();
                while begin.elapsed() < length {
                    let due = (begin.elapsed().as_secs_f64() * rate as f64) as usize / connections;
                    if sent >= due {
                        std::thread::sleep(Duration::from_micros(100));
                        continue;
                    }
                    requests.clear();
                    let mut name = || {
                        let number = next;
                        next = (next + 1) % (services * size);
                        (number / size, number % size)
                    };
                    // Small ones are pipelined, as an agent may.
                    let count = if many == 1 { (due - sent).min(16) } else { 1 };
                    for _ in 0..count {
                        requests.push(match many {
                            1 => {
                                let (service, id) = name();
                                format!("PUT /v1/services/s{service}/instances/i{id}/heartbeat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
                            }
                            _ => {
                                let names: Vec<String> = (0..many).map(|_| name()).map(|(service, id)| format!("\"s{service}/i{id}\"")).collect();
                                let body = format!("{{\"instances\":[{}]}}", names.join(","));
                                format!("POST /v1/heartbeats HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                            }
                        });
                    }
                    let at = Instant::now();
                    http.call(&requests.concat(), count);
                    delays.add(at.elapsed());
                    sent += count * many;
                }
                (sent, delays)
            })
        })
        .collect();
    let (mut sent, mut words) = (0, String::new());
    for sender in senders {
        let (count, mut delays) = sender.join().unwrap();
        sent += count;
        words = delays.words();
    }
    println!("{:.0} beats/s; a call takes {words}", sent as f64 / begin.elapsed().as_secs_f64());
}

struct Http(BufReader<TcpStream>);

impl Http {
    fn connect(address: SocketAddr) -> Http {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Http(BufReader::new(stream))
    }

    /// Sends requests, and takes as many replies, which must be good.
    fn call(&mut self, requests: &str, count: usize) {
        self.0.get_mut().write_all(requests.as_bytes()).unwrap();
        for _ in 0..count {
            let (mut line, mut length) = (String::new(), 0);
            self.0.read_line(&mut line).unwrap();
            assert!(line.contains(" 20"), "{line}");
            loop {
                line.clear();
                self.0.read_line(&mut line).unwrap();
                match line.trim_end().split_once(':') {
                    None => break,
                    Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().unwrap(),
                    Some(_) => {}
                }
            }
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).unwrap();
            if length > 200 {
                panic!("{}", String::from_utf8_lossy(&body[..200]));
            }
        }
    }
}
