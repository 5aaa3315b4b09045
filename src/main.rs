//! The binary `signpost`: arguments → settings → run.

use std::path::Path;
use std::process::ExitCode;

use signpost::cli::{self, Invocation, Output, Page};
use signpost::model::LogFormat;
use signpost::serve;

/// See Cargo.toml for why, and BENCHMARKS.md for what it is worth.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
const BAD_CONFIG: u8 = 78;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(Invocation::Serve { config, output }) => run(config.as_deref(), output),
        Ok(Invocation::Check { strict, config, output }) => check(config.as_deref(), strict, output),
        Ok(Invocation::Errand(errand)) => errand.run(),
        Err(usage) => usage.exit(),
    }
    .into()
}

fn run(config: Option<&Path>, output: Output) -> u8 {
    let settings = serve::settings(config).map_err(Into::into);
    let served = settings.and_then(|mut settings| {
        if output == Output::Json {
            settings.log.format = LogFormat::Json;
        }
        serve::run(settings)
    });
    match served {
        Ok(()) => 0,
        Err(error) => {
            cli::complain(&error);
            error.exit_code()
        }
    }
}

fn check(config: Option<&Path>, strict: bool, output: Output) -> u8 {
    let verdict = serve::check(config);
    let printed = cli::print(&Page { text: verdict.text(), document: verdict.document() }, output);
    match (printed, verdict.is_fine() && (!strict || verdict.warnings.is_empty())) {
        (Err(failure), _) => {
            cli::complain(&failure);
            failure.exit_code()
        }
        (Ok(()), true) => 0,
        (Ok(()), false) => BAD_CONFIG,
    }
}
