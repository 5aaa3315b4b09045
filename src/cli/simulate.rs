//! `simulate`: who would be served where without a part of the world, and what to be warned of.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Page;
use super::arguments::SimulateArguments;
use super::connection::Connection;
use super::errand::shown;
use super::failure::Failure;
use super::table::{BAD, Cell, FAINT, GOOD, HEADING, ODD, Table, plain, push};
use super::views::{page, read};
use crate::simulate::percent;

/// Names that are shown with their moves; the others are counted.
const NAMES: usize = 20;

#[derive(Debug, Deserialize)]
struct Report {
    lost: Vec<String>,
    clients: usize,
    population: usize,
    total: Name,
    names: Vec<Name>,
}

#[derive(Debug, Deserialize)]
struct Name {
    name: String,
    moved: f64,
    emptied: f64,
    fail_open: f64,
    moves: Vec<Move>,
    exceeded: Vec<Exceeded>,
    #[serde(default)]
    before: Option<Latency>,
    #[serde(default)]
    after: Option<Latency>,
    #[serde(default)]
    listed: Vec<Client>,
}

#[derive(Debug, Deserialize)]
struct Move {
    from: String,
    to: String,
    share: f64,
    #[serde(default)]
    before_ms: Option<f64>,
    #[serde(default)]
    after_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Exceeded {
    what: String,
    share: f64,
    capacity: f64,
}

#[derive(Debug, Deserialize)]
struct Latency {
    mean_ms: f64,
    p95_ms: f64,
}

#[derive(Debug, Deserialize)]
struct Client {
    client: String,
    from: BTreeMap<String, f64>,
    to: BTreeMap<String, f64>,
    #[serde(default)]
    before_ms: Option<f64>,
    #[serde(default)]
    after_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Overview {
    losses: Vec<Loss>,
}

#[derive(Debug, Deserialize)]
struct Loss {
    lost: String,
    moved: f64,
    warnings: Vec<String>,
}

/// Carries out `simulate`.
pub(super) async fn carry_out(arguments: SimulateArguments, server: &Connection) -> Result<Page, Failure> {
    let SimulateArguments { lose, names, clients } = arguments;
    if lose.is_empty() {
        return shown(server, overview(server.get("/v1/simulate", &[]).await?.body));
    }
    let mut body = json!({ "lose": lose.iter().map(ToString::to_string).collect::<Vec<_>>() });
    for (key, texts) in [("names", names), ("clients", clients)] {
        if !texts.is_empty() {
            body[key] = json!(texts);
        }
    }
    shown(server, report(server.post("/v1/simulate", &body).await?.body))
}

/// Each region lost by itself.
fn overview(document: Value) -> Result<Page, serde_json::Error> {
    let Overview { losses } = read(&document)?;
    if losses.is_empty() {
        return Ok(page(document, "there are no regions yet\n".into()));
    }
    let mut table = Table::new(["WITHOUT", "CLIENTS MOVED", "WARNINGS"]);
    for loss in &losses {
        let warnings = Cell::number(loss.warnings.len()).styled(if loss.warnings.is_empty() { GOOD } else { ODD });
        table.row([Cell::new(&loss.lost), Cell::number(percent(loss.moved)), warnings]);
    }
    let mut text = table.render();
    let warnings: Vec<&String> = losses.iter().flat_map(|loss| &loss.warnings).collect();
    if !warnings.is_empty() {
        text.push('\n');
    }
    warnings.into_iter().for_each(|said| warning(&mut text, said));
    text.push_str("\n`signpost simulate --lose KIND/NAME` shows who moves where\n");
    Ok(page(document, text))
}

/// One loss: a table of moves for each name.
fn report(document: Value) -> Result<Page, serde_json::Error> {
    let report: Report = read(&document)?;
    let mut text = String::new();
    let lost = plain(&report.lost.join(" and "));
    push(&mut text, &format!("without {lost}"), HEADING);
    let looked = match report.clients == report.population {
        true => format!("{} client prefixes", report.clients),
        false => format!("{} of {} client prefixes", report.clients, report.population),
    };
    push(&mut text, &format!(", {looked}\n"), FAINT);
    let (moving, resting): (Vec<&Name>, Vec<&Name>) = report.names.iter().partition(|name| name.is_worth_showing());
    for name in moving.iter().take(NAMES) {
        text.push('\n');
        name.show(&mut text);
    }
    match (moving.len().saturating_sub(NAMES), resting.len()) {
        (0, 0) => {}
        (0, resting) => text.push_str(&format!("\nnames whose clients all stay: {resting}\n")),
        (more, resting) => text.push_str(&format!("\nnames with fewer moves: {more}; names whose clients all stay: {resting}\n")),
    }
    if report.names.len() > 1 {
        text.push_str(&format!("\non average over all names {} of the clients move", percent(report.total.moved)));
        text.push_str(&match (&report.total.before, &report.total.after) {
            (Some(before), Some(after)) => format!(", and {} ms become {} ms\n", ms(before.mean_ms), ms(after.mean_ms)),
            _ => "\n".into(),
        });
    }
    // Warnings stand last, where they are read.
    let warnings: String = report.names.iter().map(|name| name.warnings(&lost)).collect();
    if !warnings.is_empty() {
        text.push('\n');
        text.push_str(&warnings);
    }
    Ok(page(document, text))
}

impl Name {
    fn is_worth_showing(&self) -> bool {
        !self.moves.is_empty() || !self.listed.is_empty() || self.emptied > 0.0 || self.fail_open > 0.0 || !self.exceeded.is_empty()
    }

    fn show(&self, text: &mut String) {
        push(text, &plain(&self.name), HEADING);
        text.push_str(&format!(": {} of the clients move", percent(self.moved)));
        text.push_str(&match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                let told = |latency: &Latency| format!("{} ms (95 of 100 below {})", ms(latency.mean_ms), ms(latency.p95_ms));
                format!("; from {} to {}\n", told(before), told(after))
            }
            _ => "\n".into(),
        });
        let far = |ms_known: Option<f64>| Cell::number(ms_known.map_or(String::new(), |known| format!("{} ms", ms(known))));
        if self.listed.is_empty() {
            let mut table = Table::new(["FROM", "TO", "CLIENTS", "BEFORE", "AFTER"]).indented(2);
            for m in &self.moves {
                table.row([place(&m.from), place(&m.to), Cell::number(percent(m.share)), far(m.before_ms), far(m.after_ms)]);
            }
            text.push_str(&table.render());
            return;
        }
        let mut table = Table::new(["CLIENT", "FROM", "TO", "BEFORE", "AFTER"]).indented(2);
        for client in &self.listed {
            let to = match client.from == client.to {
                true => Cell::new("stays").styled(FAINT),
                false => places(&client.to),
            };
            table.row([Cell::new(&client.client), places(&client.from), to, far(client.before_ms), far(client.after_ms)]);
        }
        text.push_str(&table.render());
    }

    fn warnings(&self, lost: &str) -> String {
        let (mut lines, name) = (String::new(), &self.name);
        if self.emptied > 0.0 {
            warning(&mut lines, &format!("without {lost}, {} of the clients of {name} get no answer", percent(self.emptied)));
        }
        if self.fail_open > 0.0 {
            let share = percent(self.fail_open);
            warning(&mut lines, &format!("without {lost}, nothing healthy is left of {name} for {share} of its clients"));
        }
        for Exceeded { what, share, capacity } in &self.exceeded {
            let (share, capacity) = (percent(*share), percent(*capacity));
            warning(
                &mut lines,
                &format!("without {lost}, {what} serves {share} of the clients of {name}, and says it can serve {capacity}"),
            );
        }
        lines
    }
}

fn warning(text: &mut String, said: &str) {
    push(text, "warning:", ODD);
    text.push_str(&format!(" {}\n", plain(said)));
}

fn place(name: &str) -> Cell {
    let cell = Cell::new(name);
    if name == "nothing" { cell.styled(BAD) } else { cell }
}

/// `region/eu`, or where it is several: `region/eu 75.0 %, region/us 25.0 %`.
fn places(places: &BTreeMap<String, f64>) -> Cell {
    match places.keys().next() {
        Some(only) if places.len() == 1 => place(only),
        _ => Cell::new(places.iter().map(|(name, share)| format!("{name} {}", percent(*share))).collect::<Vec<_>>().join(", ")),
    }
}

fn ms(ms: f64) -> String {
    format!("{ms:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: &Page) -> String {
        let text = anstream::adapter::strip_str(&page.text).to_string();
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    #[test]
    fn a_loss_is_a_table_of_moves_for_each_name_and_a_line_for_each_warning() {
        let still = json!({ "name": "still.test.", "moved": 0.0, "emptied": 0.0, "fail_open": 0.0, "moves": [], "exceeded": [] });
        let web = json!({
            "name": "web.test.", "moved": 0.375, "emptied": 0.0625, "fail_open": 0.0,
            "moves": [
                { "from": "region/eu-west", "to": "region/us-east", "share": 0.3125, "before_ms": 12.4, "after_ms": 91.0 },
                { "from": "region/eu-west", "to": "nothing", "share": 0.0625 },
                { "from": "region/eu-west", "to": "region/asia", "share": 0.0004 },
            ],
            "exceeded": [{ "what": "region/us-east", "share": 0.7, "capacity": 0.6 }],
            "before": { "mean_ms": 14.0, "p95_ms": 30.0 }, "after": { "mean_ms": 44.0, "p95_ms": 91.0 },
        });
        let total = json!({ "name": "", "moved": 0.1875, "emptied": 0.03, "fail_open": 0.0, "moves": [], "exceeded": [],
                            "before": { "mean_ms": 14.0, "p95_ms": 30.0 }, "after": { "mean_ms": 44.0, "p95_ms": 91.0 } });
        let document =
            json!({ "lost": ["region/eu-west"], "generation": 7, "clients": 16, "population": 16, "total": total, "names": [web, still] });
        let page = report(document.clone()).unwrap();
        let expected = "\
without region/eu-west, 16 client prefixes

web.test.: 37.5 % of the clients move; from 14 ms (95 of 100 below 30) to 44 ms (95 of 100 below 91)
  FROM            TO              CLIENTS  BEFORE  AFTER
  region/eu-west  region/us-east   31.2 %   12 ms  91 ms
  region/eu-west  nothing           6.2 %
  region/eu-west  region/asia     < 0.1 %

names whose clients all stay: 1

on average over all names 18.8 % of the clients move, and 14 ms become 44 ms

warning: without region/eu-west, 6.2 % of the clients of web.test. get no answer
warning: without region/eu-west, region/us-east serves 70.0 % of the clients of web.test., and says it can serve 60.0 %
";
        assert_eq!(text(&page), expected, "\n{}", text(&page));
        assert_eq!(page.document, document);
    }

    #[test]
    fn clients_that_were_asked_for_are_listed() {
        let name = json!({
            "name": "web.test.", "moved": 0.5, "emptied": 0.0, "fail_open": 0.0, "moves": [], "exceeded": [],
            "listed": [
                { "client": "10.1.0.0/24", "from": { "region/eu": 1.0 }, "to": { "region/us": 0.75, "records": 0.25 }, "before_ms": 5.0 },
                { "client": "10.2.0.0/24", "from": { "region/us": 1.0 }, "to": { "region/us": 1.0 }, "before_ms": 6.0, "after_ms": 6.0 },
            ],
        });
        let document = json!({ "lost": ["region/eu"], "generation": 7, "clients": 2, "population": 2, "total": name, "names": [name] });
        let expected = "\
without region/eu, 2 client prefixes

web.test.: 50.0 % of the clients move
  CLIENT       FROM       TO                                BEFORE  AFTER
  10.1.0.0/24  region/eu  records 25.0 %, region/us 75.0 %    5 ms
  10.2.0.0/24  region/us  stays                               6 ms   6 ms
";
        assert_eq!(text(&report(document).unwrap()), expected);
    }

    #[test]
    fn the_overview_has_a_line_for_each_region() {
        let said = "without region/us, 50.0 % of the clients of web.test. get no answer";
        let document = json!({ "generation": 7, "losses": [
            { "lost": "region/eu", "moved": 0.5, "warnings": [] },
            { "lost": "region/us", "moved": 0.5, "warnings": [said] },
        ] });
        let expected = format!(
            "\
WITHOUT    CLIENTS MOVED  WARNINGS
region/eu         50.0 %         0
region/us         50.0 %         1

warning: {said}

`signpost simulate --lose KIND/NAME` shows who moves where
"
        );
        assert_eq!(text(&overview(document).unwrap()), expected);
    }
}
