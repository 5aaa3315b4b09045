//! What a zone's file says, and what is said about one that is wrong: keys, records, services and names with policies.

use super::{load, refused, warned};

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
        &format!("{one}meta = {{ AZ = \"x\" }}\n[services.web.ports]\nhttp = 81\nHTTP = 80\n"),
        &[
            "7: services.web.instances.a.meta.AZ: the server writes id, region, az, tag into TXT records itself",
            "9: services.web.ports.http: http stands twice",
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
        "[names.a]\npolicy = \"failover\"\nbranches = [{ records = { A = [\"192.0.2.1\"], a = [\"192.0.2.2\"] } }]\n",
        &["5: names.a.branches[0].records.a: this type stands twice"],
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
