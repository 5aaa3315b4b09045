//! The one definition of the command line: help, man pages, completions and parsing all come from it.

mod client;
mod keys;
mod rehearsal;
#[cfg(test)]
mod tests;
mod token;
mod words;

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};
use reqwest::Url;

pub(super) use self::client::{ClientOrder, ExplainArguments, InstancesArguments};
pub(super) use self::keys::{KeysOrder, UnsignArguments};
pub(super) use self::rehearsal::{DrainArguments, DrillArguments, DrillsOrder, SimulateArguments};
#[cfg(test)]
pub(super) use self::token::RightArgument;
pub(super) use self::token::{TokenArguments, TokenOrder};
use self::words::api_url;
pub(super) use self::words::instance_key;

/// Answers DNS queries with the nearest healthy instance of a service.
///
/// Without a subcommand it serves. Every other subcommand but `check`, `token`, `completions` and `man` talks to a running server.
#[derive(Debug, Parser)]
#[command(name = "signpost", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) shared: Shared,
    #[command(subcommand)]
    pub(super) order: Option<Order>,
}

const AFTER_HELP: &str = "\
Exit codes:
  0   fine
  1   refused: the server said no, is not ready, or does not answer
  2   wrong usage
  78  bad configuration

Examples:
  signpost                      # serve: ./signpost.toml, or defaults on loopback
  signpost instances web        # who is in, who is out, and why
  signpost explain web.svc.example A --client 203.0.113.9
  signpost drain region/eu-west --reason 'power maintenance'";

/// What every subcommand takes.
#[derive(Debug, Args)]
pub(super) struct Shared {
    /// The configuration file [default: ./signpost.toml if there is one, else defaults]
    #[arg(long, global = true, value_name = "PATH", env = "SIGNPOST_CONFIG", value_hint = ValueHint::FilePath, help_heading = SHARED)]
    pub(super) config: Option<PathBuf>,
    /// Where the server's API answers
    #[arg(long, global = true, value_name = "URL", env = "SIGNPOST_API", default_value = "http://127.0.0.1:8053", value_parser = api_url)]
    #[arg(help_heading = SHARED)]
    pub(super) api: Url,
    /// A file that holds the API token; the token itself may stand in SIGNPOST_TOKEN instead
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = SHARED)]
    pub(super) token_file: Option<PathBuf>,
    /// Text for people, or json: what the API gave
    #[arg(long, global = true, value_name = "FORM", default_value = "text", help_heading = SHARED)]
    pub(super) output: Output,
    /// Whether to use colour; auto: on a terminal
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = SHARED)]
    pub(super) color: Color,
}

const SHARED: &str = "Shared options";

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[allow(missing_docs)] // a doc comment would stand in every help
    Text,
    #[allow(missing_docs)]
    Json,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[allow(missing_docs)] // as above
    Auto,
    #[allow(missing_docs)]
    Always,
    #[allow(missing_docs)]
    Never,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(super) enum Order {
    /// Run the server (also without a subcommand)
    #[command(after_help = "Examples:\n  signpost serve --config signpost.toml\n  SIGNPOST__DNS__LISTEN=127.0.0.1:53 signpost serve")]
    Serve,
    /// Check configuration, zone files and geo files without serving them
    ///
    /// Prints each finding as `FILE:LINE: REASON`, in the order of files and lines. Exit code 78 if anything is wrong, 0 if there are
    /// warnings only. Zones are checked as strictly as kzonecheck and named-checkzone do it.
    #[command(after_help = "Examples:\n  signpost check --config signpost.toml\n  signpost check --strict")]
    Check {
        /// Fail on warnings too
        #[arg(long)]
        strict: bool,
    },
    #[command(flatten)]
    Client(Box<ClientOrder>),
    /// Make API tokens
    #[command(subcommand, after_help = "Example:\n  signpost token create ci --right register --service web-")]
    Token(TokenOrder),
    /// Print the completion script of a shell
    #[command(
        after_help = "Examples:\n  signpost completions bash > ~/.local/share/bash-completion/completions/signpost\n  signpost completions zsh > ~/.zfunc/_signpost"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a man page, or write all of them into a folder
    #[command(
        after_help = "Examples:\n  signpost man | man -l -\n  signpost man explain | man -l -\n  signpost man --dir /usr/local/share/man/man1"
    )]
    Man {
        /// The subcommand whose page to print; without it, the page of signpost itself
        subcommand: Vec<String>,
        /// Write the pages of signpost and of every subcommand into this folder
        #[arg(long, value_name = "PATH", conflicts_with = "subcommand", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// The whole command. Options that do not concern a subcommand are hidden in its help: `serve` and `check` read a configuration,
/// everything else talks to an API or to nobody.
pub(super) fn command() -> clap::Command {
    let mut command = Arguments::command();
    let names: Vec<String> = command.get_subcommands().map(|s| s.get_name().to_owned()).collect();
    for name in names {
        let foreign: &[&str] = match name.as_str() {
            "serve" | "check" => &["api", "token_file"],
            "token" | "completions" | "man" => &["config", "api", "token_file"],
            _ => &["config"],
        };
        let hidden: Vec<clap::Arg> =
            command.get_arguments().filter(|a| foreign.contains(&a.get_id().as_str())).map(|a| a.clone().hide(true)).collect();
        command = command.mut_subcommand(name, |subcommand| subcommand.args(hidden));
    }
    command
}

/// Reads `arguments`, the program's name first. `Err` also holds what `--help` and `--version` print.
pub(super) fn parse<T: Into<std::ffi::OsString> + Clone>(arguments: impl IntoIterator<Item = T>) -> Result<Arguments, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    Arguments::from_arg_matches(&matches).map_err(|e| e.format(&mut command))
}
