//! The RR types whose presentation form is known, in one table.

/// How one type is written and encoded.
pub(super) struct RecordType {
    pub name: &'static str,
    pub number: u16,
    pub example: &'static str,
    pub fields: &'static [(&'static str, Field)],
}

/// A part of RDATA, as written and in wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// A domain name, uncompressed (RFC 3597 §4).
    Name,
    /// A whole number in one octet.
    U8,
    /// A whole number in two octets.
    U16,
    /// A whole number in four octets; a length of time such as `1h` as well (RFC 2308 master files of most servers).
    U32,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// One character-string (RFC 1035 §3.3).
    Text,
    /// One character-string or more.
    Texts,
    /// The rest: octets in hex, blanks allowed.
    Hex,
    /// The rest: octets in base64, blanks allowed.
    Base64,
    /// The rest: one text without a length octet (RFC 8659 §4.1, RFC 7553 §4.5).
    Rest,
    /// The rest: SvcParams (RFC 9460 §2.1).
    Params,
}

use Field::*;

/// All of them, in the order of their numbers.
pub(super) const TYPES: &[RecordType] = &[
    RecordType { name: "A", number: 1, example: "192.0.2.1", fields: &[("address", V4)] },
    RecordType { name: "NS", number: 2, example: "ns1.example.", fields: &[("name server", Name)] },
    RecordType { name: "CNAME", number: 5, example: "www.example.", fields: &[("name", Name)] },
    RecordType {
        name: "SOA",
        number: 6,
        example: "ns1.example. hostmaster.example. 1 7200 3600 1209600 300",
        fields: &[
            ("primary", Name),
            ("contact", Name),
            ("serial", U32),
            ("refresh", U32),
            ("retry", U32),
            ("expire", U32),
            ("minimum", U32),
        ],
    },
    RecordType { name: "PTR", number: 12, example: "www.example.", fields: &[("name", Name)] },
    RecordType { name: "HINFO", number: 13, example: "\"PC\" \"Linux\"", fields: &[("hardware", Text), ("system", Text)] },
    RecordType { name: "MX", number: 15, example: "10 mail.example.", fields: &[("preference", U16), ("mail server", Name)] },
    RecordType { name: "TXT", number: 16, example: "any text", fields: &[("text", Texts)] },
    RecordType { name: "RP", number: 17, example: "admin.example. info.example.", fields: &[("mailbox", Name), ("text name", Name)] },
    RecordType { name: "AFSDB", number: 18, example: "1 afs.example.", fields: &[("subtype", U16), ("host", Name)] },
    RecordType { name: "AAAA", number: 28, example: "2001:db8::1", fields: &[("address", V6)] },
    RecordType {
        name: "SRV",
        number: 33,
        example: "10 100 443 www.example.",
        fields: &[("priority", U16), ("weight", U16), ("port", U16), ("host", Name)],
    },
    RecordType {
        name: "NAPTR",
        number: 35,
        example: "10 100 \"S\" \"SIP+D2U\" \"\" _sip._udp.example.",
        fields: &[("order", U16), ("preference", U16), ("flags", Text), ("service", Text), ("regexp", Text), ("replacement", Name)],
    },
    RecordType { name: "KX", number: 36, example: "10 kx.example.", fields: &[("preference", U16), ("exchanger", Name)] },
    RecordType {
        name: "CERT",
        number: 37,
        example: "1 0 8 AQID",
        fields: &[("type", U16), ("key tag", U16), ("algorithm", U8), ("certificate", Base64)],
    },
    RecordType { name: "DNAME", number: 39, example: "other.example.", fields: &[("name", Name)] },
    RecordType {
        name: "DS",
        number: 43,
        example: "60485 13 2 D4B7D520…",
        fields: &[("key tag", U16), ("algorithm", U8), ("digest type", U8), ("digest", Hex)],
    },
    RecordType {
        name: "SSHFP",
        number: 44,
        example: "4 2 123456789abcdef6…",
        fields: &[("algorithm", U8), ("fingerprint type", U8), ("fingerprint", Hex)],
    },
    RecordType {
        name: "DNSKEY",
        number: 48,
        example: "257 3 13 mdsswUyr3DPW…",
        fields: &[("flags", U16), ("protocol", U8), ("algorithm", U8), ("key", Base64)],
    },
    RecordType {
        name: "TLSA",
        number: 52,
        example: "3 1 1 0D6FCE13…",
        fields: &[("usage", U8), ("selector", U8), ("matching type", U8), ("certificate", Hex)],
    },
    RecordType {
        name: "SMIMEA",
        number: 53,
        example: "3 1 1 0D6FCE13…",
        fields: &[("usage", U8), ("selector", U8), ("matching type", U8), ("certificate", Hex)],
    },
    RecordType {
        name: "CDS",
        number: 59,
        example: "60485 13 2 D4B7D520…",
        fields: &[("key tag", U16), ("algorithm", U8), ("digest type", U8), ("digest", Hex)],
    },
    RecordType {
        name: "CDNSKEY",
        number: 60,
        example: "257 3 13 mdsswUyr3DPW…",
        fields: &[("flags", U16), ("protocol", U8), ("algorithm", U8), ("key", Base64)],
    },
    RecordType { name: "OPENPGPKEY", number: 61, example: "mQINBFX…", fields: &[("key", Base64)] },
    RecordType {
        name: "SVCB",
        number: 64,
        example: "1 www.example. alpn=h2 port=8443",
        fields: &[("priority", U16), ("host", Name), ("parameters", Params)],
    },
    RecordType {
        name: "HTTPS",
        number: 65,
        example: "1 . alpn=h2,h3",
        fields: &[("priority", U16), ("host", Name), ("parameters", Params)],
    },
    RecordType { name: "SPF", number: 99, example: "v=spf1 -all", fields: &[("text", Texts)] },
    RecordType {
        name: "URI",
        number: 256,
        example: "10 1 \"https://www.example/\"",
        fields: &[("priority", U16), ("weight", U16), ("URI", Rest)],
    },
    RecordType { name: "CAA", number: 257, example: "0 issue \"ca.example\"", fields: &[("flags", U8), ("tag", Text), ("value", Rest)] },
];
