//! The house stands: every module uses only floors below its own, and the pure floors do no IO (DESIGN §2).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of each folder of `src/`. A module that is missing here, or a folder that is gone, fails the test.
const FLOORS: [(&str, u8); 21] = [
    ("model", 0),
    ("codec", 0),
    ("routing", 1),
    ("registry", 1),
    ("tsig", 1),
    ("snapshot", 2),
    ("wire", 3),
    ("sign", 3),
    ("simulate", 3),
    ("store", 3),
    ("transfer", 3),
    ("control", 4),
    ("config", 5),
    ("secondary", 5),
    ("probe", 5),
    ("server", 5),
    ("drill", 5),
    ("forward", 5),
    ("api", 5),
    ("cli", 5),
    ("telemetry", 5),
];

/// The roof joins the shells: it may use everything.
const ROOF: [&str; 4] = ["lib.rs", "main.rs", "serve.rs", "serve"];

/// What a pure floor must not name.
const IMPURE: [&str; 9] = ["std::fs", "std::io::", "tokio", "UdpSocket", "TcpStream", "Instant", "SystemTime", "getrandom", "std::thread"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Modules of this crate that a source names outside comments: `crate::model::…`, `use crate::{model, wire::…}`.
fn modules_named(source: &str) -> Vec<String> {
    let code: String = source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` and the crate's own name, which the binary uses, count as well.
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let mut word = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => named.push(std::mem::take(&mut word)),
                        _ if depth == 0 => word.push(c),
                        _ => {}
                    }
                }
                named.push(word);
            }
            None => named.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()),
        }
    }
    named
        .into_iter()
        .map(|word| word.trim().split("::").next().unwrap_or_default().trim().to_string())
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn every_floor_uses_only_floors_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floors: BTreeMap<&str, u8> = FLOORS.into();
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > FLOORS.len(), "the sources are where they were");
    let mut wrong = Vec::new();
    for path in &files {
        let relative = path.strip_prefix(&root).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        if ROOF.contains(&first) {
            continue;
        }
        let own = *floors.get(first).unwrap_or_else(|| panic!("src/{first} stands on no floor: add it to FLOORS"));
        for module in modules_named(&fs::read_to_string(path).unwrap()) {
            match floors.get(module.as_str()) {
                _ if module == first => {}
                Some(floor) if *floor < own => {}
                Some(floor) => wrong.push(format!("{}: floor {own} uses crate::{module}, floor {floor}", relative.display())),
                None => wrong.push(format!("{}: crate::{module} is no floor; name the module it comes from", relative.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "imports that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn pure_floors_do_no_io_and_read_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for floor in ["model", "codec", "routing", "registry", "tsig", "snapshot", "wire", "sign", "simulate", "transfer"] {
        let mut files = Vec::new();
        sources(&root.join(floor), &mut files);
        for path in files {
            let source = fs::read_to_string(&path).unwrap();
            let product = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            for (number, line) in product.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for word in IMPURE.iter().filter(|word| code.contains(*word)) {
                    wrong.push(format!("{}:{}: {word}", path.strip_prefix(&root).unwrap().display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "pure floors name what only shells may:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let named = modules_named(
        "use crate::model::Label; use crate::{wire::{answer, Query}, store};\n// crate::api\nlet x = crate::routing::decide();",
    );
    assert_eq!(named, ["model", "wire", "store", "routing"]);
}
