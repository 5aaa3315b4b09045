//! The report as Markdown: a page for people, which says everything that the JSON says.

use std::fmt::Write;

use crate::model::{DrillReport, DrillState, Forecast, ForecastLatency, Moment, RegionShares};

/// Moves that are shown one by one.
const MOVES: usize = 20;

/// The page.
pub fn page(report: &DrillReport) -> String {
    let mut page = String::new();
    let name = report.name.as_ref().map_or_else(|| report.drill.lose.to_string(), ToString::to_string);
    // Writing to a string cannot fail.
    _ = writeln!(page, "# Drill {}: {}\n", cell(&name), report.state.as_str());
    if !report.why.is_empty() {
        _ = writeln!(page, "**{}**\n", cell(&report.why));
    }
    about(&mut page, report);
    if !report.timeline.is_empty() {
        _ = writeln!(page, "\n## Timeline\n\n| after | what | |\n| ---: | --- | --- |");
        report.timeline.iter().for_each(|moment| line(&mut page, moment));
    }
    if !matches!(report.state, DrillState::Checking | DrillState::Refused | DrillState::Skipped) {
        answers(&mut page, report);
    }
    if let Some(forecast) = &report.forecast {
        moves(&mut page, forecast);
    }
    if !report.watched.is_empty() {
        _ = writeln!(page, "\n## Watched\n\n| condition | may be | was last |\n| --- | --- | --- |");
        for watched in &report.watched {
            _ = writeln!(page, "| {} | {} | {} |", cell(&watched.condition), cell(&watched.limit), cell(&watched.last));
        }
    }
    page
}

fn about(page: &mut String, report: &DrillReport) {
    let drill = &report.drill;
    let ramp = drill.ramp.map_or("at once".into(), |ramp| format!("over {ramp}"));
    let lift = if drill.lift().0.is_zero() { "at once".into() } else { format!("over {}", drill.lift()) };
    let mut row = |what: &str, value: String| _ = writeln!(page, "| {what} | {} |", cell(&value));
    row("run", report.run.clone());
    row("---", "---".into());
    row("lost", format!("{}, {ramp}; held for {}; restored {lift}", drill.lose, drill.hold));
    let schedule = drill.schedule.map(|schedule| format!(" ({schedule})")).unwrap_or_default();
    row("by", format!("{}{schedule}", report.author));
    row("began", report.started.to_string());
    if let Some(ended) = report.ended {
        row("ended", format!("{ended}, {} later", seconds(ended.since(report.started).as_secs_f64())));
    }
}

fn line(page: &mut String, moment: &Moment) {
    _ = writeln!(page, "| +{} | {} | {} |", seconds(moment.after), cell(&moment.what), cell(&moment.detail));
}

fn answers(page: &mut String, report: &DrillReport) {
    let counted = report.answers;
    _ = writeln!(
        page,
        "\n## Answers\n\n{} answers during the drill: {} empty, {} given although nothing was healthy.",
        counted.all, counted.empty, counted.fail_open
    );
    if let Some(old) = report.last_old {
        let lose = &report.drill.lose;
        _ = match old.answers {
            0 => writeln!(page, "None of them held {lose} after the drain was asked for."),
            answers => writeln!(
                page,
                "{answers} of them held {lose}: the last one {} after the drain was asked for, and {} after it no cache held one any more.",
                seconds(old.last),
                seconds(old.cached)
            ),
        };
    }
    if report.regions.is_empty() {
        return;
    }
    _ = writeln!(page, "\n| answers with | before | while moving | while held | while restored |\n| --- | ---: | ---: | ---: | ---: |");
    for RegionShares { region, before, moving, holding, restoring } in &report.regions {
        let shares = [before, moving, holding, restoring].map(|share| share.map_or("–".into(), percent));
        _ = writeln!(page, "| {} | {} |", cell(region), shares.join(" | "));
    }
}

fn moves(page: &mut String, forecast: &Forecast) {
    _ = writeln!(page, "\n## Who moves where\n\nAs simulated when the drill began.\n");
    if forecast.moves.is_empty() {
        _ = writeln!(page, "Nobody moves.");
    } else {
        _ = writeln!(page, "| from | to | of all clients |\n| --- | --- | ---: |");
        for moved in forecast.moves.iter().take(MOVES) {
            _ = writeln!(page, "| {} | {} | {} |", cell(&moved.from), cell(&moved.to), percent(moved.share));
        }
        if forecast.moves.len() > MOVES {
            _ = writeln!(page, "\n{} smaller moves are not shown.", forecast.moves.len() - MOVES);
        }
    }
    let latency = |latency: ForecastLatency| {
        let p95 = latency.p95_ms.map(|p95| format!(" (95 of 100 below {p95:.1} ms)")).unwrap_or_default();
        format!("{:.1} ms{p95}", latency.mean_ms)
    };
    if let (Some(before), Some(after)) = (forecast.before, forecast.after) {
        _ = writeln!(page, "\nThe clients' mean latency goes from {} to {}.", latency(before), latency(after));
    }
    for warning in &forecast.warnings {
        _ = writeln!(page, "\n**Warning**: {}", cell(warning));
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `12.3 s`, `10 min 5 s`, `1 h 20 min`.
fn seconds(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A text within a table: what others wrote must neither end the cell nor become markup.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '<' | '>' | '*' | '[' | ']' | '`' | '\\' => cell.extend(['\\', c]),
            c if c.is_control() => cell.push(' '),
            c => cell.push(c),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DrillAnswers, DrillFields, ForecastMove, LastOld, Timestamp, Watched};

    #[test]
    fn a_page_says_everything() {
        let begin = Timestamp(1_795_514_400_000);
        let drill: DrillFields =
            serde_json::from_str(r#"{"lose":"region/eu-west","schedule":"Tue 10:00","ramp":"10m","hold":"15m"}"#).unwrap();
        let mut report = DrillReport::begin(Some("evacuate-eu".parse().unwrap()), drill, "schedule", begin);
        let at = |seconds: u64| Timestamp(begin.0 + seconds * 1000);
        report.tell(at(600), "all moved", "held for 15m");
        report.tell(at(0), "announced", "a|b");
        report.answers = DrillAnswers { all: 12_345, empty: 0, fail_open: 2 };
        report.last_old = Some(LastOld { answers: 900, last: 598.2, cached: 603.2 });
        let half = Some(0.5);
        report.regions.push(RegionShares {
            region: "eu-west".into(),
            before: half,
            moving: Some(0.25),
            holding: Some(0.0),
            restoring: None,
        });
        report.forecast = Some(Forecast {
            moves: vec![ForecastMove { from: "eu-west".into(), to: "us-east".into(), share: 0.334 }],
            before: Some(ForecastLatency { mean_ms: 12.0, p95_ms: Some(30.0) }),
            after: Some(ForecastLatency { mean_ms: 80.04, p95_ms: None }),
            warnings: vec!["us-east would carry 120 %".into()],
        });
        report.watched.push(Watched { condition: "abort.empty_answers".into(), limit: "below 1".into(), last: "0".into() });
        report.end(at(2100), DrillState::Aborted, "stopped by <ann>");
        let expected = "\
# Drill evacuate-eu: aborted

**stopped by \\<ann\\>**

| run | 20261124T100000Z-evacuate-eu |
| --- | --- |
| lost | region/eu-west, over 10m; held for 15m; restored over 10m |
| by | schedule (Tue 10:00) |
| began | 2026-11-24T10:00:00.000Z |
| ended | 2026-11-24T10:35:00.000Z, 35 min 0 s later |

## Timeline

| after | what | |
| ---: | --- | --- |
| +0.0 s | announced | a\\|b |
| +10 min 0 s | all moved | held for 15m |

## Answers

12345 answers during the drill: 0 empty, 2 given although nothing was healthy.
900 of them held region/eu-west: the last one 9 min 58 s after the drain was asked for, and 10 min 3 s after it no cache held one any more.

| answers with | before | while moving | while held | while restored |
| --- | ---: | ---: | ---: | ---: |
| eu-west | 50.0 % | 25.0 % | 0.0 % | – |

## Who moves where

As simulated when the drill began.

| from | to | of all clients |
| --- | --- | ---: |
| eu-west | us-east | 33.4 % |

The clients' mean latency goes from 12.0 ms (95 of 100 below 30.0 ms) to 80.0 ms.

**Warning**: us-east would carry 120 %

## Watched

| condition | may be | was last |
| --- | --- | --- |
| abort.empty_answers | below 1 | 0 |
";
        assert_eq!(page(&report), expected);
    }
}
