//! `keys`: the keys of signed zones, their DS for the parent, and how one follows another.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::Page;
use super::arguments::{KeysOrder, UnsignArguments};
use super::connection::Connection;
use super::errand::{now, shown};
use super::failure::Failure;
use super::table::{Cell, FAINT, GOOD, ODD, Table};
use super::views::{length, page, read};
use crate::model::{Name, Timestamp};

/// The most that is read of a key file.
const LARGEST: u64 = 64 * 1024;

#[derive(Debug, Deserialize)]
struct KeyList {
    zones: Vec<Zone>,
}

#[derive(Debug, Deserialize)]
struct Zone {
    zone: String,
    keys: Vec<Key>,
    ds: Vec<String>,
    ds_wanted: bool,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Key {
    tag: u16,
    role: String,
    algorithm: String,
    stage: String,
    #[serde(default)]
    since: Option<Timestamp>,
    #[serde(default)]
    next: Option<Next>,
}

#[derive(Debug, Deserialize)]
struct Next {
    step: String,
    #[serde(default)]
    at: Option<Timestamp>,
}

/// Carries out `keys` and its subcommands.
pub(super) async fn carry_out(order: Option<KeysOrder>, server: &Connection) -> Result<Page, Failure> {
    match order {
        None => shown(server, list(server.get("/v1/keys", &[]).await?.body, now())),
        Some(KeysOrder::Ds { zone }) => shown(server, ds(server.get(&path(&zone, ""), &[]).await?.body)),
        Some(KeysOrder::Roll { zone, key }) => {
            let reply = server.post(&path(&zone, "/roll"), &json!({ "key": key.as_str() })).await?;
            shown(server, one(reply.body, now(), &format!("a new {} of {zone} is published", key.as_str())))
        }
        Some(KeysOrder::DsSeen { zone, tag }) => {
            let reply = server.post(&path(&zone, "/ds-seen"), &json!({ "tag": tag })).await?;
            shown(server, one(reply.body, now(), &format!("key {tag} of {zone} is in use")))
        }
        Some(KeysOrder::Unsign(UnsignArguments { zone, ds_gone, undo })) => {
            let (step, said) = match (ds_gone, undo) {
                (true, _) => ("gone", format!("the parent has no DS of {zone} any more")),
                (_, true) => ("stay", format!("{zone} stays signed")),
                _ => ("ask", format!("{zone} asks its parent to remove every DS")),
            };
            let reply = server.post(&path(&zone, "/unsign"), &json!({ "step": step })).await?;
            shown(server, one(reply.body, now(), &said))
        }
        Some(KeysOrder::Import { zone, files }) => {
            let reply = server.post(&path(&zone, "/import"), &json!({ "keys": import(&files)? })).await?;
            shown(server, one(reply.body, now(), &format!("the keys of {zone} are kept")))
        }
    }
}

/// The path of a zone: what its name holds beyond letters, digits, `-`, `_` and `.` is written as percent signs have it.
fn path(zone: &Name, what: &str) -> String {
    let mut path = String::from("/v1/keys/");
    for octet in zone.to_string().bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => path.push(octet.into()),
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path + what
}

/// Keys from files: a `.private` file goes with the `.key` file of its name, whichever of them is given; PEM stands alone.
fn import(files: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    let text = |path: &Path| {
        let failed = |reason: String| Failure::Input { path: path.to_owned(), reason };
        match std::fs::metadata(path).map_err(|e| failed(e.to_string()))?.len() {
            0..=LARGEST => std::fs::read_to_string(path).map_err(|e| failed(e.to_string())),
            _ => Err(failed("is larger than any key".into())),
        }
    };
    let is = |path: &Path, kind: &str| path.extension().is_some_and(|end| end == kind);
    let private: BTreeSet<PathBuf> =
        files.iter().map(|path| if is(path, "key") { path.with_extension("private") } else { path.clone() }).collect();
    let each = |path: &PathBuf| {
        let public = path.with_extension("key");
        let public = if is(path, "private") && public.exists() { Some(text(&public)?) } else { None };
        let mut key = json!({ "private": text(path)? });
        if let Some(public) = public {
            key["public"] = json!(public);
        }
        Ok(key)
    };
    private.iter().map(each).collect()
}

fn list(document: Value, now: Timestamp) -> Result<Page, serde_json::Error> {
    let list: KeyList = read(&document)?;
    if list.zones.is_empty() {
        return Ok(page(document, "no zone is signed: [dnssec] zones in signpost.toml says which are\n".into()));
    }
    let text = rows(&list.zones, now) + &list.zones.iter().map(beneath).collect::<String>();
    Ok(page(document, text))
}

/// The keys of one zone, below what was done.
fn one(document: Value, now: Timestamp, done: &str) -> Result<Page, serde_json::Error> {
    let zone: Zone = read(&document)?;
    let text = format!("{done}\n\n{}{}", rows(std::slice::from_ref(&zone), now), beneath(&zone));
    Ok(page(document, text))
}

fn rows(zones: &[Zone], now: Timestamp) -> String {
    let mut table = Table::new(["ZONE", "TAG", "ROLE", "ALGORITHM", "STATE", "FOR", "NEXT", "IN"]);
    for (zone, key) in zones.iter().flat_map(|zone| zone.keys.iter().map(move |key| (zone, key))) {
        let style = match key.stage.as_str() {
            "active" => GOOD,
            "retired" => FAINT,
            _ => ODD,
        };
        let next = key.next.as_ref();
        let when = next.map_or(String::new(), |next| match next.at {
            None => "when it is seen".into(),
            Some(at) if at <= now => "now".into(),
            Some(at) => length(at.since(now)),
        });
        table.row([
            Cell::new(&zone.zone),
            Cell::number(key.tag),
            Cell::new(&key.role),
            Cell::new(&key.algorithm),
            Cell::new(&key.stage).styled(style),
            Cell::new(key.since.map_or(String::new(), |since| length(now.since(since)))),
            Cell::new(next.map_or("", |next| meaning(&next.step))),
            Cell::new(when),
        ]);
    }
    table.render()
}

fn meaning(step: &str) -> &str {
    match step {
        "introduce" => "a new one follows",
        "activate" => "signs the zone",
        "submit" => "parent is asked for its DS",
        "ds_seen" => "DS at the parent",
        "remove" => "goes",
        other => other,
    }
}

/// What belongs below the table: the DS for the parent, and what to do.
fn beneath(zone: &Zone) -> String {
    let mut text = String::new();
    if let Some(note) = &zone.note {
        text.push_str(&format!("\n{}\n", super::table::plain(note)));
    }
    let due = zone.ds_wanted && zone.keys.iter().any(|key| key.stage == "submitted");
    if let Some(ds) = zone.ds.first().filter(|_| due) {
        text.push_str(&format!("  {}\n", super::table::plain(ds)));
    }
    text
}

/// DS records alone, one to a line, for programs; whatever else there is to say is a comment.
fn ds(document: Value) -> Result<Page, serde_json::Error> {
    let zone: Zone = read(&document)?;
    let mut text = String::new();
    if let Some(note) = zone.note.as_ref() {
        text.push_str(&format!("; {}\n", super::table::plain(note)));
    }
    for ds in &zone.ds {
        text.push_str(&format!("{}\n", super::table::plain(ds)));
    }
    Ok(page(document, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(page: &Page) -> String {
        let text = anstream::adapter::strip_str(&page.text).to_string();
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    fn document() -> Value {
        json!({
            "zone": "svc.example.", "signed": true, "ds_wanted": true,
            "ds": ["svc.example. IN DS 12345 13 2 AB", "svc.example. IN DS 12345 13 4 CD"],
            "note": "give the DS of key 12345 to the parent",
            "keys": [
                { "tag": 12345, "role": "ksk", "algorithm": "ecdsap256sha256", "stage": "submitted", "since": "2026-11-24T10:00:00Z",
                  "made": "2026-11-24T09:00:00Z", "next": { "step": "ds_seen" }, "dnskey": "" },
                { "tag": 7, "role": "zsk", "algorithm": "ecdsap256sha256", "stage": "active", "since": "2026-11-24T09:00:00Z",
                  "made": "2026-11-24T09:00:00Z", "next": { "step": "introduce", "at": "2026-11-25T12:00:00Z" }, "dnskey": "" },
            ],
        })
    }

    #[test]
    fn keys_are_a_table_with_what_comes_next() {
        let noon = Timestamp::try_from("2026-11-24T12:00:00Z".to_string()).unwrap();
        let expected = "\
ZONE            TAG  ROLE  ALGORITHM        STATE      FOR  NEXT               IN
svc.example.  12345  ksk   ecdsap256sha256  submitted  2h   DS at the parent   when it is seen
svc.example.      7  zsk   ecdsap256sha256  active     3h   a new one follows  1d

give the DS of key 12345 to the parent
  svc.example. IN DS 12345 13 2 AB
";
        let shown = plain(&list(json!({ "zones": [document()] }), noon).unwrap());
        assert_eq!(shown, expected, "\n{shown}");
        let done = plain(&one(document(), noon, "a new ksk of svc.example. is published").unwrap());
        assert!(done.starts_with("a new ksk of svc.example. is published\n\nZONE"), "{done}");
        assert!(plain(&list(json!({ "zones": [] }), noon).unwrap()).contains("[dnssec] zones"));
    }

    #[test]
    fn ds_records_stand_alone() {
        let shown = plain(&ds(document()).unwrap());
        assert_eq!(shown, "; give the DS of key 12345 to the parent\nsvc.example. IN DS 12345 13 2 AB\nsvc.example. IN DS 12345 13 4 CD\n");
    }

    #[test]
    fn files_of_one_key_go_together_and_names_are_no_paths() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (private, public) = (file("Ka.+013+00001.private", "secret"), file("Ka.+013+00001.key", "record"));
        let pem = file("key.pem", "pem");
        let both = json!([{ "private": "secret", "public": "record" }, { "private": "pem" }]);
        assert_eq!(json!(import(&[private.clone(), public.clone(), pem.clone()]).unwrap()), both);
        assert_eq!(json!(import(&[public, pem]).unwrap()), both);
        assert!(matches!(import(&[folder.path().join("no.key")]), Err(Failure::Input { .. })));
        let zone = |text: &str| path(&Name::parse(text).unwrap(), "/roll");
        assert_eq!(zone("svc.example"), "/v1/keys/svc.example./roll");
        assert_eq!(zone("0/25.2.0.192.in-addr.arpa"), "/v1/keys/0%2F25.2.0.192.in-addr.arpa./roll");
    }
}
