//! `drills`: what is defined, what was run, and a drill of its own.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Page;
use super::arguments::{DrillArguments, DrillsOrder};
use super::connection::Connection;
use super::errand::{now, shown};
use super::failure::Failure;
use super::table::{BAD, Cell, FAINT, GOOD, ODD, Table};
use super::views::{length, page, read};
use crate::model::{DrillFields, Timestamp};

/// Runs that the list shows.
const RUNS: usize = 10;
/// The form of a report for people.
const MARKDOWN: &str = "text/markdown";

#[derive(Debug, Deserialize)]
struct DrillList {
    drills: Vec<Defined>,
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Defined {
    name: String,
    lose: String,
    #[serde(default)]
    schedule: Option<String>,
    #[serde(default)]
    next: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Run {
    run: String,
    lose: String,
    state: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    author: String,
    started: Timestamp,
    #[serde(default)]
    ended: Option<Timestamp>,
}

/// Carries out `drills` and its subcommands.
pub(super) async fn carry_out(order: Option<DrillsOrder>, server: &Connection) -> Result<Page, Failure> {
    match order {
        None => shown(server, list(server.get("/v1/drills", &[]).await?.body, now())),
        Some(DrillsOrder::Run(arguments)) => {
            let reply = server.post("/v1/drills", &body(arguments)).await?;
            let line = |run: &Run| {
                let name = &run.run;
                format!(
                    "drill {name} has begun: {} goes out of answers\n`signpost drills show {name}` reports, `signpost drills stop {name}` ends it\n",
                    run.lose
                )
            };
            shown(server, said(reply.body, line))
        }
        Some(DrillsOrder::Show { run }) => {
            let path = path(&run)?;
            let document = server.get(&path, &[]).await?.body;
            Ok(Page { text: server.get_text(&path, MARKDOWN).await?, document })
        }
        Some(DrillsOrder::Stop { run }) => {
            let reply = server.delete(&path(&run)?).await?;
            shown(server, said(reply.body, |run| format!("drill {} is stopped: clients are led back to {}\n", run.run, run.lose)))
        }
    }
}

/// The path of a run. Its name comes from the server and holds nothing that means anything in a URL.
fn path(run: &str) -> Result<String, Failure> {
    let is_name = !run.is_empty() && run.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    match is_name {
        true => Ok(format!("/v1/drills/{run}")),
        false => Err(Failure::usage(format!("{run:?} is no run; `signpost drills` lists them"))),
    }
}

fn body(arguments: DrillArguments) -> Value {
    let DrillArguments { name, lose, ramp, hold, lift } = arguments;
    match lose {
        None => json!({ "name": name }),
        Some(lose) => {
            let drill = DrillFields::new(lose);
            json!(DrillFields { ramp, lift, hold: hold.unwrap_or(drill.hold), ..drill })
        }
    }
}

fn said(document: Value, line: impl Fn(&Run) -> String) -> Result<Page, serde_json::Error> {
    let text = line(&read(&document)?);
    Ok(page(document, text))
}

fn list(document: Value, now: Timestamp) -> Result<Page, serde_json::Error> {
    let list: DrillList = read(&document)?;
    let mut text = String::new();
    if list.drills.is_empty() {
        text.push_str(
            "no drills are defined: [drills.NAME] in signpost.toml defines one, or run `signpost drills run --lose KIND/NAME` for once\n",
        );
    } else {
        let mut table = Table::new(["DRILL", "LOSES", "WHEN", "NEXT IN"]);
        for drill in &list.drills {
            table.row([
                Cell::new(&drill.name),
                Cell::new(&drill.lose),
                Cell::new(drill.schedule.as_deref().unwrap_or("by hand")),
                Cell::new(drill.next.map_or("".into(), |next| length(next.since(now)))),
            ]);
        }
        text.push_str(&table.render());
    }
    if !list.runs.is_empty() {
        text.push('\n');
        let mut table = Table::new(["RUN", "LOSES", "STATE", "AGO", "TOOK", "BY", "WHY"]);
        for run in list.runs.iter().take(RUNS) {
            let style = match run.state.as_str() {
                "done" => GOOD,
                "aborted" | "refused" => BAD,
                "skipped" => FAINT,
                _ => ODD,
            };
            table.row([
                Cell::new(&run.run),
                Cell::new(&run.lose),
                Cell::new(&run.state).styled(style),
                Cell::new(length(now.since(run.started))),
                Cell::new(length(run.ended.unwrap_or(now).since(run.started))),
                Cell::new(&run.author),
                Cell::new(&run.why),
            ]);
        }
        text.push_str(&table.render());
    }
    Ok(page(document, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drills_and_runs_are_two_tables() {
        let noon = Timestamp::try_from("2026-11-24T12:00:00Z".to_string()).unwrap();
        let run = |name: &str, state: &str, why: &str| {
            json!({ "run": format!("20261124T100000Z-{name}"), "name": name, "lose": "region/eu-west", "state": state, "why": why,
                    "author": "schedule", "started": "2026-11-24T10:00:00Z", "ended": "2026-11-24T10:35:00Z" })
        };
        let document = json!({
            "drills": [
                { "name": "evacuate-eu", "lose": "region/eu-west", "hold": "15m", "schedule": "Tue 10:00", "next": "2026-12-01T10:00:00Z" },
                { "name": "x", "lose": "service/web", "hold": "15m" },
            ],
            "runs": [run("evacuate-eu", "aborted", "the metric is 0.02, above 0.01"), run("x", "done", "")],
        });
        let page = list(document.clone(), noon).unwrap();
        let text = anstream::adapter::strip_str(&page.text).to_string();
        let expected = "\
DRILL        LOSES           WHEN       NEXT IN
evacuate-eu  region/eu-west  Tue 10:00  6d22h
x            service/web     by hand

RUN                           LOSES           STATE    AGO  TOOK  BY        WHY
20261124T100000Z-evacuate-eu  region/eu-west  aborted  2h   35m   schedule  the metric is 0.02, above 0.01
20261124T100000Z-x            region/eu-west  done     2h   35m   schedule
";
        let trimmed: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        assert_eq!(trimmed, expected, "\n{text}");
        assert_eq!(page.document, document);
    }

    #[test]
    fn a_run_is_a_name_and_no_path() {
        assert_eq!(path("20261124T100000Z-evacuate-eu").unwrap(), "/v1/drills/20261124T100000Z-evacuate-eu");
        for wrong in ["", "..", "a/b", "a?b", "a b"] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }
}
