//! Octets as a query to a rich world: every policy over overlapping networks, static zones within each other, texts of class CH.
//!
//! The first octet says of which of the worlds (bits 0 and 3) and who asks (bits 1 and 2); the rest is the message.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use signpost::config;
use signpost::control::{Input, Landing, Writer};
use signpost::model::{CookieSecret, Drain, DrainFields, InstanceKey, Label, Revision, Settings, Subject, Timestamp};
use signpost::registry::Command;
use signpost::snapshot::Snapshot;

use super::ask::Asker;
use super::limited;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const PEERS: [&str; 4] = ["198.51.100.7:40000", "[2001:db8:1::7]:40000", "10.0.0.1:53", "[::ffff:10.1.2.3]:1024"];

/// The worlds, and who asks them.
pub struct Worlds {
    worlds: [Arc<Snapshot>; 2],
    guarded: Arc<Snapshot>,
    asker: Asker,
}

impl Worlds {
    /// From the folder `tests/fuzz/world`.
    pub fn new(folder: &Path) -> Worlds {
        let worlds = [Temper::Plain, Temper::Talkative].map(|temper| world(folder, temper));
        Worlds { worlds, guarded: world(folder, Temper::Guarded), asker: Asker::new() }
    }

    /// Sends `input` and checks what comes back.
    pub fn check(&mut self, input: &[u8]) {
        let Some((flags, octets)) = input.split_first() else { return };
        let octets = &octets[..octets.len().min(65_535)];
        let peer: SocketAddr = PEERS[usize::from(flags >> 1 & 3)].parse().expect("an address");
        if flags & 8 != 0 {
            return limited::ask(&self.guarded, octets, peer);
        }
        self.asker.ask(&self.worlds[usize::from(flags & 1)], octets, peer);
    }
}

/// How a world is set up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Temper {
    /// As by default.
    Plain,
    /// It says who it is, sends more in a datagram, and has drains and instances that are down.
    Talkative,
    /// It says who it is to those whom it knows, and limits all but 10.0.0.0/8.
    Guarded,
}

/// A world from files.
fn world(folder: &Path, temper: Temper) -> Arc<Snapshot> {
    let talkative = temper == Temper::Talkative;
    let mut settings = Settings { zones_dir: folder.join("zones"), geo_dir: folder.join("geo"), ..Settings::default() };
    if temper != Temper::Plain {
        settings.dns.version = Some("signpost".into());
        settings.dns.identity = Some("fuzzed".into());
        settings.dns.udp_payload = 4096;
    }
    if temper == Temper::Guarded {
        settings.dns.cookies.secrets = vec![CookieSecret([7; 16]), CookieSecret([8; 16])];
        settings.dns.unverified_max = 256;
        settings.dns.rate_limit.per_second = 2;
        settings.dns.rate_limit.exempt = vec!["10.0.0.0/8".parse().expect("a network")];
    }
    let loaded = config::world(&settings).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let begun = Writer::<()>::begin((Revision(0), Vec::new()), loaded.zones, loaded.geo, &settings.dns, NOW);
    let mut writer = begun.unwrap_or_else(|error| panic!("{error}"));
    if talkative {
        for instance in
            ["half/ams-1b", "half/iad-1b", "gone/ams-1a", "gone/iad-1a", "gone/nrt-1a", "gone/syd-1a", "dead/ams-1a", "dead/iad-1a"]
        {
            let (service, id) = instance.split_once('/').expect("SERVICE/ID");
            let label = |text| Label::parse(text).expect("a label");
            let key = InstanceKey { service: label(service), id: label(id) };
            let pushed = serde_json::from_value(serde_json::json!({ "status": "critical" })).expect("a status");
            command(&mut writer, Command::Push { key, pushed });
        }
        for place in ["az/iad/iad-2", "region/fra"] {
            let fields = DrainFields { reason: "a drill".into(), r#override: Some("a drill".into()), ..DrainFields::default() };
            let drain = Drain::start(fields, "somebody", NOW).expect("a drain");
            command(&mut writer, Command::Drain { subject: Subject::parse(place).expect("a place"), drain });
        }
    }
    writer.snapshot().clone()
}

fn command(writer: &mut Writer<()>, command: Command) {
    writer.handle(NOW, Input::Command { reply: (), command, author: "somebody".into() });
    while let Some(departure) = writer.depart(NOW) {
        let commands = departure.commands.iter().map(|_| Ok(Revision(1))).collect();
        let landing = Landing { commands, behind: (!departure.behind.is_empty()).then_some(Ok(Revision(1))) };
        writer.land(NOW, landing);
        for (_, answer) in writer.output(NOW).answers {
            answer.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
