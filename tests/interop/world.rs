//! The world that most tests look at: one zone with static records and policies, two regions, services registered over the API.

use crate::harness::{Files, Signpost};

pub const APEX: &str = "svc.example.";

/// A client of this prefix is in Boston, and of that one in London. Tests themselves ask from loopback, which is in Boston.
pub const IN_BOSTON: &str = "198.51.100.0/24";
pub const IN_LONDON: &str = "203.0.113.0/24";

/// TTLs are short, so that a cache forgets within a test.
pub const FILES: Files = &[
    (
        "zones/svc.example.toml",
        r#"
services = true
ns = ["ns1.svc.example.", "ns2.svc.example."]
contact = "hostmaster.svc.example."
serial = 2026112101
ttl = { min = "1s", max = "2s", negative = "1s" }
[records]
"@" = { MX = ["10 mail.svc.example."], TXT = ["v=spf1 -all"] }
ns1 = { A = ["192.0.2.53"], AAAA = ["2001:db8::53"] }
ns2 = { A = ["192.0.2.54"] }
mail = { A = ["192.0.2.25"] }
www = { A = ["192.0.2.80", "192.0.2.81"] }
alias = { CNAME = ["www.svc.example."] }
"a.b.deep" = { TXT = ["down here"] }
"*.wild" = { A = ["192.0.2.99"] }
big = { TXT = [
  "0 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so",
  "1 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so",
  "2 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so",
  "3 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so",
  "4 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so",
  "5 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so",
] }
[services.fixed.instances.f1]
addresses = ["192.0.2.71"]
ports = { http = 8080 }
region = "london"
az = "az-1"
[names.api]
policy = "failover"
branches = [
  { service = "web", region = "boston" },
  { service = "web", region = "london" },
  { records = { A = ["192.0.2.200"] } },
]
[names.shop]
policy = "geolocation"
branches = [
  { service = "web", region = "london", continents = ["EU"] },
  { service = "web", region = "boston", default = true },
]
"#,
    ),
    (
        "geo/regions.toml",
        r#"
[regions.boston]
latitude = 42.36
longitude = -71.06
azs = ["az-1", "az-2"]
[regions.london]
latitude = 51.51
longitude = -0.13
azs = ["az-1", "az-2"]
"#,
    ),
    (
        "geo/networks.toml",
        r#"
[[network]]
cidr = "127.0.0.0/8"
region = "boston"
continent = "NA"
[[network]]
cidr = "198.51.100.0/24"
region = "boston"
continent = "NA"
[[network]]
cidr = "203.0.113.0/24"
region = "london"
continent = "EU"
"#,
    ),
];

/// What is put over the API, in this order.
pub const REGISTERED: &[(&str, &str)] = &[
    ("/v1/services/web/instances/b1", r#"{"addresses":["192.0.2.11","2001:db8::11"],"ports":{"http":8080},"region":"boston","az":"az-1"}"#),
    ("/v1/services/web/instances/b2", r#"{"addresses":["192.0.2.12","2001:db8::12"],"ports":{"http":8080},"region":"boston","az":"az-2"}"#),
    ("/v1/services/web/instances/l1", r#"{"addresses":["192.0.2.21","2001:db8::21"],"ports":{"http":8081},"region":"london","az":"az-1"}"#),
    ("/v1/services/web/instances/l2", r#"{"addresses":["192.0.2.22","2001:db8::22"],"ports":{"http":8081},"region":"london","az":"az-2"}"#),
    (
        "/v1/services/db/instances/one",
        r#"{"addresses":["192.0.2.31"],"ports":{"sql":5432},"region":"boston","az":"az-1","tags":["primary"],"meta":{"version":"15"}}"#,
    ),
    (
        "/v1/services/db/instances/two",
        r#"{"addresses":["192.0.2.32"],"ports":{"sql":5432},"region":"boston","az":"az-2","tags":["replica"]}"#,
    ),
    ("/v1/services/store", r#"{"default_port":"https","alpn":["h2","http/1.1"]}"#),
    ("/v1/services/store/instances/s1", r#"{"addresses":["192.0.2.51"],"ports":{"https":443,"http":80},"region":"boston","az":"az-1"}"#),
];

/// A running server with all of it.
pub fn start() -> Signpost {
    start_with("")
}

/// The same with more in `[dns]`, or in sections of their own.
pub fn start_with(dns: &str) -> Signpost {
    let signpost = Signpost::start_on(&[], dns, FILES);
    for (path, body) in REGISTERED {
        signpost.put(path, body);
    }
    signpost
}

/// What a name has for a client in Boston.
pub enum Has {
    Data(&'static [&'static str]),
    NoData,
    NoName,
}

/// Every shape of name that DESIGN §3 promises, and static records beside them. Data is sorted as text. SRV spreads weights over its
/// 16 bits: the default of 100 becomes 25600.
pub const NAMES: &[(&str, &str, Has)] = &[
    ("web", "A", Has::Data(&["192.0.2.11", "192.0.2.12"])),
    ("web", "AAAA", Has::Data(&["2001:db8::11", "2001:db8::12"])),
    ("web", "SRV", Has::Data(&["0 25600 8080 b1.id.web.svc.example.", "0 25600 8080 b2.id.web.svc.example."])),
    ("web", "HTTPS", Has::NoData),
    ("web", "MX", Has::NoData),
    ("_http._tcp.web", "SRV", Has::Data(&["0 25600 8080 b1.id.web.svc.example.", "0 25600 8080 b2.id.web.svc.example."])),
    ("_tcp.web", "SRV", Has::NoData),
    ("_grpc._tcp.web", "SRV", Has::NoName),
    ("_web._tcp", "SRV", Has::Data(&["0 25600 8080 b1.id.web.svc.example.", "0 25600 8080 b2.id.web.svc.example."])),
    ("l1.id.web", "A", Has::Data(&["192.0.2.21"])),
    ("l1.id.web", "AAAA", Has::Data(&["2001:db8::21"])),
    ("l1.id.web", "SRV", Has::Data(&["0 25600 8081 l1.id.web.svc.example."])),
    ("none.id.web", "A", Has::NoName),
    ("id.web", "A", Has::NoData),
    ("primary.tag.db", "A", Has::Data(&["192.0.2.31"])),
    ("primary.tag.db", "TXT", Has::Data(&[r#""id=one" "region=boston" "az=az-1" "tag=primary" "version=15""#])),
    ("_sql._tcp.replica.tag.db", "SRV", Has::Data(&["0 25600 5432 two.id.db.svc.example."])),
    ("primary.tag.db", "AAAA", Has::NoData),
    ("london.region.web", "A", Has::Data(&["192.0.2.21", "192.0.2.22"])),
    ("az-2.az.web", "A", Has::Data(&["192.0.2.12"])),
    ("az-2.az.london.region.web", "A", Has::Data(&["192.0.2.22"])),
    ("region.web", "A", Has::NoData),
    ("store", "A", Has::Data(&["192.0.2.51"])),
    ("fixed", "A", Has::Data(&["192.0.2.71"])),
    ("api", "A", Has::Data(&["192.0.2.11", "192.0.2.12"])),
    ("shop", "A", Has::Data(&["192.0.2.11", "192.0.2.12"])),
    ("www", "A", Has::Data(&["192.0.2.80", "192.0.2.81"])),
    ("www", "AAAA", Has::NoData),
    ("alias", "A", Has::Data(&["192.0.2.80", "192.0.2.81"])),
    ("alias", "AAAA", Has::NoData),
    ("anything.wild", "A", Has::Data(&["192.0.2.99"])),
    ("a.b.deep", "TXT", Has::Data(&[r#""down here""#])),
    ("b.deep", "A", Has::NoData),
    ("deep", "A", Has::NoData),
    ("nosuch", "A", Has::NoName),
    ("below.nosuch", "A", Has::NoName),
];

/// Asks for all of [`NAMES`] by `ask(name, type)`, which prints as dig does.
pub fn check_names(ask: impl Fn(&str, &str) -> crate::reply::Reply) {
    check_names_but(&[], ask);
}

/// The same without these names and types.
pub fn check_names_but(left_out: &[(&str, &str)], ask: impl Fn(&str, &str) -> crate::reply::Reply) {
    for (name, rtype, has) in NAMES.iter().filter(|(name, rtype, _)| !left_out.contains(&(name, rtype))) {
        let reply = ask(&format!("{name}.{APEX}"), rtype);
        match has {
            Has::Data(data) => {
                assert_eq!(reply.status, "NOERROR", "{name} {rtype}: {reply}");
                assert_eq!(reply.data(rtype), *data, "{name} {rtype}: {reply}");
            }
            Has::NoData => reply.assert_no_data(APEX),
            Has::NoName => reply.assert_no_name(APEX),
        }
    }
}
