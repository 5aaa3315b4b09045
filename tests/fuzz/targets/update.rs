//! Octets as an update of a zone that has something of everything.
#![no_main]

#[path = "../checks/mod.rs"]
#[allow(dead_code)]
mod checks;

use std::cell::RefCell;

use checks::update::Updates;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static UPDATES: RefCell<Updates> = RefCell::new(Updates::new());
}

fuzz_target!(|data: &[u8]| UPDATES.with_borrow_mut(|updates| updates.check(data)));
