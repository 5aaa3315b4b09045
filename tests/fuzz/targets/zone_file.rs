//! A text as a master file.
#![no_main]

#[path = "../checks/mod.rs"]
#[allow(dead_code)]
mod checks;

use std::cell::RefCell;

use checks::ask::Asker;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static ASKER: RefCell<Asker> = RefCell::new(Asker::new());
}

fuzz_target!(|data: &[u8]| ASKER.with_borrow_mut(|asker| checks::zone::check("z.test.zone", data, asker)));
