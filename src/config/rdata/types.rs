//! The RR types whose presentation form is known, in one table in the order of their numbers (IANA's registry of DNS parameters).

use super::fields::Field::{self, *};
use super::lengths;
use super::mnemonics::{ALGORITHMS, CERTIFICATES, DIGESTS, MATCHING, SCHEMES, SELECTORS, USAGES};

/// How one type is written and encoded.
pub(super) struct RecordType {
    pub name: &'static str,
    pub number: u16,
    pub example: &'static str,
    pub fields: &'static [(&'static str, Field)],
    /// What its octets must fulfil beyond their fields.
    pub check: fn(&[u8]) -> Result<(), String>,
}

const fn record(number: u16, name: &'static str, example: &'static str, fields: &'static [(&'static str, Field)]) -> RecordType {
    RecordType { name, number, example, fields, check: lengths::any }
}

impl RecordType {
    const fn checked(self, check: fn(&[u8]) -> Result<(), String>) -> RecordType {
        RecordType { check, ..self }
    }
}

const PREFERENCE: (&str, Field) = ("preference", U16);
const DIGEST: &[(&str, Field)] =
    &[("key tag", U16), ("algorithm", Mnemonic8(ALGORITHMS)), ("digest type", Mnemonic8(DIGESTS)), ("digest", Hex)];
const KEY: &[(&str, Field)] = &[("flags", U16), ("protocol", U8), ("algorithm", Mnemonic8(ALGORITHMS)), ("key", Base64)];
const ASSOCIATION: &[(&str, Field)] =
    &[("usage", Mnemonic8(USAGES)), ("selector", Mnemonic8(SELECTORS)), ("matching type", Mnemonic8(MATCHING)), ("certificate", Hex)];
const BINDING: &[(&str, Field)] = &[("priority", U16), ("host", Name), ("parameters", Params)];
const NAME: &[(&str, Field)] = &[("name", Name)];
const TEXTS: &[(&str, Field)] = &[("text", Texts)];

/// All of them.
pub(super) const TYPES: &[RecordType] = &[
    record(1, "A", "192.0.2.1", &[("address", V4)]),
    record(2, "NS", "ns1.example.", &[("name server", Name)]),
    record(3, "MD", "mail.example.", NAME),
    record(4, "MF", "mail.example.", NAME),
    record(5, "CNAME", "www.example.", NAME),
    record(
        6,
        "SOA",
        "ns1.example. hostmaster.example. 1 7200 3600 1209600 300",
        &[("primary", Name), ("contact", Name), ("serial", U32), ("refresh", Time), ("retry", Time), ("expire", Time), ("minimum", Time)],
    ),
    record(7, "MB", "mail.example.", NAME),
    record(8, "MG", "member.example.", NAME),
    record(9, "MR", "new.example.", NAME),
    record(10, "NULL", "\\# 2 0102", &[("data", Generic)]),
    record(11, "WKS", "192.0.2.1 TCP smtp 80", &[("address", V4), ("services", Services)]),
    record(12, "PTR", "www.example.", NAME),
    record(13, "HINFO", "\"PC\" \"Linux\"", &[("hardware", Text), ("system", Text)]),
    record(14, "MINFO", "owner.example. errors.example.", &[("mailbox", Name), ("error mailbox", Name)]),
    record(15, "MX", "10 mail.example.", &[PREFERENCE, ("mail server", Name)]),
    record(16, "TXT", "any text", TEXTS),
    record(17, "RP", "admin.example. info.example.", &[("mailbox", Name), ("text name", Name)]),
    record(18, "AFSDB", "1 afs.example.", &[("subtype", U16), ("host", Name)]),
    record(19, "X25", "311061700956", &[("address", Digits)]),
    record(20, "ISDN", "\"150862028003217\" \"004\"", &[("address", Text), ("subaddress", OptionalText)]),
    record(21, "RT", "10 relay.example.", &[PREFERENCE, ("host", Name)]),
    record(22, "NSAP", "0x47.0005.80.005a00.0000.0001.e133.ffffff000162.00", &[("address", Nsap)]),
    record(23, "NSAP-PTR", "host.example.", NAME),
    record(24, "SIG", "", &[("data", Generic)]),
    record(
        25,
        "KEY",
        "256 3 13 mdsswUyr3DPW…",
        &[("flags", U16), ("protocol", U8), ("algorithm", Mnemonic8(ALGORITHMS)), ("key", OptionalBase64)],
    ),
    record(26, "PX", "10 a.example. b.example.", &[PREFERENCE, ("RFC 822 domain", Name), ("X.400 domain", Name)]),
    record(27, "GPOS", "-32.6882 116.8652 10.0", &[("longitude", Decimal), ("latitude", Decimal), ("altitude", Decimal)]),
    record(28, "AAAA", "2001:db8::1", &[("address", V6)]),
    record(29, "LOC", "52 22 23.0 N 4 53 32.0 E -2m 0m 10000m 10m", &[("location", Location)]),
    record(30, "NXT", "", &[("data", Generic)]),
    record(31, "EID", "e32c6f78163a9348", &[("identifier", Hex)]),
    record(32, "NIMLOC", "32251a030067", &[("locator", Hex)]),
    record(33, "SRV", "10 100 443 www.example.", &[("priority", U16), ("weight", U16), ("port", U16), ("host", Name)]),
    record(34, "ATMA", "+61200000000", &[("address", Atma)]),
    record(
        35,
        "NAPTR",
        "10 100 \"S\" \"SIP+D2U\" \"\" _sip._udp.example.",
        &[("order", U16), PREFERENCE, ("flags", Text), ("service", Text), ("regexp", Text), ("replacement", Name)],
    ),
    record(36, "KX", "10 kx.example.", &[PREFERENCE, ("exchanger", Name)]),
    record(
        37,
        "CERT",
        "PKIX 0 RSASHA256 AQID",
        &[("type", Mnemonic16(CERTIFICATES)), ("key tag", U16), ("algorithm", Mnemonic8(ALGORITHMS)), ("certificate", Base64)],
    ),
    record(38, "A6", "64 ::1 prefix.example.", &[("address", Suffix)]),
    record(39, "DNAME", "other.example.", NAME),
    record(40, "SINK", "1 0 0 AQID", &[("meaning", U8), ("coding", U8), ("subcoding", U8), ("data", OptionalBase64)]),
    record(42, "APL", "1:192.0.2.0/24 !2:2001:db8::/32", &[("prefixes", Prefixes)]),
    record(43, "DS", "60485 13 2 D4B7D520…", DIGEST).checked(lengths::digest),
    record(44, "SSHFP", "4 2 123456789abcdef6…", &[("algorithm", U8), ("fingerprint type", U8), ("fingerprint", Hex)])
        .checked(lengths::fingerprint),
    record(45, "IPSECKEY", "10 1 2 192.0.2.38 AQID", &[("precedence", U8), ("gateway", Gateway), ("key", OptionalBase64)]),
    record(46, "RRSIG", "", &[("data", Generic)]).checked(lengths::signature),
    record(47, "NSEC", "", &[("data", Generic)]).checked(lengths::next_name),
    record(48, "DNSKEY", "257 3 13 mdsswUyr3DPW…", KEY).checked(lengths::zone_key),
    record(49, "DHCID", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", &[("identifier", Base64)]),
    record(50, "NSEC3", "", &[("data", Generic)]).checked(lengths::next_hash),
    record(51, "NSEC3PARAM", "", &[("data", Generic)]).checked(lengths::hash_parameters),
    record(52, "TLSA", "3 1 1 0D6FCE13…", ASSOCIATION).checked(lengths::association),
    record(53, "SMIMEA", "3 1 1 0D6FCE13…", ASSOCIATION).checked(lengths::association),
    record(55, "HIP", "2 200100107B1A74DF365639CC39F1D578 AQID rvs.example.", &[("identity", Hip), ("rendezvous servers", Names)]),
    record(56, "NINFO", "\"any text\"", TEXTS),
    record(57, "RKEY", "0 1 8 AQID", KEY),
    record(58, "TALINK", "a.example. b.example.", &[("previous", Name), ("next", Name)]),
    record(59, "CDS", "60485 13 2 D4B7D520…", DIGEST).checked(lengths::child_digest),
    record(60, "CDNSKEY", "257 3 13 mdsswUyr3DPW…", KEY).checked(lengths::child_key),
    record(61, "OPENPGPKEY", "mQINBFX…", &[("key", Base64)]),
    record(62, "CSYNC", "66 3 A NS AAAA", &[("serial", U32), ("flags", U16), ("types", Types)]),
    record(63, "ZONEMD", "2018031500 1 1 FEBE3D4C…", &[("serial", U32), ("scheme", U8), ("hash algorithm", U8), ("digest", Hex)])
        .checked(lengths::zone_digest),
    record(64, "SVCB", "1 www.example. alpn=h2 port=8443", BINDING),
    record(65, "HTTPS", "1 . alpn=h2,h3", BINDING),
    record(66, "DSYNC", "CDS NOTIFY 53 scanner.example.", &[("type", Type), ("scheme", Mnemonic8(SCHEMES)), ("port", U16), ("host", Name)]),
    record(67, "HHIT", "gQFYIA==", &[("entity", Base64)]),
    record(68, "BRID", "owAB", &[("entity", Base64)]),
    record(99, "SPF", "v=spf1 -all", TEXTS),
    record(100, "UINFO", "\\# 2 0102", &[("data", Generic)]),
    record(101, "UID", "\\# 2 0102", &[("data", Generic)]),
    record(102, "GID", "\\# 2 0102", &[("data", Generic)]),
    record(103, "UNSPEC", "\\# 2 0102", &[("data", Generic)]),
    record(104, "NID", "10 0014:4fff:ff20:ee64", &[PREFERENCE, ("identifier", Groups)]),
    record(105, "L32", "10 192.0.2.1", &[PREFERENCE, ("locator", V4)]),
    record(106, "L64", "10 2001:0db8:1140:1000", &[PREFERENCE, ("locator", Groups)]),
    record(107, "LP", "10 l64.example.", &[PREFERENCE, ("name", Name)]),
    record(108, "EUI48", "00-00-5e-00-53-2a", &[("address", Hyphened(6))]),
    record(109, "EUI64", "00-00-5e-ef-10-00-00-2a", &[("address", Hyphened(8))]),
    record(256, "URI", "10 1 \"https://www.example/\"", &[("priority", U16), ("weight", U16), ("URI", Rest)]).checked(lengths::uri),
    record(257, "CAA", "0 issue \"ca.example\"", &[("flags", U8), ("tag", Tag), ("value", Rest)]),
    record(258, "AVC", "\"app-name:WOLFGANG\"", TEXTS),
    record(
        259,
        "DOA",
        "0 1 2 \"\" aHR0cHM6Ly93d3cuaXNjLm9yZy8=",
        &[("enterprise", U32), ("type", U32), ("location", U8), ("media type", Text), ("data", DashOrBase64)],
    ),
    record(260, "AMTRELAY", "10 0 1 192.0.2.1", &[("precedence", U8), ("relay", Relay)]),
    record(261, "RESINFO", "qnamemin exterr=15-17", TEXTS),
    record(262, "WALLET", "\"BTC\" \"bc1q…\"", TEXTS),
    record(263, "CLA", "\"TCP-v4-v6\"", TEXTS),
    record(264, "IPN", "9151314442816847872", &[("number", U64)]),
    record(32_768, "TA", "60485 13 2 D4B7D520…", DIGEST).checked(lengths::digest),
    record(32_769, "DLV", "60485 13 2 D4B7D520…", DIGEST).checked(lengths::digest),
];
