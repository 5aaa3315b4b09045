//! What a forged query makes the server send to somebody else: octets of the reply for octets of the query, by type. SECURITY.md
//! publishes the table, and this test keeps it true.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use signpost::config;
use signpost::control::Writer;
use signpost::model::{Counters, DnsSettings, Revision, Settings, Timestamp};
use signpost::snapshot::Snapshot;
use signpost::wire::{self, Outcome, Query, Transport, Worker};

use crate::message::Question;

const ZONE: &str = r#"
services = true
ns = ["ns1.svc.example.", "ns2.svc.example."]
[records]
"@" = { TXT = ["v=spf1 -all"], MX = ["10 mail.svc.example."] }
ns1 = { A = ["192.0.2.53"], AAAA = ["2001:db8::53"] }
ns2 = { A = ["192.0.2.54"], AAAA = ["2001:db8::54"] }
child = { NS = ["ns1.child.svc.example.", "ns2.child.svc.example."] }
"ns1.child" = { A = ["192.0.2.70"], AAAA = ["2001:db8::70"] }
"ns2.child" = { A = ["192.0.2.71"], AAAA = ["2001:db8::71"] }
[services.web]
alpn = ["h2"]
default_port = "https"
"#;

/// What is asked, and what the table calls it.
const QUESTIONS: [(&str, &str); 17] = [
    ("A, 32 instances", "web.svc.example A"),
    ("AAAA, 32 instances", "web.svc.example AAAA"),
    ("SRV, 32 instances", "web.svc.example SRV"),
    ("TXT, 32 instances", "web.svc.example TXT"),
    ("HTTPS, 32 instances", "web.svc.example HTTPS"),
    ("ANY of a service", "web.svc.example ANY"),
    ("ANY of an apex", "svc.example ANY"),
    ("NS", "svc.example NS"),
    ("SOA", "svc.example SOA"),
    ("DNSKEY", "svc.example DNSKEY"),
    ("NODATA", "web.svc.example MX"),
    ("NXDOMAIN", "nosuch.svc.example A"),
    ("referral", "www.child.svc.example A"),
    ("REFUSED", "www.example.org A"),
    ("FORMERR", "web.svc.example A malformed"),
    ("BADVERS", "web.svc.example A version=1"),
    ("`version.bind` in class CH", "version.bind TXT class=CH"),
];

/// A column: its title, what a question gets, the settings, and whether the reply measured is one beyond the rate limit.
type Column = (&'static str, &'static str, fn(&mut DnsSettings), bool);

const COLUMNS: [Column; 6] = [
    ("no EDNS", " noedns", |_| {}, false),
    ("EDNS, 1232", "", |_| {}, false),
    ("EDNS, `udp_payload = 4096`", " size=4096", |dns| dns.udp_payload = 4096, false),
    ("`unverified_max = 512`", "", |dns| dns.unverified_max = 512, false),
    ("beyond the rate limit", "", |dns| (dns.rate_limit.per_second, dns.rate_limit.slip) = (1, 1), true),
    ("beyond it, with a cookie", " cookie=new", |dns| (dns.rate_limit.per_second, dns.rate_limit.slip) = (1, 1), true),
];

const BEGIN: &str = "<!-- amplification: written by tests/integration/amplification.rs -->\n";
const END: &str = "<!-- end of amplification -->\n";

fn snapshot() -> Arc<Snapshot> {
    let folder = tempfile::tempdir().unwrap();
    let mut zone = ZONE.to_string();
    for n in 10..42 {
        let _ = write!(
            zone,
            "[services.web.instances.web-{n}]\naddresses = [\"192.0.2.{n}\", \"2001:db8::{n}\"]\nports = {{ https = 443 }}\n\
             region = \"eu-west\"\naz = \"eu-west-1a\"\nmeta = {{ version = \"1.{n}\" }}\n"
        );
    }
    std::fs::create_dir_all(folder.path().join("zones")).unwrap();
    std::fs::write(folder.path().join("zones/svc.example.toml"), zone).unwrap();
    let settings = Settings { zones_dir: folder.path().join("zones"), geo_dir: folder.path().join("geo"), ..Settings::default() };
    let world = config::world(&settings).unwrap_or_else(|findings| panic!("{findings:?}"));
    let writer = Writer::<()>::begin((Revision(0), Vec::new()), world.zones, world.geo, &settings.dns, Timestamp(0)).unwrap();
    writer.snapshot().clone()
}

/// Octets of a query and of its reply.
fn measure(snapshot: &Snapshot, question: &str, (_, extra, change, beyond): &Column) -> (usize, usize) {
    let mut snapshot = snapshot.clone();
    let mut dns = (*snapshot.dns).clone();
    dns.version = Some("Signpost".into());
    change(&mut dns);
    snapshot.dns = Arc::new(dns);
    let malformed = question.contains(" malformed");
    let asked = Question::parse(&format!("{}{extra}", question.replace(" malformed", "")));
    let mut bytes = asked.bytes();
    bytes.extend(malformed.then_some(0));
    let query = Query { bytes: &bytes, peer: SocketAddr::new(asked.from, 40_000), transport: Transport::Udp, now_ms: 1_800_000_000_000 };
    let mut worker = Worker::new(7, Arc::new(Counters::default()));
    let mut reply = vec![0; 4096];
    let mut length = 0;
    for _ in 0..if *beyond { 2 } else { 1 } {
        let Outcome::Reply(octets) = wire::answer(&snapshot, &mut worker, &query, &mut reply) else { panic!("{question} gets no reply") };
        length = octets;
    }
    (bytes.len(), length)
}

#[test]
fn the_amplification_of_each_type_is_what_security_md_says() {
    let snapshot = snapshot();
    let mut table = String::from("| query |");
    COLUMNS.iter().for_each(|(title, ..)| _ = write!(table, " {title} |"));
    let _ = write!(table, "\n| --- |{}\n", " --: |".repeat(COLUMNS.len()));
    let mut worst = [0.0f64; COLUMNS.len()];
    for (title, question) in QUESTIONS {
        let _ = write!(table, "| {title} |");
        for (column, worst) in COLUMNS.iter().zip(&mut worst) {
            // Without OPT there is no version to be wrong.
            if title == "BADVERS" && !column.1.is_empty() {
                table.push_str(" – |");
                continue;
            }
            let (query, reply) = measure(&snapshot, question, column);
            let factor = reply as f64 / query as f64;
            *worst = worst.max(factor);
            let _ = write!(table, " {query} → {reply}, {factor:.1} |");
        }
        table.push('\n');
    }
    println!("{table}\nworst: {worst:.1?}");
    // What the text of SECURITY.md says of the columns.
    for ((title, ..), (worst, most)) in COLUMNS.iter().zip(worst.iter().zip([16.0, 28.0, 70.0, 12.0, 1.0, 1.5])) {
        assert!(*worst <= most, "{title}: {worst:.2} is more than {most}");
    }

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table's begin");
    let (published, after) = rest.split_once(END).expect("the table's end");
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        return std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    }
    assert_eq!(published, table, "UPDATE_TRANSCRIPTS=1 writes it anew");
}
