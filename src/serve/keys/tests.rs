//! Keys of a whole server: made, kept, led from step to step on a virtual clock, lost, imported, and given up.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::{Running, settings};
use super::steps::HEARTBEAT;
use super::*;
use crate::api::{ImportedKey, KeyDesk, KeyRefusal, UnsignStep, ZoneKeysDocument};
use crate::codec::NameBuf;
use crate::codec::code::rtype;
use crate::model::{Edit, Geo, NamePattern, Settings, Timestamp, UpdateRight, UpdateTypes, ZoneUpdate};
use crate::registry::Command;
use crate::sign::parent::Delegated;
use crate::sign::{RollRefusal, formats};
use crate::snapshot::{Lookup, Unsigned};
use crate::store::{Embedded, Engine};

const DAY: u64 = 86_400_000;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn zone() -> Zone {
    Zone::new(name("svc.example"), "zones/svc.example.toml", name("ns1.svc.example"), 1)
}

/// A server's keys, on a clock that stands still until it is set.
struct Bench {
    folder: tempfile::TempDir,
    now: Arc<AtomicU64>,
    settings: DnssecSettings,
    keys: Option<(Keys, Control)>,
}

impl Bench {
    fn new(settings: DnssecSettings) -> Bench {
        let now = Arc::new(AtomicU64::new(1_700_000_000_000));
        Bench { folder: tempfile::tempdir().unwrap(), now, settings, keys: None }
    }

    /// Starts, or starts again.
    async fn start(&mut self) -> Result<(), ServeError> {
        let now = self.now.clone();
        let clock: Clock = Arc::new(move || Timestamp(now.load(Ordering::Relaxed)));
        let keys = Keys::open(self.folder.path().join("keys"), clock.clone())?;
        let (zones, prepared) = keys.prepare(&self.settings, vec![zone()]).await?;
        let engine = Engine::Embedded(Embedded::in_memory().unwrap());
        let control = Control::start(engine, zones, Geo::default(), Settings::default().dns, None, clock).await.unwrap();
        keys.settle(prepared, &control).await;
        // Steps are taken when the test says so.
        if let Some(task) = lock(&keys.0.task).take() {
            task.abort();
        }
        self.keys = Some((keys, control));
        Ok(())
    }

    /// Reads files again, with these settings.
    async fn reload(&mut self, settings: DnssecSettings) {
        self.settings = settings;
        let (keys, control) = self.keys.as_ref().unwrap();
        let (zones, prepared) = keys.prepare(&self.settings, vec![zone()]).await.unwrap();
        control.load(zones, Geo::default(), Settings::default().dns).await.unwrap();
        keys.settle(prepared, control).await;
    }

    fn keys(&self) -> &Keys {
        &self.keys.as_ref().unwrap().0
    }

    /// Takes every step that is due after so many days.
    async fn pass(&self, days: f64) {
        self.now.fetch_add((days * DAY as f64) as u64, Ordering::Relaxed);
        self.keys().0.advance().await.unwrap();
        self.keys().0.heartbeat();
    }

    fn document(&self) -> ZoneKeysDocument {
        self.keys().zone(&name("svc.example")).unwrap()
    }

    /// The keys in words, and how many of them answers show.
    fn shown(&self) -> String {
        let stages: Vec<String> = self.document().keys.iter().map(|key| format!("{} {}", key.role.name(), key.stage)).collect();
        let snapshot = self.keys.as_ref().unwrap().1.publisher().load();
        let apex = NameBuf::from_wire(name("svc.example").wire()).unwrap();
        let Lookup::Owner(owner) = snapshot.zone(&apex).unwrap().lookup(&apex) else { panic!("the apex is there") };
        let count = |rtype: u16| owner.sets().find(|set| set.rtype() == rtype).map_or(0, |set| set.len());
        format!("{}; {} DNSKEY {} CDS", stages.join(", "), count(rtype::DNSKEY), count(rtype::CDS))
    }

    /// Tags of the keys that sign a type at the apex.
    fn signers(&self, rtype: u16) -> Vec<u16> {
        let set = Unsigned::new(name("svc.example"), name("svc.example"), rtype, 30, vec![[1; 4].into()]);
        let signatures = self.keys().ring().load().sign(&set, Timestamp(self.now.load(Ordering::Relaxed))).unwrap();
        signatures.iter().map(|signature| u16::from_be_bytes([signature.rdata[16], signature.rdata[17]])).collect()
    }
}

fn of_svc(split: bool) -> DnssecSettings {
    DnssecSettings { zones: vec![name("svc.example")], split, ..DnssecSettings::default() }
}

#[tokio::test]
async fn keys_are_made_kept_and_led_from_step_to_step() {
    let mut bench = Bench::new(of_svc(true));
    bench.start().await.unwrap();
    assert_eq!(bench.shown(), "ksk published, zsk active; 2 DNSKEY 0 CDS");
    let tags = |bench: &Bench| bench.document().keys.iter().map(|key| key.tag).collect::<Vec<_>>();
    let first = tags(&bench);
    assert_eq!((bench.signers(rtype::DNSKEY), bench.signers(rtype::SOA)), (vec![first[0]], vec![first[1]]));
    bench.start().await.unwrap();
    assert_eq!(tags(&bench), first, "the same after a start");

    bench.pass(0.1).await;
    assert_eq!(bench.shown(), "ksk submitted, zsk active; 2 DNSKEY 1 CDS");
    assert!(bench.document().ds_wanted && bench.document().note.unwrap().contains(&format!("ds-seen svc.example {}", first[0])));
    bench.keys().ds_seen(name("svc.example"), first[0]).await.unwrap();
    assert_eq!(bench.keys().ds_seen(name("svc.example"), 1).await, Err(RollRefusal::Unknown(1).into()));
    bench.pass(91.0).await;
    assert_eq!(bench.shown(), "ksk active, zsk active, zsk published; 3 DNSKEY 1 CDS");
    // A start in between changes nothing but the time that is waited.
    bench.start().await.unwrap();
    bench.pass(0.1).await;
    assert_eq!(bench.shown(), "ksk active, zsk retired, zsk active; 3 DNSKEY 1 CDS");
    let second = tags(&bench)[2];
    assert_eq!(bench.signers(rtype::SOA), [second]);
    bench.pass(0.1).await;
    assert_eq!(bench.shown(), "ksk active, zsk active; 2 DNSKEY 1 CDS");
    let files = || std::fs::read_dir(bench.folder.path().join("keys/svc.example")).unwrap().count();
    assert_eq!(files(), 5, "two keys of two files each, and the list");

    assert!(matches!(bench.keys().roll(name("svc.example"), KeyRole::Csk).await, Err(KeyRefusal::Roll(RollRefusal::NoSuchRole(..)))));
    bench.keys().roll(name("svc.example"), KeyRole::Ksk).await.unwrap();
    assert_eq!(bench.signers(rtype::DNSKEY).len(), 2, "both sign the keys");
    bench.pass(0.1).await;
    let third = tags(&bench)[2];
    bench.keys().ds_seen(name("svc.example"), third).await.unwrap();
    bench.pass(2.0).await;
    assert_eq!(bench.shown(), "zsk active, ksk active; 2 DNSKEY 1 CDS");
    assert_eq!((bench.signers(rtype::DNSKEY), files()), (vec![third], 5));
    assert_eq!(bench.keys().zone(&name("other.example")), Err(KeyRefusal::UnknownZone(name("other.example"))));
}

/// What a server of the parent has: DS records; or it is a resolver, which leads to the servers of `example`.
#[derive(Clone)]
enum Has {
    Ds(Arc<Mutex<Vec<Box<[u8]>>>>),
    Servers(&'static [&'static str]),
}

/// A server, which answers over TCP.
async fn server(at: &str, has: Has) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut line, _)) = listener.accept().await {
            let mut query = vec![0; line.read_u16().await.unwrap().into()];
            line.read_exact(&mut query).await.unwrap();
            let reply = reply(&query, &has);
            line.write_u16(reply.len() as u16).await.unwrap();
            line.write_all(&reply).await.unwrap();
        }
    });
    address
}

fn reply(query: &[u8], has: &Has) -> Vec<u8> {
    let (qname, end) = NameBuf::parse(query, 12).unwrap();
    let (qname, qtype) = (Name::from_wire(qname.wire()), u16::from_be_bytes([query[end], query[end + 1]]));
    let soa = [name("example").wire(), &[0; 21]].concat();
    let mut lines: Vec<(u8, Name, u16, Box<[u8]>)> = Vec::new();
    let flags = match has {
        Has::Ds(sets) => {
            lines.extend(lock(sets).iter().map(|ds| (7, qname.clone(), rtype::DS, ds.clone())));
            if lines.is_empty() {
                lines.push((9, name("example"), rtype::SOA, soa.into()));
            }
            0x8400
        }
        Has::Servers(addresses) => {
            match qtype {
                rtype::SOA if qname == name("example") => lines.push((7, qname, rtype::SOA, soa.into())),
                rtype::NS => lines.extend((0..2).map(|n| (7, qname.clone(), rtype::NS, name(&format!("ns{n}.example")).wire().into()))),
                rtype::A => {
                    let n = usize::from(qname == name("ns1.example"));
                    let ip: std::net::Ipv4Addr = addresses[n].parse().unwrap();
                    lines.push((7, qname, rtype::A, ip.octets().into()));
                }
                _ => {}
            }
            0x8180
        }
    };
    let mut reply = query.to_vec();
    reply[2..4].copy_from_slice(&u16::to_be_bytes(flags));
    for (count, owner, rtype, data) in lines {
        reply[usize::from(count)] += 1;
        reply.extend([owner.wire(), &rtype.to_be_bytes(), &[0, 1, 0, 0, 1, 44], &(data.len() as u16).to_be_bytes(), &data].concat());
    }
    reply
}

#[tokio::test]
async fn what_every_server_of_the_parent_has_is_taken_up_by_itself() {
    let (near, far): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>) = Default::default();
    let one = server("127.0.0.1:0", Has::Ds(near.clone())).await;
    let two = server(&format!("127.0.0.2:{}", one.port()), Has::Ds(far.clone())).await;
    let mut settings = of_svc(false);
    settings.parents.insert(None, vec![one, two]);
    let mut bench = Bench::new(settings);
    bench.start().await.unwrap();
    let ds = |bench: &Bench, tag: u16| {
        let state = bench.keys().0.state();
        digest::ds(&name("svc.example"), &state.zones[&name("svc.example")].keys.key(tag).unwrap().dnskey(), digest::DigestType::Sha256)
    };
    bench.pass(0.1).await;
    bench.keys().0.look().await;
    let first = bench.document().keys[0].tag;
    assert!(
        bench
            .document()
            .note
            .unwrap()
            .contains(&format!("asked every 10m, and what they have is taken up by itself; last: {one} has no DS"))
    );
    near.lock().unwrap().push(ds(&bench, first));
    bench.keys().0.look().await;
    assert_eq!(bench.shown(), "csk submitted; 1 DNSKEY 1 CDS", "it is not asked again at once");
    bench.pass(0.01).await;
    bench.keys().0.look().await;
    assert!(bench.document().note.unwrap().contains(&format!("last: {two} has no DS")), "{:?}", bench.document().note);
    far.lock().unwrap().push(ds(&bench, first));
    bench.pass(0.01).await;
    bench.keys().0.look().await;
    assert_eq!(bench.shown(), "csk active; 1 DNSKEY 1 CDS");

    // Nothing waits for a time: a start writes nothing. (What lies in the folder is touched by nobody else.)
    let list = bench.folder.path().join("keys/svc.example/keys.json");
    let written = || std::fs::metadata(&list).unwrap().modified().unwrap();
    let before = written();
    bench.start().await.unwrap();
    assert_eq!((bench.shown(), written()), ("csk active; 1 DNSKEY 1 CDS".into(), before));

    // A roll: the old DS goes, first here, then there.
    bench.keys().roll(name("svc.example"), KeyRole::Csk).await.unwrap();
    bench.pass(0.1).await;
    let second = bench.document().keys[1].tag;
    near.lock().unwrap()[0] = ds(&bench, second);
    far.lock().unwrap().push(ds(&bench, second));
    bench.keys().0.look().await;
    assert!(bench.document().note.unwrap().contains(&format!("last: {two} has the DS of key {first} still")));
    far.lock().unwrap().remove(0);
    bench.pass(0.01).await;
    bench.keys().0.look().await;
    assert_eq!(bench.shown(), "csk retired, csk active; 2 DNSKEY 1 CDS");
    bench.pass(1.1).await;
    assert_eq!(bench.shown(), "csk active; 1 DNSKEY 1 CDS");

    // Out of DNSSEC.
    bench.keys().unsign(name("svc.example"), UnsignStep::Ask).await.unwrap();
    near.lock().unwrap().clear();
    bench.keys().0.look().await;
    assert!(bench.document().note.unwrap().contains(&format!("last: {two} has a DS still")));
    far.lock().unwrap().clear();
    bench.pass(0.01).await;
    bench.keys().0.look().await;
    assert!(bench.document().note.unwrap().contains("caches may hold a DS, or keys"));
}

#[tokio::test]
async fn a_resolver_leads_to_every_server_of_the_parent() {
    let ds: Box<[u8]> = Box::new([0, 1, 13, 2, 9]);
    let sets = Arc::new(Mutex::new(vec![ds.clone()]));
    let one = server("127.0.0.1:0", Has::Ds(sets.clone())).await;
    server(&format!("127.0.0.2:{}", one.port()), Has::Ds(sets)).await;
    let both = server("127.0.0.1:0", Has::Servers(&["127.0.0.1", "127.0.0.2"])).await;
    let one_is_down = server("127.0.0.1:0", Has::Servers(&["127.0.0.1", "127.0.0.3"])).await;
    let said = parents::ask_at(&[both], &name("www.svc.example"), one.port()).await;
    let has = |server: &str| (server.to_string(), Ok(Delegated { ds: vec![ds.clone()], ttl: 300 }));
    assert_eq!(said, [has("ns0.example."), has("ns1.example.")]);
    let said = parents::ask_at(&[one_is_down], &name("svc.example"), one.port()).await;
    assert_eq!((said.len(), &said[0]), (2, &has("ns0.example.")));
    assert!(said[1].1.as_ref().is_err_and(|why| why.contains("127.0.0.3")), "{said:?}");
    // It knows no zone above.
    let said = parents::ask_at(&[both], &name("svc.test"), one.port()).await;
    assert!(said.len() == 1 && said[0].1.as_ref().is_err_and(|why| why.contains("no zone above")), "{said:?}");
}

#[tokio::test]
async fn lost_keys_are_said_and_a_zone_in_use_stays_signed() {
    let mut bench = Bench::new(of_svc(false));
    bench.start().await.unwrap();
    let tag = bench.document().keys[0].tag;
    let path = bench.folder.path().join(format!("keys/svc.example/Ksvc.example.+013+{tag:05}.private"));
    let private = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    // Who runs goes on with what is in memory; a start says what is missing.
    bench.keys().prepare(&bench.settings, vec![zone()]).await.unwrap();
    let Err(ServeError::World(findings)) = bench.start().await else { panic!("a start without a key") };
    assert!(
        findings.len() == 1 && findings[0].file == path.display().to_string() && findings[0].reason.contains("missing"),
        "{findings:?}"
    );
    assert_eq!(check(bench.folder.path().join("keys"), &bench.settings, &[zone()]), findings);
    std::fs::write(&path, private).unwrap();
    bench.start().await.unwrap();

    // Out of [dnssec] before the parent was asked for a DS: unsigned at once. And signed again, with the same key.
    let nothing = DnssecSettings::default();
    let (zones, prepared) = bench.keys().prepare(&nothing, vec![zone()]).await.unwrap();
    assert!(zones[0].signing.is_none());
    drop(prepared);
    bench.pass(0.1).await;
    assert_eq!(bench.shown(), "csk submitted; 1 DNSKEY 1 CDS");
    let signed = async |bench: &Bench| bench.keys().prepare(&DnssecSettings::default(), vec![zone()]).await.unwrap().0[0].signing.is_some();
    assert!(signed(&bench).await, "the parent may have a DS");
    let step = async |bench: &Bench, step| bench.keys().unsign(name("svc.example"), step).await;
    assert_eq!(step(&bench, UnsignStep::Gone).await, Err(RollRefusal::Staying.into()));
    step(&bench, UnsignStep::Ask).await.unwrap();
    assert!(!bench.document().ds_wanted && bench.document().note.unwrap().contains("--ds-gone"));
    bench.pass(9.0).await;
    assert!(signed(&bench).await, "nobody said that it is gone");
    step(&bench, UnsignStep::Gone).await.unwrap();
    bench.pass(1.0).await;
    assert!(signed(&bench).await, "caches may have it");
    bench.pass(0.1).await;
    assert!(!signed(&bench).await);
    bench.settings = nothing;
    bench.start().await.unwrap();
    assert_eq!(bench.keys().zone(&name("svc.example")), Err(KeyRefusal::NotSigned(name("svc.example"))));
    bench.settings = of_svc(false);
    bench.start().await.unwrap();
    assert_eq!((bench.shown(), bench.document().keys[0].tag), ("csk published; 1 DNSKEY 0 CDS".into(), tag));
}

#[tokio::test]
async fn a_zone_taken_out_of_dnssec_is_unsigned_once_no_cache_has_its_ds() {
    let mut bench = Bench::new(of_svc(false));
    bench.start().await.unwrap();
    bench.pass(0.1).await;
    // Taken out before the parent was asked: it stays signed, and nobody reads files again later.
    bench.reload(DnssecSettings::default()).await;
    bench.keys().unsign(name("svc.example"), UnsignStep::Ask).await.unwrap();
    bench.keys().unsign(name("svc.example"), UnsignStep::Gone).await.unwrap();
    bench.pass(1.0).await;
    assert_eq!(bench.shown(), "csk submitted; 1 DNSKEY 1 CDS", "caches may have it");
    assert!(bench.keys().0.nap() <= HEARTBEAT);
    bench.pass(0.1).await;
    assert_eq!(bench.keys().zone(&name("svc.example")), Err(KeyRefusal::NotSigned(name("svc.example"))));
    let snapshot = bench.keys.as_ref().unwrap().1.publisher().load_full();
    let zone = snapshot.zone_at(name("svc.example").wire()).unwrap();
    assert!(zone.epoch().is_none() && !snapshot.is_signed());
    for rtype in [rtype::DNSKEY, rtype::CDS, rtype::CDNSKEY] {
        assert!(zone.at(&[]).unwrap().set(rtype).is_none(), "type {rtype}");
    }
    let set = Unsigned::new(name("svc.example"), name("svc.example"), rtype::A, 30, vec![[1; 4].into()]);
    assert!(bench.keys().ring().load().sign(&set, Timestamp(bench.now.load(Ordering::Relaxed))).is_err(), "no key signs for it any more");
    // It stays so over a reload, and is signed again, as if new, once it is to be.
    bench.reload(DnssecSettings::default()).await;
    assert!(bench.keys().list().zones.is_empty());
    bench.reload(of_svc(false)).await;
    assert_eq!(bench.shown(), "csk published; 1 DNSKEY 0 CDS");
}

/// What an update put there may be in caches for longer than anything of the file, signed by the key that is to go.
#[tokio::test]
async fn a_key_stays_as_long_as_caches_hold_what_it_signed_of_updates() {
    let mut bench = Bench::new(of_svc(true));
    bench.start().await.unwrap();
    let edit = |ttl: u32| Edit::Add { name: name("a.svc.example"), rtype: rtype::A, ttl, rdata: [192, 0, 2, 9].into() };
    let change = async |bench: &Bench, edit: Edit| {
        let right = UpdateRight { key: name("k"), names: vec![NamePattern::parse("**").unwrap()], types: UpdateTypes::Every };
        let update = ZoneUpdate { apex: name("svc.example"), prerequisites: Vec::new(), edits: vec![edit] };
        let command = Command::Update { update: Arc::new(update), key: name("k"), rights: vec![right] };
        bench.keys.as_ref().unwrap().1.apply(command, "k").await.unwrap();
        bench.keys().0.observe().await;
    };
    change(&bench, edit(7 * 86_400)).await;
    bench.keys().roll(name("svc.example"), KeyRole::Zsk).await.unwrap();
    bench.pass(0.1).await;
    assert_eq!(bench.shown(), "ksk published, zsk retired, zsk active; 3 DNSKEY 0 CDS");
    // It is gone soon, and caches hold what it was.
    change(&bench, Edit::DeleteName(name("a.svc.example"))).await;
    bench.pass(6.0).await;
    assert!(bench.shown().starts_with("ksk published, zsk retired"), "{}", bench.shown());
    bench.pass(1.1).await;
    assert!(!bench.shown().contains("retired"), "{}", bench.shown());
}

#[tokio::test]
async fn keys_of_another_server_are_in_use_from_the_start() {
    let secret = |n: u8| Arc::new(PrivateKey::new(Algorithm::Ed25519, Secret([n; 32])).unwrap());
    let apex = name("svc.example");
    let brought = |n: u8, role: KeyRole| ImportedKey {
        private: formats::private_text(&secret(n)),
        public: Some(formats::public_text(&apex, role, &secret(n))),
        role: None,
    };
    let mut bench = Bench::new(DnssecSettings::default());
    bench.start().await.unwrap();
    let refused = async |bench: &Bench, keys: Vec<ImportedKey>| bench.keys().import(apex.clone(), keys).await.unwrap_err().to_string();
    assert!(refused(&bench, vec![brought(1, KeyRole::Zsk)]).await.contains("one csk is expected"));
    let wrong = ImportedKey { private: brought(2, KeyRole::Csk).private, ..brought(1, KeyRole::Csk) };
    assert!(refused(&bench, vec![wrong]).await.contains("keys[0].public"));
    let pem = ImportedKey { private: "-----BEGIN RSA PRIVATE KEY-----".into(), public: None, role: None };
    assert!(refused(&bench, vec![pem]).await.contains("keys[0].private"));
    assert!(bench.keys().import(name("other.example"), vec![brought(1, KeyRole::Csk)]).await.is_err());
    // Before the zone is signed: it is signed with them.
    let kept = bench.keys().import(apex.clone(), vec![brought(1, KeyRole::Ksk), brought(2, KeyRole::Zsk)]).await.unwrap();
    assert!(!kept.signed && kept.note.unwrap().contains("[dnssec]"));
    bench.start().await.unwrap();
    assert!(bench.keys().list().zones.is_empty(), "kept, and not in use");
    bench.settings = of_svc(false);
    bench.start().await.unwrap();
    assert_eq!(bench.shown(), "ksk active, zsk active; 2 DNSKEY 1 CDS");
    assert!(refused(&bench, vec![brought(3, KeyRole::Csk)]).await.contains("may have a DS"));
    // Where new keys were made, and nobody was told of them, they give way.
    let mut bench = Bench::new(of_svc(false));
    bench.start().await.unwrap();
    bench.keys().import(apex.clone(), vec![brought(3, KeyRole::Csk)]).await.unwrap();
    assert_eq!(bench.shown(), "csk active; 1 DNSKEY 1 CDS");
    assert_eq!(bench.signers(rtype::SOA), [digest::key_tag(&secret(3).dnskey(KeyRole::Csk))]);
    assert_eq!(std::fs::read_dir(bench.folder.path().join("keys/svc.example")).unwrap().count(), 3, "and are gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_server_has_keys_over_its_api() {
    let home = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let config = |more: &str| {
        let text = format!("version = 1\n[dns]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[api]\nlisten = \"127.0.0.1:0\"\n{more}");
        write("signpost.toml", &text);
    };
    config("[dnssec]\nzones = [\"svc.example\"]\nalgorithm = \"ed25519\"\n");
    let zone = "ns = [\"ns1.svc.example.\"]\n[records]\nns1 = { A = [\"192.0.2.53\"] }\n";
    write("zones/svc.example.toml", zone);
    write("zones/plain.example.toml", &zone.replace("svc", "plain"));
    let read = || settings(Some(&home.path().join("signpost.toml"))).unwrap();
    let mut running = Running::start(read()).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let base = format!("http://{}", running.api);
    let get = async |path: &str| client.get(format!("{base}{path}")).send().await.unwrap().json::<Value>().await.unwrap();
    let post = async |path: &str, body: Value| {
        let response = client.post(format!("{base}{path}")).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let list = get("/v1/keys").await;
    let key = &list["zones"][0]["keys"][0];
    assert_eq!((&list["zones"][0]["zone"], &key["role"], &key["algorithm"]), (&json!("svc.example."), &json!("csk"), &json!("ed25519")));
    assert_eq!(get("/v1/keys/SVC.example").await["ds"].as_array().unwrap().len(), 2);
    for (path, body, status, kind) in [
        ("/v1/keys/svc.example/roll", json!({ "key": "csk" }), 409, "key-conflict"),
        ("/v1/keys/svc.example/roll", json!({ "key": "dnskey" }), 422, "field"),
        ("/v1/keys/plain.example/roll", json!({ "key": "csk" }), 409, "not-signed"),
        ("/v1/keys/no.example/roll", json!({ "key": "csk" }), 404, "unknown-zone"),
        ("/v1/keys/a..b/roll", json!({ "key": "csk" }), 422, "field"),
        ("/v1/keys/svc.example/ds-seen", json!({ "tag": key["tag"] }), 409, "key-conflict"),
        ("/v1/keys/svc.example/unsign", json!({ "step": "gone" }), 409, "key-conflict"),
        ("/v1/keys/plain.example/import", json!({ "keys": [{ "private": "HUSH" }] }), 422, "field"),
        ("/v1/keys/plain.example/import", json!({ "keys": [{ "private": { "HUSH": 1 } }] }), 422, "field"),
        ("/v1/keys/plain.example/import", json!({ "keys": "HUSH" }), 422, "field"),
    ] {
        let (found, problem) = post(path, body).await;
        assert_eq!((found, problem["type"].as_str()), (status, Some(&*format!("urn:signpost:problem:{kind}"))), "{path}: {problem}");
    }
    let private = "Private-key-format: v1.3\nAlgorithm: 15 (ED25519)\nPrivateKey: ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=\n";
    let (status, kept) = post("/v1/keys/plain.example/import", json!({ "keys": [{ "private": private }] })).await;
    assert_eq!((status, &kept["keys"][0]["stage"]), (200, &json!("active")), "{kept}");
    let audit = std::fs::read_to_string(home.path().join("data/audit.jsonl")).unwrap();
    assert!(audit.contains("/v1/keys/plain.example/import") && !audit.contains("HUSH") && !audit.contains("ODIy"), "{audit}");
    assert!(audit.contains("\"key\":\"csk\""), "what is no secret stands there");

    config("[dnssec]\nzones = [\"*\"]\n");
    assert!(running.reload("test").await);
    assert_eq!(get("/v1/keys").await["zones"].as_array().unwrap().len(), 2, "both, one with the keys that were brought");
    assert_eq!(get("/v1/keys/plain.example").await["keys"][0]["stage"], "active");
    // A zone that is signed by another program is refused, and all stays as it was.
    write("zones/plain.example.toml", &(zone.replace("svc", "plain") + "\"@\" = { DNSKEY = [\"257 3 13 AQID\"] }\n"));
    assert!(!running.reload("test").await);
    assert_eq!(get("/v1/keys").await["zones"].as_array().unwrap().len(), 2);
    config("[dnssec]\nzones = [\"svc.example\", \"no.example\"]\n");
    assert!(!running.reload("test").await);
    let status = get("/v1/status").await["files"]["findings"].to_string();
    assert!(status.contains("dnssec.zones[1]: there is no zone no.example."), "{status}");
    running.stop().await;
    assert_eq!(std::fs::read_dir(home.path().join("data/keys")).unwrap().count(), 3, "two zones and the clock");
}
