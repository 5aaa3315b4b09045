//! Queries written by hand and replies read by hickory, as the lines of a transcript.

use std::fmt::Write;
use std::net::IpAddr;

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use ipnet::IpNet;

/// A question as a transcript asks it.
#[derive(Debug, Clone)]
pub struct Question {
    pub name: String,
    pub rtype: u16,
    pub class: u16,
    pub opcode: u8,
    pub ecs: Option<IpNet>,
    /// Payload size and version; `None`: no OPT.
    pub edns: Option<(u16, u8)>,
    /// DO and CO.
    pub flags: u8,
    pub from: IpAddr,
    pub tcp: bool,
    pub tls: bool,
    pub draws: Option<usize>,
    /// Ask without question (RFC 7873 §5.4).
    pub bare: bool,
    pub cookie: Option<CookieAsked>,
    /// Options beside those, as octets.
    pub options: Vec<u8>,
}

/// The COOKIE option of a question.
#[derive(Debug, Clone)]
pub enum CookieAsked {
    /// The client's own alone.
    New,
    /// With the server cookie that its address was given last.
    Good,
    /// Whatever it holds.
    Octets(Vec<u8>),
}

/// The cookie of every client of a transcript.
pub const CLIENT_COOKIE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

impl Question {
    /// Parses `NAME TYPE [key=value | flag]…`.
    pub fn parse(line: &str) -> Question {
        let mut words = line.split_whitespace();
        let (name, rtype) = (words.next().expect("a name"), words.next().expect("a type"));
        let rtype = match rtype.strip_prefix("TYPE") {
            Some(number) => number.parse().expect("a number of a type"),
            None if rtype == "IXFR" => 251,
            None => u16::from(rtype.parse::<RecordType>().expect("a type")),
        };
        let mut question = Question {
            name: name.into(),
            rtype,
            class: 1,
            opcode: 0,
            ecs: None,
            edns: Some((1232, 0)),
            flags: 0,
            from: [192, 0, 2, 200].into(),
            tcp: false,
            tls: false,
            draws: None,
            bare: false,
            cookie: None,
            options: Vec::new(),
        };
        for word in words {
            match word.split_once('=') {
                None if word == "tcp" => question.tcp = true,
                None if word == "tls" => question.tls = true,
                None if word == "do" => question.flags |= 0x80,
                None if word == "co" => question.flags |= 0x40,
                None if word == "noedns" => question.edns = None,
                None if word == "bare" => question.bare = true,
                Some(("cookie", "new")) => question.cookie = Some(CookieAsked::New),
                Some(("cookie", "good")) => question.cookie = Some(CookieAsked::Good),
                Some(("cookie", hex)) => question.cookie = Some(CookieAsked::Octets(octets(hex))),
                Some(("options", hex)) => question.options = octets(hex),
                Some(("ecs", prefix)) => question.ecs = Some(prefix.parse().expect("a prefix")),
                Some(("from", ip)) => question.from = ip.parse().expect("an address"),
                Some(("size", size)) => question.edns = Some((size.parse().expect("a size"), 0)),
                Some(("version", version)) => question.edns = Some((1232, version.parse().expect("a version"))),
                Some(("opcode", opcode)) => question.opcode = opcode.parse().expect("an opcode"),
                Some(("draws", draws)) => question.draws = Some(draws.parse().expect("a number")),
                Some(("class", class)) => {
                    question.class = match class {
                        "CH" => 3,
                        "HS" => 4,
                        "ANY" => 255,
                        _ => panic!("class {class}"),
                    }
                }
                _ => panic!("{word} is no part of a question"),
            }
        }
        question
    }

    /// The message (RFC 1035 §4, RFC 6891 §6.1, RFC 7871 §6).
    pub fn bytes(&self) -> Vec<u8> {
        let questions = u8::from(!self.bare);
        let mut bytes = vec![0x12, 0x34, self.opcode << 3 | 1, 0, 0, questions, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())];
        if !self.bare {
            for label in self.name.split('.').filter(|label| !label.is_empty()) {
                bytes.push(label.len() as u8);
                bytes.extend_from_slice(label.as_bytes());
            }
            bytes.push(0);
            bytes.extend_from_slice(&self.rtype.to_be_bytes());
            bytes.extend_from_slice(&self.class.to_be_bytes());
        }
        if let Some((size, version)) = self.edns {
            bytes.extend_from_slice(&[0, 0, 41]);
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(&[0, version, self.flags, 0]);
            let mut option = Vec::new();
            if let Some(ecs) = self.ecs {
                let octets = match ecs.network() {
                    IpAddr::V4(v4) => v4.octets().to_vec(),
                    IpAddr::V6(v6) => v6.octets().to_vec(),
                };
                let used = usize::from(ecs.prefix_len()).div_ceil(8);
                option.extend_from_slice(&[0, 8]);
                option.extend_from_slice(&(4 + used as u16).to_be_bytes());
                option.extend_from_slice(&[0, if ecs.network().is_ipv4() { 1 } else { 2 }, ecs.prefix_len(), 0]);
                option.extend_from_slice(&octets[..used]);
            }
            let cookie = match &self.cookie {
                None => None,
                Some(CookieAsked::New) => Some(&CLIENT_COOKIE[..]),
                Some(CookieAsked::Octets(octets)) => Some(&octets[..]),
                Some(CookieAsked::Good) => panic!("the client has been given no cookie"),
            };
            if let Some(cookie) = cookie {
                option.extend_from_slice(&[0, 10]);
                option.extend_from_slice(&(cookie.len() as u16).to_be_bytes());
                option.extend_from_slice(cookie);
            }
            option.extend_from_slice(&self.options);
            bytes.extend_from_slice(&(option.len() as u16).to_be_bytes());
            bytes.extend_from_slice(&option);
        }
        bytes
    }
}

fn octets(hex: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hex digits");
    hex.as_bytes().chunks(2).map(pair).collect()
}

/// The cookie of a reply: the client's eight octets and the server's.
pub fn cookie_of(reply: &[u8]) -> Option<Vec<u8>> {
    match Message::from_vec(reply).ok()?.edns?.option(EdnsCode::Cookie) {
        Some(EdnsOption::Unknown(_, data)) => Some(data.clone()),
        _ => None,
    }
}

/// The lines of a reply: RCODE, flags and EDNS first, then the records of each section.
pub fn render(reply: &[u8], question: &Question) -> Vec<String> {
    let query = question.bytes();
    let message = match Message::from_vec(reply) {
        Ok(message) => message,
        Err(error) => return vec![format!("unreadable: {error}")],
    };
    let mut head = format!("{:?}", message.metadata.response_code);
    if let Some(edns) = &message.edns
        && edns.rcode_high() > 0
    {
        head = format!("rcode {}", u16::from(edns.rcode_high()) << 4 | u16::from(reply[3] & 15));
    }
    for (name, set) in
        [("aa", message.metadata.authoritative), ("tc", message.metadata.truncation), ("ra", message.metadata.recursion_available)]
    {
        if set {
            let _ = write!(head, " {name}");
        }
    }
    // Invariant 7: the question comes back byte for byte.
    if message.queries.len() == 1 {
        let end = query.len().min(reply.len());
        let length = query[12..].iter().position(|b| *b == 0).map_or(0, |n| n + 5);
        if end < 12 + length || query[12..12 + length] != reply[12..12 + length] {
            head.push_str(" OTHER-QUESTION");
        }
    }
    if let Some(edns) = &message.edns {
        if edns.flags().z & 0x4000 != 0 {
            head.push_str(" co");
        }
        if edns.flags().dnssec_ok != (question.flags & 0x80 != 0) {
            head.push_str(" OTHER-DO");
        }
        if let Some(EdnsOption::Subnet(subnet)) = edns.option(EdnsCode::Subnet) {
            let same = question.ecs.is_some_and(|ecs| ecs.network() == subnet.addr() && ecs.prefix_len() == subnet.source_prefix());
            let _ = write!(head, " scope={}{}", subnet.scope_prefix(), if same { "" } else { " OTHER-SUBNET" });
        }
        if let Some(EdnsOption::Unknown(_, data)) = edns.option(EdnsCode::Unknown(15)) {
            let _ = write!(head, " ede={}", data.iter().take(2).fold(0u16, |n, b| n << 8 | u16::from(*b)));
        }
        match (cookie_of(reply), &question.cookie) {
            (Some(given), Some(CookieAsked::Octets(sent))) if given == *sent => head.push_str(" cookie=same"),
            (Some(given), Some(_)) if given.len() == 24 => head.push_str(" cookie=fresh"),
            (Some(_), _) => head.push_str(" OTHER-COOKIE"),
            (None, _) => {}
        }
        if let Some(EdnsOption::Unknown(_, data)) = edns.option(EdnsCode::Unknown(11)).or(edns.option(EdnsCode::Keepalive)) {
            let _ = write!(head, " keepalive={}", data.iter().fold(0u16, |n, b| n << 8 | u16::from(*b)));
        }
        if edns.option(EdnsCode::Padding).is_some() {
            let _ = write!(head, " padded={}", reply.len());
        }
    } else if question.edns.is_some() {
        head.push_str(" no-opt");
    }
    let mut lines = vec![head];
    for (section, records) in [("answer", &message.answers), ("authority", &message.authorities), ("additional", &message.additionals)] {
        let mut section: Vec<String> = records.iter().map(|record| format!("{section} {}", record_line(record))).collect();
        // The order of addresses is drawn; that of everything else is told as it is.
        for addresses in section.chunk_by_mut(|a, b| order_is_drawn(a) && order_is_drawn(b)) {
            addresses.sort();
        }
        lines.append(&mut section);
    }
    lines
}

fn order_is_drawn(line: &str) -> bool {
    matches!(line.split(' ').nth(3), Some("A" | "AAAA"))
}

fn record_line(record: &Record) -> String {
    if record.record_type() == RecordType::DNAME {
        return format!("{} {} DNAME {}", record.name, record.ttl, name_of(&record.data));
    }
    let data = match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
            let types = nsec.type_bit_maps().map(|rtype| match rtype {
                RecordType::Unknown(128) => "NXNAME".into(),
                RecordType::Unknown(number) => format!("TYPE{number}"),
                known => known.to_string(),
            });
            [nsec.next_domain_name().to_string()].into_iter().chain(types).collect::<Vec<_>>().join(" ")
        }
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => {
            let input = rrsig.input();
            let (covered, labels, original, signer) = (input.type_covered, input.num_labels, input.original_ttl, &input.signer_name);
            format!("{covered} labels={labels} original={original} by={signer}")
        }
        RData::TXT(txt) => txt.txt_data.iter().map(|t| format!("{:?}", String::from_utf8_lossy(t))).collect::<Vec<_>>().join(" "),
        data => data.to_string(),
    };
    format!("{} {} {} {}", record.name, record.ttl, record.record_type(), data)
}

/// The name that is all of a record's data, of a type that hickory does not read.
fn name_of(data: &RData) -> String {
    let RData::Unknown { rdata, .. } = data else { return data.to_string() };
    Name::from_bytes(&rdata.anything).map_or_else(|error| error.to_string(), |name| name.to_string())
}

/// The data of a reply's answer section in one line, for counting distinct answers.
pub fn summary(reply: &[u8]) -> String {
    match Message::from_vec(reply) {
        Err(error) => format!("unreadable: {error}"),
        Ok(message) => {
            let mut records: Vec<String> = message.answers.iter().map(|r| format!("{} {}", r.record_type(), r.data)).collect();
            records.sort();
            records.join(", ")
        }
    }
}
