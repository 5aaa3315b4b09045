//! Keys and DS records are those of BIND's and ldns's tools, in both directions.

use std::path::{Path, PathBuf};
use std::process::Command;

use signpost::model::{Algorithm, KeyRole, Name};
use signpost::sign::digest::{DigestType, ds_record, key_tag};
use signpost::sign::formats::{private_key, private_text, public_key, public_text};
use signpost::sign::{PrivateKey, Secret};

use crate::harness::{Signpost, find, http, run};

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
        done(
            "dnssec-signzone",
            &["-q", "-z", "-d", folder.path().to_str().unwrap(), "-o", "svc.example", "-f", signed, plain, stem.to_str().unwrap()],
        );
        done("dnssec-verify", &["-q", "-z", "-o", "svc.example", signed]);
        done("ldns-verify-zone", &[signed]);
    }
}

#[test]
fn delv_validates_what_imported_keys_sign_and_goes_on_in_a_roll() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    const ZONE: &str =
        "ns = [\"ns1.svc.example.\", \"ns2.svc.example.\"]\n[records]\nns1 = { A = [\"192.0.2.53\"] }\nns2 = { A = [\"192.0.2.54\"] }\n";
    for (algorithm, number) in [("ECDSAP256SHA256", 13), ("ED25519", 15)] {
        let signed = "[dnssec]\nzones = [\"svc.example\"]";
        let server = Signpost::start_on(&[], signed, &[("zones/svc.example.toml", ZONE)]);
        let call = |path: &str, body: serde_json::Value| {
            let (status, text) = http(server.api(), "POST", &format!("/v1/keys/svc.example/{path}"), &body.to_string()).unwrap();
            assert_eq!(status, 200, "{path}: {text}");
        };
        // Nobody was asked for a DS of the key that it made: another server's takes its place.
        let stem = run("dnssec-keygen", &["-q", "-K", at, "-a", algorithm, "-f", "KSK", "svc.example"]).trim().to_string();
        let text = |kind: &str| std::fs::read_to_string(file(folder.path(), &stem, kind)).unwrap();
        call("import", serde_json::json!({ "keys": [{ "private": text("private"), "public": text("key") }] }));
        let ds = server.get("/v1/keys/svc.example")["ds"][0].as_str().unwrap().to_string();
        let (_, fields) = ds.split_once(" DS ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        assert_eq!(fields[1], number.to_string());
        let anchors = file(folder.path(), &stem, "anchors");
        let anchor = format!("trust-anchors {{ svc.example. static-ds {} {} {} \"{}\"; }};\n", fields[0], fields[1], fields[2], fields[3]);
        std::fs::write(&anchors, anchor).unwrap();
        let validated = || {
            for question in [&["svc.example", "SOA"], &["svc.example", "DNSKEY"], &["svc.example", "CDS"], &["ns1.svc.example", "A"]] {
                let arguments = [&server.at()[..], &["-a".into(), anchors.display().to_string(), "+root=svc.example".into()]].concat();
                let said = run("delv", &[&arguments[..], &question.map(String::from)].concat());
                assert!(said.contains("; fully validated"), "{question:?}: {said}");
            }
        };
        validated();
        call("roll", serde_json::json!({ "key": "csk" }));
        let keys = server.get("/v1/keys/svc.example");
        assert_eq!(keys["keys"].as_array().unwrap().len(), 2, "{keys}");
        validated();
    }
}
