//! The tests of RFC 8906 §8, each as the RFC's own dig command, and those that ISC's `genreport` makes beyond them: against a zone of
//! services and a static one.

use crate::harness::{Signpost, run};
use crate::internet::zones;
use crate::reply::Reply;

/// What the answer section holds.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Soa,
    Nothing,
}
use Holds::{Nothing, Soa};

/// The reply's EDNS.
#[derive(Clone, Copy, PartialEq)]
enum Opt {
    /// No OPT, as in the query (RFC 6891 §6.1.1).
    None,
    /// Version 0 without flags.
    Plain,
    /// Version 0 and DO (RFC 3225 §3).
    Do,
}

/// Section, command without zone and server, status, answer, flags besides `qr`: all of them, and OPT.
type Row = (&'static str, &'static str, &'static str, Holds, &'static [&'static str], Opt);

const ROWS: &[Row] = &[
    ("8.1.1", "+noedns +noad +norec soa ZONE", "NOERROR", Soa, &["aa"], Opt::None),
    ("8.1.2", "+noedns +noad +norec type1000 ZONE", "NOERROR", Nothing, &["aa"], Opt::None),
    // RFC 4035 §3.1.6: an authoritative server clears CD.
    ("8.1.3.1", "+noedns +noad +norec +cd soa ZONE", "NOERROR", Soa, &["aa"], Opt::None),
    ("8.1.3.2", "+noedns +norec +ad soa ZONE", "NOERROR", Soa, &["aa"], Opt::None),
    ("8.1.3.3", "+noedns +noad +norec +zflag soa ZONE", "NOERROR", Soa, &["aa"], Opt::None),
    ("8.1.3.4", "+noedns +noad +rec soa ZONE", "NOERROR", Soa, &["aa", "rd"], Opt::None),
    ("8.1.4", "+noedns +noad +opcode=15 +norec +header-only", "NOTIMP", Nothing, &[], Opt::None),
    ("8.1.5", "+noedns +noad +norec +tcp soa ZONE", "NOERROR", Soa, &["aa"], Opt::None),
    ("8.2.1", "+nocookie +edns=0 +noad +norec soa ZONE", "NOERROR", Soa, &["aa"], Opt::Plain),
    ("8.2.2", "+nocookie +edns=1 +noednsneg +noad +norec soa ZONE", "BADVERS", Nothing, &[], Opt::Plain),
    ("8.2.3", "+nocookie +edns=0 +noad +norec +ednsopt=100 soa ZONE", "NOERROR", Soa, &["aa"], Opt::Plain),
    ("8.2.4", "+nocookie +edns=0 +noad +norec +ednsflags=0x40 soa ZONE", "NOERROR", Soa, &["aa"], Opt::Plain),
    ("8.2.5", "+nocookie +edns=1 +noednsneg +noad +norec +ednsflags=0x40 soa ZONE", "BADVERS", Nothing, &[], Opt::Plain),
    ("8.2.6", "+nocookie +edns=1 +noednsneg +noad +norec +ednsopt=100 soa ZONE", "BADVERS", Nothing, &[], Opt::Plain),
    // Nothing is signed, so nothing is too large.
    ("8.2.7", "+norec +dnssec +bufsize=512 +ignore dnskey ZONE", "NOERROR", Nothing, &["aa"], Opt::Do),
    ("8.2.8", "+nocookie +edns=0 +noad +norec +dnssec soa ZONE", "NOERROR", Soa, &["aa"], Opt::Do),
    ("8.2.9", "+nocookie +edns=1 +noednsneg +noad +norec +dnssec soa ZONE", "BADVERS", Nothing, &[], Opt::Do),
    ("8.2.10", "+edns=0 +noad +norec +cookie +nsid +expire +subnet=0.0.0.0/0 soa ZONE", "NOERROR", Soa, &["aa"], Opt::Plain),
    // Beyond the RFC's list, by their names in genreport.
    ("aa", "+noedns +noad +norec +aaflag soa ZONE", "NOERROR", Soa, &["aa"], Opt::None),
    ("ra", "+noedns +noad +norec +raflag soa ZONE", "NOERROR", Soa, &["aa"], Opt::None),
    ("tc", "+noedns +noad +norec +tcflag soa ZONE", "NOERROR", Soa, &["aa"], Opt::None),
    ("opcodeflg", "+noedns +header-only +opcode=15 +tcflag +rec +raflag +cd +ad +aaflag +zflag", "NOTIMP", Nothing, &[], Opt::None),
    ("docd", "+nocookie +edns=0 +noad +norec +dnssec +cd soa ZONE", "NOERROR", Soa, &["aa"], Opt::Do),
    ("ednsnsid", "+nocookie +edns=0 +noad +norec +nsid soa ZONE", "NOERROR", Soa, &["aa"], Opt::Plain),
    ("ednscookie", "+edns=0 +noad +norec +cookie=0102030405060708 soa ZONE", "NOERROR", Soa, &["aa"], Opt::Plain),
    ("ednsexpire", "+nocookie +edns=0 +noad +norec +expire soa ZONE", "NOERROR", Soa, &["aa"], Opt::Plain),
    ("ednssubnet", "+nocookie +edns=0 +noad +norec +subnet=0.0.0.0/0 soa ZONE", "NOERROR", Soa, &["aa"], Opt::Plain),
    ("edns1nsid", "+nocookie +edns=1 +noednsneg +noad +norec +nsid soa ZONE", "BADVERS", Nothing, &[], Opt::Plain),
    ("edns1cookie", "+edns=1 +noednsneg +noad +norec +cookie=0102030405060708 soa ZONE", "BADVERS", Nothing, &[], Opt::Plain),
    ("edns1expire", "+nocookie +edns=1 +noednsneg +noad +norec +expire soa ZONE", "BADVERS", Nothing, &[], Opt::Plain),
    ("edns1subnet", "+nocookie +edns=1 +noednsneg +noad +norec +subnet=0.0.0.0/0 soa ZONE", "BADVERS", Nothing, &[], Opt::Plain),
    ("ednstcp", "+nocookie +edns=0 +noad +norec +dnssec +bufsize=512 +tcp dnskey ZONE", "NOERROR", Nothing, &["aa"], Opt::Do),
    ("bind11", "+edns=0 +cookie=0102030405060708 +noad +norec +dnssec soa ZONE", "NOERROR", Soa, &["aa"], Opt::Do),
    ("dig11", "+edns=0 +cookie=0102030405060708 +ad +rec soa ZONE", "NOERROR", Soa, &["aa", "rd"], Opt::Plain),
    // A version that is far off, and one whose options nobody can read.
    ("RFC 6891 §6.1.3", "+nocookie +edns=255 +noednsneg +noad +norec +ednsopt=8:ff soa ZONE", "BADVERS", Nothing, &[], Opt::Plain),
];

/// Every type that `genreport -t` asks for at the apex: NOERROR or NXDOMAIN, with or without an answer (RFC 8906 §3.1.2).
const TYPES: &str = "A NS MD MF CNAME SOA MB MG MR NULL WKS PTR HINFO MINFO MX TXT RP AFSDB X25 ISDN RT NSAP NSAP-PTR SIG KEY PX GPOS \
                     AAAA LOC NXT SRV NAPTR KX CERT A6 DNAME APL DS SSHFP IPSECKEY RRSIG NSEC DNSKEY DHCID NSEC3 NSEC3PARAM TLSA SMIMEA \
                     HIP CDS CDNSKEY OPENPGPKEY SPF NID L32 L64 LP EUI48 EUI64 URI CAA AVC DOA DLV TYPE1000";

fn dig(signpost: &Signpost, query: &str) -> String {
    let mut args: Vec<String> = signpost.at().into();
    args.extend(["+time=5", "+tries=1"].map(String::from));
    args.extend(query.split_whitespace().map(String::from));
    run("dig", &args)
}

#[test]
fn rfc_8906_is_kept() {
    let signpost = Signpost::start(zones::OURS);
    for (zone, (section, command, status, holds, flags, opt)) in
        ["svc.example", "plain.example"].iter().flat_map(|z| ROWS.iter().map(move |r| (z, r)))
    {
        let command = command.replace("ZONE", zone);
        let text = dig(&signpost, &command);
        let reply = Reply::one(&text);
        let about = format!("{section}: dig {command}\n{text}");
        assert_eq!(reply.status, *status, "{about}");
        let opcode = if command.contains("opcode=15") { "opcode: RESERVED15" } else { "opcode: QUERY" };
        assert!(text.contains(opcode), "{about}");
        let mut expected = vec!["qr"];
        expected.extend(*flags);
        assert_eq!(reply.flags, expected, "{about}");
        match holds {
            Soa => assert_eq!((reply.data("SOA").len(), reply.answer.len()), (1, 1), "{about}"),
            Nothing => assert!(reply.answer.is_empty(), "{about}"),
        }
        let edns = match opt {
            Opt::None => None,
            Opt::Plain => Some("version: 0, flags:; udp: "),
            Opt::Do => Some("version: 0, flags: do; udp: "),
        };
        let found = reply.option("EDNS:");
        assert!(found.is_some() == edns.is_some() && found.unwrap_or_default().starts_with(edns.unwrap_or_default()), "{about}");
        // What was not understood is neither copied nor complained about.
        for echo in ["MBZ", "OPT=100", "; EXPIRE", "Got bad packet", "extra bytes"] {
            assert!(!text.contains(echo), "{echo} in {about}");
        }
    }
}

#[test]
fn every_type_may_be_asked_for() {
    let signpost = Signpost::start(zones::OURS);
    for zone in ["svc.example", "plain.example"] {
        let queries: String = TYPES.split_whitespace().map(|rtype| format!("{zone} {rtype} +noedns +noad +norec ")).collect();
        let replies = Reply::all(&dig(&signpost, &queries));
        assert_eq!(replies.len(), TYPES.split_whitespace().count());
        for (rtype, reply) in TYPES.split_whitespace().zip(&replies) {
            assert_eq!((reply.status.as_str(), reply.flags.join(" ").as_str()), ("NOERROR", "qr aa"), "{zone} {rtype}: {reply}");
            if reply.answer.is_empty() {
                reply.assert_no_data(&format!("{zone}."));
            } else {
                assert!(reply.answer.iter().all(|r| r.rtype == rtype), "{zone} {rtype}: {reply}");
            }
        }
    }
}
