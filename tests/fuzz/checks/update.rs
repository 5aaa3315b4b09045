//! Octets as an update of a zone (RFC 2136): read or refused with an RCODE; refused, it changes nothing; accepted, the zone is served and its
//! serial later, also when it is read again from what was stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use signpost::codec::NameBuf;
use signpost::config;
use signpost::control::{ApplyError, Input, Landing, Writer};
use signpost::model::{Geo, Name, NamePattern, Revision, Settings, Timestamp, UpdateRight, UpdateTypes, Zone};
use signpost::registry::{Command, Refusal, View};
use signpost::store::{Item, Key, Operation, Value};
use signpost::wire::update::{conclude, read_update};

const ZONE: &str = "$TTL 60\n@ SOA ns hostmaster 7 7200 900 1209600 60\n@ NS ns\n@ NS ns.elsewhere.\nns A 192.0.2.53\nwww A 192.0.2.1\nwww A \
                    192.0.2.2\nwww TXT text\nalias CNAME www\nsub NS ns.sub\nns.sub A 192.0.2.9\nmoved DNAME elsewhere.\n*.wild TXT star\n\
                    mail MX 10 www\nsrv SRV 1 1 80 x.wild\na.b.c A 192.0.2.3\n";

/// Updates that one writer takes before another begins: what is stored grows.
const MOST: usize = 64;

/// A writer of one zone, `z.test`, and what it has stored.
pub struct Updates {
    writer: Writer<()>,
    items: BTreeMap<Key, (Revision, Value)>,
    revision: Revision,
    taken: usize,
}

impl Updates {
    pub fn new() -> Updates {
        Updates { writer: begin(Revision(0), Vec::new()), items: BTreeMap::new(), revision: Revision(0), taken: 0 }
    }

    /// Takes octets as a message.
    pub fn check(&mut self, octets: &[u8]) {
        if let Some(reply) = conclude(octets, 5, Some((18, "why"))) {
            assert!(reply.len() >= 12 && reply[2] & 0x80 != 0 && reply[..2] == octets[..2], "a reply to it");
            assert_eq!(conclude(&reply, 0, None), None, "no reply to a reply");
        }
        let Ok(update) = read_update(octets) else { return };
        let (served, items, before) = (self.writer.snapshot().clone(), self.items.clone(), self.serial());
        let rights =
            vec![UpdateRight { key: Name::root(), names: vec![NamePattern::parse("**").expect("all names")], types: UpdateTypes::Every }];
        let command = Command::Update { update: Arc::new(update), key: Name::root(), rights };
        match self.ask(command) {
            Ok(()) if self.items == items => {
                assert!(Arc::ptr_eq(&served, self.writer.snapshot()), "nothing changed, and something is published")
            }
            Ok(()) => {
                let moved = self.serial().wrapping_sub(before);
                assert!(moved > 0 && moved < 1 << 31, "the serial goes forward");
                let items = self.items.iter();
                let items = items.map(|(key, (revision, value))| Item { key: key.clone(), value: value.clone(), revision: *revision });
                let again = begin(self.revision, items.collect());
                let registry = |writer: &Writer<()>| writer.registry().read().expect("a registry").clone();
                assert_eq!(registry(&again).overlays, registry(&self.writer).overlays, "what was stored is read again");
                assert_eq!(found(&again), found(&self.writer), "a zone that was patched is what a zone compiled whole is");
            }
            Err(ApplyError::Refused(Refusal::Update(refusal))) => {
                assert!((1..=10).contains(&refusal.rcode()), "{refusal}");
                assert!(Arc::ptr_eq(&served, self.writer.snapshot()) && self.items == items, "refused, and something changed: {refusal}");
            }
            Err(error) => panic!("{error}"),
        }
        self.taken += 1;
        if self.taken > MOST {
            *self = Updates::new();
        }
    }

    fn serial(&self) -> u32 {
        let registry = self.writer.registry().read().expect("a registry");
        let (zone, overlay) = registry.zone(&zone().apex).expect("the zone");
        View::new(zone, overlay).serial()
    }

    fn ask(&mut self, command: Command) -> Result<(), ApplyError> {
        let now = Timestamp(1_000);
        self.writer.handle(now, Input::Command { reply: (), command, author: "fuzz".into() });
        let mut answers = Vec::new();
        while let Some(departure) = self.writer.depart(now) {
            let commands = departure.commands.iter().map(|operations| Ok(self.commit(operations))).collect();
            let behind = (!departure.behind.is_empty()).then(|| Ok(self.commit(&departure.behind)));
            self.writer.land(now, Landing { commands, behind });
            answers.extend(self.writer.output(now).answers);
        }
        answers.extend(self.writer.output(now).answers);
        answers.pop().expect("an answer").1.map(drop)
    }

    fn commit(&mut self, operations: &[Operation]) -> Revision {
        self.revision.0 += 1;
        for operation in operations {
            match operation {
                Operation::Put { key, value, .. } => _ = self.items.insert(key.clone(), (self.revision, value.clone())),
                Operation::Delete { key, .. } => _ = self.items.remove(key),
            }
        }
        self.revision
    }
}

impl Default for Updates {
    fn default() -> Updates {
        Updates::new()
    }
}

/// What is found at every name of the zone, below it, and beside its RRsets.
fn found(writer: &Writer<()>) -> Vec<String> {
    let snapshot = writer.snapshot();
    let Some(zone) = snapshot.zones().next() else { return Vec::new() };
    let (mut all, mut at) = (vec![format!("{} {:?}", zone.serial(), zone.negative())], 0);
    while let Some((key, owner, next)) = zone.owner_from(at) {
        all.push(format!("{key:?} {owner:?}"));
        for below in [&b""[..], b"\x01x"] {
            let name = NameBuf::from_wire(&[below, key, zone.apex()].concat());
            all.extend(name.map(|name| format!("{:?}", zone.lookup(&name))));
        }
        at = next;
    }
    all
}

fn zone() -> Zone {
    config::zone_text("z.test.zone", ZONE).expect("a good zone").0
}

fn begin(revision: Revision, items: Vec<Item>) -> Writer<()> {
    Writer::begin((revision, items), vec![zone()], Geo::default(), &Settings::default().dns, Timestamp(1_000)).expect("a writer")
}
