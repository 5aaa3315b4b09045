//! Shell (floor 5): the command line.
//!
//! [`parse`] turns arguments into an [`Invocation`]: to serve, to check, or an [`Errand`] that the command line does itself, most of
//! them by asking a running server over its API. `arguments` is the one definition from which help, man pages and completions come.

// A client tells the time that has passed since a change, and reads the files it is given.
#![allow(clippy::disallowed_methods)]

mod arguments;
mod connection;
mod documents;
mod drills;
mod errand;
mod explain;
mod failure;
mod keys;
mod register;
mod simulate;
mod status;
mod table;
mod token;
mod views;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

pub use arguments::{Color, Output};
pub use errand::Errand;
pub use failure::{Failure, Problem};
use serde_json::Value;

use arguments::{Order, TokenOrder};

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run the server.
    Serve {
        /// The configuration file; `None`: `signpost.toml` if there is one, else defaults.
        config: Option<PathBuf>,
        /// JSON: log lines as JSON.
        output: Output,
    },
    /// Check the configuration.
    Check {
        /// Whether warnings count as errors.
        strict: bool,
        /// The configuration file, as above.
        config: Option<PathBuf>,
        /// How findings are printed.
        output: Output,
    },
    /// Anything that the command line does itself.
    Errand(Errand),
}

/// What a subcommand has to show: for people, and for programs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// Lines, with colours in them.
    pub text: String,
    /// The same as JSON.
    pub document: Value,
}

/// Reads the arguments, the program's name first, and decides about colour. `Err` says what is wrong with them, or holds what `--help`
/// and `--version` print; [`clap::Error::exit`] does the rest.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let arguments = arguments::parse(arguments)?;
    match arguments.shared.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    Ok(invocation(arguments))
}

fn invocation(arguments: arguments::Arguments) -> Invocation {
    let shared = arguments.shared;
    let output = shared.output;
    let job = match arguments.order {
        None | Some(Order::Serve) => return Invocation::Serve { config: shared.config, output },
        Some(Order::Check { strict }) => return Invocation::Check { strict, config: shared.config, output },
        Some(Order::Client(order)) => errand::Job::Ask { order, api: shared.api, token_file: shared.token_file },
        Some(Order::Token(TokenOrder::Create(arguments))) => errand::Job::Token(arguments),
        Some(Order::Completions { shell }) => errand::Job::Completions(shell),
        Some(Order::Man { subcommand, dir }) => errand::Job::Man { subcommand, dir },
    };
    Invocation::Errand(Errand { job, output })
}

/// Prints a page to standard output. A reader that went away (`| head`) is no error.
pub fn print(page: &Page, output: Output) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    let written = match output {
        Output::Text => out.write_all(page.text.as_bytes()),
        Output::Json => serde_json::to_string_pretty(&page.document).map_err(Into::into).and_then(|json| writeln!(out, "{json}")),
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Says on standard error what went wrong.
pub fn complain(what: &dyn std::fmt::Display) {
    let bad = table::BAD.bold();
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(anstream::stderr().lock(), "{bad}error:{bad:#} {what}");
}
