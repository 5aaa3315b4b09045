//! Ways to hold services so that one can be replaced while all are read: `cargo bench --bench structures`. What each costs a query, what it
//! costs the writer, and what it costs a query while the writer writes as fast as it can.
//!
//! All of them find a service's slot by the same index of names; what differs is what stands behind a slot.
#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};

/// As large as a service of one instance.
struct Service {
    number: u64,
    _rest: [u64; 20],
}

fn service(number: u64) -> Arc<Service> {
    Arc::new(Service { number, _rest: [number; 20] })
}

/// Queries between two loads of what is current.
const BATCH: usize = 32;

trait Structure: Send + Sync {
    /// Of `count` services.
    fn new(count: usize) -> Self;
    /// Adds up the numbers of the services in these slots, as a batch of queries would look at them.
    fn read(&self, slots: &[u32]) -> u64;
    /// Replaces these services, and returns when all readers see them.
    fn write(&self, slots: &[u32], number: u64);
}

type Slots = Vec<Option<Arc<Service>>>;

fn all(count: usize) -> impl Iterator<Item = Option<Arc<Service>>> {
    (0..count).map(|n| Some(service(n as u64)))
}

/// One vector; every change copies it.
struct Whole(ArcSwap<Slots>);

impl Structure for Whole {
    fn new(count: usize) -> Whole {
        Whole(ArcSwap::from_pointee(all(count).collect()))
    }
    fn read(&self, slots: &[u32]) -> u64 {
        let now = self.0.load();
        slots.iter().map(|slot| now[*slot as usize].as_ref().map_or(0, |service| service.number)).sum()
    }
    fn write(&self, slots: &[u32], number: u64) {
        let mut next = Vec::clone(&self.0.load());
        slots.iter().for_each(|slot| next[*slot as usize] = Some(service(number)));
        self.0.store(Arc::new(next));
    }
}

/// Chunks of so many slots, and one vector of them.
struct Chunks<const SIZE: usize>(ArcSwap<Vec<Arc<Slots>>>);

impl<const SIZE: usize> Structure for Chunks<SIZE> {
    fn new(count: usize) -> Self {
        let mut all = all(count).peekable();
        let mut chunks = Vec::new();
        while all.peek().is_some() {
            chunks.push(Arc::new(all.by_ref().take(SIZE).collect()));
        }
        Chunks(ArcSwap::from_pointee(chunks))
    }
    fn read(&self, slots: &[u32]) -> u64 {
        let now = self.0.load();
        let at = |slot: usize| now[slot / SIZE][slot % SIZE].as_ref();
        slots.iter().map(|slot| at(*slot as usize).map_or(0, |service| service.number)).sum()
    }
    fn write(&self, slots: &[u32], number: u64) {
        let mut next = Vec::clone(&self.0.load());
        for slot in slots {
            Arc::make_mut(&mut next[*slot as usize / SIZE])[*slot as usize % SIZE] = Some(service(number));
        }
        self.0.store(Arc::new(next));
    }
}

/// A tree of three levels: chunks, branches of chunks, and one vector of branches.
struct Tree<const SIZE: usize, const WIDTH: usize>(ArcSwap<Vec<Branch>>);
type Branch = Arc<Vec<Arc<Slots>>>;

impl<const SIZE: usize, const WIDTH: usize> Structure for Tree<SIZE, WIDTH> {
    fn new(count: usize) -> Self {
        let mut all = all(count).peekable();
        let mut branches = Vec::new();
        while all.peek().is_some() {
            let mut branch = Vec::new();
            while all.peek().is_some() && branch.len() < WIDTH {
                branch.push(Arc::new(all.by_ref().take(SIZE).collect()));
            }
            branches.push(Arc::new(branch));
        }
        Tree(ArcSwap::from_pointee(branches))
    }
    fn read(&self, slots: &[u32]) -> u64 {
        let now = self.0.load();
        let at = |slot: usize| now[slot / SIZE / WIDTH][slot / SIZE % WIDTH][slot % SIZE].as_ref();
        slots.iter().map(|slot| at(*slot as usize).map_or(0, |service| service.number)).sum()
    }
    fn write(&self, slots: &[u32], number: u64) {
        let mut next = Vec::clone(&self.0.load());
        for slot in slots {
            let slot = *slot as usize;
            let branch = Arc::make_mut(&mut next[slot / SIZE / WIDTH]);
            Arc::make_mut(&mut branch[slot / SIZE % WIDTH])[slot % SIZE] = Some(service(number));
        }
        self.0.store(Arc::new(next));
    }
}

/// A tree of five levels, narrow below: leaves of 8, twigs of 16 leaves, branches of 16 twigs, limbs of 32 branches, and one vector of limbs.
struct Narrow(ArcSwap<Vec<Arc<Limb>>>);
type Node<Child, const WIDTH: usize> = [Option<Arc<Child>>; WIDTH];
type Limb = Node<Node<Node<Node<Service, 8>, 16>, 16>, 32>;

/// The way to a slot of [`Narrow`].
fn way(slot: u32) -> [usize; 5] {
    let slot = slot as usize;
    [slot >> 16, slot >> 11 & 31, slot >> 7 & 15, slot >> 3 & 15, slot & 7]
}

fn own<Child, const WIDTH: usize>(place: &mut Option<Arc<Node<Child, WIDTH>>>) -> &mut Node<Child, WIDTH> {
    Arc::make_mut(place.get_or_insert_with(|| Arc::new(std::array::from_fn(|_| None))))
}

impl Narrow {
    fn put(top: &mut Vec<Arc<Limb>>, slot: u32, number: u64) {
        let [limb, branch, twig, leaf, slot] = way(slot);
        while top.len() <= limb {
            top.push(Arc::new(std::array::from_fn(|_| None)));
        }
        let branch = own(&mut Arc::make_mut(&mut top[limb])[branch]);
        own(&mut own(&mut branch[twig])[leaf])[slot] = Some(service(number));
    }
}

impl Structure for Narrow {
    fn new(count: usize) -> Narrow {
        let mut top = Vec::new();
        (0..count as u32).for_each(|slot| Narrow::put(&mut top, slot, slot.into()));
        Narrow(ArcSwap::from_pointee(top))
    }
    fn read(&self, slots: &[u32]) -> u64 {
        let now = self.0.load();
        let at = |[limb, branch, twig, leaf, slot]: [usize; 5]| now[limb][branch].as_ref()?[twig].as_ref()?[leaf].as_ref()?[slot].as_ref();
        slots.iter().map(|slot| at(way(*slot)).map_or(0, |service| service.number)).sum()
    }
    fn write(&self, slots: &[u32], number: u64) {
        let mut next = Vec::clone(&self.0.load());
        slots.iter().for_each(|slot| Narrow::put(&mut next, *slot, number));
        self.0.store(Arc::new(next));
    }
}

/// So many vectors, each of which is replaced by itself: a query that looks at two services may see one before and one after a change.
struct Shards<const COUNT: usize>(Vec<ArcSwap<Slots>>);

impl<const COUNT: usize> Structure for Shards<COUNT> {
    fn new(count: usize) -> Self {
        let shard = |first: usize| (first..count).step_by(COUNT).map(|n| Some(service(n as u64))).collect();
        Shards((0..COUNT).map(|n| ArcSwap::from_pointee(shard(n))).collect())
    }
    fn read(&self, slots: &[u32]) -> u64 {
        let at = |slot: usize| self.0[slot % COUNT].load()[slot / COUNT].as_ref().map_or(0, |service| service.number);
        slots.iter().map(|slot| at(*slot as usize)).sum()
    }
    fn write(&self, slots: &[u32], number: u64) {
        for slot in slots {
            let shard = &self.0[*slot as usize % COUNT];
            let mut next = Vec::clone(&shard.load());
            next[*slot as usize / COUNT] = Some(service(number));
            shard.store(Arc::new(next));
        }
    }
}

/// Each slot is replaced by itself, with the same loss.
struct PerSlot(Vec<ArcSwapOption<Service>>);

impl Structure for PerSlot {
    fn new(count: usize) -> PerSlot {
        PerSlot(all(count).map(ArcSwapOption::new).collect())
    }
    fn read(&self, slots: &[u32]) -> u64 {
        slots.iter().map(|slot| self.0[*slot as usize].load().as_ref().map_or(0, |service| service.number)).sum()
    }
    fn write(&self, slots: &[u32], number: u64) {
        slots.iter().for_each(|slot| self.0[*slot as usize].store(Some(service(number))));
    }
}

fn spread(n: usize, of: usize) -> u32 {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as u32 % of as u32
}

fn run<S: Structure>(label: &str, count: usize) {
    let structure = S::new(count);
    let slots: Vec<u32> = (0..1 << 18).map(|n| spread(n, count)).collect();
    let read = || -> f64 {
        let begin = Instant::now();
        slots.chunks(BATCH).for_each(|slots| _ = black_box(structure.read(slots)));
        begin.elapsed().as_nanos() as f64 / slots.len() as f64
    };
    let alone = (0..5).map(|_| read()).fold(f64::MAX, f64::min);
    // Microseconds of one change, and of one of a hundred services divided by a hundred.
    let write = |batch: usize| -> f64 {
        let (begin, mut rounds) = (Instant::now(), 0);
        while begin.elapsed().as_millis() < 300 {
            structure.write(&slots[rounds * batch % (slots.len() - batch)..][..batch], 7);
            rounds += 1;
        }
        begin.elapsed().as_nanos() as f64 / (rounds * batch) as f64 / 1000.0
    };
    let (one, hundred) = (write(1), write(100));
    let stop = AtomicBool::new(false);
    let (beside, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (begin, mut rounds) = (Instant::now(), 0);
            while !stop.load(Relaxed) {
                structure.write(&slots[rounds % slots.len()..][..1], 9);
                rounds += 1;
            }
            rounds as f64 / begin.elapsed().as_secs_f64()
        });
        let beside = (0..20).map(|_| read()).sum::<f64>() / 20.0;
        stop.store(true, Relaxed);
        (beside, writer.join().unwrap_or_default())
    });
    println!("{count:>9} {label:<26} {alone:>9.1} {one:>12.2} {hundred:>12.2} {beside:>12.1} {written:>12.0}");
}

fn main() {
    println!(
        "{:>9} {:<26} {:>9} {:>12} {:>12} {:>12} {:>12}",
        "services", "structure", "read ns", "write µs", "of 100 µs", "beside ns", "writes/s"
    );
    let wanted: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    for count in if wanted.is_empty() { vec![1_000, 100_000, 1_000_000] } else { wanted } {
        run::<Whole>("full rebuild", count);
        run::<Chunks<64>>("chunks of 64", count);
        run::<Chunks<256>>("chunks of 256", count);
        run::<Chunks<1024>>("chunks of 1024", count);
        run::<Tree<32, 32>>("tree of 32, 32, rest", count);
        run::<Tree<64, 64>>("tree of 64, 64, rest", count);
        run::<Tree<16, 256>>("tree of 16, 256, rest", count);
        run::<Tree<128, 128>>("tree of 128, 128, rest", count);
        run::<Narrow>("tree of 8, 16, 16, 32, rest", count);
        run::<Shards<4096>>("4096 shards", count);
        run::<PerSlot>("per service", count);
    }
}
