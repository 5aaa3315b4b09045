//! glibc with Signpost as its only name server, and Unbound behind it for everything else: in a network of their own.

use std::collections::BTreeMap;

use crate::harness::{Files, find, loopback, run_apart, write_signpost};

const FILES: Files = &[
    (
        "zones/svc.example.toml",
        "services = true\nns = [\"ns1.svc.example.\"]\n[records]\nns1 = { A = [\"192.0.2.53\"] }\nout = { CNAME = [\"www.elsewhere.test.\"] }\n\
      [services.web]\n[services.web.instances.w1]\naddresses = [\"192.0.2.11\"]\nports = { http = 80 }\nregion = \"boston\"\naz = \"az-1\"\n",
    ),
    (
        "unbound.conf",
        "server:\n  interface: 127.0.0.1@5053\n  port: 5053\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  num-threads: 1\n  \
      access-control: 127.0.0.0/8 allow\n  do-daemonize: no\n  local-zone: \"elsewhere.test.\" static\n  \
      local-data: \"elsewhere.test. 300 SOA ns.elsewhere.test. h.elsewhere.test. 1 2 3 4 60\"\n  \
      local-data: \"www.elsewhere.test. 300 A 198.51.100.7\"\n  local-data: \"www.elsewhere.test. 300 AAAA 2001:db8:7::7\"\n  \
      local-data: \"7.100.51.198.in-addr.arpa. 300 PTR www.elsewhere.test.\"\n",
    ),
];

/// A title, and what is run.
const ASKED: &[(&str, &str)] = &[
    ("a service", "getent ahostsv4 web.svc.example"),
    ("by the search list", "getent ahostsv4 web"),
    ("a name of others", "getent ahosts www.elsewhere.test"),
    ("our alias to it", "getent ahostsv4 out.svc.example"),
    ("an address of others", "getent hosts 198.51.100.7"),
    ("no such name of others", "getent ahosts nothing.elsewhere.test"),
    ("once more", "getent ahostsv4 www.elsewhere.test"),
    ("flags", "dig +noall +comments @127.0.0.1 www.elsewhere.test A"),
    ("not asked to", "dig +norec +noall +comments @127.0.0.1 www.elsewhere.test A"),
    ("from elsewhere", "dig -b 192.0.2.1 +noall +comments @127.0.0.1 www.elsewhere.test A"),
    ("over TCP", "dig +tcp +short @127.0.0.1 www.elsewhere.test AAAA"),
];

#[test]
fn glibc_resolves_names_of_others_by_it() {
    for program in ["unshare", "ip", "curl", "getent", "mount", "unbound", "dig"] {
        find(program);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let forward = "[forward]\nnetworks = [\"127.0.0.0/8\"]\nupstreams = [\"127.0.0.1:5053\"]";
    let config = write_signpost(folder.path(), &[loopback(53)], forward, loopback(8053), FILES);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a config file");
    write("resolv.conf", "nameserver 127.0.0.1\nsearch svc.example\noptions timeout:5 attempts:1\n");
    write("nsswitch.conf", "hosts: dns\n");
    let mut script = format!(
        "set -eu\nip link set lo up\nip address add 192.0.2.1/24 dev lo\nip address add 2001:db8::1/64 dev lo nodad\n\
         mount --bind resolv.conf /etc/resolv.conf\nmount --bind nsswitch.conf /etc/nsswitch.conf\n\
         if [ -d /run/nscd ]; then mount -t tmpfs none /run/nscd; fi\n\
         unbound -d -p -c unbound.conf >unbound.log 2>&1 &\n'{signpost}' serve --config '{config}' >log 2>&1 &\n\
         tries=0\nuntil curl -fs -o /dev/null http://127.0.0.1:8053/readyz && dig +short @127.0.0.1 -p 5053 www.elsewhere.test | grep -q 198; do\n\
         \ttries=$((tries + 1)); if [ $tries -gt 150 ]; then echo 'not ready'; cat log unbound.log; exit 1; fi; sleep 0.1\ndone\n",
        signpost = env!("CARGO_BIN_EXE_signpost"),
        config = config.display(),
    );
    for (title, asked) in ASKED {
        script += &format!("echo '== {title}'\n{asked} || echo \"exit $?\"\n");
    }
    write("script", &script);
    let text = run_apart(folder.path(), &["--mount"]);

    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    for part in text.split("== ").skip(1) {
        let (title, printed) = part.split_once('\n').unwrap_or((part, ""));
        found.insert(title, printed);
    }
    let check = |title: &str, holds: &[&str]| {
        let printed = found.get(title).unwrap_or_else(|| panic!("{title} was not asked: {text}"));
        assert!(holds.iter().all(|expected| printed.contains(expected)), "{title}: {printed}");
    };
    check("a service", &["192.0.2.11"]);
    check("by the search list", &["192.0.2.11"]);
    check("a name of others", &["198.51.100.7", "2001:db8:7::7"]);
    check("our alias to it", &["198.51.100.7", "www.elsewhere.test"]);
    check("an address of others", &["www.elsewhere.test"]);
    check("no such name of others", &["exit 2"]);
    check("once more", &["198.51.100.7"]);
    check("flags", &["NOERROR", "flags: qr rd ra;", "ANSWER: 1,"]);
    check("not asked to", &["REFUSED", "flags: qr ra;"]);
    check("from elsewhere", &["REFUSED", "flags: qr rd;"]);
    check("over TCP", &["2001:db8:7::7"]);
}
