//! Random record data in presentation form, for every type that zones hold.

use super::random::Random;

/// Types of data, those that matter most several times.
#[rustfmt::skip]
pub const DATA_TYPES: [&str; 60] = [
    "A", "A", "A", "A", "A", "A", "A", "A", "A", "AAAA", "AAAA", "AAAA", "AAAA", "AAAA", "AAAA", "TXT", "TXT", "TXT", "TXT",
    "MX", "MX", "MX", "MX", "SRV", "SRV", "SRV", "HTTPS", "HTTPS", "SVCB", "PTR", "CAA", "TLSA", "NAPTR", "SSHFP", "TYPE65280",
    "TYPE65280", "TYPE65534", "HINFO", "RP", "AFSDB", "KX", "CERT", "SMIMEA", "OPENPGPKEY", "URI", "SPF", "LOC", "EUI48", "EUI64",
    "NID", "L32", "L64", "LP", "RT", "MINFO", "APL", "DHCID", "IPSECKEY", "DNSKEY", "CSYNC",
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
        // The form of unknown types is every type's (RFC 3597 §5).
        "LOC" if one == 0 => format!("\\# 16 00121613 8{} 9517 6b 70{:06x} 0098a2f8", three % 10, random.below(1 << 24)),
        "LOC" => format!("{} {} {one}.{:03} N {} 53 32.000 E {three}.00m 1m 10000m 10m", two % 90, two % 60, three % 1000, two % 180),
        "EUI48" => format!("00-00-5e-00-53-{two:02x}"),
        "EUI64" => format!("00-00-5e-ef-10-00-00-{two:02x}"),
        "NID" | "L64" => format!("{one} 2001:0DB8:{three:04x}:{two:04x}"),
        "L32" => format!("{one} 192.0.2.{two}"),
        "LP" | "RT" => format!("{one} {host}"),
        "MINFO" => format!("{host} errors.outside.invalid."),
        "APL" => format!("1:192.0.2.{two}/32 !2:2001:db8::{three:x}/128"),
        "DHCID" => "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=".into(),
        "IPSECKEY" if one < 2 => format!("{two} 1 2 192.0.2.{two} AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="),
        "IPSECKEY" => format!("{two} 0 2 . AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="),
        "DNSKEY" => format!("{} 3 8 AwEAAaetidLzsKWUt4swWR8yu0wPHPiUi8LU", 256 + one % 2),
        "CSYNC" => format!("{three} {one} A NS AAAA"),
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
