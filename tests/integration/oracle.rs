//! hickory-server as the oracle: the same master file, the same questions, the same answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{LowerName, Name, RecordType};
use hickory_proto::serialize::txt::Parser;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};

use crate::ask::Asker;
use crate::process::Home;

const APEX: &str = "plain.example.";

const ZONE: &str = r#"
$TTL 300
@   3600 IN SOA  ns1 hostmaster 1 7200 900 1209600 60
@   3600 IN NS   ns1
@        IN MX   10 mail
@        IN TXT  "v=spf1 -all"
ns1      IN A    192.0.2.1
mail     IN A    192.0.2.25
mail     IN AAAA 2001:db8::25
www      IN A    192.0.2.80
www      IN A    192.0.2.81
alias    IN CNAME www
alias2   IN CNAME alias
outside  IN CNAME www.elsewhere.test.
a.b.deep IN TXT  "down here"
*.wild   IN A    192.0.2.99
*.wild   IN MX   5 mail
real.wild IN TXT "a real name"
_sip._tcp IN SRV 0 5 5060 mail
caa      IN CAA  0 issue "ca.example"
"#;

/// Where hickory 0.26 goes its own way below a wildcard, and the transcripts say what is right: it synthesises below names that exist
/// (RFC 4592 §3.3.1 lets only the closest encloser's wildcard apply), and says NXDOMAIN where the wildcard has no such type (§2.2.1).
fn is_excused(name: &str, rtype: RecordType) -> bool {
    let of_the_wildcard = matches!(rtype, RecordType::A | RecordType::MX);
    name.ends_with(".wild.plain.example.") && (!of_the_wildcard || name.contains("real.") || name.starts_with("below.*."))
}

/// What an answer says, in an order that does not depend on who says it.
type Said = (ResponseCode, BTreeSet<String>);

fn said(asker: &mut Asker, name: &str, rtype: RecordType) -> Said {
    let reply = asker.ask(name, rtype);
    let records = reply.answers.iter().map(|r| format!("{} {} {} {}", r.name.to_lowercase(), r.ttl, r.record_type(), r.data));
    (reply.metadata.response_code, records.collect())
}

async fn hickory() -> (Server<Catalog>, SocketAddr) {
    let origin = Name::from_ascii(APEX).unwrap();
    let (_, records) = Parser::new(ZONE, None, Some(origin.clone())).parse().unwrap();
    let zone = InMemoryZoneHandler::<TokioRuntimeProvider>::new(origin.clone(), records, ZoneType::Primary, AxfrPolicy::Deny).unwrap();
    let mut catalog = Catalog::new();
    catalog.upsert(LowerName::from(origin), vec![Arc::new(zone)]);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut server = Server::new(catalog);
    server.register_socket(socket);
    (server, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn static_zones_are_answered_as_hickory_answers_them() {
    let (_server, address) = hickory().await;
    let (asked, differences) = tokio::task::spawn_blocking(move || {
        let home = Home::new(&[("zones/plain.example.zone", ZONE)]);
        let (_running, _) = home.start();
        let (mut ours, mut theirs) = (Asker::new(home.dns), Asker::new(address));
        let owners = [
            "",
            "ns1.",
            "mail.",
            "www.",
            "alias.",
            "alias2.",
            "outside.",
            "a.b.deep.",
            "real.wild.",
            "_sip._tcp.",
            "caa.",
            "x.wild.",
            "x.y.wild.",
            "*.wild.",
            "no.",
        ];
        let types = [
            RecordType::A,
            RecordType::AAAA,
            RecordType::MX,
            RecordType::TXT,
            RecordType::SRV,
            RecordType::CNAME,
            RecordType::NS,
            RecordType::SOA,
            RecordType::CAA,
        ];
        let mut differences = BTreeMap::new();
        let mut asked = 0;
        for owner in owners {
            for below in ["", "below."] {
                for rtype in types {
                    let name = format!("{below}{owner}{APEX}");
                    let (our, their) = (said(&mut ours, &name, rtype), said(&mut theirs, &name, rtype));
                    asked += 1;
                    if our != their && !is_excused(&name, rtype) {
                        differences.insert(format!("{name} {rtype}"), (our, their));
                    }
                }
            }
        }
        (asked, differences)
    })
    .await
    .unwrap();
    let told: Vec<String> =
        differences.iter().map(|(what, (our, their))| format!("{what}\n  ours   {our:?}\n  theirs {their:?}")).collect();
    assert_eq!(asked, 270);
    assert!(told.is_empty(), "{} differences\n{}", told.len(), told.join("\n"));
}
