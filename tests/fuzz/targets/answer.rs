//! Octets as a query to a rich world. Half of the mutations know what a query is: they put in a name of the world, a type, an option.
#![no_main]

#[path = "../checks/mod.rs"]
#[allow(dead_code)]
mod checks;
mod query;

use std::cell::RefCell;
use std::path::Path;

use checks::answer::Worlds;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

thread_local! {
    static WORLDS: RefCell<Worlds> = RefCell::new(Worlds::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("world")));
}

fuzz_target!(|data: &[u8]| WORLDS.with_borrow_mut(|worlds| worlds.check(data)));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match seed % 2 {
        0 => fuzzer_mutate(data, size, max_size),
        _ => query::mutate(data, size, max_size, seed.into()),
    }
});
