//! Changes of health at a fixed rate, how long each takes until answers show it, and what queries beside them notice.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use signpost::control::{Control, Observation};
use signpost::model::{Health, InstanceKey};
use signpost::serve::{self, Running};

use crate::asking::{self, Delays};
use crate::world::{self, Dice, MEASURED};

/// Runs it and prints what came of it.
pub fn run(services: usize, size: usize, rate: usize, seconds: u64) {
    let queries: usize = std::env::var("QUERIES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let folder = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let file = world::home(folder.path(), services, size, false);
    println!("{services} services × {size}: stored in {:.1} s", begin.elapsed().as_secs_f64());
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("signpost").enable_all().build().unwrap();
    let running = runtime.block_on(Running::start(serve::settings(Some(&file)).unwrap())).unwrap();
    println!("ready in {:.1} s, {:.0} MB resident", begin.elapsed().as_secs_f64(), world::usage().1);
    let (control, dns) = (running.control.clone(), running.dns[0]);
    let mut standing = control.probe_orders();
    let orders = world::orders(std::iter::from_fn(|| standing.try_recv().ok()), services, size);
    let begin = Instant::now();
    for (key, order) in &orders {
        control.observe(verdict(key, *order, true));
    }
    let orders = Arc::new(orders);
    let measured = Measured::new(dns, &control, &orders[orders.len() - 1]);
    measured.turn(&mut Delays::new());
    println!("{} first verdicts in answers after {:.2} s", orders.len(), begin.elapsed().as_secs_f64());
    for rate in [0, rate] {
        let stop = Arc::new(AtomicBool::new(false));
        let given = Arc::new(AtomicU64::new(0));
        let feeder = std::thread::Builder::new().name("feeder".into()).spawn({
            let (control, orders, stop, given) = (control.clone(), orders.clone(), stop.clone(), given.clone());
            move || feed(&control, &orders, rate, &stop, &given)
        });
        // What was given before it is measured is part of the state that it comes to.
        std::thread::sleep(Duration::from_secs(1));
        let (used, counted, before, begin) = (world::usage(), given.load(Ordering::Relaxed), world::threads(), Instant::now());
        let generation = control.publisher().load().generation.0;
        let asking = asking::start(dns, services, queries, seconds);
        let mut delays = Delays::new();
        while begin.elapsed() < Duration::from_secs(seconds) {
            measured.turn(&mut delays);
            std::thread::sleep(Duration::from_millis(3));
        }
        let (took, changes) = (begin.elapsed().as_secs_f64(), given.load(Ordering::Relaxed) - counted);
        let published = control.publisher().load().generation.0 - generation;
        let now = world::usage();
        let said = asking::finish(asking);
        let after = world::threads();
        stop.store(true, Ordering::Relaxed);
        feeder.unwrap().join().unwrap();
        println!(
            "\n{:.0} changes/s, {:.0} snapshots/s, {:.2} cores, {:.0} MB resident",
            changes as f64 / took,
            published as f64 / took,
            (now.0 - used.0) / took,
            now.1
        );
        println!("  queries      {said}");
        println!("  into answers {}", delays.words());
        let used = after.iter().map(|(name, seconds)| (name, (seconds - before.get(name).unwrap_or(&0.0)) / took));
        let threads: Vec<String> =
            used.filter(|(_, share)| *share > 0.005).map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
        println!("  threads      {}", threads.join(", "));
        // Whether all of them have come through.
        let begin = Instant::now();
        measured.turn(&mut Delays::new());
        println!("  behind by    {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    }
    runtime.block_on(running.stop());
}

fn verdict(key: &InstanceKey, order: u64, healthy: bool) -> Observation {
    let (health, why) = if healthy { (Health::Healthy, String::new()) } else { (Health::Unhealthy, "tcp: connection refused".into()) };
    Observation { key: key.clone(), order, health, wavers: false, why }
}

/// Gives changes of random instances, evenly, until told to stop.
fn feed(control: &Control, orders: &[(InstanceKey, u64)], rate: usize, stop: &AtomicBool, given: &AtomicU64) {
    let mut healthy = vec![true; orders.len()];
    let free = orders.len() - MEASURED;
    let (mut dice, mut count, begin) = (Dice(3), 0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * rate as f64) as u64;
        while count < due {
            let number = dice.below(free);
            healthy[number] = !healthy[number];
            let (key, order) = &orders[number];
            control.observe(verdict(key, *order, healthy[number]));
            count += 1;
        }
        given.store(count, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// How long the one who waits for a change sleeps between two questions. A sleep takes some 50 µs longer than that, so a delay is known to
/// 0.1 ms. Whoever asks without a pause takes half of a core, and the worker that answers another half, when the writer has the least of it.
const PACE: Duration = Duration::from_micros(50);

/// The instance on which delays are measured.
struct Measured<'a> {
    control: &'a Control,
    key: &'a InstanceKey,
    order: u64,
    address: Vec<u8>,
    socket: UdpSocket,
}

impl<'a> Measured<'a> {
    fn new(dns: SocketAddr, control: &'a Control, (key, order): &'a (InstanceKey, u64)) -> Measured<'a> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(dns).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let own = ask(&socket, &asking::query(8, &format!("{}.id.{}.svc.example", key.id, key.service), false));
        let address = own[own.len() - 4..].to_vec();
        Measured { control, key, order: *order, address, socket }
    }

    /// Turns it off and on, and asks at once, and then every so often, until the answer shows it.
    fn turn(&self, delays: &mut Delays) {
        let query = asking::query(7, &format!("{}.svc.example", self.key.service), false);
        let shows = || ask(&self.socket, &query).windows(4).any(|octets| octets == self.address);
        for healthy in [false, true] {
            let begin = Instant::now();
            self.control.observe(verdict(self.key, self.order, healthy));
            while shows() != healthy {
                std::thread::sleep(PACE);
            }
            delays.add(begin.elapsed());
        }
    }
}

fn ask(socket: &UdpSocket, query: &[u8]) -> Vec<u8> {
    let mut reply = [0; 4096];
    loop {
        socket.send(query).unwrap();
        if let Ok(length) = socket.recv(&mut reply)
            && reply[..2] == query[..2]
        {
            return reply[..length].to_vec();
        }
    }
}
