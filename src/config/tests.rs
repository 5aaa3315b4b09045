//! Worlds as files: what is read from them, and what is said about those that are wrong.

mod aliases;
mod copied;
mod master;
mod policies;
mod references;
mod reread;

use std::path::Path;

use super::{Loaded, settings, world};
use crate::model::{CatalogSettings, Label, Name, PolicyKind, SecondarySettings, Settings, Soa};

/// Writes files into a folder and loads it as a world; findings or warnings with paths relative to it.
fn load(files: &[(&str, &str)]) -> Result<(Loaded, Vec<String>), Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("zones")).unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let settings = Settings {
        file: Some(dir.path().join("signpost.toml")),
        zones_dir: dir.path().join("zones"),
        geo_dir: dir.path().join("geo"),
        ..Settings::default()
    };
    let prefix = format!("{}/", dir.path().display());
    let texts = |findings: &[super::Finding]| findings.iter().map(|f| f.to_string().replace(&prefix, "")).collect::<Vec<_>>();
    match world(&settings) {
        Ok(loaded) => {
            let warnings = texts(&loaded.warnings);
            Ok((loaded, warnings))
        }
        Err(findings) => Err(texts(&findings)),
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

const HEAD: &str = "ns = [\"ns1.other.\", \"ns2.other.\"]\n\n";
const GEO: &str = "[regions.eu-west]\nazs = [\"1a\", \"1b\"]\n[regions.us-east]\nazs = [\"1a\"]\n";

/// `text` behind a head of two lines is `svc.example.toml`; the whole must give exactly these findings.
fn refused(text: &str, expected: &[&str]) {
    let text = format!("{HEAD}{text}");
    let said = load(&[("zones/svc.example.toml", &text), ("geo/regions.toml", GEO)]).map(|(_, warnings)| warnings).unwrap_err();
    let expected: Vec<String> = expected.iter().map(|e| format!("zones/svc.example.toml:{e}")).collect();
    assert_eq!(said, expected, "{text}");
}

/// As [`refused`], and the zone is served with these warnings.
fn warned(text: &str, expected: &[&str]) {
    let text = format!("{HEAD}{text}");
    let (_, said) = load(&[("zones/svc.example.toml", &text), ("geo/regions.toml", GEO)]).unwrap();
    let expected: Vec<String> = expected.iter().map(|e| format!("zones/svc.example.toml:{e}")).collect();
    assert_eq!(said, expected, "{text}");
}

#[test]
fn tables_of_zones_that_are_not_here_are_worth_a_second_look() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("zones")).unwrap();
    std::fs::write(dir.path().join("zones/here.example.toml"), HEAD).unwrap();
    let mut settings = Settings { zones_dir: dir.path().join("zones"), geo_dir: dir.path().join("geo"), ..Settings::default() };
    for apex in ["here.example", "gone.example"] {
        settings.updates.insert(name(apex), Vec::new());
        settings.transfer.insert(Some(name(apex)), Default::default());
    }
    settings.transfer.insert(None, Default::default());
    let said =
        |settings: &Settings| -> Vec<String> { world(settings).unwrap().warnings.iter().map(|warning| warning.field.clone()).collect() };
    assert_eq!(said(&settings), ["transfer.\"gone.example\"", "update.\"gone.example\""]);

    settings.updates.clear();
    settings.transfer = [(Some(name("here.example")), Default::default())].into();
    let server = "192.0.2.1:53".parse().unwrap();
    settings.dnssec.parents =
        [(None, vec![server]), (Some(name("here.example")), vec![server]), (Some(name("gone.example")), vec![server])].into();
    assert_eq!(said(&settings), ["dnssec.parent.\"gone.example\""]);
    settings.dnssec.parents.clear();

    let catalog = |members: &[&str]| CatalogSettings { zones: Some(members.iter().map(|member| name(member)).collect()) };
    settings.catalogs = [(name("good.example"), catalog(&["here.example"])), (name("odd.example"), catalog(&["gone.example"]))].into();
    assert_eq!(said(&settings), ["catalog.\"odd.example\""]);
    settings.transfer.clear();
    settings.catalogs = [(name("good.example"), catalog(&["here.example"])), (name("here.example"), CatalogSettings::default())].into();
    assert_eq!(said(&settings), ["catalog.\"good.example\"", "catalog.\"here.example\""]);
    settings.catalogs.clear();

    let roots = |file: &str| SecondarySettings { ca: Some(dir.path().join(file)), ..SecondarySettings::default() };
    settings.secondary = [(name("a.example"), roots("zones/here.example.toml")), (name("b.example"), roots("nowhere.pem"))].into();
    assert_eq!(said(&settings), ["secondary.\"b.example\".ca"]);
}

#[test]
fn keys_and_values_of_a_zone() {
    refused("ttl = { min = \"1m\", max = \"5s\" }", &["3: ttl.min: 1m is more than `max`, 5s"]);
    refused("ttl = { min = \"500ms\" }", &["3: ttl.min: whole seconds up to 7 days are expected, not 500ms"]);
    refused("ttl = { apex = \"8d\" }", &["3: ttl.apex: whole seconds up to 7 days are expected, not 8days"]);
    let of_apex = |text: &str| load(&[("zones/a.test.toml", text)]).unwrap().0.zones.remove(0);
    let (said, default) = (of_apex("ttl = { apex = \"2m\" }"), of_apex(""));
    assert_eq!([said.ns_ttl, said.soa.ttl, default.ns_ttl, default.soa.ttl], [120, 120, 3600, 3600]);
    refused(
        "serial = -1\ncontact = \"a@\"\n",
        &[
            "3: serial: 0 to 4294967295 is expected, not integer `-1`",
            "4: contact: a mail address is expected: \"a..\" has a label that is empty or longer than 63 octets",
        ],
    );
    refused("record = 1\n[name.x]", &["3: record: unknown key; did you mean `records`?", "4: name: unknown key; did you mean `names`?"]);
    refused("services = \"yes\"", &["3: services: true, false, or [services.NAME] is expected"]);
    refused("x = 1\nx = 2", &["4: x stands twice"]);
    refused("x = nearest", &["3: invalid float, expected `nan`; a text stands in quotes: \"nearest\""]);
    let empty = load(&[("zones/svc.example.toml", "ns = []")]).map(|_| ()).unwrap_err();
    assert_eq!(empty, ["zones/svc.example.toml:1: ns: a zone has at least one name server, such as \"ns1.example.\""]);
}

#[test]
fn static_records() {
    refused(
        "[records]\nwww = { A = [\"192.0.2.1\", \"192.0.2.256\"],\n  MX = [\"mail\"] }\n\"other.example.\" = { A = [\"192.0.2.1\"] }",
        &[
            "4: records.www.A[1]: address: an IPv4 address is expected, not \"192.0.2.256\"; A is written \"192.0.2.1\"",
            "5: records.www.MX[0]: preference: a whole number from 0 to 65535 is expected, not \"mail\"; MX is written \"10 mail.example.\"",
            "6: records.\"other.example.\": other.example. is not in the zone svc.example.",
        ],
    );
    refused(
        "[records]\n\"@\" = { SOA = [\"a. b. 1 2 3 4 5\"], NS = [\"ns1\"], CNAME = [\"x.\"] }\nwww = { AA = [\"x\"], ttl = \"soon\" }",
        &[
            "4: records.@.CNAME: the apex has SOA and NS records, so it cannot be an alias; give it A and AAAA records, or ALIAS for those of another name",
            "4: records.@.NS: the zone's own name servers are `ns` at the top of the file",
            "4: records.@.SOA: the SOA is made of `ns`, `contact`, `serial` and `ttl` at the top of the file",
            "5: records.www.AA: unknown record type \"AA\"; did you mean `A`?",
            "5: records.www.ttl: seconds or a text such as \"1h\" are expected, at most 2147483647 s",
        ],
    );
    refused(
        "[records.www]\nCNAME = [\"a.\"]\nA = [\"192.0.2.1\"]\n[records.two]\nCNAME = [\"a.\", \"b.\"]\n[records.WWW]\nA = []\n[records.x]\n",
        &[
            "4: records.www.CNAME: an alias is the only record of its name, and www.svc.example. has A too",
            "7: records.two.CNAME[1]: a name is an alias of one other name, not of several",
            "9: records.WWW.A: at least one record is expected",
            "9: records.WWW.A: www.svc.example. has A twice",
        ],
    );
    warned(
        "[records]\nwww = { A = [\"192.0.2.1\", \"192.0.2.1\"], MX = [\"10 mail.svc.example\"] }",
        &[
            "4: records.www.A[1]: stands twice, and is answered once",
            "4: records.www.MX: mail.svc.example.svc.example. does not exist in zones/svc.example.toml",
            "4: records.www.MX[0]: mail.svc.example has no dot at its end, so it is mail.svc.example.svc.example.; \
             write `mail.svc.example.` or leave the zone's name away",
        ],
    );
}

#[test]
fn services_and_their_instances() {
    refused(
        "[services.web]\npolicy = \"lateny\"\nmax_sr = 0\n[services.\"a.b\"]\n[services.c]\ntiers = 9\n[services.d]\ninstances = 1",
        &[
            "4: services.web.policy: unknown value \"lateny\"; did you mean `latency`?",
            "5: services.web.max_sr: unknown key; did you mean `max_srv`?",
            "6: services.\"a.b\": \"a.b\" holds '.'; letters, digits, '-' and '_' are allowed",
            "8: services.c.tiers: 0 to 3",
            "10: services.d.instances: each one is written as [services.NAME.instances.ID]",
        ],
    );
    refused(
        "[services.web.instances.a]\naddresses = [\"192.0.2.1\", \"192.0.2\"]\nregion = \"eu-wset\"\naz = \"1a\"\nwieght = 1\n\
         [services.web.instances.b]\naddresses = []\nregion = \"us-east\"\naz = \"1b\"\n\
         [services.web.instances.c]\naddresses = [\"192.0.2.3\"]\nregion = \"eu-west\"\n\
         [services.web.instances.d]\naddresses = [\"0.0.0.0\"]\nregion = \"eu-west\"\naz = \"1a\"\nheartbeat = \"30s\"\n",
        &[
            "4: services.web.instances.a.addresses[1]: an IPv4 or IPv6 address is expected, such as 192.0.2.1 or 2001:db8::1",
            "7: services.web.instances.a.wieght: unknown key; did you mean `weight`?",
            "9: services.web.instances.b.addresses: at least one IPv4 or IPv6 address is needed",
            "11: services.web.instances.b.az: region us-east has no az 1b in regions.toml; did you mean `1a`?",
            "12: services.web.instances.c: `az` is missing",
            "16: services.web.instances.d.addresses[0]: 0.0.0.0 is no address that a client could connect to",
            "19: services.web.instances.d.heartbeat: instances of a file send no heartbeats; give it `checks`, or register it over the API",
        ],
    );
    let one = "[services.web.instances.a]\naddresses = [\"192.0.2.1\"]\nregion = \"eu-west\"\naz = \"1a\"\n";
    refused(
        &format!("[services.web]\nports = {{ http = 80, admin = 81 }}\n{one}"),
        &["3: services.web.default_port: has the ports admin, http: say with `default_port` which one its SRV records are for"],
    );
    refused(
        &format!(
            "[services.web]\nports = {{ http = 80 }}\ndefault_port = \"htpp\"\nchecks = [{{ http = \"/\", port = \"https\" }}]\n{one}"
        ),
        &[
            "5: services.web.default_port: no port is named htpp; did you mean `http`?",
            "6: services.web.checks[0].port: no port is named https; did you mean `http`?",
        ],
    );
    refused(
        &format!("[services.web]\nports = {{ http = 0 }}\n{one}checks = [\n{{ http = \"x\" }},\n{{ tcp = true, interval = \"1ms\" }}]\n"),
        &[
            "4: services.web.ports.http: a port is a number from 1 to 65535, or a text such as \"53/udp\"",
            "10: services.web.instances.a.checks[0].http: a path beginning with '/', of printable ASCII without blanks, at most 2000 octets",
        ],
    );
    refused(
        &format!("{one}checks = [{{ tcp = true }}]\n"),
        &["7: services.web.instances.a.checks[0].port: there is no port to check: add one to `ports`"],
    );
}

#[test]
fn names_with_policies() {
    refused(
        "[names.api]\npolicy = \"failover\"\nbranches = [\n{ service = \"web\", region = \"eu-wset\" },\n{ policy = \"weighted\", branches = [\n\
         { service = \"web\", az = \"1c\", weight = 1 },\n{ records = { CNAME = [\"a.\"], A = [\"192.0.2.1\"] } }] },\n]\n[services.web]\n",
        &[
            "6: names.api.branches[0].region: there is no region eu-wset in regions.toml; did you mean `eu-west`?",
            "8: names.api.branches[1].branches[0].az: no region has an az 1c in regions.toml; did you mean `1a`?",
            "9: names.api.branches[1].branches[1].records.CNAME: an alias is a name's only record (RFC 2181 §10.1)",
        ],
    );
    refused(
        "[names.a]\npolicy = \"geolocation\"\nbranches = [{ service = \"web\", countries = [\"GB\", \"UK\"] }]\n[services.web]\n",
        &["5: names.a.branches[0].countries: UK is no ISO 3166-1 code; GB is the code of the United Kingdom"],
    );
    refused(
        "[names.a]\npolicy = \"failover\"\n[names.b]\npolicy = \"geolocation\"\nbranches = [{ service = \"web\" }]\n[names.c]\nbranches = []\n\
         [names.d]\npolicy = \"failover\"\nbranches = [{ records = { A = [\"x\"] } }, { servce = \"web\" }]\n[services.web]\n",
        &[
            "3: names.a: `branches` is missing",
            "7: names.b.branches[0].countries: say which clients it is for: `countries`, `continents`, `subdivisions` or `default = true`",
            "8: names.c: `policy` is missing",
            "12: names.d.branches[1].servce: unknown key; did you mean `service`?",
        ],
    );
    refused(
        "[records]\napi = { A = [\"192.0.2.1\"] }\nweb = { A = [\"192.0.2.1\"] }\n\"a.b.web\" = { TXT = [\"x\"] }\n\"_web._tcp\" = { TXT = [\"x\"] }\n\
         [names.api]\npolicy = \"failover\"\nbranches = [{ service = \"web\" }]\n[names.\"x.web\"]\npolicy = \"failover\"\nbranches = [{ service = \"web\" }]\n\
         [services.web]\n",
        &[
            "5: records.web.A: web.svc.example. belongs to the service web, which zones/svc.example.toml defines",
            "6: records.\"a.b.web\".TXT: a.b.web.svc.example. belongs to the service web, which zones/svc.example.toml defines",
            "7: records.\"_web._tcp\".TXT: _web._tcp.svc.example. belongs to the service web, which zones/svc.example.toml defines",
            "8: names.api: api.svc.example. has static records too (A); a name has records or a policy",
            "11: names.\"x.web\": x.web.svc.example. belongs to the service web, which zones/svc.example.toml defines",
        ],
    );
    warned(
        "[names.api]\npolicy = \"failover\"\nbranches = [{ service = \"green\" }]\n",
        &[
            "5: names.api.branches[0].service: no zone file defines the service green: the branch is empty until instances of it are registered",
        ],
    );
}

#[test]
fn this_server_stands_in_a_region_that_there_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("zones")).unwrap();
    std::fs::create_dir(dir.path().join("geo")).unwrap();
    std::fs::write(dir.path().join("geo/regions.toml"), GEO).unwrap();
    let file = dir.path().join("signpost.toml");
    std::fs::write(&file, "version = 1\n[here]\nregion = \"eu-west\"\naz = \"1c\"").unwrap();
    let said = world(&settings(Some(&file), &Default::default()).unwrap()).unwrap_err();
    let reason = "region eu-west has no az 1c in regions.toml; did you mean `1a`?";
    assert_eq!(said[0].to_string(), format!("{}: here.az: {reason}", file.display()));
    std::fs::write(&file, "version = 1\n[drills.move-out]\nlose = \"region/eu-wets\"").unwrap();
    let said = world(&settings(Some(&file), &Default::default()).unwrap()).unwrap_err();
    let reason = "there is no region eu-wets in regions.toml; did you mean `eu-west`?";
    assert_eq!(said[0].to_string(), format!("{}: drills.move-out.lose: {reason}", file.display()));
}

#[test]
fn several_files() {
    let service = format!("{HEAD}[services.web]\n");
    let said = load(&[
        ("zones/a.example.toml", &service),
        ("zones/b.example.toml", &service),
        ("zones/A.example.zone", ""),
        ("zones/c d.toml", ""),
        ("zones/e.example.toml", "x"),
        ("zones/notes.md", "x"),
        ("geo/region.toml", ""),
    ])
    .map(|_| ())
    .unwrap_err();
    let expected = [
        "geo/region.toml: is not read; did you mean `regions.toml`?",
        "zones/a.example.toml: is the same zone as zones/A.example.zone; a zone is one file",
        "zones/A.example.zone: has no NS record at the apex",
        "zones/A.example.zone: has no SOA record at the apex",
        "zones/c d.toml: the file's name is the zone's, and ' ' is in none",
    ];
    for line in expected {
        assert!(said.iter().any(|s| s.starts_with(line)), "{line} is not among {said:#?}");
    }
    assert!(said.iter().any(|s| s.starts_with("zones/e.example.toml:1: ")), "{said:#?}");

    let said = load(&[("zones/a.example.toml", &service), ("zones/b.example.toml", &service)]).map(|_| ()).unwrap_err();
    assert_eq!(
        said,
        [
            "zones/b.example.toml:3: services.web: is defined in zones/a.example.toml too; every zone with services shows it, so define it once"
        ]
    );
    let (_, warnings) = load(&[("zones/a.example.txt", "x")]).unwrap();
    assert_eq!(
        warnings,
        [
            "zones: holds no zone: every name will be refused until there is a <apex>.toml",
            "zones/a.example.txt: is not read: a zone is <apex>.toml, or <apex>.zone in master file format",
        ]
    );
}

#[test]
fn name_servers_have_addresses() {
    let said = |text: &str| load(&[("zones/svc.example.toml", text)]).map(|(_, warnings)| warnings);
    let missing = "zones/svc.example.toml:1: ns: ns1.svc.example. has no address in the zone: add one, such as A 192.0.2.53";
    assert_eq!(said("ns = [\"ns1\", \"ns2.other.\"]").unwrap(), [missing]);
    assert_eq!(said("ns = [\"ns1\", \"ns2.other.\"]\nrecords.ns1.AAAA = \"2001:db8::1\"").unwrap(), [""; 0]);
    assert_eq!(said("ns = [\"ns1\", \"ns2.other.\"]\nrecords.\"*\".A = \"192.0.2.1\"").unwrap(), [""; 0]);
    assert_eq!(
        said("ns = [\"ns1.sub\", \"ns2.other.\"]\nrecords.sub.NS = \"ns.other.\"\nrecords.\"ns1.sub\".A = \"192.0.2.1\"").unwrap(),
        [""; 0]
    );
    let alias = said("ns = [\"ns1\", \"ns2.other.\"]\nrecords.ns1.CNAME = \"a.\"").unwrap_err();
    assert_eq!(alias, ["zones/svc.example.toml:1: ns: ns1.svc.example. is an alias, which a name server cannot be"]);
    let forgotten = said("ns = [\"ns1.svc.example\"]").unwrap();
    assert!(forgotten.iter().any(|w| w.contains("ns[0]: ns1.svc.example has no dot at its end")), "{forgotten:?}");
    let default = said("services = true").unwrap();
    assert_eq!(default[0], "zones/svc.example.toml:1: ns: no name server is named, so ns.svc.example. is announced");
}

#[test]
fn the_design_s_zone_is_read_as_written() {
    // DESIGN §11, `services = true` beside [services.web] included, which TOML as such has no way to say.
    let text = r#"
services = true   # shown
ns = ["ns1.svc.example."]
ttl = { min = "5s", max = "30s", negative = "5s" }
contact = "dns.admin@example.org"
[records]
"@" = { MX = ["10 mail.example."] }
ns1 = { A = ["192.0.2.53"] }
www = { A = "192.0.2.80", ttl = "1h" }
[services.web]
policy = "nearest"
checks = [{ http = "/healthz", port = "http" }]
[services.web.instances.eu1]
addresses = ["192.0.2.10"]
ports = { http = 8080 }
region = "eu-west"
az = "eu-west-1a"
[names.api]
policy = "failover"
branches = [
  { service = "web", region = "eu-west" },
  { policy = "weighted", branches = [{ service = "blue", weight = 90 }, { service = "green", weight = 10 }] },
  { records = { A = ["192.0.2.200"] } },
]
[names.shop]
policy = "geolocation"
branches = [
  { service = "web", region = "eu-west", continents = ["EU"] },
  { service = "web", region = "us-east", countries = ["US", "CA"] },
  { service = "web", default = true },
]
"#;
    let (loaded, warnings) = load(&[("zones/Svc.example.toml", text)]).unwrap();
    assert_eq!(warnings.len(), 3, "blue and green are registered later, and no client has a country: {warnings:?}");
    let zone = &loaded.zones[0];
    assert_eq!((zone.apex.clone(), zone.services, zone.ns.clone()), (name("svc.example."), true, vec![name("ns1.svc.example.")]));
    assert_eq!(zone.soa.contact, name(r"dns\.admin.example.org."));
    assert!(zone.soa.serial > 1_700_000_000, "the time of writing");
    let ttls: Vec<(String, u16, u32)> = zone.records.iter().map(|((owner, rtype), set)| (owner.to_string(), *rtype, set.ttl)).collect();
    let expected = [("ns1.svc.example.", 1, 30), ("www.svc.example.", 1, 3600), ("svc.example.", 15, 30)];
    for (owner, rtype, ttl) in expected {
        assert!(ttls.contains(&(owner.into(), rtype, ttl)), "{owner} {rtype} {ttl}: {ttls:?}");
    }
    let web = &zone.defined[&Label::parse("web").unwrap()];
    assert_eq!((web.service.policy.kind, web.service.fields.checks.len(), web.instances.len()), (PolicyKind::Nearest, 1, 1));
    assert_eq!(zone.names[&name("api.svc.example.")].branches.len(), 3);
    assert_eq!(zone.names.len(), 2);

    let hidden = text.replace("services = true", "services = false");
    assert!(!load(&[("zones/svc.example.toml", &hidden)]).unwrap().0.zones[0].services);
    let implied = text.replace("services = true", "");
    assert!(load(&[("zones/svc.example.toml", &implied)]).unwrap().0.zones[0].services);
}

#[test]
fn master_files() {
    let text = "$TTL 1h\n@ IN SOA ns2 host.example.org. ( 7 ; serial\n 2h 1h 2w 60 )\n  NS ns1\n  NS ns2\n\
                ns1 A 192.0.2.1\nns2 300 IN A 192.0.2.2\n  IN 600 A 192.0.2.3\n$ORIGIN sub.svc.example.\na CNAME b\n@ TXT \"x y\" z\n";
    let (loaded, warnings) = load(&[("zones/svc.example.zone", text)]).unwrap();
    let zone = &loaded.zones[0];
    assert_eq!((zone.soa.serial, zone.ttl.negative.millis(), zone.services), (7, 60_000, false));
    assert_eq!(zone.ns, [name("ns1.svc.example."), name("ns2.svc.example.")]);
    let soa = Soa {
        ttl: 3600,
        refresh: 7200,
        retry: 3600,
        expire: 1_209_600,
        own_serial: true,
        ..Soa::new(name("ns2.svc.example."), name("host.example.org."), 7)
    };
    assert_eq!((&zone.soa, zone.ns_ttl), (&soa, 3600));
    assert_eq!(zone.records[&(name("ns2.svc.example."), 1)].rdata.len(), 2);
    assert_eq!(zone.records[&(name("ns2.svc.example."), 1)].ttl, 300);
    assert_eq!(zone.records[&(name("a.sub.svc.example."), 5)].rdata[0].as_ref(), name("b.sub.svc.example.").wire());
    assert_eq!(zone.records[&(name("sub.svc.example."), 16)].rdata[0].as_ref(), b"\x03x y\x01z");
    assert_eq!(
        warnings,
        [
            "zones/svc.example.zone:8: ns2.svc.example. A: the records of an RRset have one TTL; the least, 300, is answered",
            "zones/svc.example.zone:10: a.sub.svc.example. CNAME: leads to b.sub.svc.example., which does not exist in zones/svc.example.zone",
        ]
    );

    let wrong = "  A 192.0.2.1\n@ SOA ns. h. 1 2 3 4 5\n@ NS ns.\n@ SOA ns. h. 1 2 3 4 5\n$INCLUDE x\nwww CH TXT x\nwww 5m5 A 192.0.2.1\n\
                 www AA x\nwww A\nother. A 192.0.2.1\nx CNAME y\nx TXT \"a\nb A 192.0.2.1\n";
    let said = load(&[("zones/svc.example.zone", wrong)]).map(|_| ()).unwrap_err();
    // What cannot be split into words ends the reading, and what was found before is said.
    assert_eq!(said.last().map(String::as_str), Some("zones/svc.example.zone:12: a quote is not closed on its line"));
    let said = load(&[("zones/svc.example.zone", &wrong.replace("\"a", "a"))]).map(|_| ()).unwrap_err();
    assert_eq!(
        said,
        [
            "zones/svc.example.zone:1: the first record has no owner name",
            "zones/svc.example.zone:4: @: a second SOA; the first is in line 2",
            "zones/svc.example.zone:5: $INCLUDE: zones/x: No such file or directory (os error 2)",
            "zones/svc.example.zone:6: www: class CH is not served; only IN is",
            "zones/svc.example.zone:7: www: a TTL of at most 2147483647 s is expected, such as 300 or 1h30m, not \"5m5\"",
            "zones/svc.example.zone:8: www: unknown record type \"AA\"; did you mean `A`?",
            "zones/svc.example.zone:9: www: address: is missing; A is written \"192.0.2.1\"",
            "zones/svc.example.zone:10: other.: other. is not in the zone svc.example.",
            "zones/svc.example.zone:11: x.svc.example. CNAME: an alias is the only record of its name, and x.svc.example. has TXT too",
        ]
    );
}

#[test]
fn the_example_and_the_defaults_load_without_a_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = settings(Some(&root.join("examples/quickstart/signpost.toml")), &Default::default()).unwrap();
    assert_eq!(config.data_dir, root.join("examples/quickstart/data"));
    let loaded = world(&config).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.zones[0].defined[&Label::parse("web").unwrap()].instances.len(), 4);
    assert_eq!(loaded.geo.regions.unwrap().len(), 2);
    assert_eq!(loaded.geo.networks.len(), 2);

    let clone = Settings { zones_dir: root.join("zones"), geo_dir: root.join("geo"), ..Settings::default() };
    let loaded = world(&clone).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!((loaded.zones[0].apex.clone(), loaded.zones[0].services), (name("service.internal."), true));
    assert_eq!(loaded.geo, Default::default());
    // The examples are what they claim to be.
    let examples = ["regions.toml", "networks.toml", "latency.toml"]
        .map(|file| (format!("geo/{file}"), std::fs::read_to_string(root.join(format!("geo/{file}.example"))).unwrap()));
    let examples = examples.each_ref().map(|(file, text)| (file.as_str(), text.as_str()));
    assert_eq!(load(&examples).unwrap().0.geo.regions.unwrap().len(), 2);
}

#[test]
fn the_example_of_policies_has_every_preset_and_loads_without_a_word() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies/signpost.toml");
    let loaded = world(&settings(Some(&file), &Default::default()).unwrap()).unwrap();
    assert_eq!(loaded.warnings, []);
    let zone = &loaded.zones[0];
    let kinds = zone.names.values().map(|policy| policy.kind.as_str());
    let kinds: std::collections::BTreeSet<_> = kinds.chain(zone.defined.values().map(|d| d.service.policy.kind.as_str())).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["asn", "cidr", "failover", "geolocation", "geoproximity", "latency", "multivalue", "nearest", "simple", "sticky", "weighted"]
    );
}

#[test]
fn without_any_file_there_is_a_zone_for_registered_services() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Settings { zones_dir: dir.path().join("none"), geo_dir: dir.path().join("none"), ..Settings::default() };
    assert!(world(&config).is_err(), "a folder that was named must be there");
    config.zones_dir = dir.path().into();
    config.dns.listen = vec!["0.0.0.0:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()];
    let loaded = world(&config).unwrap();
    let zone = &loaded.zones[0];
    assert_eq!((zone.apex.clone(), zone.services, zone.ns.clone()), (name("service.internal."), true, vec![name("ns.service.internal.")]));
    assert_eq!(zone.records[&(name("ns.service.internal."), 1)].rdata[0].as_ref(), [127, 0, 0, 1]);
    assert_eq!(zone.records[&(name("ns.service.internal."), 28)].rdata[0][..4], [0x20, 0x01, 0x0d, 0xb8]);
}

mod any_text {
    use proptest::prelude::*;

    use super::super::{finding::Notes, master, parse_record, policies, references, zone};
    use super::name;
    use crate::model::Geo;

    /// Pieces of files rather than noise: noise ends at the first syntax error.
    fn text() -> impl Strategy<Value = String> {
        let pieces = [
            "services",
            "records",
            "names",
            "instances",
            "ns",
            "ttl",
            "web",
            "branches",
            "policy",
            "service",
            "A",
            "TXT",
            "SOA",
            "HTTPS",
            "CAA",
            "[",
            "]",
            "{",
            "}",
            "(",
            ")",
            "=",
            "\"",
            "\\",
            ";",
            ".",
            ",",
            "\n",
            " ",
            "@",
            "$TTL",
            "$ORIGIN",
            "$INCLUDE",
            "$GENERATE",
            "1-3/2",
            "${1,2,n}",
            "$",
            "LOC",
            "APL",
            "IPSECKEY",
            "\\#",
            "\\255",
            "true",
            "1",
            "65536",
            "-1",
            "5s",
            "192.0.2.1",
            "::1",
            "alpn=",
            "key1",
            "mandatory=",
            "\u{e9}",
            "\r",
            "\t",
            "IN",
            "failover",
            "\"web\"",
            " = ",
            "]]",
            "[[",
        ];
        proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..40).prop_map(|parts| parts.concat())
    }

    /// Names that lead to each other at random, some of them deep, some by way of services and records.
    fn graph() -> impl Strategy<Value = String> {
        let branch = proptest::sample::select(vec![
            "{ name = \"a\" }",
            "{ name = \"b\" }",
            "{ name = \"c\" }",
            "{ name = \"d\" }",
            "{ name = \"web\" }",
            "{ name = \"www\" }",
            "{ name = \"nothing\" }",
            "{ cname = \"a\" }",
            "{ service = \"web\" }",
            "{ policy = \"simple\", branches = [{ name = \"d\" }, { name = \"c\" }] }",
        ]);
        let branches = proptest::collection::vec(branch, 1..9);
        proptest::collection::vec(branches, 4).prop_map(|names| {
            let name = |(name, branches): (&str, &Vec<&str>)| {
                format!("[names.{name}]\npolicy = \"failover\"\nbranches = [{}]\n", branches.join(", "))
            };
            let names: String = ["a", "b", "c", "d"].into_iter().zip(&names).map(name).collect();
            format!("[records]\nwww = {{ A = \"192.0.2.1\" }}\n{names}[services.web]\n")
        })
    }

    proptest! {
        #[test]
        fn references_resolve_or_are_findings(text in graph()) {
            let mut notes = Notes::default();
            let mut drafts = Vec::from_iter(zone::read("x", &text, &name("svc.example."), 1, &Geo::default(), &mut notes));
            prop_assert_eq!(notes.findings.len(), 0);
            references::resolve(&mut drafts, &Geo::default(), &Default::default(), &mut notes);
            policies::look(&drafts, &Geo::default(), &mut notes);
            let missing = ["a", "b", "c", "d"].iter().filter(|n| !drafts[0].zone.names.contains_key(&name(&format!("{n}.svc.example.")))).count();
            prop_assert_eq!(missing == 0, notes.findings.is_empty(), "{:?}", notes.findings);
            prop_assert!(notes.findings.iter().all(|finding| finding.line.is_some()), "{:?}", notes.findings);
            for policy in drafts[0].zone.names.values() {
                prop_assert!((1..=crate::model::MAX_LEAVES).contains(&policy.leaves()));
            }
        }

        #[test]
        fn never_panics(text in text(), rtype in proptest::sample::select(vec!["A", "TXT", "HTTPS", "CAA", "MX", "TYPE4711", "OPENPGPKEY", "DS"])) {
            let apex = name("svc.example.");
            let _ = parse_record(rtype, &text, &apex);
            let mut drafts = Vec::from_iter(zone::read("x", &text, &apex, 1, &Geo::default(), &mut Notes::default()));
            references::resolve(&mut drafts, &Geo::default(), &Default::default(), &mut Notes::default());
            policies::look(&drafts, &Geo::default(), &mut Notes::default());
            let mut none = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
            let _ = master::read("x", &text, &apex, &mut none, &mut Notes::default());
        }
    }
}
