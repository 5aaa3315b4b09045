//! Instructions per answer by kind, counted by valgrind, beside the committed figures: `.ci/instructions`.
//!
//! A row that needs over 3 % more than `instructions.txt` says fails; `UPDATE_INSTRUCTIONS=1` writes the file anew. What nanoseconds cannot be, these
//! figures are: the same in every run, on a busy machine as on an idle one. They depend on the compiler, on how the crate is cut into units (Cargo.toml
//! says: one), and on which `memcpy` the C library picks for the processor: that is held down to the one that every x86-64 has.
#![allow(clippy::disallowed_methods)]

mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// How much more a row may need than committed, in percent.
const ALLOWED: f64 = 3.0;
/// Set for the run of this program that starts gungraun's runner, which ends the process when it is done.
const COUNTED: &str = "SIGNPOST_COUNTED";
/// What is written ahead of the figures.
const HEAD: &str = "# Instructions per answer by kind; `UPDATE_INSTRUCTIONS=1 .ci/instructions` writes this file.\n";

fn main() -> ExitCode {
    // We start this program again, as what starts the runner; and the runner starts it for each row, beneath valgrind.
    if std::env::args().any(|argument| argument == "--gungraun-run") || std::env::var_os(COUNTED).is_some() {
        counted::run();
        return ExitCode::SUCCESS;
    }
    match counts() {
        Ok(counts) => judge(&counts),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// What valgrind counts: a row each.
#[allow(unused_qualifications)] // in what the attribute makes of it
mod counted {
    use std::hint::black_box;
    use std::sync::Arc;

    use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group};
    use signpost::snapshot::Snapshot;
    use signpost::wire::Worker;

    use super::world;

    /// Answers per row; names in the zone of many. Few enough for valgrind, and what more would cost is cache misses, which are not counted.
    pub const ANSWERS: usize = 500;
    const NAMES: usize = 5_000;
    /// No memcpy, memcmp or the like that only some processors have: glibc's baseline, wherever this runs.
    const BASELINE: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-EVEX,-AVX2,-AVX,-AVX_Fast_Unaligned_Load,-BMI2,-MOVBE,-RTM,-ERMS,-FSRM,-SSE4_2,-SSE4_1,-SSSE3,-Fast_Unaligned_Copy,-Prefer_ERMS,-Prefer_FSRM";

    pub struct Asked {
        snapshot: Arc<Snapshot>,
        worker: Worker,
        queries: Vec<Vec<u8>>,
        reply: Vec<u8>,
    }

    fn asked(row: usize) -> Asked {
        let queries = world::rows(ANSWERS, NAMES).swap_remove(row).queries;
        let mut asked = Asked { snapshot: world::snapshot(NAMES), worker: world::worker(), queries, reply: vec![0; 4096] };
        asked.all(); // what the first answers alone do is not what an answer costs
        asked
    }

    impl Asked {
        fn all(&mut self) -> usize {
            let Self { snapshot, worker, queries, reply } = self;
            queries.iter().map(|query| world::answer(snapshot, worker, query, reply)).sum()
        }
    }

    #[library_benchmark]
    #[benches::row(iter = 0..world::rows(0, 1).len(), setup = asked)]
    fn answers(mut asked: Asked) -> Asked {
        assert_ne!(black_box(asked.all()), 0);
        asked // and dropped by the caller, uncounted
    }

    library_benchmark_group!(name = rows; benchmarks = answers);
    gungraun::main!(
        config = LibraryBenchmarkConfig::default().env("GLIBC_TUNABLES", BASELINE).tool(Callgrind::with_args(["--cache-sim=no"]));
        library_benchmark_groups = rows
    );

    pub fn run() {
        main();
    }
}

/// Instructions per answer: a row each, in the order of [`world::rows`].
fn counts() -> Result<Vec<(&'static str, f64)>, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let output =
        Command::new(this).arg("--bench").env(COUNTED, "1").env("GUNGRAUN_OUTPUT_FORMAT", "json").stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err("nothing was counted; it needs valgrind, and gungraun's runner: .ci/instructions installs the latter".into());
    }
    let rows = world::rows(0, 1);
    let mut counts = Vec::new();
    for line in output.stdout.split(|octet| *octet == b'\n').filter(|line| line.starts_with(b"{")) {
        let summary: serde_json::Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        // `new` alone in the first run; `both` where a run before left its figures: ours come first.
        let values = &summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"];
        let count = [&values["new"], &values["both"][0]].into_iter().find_map(serde_json::Value::as_f64);
        let row = summary["id"].as_str().and_then(|id| id.strip_prefix("row_")?.parse::<usize>().ok()).and_then(|row| rows.get(row));
        let (row, count) = row.zip(count).ok_or_else(|| format!("the runner reports otherwise than expected: {summary}"))?;
        counts.push((row.label, count / counted::ANSWERS as f64));
    }
    if counts.len() == rows.len() { Ok(counts) } else { Err(format!("{} of {} rows were counted", counts.len(), rows.len())) }
}

/// Holds the counts against the committed ones, or commits them.
fn judge(counts: &[(&'static str, f64)]) -> ExitCode {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/instructions.txt");
    let compiler = Command::new("rustc").arg("--version").output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    let compiler = compiler.unwrap_or_default();
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let committed: BTreeMap<&str, f64> = text.lines().filter_map(|line| line.rsplit_once(' ')).filter_map(entry).collect();
    println!("{:<18} {:>10} {:>10} {:>8}", "row", "committed", "counted", "change");
    let mut anew = format!("{HEAD}# {compiler}\n");
    let (mut more, mut less) = (0, 0);
    for &(row, count) in counts {
        let _ = writeln!(anew, "{row:<18} {count:.1}");
        let Some(before) = committed.get(row) else {
            println!("{row:<18} {:>10} {count:>10.1}", "–");
            more += 1;
            continue;
        };
        let change = (count / before - 1.0) * 100.0;
        println!("{row:<18} {before:>10.1} {count:>10.1} {change:>+7.1}%");
        more += usize::from(change > ALLOWED);
        less += usize::from(change < -ALLOWED);
    }
    if std::env::var_os("UPDATE_INSTRUCTIONS").is_some() {
        std::fs::write(&file, anew).expect("the file of figures can be written");
        println!("written: {}", file.display());
        return ExitCode::SUCCESS;
    }
    let update = "UPDATE_INSTRUCTIONS=1 .ci/instructions";
    if less > 0 {
        println!("{less} rows need over {ALLOWED} % less than committed; keep it with: {update}");
    }
    if more == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{more} rows need over {ALLOWED} % more than committed, or are not committed. Where that is meant: {update}");
    if !text.contains(&compiler) {
        println!("(the committed figures are another compiler's; this is {compiler})");
    }
    ExitCode::FAILURE
}

/// A line's label and figure.
fn entry<'a>((label, figure): (&'a str, &str)) -> Option<(&'a str, f64)> {
    Some((label.trim_end(), figure.parse().ok()?))
}
