//! Every seed of the fuzz targets goes through the checks that the fuzzers apply (tests/fuzz), so that what they found stays mended
//! without them.

use std::path::{Path, PathBuf};

use crate::checks::answer::Worlds;
use crate::checks::ask::Asker;
use crate::checks::update::Updates;
use crate::checks::{transfer, zone};

/// Runs each seed of a target; the file that fails is named.
fn each(folder: &str, mut check: impl FnMut(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        let octets = std::fs::read(file).unwrap();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&octets)));
        assert!(checked.is_ok(), "{}", file.display());
    }
    files.len()
}

#[test]
fn queries_of_the_corpus_are_answered_well() {
    let mut worlds = Worlds::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/world"));
    assert!(each("answer", |octets| worlds.check(octets)) > 50);
}

#[test]
fn master_files_of_the_corpus_are_refused_or_served() {
    let mut asker = Asker::new();
    assert!(each("zone_file", |octets| zone::check("z.test.zone", octets, &mut asker)) > 20);
}

#[test]
fn toml_zones_of_the_corpus_are_refused_or_served() {
    let mut asker = Asker::new();
    assert!(each("zone_toml", |octets| zone::check("z.test.toml", octets, &mut asker)) > 20);
}

#[test]
fn updates_of_the_corpus_are_refused_or_served() {
    let mut updates = Updates::new();
    assert!(each("update", |octets| updates.check(octets)) > 20);
}

#[test]
fn messages_of_other_servers_in_the_corpus_are_read_and_trusted_by_signature_alone() {
    assert!(each("transfer", transfer::check) >= 15);
}
