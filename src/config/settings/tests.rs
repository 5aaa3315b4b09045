//! Settings as files and variables say them, and what is said of those that are wrong.

use super::*;
use crate::model::{LogFormat, Name, Period, RateLimitSettings, Right, SafetySettings};

fn read(text: &str, env: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("signpost.toml");
    std::fs::write(&file, text).unwrap();
    let env = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let prefix = format!("{}/", dir.path().display());
    settings(Some(&file), &env).map_err(|e| e.to_string().lines().map(|l| l.replace(&prefix, "")).collect())
}

#[test]
fn keys_are_read_and_no_finding_shows_a_secret() {
    let secret = "c2VjcmV0IG9mIDE2IG9jdGV0cyBhdCBsZWFzdA==";
    let key = |lines: &str| format!("version = 1\n[tsig.\"Transfer.key\"]\n{lines}\n");
    let read_key = read(&key(&format!("algorithm = \"HMAC-SHA512\"\nsecret = \"{secret}\"")), &[]).unwrap();
    let read_key = read_key.tsig.values().next().unwrap();
    assert_eq!((read_key.name.to_string(), read_key.algorithm.name()), ("transfer.key.".into(), "hmac-sha512"));
    assert_eq!(&*read_key.secret.0, b"secret of 16 octets at least");
    assert!(!format!("{read_key:?}").contains("115"), "{read_key:?}");
    let inline = format!("{{ k = {{ secret = \"{secret}\" }} }}");
    assert_eq!(read("version = 1", &[("SIGNPOST__TSIG", &inline)]).unwrap().tsig.len(), 1);
    let check = |lines: &str, expected: &str| {
        let said = read(&key(lines), &[]).unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with(expected), "{lines}: {said:?}");
        assert!(!said[0].contains("c2Vj"), "{said:?}");
    };
    check("", "signpost.toml:2: tsig.\"Transfer.key\": `secret` is missing");
    check("secret = \"c2Vj!\"", "signpost.toml:3: tsig.\"Transfer.key\".secret: base64 with padding is expected");
    check("secret = [\"c2Vj\"]", "signpost.toml:3: tsig.\"Transfer.key\".secret: a text in quotes is expected");
    check("secret = c2VjcmV0", "signpost.toml:3: ");
    check("secret = \"c2VjcmV0\"", "signpost.toml:3: tsig.\"Transfer.key\".secret: a secret has 16 to 1024 octets, this has 6");
    check("secret_file = \"none\"", "signpost.toml:3: tsig.\"Transfer.key\".secret_file: none: No such file");
    let with = |more: &str| format!("secret = \"{secret}\"\n{more}");
    check(&with("secret_file = \"k\""), "signpost.toml:4: tsig.\"Transfer.key\".secret_file: goes not with");
    check(&with("algorithm = \"hmac-sha1\""), "signpost.toml:4: tsig.\"Transfer.key\".algorithm: hmac-sha1 is too weak");
    check(&with("algorithm = \"hmac-sha265\""), "signpost.toml:4: tsig.\"Transfer.key\".algorithm: unknown algorithm; did you mean");
    check(&with("algoritm = \"x\""), "signpost.toml:4: tsig.\"Transfer.key\".algoritm: unknown key; did you mean");
    let said = read("version = 1", &[("SIGNPOST__TSIG", "{ k = { secret = c2VjcmV0 } }")]).unwrap_err();
    assert!(said.iter().all(|finding| !finding.contains("c2Vj")), "{said:?}");
}

#[test]
fn rights_to_update_are_read() {
    let key = "[tsig.certbot]\nsecret = \"c2VjcmV0IG9mIDE2IG9jdGV0cyBhdCBsZWFzdA==\"\n";
    let with = |lines: &str| format!("version = 1\n{key}[update.\"Example.com\"]\n{lines}\n");
    let rights = "rights = [{ key = \"certbot\", names = [\"_acme-challenge\", \"*.dyn\"], types = [\"TXT\", \"a\"] },\n\
                  { key = \"Certbot.\", names = [\"**\"], types = [\"ANY\"] }]";
    let settings = read(&with(rights), &[]).unwrap();
    let apex = Name::parse("example.com").unwrap();
    let [one, two] = settings.updates[&apex].as_slice() else { panic!() };
    let name = |text: &str| Name::parse_relative(text, Some(&apex)).unwrap();
    assert!(one.grants(&apex, &name("x.dyn"), Some(1)) && !one.grants(&apex, &name("x.dyn"), Some(28)));
    assert!(two.grants(&apex, &apex, Some(6)) && one.key == two.key);
    let check = |lines: &str, expected: &str| {
        let said = read(&with(lines), &[]).unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with(expected), "{lines}: {said:?}");
    };
    let right = |key: &str, names: &str, types: &str| format!("rights = [{{ key = \"{key}\", names = [{names}], types = [{types}] }}]");
    let at = |field: &str| format!("signpost.toml:5: update.\"Example.com\".rights[0]{field}");
    check("", "signpost.toml:4: update.\"Example.com\": `rights` is missing");
    check(&right("nobody", "\"@\"", "\"A\""), &(at(".key") + ": there is no key nobody."));
    check(&right("certbot", "", "\"A\""), &(at(".names") + ": at least one is needed"));
    check(&right("certbot", "\"@\"", ""), &(at(".types") + ": at least one is needed"));
    check(&right("certbot", "\"a.example.\"", "\"A\""), &(at(".names[0]") + ": names are relative to the zone"));
    check(&right("certbot", "\"@\"", "\"AAAAA\""), &(at(".types[0]") + ": unknown record type"));
    check("rights = [{ key = \"certbot\", names = [\"@\"] }]", &(at("") + ": `types` is missing"));
    check("right = []", "signpost.toml:5: update.\"Example.com\".right: unknown key");
    let both = with(&right("certbot", "\"@\"", "\"A\"")) + "[secondary.\"example.com\"]\nprimaries = [\"192.0.2.1\"]\n";
    let said = read(&both, &[]).unwrap_err();
    assert!(said.len() == 1 && said[0].contains("example.com. is copied from its primaries"), "{said:?}");
}

#[test]
fn parents_are_of_all_zones_or_of_each() {
    let parents = |value: &str| read(&format!("version = 1\n[dnssec]\nparent = {value}"), &[]).unwrap().dnssec;
    let of = |settings: &crate::model::DnssecSettings, apex: &str| -> Vec<String> {
        settings.parents(&Name::parse(apex).unwrap()).iter().map(ToString::to_string).collect()
    };
    let all = parents("[\"192.0.2.1\", \"[2001:db8::1]:5353\"]");
    assert_eq!(of(&all, "a.test"), ["192.0.2.1:53", "[2001:db8::1]:5353"]);
    let each = parents("{ \"A.test\" = \"::1\", \"b.test\" = [], \"*\" = \"192.0.2.2\" }");
    assert_eq!((of(&each, "a.test"), of(&each, "c.test")), (vec!["[::1]:53".into()], vec!["192.0.2.2:53".into()]));
    assert!(of(&each, "b.test").is_empty() && of(&Settings::default().dnssec, "a.test").is_empty());
}

#[test]
fn secondaries_are_read() {
    let key = "[tsig.k]\nsecret = \"c2VjcmV0IG9mIDE2IG9jdGV0cyBhdCBsZWFzdA==\"\n";
    let with = |name: &str, lines: &str| format!("version = 1\n{key}[secondary.\"{name}\"]\n{lines}\n");
    let settings = read(&with("X.example", "primaries = [\"192.0.2.1\", \"[2001:db8::1]:5353#k\"]\ncatalog = true"), &[]).unwrap();
    let of = &settings.secondary[&Name::parse("x.example").unwrap()];
    let primaries: Vec<String> = of.primaries.iter().map(ToString::to_string).collect();
    assert_eq!((primaries.join(" ").as_str(), of.catalog), ("192.0.2.1:53 [2001:db8::1]:5353#k.", true));
    assert!(settings.dns.secondaries);
    let check = |name: &str, lines: &str, expected: &str| {
        let said = read(&with(name, lines), &[]).unwrap_err();
        assert!(said.len() == 1 && said[0].contains(expected), "{lines}: {said:?}");
    };
    check("x", "", "signpost.toml:4: secondary.x: `primaries` is missing");
    check("x", "primaries = [\"192.0.2.1#none\"]", "signpost.toml:5: secondary.x.primaries[0]: there is no key none.");
    check("x", "primaries = [\"ns1\"]", "primaries[0]: an address such as");
    check("x", "primaries = [\"192.0.2.1\"]\ncatalogue = true", "catalogue: unknown key; did you mean");
    let said = read("version = 1\n[catalog.\"c.invalid\"]\nzones = [\"x.example\"]\n", &[]).unwrap_err();
    assert!(said.len() == 1 && said[0].contains("nobody could follow c.invalid: add [transfer.\"c.invalid\"]"), "{said:?}");
    check(".", "primaries = [\"192.0.2.1\"]", "the root zone cannot be copied");
    check("x", "primaries = [\"tls://192.0.2.1\"]", "the name that the certificate is for is missing");
    check("x", "primaries = [\"tls://192.0.2.1#a b\"]", "behind the address stands the name of a host");
    check("x", "primaries = [\"tls://192.0.2.1##k\"]", "the name that the certificate is for is missing");
    check("x", "primaries = [\"192.0.2.1#k#k\"]", "has one # too many");
    check("x", "primaries = [\"192.0.2.1\"]\nca = \"ca.pem\"", "goes with a primary that is asked over TLS");
    let lines = "primaries = [\"tls://192.0.2.1#NS1.example#k\", \"tls://[2001:db8::1]:8853#ns2\"]\nca = \"ca.pem\"";
    let settings = read(&with("x", lines), &[]).unwrap();
    let of = &settings.secondary[&Name::parse("x").unwrap()];
    let primaries: Vec<String> = of.primaries.iter().map(ToString::to_string).collect();
    assert_eq!(primaries, ["tls://192.0.2.1:853#ns1.example#k.", "tls://[2001:db8::1]:8853#ns2"]);
    assert!(of.ca.as_ref().is_some_and(|path| path.ends_with("ca.pem")));
}

#[test]
fn transfers_are_read() {
    let key = "[tsig.k]\nsecret = \"c2VjcmV0IG9mIDE2IG9jdGV0cyBhdCBsZWFzdA==\"\n";
    let text = format!(
        "version = 1\n{key}[transfer.\"Example.com\"]\nnetworks = [\"192.0.2.0/24\", \"2001:db8::1\"]\nkeys = [\"k\"]\n\
         notify = [\"192.0.2.53\", \"[2001:db8::1]:5353#k\"]\nservices = \"render\"\n[transfer.\"*\"]\nkeys = \"k\"\n"
    );
    let settings = read(&text, &[]).unwrap();
    let of = |apex: &str| settings.transfer(&Name::parse(apex).unwrap()).unwrap();
    let example = of("example.com");
    assert_eq!(example.networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.0/24", "2001:db8::1/128"]);
    assert_eq!(example.notify.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.53:53", "[2001:db8::1]:5353#k."]);
    assert_eq!((example.keys.len(), example.services), (1, crate::model::ServicesInTransfer::Render));
    assert_eq!((of("other").keys.len(), of("other").services), (1, crate::model::ServicesInTransfer::Withhold));
    let check = |lines: &str, expected: &str| {
        let said = read(&format!("version = 1\n[transfer.x]\n{lines}\n"), &[]).unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with(expected), "{lines}: {said:?}");
    };
    check("notify = \"192.0.2.1\"", "signpost.toml:2: transfer.x: `networks` or `keys` is missing");
    check("keys = [\"k\"]", "signpost.toml:3: transfer.x.keys[0]: there is no key k.: add [tsig.k]");
    check("networks = [\"192.0.2.1/24\"]", "signpost.toml:3: transfer.x.networks[0]: 192.0.2.1/24 has bits set behind");
    check("networks = \"::/0\"\nnotify = [\"192.0.2.1#k\"]", "signpost.toml:4: transfer.x.notify[0]: there is no key k.");
    check("networks = \"::/0\"\nnotify = [\"ns1\"]", "signpost.toml:4: transfer.x.notify[0]: an address such as");
    check("networks = \"::/0\"\nservices = \"rendered\"", "signpost.toml:4: transfer.x.services: unknown value");
    check("networks = \"::/0\"\nnotify = [\"tls://192.0.2.1#x\"]", "signpost.toml:4: transfer.x.notify[0]: who is told of a change");
    check("networks = \"::/0\"\nnotfy = []", "signpost.toml:4: transfer.x.notfy: unknown key; did you mean");
}

const HASH: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[test]
fn what_is_wrong_is_said_by_line_and_key() {
    let check = |text: &str, env: &[(&str, &str)], expected: &[&str]| {
        let said = read(text, env).map(|s| format!("{s:?}")).unwrap_err();
        let fits = said.len() == expected.len() && said.iter().zip(expected).all(|(s, e)| s.starts_with(e));
        assert!(fits, "{text}\nexpected {expected:#?}\nsaid {said:#?}");
    };
    check("", &[], &["signpost.toml:1: version: `version = 1` is missing"]);
    check("version = 2", &[], &["signpost.toml:1: version: 1 is expected, not 2"]);
    check("version = 1\nx = [", &[], &["signpost.toml:2: "]);
    check("version = 1\ndat_dir = \"x\"", &[], &["signpost.toml:2: dat_dir: unknown key; did you mean `data_dir`?"]);
    check("version = 1\nlisten = \"x\"", &[], &["signpost.toml:2: listen: unknown key; did you mean `dns.listen`?"]);
    check("version = 1\n[dsn]\nlisten = []", &[], &["signpost.toml:2: dsn: unknown key; did you mean `dns`?"]);
    check("version = 1\ndns = 3", &[], &["signpost.toml:2: dns: a table is expected: [dns]"]);
    check(
        "version = 1\n[dns]\nlisten = [\"127.0.0.1:53\",\n\"localhost:53\"]\nworkers = 0\ntcp_idle = \"soon\"",
        &[],
        &[
            "signpost.toml:4: dns.listen[1]: an address and port such as",
            "signpost.toml:5: dns.workers: a whole number from 1 to 1024 is expected, not 0",
            "signpost.toml:6: dns.tcp_idle: \"soon\" is no length of time",
        ],
    );
    check(
        "version = 1\n[api]\nlisten = \"0.0.0.0:8053\"",
        &[],
        &["signpost.toml:3: api.listen: 0.0.0.0:8053 can be reached from other machines, so the API needs tokens: add [[api.token]]"],
    );
    check("version = 1", &[("SIGNPOST__API__LISTEN", "[::]:8053")], &["environment: SIGNPOST__API__LISTEN: [::]:8053 can be reached"]);
    check("version = 1\n[dns]\nlisten = [\"127.0.0.1:8053\"]", &[], &["signpost.toml: api.listen: 127.0.0.1:8053 is in dns.listen too"]);
    check("version = 1\n[store]\nkind = \"etcd\"", &[], &["signpost.toml:3: store.kind: the etcd store does not exist yet; \"embedded\""]);
    check("version = 1\n[here]\nregion = \"boston\"", &[], &["signpost.toml:3: here.region: goes with `az`"]);
    check(
        "version = 1\n[safety]\nmin_healthy_weight = 101\nwait = \"2d\"",
        &[],
        &["signpost.toml:3: safety.min_healthy_weight: a whole number from 0 to 100", "signpost.toml:4: safety.wait: 0ms to 86400s"],
    );
    check(
        "version = 1\n[dns]\nunverified_max = 100\n[dns.rate_limit]\nslip = 11\nipv4_prefix = 33\nexempt = [\"192.0.2.0/24\", \"lan\"]",
        &[],
        &[
            "signpost.toml:3: dns.unverified_max: 0 (no such limit) or a whole number from 128 to 4096 is expected, not 100",
            "signpost.toml:5: dns.rate_limit.slip: a whole number from 0 to 10 is expected, not 11",
            "signpost.toml:6: dns.rate_limit.ipv4_prefix: a whole number from 8 to 32",
            "signpost.toml:7: dns.rate_limit.exempt: goes with `per_second`",
            "signpost.toml:7: dns.rate_limit.exempt[1]: a network such as",
        ],
    );
    check(
        "version = 1\n[dnssec]\nzones = [\"a.test\", \"A.test.\"]\nalgorithm = \"rsa\"\nkeys = \"zsk\"\nvalidity = \"1h\"\nzsk_lifetime = \"2h\"",
        &[],
        &[
            "signpost.toml:3: dnssec.zones[1]: a.test. stands twice",
            "signpost.toml:4: dnssec.algorithm: \"rsa\" is unknown; known are ecdsap256sha256, ed25519",
            "signpost.toml:5: dnssec.keys: \"zsk\" is unknown; did you mean `csk`?",
            "signpost.toml:6: dnssec.validity: 86400000ms to 7776000s, not 1h",
            "signpost.toml:7: dnssec.zsk_lifetime: 86400000ms",
        ],
    );
    check(
        "version = 1\n[dnssec]\nparent = { \"svc.example\" = [\"192.0.2.1\"], \"*\" = [\"::1\", \"ns.example\"] }",
        &[],
        &["signpost.toml:3: dnssec.parent.\"*\"[1]: an address is expected, with or without a port, not \"ns.example\""],
    );
    check("version = 1\n[log]\nlevel = \"inof\"", &[], &["signpost.toml:3: log.level: unknown level \"inof\"; did you mean `info`?"]);
    check(
        "version = 1\n[[api.token]]\nname = \"a\"\nhash = \"secret\"\nrights = [\"read\"]",
        &[],
        &["signpost.toml:4: api.token[0].hash: \"sha256:\" and the 64 hex digits"],
    );
    check(
        &format!("version = 1\n[[api.token]]\nname = \"a\"\nhash = \"{HASH}\"\nrights = [\"read\", \"regster\"]"),
        &[],
        &["signpost.toml:5: api.token[0].rights[1]: unknown right \"regster\"; did you mean `register`?"],
    );
    check(
        &format!("version = 1\n[[api.token]]\nname = \"a\"\nhash = \"{HASH}\"\nrights = [\"read\"]\nservices = []"),
        &[],
        &["signpost.toml:6: api.token[0].services: at least one prefix of service names is expected"],
    );
    check(
        "version = 1",
        &[("SIGNPOST__DNS__LISTN", "x"), ("SIGNPOST__DNS__WORKERS", "many"), ("SIGNPOST__", "x")],
        &[
            "environment: SIGNPOST__: unknown variable",
            "environment: SIGNPOST__DNS__LISTN: unknown variable; did you mean `SIGNPOST__DNS__LISTEN`?",
            "environment: SIGNPOST__DNS__WORKERS: a whole number is expected, not \"many\"",
        ],
    );
}

#[test]
fn what_is_wrong_with_a_secret_is_said_without_it() {
    let check = |secrets: &str, expected: &str| {
        for shown in [
            read(&format!("version = 1\n[dns.cookies]\nsecrets = {secrets}"), &[]),
            read("version = 1", &[("SIGNPOST__DNS__COOKIES__SECRETS", secrets)]),
        ] {
            let said = shown.unwrap_err().join("\n");
            assert!(said.contains("ecrets") || said.contains("SECRETS"), "{said}");
            assert!(!said.contains("5eca") && !said.contains("987654"), "{said}");
            assert!(said.to_lowercase().contains(expected), "{said} is not {expected}");
        }
    };
    check(
        "[\"5eca5eca5eca5eca5eca5eca5eca5ec\"]",
        "secrets[0]: 32 hex digits are expected (`openssl rand -hex 16` makes some), not 31 octets",
    );
    check("[\"0123456789abcdef0123456789abcdef\", \"5eca5eca5eca5eca5eca5eca5eca5ecx\"]", "secrets[1]: 32 hex digits");
    check("[\"5eca5eca5eca5eca5eca5eca5ecafeca\", \"5ECA5eca5eca5eca5eca5eca5ecafeca\"]", "secrets[1]: this secret stands twice");
    check("[\"98765432\", 98765432109]", "secrets[0]: 32 hex digits");
    check("[98765432109876, \"\"]", "secrets[0]: a text of 32 hex digits");
    check("[\"00000000000000000000000000000000\"]", "secrets[0]: this secret is easily guessed");
    for value in ["[c5eca5eca5eca5eca5eca5eca5eca5eca]", "c5eca5eca5eca5eca5eca5eca5eca5eca", "[\"c5eca5eca5eca5eca5eca5eca5eca5eca]"] {
        let said = read(&format!("version = 1\n[dns.cookies]\nsecrets = {value}"), &[]).unwrap_err().join("\n");
        assert!(said.starts_with("signpost.toml:3: ") && !said.contains("5eca"), "{said}");
    }
    let five: Vec<String> = (1..=5).map(|n| format!("\"5eca0000000000000000000000000{n:03}\"")).collect();
    check(&format!("[{}]", five.join(", ")), "secrets: at most 4 secrets are expected, not 5");
}

#[test]
fn what_is_encrypted_needs_a_certificate_and_ports_of_its_own() {
    let check = |tls: &str, expected: &[&str]| {
        let text = format!("version = 1\n[dns]\nlisten = [\"127.0.0.1:5300\"]\n[api]\nlisten = \"127.0.0.1:8053\"\n[dns.tls]\n{tls}");
        let said = read(&text, &[]).map_or_else(|said| said, |_| Vec::new());
        let fits = said.len() == expected.len() && said.iter().zip(expected).all(|(s, e)| s.starts_with(&format!("signpost.toml:{e}")));
        assert!(fits, "{tls}\nexpected {expected:#?}\nsaid {said:#?}");
    };
    let pair = "certificate = \"c\"\nkey = \"k\"\n";
    let with = |rest: &str| format!("{pair}{rest}");
    check("", &[]);
    check(&with("dot = [\"127.0.0.1:853\"]\ndoq = [\"127.0.0.1:853\"]\ndoh = [\"127.0.0.1:443\"]"), &[]);
    check(&with("dot = [\"127.0.0.1:0\"]\ndoh = [\"127.0.0.1:0\"]"), &[]);
    check(pair, &["7: dns.tls.certificate: is for `dot`, `doh` or `doq`"]);
    check("certificate = \"c\"\ndot = []", &["7: dns.tls.certificate: goes with `key`"]);
    check("key = \"k\"", &["7: dns.tls.key: goes with `certificate`"]);
    check("dot = [\"127.0.0.1:853\"]", &["7: dns.tls.dot: needs `certificate` and `key`"]);
    check(&with("dot = [\"127.0.0.1:53\"]"), &["9: dns.tls.dot: 127.0.0.1:53: port 53 is for plain DNS"]);
    check(&with("doq = [\"127.0.0.1:5300\"]"), &["9: dns.tls.doq: 127.0.0.1:5300 is in dns.listen too"]);
    check(&with("doh = [\"127.0.0.1:853\"]\ndot = [\"127.0.0.1:853\"]"), &["10: dns.tls.dot: 127.0.0.1:853 is in dns.tls.doh too"]);
    check(&with("doh = [\"127.0.0.1:8053\"]"), &["5: api.listen: 127.0.0.1:8053 is in [dns.tls] too"]);
    check(&with("doh = [\"127.0.0.1:1\", \"127.0.0.1:1\"]"), &["7: dns.tls.certificate", "9: dns.tls.doh[1]: 127.0.0.1:1 stands twice"]);
    for path in ["dns-query", "", "/dns?query", "/d n s", "/%64ns", "/dns{?dns}"] {
        check(&with(&format!("dot = [\"127.0.0.1:1\"]\ndoh_path = \"{path}\"")), &["10: dns.tls.doh_path: a path such as \"/dns-query\""]);
    }
}

#[test]
fn every_key_arrives_from_file_and_environment() {
    let text = format!(
        r#"
        version = 1
        data_dir = "state"
        [dns]
        listen = ["127.0.0.1:0", "[::1]:0"]
        workers = 3
        udp_payload = 1400
        tcp_connections = 10
        tcp_per_client = 2
        tcp_idle = "500ms"
        version = "signpost"
        identity = "a1"
        unverified_max = 512
        [dns.cookies]
        enabled = false
        secrets = ["e5e973e5a6b2a43f48e7dc849e37bfcf", "445536BCD2513298075A5D379663C962"]
        [dns.rate_limit]
        per_second = 20
        nxdomain_per_second = 10
        errors_per_second = 5
        all_per_second = 1000
        slip = 3
        ipv4_prefix = 28
        ipv6_prefix = 48
        exempt = ["192.0.2.7/24", "2001:db8::1"]
        table_size = 65536
        [dns.tls]
        certificate = "tls/cert.pem"
        key = "/etc/tls/key.pem"
        dot = ["0.0.0.0:853", "[::]:853"]
        doh = ["0.0.0.0:443"]
        doh_path = "/dns"
        doq = "0.0.0.0:853"
        [api]
        listen = "0.0.0.0:8053"
        [[api.token]]
        name = "deploy"
        hash = "{HASH}"
        rights = ["register", "read"]
        services = ["Web"]
        [here]
        region = "boston"
        az = "az-1"
        [zones]
        dir = "/etc/zones"
        [geo]
        dir = "places"
        [store]
        kind = "embedded"
        [safety]
        min_regions = 2
        min_healthy_weight = 50
        one_region_at_a_time = false
        wait = "10m"
        [probe]
        enabled = false
        concurrency = 7
        [log]
        level = "info,signpost::probe=debug"
        format = "json"
        "#
    );
    let from_file = read(&text, &[]).unwrap();
    let dir = from_file.file.as_ref().unwrap().parent().unwrap();
    assert_eq!(from_file.data_dir, dir.join("state"));
    assert_eq!(from_file.api.audit, dir.join("state/audit.jsonl"));
    assert_eq!(from_file.zones_dir, Path::new("/etc/zones"));
    assert_eq!(from_file.geo_dir, dir.join("places"));
    assert_eq!((from_file.dns.listen.len(), from_file.dns.workers, from_file.dns.udp_payload), (2, 3, 1400));
    assert_eq!((from_file.dns.tcp_connections, from_file.dns.tcp_per_client, from_file.dns.tcp_idle_ms), (10, 2, 500));
    assert_eq!((from_file.dns.version.as_deref(), from_file.dns.identity.as_deref()), (Some("signpost"), Some("a1")));
    let dns = &from_file.dns;
    assert_eq!((dns.unverified_max, dns.cookies.enabled, dns.cookies.secrets.len()), (512, false, 2));
    assert_eq!((dns.cookies.secrets[0].0[0], dns.cookies.secrets[1].0[15]), (0xe5, 0x62));
    assert!(!format!("{from_file:?}").contains("e5e9") && !format!("{from_file:?}").contains("229"), "no secret is shown");
    let exempt = ["192.0.2.0/24".parse().unwrap(), "2001:db8::1/128".parse().unwrap()].into();
    let rate_limit = RateLimitSettings {
        per_second: 20,
        nxdomain_per_second: Some(10),
        errors_per_second: Some(5),
        all_per_second: 1000,
        slip: 3,
        ipv4_prefix: 28,
        ipv6_prefix: 48,
        exempt,
        table_size: 65_536,
    };
    assert_eq!(dns.rate_limit, rate_limit);
    let (tls, at) = (&dns.tls, |address: &str| address.parse::<std::net::SocketAddr>().unwrap());
    assert_eq!(tls.files().collect::<Vec<_>>(), [&dir.join("tls/cert.pem"), Path::new("/etc/tls/key.pem")]);
    assert_eq!((&tls.dot[..], &tls.doh[..]), (&[at("0.0.0.0:853"), at("[::]:853")][..], &[at("0.0.0.0:443")][..]));
    assert_eq!((tls.doh_path.as_str(), &tls.doq[..]), ("/dns", &[at("0.0.0.0:853")][..]));
    assert_eq!(from_file.here.as_ref().unwrap().to_string(), "boston/az-1");
    let safety = SafetySettings { min_regions: 2, min_healthy_weight: 50, one_region_at_a_time: false, wait: Period::seconds(600) };
    assert_eq!(from_file.safety, safety);
    assert_eq!((from_file.probe.enabled, from_file.probe.concurrency), (false, 7));
    assert_eq!((from_file.log.level.as_str(), from_file.log.format), ("info,signpost::probe=debug", LogFormat::Json));
    let token = &from_file.api.tokens[0];
    assert_eq!((token.name.as_str(), token.hash[0], &*token.rights), ("deploy", 0x9f, &[Right::Register, Right::Read][..]));
    assert_eq!(token.services, ["web"]);

    let inline = format!("[{{ name = \"ci\", hash = \"{HASH}\", rights = [\"admin\"] }}]");
    let over = read(
        &text,
        &[
            ("SIGNPOST__DATA_DIR", "elsewhere"),
            ("SIGNPOST__DNS__LISTEN", "127.0.0.1:1, 127.0.0.1:2"),
            ("SIGNPOST__DNS__WORKERS", "9"),
            ("SIGNPOST__PROBE__ENABLED", "true"),
            ("SIGNPOST__DNS__COOKIES__SECRETS", "000102030405060708090a0b0c0d0e0f"),
            ("SIGNPOST__DNS__RATE_LIMIT__EXEMPT", "192.0.2.0/24, 2001:db8::/32"),
            ("SIGNPOST__API__TOKEN", &inline),
            ("SIGNPOST_CONFIG", "not ours"),
        ],
    )
    .unwrap();
    assert_eq!((over.data_dir.as_path(), over.dns.workers, over.probe.enabled), (Path::new("elsewhere"), 9, true));
    assert_eq!((over.dns.cookies.secrets[0].0[15], over.dns.rate_limit.exempt.len()), (15, 2));
    assert_eq!(over.dns.listen.iter().map(|a| a.port()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(over.api.tokens.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["ci"]);
    let bare = read("version = 1", &[]).unwrap();
    let dir = bare.file.as_ref().unwrap().parent().unwrap();
    assert_eq!((bare.zones_dir, bare.geo_dir), (dir.join("zones"), dir.join("geo")));
    assert_eq!((bare.data_dir, bare.api.audit), (dir.join("data"), dir.join("data/audit.jsonl")));
    let list = read("version = 1", &[("SIGNPOST__DNS__LISTEN", "[\"[::1]:5300\"]")]).unwrap();
    assert_eq!(list.dns.listen, ["[::1]:5300".parse().unwrap()]);
    let bare = read("version = 1", &[("SIGNPOST__DNS__LISTEN", "[::1]:5300")]).unwrap();
    assert_eq!(bare.dns.listen, list.dns.listen);
}

#[test]
fn forwarding_is_for_ones_own_networks() {
    let good = "version = 1\n[forward]\nnetworks = [\"127.0.0.0/8\", \"::1\"]\nupstreams = [\"9.9.9.9\", \"tls://9.9.9.9#dns.quad9.net\"]\n\
        [forward.zones]\n\"corp.example\" = [\"10.0.0.53\"]\n";
    let settings = read(good, &[]).unwrap();
    assert_eq!(settings.forward.all().map(|u| u.to_string()).collect::<Vec<_>>(), ["9.9.9.9", "tls://9.9.9.9#dns.quad9.net", "10.0.0.53"]);
    assert_eq!(settings.dns.forward, settings.forward.networks);
    let off = read(good, &[("SIGNPOST__FORWARD__NETWORKS", "")]).unwrap();
    assert!(off.dns.forward.is_empty() && !off.forward.is_on());
    let over = [("SIGNPOST__FORWARD__ZONES", "{ \"a.example\" = [\"tcp://10.0.0.1\"] }"), ("SIGNPOST__FORWARD__UPSTREAMS", "9.9.9.10")];
    assert_eq!(read(good, &over).unwrap().forward.all().map(|u| u.to_string()).collect::<Vec<_>>(), ["9.9.9.10", "tcp://10.0.0.1"]);

    let check = |text: &str, expected: &str| {
        let said = read(&format!("version = 1\n[forward]\n{text}"), &[]).unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with(expected), "{said:#?} is not {expected}");
    };
    let open = "would let everyone on the internet";
    check(
        "upstreams = [\"9.9.9.9\"]\nnetworks = [\"10.0.0.0/8\",\n\"0.0.0.0/0\"]",
        &format!("signpost.toml:5: forward.networks[1]: 0.0.0.0/0 {open}"),
    );
    check("upstreams = [\"9.9.9.9\"]\nnetworks = [\"::/0\"]", &format!("signpost.toml:4: forward.networks[0]: ::/0 {open}"));
    check(
        "upstreams = [\"9.9.9.9\"]\nnetworks = [\"0.0.0.0/1\", \"128.0.0.0/1\"]",
        &format!("signpost.toml:4: forward.networks: 0.0.0.0/0, which these come to together, {open}"),
    );
    check("upstreams = [\"9.9.9.9\"]", "signpost.toml:3: forward.upstreams: goes with `networks`");
    check("networks = [\"10.0.0.0/8\"]", "signpost.toml:3: forward.networks: goes with `upstreams`");
    check("networks = [\"::1\"]\nupstreams = [\"9.9.9.9\", \"9.9.9\"]", "signpost.toml:4: forward.upstreams[1]: \"9.9.9\" is no address");
    check("networks = [\"::1\"]\nupstreams = [\"127.0.0.1:5300\"]", "signpost.toml:4: forward.upstreams: 127.0.0.1:5300 is this server");
    check(
        "networks = [\"::1\"]\nupstreams = [\"127.0.0.5\"]\n[dns]\nlisten = [\"0.0.0.0:53\"]",
        "signpost.toml:4: forward.upstreams: 127.0.0.5 is this server (dns.listen has 0.0.0.0:53)",
    );
    let zones = "networks = [\"::1\"]\n[forward.zones]\n";
    check(&format!("{zones}\"corp.example\" = []"), "signpost.toml:5: forward.zones.\"corp.example\": at least one upstream");
    check(
        &format!("{zones}\"corp.example\" = [\"10.0.0.53\",\n\"x\"]"),
        "signpost.toml:6: forward.zones.\"corp.example\"[1]: \"x\" is no address",
    );
    check(&format!("{zones}\"a..b\" = [\"10.0.0.53\"]"), "signpost.toml:5: forward.zones.\"a..b\": ");
    check("network = []", "signpost.toml:3: forward.network: unknown key; did you mean `networks`?");
}

#[test]
fn drills_are_read_by_name_and_blamed_by_line() {
    let evacuate = "[drills.evacuate-eu]\nlose = \"region/eu-west\"\nschedule = \"Tue 10:00\"\nramp = \"10m\"\n\
        [drills.evacuate-eu.abort]\nmetric = { url = \"http://127.0.0.1:9090/\", max = 0.01 }\n";
    let settings = read(&format!("version = 1\n{evacuate}[drills.x]\nlose = \"service/web\""), &[]).unwrap();
    let names: Vec<&str> = settings.drills.keys().map(Label::as_str).collect();
    assert_eq!(names, ["evacuate-eu", "x"]);
    let drill = &settings.drills[&Label::parse("evacuate-eu").unwrap()];
    assert_eq!((drill.schedule.unwrap().to_string().as_str(), drill.abort.metric.as_ref().unwrap().max), ("Tue 10:00", 0.01));
    let over = read(&format!("version = 1\n{evacuate}"), &[("SIGNPOST__DRILLS", "{ y = { lose = \"region/eu\", hold = \"1m\" } }")]);
    assert_eq!(over.unwrap().drills.keys().map(Label::as_str).collect::<Vec<_>>(), ["y"]);

    let check = |text: &str, env: &[(&str, &str)], expected: &str| {
        let said = read(&format!("version = 1\n{text}"), env).unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with(expected), "{said:#?} is not {expected}");
    };
    check("[drills.a]\nlose = \"region/eu\"\nwait = \"1m\"", &[], "signpost.toml:4: drills.a.wait: unknown key; known are lose");
    let twice = "[drills.a]\nlose = \"region/eu\"\n[drills.A]\nlose = \"region/eu\"";
    check(twice, &[], "signpost.toml:4: drills.A: stands twice: names are the same in upper and lower case");
    check("[drills.a]\nramp = \"1m\"", &[], "signpost.toml:2: drills.a: `lose` is missing");
    check("[drills.a]\nlose = \"planet/x\"", &[], "signpost.toml:3: drills.a.lose: ");
    check(
        "[drills.a]\nlose = \"region/eu\"\n[drills.a.require]\nmin_healthy_weight = 101",
        &[],
        "signpost.toml:5: drills.a.require.min_healthy_weight: a percentage",
    );
    check("[drills.a]\nlose = \"region/eu\"\nschedule = \"noon\"", &[], "signpost.toml:4: drills.a.schedule: \"noon\" is no schedule");
    check("[drills]\na = 3", &[], "signpost.toml:3: drills.a: ");
    check("[drills.\"a b\"]\nlose = \"region/eu\"", &[], "signpost.toml:2: drills.");
    check("", &[("SIGNPOST__DRILLS", "{ y = { hold = \"1m\" } }")], "environment: SIGNPOST__DRILLS.y: `lose` is missing");
}

#[test]
fn a_named_file_must_exist() {
    let error = settings(Some(Path::new("/nowhere/signpost.toml")), &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    assert!(error.to_string().starts_with("/nowhere/signpost.toml: "), "{error}");
}
