//! Keys and DS records are those of BIND's and ldns's tools, in both directions.

use std::path::{Path, PathBuf};
use std::process::Command;

use signpost::model::{Algorithm, KeyRole, Name};
use signpost::sign::digest::{DigestType, ds_record, key_tag};
use signpost::sign::formats::{private_key, private_text, public_key, public_text};
use signpost::sign::{PrivateKey, Secret};

use crate::harness::{find, run};

/// A text in which blanks, case and TTLs do not count.
fn plain(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| *word != "3600").collect::<Vec<_>>().join(" ").to_ascii_uppercase();
    // The digest may be written in pieces.
    match words.rsplit_once(" 2 ").or(words.rsplit_once(" 4 ")) {
        Some((head, digest)) => format!("{head} {}", digest.replace(' ', "")),
        None => words,
    }
}

/// Runs a program that must succeed.
fn done(program: &str, arguments: &[&str]) {
    let output = Command::new(find(program)).args(arguments).env("LC_ALL", "C").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

fn file(folder: &Path, stem: &str, kind: &str) -> PathBuf {
    folder.join(format!("{stem}.{kind}"))
}

#[test]
fn keys_of_other_servers_are_read_with_their_tags_and_ds() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let zone = "svc.example";
    let mut stems = Vec::new();
    for algorithm in ["ECDSAP256SHA256", "ED25519"] {
        for flags in [&["-f", "KSK"][..], &[]] {
            let arguments = [&["-q", "-K", at, "-a", algorithm][..], flags, &[zone]].concat();
            stems.push(run("dnssec-keygen", &arguments).trim().to_string());
        }
    }
    for stem in &stems {
        let text = |kind: &str| std::fs::read_to_string(file(folder.path(), stem, kind)).unwrap();
        let (key, record) = (private_key(&text("private")).unwrap(), public_key(&text("key")).unwrap());
        record.matches(&Name::parse(zone).unwrap(), &key).unwrap();
        let role = if record.is_entry() { KeyRole::Ksk } else { KeyRole::Zsk };
        let dnskey = key.dnskey(role);
        assert!(stem.ends_with(&format!("+{:05}", key_tag(&dnskey))), "{stem}: {}", key_tag(&dnskey));
        for (name, digest) in [("SHA-256", DigestType::Sha256), ("SHA-384", DigestType::Sha384)] {
            let theirs = run("dnssec-dsfromkey", &["-a", name, file(folder.path(), stem, "key").to_str().unwrap()]);
            let ours = ds_record(&record.owner, &dnskey, digest);
            assert_eq!(plain(&ours), plain(&theirs), "{stem} {name}");
        }
    }
}

#[test]
fn keys_that_are_kept_here_sign_a_zone_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let apex = Name::parse("svc.example").unwrap();
    for algorithm in Algorithm::ALL {
        let key = PrivateKey::new(algorithm, Secret([77; 32])).unwrap();
        let stem = format!("Ksvc.example.+{:03}+{:05}", algorithm.number(), key_tag(&key.dnskey(KeyRole::Csk)));
        std::fs::write(file(folder.path(), &stem, "private"), private_text(&key)).unwrap();
        std::fs::write(file(folder.path(), &stem, "key"), public_text(&apex, KeyRole::Csk, &key)).unwrap();
        let zone = "$TTL 300\nsvc.example. SOA ns1 host 1 7200 900 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n";
        let include = format!("$INCLUDE {}\n", file(folder.path(), &stem, "key").display());
        let (plain, signed) = (folder.path().join("plain"), folder.path().join("signed"));
        std::fs::write(&plain, format!("$ORIGIN svc.example.\n{zone}{include}")).unwrap();
        let (plain, signed) = (plain.to_str().unwrap(), signed.to_str().unwrap());
        let stem = file(folder.path(), &stem, "private");
        done("dnssec-signzone", &["-q", "-z", "-o", "svc.example", "-f", signed, plain, stem.to_str().unwrap()]);
        done("dnssec-verify", &["-q", "-z", "-o", "svc.example", signed]);
        done("ldns-verify-zone", &[signed]);
    }
}
