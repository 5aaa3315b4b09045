//! Other people's programs that change zones (RFC 2136): nsupdate, as external-dns uses the protocol; octodns-bind, certbot-dns-rfc2136, and
//! dnspython below both.

use std::io::Write;

use crate::harness::{Files, Signpost, run};

const KEY: &str = "hmac-sha256:certbot:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const ADMIN: &str = "hmac-sha512:admin:YWRtaW5hZG1pbmFkbWluYWRtaW5hZG1pbmFkbWluYWRtaW5hZG1pbg==";

/// Stands at the end of `[dns]`.
const SETTINGS: &str = r#"workers = 1
[tsig.certbot]
secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
[tsig.admin]
algorithm = "hmac-sha512"
secret = "YWRtaW5hZG1pbmFkbWluYWRtaW5hZG1pbmFkbWluYWRtaW5hZG1pbg=="
[transfer."example.com"]
keys = ["admin"]
[update."example.com"]
rights = [
  { key = "certbot", names = ["_acme-challenge.**"], types = ["TXT"] },
  { key = "admin", names = ["**"], types = ["ANY"] },
]
"#;

const FILES: Files = &[(
    "zones/example.com.zone",
    "$TTL 300\n@ SOA ns1 hostmaster 2026112100 7200 900 1209600 300\n@ NS ns1\n@ NS ns2.example.net.\nns1 A 127.0.0.1\nwww A 192.0.2.1\n\
     www A 192.0.2.2\nmail MX 10 www\nalias CNAME www\n",
)];

fn server() -> Signpost {
    Signpost::start_on(&[], SETTINGS, FILES)
}

/// Runs nsupdate on these lines with `send` behind them; what it prints, which is nothing where all is well.
fn nsupdate(server: &Signpost, key: &str, lines: &str) -> String {
    let mut script = tempfile::NamedTempFile::new().expect("a script");
    let [address, port] = [server.dns.ip().to_string(), server.dns.port().to_string()];
    write!(script, "server {address} {port}\nzone example.com\n{lines}\nsend\n").expect("a script");
    run("nsupdate", &["-y", key, &script.path().display().to_string()])
}

fn dig(server: &Signpost, words: &[&str]) -> String {
    let mut args: Vec<String> = server.at().into();
    args.extend(words.iter().map(|word| word.to_string()));
    run("dig", &args)
}

fn short(server: &Signpost, name: &str, rtype: &str) -> String {
    let mut lines: Vec<String> = dig(server, &["+short", name, rtype]).lines().map(String::from).collect();
    lines.sort();
    lines.join(" ")
}

#[test]
fn nsupdate_adds_deletes_and_is_told_why_not() {
    let server = server();
    let check = |key: &str, lines: &str, expected: &str| {
        let said = nsupdate(&server, key, lines);
        assert_eq!(said.trim(), expected, "{lines}");
    };
    check(ADMIN, "update add new.example.com. 60 A 192.0.2.9", "");
    assert_eq!(short(&server, "new.example.com", "A"), "192.0.2.9");
    assert!(short(&server, "example.com", "SOA").contains(" 2026112101 "));
    check(ADMIN, "update delete www.example.com. A 192.0.2.1\nupdate add www.example.com. 60 AAAA 2001:db8::1", "");
    assert_eq!(
        (short(&server, "www.example.com", "A"), short(&server, "www.example.com", "AAAA")),
        ("192.0.2.2".into(), "2001:db8::1".into())
    );
    check(ADMIN, "update delete www.example.com.", "");
    assert!(dig(&server, &["www.example.com", "A"]).contains("NXDOMAIN"));
    // Prerequisites (RFC 2136 §2.4).
    check(ADMIN, "prereq yxdomain nobody.example.com.\nupdate add p.example.com. 60 A 192.0.2.1", "update failed: NXDOMAIN");
    check(ADMIN, "prereq nxdomain new.example.com.\nupdate add p.example.com. 60 A 192.0.2.1", "update failed: YXDOMAIN");
    check(ADMIN, "prereq yxrrset new.example.com. TXT\nupdate add p.example.com. 60 A 192.0.2.1", "update failed: NXRRSET");
    check(ADMIN, "prereq nxrrset new.example.com. A\nupdate add p.example.com. 60 A 192.0.2.1", "update failed: YXRRSET");
    check(ADMIN, "prereq yxrrset new.example.com. IN A 192.0.2.8\nupdate add p.example.com. 60 A 192.0.2.1", "update failed: NXRRSET");
    assert_eq!(short(&server, "p.example.com", "A"), "");
    check(
        ADMIN,
        "prereq yxrrset new.example.com. IN A 192.0.2.9\nprereq nxdomain p.example.com.\nupdate add p.example.com. 60 A 192.0.2.1",
        "",
    );
    assert_eq!(short(&server, "p.example.com", "A"), "192.0.2.1");
    // Rights, by name and by type; what the zone could not be served with.
    check(KEY, "update add www.example.com. 60 TXT x", "update failed: REFUSED");
    check(KEY, "update add _acme-challenge.example.com. 60 CNAME www.example.com.", "update failed: REFUSED");
    check(ADMIN, "update add sub.example.com. 60 NS ns.sub.example.com.", "update failed: REFUSED");
    check(ADMIN, "update add sub.example.com. 60 NS ns.sub.example.com.\nupdate add ns.sub.example.com. 60 A 192.0.2.7", "");
    assert!(dig(&server, &["a.sub.example.com", "A"]).contains("ns.sub.example.com.\t60\tIN\tA\t192.0.2.7"));
    let wrong = "hmac-sha256:certbot:d3Jvbmcgc2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2g=";
    assert!(nsupdate(&server, wrong, "update add _acme-challenge.example.com. 60 TXT x").contains("NOTAUTH"));
    // A reply says why, where somebody looks.
    let mut script = tempfile::NamedTempFile::new().expect("a script");
    write!(script, "server {} {}\nupdate add www.example.com. 60 TXT x\nsend\n", server.dns.ip(), server.dns.port()).expect("a script");
    let said = run("nsupdate", &[&script.path().display().to_string()]);
    assert!(said.contains("REFUSED"), "without a key: {said}");
}

/// As certbot's dns-rfc2136 plugin: a challenge comes, is seen, and goes; two at once for a name and its wildcard.
#[test]
fn challenges_come_and_go() {
    let server = server();
    let name = "_acme-challenge.www.example.com";
    for challenge in ["first", "second"] {
        assert_eq!(nsupdate(&server, KEY, &format!("update add {name}. 120 TXT \"{challenge}\"")).trim(), "");
    }
    assert_eq!(short(&server, name, "TXT"), "\"first\" \"second\"");
    for challenge in ["first", "second"] {
        assert_eq!(nsupdate(&server, KEY, &format!("update delete {name}. TXT \"{challenge}\"")).trim(), "");
    }
    assert!(dig(&server, &[name, "TXT"]).contains("NXDOMAIN"));
    let list = server.get("/v1/zones/example.com/updates");
    assert_eq!(
        (list["changes"].as_u64(), list["updates"].as_array().map(Vec::len)),
        (Some(4), Some(0)),
        "nothing is left over the file: {list}"
    );
}

/// As external-dns' rfc2136 provider: records and the TXT that says whose they are in one message; changed as delete and add; the zone is
/// read by AXFR.
#[test]
fn a_controller_keeps_records_and_says_that_they_are_its_own() {
    let server = server();
    let owner = "\"heritage=external-dns,external-dns/owner=k8s,external-dns/resource=service/default/nginx\"";
    let create = format!("update add nginx.example.com. 300 A 192.0.2.20\nupdate add a-nginx.example.com. 0 TXT {owner}");
    assert_eq!(nsupdate(&server, ADMIN, &create).trim(), "");
    let change = "update delete nginx.example.com. A 192.0.2.20\nupdate add nginx.example.com. 300 A 192.0.2.21";
    assert_eq!(nsupdate(&server, ADMIN, change).trim(), "");
    let zone = dig(&server, &["-y", ADMIN, "example.com", "AXFR"]);
    assert!(zone.contains("nginx.example.com.\t300\tIN\tA\t192.0.2.21") && zone.contains("heritage=external-dns"), "{zone}");
    assert!(!zone.contains("192.0.2.20") && zone.contains(" 2026112102 "), "{zone}");
    let remove = format!("update delete nginx.example.com. A 192.0.2.21\nupdate delete a-nginx.example.com. TXT {owner}");
    assert_eq!(nsupdate(&server, ADMIN, &remove).trim(), "");
    assert!(!dig(&server, &["-y", ADMIN, "example.com", "AXFR"]).contains("nginx"));
}

/// As octodns-bind: AXFR with TSIG, then one UPDATE over TCP with all differences, both by dnspython.
#[test]
fn dnspython_reads_a_zone_and_changes_it() {
    let server = server();
    let script = format!(
        r#"
import dns.query, dns.tsigkeyring, dns.update, dns.zone, dns.rcode, dns.name
address, port = "{address}", {port}
keyring = dns.tsigkeyring.from_text({{"admin.": "YWRtaW5hZG1pbmFkbWluYWRtaW5hZG1pbmFkbWluYWRtaW5hZG1pbg=="}})
def transfer():
    xfr = dns.query.xfr(address, "example.com", port=port, keyring=keyring, keyname="admin.", keyalgorithm="hmac-sha512", lifetime=20)
    return dns.zone.from_xfr(xfr)
zone = transfer()
print(len(zone.nodes))
update = dns.update.Update("example.com", keyring=keyring, keyname="admin.", keyalgorithm="hmac-sha512")
update.delete("www", "A")
update.add("www", 3600, "A", "192.0.2.30", "192.0.2.31")
update.add("mx", 300, "MX", "10 www.example.com.")
update.add("srv", 300, "SRV", "1 2 8080 www.example.com.")
update.add("caa", 300, "CAA", '0 issue "letsencrypt.org"')
update.add("web", 300, "HTTPS", '1 . alpn="h2,h3"')
for n in range(100):
    update.add("h%d" % n, 300, "A", "10.0.0.%d" % n)
print(dns.rcode.to_text(dns.query.tcp(update, address, port=port, timeout=20).rcode()))
after = transfer()
print(sorted(r.to_text() for r in after.find_rdataset("www", "A")), len(after.nodes), after.find_rdataset("web", "HTTPS"))
many = dns.update.Update("example.com", keyring=keyring, keyname="admin.", keyalgorithm="hmac-sha512")
for n in range(300):
    many.add("m%d" % n, 300, "A", "10.0.1.1")
print(dns.rcode.to_text(dns.query.tcp(many, address, port=port, timeout=20).rcode()), len(transfer().nodes))
"#,
        address = server.dns.ip(),
        port = server.dns.port()
    );
    // Debian's own, whose package dnspython is.
    let said = run("/usr/bin/python3", &["-c", &script]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert_eq!(lines[1], "NOERROR", "{said}");
    assert!(lines[2].starts_with("['192.0.2.30', '192.0.2.31'] ") && lines[2].ends_with("HTTPS 1 . alpn=\"h2,h3\""), "{said}");
    let nodes: usize = lines[2].split(' ').nth(2).and_then(|n| n.parse().ok()).expect("a number");
    assert_eq!(nodes, lines[0].parse::<usize>().expect("a number") + 104, "{said}");
    assert_eq!(lines[3], format!("NOERROR {}", nodes + 300), "as many as a message holds are one commit");
}

/// octodns with its provider for RFC 2136: a zone is planned by AXFR, applied as updates of hundreds of changes, and then there is nothing to do.
#[test]
fn octodns_brings_a_zone_to_what_it_plans_and_finds_it_so() {
    let server = server();
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write(
        "config.yaml",
        &format!(
            "manager:\n  max_workers: 1\nproviders:\n  config:\n    class: octodns.provider.yaml.YamlProvider\n    directory: {folder}\n    \
             default_ttl: 300\n    enforce_order: false\n  signpost:\n    class: octodns_bind.Rfc2136Provider\n    host: {host}\n    port: {port}\n    \
             key_name: admin.\n    key_secret: YWRtaW5hZG1pbmFkbWluYWRtaW5hZG1pbmFkbWluYWRtaW5hZG1pbg==\n    key_algorithm: hmac-sha512\n\
             zones:\n  example.com.:\n    sources:\n      - config\n    targets:\n      - signpost\n",
            folder = folder.path().display(),
            host = server.dns.ip(),
            port = server.dns.port()
        ),
    );
    let records = |hosts: u32| {
        let mut text = String::from(
            "'':\n  - type: NS\n    values: [ns1.example.com., ns2.example.net.]\n  - type: MX\n    values: [{exchange: mail.example.com., preference: 10}]\n  \
             - type: CAA\n    value: {flags: 0, tag: issue, value: letsencrypt.org}\n  - type: TXT\n    values: ['v=spf1 -all', 'a\\; b']\n\
             ns1:\n  type: A\n  value: 127.0.0.1\nmail:\n  - type: A\n    value: 192.0.2.3\n  - type: AAAA\n    value: 2001:db8::3\n\
             alias:\n  type: CNAME\n  value: mail.example.com.\n'*.wild':\n  type: A\n  values: [192.0.2.4, 192.0.2.5]\n\
             _http._tcp:\n  type: SRV\n  value: {port: 80, priority: 1, target: mail.example.com., weight: 2}\n\
             www:\n  - type: A\n    ttl: 60\n    values: [192.0.2.1, 192.0.2.7]\n  - type: HTTPS\n    value: {svcpriority: 1, targetname: ., svcparams: {alpn: [h2]}}\n\
             sub:\n  type: NS\n  values: [ns1.sub.example.com.]\nns1.sub:\n  type: A\n  value: 192.0.2.9\n",
        );
        (0..hosts).for_each(|n| text += &format!("host{n}:\n  type: A\n  value: 10.0.{}.{}\n", n >> 8, n & 255));
        text
    };
    let octodns = concat!(env!("CARGO_MANIFEST_DIR"), "/target/octodns/bin/octodns-sync");
    assert!(std::path::Path::new(octodns).exists(), "octodns is not installed: .ci/run installs it");
    let config = format!("--config-file={}", folder.path().join("config.yaml").display());
    let serial = || short(&server, "example.com", "SOA").split(' ').nth(2).and_then(|serial| serial.parse::<u32>().ok()).expect("a serial");
    for hosts in [400, 390] {
        let before = serial();
        write("example.com.yaml", &records(hosts));
        let applied = run(octodns, &[config.as_str(), "--doit", "--force"]);
        assert!(applied.contains("sync:   ") && !applied.contains("Traceback"), "{applied}");
        assert_eq!(serial(), before + 1, "one update, all or nothing: {applied}");
        let planned = run(octodns, &[config.as_str()]);
        assert!(planned.contains("No changes were planned"), "{planned}");
    }
    assert_eq!(
        (short(&server, "host389.example.com", "A").as_str(), short(&server, "host390.example.com", "A").as_str()),
        ("10.0.1.133", "")
    );
    assert_eq!(short(&server, "x.wild.example.com", "A"), "192.0.2.4 192.0.2.5");
}

/// certbot's own plugin for RFC 2136: it looks for the zone, adds a challenge, and takes it away.
#[test]
fn certbot_answers_a_challenge() {
    let server = server();
    let client = |step: &str| {
        let script = format!(
            "import dns.tsig\nfrom certbot_dns_rfc2136._internal.dns_rfc2136 import _RFC2136Client\n\
             client = _RFC2136Client('{}', {}, 'certbot.', 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=', dns.tsig.HMAC_SHA256)\n\
             client.{step}\nprint('done')\n",
            server.dns.ip(),
            server.dns.port()
        );
        run("/usr/bin/python3", &["-c", &script]).trim().to_string()
    };
    let name = "_acme-challenge.a.b.example.com";
    assert_eq!(client(&format!("add_txt_record('{name}', 'one', 120)")), "done");
    assert_eq!(client(&format!("add_txt_record('{name}', 'two', 120)")), "done");
    assert_eq!(short(&server, name, "TXT"), "\"one\" \"two\"");
    assert_eq!(client(&format!("del_txt_record('{name}', 'one')")), "done");
    assert_eq!(client(&format!("del_txt_record('{name}', 'two')")), "done");
    assert!(dig(&server, &[name, "TXT"]).contains("NXDOMAIN"));
    let refused = client("add_txt_record('www.example.com', 'x', 120)");
    assert!(refused.contains("REFUSED"), "the key has no right to it: {refused}");
}
