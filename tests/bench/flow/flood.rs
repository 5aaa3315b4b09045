//! A flood of names that nobody has, against a signed zone: what queries beside it notice, over UDP and over TCP, and what it takes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use signpost::serve::{self, Running};
use signpost::snapshot::Shelf;

use crate::asking::{self, Delays};
use crate::world::{self, Dice};

/// Runs it and prints what came of it: without a flood, with one of queries without DO, and with one of queries with DO.
pub fn run(services: usize, size: usize, rate: usize, seconds: u64) {
    let folder = tempfile::tempdir().unwrap();
    let file = world::home(folder.path(), services, size, false);
    let config = std::fs::read_to_string(&file).unwrap() + "[dnssec]\nzones = [\"svc.example\"]\n";
    std::fs::write(&file, config).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("signpost").enable_all().build().unwrap();
    let running = runtime.block_on(Running::start(serve::settings(Some(&file)).unwrap())).unwrap();
    let (control, dns) = (running.control.clone(), running.dns[0]);
    println!("{services} services × {size}, signed; {rate} queries/s with DO over UDP and one after the other over TCP");
    // What is asked is signed.
    asking::finish(asking::start_signed(dns, services, rate, 3));
    for flood in ["none", "plain", "signed"] {
        let drowning = (flood != "none").then(|| start(dns, flood, seconds + 1));
        std::thread::sleep(Duration::from_millis(500));
        let made = || control.publisher().load().signatures().made();
        let (used, before, signed, begin) = (world::usage(), world::threads(), made(), Instant::now());
        let asking = asking::start_signed(dns, services, rate, seconds);
        let over_tcp = over_tcp(dns, services, seconds);
        let (took, now, signed) = (begin.elapsed().as_secs_f64(), world::usage(), made() - signed);
        let after = world::threads();
        let said = asking::finish(asking);
        let sent = drowning.map_or("no flood".into(), asking::finish);
        let snapshot = control.publisher().load_full();
        let shelves = [Shelf::Zone, Shelf::Asked].map(|shelf| snapshot.signatures().len(shelf));
        println!("\nflood: {flood}: {sent}; {:.2} cores, {:.0} MB resident", (now.0 - used.0) / took, now.1);
        println!("  over UDP   {said}");
        println!("  over TCP   {over_tcp}");
        println!(
            "  signatures {:.0}/s made, {} of the zone and {} of what was asked are kept",
            signed as f64 / took,
            shelves[0],
            shelves[1]
        );
        let used = after.iter().map(|(name, seconds)| (name, (seconds - before.get(name).unwrap_or(&0.0)) / took));
        let threads: Vec<String> =
            used.filter(|(_, share)| *share > 0.005).map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
        println!("  threads    {}", threads.join(", "));
    }
    runtime.block_on(running.stop());
}

fn start(dns: SocketAddr, kind: &str, seconds: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["drown", &dns.to_string(), kind, &seconds.to_string()]).stdout(Stdio::piped()).spawn().unwrap()
}

/// The process that floods: `ADDRESS plain|signed SECONDS`. It reads no reply.
pub fn drown(arguments: &[String]) {
    let address: SocketAddr = arguments[0].parse().unwrap();
    let (signed, length) = (arguments[1] == "signed", Duration::from_secs(arguments[2].parse().unwrap()));
    let sockets: Vec<UdpSocket> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    sockets.iter().for_each(|socket| socket.connect(address).unwrap());
    let (mut dice, mut sent, begin) = (Dice(77), 0_u64, Instant::now());
    while begin.elapsed() < length {
        for socket in &sockets {
            let query = asking::query(sent as u16, &format!("x{:x}.svc.example", dice.below(usize::MAX)), signed);
            // What the kernel has no room for is lost.
            sent += u64::from(socket.send(&query).is_ok());
        }
    }
    println!("{:.0} queries/s", sent as f64 / begin.elapsed().as_secs_f64());
}

/// Asks over one connection, in turn for a name that is there and for one that is not; what came of it, in words.
fn over_tcp(dns: SocketAddr, services: usize, seconds: u64) -> String {
    let mut line = TcpStream::connect(dns).unwrap();
    line.set_nodelay(true).unwrap();
    line.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (mut there, mut missing) = (Delays::new(), Delays::new());
    let (mut refused, mut asked, mut dice, begin) = (0, 0, Dice(5), Instant::now());
    while begin.elapsed() < Duration::from_secs(seconds) {
        let is_there = asked % 2 == 0;
        let name = if is_there { format!("s{}.svc.example", dice.below(services)) } else { format!("t{asked}.svc.example") };
        let query = asking::query(asked as u16, &name, true);
        let at = Instant::now();
        line.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat()).unwrap();
        let mut length = [0; 2];
        line.read_exact(&mut length).unwrap();
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        line.read_exact(&mut reply).unwrap();
        asked += 1;
        match reply[3] & 15 {
            0 if is_there => there.add(at.elapsed()),
            0 => missing.add(at.elapsed()),
            _ => refused += 1,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    format!("there: {}; not there: {}; {refused} SERVFAIL", there.words(), missing.words())
}
