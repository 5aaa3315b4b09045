//! Numbers that have names.

/// Names of numbers; a number may have several.
pub(super) type Mnemonics = &'static [(&'static str, u16)];

/// DNSSEC algorithms (IANA, "DNS Security Algorithm Numbers"), also under the names that BIND and ldns know.
pub(super) const ALGORITHMS: Mnemonics = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("ECC", 4),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3DSA", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECCGOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ECDSA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("SM2SM3", 17),
    ("ECC-GOST12", 23),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// Digest types of DS records.
pub(super) const DIGESTS: Mnemonics =
    &[("SHA-1", 1), ("SHA1", 1), ("SHA-256", 2), ("SHA256", 2), ("GOST", 3), ("SHA-384", 4), ("SHA384", 4), ("GOST12", 5), ("SM3", 6)];

/// Types of certificates (RFC 4398 §2.1).
pub(super) const CERTIFICATES: Mnemonics = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

/// Certificate usages of TLSA records (RFC 7218 §2.1).
pub(super) const USAGES: Mnemonics = &[("PKIX-TA", 0), ("PKIX-EE", 1), ("DANE-TA", 2), ("DANE-EE", 3), ("PrivCert", 255)];

/// Selectors of TLSA records (RFC 7218 §2.2).
pub(super) const SELECTORS: Mnemonics = &[("Cert", 0), ("SPKI", 1), ("PrivSel", 255)];

/// Matching types of TLSA records (RFC 7218 §2.3).
pub(super) const MATCHING: Mnemonics = &[("Full", 0), ("SHA2-256", 1), ("SHA2-512", 2), ("PrivMatch", 255)];

/// Schemes of DSYNC records (RFC 9859 §2.2).
pub(super) const SCHEMES: Mnemonics = &[("NOTIFY", 1)];

/// Transport protocols of WKS records (RFC 1010, as RFC 1035 §3.4.2 has it).
pub(super) const PROTOCOLS: Mnemonics = &[("ICMP", 1), ("TCP", 6), ("UDP", 17)];

/// Services of WKS records, by their names in the service registry.
pub(super) const PORTS: Mnemonics = &[
    ("echo", 7),
    ("discard", 9),
    ("systat", 11),
    ("daytime", 13),
    ("netstat", 15),
    ("chargen", 19),
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("nameserver", 42),
    ("whois", 43),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("gopher", 70),
    ("finger", 79),
    ("http", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("nntp", 119),
    ("ntp", 123),
    ("imap2", 143),
    ("imap", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("irc", 194),
    ("ldap", 389),
    ("https", 443),
    ("syslog", 514),
    ("imaps", 993),
    ("pop3s", 995),
];

/// The number of a name, whatever its case.
pub(super) fn number(of: Mnemonics, name: &str) -> Option<u16> {
    of.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}
