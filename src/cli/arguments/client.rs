//! The subcommands that talk to a running server, and those of their arguments that are about one look at it.

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::keys::KeysOrder;
use super::rehearsal::{DrainArguments, DrillsOrder, SimulateArguments};
use super::words::{assumption, instance_key, subject, zone_path};
use crate::cli::register::RegisterArguments;
use crate::model::{InstanceKey, Label, Period, Subject};

/// The subcommands that talk to a running server.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ClientOrder {
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
pub(in crate::cli) struct InstancesArguments {
    /// The service
    pub(in crate::cli) service: Label,
    /// Only those that are healthy and not drained
    #[arg(long)]
    pub(in crate::cli) healthy: bool,
    /// Only those in this region
    #[arg(long)]
    pub(in crate::cli) region: Option<Label>,
    /// Only those with this tag
    #[arg(long)]
    pub(in crate::cli) tag: Option<Label>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArguments {
    /// The name, such as web.svc.example
    pub(in crate::cli) name: String,
    /// The type: A, AAAA, SRV, HTTPS, TXT, …
    #[arg(value_name = "TYPE", default_value = "A")]
    pub(in crate::cli) kind: String,
    /// The client's address, IPv4 or IPv6
    #[arg(long, value_name = "IP")]
    pub(in crate::cli) client: IpAddr,
    /// Assume something to be otherwise: region/R=drained, region/R=serving, instance/S/ID=unhealthy; may stand several times
    #[arg(long = "with", value_name = "SUBJECT=STATE", value_parser = assumption)]
    pub(in crate::cli) assumptions: Vec<String>,
}
