//! What dig, kdig and drill print, as values: the three agree on everything but the header's punctuation.

use std::fmt;

/// A printed reply.
#[derive(Default)]
pub struct Reply {
    /// `NOERROR`, `NXDOMAIN`, …; the extended one where the client knows it.
    pub status: String,
    /// Header flags: `qr`, `aa`, `tc`, `rd`, ….
    pub flags: Vec<String>,
    /// The owner name of the question as the server returned it.
    pub question: String,
    /// Lines of the OPT pseudosection, without leading semicolons.
    pub opt: Vec<String>,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
    pub additional: Vec<Record>,
    /// Everything that was printed.
    pub text: String,
}

/// A printed record.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub owner: String,
    pub ttl: u32,
    pub rtype: String,
    pub data: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Section {
    None,
    Opt,
    Question,
    Answer,
    Authority,
    Additional,
}

impl Reply {
    /// Reads every reply in `text`.
    pub fn all(text: &str) -> Vec<Reply> {
        let starts: Vec<usize> = text.match_indices(";; ->>HEADER<<-").map(|(n, _)| n).collect();
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        starts.iter().zip(ends).map(|(start, end)| Reply::read(&text[*start..end])).collect()
    }

    /// Reads the only reply in `text`.
    pub fn one(text: &str) -> Reply {
        let mut replies = Reply::all(text);
        assert_eq!(replies.len(), 1, "one reply was expected, not:\n{text}");
        replies.remove(0)
    }

    fn read(text: &str) -> Reply {
        let mut reply = Reply { text: text.to_string(), ..Reply::default() };
        let mut section = Section::None;
        for line in text.lines() {
            let plain = line.trim_start_matches([';', ' ']);
            if line.contains("->>HEADER<<-") {
                reply.status = word_after(line, &["status: ", "rcode: "]).to_string();
            } else if let Some(flags) = plain.strip_prefix("flags:").or(plain.strip_prefix("Flags:")).filter(|f| f.contains("QUERY:")) {
                reply.flags = flags.split(';').next().unwrap_or_default().split_whitespace().map(String::from).collect();
            } else if line.starts_with(";;") && line.contains("SECTION:") {
                section = match plain.split_whitespace().next() {
                    Some("OPT" | "EDNS") => Section::Opt,
                    Some("QUESTION") => Section::Question,
                    Some("ANSWER") => Section::Answer,
                    Some("AUTHORITY") => Section::Authority,
                    Some("ADDITIONAL") => Section::Additional,
                    other => panic!("a section named {other:?} in:\n{text}"),
                };
            } else if line.trim().is_empty() {
                section = Section::None;
            } else if line.starts_with(';') {
                match section {
                    Section::Opt => reply.opt.push(plain.to_string()),
                    Section::Question => reply.question = plain.split_whitespace().next().unwrap_or_default().to_string(),
                    _ => {}
                }
            } else {
                match section {
                    Section::Answer => reply.answer.push(Record::read(line)),
                    Section::Authority => reply.authority.push(Record::read(line)),
                    Section::Additional => reply.additional.push(Record::read(line)),
                    _ => {}
                }
            }
        }
        reply
    }

    /// Data of the answer's records of one type, sorted.
    pub fn data(&self, rtype: &str) -> Vec<&str> {
        let mut data: Vec<&str> = self.answer.iter().filter(|r| r.rtype == rtype).map(|r| r.data.as_str()).collect();
        data.sort_unstable();
        data
    }

    /// Whether the header has the flag.
    pub fn flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// The first line of the OPT pseudosection that begins with `name`, from behind it.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.opt.iter().find_map(|line| line.strip_prefix(name)).map(str::trim)
    }

    /// Panics unless the reply is NODATA with the zone's SOA (RFC 2308 §2.2) as its only authority.
    pub fn assert_no_data(&self, apex: &str) {
        assert_eq!(self.status, "NOERROR", "{self}");
        assert!(self.answer.iter().all(|r| matches!(r.rtype.as_str(), "CNAME" | "DNAME")), "no data was expected: {self}");
        self.assert_soa(apex);
    }

    /// Panics unless the reply is NXDOMAIN with the zone's SOA (RFC 2308 §2.1).
    pub fn assert_no_name(&self, apex: &str) {
        assert_eq!(self.status, "NXDOMAIN", "{self}");
        self.assert_soa(apex);
    }

    fn assert_soa(&self, apex: &str) {
        let found: Vec<(&str, &str)> = self.authority.iter().map(|r| (r.owner.as_str(), r.rtype.as_str())).collect();
        assert_eq!(found, [(apex, "SOA")], "{self}");
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.text)
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.text)
    }
}

impl Record {
    fn read(line: &str) -> Record {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [owner, ttl, _class, rtype, data @ ..] = words.as_slice() else { panic!("this is no record: {line:?}") };
        let ttl = ttl.parse().unwrap_or_else(|_| panic!("a TTL was expected in {line:?}"));
        Record { owner: owner.to_string(), ttl, rtype: rtype.to_string(), data: data.join(" ") }
    }
}

fn word_after<'t>(line: &'t str, marks: &[&str]) -> &'t str {
    let found = marks.iter().find_map(|mark| line.split_once(mark));
    found.map_or("", |(_, rest)| rest.split([',', ';', ' ']).next().unwrap_or_default())
}
