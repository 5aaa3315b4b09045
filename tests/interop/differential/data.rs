//! Random record data in presentation form, for every type that zones hold.

use super::random::Random;

/// Types of data, those that matter most several times.
pub const DATA_TYPES: [&str; 40] = [
    "A",
    "A",
    "A",
    "A",
    "A",
    "AAAA",
    "AAAA",
    "AAAA",
    "TXT",
    "TXT",
    "MX",
    "MX",
    "SRV",
    "SRV",
    "HTTPS",
    "SVCB",
    "PTR",
    "CAA",
    "TLSA",
    "NAPTR",
    "SSHFP",
    "TYPE65280",
    "TYPE65280",
    "HINFO",
    "RP",
    "AFSDB",
    "KX",
    "CERT",
    "SMIMEA",
    "OPENPGPKEY",
    "URI",
    "SPF",
    "TYPE29",
    "TYPE65534",
    "A",
    "AAAA",
    "TXT",
    "MX",
    "TYPE108",
    "TYPE104",
];

/// The types of queries beside those of the data.
pub const ASKED: [u16; 22] = [1, 1, 1, 28, 2, 2, 5, 5, 39, 39, 43, 43, 6, 15, 16, 255, 255, 33, 65, 46, 48, 65_281];

/// Data of a type; `host` is the name in it, where it has one.
pub fn random(random: &mut Random, rtype: &str, host: &str) -> String {
    let (one, two, three) = (random.below(4), random.below(200), random.below(65_536));
    match rtype {
        "A" => format!("192.0.2.{two}"),
        "AAAA" => format!("2001:db8::{one}:{three:x}"),
        "CNAME" | "DNAME" | "PTR" => host.into(),
        "MX" | "KX" | "AFSDB" => format!("{one} {host}"),
        "SRV" => format!("{one} {two} {three} {host}"),
        "RP" => format!("{host} info.outside.invalid."),
        "HTTPS" | "SVCB" => match one {
            0 => format!("0 {host}"),
            1 => format!("{} {host}", 1 + two),
            2 => format!("{} . alpn=h2,h3 port={three}", 1 + two),
            _ => format!("{} {host} alpn=h2 no-default-alpn port={three} ipv4hint=192.0.2.{two} ipv6hint=2001:db8::{three:x}", 1 + two),
        },
        "TXT" | "SPF" => match one {
            0 => format!("\"v={three}\""),
            1 => format!("\"a\" \"\" \"b {two}\""),
            2 => format!("\"{}\" \"\\255\\000\\\"{two}\"", "long ".repeat(random.between(1, 50))),
            _ => format!("plain{two}"),
        },
        "CAA" => format!("{} issue \"ca{two}.invalid\"", if one == 0 { 128 } else { 0 }),
        "TLSA" | "SMIMEA" => format!("3 1 {} {}", 1 + one % 2, hex(random, if one % 2 == 0 { 32 } else { 64 })),
        "SSHFP" => format!("{} 2 {}", 1 + one, hex(random, 32)),
        "DS" => format!("{three} 13 2 {}", hex(random, 32)),
        "NAPTR" => format!("{two} {three} \"{}\" \"E2U+sip\" \"!^.*$!sip:x@outside.invalid!\" {host}", ["S", "A", "U", ""][one]),
        "HINFO" => format!("\"PC{two}\" \"Linux\""),
        "CERT" => format!("1 {three} 8 AQIDBA=="),
        "OPENPGPKEY" => ["AQIDBA==", "mQINBFXf", "AAAA", "/+8="][one].into(),
        "URI" => format!("{two} {three} \"https://www{one}.invalid/\""),
        // LOC, EUI48 and NID in the form of unknown types, which every reader must take (RFC 3597 §5).
        "TYPE29" => format!("\\# 16 00121613 8{} 9517 6b 70{:06x} 0098a2f8", three % 10, random.below(1 << 24)),
        "TYPE108" => format!("\\# 6 00005e0053{two:02x}"),
        "TYPE104" => format!("\\# 10 000a 0014 4fff ff20 {:04x}", three),
        other => match other.strip_prefix("TYPE") {
            Some(_) if one == 0 => "\\# 0".into(),
            Some(_) => {
                let octets = random.between(1, 40);
                format!("\\# {octets} {}", hex(random, octets))
            }
            None => panic!("data of the type {other}"),
        },
    }
}

fn hex(random: &mut Random, octets: usize) -> String {
    (0..octets).map(|_| format!("{:02x}", random.below(256))).collect()
}
