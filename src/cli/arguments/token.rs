//! Tokens of the API.

use clap::{Args, Subcommand, ValueEnum};

use super::words::{service_prefix, token_name};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenOrder {
    /// Make a token: prints its secret once, and the lines to paste into signpost.toml
    #[command(
        after_help = "Examples:\n  signpost token create ci --right register --service web-\n  signpost token create oncall --right read --right operate"
    )]
    Create(TokenArguments),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TokenArguments {
    /// Its name, shown in the audit log
    #[arg(value_parser = token_name)]
    pub(in crate::cli) name: String,
    /// What it may do; may stand several times
    #[arg(long = "right", value_name = "RIGHT", required = true, value_delimiter = ',')]
    pub(in crate::cli) rights: Vec<RightArgument>,
    /// Only for services whose names begin so; may stand several times [default: all services]
    #[arg(long = "service", value_name = "PREFIX", value_delimiter = ',', value_parser = service_prefix)]
    pub(in crate::cli) services: Vec<String>,
}

/// A right, as it is written in signpost.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::cli) enum RightArgument {
    /// Look at everything
    Read,
    /// Register, deregister, beat and push status of instances
    Register,
    /// Change services, drain and lift drains
    Operate,
    /// Everything
    Admin,
}

impl RightArgument {
    /// The word in signpost.toml.
    pub(in crate::cli) fn as_str(self) -> &'static str {
        match self {
            RightArgument::Read => "read",
            RightArgument::Register => "register",
            RightArgument::Operate => "operate",
            RightArgument::Admin => "admin",
        }
    }
}
