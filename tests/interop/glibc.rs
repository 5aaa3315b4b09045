//! glibc's resolver with Signpost as its only name server: port 53, so in a network of its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{find, loopback, run_apart, write_signpost};
use crate::world;

/// Three instances of sixteen addresses: too many for 512 octets, so that glibc has to come back over TCP.
fn wide() -> (Vec<(String, String)>, BTreeSet<String>) {
    let mut calls = vec![("/v1/services/wide".to_string(), r#"{"max_addresses":64}"#.to_string())];
    let mut all = BTreeSet::new();
    for instance in 0..3 {
        let addresses: Vec<String> = (0..16).map(|n| format!("192.0.2.{}", 100 + 16 * instance + n)).collect();
        let body = serde_json::json!({ "addresses": addresses, "region": "boston", "az": "az-1" }).to_string();
        calls.push((format!("/v1/services/wide/instances/w{instance}"), body));
        all.extend(addresses);
    }
    (calls, all)
}

/// What is asked: a title for the output, and the arguments of getent.
const ASKED: &[(&str, &str)] = &[
    ("both families", "ahosts web.svc.example"),
    ("by the search list", "ahostsv4 web"),
    ("the older call", "hosts b1.id.web.svc.example"),
    ("through a CNAME", "ahosts alias.svc.example"),
    ("too large for UDP", "ahostsv4 wide.svc.example"),
    ("only IPv4", "ahosts db.svc.example"),
    ("no IPv6, so IPv4 mapped", "ahostsv6 db.svc.example"),
    ("no such name", "ahosts nosuch.svc.example"),
    ("refused", "ahosts www.elsewhere.test"),
];

/// Runs in the new network as its first process; when it ends, so does everything in it.
fn script(config: &str, calls: &[(String, String)]) -> String {
    let mut script = format!(
        "set -eu\n\
         ip link set lo up\n\
         ip address add 192.0.2.1/24 dev lo\n\
         ip address add 2001:db8::1/64 dev lo nodad\n\
         mount --bind resolv.conf /etc/resolv.conf\n\
         mount --bind nsswitch.conf /etc/nsswitch.conf\n\
         if [ -d /run/nscd ]; then mount -t tmpfs none /run/nscd; fi\n\
         '{signpost}' serve --config '{config}' >log 2>&1 &\n\
         tries=0\n\
         until curl -fs -o /dev/null http://127.0.0.1:8053/readyz; do\n\
         \ttries=$((tries + 1)); if [ $tries -gt 150 ]; then echo 'signpost is not ready'; cat log; exit 1; fi; sleep 0.1\n\
         done\n",
        signpost = env!("CARGO_BIN_EXE_signpost"),
    );
    for (path, body) in calls {
        script += &format!("curl -fsS -o /dev/null -X PUT -H 'content-type: application/json' -d '{body}' http://127.0.0.1:8053{path}\n");
    }
    for round in ["plain", "edns0"] {
        if round == "edns0" {
            script += "echo 'options edns0' >>resolv.conf\n";
        }
        for (title, asked) in ASKED {
            script += &format!("echo '== {round}: {title}'\ngetent {asked} || echo \"exit $?\"\n");
        }
    }
    script
}

#[test]
fn glibc_resolves_with_it_as_the_only_name_server() {
    for program in ["unshare", "ip", "curl", "getent", "mount"] {
        find(program);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = write_signpost(folder.path(), &[loopback(53)], "", loopback(8053), world::FILES);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a config file");
    write("resolv.conf", "nameserver 127.0.0.1\nsearch svc.example\noptions timeout:2 attempts:1\n");
    write("nsswitch.conf", "hosts: dns\n");
    let (wide_calls, wide) = wide();
    let registered = world::REGISTERED.iter().map(|(path, body)| (path.to_string(), body.to_string()));
    let calls: Vec<_> = registered.chain(wide_calls).collect();
    write("script", &script(&config.display().to_string(), &calls));

    let text = run_apart(folder.path(), &["--mount"]);

    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    for part in text.split("== ").skip(1) {
        let (title, printed) = part.split_once('\n').unwrap_or((part, ""));
        found.insert(title, printed);
    }
    assert_eq!(found.len(), 2 * ASKED.len(), "{text}");
    for round in ["plain", "edns0"] {
        let printed = |title: &str| found[format!("{round}: {title}").as_str()];
        let addresses = |title: &str| -> BTreeSet<String> {
            printed(title).lines().filter_map(|line| line.split_whitespace().next()).map(String::from).collect()
        };
        let set = |addresses: &[&str]| -> BTreeSet<String> { addresses.iter().map(|a| a.to_string()).collect() };
        let check = |title: &str, expected: BTreeSet<String>| assert_eq!(addresses(title), expected, "{round}: {title}");
        check("both families", set(&["192.0.2.11", "192.0.2.12", "2001:db8::11", "2001:db8::12"]));
        check("by the search list", set(&["192.0.2.11", "192.0.2.12"]));
        check("the older call", set(&["2001:db8::11"]));
        check("through a CNAME", set(&["192.0.2.80", "192.0.2.81"]));
        assert!(printed("through a CNAME").contains("www.svc.example"), "{}", printed("through a CNAME"));
        check("too large for UDP", wide.clone());
        check("only IPv4", set(&["192.0.2.31", "192.0.2.32"]));
        check("no IPv6, so IPv4 mapped", set(&["::ffff:192.0.2.31", "::ffff:192.0.2.32"]));
        for title in ["no such name", "refused"] {
            assert_eq!(printed(title).trim(), "exit 2", "{round}: {title}");
        }
    }
}
