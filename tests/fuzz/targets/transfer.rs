//! Octets as messages of other servers: TSIG, requests for copies of zones, replies to NOTIFY.
#![no_main]

#[path = "../checks/mod.rs"]
#[allow(dead_code)]
mod checks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| checks::transfer::check(data));
