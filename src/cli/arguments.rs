//! The one definition of the command line: help, man pages, completions and parsing all come from it.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};
use reqwest::Url;

use super::register::RegisterArguments;
use crate::model::{InstanceKey, Label, Name, Period, Subject};

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

/// The subcommands that talk to a running server.
#[derive(Debug, Subcommand)]
pub(super) enum ClientOrder {
    /// Show how the server is: ready or not, its regions, what is drained
    #[command(after_help = "Example:\n  signpost status")]
    Status,
    /// List services with their health
    #[command(after_help = "Example:\n  signpost services")]
    Services,
    /// List the instances of a service: where they are, whether they are in answers, and why not
    #[command(after_help = "Examples:\n  signpost instances web\n  signpost instances web --region eu-west --healthy")]
    Instances(InstancesArguments),
    /// Show how a name is answered for a client, step by step
    ///
    /// The decision is made by the same code that answers queries.
    #[command(
        after_help = "Examples:\n  signpost explain web.svc.example A --client 203.0.113.9\n  signpost explain web.svc.example --client 203.0.113.9 --with region/eu-west=drained"
    )]
    Explain(ExplainArguments),
    /// Register an instance, or replace its registration
    ///
    /// When this returns, the registration is durable and in answers.
    #[command(
        after_help = "Examples:\n  signpost register web/eu1 --address 192.0.2.10 --port http=8080 --region eu-west --az eu-west-1a \\\n      --check http=/healthz,port=http\n  signpost register web/eu1 --file eu1.json\n  jq .instance deploy.json | signpost register web/eu1 --file -"
    )]
    Register(Box<RegisterArguments>),
    /// Remove an instance
    #[command(after_help = "Example:\n  signpost deregister web/eu1")]
    Deregister {
        /// The instance
        #[arg(value_name = "SERVICE/ID", value_parser = instance_key)]
        instance: InstanceKey,
    },
    /// Take a region, az, service or instance out of answers
    ///
    /// With --ramp the drain is announced first: TTLs drop, and when the longest TTL has passed clients move away one after the other. A
    /// drain always ends by itself; --expires says when. One that would leave too little is refused, with the numbers.
    #[command(
        after_help = "Examples:\n  signpost drain region/eu-west --reason 'power maintenance'\n  signpost drain region/eu-west --ramp 10m --expires 2h --reason 'kernel update'\n  signpost drain az/eu-west/eu-west-1a --expires 30m --reason drill\n  signpost drain instance/web/eu1 --reason 'memory leak, see #4711'"
    )]
    Drain(DrainArguments),
    /// Lift a drain
    ///
    /// One with a ramp is lifted by its ramp: clients move back one after the other. --ramp says otherwise.
    #[command(after_help = "Examples:\n  signpost undrain region/eu-west\n  signpost undrain region/eu-west --ramp 0s")]
    Undrain {
        /// What is drained
        #[arg(value_name = "KIND/NAME", value_parser = subject)]
        subject: Subject,
        /// Within which time all clients would move back: 1s to 24h, or 0s for at once [default: as it was drained]
        #[arg(long, value_name = "PERIOD")]
        ramp: Option<Period>,
    },
    /// Let a ramped drain stand still where it is, on its way out or back
    ///
    /// TTLs stay low, and it expires all the same.
    #[command(after_help = "Example:\n  signpost pause region/eu-west")]
    Pause {
        /// What is being drained
        #[arg(value_name = "KIND/NAME", value_parser = subject)]
        subject: Subject,
    },
    /// Let a paused drain go on
    #[command(after_help = "Example:\n  signpost resume region/eu-west")]
    Resume {
        /// What is paused
        #[arg(value_name = "KIND/NAME", value_parser = subject)]
        subject: Subject,
    },
    /// List the drains in force, and the rules that drains are held to
    #[command(after_help = "Example:\n  signpost drains")]
    Drains,
    /// List measured round trips between clients and regions
    ///
    /// They are posted to /v1/measurements by whoever measures. What ranks the regions of one client, and where that comes from, `explain`
    /// shows.
    #[command(
        after_help = "Examples:\n  signpost measurements\n  signpost measurements --client 198.51.100.0/24\nTo post some:\n  curl -d '{\"samples\": [{\"client\": \"198.51.100.7\", \"region\": \"eu-west\", \"rtt_ms\": 23.5}]}' http://127.0.0.1:8053/v1/measurements"
    )]
    Measurements {
        /// Only prefixes that hold this address or network, or lie within it
        #[arg(long, value_name = "IP|CIDR")]
        client: Option<String>,
    },
    /// List what updates over DNS changed of a zone, or drop it
    ///
    /// Updates (RFC 2136) lie over the zone's file. One whose RRset changed in the file since is marked: what the update said is answered.
    #[command(after_help = "Examples:\n  signpost updates example.com\n  signpost updates example.com --drop")]
    Updates {
        /// The zone, such as example.com
        #[arg(value_parser = zone_path)]
        zone: String,
        /// Drop all of it: the zone is as its file says, with a later serial
        #[arg(long)]
        drop: bool,
    },
    /// List zones that are copied from other servers: their serials, when they are looked at again, and what stands in the way
    #[command(after_help = "Example:\n  signpost secondaries")]
    Secondaries,
    /// Rehearse a loss: list drills, begin one, read its report, end it early
    ///
    /// A drill is a drain that is measured, watched, and lifted again. Without a subcommand: the drills of the configuration, with their next
    /// times, and the latest runs.
    #[command(
        after_help = "Examples:\n  signpost drills\n  signpost drills run evacuate-eu\n  signpost drills show 20261124T100000Z-evacuate-eu"
    )]
    Drills {
        #[command(subcommand)]
        order: Option<DrillsOrder>,
    },
    /// Look after the keys of signed zones: list them, roll them, tell them of their DS, bring them from another server
    ///
    /// Without a subcommand: every key with its zone, tag, role, algorithm and state, what comes next and when, and the DS for the parent
    /// where it is due. Zone-signing keys follow each other by themselves; others when told to.
    #[command(
        after_help = "Examples:\n  signpost keys\n  signpost keys ds svc.example\n  signpost keys roll svc.example csk\n  signpost keys ds-seen svc.example 12345"
    )]
    Keys {
        #[command(subcommand)]
        order: Option<KeysOrder>,
    },
    /// Show who would be served where without a region, az, service or instance
    ///
    /// Every client prefix is decided in the world as it is and in the one without, by the same code that answers queries; nothing changes.
    /// Without --lose: each region lost by itself, with what to be warned of.
    #[command(
        after_help = "Examples:\n  signpost simulate\n  signpost simulate --lose region/eu-west\n  signpost simulate --lose region/eu-west --name web.svc.example --client 203.0.113.0/24"
    )]
    Simulate(SimulateArguments),
    /// Exit with 0 when the server is ready to answer, else with 1
    #[command(after_help = "Example:\n  HEALTHCHECK CMD [\"signpost\", \"healthcheck\"]")]
    Healthcheck,
}

#[derive(Debug, Args)]
pub(super) struct InstancesArguments {
    /// The service
    pub(super) service: Label,
    /// Only those that are healthy and not drained
    #[arg(long)]
    pub(super) healthy: bool,
    /// Only those in this region
    #[arg(long)]
    pub(super) region: Option<Label>,
    /// Only those with this tag
    #[arg(long)]
    pub(super) tag: Option<Label>,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// The name, such as web.svc.example
    pub(super) name: String,
    /// The type: A, AAAA, SRV, HTTPS, TXT, …
    #[arg(value_name = "TYPE", default_value = "A")]
    pub(super) kind: String,
    /// The client's address, IPv4 or IPv6
    #[arg(long, value_name = "IP")]
    pub(super) client: IpAddr,
    /// Assume something to be otherwise: region/R=drained, region/R=serving, instance/S/ID=unhealthy; may stand several times
    #[arg(long = "with", value_name = "SUBJECT=STATE", value_parser = assumption)]
    pub(super) assumptions: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// What is lost: region/NAME, az/REGION/AZ, service/NAME or instance/SERVICE/ID; may stand several times
    #[arg(long, value_name = "KIND/NAME", value_parser = subject)]
    pub(super) lose: Vec<Subject>,
    /// Only this name, such as web.svc.example; may stand several times [default: all]
    #[arg(long = "name", value_name = "NAME", requires = "lose")]
    pub(super) names: Vec<String>,
    /// These clients, each listed by itself; may stand several times [default: those that were seen to ask]
    #[arg(long = "client", value_name = "CIDR", requires = "lose", value_parser = prefix)]
    pub(super) clients: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct DrainArguments {
    /// What to drain: region/NAME, az/REGION/AZ, service/NAME or instance/SERVICE/ID
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub(super) subject: Subject,
    /// Why, for the next person
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Within which time clients move away: 1s to 24h [default: all at once]
    #[arg(long, value_name = "PERIOD")]
    pub(super) ramp: Option<Period>,
    /// When it ends by itself: 30m, 4h; at most 72h [default: 4h]
    #[arg(long, value_name = "PERIOD")]
    pub(super) expires: Option<Period>,
    /// Overrule the safety rules, and say why; it stands in the audit log
    #[arg(long = "override", value_name = "REASON")]
    pub(super) overrule: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum DrillsOrder {
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
pub(super) struct DrillArguments {
    /// A drill of the configuration: [drills.NAME]
    #[arg(required_unless_present = "lose", conflicts_with_all = ["lose", "ramp", "hold", "lift"])]
    pub(super) name: Option<Label>,
    /// What to lose instead: region/NAME, az/REGION/AZ, service/NAME or instance/SERVICE/ID
    #[arg(long, value_name = "KIND/NAME", value_parser = subject)]
    pub(super) lose: Option<Subject>,
    /// Over how long clients are moved away [default: at once]
    #[arg(long, value_name = "PERIOD", requires = "lose")]
    pub(super) ramp: Option<Period>,
    /// How long it stays lost once everybody has moved [default: 5m]
    #[arg(long, value_name = "PERIOD", requires = "lose")]
    pub(super) hold: Option<Period>,
    /// Over how long clients are led back [default: as long as the ramp]
    #[arg(long, value_name = "PERIOD", requires = "lose")]
    pub(super) lift: Option<Period>,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysOrder {
    /// Print the DS records of a zone for its parent, by SHA-256 and by SHA-384
    ///
    /// One of them is enough; SHA-256 is what every parent takes. Parents that read CDS or CDNSKEY (RFC 7344) find the same there.
    #[command(after_help = "Example:\n  signpost keys ds svc.example")]
    Ds {
        /// The zone's apex
        #[arg(value_parser = zone)]
        zone: Name,
    },
    /// Let a new key follow the one that a zone has
    ///
    /// A zone-signing key (zsk) is published, signs once every cache knows it, and the old one goes when its signatures are gone. A ksk or
    /// csk is published, then CDS and CDNSKEY ask the parent for its DS; the old one stays in use until `signpost keys ds-seen`.
    #[command(after_help = "Examples:\n  signpost keys roll svc.example csk\n  signpost keys roll svc.example zsk")]
    Roll {
        /// The zone's apex
        #[arg(value_parser = zone)]
        zone: Name,
        /// The role whose key is followed by another
        key: RoleArgument,
    },
    /// Say that every server of the parent has the DS of a key, and none that of the key before
    ///
    /// The key before goes once its DS is in no cache either. See with: dig DS ZONE @PARENT-SERVER, at each server of the parent.
    #[command(after_help = "Example:\n  signpost keys ds-seen svc.example 12345")]
    DsSeen {
        /// The zone's apex
        #[arg(value_parser = zone)]
        zone: Name,
        /// The tag of the key
        tag: u16,
    },
    /// Bring the keys of another server, so that the DS in the parent stays as it is
    ///
    /// Takes K*.private and K*.key files as BIND, Knot and ldns export them, and unencrypted PEM (PKCS #8): one key that signs everything,
    /// or a ksk and a zsk; ECDSA on P-256, or Ed25519. Import them before the zone stands in dnssec.zones: then it is signed with them from
    /// the start.
    #[command(
        after_help = "Examples:\n  signpost keys import svc.example Ksvc.example.+013+12345.private\n  signpost keys import svc.example key.pem"
    )]
    Import {
        /// The zone's apex
        #[arg(value_parser = zone)]
        zone: Name,
        /// Key files; the .key file of a .private file is found beside it
        #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
    },
    /// Lead a zone out of DNSSEC without a moment in which nobody can validate it
    ///
    /// 1. `signpost keys unsign ZONE`: CDS and CDNSKEY ask the parent to remove every DS (RFC 8078 §4); where it reads neither, ask it
    ///    yourself. The zone stays signed.
    /// 2. `signpost keys unsign ZONE --ds-gone`, once no server of the parent has a DS.
    /// 3. `signpost keys` says when no cache has one either: take the zone out of dnssec.zones then. Taken out before, it stays signed.
    #[command(
        verbatim_doc_comment,
        after_help = "Examples:\n  signpost keys unsign svc.example\n  signpost keys unsign svc.example --ds-gone\n  signpost keys unsign svc.example --undo"
    )]
    Unsign(UnsignArguments),
}

#[derive(Debug, Args)]
pub(super) struct UnsignArguments {
    /// The zone's apex
    #[arg(value_parser = zone)]
    pub(super) zone: Name,
    /// No server of the parent has a DS of the zone any more
    #[arg(long)]
    pub(super) ds_gone: bool,
    /// Ask no more: the zone stays signed
    #[arg(long, conflicts_with = "ds_gone")]
    pub(super) undo: bool,
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RoleArgument {
    /// The keys
    Ksk,
    /// Everything else
    Zsk,
    /// Everything
    Csk,
}

impl RoleArgument {
    /// As the API has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            RoleArgument::Ksk => "ksk",
            RoleArgument::Zsk => "zsk",
            RoleArgument::Csk => "csk",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenOrder {
    /// Make a token: prints its secret once, and the lines to paste into signpost.toml
    #[command(
        after_help = "Examples:\n  signpost token create ci --right register --service web-\n  signpost token create oncall --right read --right operate"
    )]
    Create(TokenArguments),
}

#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// Its name, shown in the audit log
    #[arg(value_parser = token_name)]
    pub(super) name: String,
    /// What it may do; may stand several times
    #[arg(long = "right", value_name = "RIGHT", required = true, value_delimiter = ',')]
    pub(super) rights: Vec<RightArgument>,
    /// Only for services whose names begin so; may stand several times [default: all services]
    #[arg(long = "service", value_name = "PREFIX", value_delimiter = ',', value_parser = service_prefix)]
    pub(super) services: Vec<String>,
}

/// A right, as it is written in signpost.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum RightArgument {
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
    pub(super) fn as_str(self) -> &'static str {
        match self {
            RightArgument::Read => "read",
            RightArgument::Register => "register",
            RightArgument::Operate => "operate",
            RightArgument::Admin => "admin",
        }
    }
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

fn api_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    url.ok_or_else(|| "expected a URL such as http://127.0.0.1:8053".into())
}

pub(super) fn instance_key(text: &str) -> Result<InstanceKey, String> {
    let (service, id) = text.split_once('/').ok_or("expected SERVICE/ID, such as web/eu1")?;
    let label = |text: &str| Label::parse(text).map_err(|e| e.to_string());
    Ok(InstanceKey { service: label(service)?, id: label(id)? })
}

/// A zone's name, as it stands in a path.
fn zone_path(text: &str) -> Result<String, String> {
    let name = Name::parse(text).map_err(|e| e.to_string())?;
    Ok(name.to_string().bytes().map(|b| if b"/%?#\\".contains(&b) { format!("%{b:02X}") } else { char::from(b).into() }).collect())
}

fn subject(text: &str) -> Result<Subject, String> {
    Subject::parse(text).map_err(|e| match e.expected.contains(" not ") || e.expected.contains('"') {
        true => format!("expected {}", e.expected),
        false => e.expected,
    })
}

fn assumption(text: &str) -> Result<String, String> {
    let (what, state) = text.split_once('=').ok_or("expected SUBJECT=STATE, such as region/eu-west=drained")?;
    subject(what)?;
    match state {
        "drained" | "serving" | "healthy" | "unhealthy" | "pending" => Ok(text.to_owned()),
        _ => Err(format!("expected drained, serving, healthy, unhealthy or pending behind '=', not {state:?}")),
    }
}

fn zone(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|e| e.to_string())
}

fn prefix(text: &str) -> Result<String, String> {
    match text.parse::<IpAddr>().is_ok() || text.parse::<ipnet::IpNet>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err("expected a prefix such as 10.1.0.0/16 or 2001:db8::/48".into()),
    }
}

fn token_name(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b)) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 64 letters, digits and '-', '_', '.', '@'".into()),
    }
}

fn service_prefix(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("expected the beginning of service names, such as web-".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        parse(line.split_whitespace()).map_err(|e| e.render().to_string())
    }

    #[test]
    fn the_definition_is_sound_and_every_help_has_an_example() {
        command().debug_assert();
        let mut seen = 0;
        let mut open = vec![command()];
        while let Some(mut command) = open.pop() {
            let help = command.render_long_help().to_string();
            let name = command.get_name().to_owned();
            let example = help.split_once("Example").map(|(_, after)| after).unwrap_or_default();
            assert!(example.contains("signpost"), "no example in the help of {name}:\n{help}");
            if name != "signpost" {
                assert!(example.contains(&name), "the example of {name} is of something else:\n{help}");
            }
            open.extend(command.get_subcommands().cloned());
            seen += 1;
        }
        assert_eq!(
            seen, 33,
            "signpost, its 23 subcommands, token create, drills run, show and stop, and keys ds, roll, ds-seen, import and unsign"
        );
    }

    #[test]
    fn help_shows_only_the_options_that_concern_a_subcommand() {
        let help = |line: &str| parsed(&format!("signpost {line} --help")).unwrap_err();
        for (line, shown, hidden) in [
            ("serve", "--config", "--api"),
            ("check", "--config", "--token-file"),
            ("instances", "--api", "--config"),
            ("token create", "--output", "--api"),
            ("man", "--dir", "--config"),
        ] {
            let help = help(line);
            assert!(help.contains(shown) && !help.contains(hidden), "{line}:\n{help}");
        }
    }

    #[test]
    fn what_is_right_parses() {
        for line in [
            "signpost",
            "signpost --config a.toml",
            "signpost serve --config a.toml",
            "signpost --config a.toml check --output json",
            "signpost --api http://[::1]:8053 status",
            "signpost status --api https://signpost.example/ --token-file /run/token --color never",
            "signpost instances web --healthy --region eu-west --tag blue",
            "signpost explain web.svc.example --client 203.0.113.9",
            "signpost explain web.svc.example SRV --client 2001:db8::7 --with region/eu-west=drained --with instance/web/eu1=unhealthy",
            "signpost register web/eu1 --address 192.0.2.10,2001:db8::1 --port http=8080 --port dns=53/udp --region eu-west --az a --weight 5 \
             --tag blue --meta version=1 --heartbeat 30s --deregister-after 10m --check http=/healthz,port=http --check tcp",
            "signpost register web/eu1 --file -",
            "signpost deregister web/eu1",
            "signpost drain az/eu-west/a --reason drill --expires 30m",
            "signpost drain region/eu-west --reason drill --ramp 10m --override tested",
            "signpost undrain instance/web/eu1",
            "signpost undrain region/eu-west --ramp 0s",
            "signpost pause region/eu-west",
            "signpost resume instance/web/eu1",
            "signpost drains --output json",
            "signpost measurements --client 198.51.100.0/24",
            "signpost drills",
            "signpost drills run evacuate-eu",
            "signpost drills run --lose region/eu-west --ramp 10m --hold 15m --lift 5m",
            "signpost drills show 20261124T100000Z-evacuate-eu --output json",
            "signpost keys",
            "signpost keys ds svc.example",
            "signpost keys roll svc.example zsk",
            "signpost keys ds-seen svc.example. 12345 --output json",
            "signpost keys import svc.example Ksvc.example.+013+12345.key key.pem",
            "signpost keys unsign svc.example --ds-gone",
            "signpost simulate",
            "signpost simulate --lose region/eu-west --lose az/us/a --name web.svc.example --client 203.0.113.0/24 --client 2001:db8::7",
            "signpost healthcheck",
            "signpost token create ci --right read,register --right operate --service web-",
            "signpost completions fish",
            "signpost man token create",
        ] {
            if let Err(error) = parsed(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_usage_and_says_what_was_expected() {
        for (line, said) in [
            ("signpost simulation", "unrecognized subcommand"),
            ("signpost simulate --lose eu-west", "expected one of region/NAME"),
            ("signpost simulate --lose region/eu --client here", "expected a prefix such as 10.1.0.0/16"),
            ("signpost simulate --name web.svc.example", "--lose <KIND/NAME>"),
            ("signpost status --api 127.0.0.1:8053", "expected a URL such as http://127.0.0.1:8053"),
            ("signpost status --output yaml", "[possible values: text, json]"),
            ("signpost instances", "<SERVICE>"),
            ("signpost instances we.b", "letters, digits"),
            ("signpost explain web.svc.example A", "--client <IP>"),
            ("signpost explain web.svc.example A --client here", "invalid IP address syntax"),
            ("signpost explain x A --client ::1 --with region/eu-west", "expected SUBJECT=STATE"),
            ("signpost explain x A --client ::1 --with region/eu-west=gone", "expected drained, serving"),
            ("signpost register web --address 192.0.2.1 --region r --az a", "expected SERVICE/ID, such as web/eu1"),
            ("signpost register web/eu1", "--address <IP>"),
            ("signpost register web/eu1 --address 192.0.2.1 --az a", "--region <REGION>"),
            ("signpost register web/eu1 --file a --weight 3", "cannot be used with"),
            ("signpost register web/eu1 --address 192.0.2.1 --region r --az a --port 80", "expected NAME=PORT"),
            ("signpost register web/eu1 --address 192.0.2.1 --region r --az a --deregister-after 1m", "--heartbeat <PERIOD>"),
            ("signpost register web/eu1 --address 192.0.2.1 --region r --az a --check http=/,rise=11", "rise"),
            ("signpost register web/eu1 --address 192.0.2.1 --region r --az a --heartbeat soon", "200ms, 5s, 10m or 4h"),
            ("signpost drain eu-west --reason x", "expected one of region/NAME, az/REGION/AZ, service/NAME, instance/SERVICE/ID"),
            ("signpost drain az/eu-west --reason x", "expected az/REGION/AZ, not \"az/eu-west\""),
            ("signpost drain region/eu-west", "--reason <TEXT>"),
            ("signpost drain region/eu-west --reason x --ramp soon", "200ms, 5s, 10m or 4h"),
            ("signpost undrain", "<KIND/NAME>"),
            ("signpost drills run", "<NAME>"),
            ("signpost drills run a --lose region/eu", "cannot be used with"),
            ("signpost drills run a --hold 5m", "cannot be used with"),
            ("signpost drills show", "<RUN>"),
            ("signpost keys roll svc.example", "<KEY>"),
            ("signpost keys roll svc.example dnskey", "[possible values: ksk, zsk, csk]"),
            ("signpost keys ds-seen svc.example 70000", "is not in 0..=65535"),
            ("signpost keys import svc.example", "<FILE>..."),
            ("signpost keys ds a..b", "has a label that is empty"),
            ("signpost keys unsign svc.example --ds-gone --undo", "cannot be used with"),
            ("signpost pause eu-west", "expected one of region/NAME"),
            ("signpost token create ci", "--right <RIGHT>"),
            ("signpost token create ci --right root", "[possible values: read, register, operate, admin]"),
            ("signpost token create c\"i --right read", "expected 1 to 64 letters"),
            ("signpost completions tcsh", "[possible values: bash"),
        ] {
            let error = parse(line.split_whitespace()).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            let text = error.render().to_string();
            assert!(text.contains(said), "{line}:\n{text}");
        }
    }
}
