//! Recursors as strict as they can be made, which validate nothing: no zone here is signed. The caller says where they ask.

use std::net::SocketAddr;
use std::path::Path;

use crate::harness::{Peer, at, run};
use crate::reply::Reply;

/// dig's reply to `query`, written as its command line: one try, and time for a recursor to walk.
pub fn ask(server: SocketAddr, query: &str) -> Reply {
    let mut args: Vec<String> = at(server).into();
    args.extend(["+time=10".into(), "+tries=1".into()]);
    args.extend(query.split_whitespace().map(String::from));
    Reply::one(&run("dig", &args))
}

/// Unbound with 0x20 (draft-vixie-dnsext-dns0x20) and strict QNAME minimisation (RFC 9156), which takes an NXDOMAIN on an empty
/// non-terminal at its word. `server` is more of that clause; `clauses` stand beside it. `@FOLDER@` in them is its folder, where `hints` is.
pub fn unbound(modules: &str, hints: &str, server: &str, clauses: &str) -> Peer {
    Peer::start("unbound", |folder, address| {
        std::fs::write(folder.join("hints"), hints).expect("a hints file");
        let config = format!(
            "server:\n  interface: {at}@{port}\n  port: {port}\n  directory: \"@FOLDER@\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  \
             use-syslog: no\n  log-queries: no\n  verbosity: 2\n  num-threads: 1\n  access-control: 127.0.0.0/8 allow\n  \
             do-not-query-localhost: no\n  module-config: \"{modules}\"\n  use-caps-for-id: yes\n  qname-minimisation: yes\n  \
             qname-minimisation-strict: yes\n  harden-below-nxdomain: yes\n  harden-referral-path: no\n  minimal-responses: no\n  \
             local-zone: \"example.\" nodefault\n{server}{clauses}remote-control:\n  control-enable: no\n",
            at = address.ip(),
            port = address.port(),
        );
        write(folder, "unbound.conf", &config);
        vec!["-d".into(), "-p".into(), "-c".into(), folder.join("unbound.conf").display().to_string()]
    })
}

/// named with strict QNAME minimisation, and cookies, which it has unless told otherwise. `zones` are clauses; `hints` is a file beside them.
pub fn named(hints: &str, zones: &str) -> Peer {
    Peer::start("named", |folder, address| {
        std::fs::write(folder.join("hints"), hints).expect("a hints file");
        let config = format!(
            "options {{ directory \"@FOLDER@\"; pid-file none; listen-on port {port} {{ {at}; }}; listen-on-v6 {{ none; }};\n\
             recursion yes; dnssec-validation no; minimal-responses no; qname-minimization strict; empty-zones-enable no; \
             servfail-ttl 0; }};\ncontrols {{ }};\n{zones}",
            port = address.port(),
            at = address.ip(),
        );
        write(folder, "named.conf", &config);
        named_args(folder)
    })
}

/// named in the foreground, with its log on standard error.
pub fn named_args(folder: &Path) -> Vec<String> {
    ["-g", "-n", "1", "-c"].map(String::from).into_iter().chain([folder.join("named.conf").display().to_string()]).collect()
}

/// kresd with QNAME minimisation and 0x20, which it has unless told otherwise; it keeps nothing longer than its TTL. `more` is Lua.
pub fn kresd(more: &str) -> Peer {
    Peer::start("kresd", |folder, address| {
        let config = format!(
            "net.listen('{at}', {port}, {{ kind = 'dns' }})\ncache.open(10 * MB, 'lmdb://@FOLDER@/cache')\ncache.min_ttl(0)\n\
             trust_anchors.remove('.')\nmodules = {{ 'hints > iterate', 'policy' }}\nlog_level('info')\n{more}",
            at = address.ip(),
            port = address.port(),
        );
        write(folder, "config", &config);
        vec!["-n".into(), "-c".into(), folder.join("config").display().to_string(), folder.display().to_string()]
    })
}

fn write(folder: &Path, file: &str, config: &str) {
    std::fs::write(folder.join(file), config.replace("@FOLDER@", &folder.display().to_string())).expect("a config file");
}
