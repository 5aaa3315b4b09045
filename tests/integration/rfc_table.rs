//! The table of RFC sections against tests in `tests/README.md` is true: it is in order, names tests that there are, and leaves no RFC out
//! that the sources cite.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Rows of the tables below the heading `## {title}`, cell by cell.
fn rows(readme: &str, title: &str) -> Vec<Vec<String>> {
    let (_, below) = readme.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no heading {title}"));
    let section = below.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").map(String::from).collect::<Vec<_>>()).filter(|row| row[0].parse::<u32>().is_ok()).collect()
}

/// What is wrong with a test's name, `FILE::FUNCTION` or `TRANSCRIPT::QUESTION`.
fn missing(root: &Path, test: &str) -> Option<String> {
    let (file, name) = test.split_once("::").unwrap_or((test, ""));
    let path = if file.starts_with("src/") { root.join(file) } else { root.join("tests").join(file) };
    let Ok(text) = fs::read_to_string(&path) else { return Some(format!("{test}: there is no {}", path.display())) };
    if file.ends_with(".txt") {
        let asked = name.is_empty() || text.lines().any(|line| line.strip_prefix("> ") == Some(name));
        return (!asked).then(|| format!("{test}: nobody asks that"));
    }
    // The attribute stands in one of the lines above the function.
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = [format!("fn {name}("), format!("async fn {name}(")];
    let found = lines.iter().position(|line| begins.iter().any(|begin| line.starts_with(begin)));
    let marked = found.is_some_and(|at| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        above.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    });
    (!marked).then(|| format!("{test}: there is no such test"))
}

/// Sections as numbers, so that 10.1 stands behind 9.
fn order(row: &[String]) -> (u32, Vec<u32>) {
    (row[0].parse().unwrap(), row[1].split('.').filter_map(|part| part.parse().ok()).collect())
}

/// Numbers behind `RFC ` in a text.
fn cited(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.match_indices("RFC ").filter_map(|(at, word)| {
        let rest = &text[at + word.len()..];
        rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
    })
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|end| end == "rs") => {
                found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
            false => {}
        }
    }
}

#[test]
fn the_table_of_rfc_sections_is_in_order_and_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("tests/README.md")).unwrap();
    let rows = rows(&readme, "What shows which section of which RFC");
    assert!(rows.len() > 60, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let [_, _, asks, shown] = row.as_slice() else { panic!("four cells are expected: {row:?}") };
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        if asks.is_empty() || tests.is_empty() {
            wrong.push(format!("{row:?} has no test"));
        }
        wrong.extend(tests.into_iter().filter_map(|test| missing(root, test)));
    }
    let (_, below) = readme.split_once("\n## What no RFC asks, and what shows it\n").unwrap();
    let others: Vec<&str> = below.split("\n## ").next().unwrap().split('`').filter(|test| test.contains("::")).collect();
    assert!(others.len() > 10, "{} tests that no RFC asks for", others.len());
    wrong.extend(others.into_iter().filter_map(|test| missing(root, test)));
    for pair in rows.windows(2).filter(|pair| order(&pair[0]) > order(&pair[1])) {
        wrong.push(format!("{} §{} stands behind {} §{}", pair[1][0], pair[1][1], pair[0][0], pair[0][1]));
    }
    assert!(wrong.is_empty(), "tests/README.md:\n{}", wrong.join("\n"));
    assert!(missing(root, "integration/rfc_table.rs::nothing_of_that_name").is_some(), "a test that is not there is noticed");
    assert!(missing(root, "transcripts/static.txt::nobody.asks.this A").is_some(), "a question that is not there is noticed");
}

#[test]
fn every_rfc_that_the_sources_cite_has_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("tests/README.md")).unwrap();
    let numbers = |title: &str| rows(&readme, title).iter().map(|row| row[0].parse().unwrap()).collect::<BTreeSet<u32>>();
    let (shown, facts) = (numbers("What shows which section of which RFC"), numbers("Cited for a fact alone"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let mut used: BTreeMap<u32, &str> = BTreeMap::new();
    for (path, text) in &files {
        cited(text).for_each(|number| _ = used.entry(number).or_insert(path));
    }
    let mut wrong: Vec<String> = Vec::new();
    for (number, path) in used.iter().filter(|(number, _)| !shown.contains(number) && !facts.contains(number)) {
        wrong.push(format!("RFC {number} is cited in {path}: add a row with the test that shows it, or say for what fact it is cited"));
    }
    wrong.extend(facts.iter().filter(|number| !used.contains_key(number)).map(|number| format!("RFC {number}: nobody cites it any more")));
    wrong.extend(facts.intersection(&shown).map(|number| format!("RFC {number} has a test, so it is not cited for a fact alone")));
    assert!(wrong.is_empty(), "tests/README.md:\n{}", wrong.join("\n"));
}
