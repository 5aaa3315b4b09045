//! The zones of the little internet, and what a recursor must find in them.

use crate::harness::Files;

/// What every zone of [`ABOVE`] begins with.
pub const ABOVE_HEAD: &str = "$TTL 3600\n@ SOA a.root. hostmaster.example. 1 14400 3600 604800 300\n@ NS a.root.\n";

/// What BIND serves: the root, a registry, a stranger's zone, and the reverse and AS lookups that zonemaster makes.
pub const ABOVE: &[(&str, &str)] = &[
    (".", "a.root. A 11.0.0.1\n"),
    (
        "example.",
        "svc NS ns1.svc\nsvc NS ns2.svc\nns1.svc A 11.1.0.53\nns1.svc AAAA 2a10:1::53\nns2.svc A 11.2.0.53\nns2.svc AAAA 2a10:2::53\n\
         plain NS ns1.plain\nplain NS ns2.plain\nns1.plain A 11.1.0.53\nns1.plain AAAA 2a10:1::53\nns2.plain A 11.2.0.53\n\
         ns2.plain AAAA 2a10:2::53\n",
    ),
    ("other.plain.example.", "www A 192.0.2.66\n"),
    (
        "in-addr.arpa.",
        "53.0.1.11 PTR ns1.plain.example.\n53.0.1.11 PTR ns1.svc.example.\n\
         53.0.2.11 PTR ns2.plain.example.\n53.0.2.11 PTR ns2.svc.example.\n",
    ),
    (
        "ip6.arpa.",
        "$ORIGIN 3.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.1.a.2.ip6.arpa.\n@ PTR ns1.plain.example.\n@ PTR ns1.svc.example.\n\
         $ORIGIN 3.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.0.1.a.2.ip6.arpa.\n@ PTR ns2.plain.example.\n@ PTR ns2.svc.example.\n",
    ),
    (
        "asnlookup.zonemaster.net.",
        "*.1.11.origin TXT \"64801 | 11.1.0.0/16 | ZZ | test | 2026-01-01\"\n\
         *.2.11.origin TXT \"64802 | 11.2.0.0/16 | ZZ | test | 2026-01-01\"\n\
         *.1.0.0.0.0.1.a.2.origin6 TXT \"64801 | 2a10:1::/32 | ZZ | test | 2026-01-01\"\n\
         *.2.0.0.0.0.1.a.2.origin6 TXT \"64802 | 2a10:2::/32 | ZZ | test | 2026-01-01\"\n",
    ),
];

/// What Signpost serves.
pub const OURS: Files = &[
    (
        "zones/plain.example.zone",
        r#"
$TTL 1h
@            SOA   ns1 hostmaster 2026112101 4h 1h 2w 5m
             NS    ns1
             NS    ns2
             MX    10 mail
             TXT   "v=spf1 mx -all"
             CAA   0 issue "ca.example.net"
ns1          A     11.1.0.53
             AAAA  2a10:1::53
ns2          A     11.2.0.53
             AAAA  2a10:2::53
mail         A     192.0.2.25
www          A     192.0.2.80
             AAAA  2001:db8::80
*.wild       A     192.0.2.99
*.spread     CNAME www
a.b.c.d.e.deep TXT "down here"
one          CNAME two
two          CNAME three
three        CNAME www
away         CNAME fixed.svc.example.
outside      CNAME www.other.plain.example.
dangling     CNAME nosuch
typed        NAPTR 100 10 "S" "SIP+D2U" "" _sip._udp.plain.example.
             SSHFP 4 2 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF
             TYPE65280 \# 4 C0000201
             URI   10 1 "https://www.example/"
             HINFO "PDP-11" "UNIX"
             RP    hostmaster big
_443._tcp.typed TLSA 3 1 1 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF
_8443._foo.typed SVCB 1 www alpn="h2,h3" port=8443
child        NS    ns1.child
             NS    ns2.child
ns1.child    A     11.1.0.53
ns2.child    A     11.2.0.53
other        NS    ns.other
ns.other     A     11.3.0.53
many         AAAA  2001:db8:1::1
             AAAA  2001:db8:1::2
             AAAA  2001:db8:1::3
             AAAA  2001:db8:1::4
             AAAA  2001:db8:1::5
             AAAA  2001:db8:1::6
             AAAA  2001:db8:1::7
             AAAA  2001:db8:1::8
             AAAA  2001:db8:1::9
             AAAA  2001:db8:1::a
             AAAA  2001:db8:1::b
             AAAA  2001:db8:1::c
             AAAA  2001:db8:1::d
             AAAA  2001:db8:1::e
             AAAA  2001:db8:1::f
             AAAA  2001:db8:1::10
             AAAA  2001:db8:1::11
             AAAA  2001:db8:1::12
             AAAA  2001:db8:1::13
             AAAA  2001:db8:1::14
moved        DNAME new
x.new        A     192.0.2.88
big          TXT   "0 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so much that it could not stop at all, not even when it was told to, and so it went on until the evening came down upon the whole village"
             TXT   "1 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so much that it could not stop at all, not even when it was told to, and so it went on until the evening came down upon the whole village"
             TXT   "2 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so much that it could not stop at all, not even when it was told to, and so it went on until the evening came down upon the whole village"
             TXT   "3 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so much that it could not stop at all, not even when it was told to, and so it went on until the evening came down upon the whole village"
             TXT   "4 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so much that it could not stop at all, not even when it was told to, and so it went on until the evening came down upon the whole village"
             TXT   "5 the quick brown fox jumps over the lazy dog, and then it turns round and does so once more, because it liked it so much that it could not stop at all, not even when it was told to, and so it went on until the evening came down upon the whole village"
"#,
    ),
    (
        "zones/child.plain.example.zone",
        "$TTL 1h\n@ SOA ns1 hostmaster 2026112101 4h 1h 2w 5m\n@ NS ns1\n@ NS ns2\nns1 A 11.1.0.53\nns2 A 11.2.0.53\nwww A 192.0.2.77\n",
    ),
    (
        "zones/svc.example.toml",
        r#"
services = true
ns = ["ns1.svc.example.", "ns2.svc.example."]
contact = "hostmaster.svc.example."
serial = 2026112101
ttl = { min = "1s", max = "2s", negative = "1s" }
[records]
"@" = { MX = ["10 mail.svc.example."] }
mail = { A = ["192.0.2.25"] }
ns1 = { A = ["11.1.0.53"], AAAA = ["2a10:1::53"] }
ns2 = { A = ["11.2.0.53"], AAAA = ["2a10:2::53"] }
[services.fixed.instances.f1]
addresses = ["192.0.2.71"]
ports = { http = 8080 }
region = "boston"
az = "az-1"
[names.api]
policy = "failover"
branches = [{ service = "web", region = "boston" }, { records = { A = ["192.0.2.200"] } }]
"#,
    ),
];

/// What is put over the API, in this order.
pub const REGISTERED: &[(&str, &str)] = &[
    // What recovers is back at once, whole.
    ("/v1/services/web", r#"{"slow_start":"0s"}"#),
    ("/v1/services/web/instances/b1", r#"{"addresses":["192.0.2.11","2001:db8::11"],"ports":{"http":8080},"region":"boston","az":"az-1"}"#),
    ("/v1/services/web/instances/b2", r#"{"addresses":["192.0.2.12","2001:db8::12"],"ports":{"http":8080},"region":"boston","az":"az-2"}"#),
    ("/v1/services/store", r#"{"default_port":"https","alpn":["h2","http/1.1"]}"#),
    ("/v1/services/store/instances/s1", r#"{"addresses":["192.0.2.51"],"ports":{"https":443},"region":"boston","az":"az-1"}"#),
];

/// What a name has.
pub enum Has {
    /// These records in the answer, aliases first, then sorted: `owner type data`, with the owner below `example.`.
    Answer(&'static [&'static str]),
    /// So many records of the type asked for.
    Many(usize),
    /// No such data, by the SOA of this zone; the aliases that led there are not compared.
    NoData(&'static str),
    /// No such name, likewise.
    NoName(&'static str),
}

/// Every kind of answer, in an order in which a recursor cannot yet know the deeper names when it asks for the higher ones.
pub const NAMES: &[(&str, &str, Has)] = &[
    ("plain", "SOA", Has::Answer(&["plain SOA ns1.plain.example. hostmaster.plain.example. 2026112101 14400 3600 1209600 300"])),
    ("plain", "NS", Has::Answer(&["plain NS ns1.plain.example.", "plain NS ns2.plain.example."])),
    ("plain", "MX", Has::Answer(&["plain MX 10 mail.plain.example."])),
    ("plain", "CAA", Has::Answer(&[r#"plain CAA 0 issue "ca.example.net""#])),
    ("www.plain", "A", Has::Answer(&["www.plain A 192.0.2.80"])),
    ("www.plain", "AAAA", Has::Answer(&["www.plain AAAA 2001:db8::80"])),
    ("www.plain", "MX", Has::NoData("plain.example.")),
    ("x.wild.plain", "A", Has::Answer(&["x.wild.plain A 192.0.2.99"])),
    ("x.y.wild.plain", "A", Has::Answer(&["x.y.wild.plain A 192.0.2.99"])),
    ("x.wild.plain", "AAAA", Has::NoData("plain.example.")),
    ("wild.plain", "A", Has::NoData("plain.example.")),
    ("x.spread.plain", "A", Has::Answer(&["x.spread.plain CNAME www.plain.example.", "www.plain A 192.0.2.80"])),
    ("a.b.c.d.e.deep.plain", "TXT", Has::Answer(&[r#"a.b.c.d.e.deep.plain TXT "down here""#])),
    ("c.d.e.deep.plain", "A", Has::NoData("plain.example.")),
    ("deep.plain", "A", Has::NoData("plain.example.")),
    ("x.c.d.e.deep.plain", "A", Has::NoName("plain.example.")),
    ("nosuch.plain", "A", Has::NoName("plain.example.")),
    ("a.b.c.nosuch.plain", "A", Has::NoName("plain.example.")),
    ("below.www.plain", "A", Has::NoName("plain.example.")),
    (
        "one.plain",
        "A",
        Has::Answer(&[
            "one.plain CNAME two.plain.example.",
            "two.plain CNAME three.plain.example.",
            "three.plain CNAME www.plain.example.",
            "www.plain A 192.0.2.80",
        ]),
    ),
    ("one.plain", "MX", Has::NoData("plain.example.")),
    ("two.plain", "CNAME", Has::Answer(&["two.plain CNAME three.plain.example."])),
    ("away.plain", "A", Has::Answer(&["away.plain CNAME fixed.svc.example.", "fixed.svc A 192.0.2.71"])),
    ("outside.plain", "A", Has::Answer(&["outside.plain CNAME www.other.plain.example.", "www.other.plain A 192.0.2.66"])),
    ("dangling.plain", "A", Has::NoName("plain.example.")),
    ("typed.plain", "NAPTR", Has::Answer(&[r#"typed.plain NAPTR 100 10 "S" "SIP+D2U" "" _sip._udp.plain.example."#])),
    ("typed.plain", "TYPE65280", Has::Answer(&[r"typed.plain TYPE65280 \# 4 C0000201"])),
    ("_8443._foo.typed.plain", "SVCB", Has::Answer(&[r#"_8443._foo.typed.plain SVCB 1 www.plain.example. alpn="h2,h3" port=8443"#])),
    ("_tcp.typed.plain", "TLSA", Has::NoData("plain.example.")),
    ("www.child.plain", "A", Has::Answer(&["www.child.plain A 192.0.2.77"])),
    ("child.plain", "A", Has::NoData("child.plain.example.")),
    ("nosuch.child.plain", "A", Has::NoName("child.plain.example.")),
    ("child.plain", "DS", Has::NoData("plain.example.")),
    ("www.other.plain", "A", Has::Answer(&["www.other.plain A 192.0.2.66"])),
    ("nosuch.other.plain", "A", Has::NoName("other.plain.example.")),
    ("moved.plain", "DNAME", Has::Answer(&["moved.plain DNAME new.plain.example."])),
    (
        "x.moved.plain",
        "A",
        Has::Answer(&["moved.plain DNAME new.plain.example.", "x.moved.plain CNAME x.new.plain.example.", "x.new.plain A 192.0.2.88"]),
    ),
    ("x.moved.plain", "MX", Has::NoData("plain.example.")),
    ("moved.plain", "A", Has::NoData("plain.example.")),
    ("y.moved.plain", "A", Has::NoName("plain.example.")),
    ("many.plain", "AAAA", Has::Many(20)),
    ("big.plain", "TXT", Has::Many(6)),
    ("web.svc", "A", Has::Answer(&["web.svc A 192.0.2.11", "web.svc A 192.0.2.12"])),
    ("web.svc", "AAAA", Has::Answer(&["web.svc AAAA 2001:db8::11", "web.svc AAAA 2001:db8::12"])),
    (
        "_http._tcp.web.svc",
        "SRV",
        Has::Answer(&[
            "_http._tcp.web.svc SRV 0 25600 8080 b1.id.web.svc.example.",
            "_http._tcp.web.svc SRV 0 25600 8080 b2.id.web.svc.example.",
        ]),
    ),
    ("web.svc", "HTTPS", Has::NoData("svc.example.")),
    ("store.svc", "HTTPS", Has::Answer(&[r#"store.svc HTTPS 1 s1.id.store.svc.example. alpn="h2,http/1.1" ipv4hint=192.0.2.51"#])),
    ("b2.id.web.svc", "A", Has::Answer(&["b2.id.web.svc A 192.0.2.12"])),
    ("id.web.svc", "A", Has::NoData("svc.example.")),
    ("none.id.web.svc", "A", Has::NoName("svc.example.")),
    ("boston.region.web.svc", "A", Has::Answer(&["boston.region.web.svc A 192.0.2.11", "boston.region.web.svc A 192.0.2.12"])),
    ("api.svc", "A", Has::Answer(&["api.svc A 192.0.2.11", "api.svc A 192.0.2.12"])),
    ("nosuch.svc", "A", Has::NoName("svc.example.")),
];
