//! Load over UDP from one core, in batches, and the bare echo that is the kernel's share of it.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

/// Datagrams per system call.
const BATCH: usize = 32;
/// A reply that takes longer is lost, as far as the load is concerned.
const PATIENCE: Duration = Duration::from_millis(200);
/// Octets that are read of a reply: all that is looked at is in front.
const READ: usize = 64;
/// Latencies are counted in steps of 200 ns, up to 50 ms.
const STEP: u128 = 200;
const STEPS: usize = 250_000;

/// How a server is asked.
#[derive(Clone, Copy)]
pub struct Load {
    /// Source ports.
    pub sockets: usize,
    /// Queries that each of them has outstanding, 1–256.
    pub window: usize,
    /// Queries per second; `None`: as many as are answered.
    pub rate: Option<f64>,
}

/// What came of it.
pub struct Figures {
    pub answers: u64,
    pub lost: u64,
    pub seconds: f64,
    pub octets: f64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
}

/// One source port: what it asked at when, by the low octet of the id; the high one tells a late reply from that to a newer query.
struct Source {
    socket: UdpSocket,
    asked: Vec<Option<Instant>>,
    free: Vec<usize>,
    round: u8,
}

/// Asks `server` the queries in turn for a while, over and over.
pub fn ask(server: SocketAddr, queries: &[Vec<u8>], load: Load, time: Duration) -> Figures {
    let mut sources: Vec<Source> = (0..load.sockets).map(|_| Source::new(server, load.window)).collect();
    let (mut sent, mut answers, mut lost, mut octets) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut latencies = vec![0_u32; STEPS];
    let mut replies = [[0_u8; READ]; BATCH];
    let mut messages: Vec<Vec<u8>> = (0..BATCH).map(|_| Vec::with_capacity(512)).collect();
    let [mut inward, mut outward] = [(), ()].map(|()| MultiHeaders::<SockaddrIn>::preallocate(BATCH, None));
    let mut slots = [0; BATCH];
    let mut queries = queries.iter().cycle();
    let begin = Instant::now();
    let (mut now, mut heard) = (begin, begin);
    while now.duration_since(begin) < time {
        for source in &mut sources {
            // What came back.
            let mut rows: [[IoSliceMut<'_>; 1]; BATCH] = replies.each_mut().map(|reply| [IoSliceMut::new(reply)]);
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
            let mut lengths = [0; BATCH];
            if let Ok(results) = recvmmsg(source.socket.as_raw_fd(), &mut inward, rows.iter_mut(), flags, None) {
                results.zip(&mut lengths).for_each(|(result, length)| *length = result.bytes);
            }
            now = Instant::now();
            for (reply, length) in replies.iter().zip(lengths).take_while(|(_, length)| *length > 0) {
                if let Some(latency) = source.answered(reply, now) {
                    (answers, octets, heard) = (answers + 1, octets + length as u64, now);
                    latencies[((latency.as_nanos() / STEP) as usize).min(STEPS - 1)] += 1;
                }
            }
            // What is asked next.
            let due =
                load.rate.map_or(BATCH, |rate| ((now.duration_since(begin).as_secs_f64() * rate) as u64).saturating_sub(sent) as usize);
            let mut count = due.min(BATCH).min(source.free.len());
            // A window is filled when half of it is free, so that datagrams come in batches on both sides.
            if load.rate.is_none() && count < (load.window / 2).min(BATCH) {
                count = 0;
            }
            for (message, slot) in messages.iter_mut().zip(&mut slots).take(count) {
                *slot = source.take(now);
                message.clear();
                message.extend_from_slice(queries.next().expect("queries"));
                message[..2].copy_from_slice(&[source.round, *slot as u8]);
            }
            if count > 0 {
                let rows: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|row| [IoSlice::new(&messages[row])]);
                let to: [Option<SockaddrIn>; BATCH] = [None; BATCH];
                let done = sendmmsg(source.socket.as_raw_fd(), &mut outward, &rows[..count], &to[..count], [], MsgFlags::empty());
                let done = done.map_or(0, |results| results.count());
                sent += done as u64;
                slots[done..count].iter().for_each(|slot| source.give(*slot));
            }
        }
        if now.duration_since(heard) > PATIENCE {
            lost += sources.iter_mut().map(Source::forget).sum::<u64>();
            heard = now;
        }
    }
    let percentile = |share: f64| {
        let mut rest = (answers as f64 * share) as u64;
        let step = latencies.iter().position(|count| rest.checked_sub(u64::from(*count)).map(|left| rest = left).is_none());
        step.unwrap_or(STEPS) as f64 * STEP as f64 / 1000.0
    };
    let octets = octets as f64 / answers.max(1) as f64;
    Figures { answers, lost, seconds: now.duration_since(begin).as_secs_f64(), octets, p50: percentile(0.5), p99: percentile(0.99) }
}

impl Source {
    fn new(server: SocketAddr, window: usize) -> Source {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.connect(server).expect("an address");
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        Source { socket, asked: vec![None; window], free: (0..window).collect(), round: 0 }
    }

    fn take(&mut self, now: Instant) -> usize {
        let slot = self.free.pop().expect("a free slot");
        self.asked[slot] = Some(now);
        slot
    }

    fn give(&mut self, slot: usize) {
        self.asked[slot] = None;
        self.free.push(slot);
    }

    fn answered(&mut self, reply: &[u8; READ], now: Instant) -> Option<Duration> {
        let slot = usize::from(reply[1]);
        if reply[0] != self.round || reply[2] & 0x80 == 0 {
            return None;
        }
        let asked = (*self.asked.get(slot)?)?;
        self.give(slot);
        Some(now.duration_since(asked))
    }

    /// Gives all up that is outstanding: how many.
    fn forget(&mut self) -> u64 {
        self.round = self.round.wrapping_add(1);
        let lost = self.asked.iter().flatten().count();
        self.asked.fill(None);
        self.free = (0..self.asked.len()).collect();
        lost as u64
    }
}

/// Sends each datagram back as a response of at least `octets`, for ever: what the kernel costs a server that receives and sends in batches.
/// The address that it listens on is the first line on its output.
pub fn echo(octets: usize) -> ! {
    const MOST: usize = 1500;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    println!("{}", socket.local_addr().expect("its address"));
    let mut buffers = [[0_u8; MOST]; 2 * BATCH];
    let [mut inward, mut outward] = [(), ()].map(|()| MultiHeaders::<SockaddrIn>::preallocate(2 * BATCH, None));
    loop {
        let mut lengths = [0; 2 * BATCH];
        let mut peers = [None; 2 * BATCH];
        let mut rows: [[IoSliceMut<'_>; 1]; 2 * BATCH] = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let Ok(results) = recvmmsg(socket.as_raw_fd(), &mut inward, rows.iter_mut(), MsgFlags::MSG_WAITFORONE, None) else { continue };
        let mut count = 0;
        for result in results {
            (lengths[count], peers[count]) = (result.bytes, result.address);
            count += 1;
        }
        buffers[..count].iter_mut().for_each(|buffer| buffer[2] |= 0x80);
        let rows: [[IoSlice<'_>; 1]; 2 * BATCH] =
            std::array::from_fn(|row| [IoSlice::new(&buffers[row][..lengths[row].max(octets).min(MOST)])]);
        let _ = sendmmsg(socket.as_raw_fd(), &mut outward, &rows[..count], &peers[..count], [], MsgFlags::empty());
    }
}
