//! Losses, real and rehearsed: drains, drills and simulations.

use clap::{Args, Subcommand};

use super::words::{prefix, subject};
use crate::model::{Label, Period, Subject};

#[derive(Debug, Args)]
pub(in crate::cli) struct DrainArguments {
    /// What to drain: region/NAME, az/REGION/AZ, service/NAME or instance/SERVICE/ID
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub(in crate::cli) subject: Subject,
    /// Why, for the next person
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: String,
    /// Within which time clients move away: 1s to 24h [default: all at once]
    #[arg(long, value_name = "PERIOD")]
    pub(in crate::cli) ramp: Option<Period>,
    /// When it ends by itself: 30m, 4h; at most 72h [default: 4h]
    #[arg(long, value_name = "PERIOD")]
    pub(in crate::cli) expires: Option<Period>,
    /// Overrule the safety rules, and say why; it stands in the audit log
    #[arg(long = "override", value_name = "REASON")]
    pub(in crate::cli) overrule: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SimulateArguments {
    /// What is lost: region/NAME, az/REGION/AZ, service/NAME or instance/SERVICE/ID; may stand several times
    #[arg(long, value_name = "KIND/NAME", value_parser = subject)]
    pub(in crate::cli) lose: Vec<Subject>,
    /// Only this name, such as web.svc.example; may stand several times [default: all]
    #[arg(long = "name", value_name = "NAME", requires = "lose")]
    pub(in crate::cli) names: Vec<String>,
    /// These clients, each listed by itself; may stand several times [default: those that were seen to ask]
    #[arg(long = "client", value_name = "CIDR", requires = "lose", value_parser = prefix)]
    pub(in crate::cli) clients: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DrillsOrder {
    /// Begin a drill: one of the configuration, or one that is described here
    ///
    /// Returns once it is announced, and clients will move; or says why it did not begin.
    #[command(
        after_help = "Examples:\n  signpost drills run evacuate-eu\n  signpost drills run --lose region/eu-west --ramp 10m --hold 15m"
    )]
    Run(DrillArguments),
    /// Show the report of a run as Markdown, also while it is under way
    #[command(after_help = "Example:\n  signpost drills show 20261124T100000Z-evacuate-eu > report.md")]
    Show {
        /// The run, as `signpost drills` names it
        run: String,
    },
    /// End the drill under way early: clients are led back from now on
    #[command(after_help = "Example:\n  signpost drills stop 20261124T100000Z-evacuate-eu")]
    Stop {
        /// The run, as `signpost drills` names it
        run: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DrillArguments {
    /// A drill of the configuration: [drills.NAME]
    #[arg(required_unless_present = "lose", conflicts_with_all = ["lose", "ramp", "hold", "lift"])]
    pub(in crate::cli) name: Option<Label>,
    /// What to lose instead: region/NAME, az/REGION/AZ, service/NAME or instance/SERVICE/ID
    #[arg(long, value_name = "KIND/NAME", value_parser = subject)]
    pub(in crate::cli) lose: Option<Subject>,
    /// Over how long clients are moved away [default: at once]
    #[arg(long, value_name = "PERIOD", requires = "lose")]
    pub(in crate::cli) ramp: Option<Period>,
    /// How long it stays lost once everybody has moved [default: 5m]
    #[arg(long, value_name = "PERIOD", requires = "lose")]
    pub(in crate::cli) hold: Option<Period>,
    /// Over how long clients are led back [default: as long as the ramp]
    #[arg(long, value_name = "PERIOD", requires = "lose")]
    pub(in crate::cli) lift: Option<Period>,
}
