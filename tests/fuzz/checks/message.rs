//! A reader of messages that shares nothing with the one under test: names are spelled out, lower case, and every octet is accounted for.

/// A message, read to its last octet.
pub struct Message {
    pub flags: u16,
    pub question: Option<Question>,
    /// The records of all sections, OPT among them.
    pub records: Vec<Record>,
}

/// The question.
pub struct Question {
    /// Lower case, as on the wire.
    pub name: Vec<u8>,
    pub qtype: u16,
    pub qclass: u16,
    /// The octet behind it.
    pub end: usize,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// 1 answer, 2 authority, 3 additional.
    pub section: u8,
    /// Lower case, as on the wire.
    pub owner: Vec<u8>,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    /// Names in it spelled out and in lower case, where the type is one whose names may be compressed (RFC 3597 §4).
    pub data: Vec<u8>,
}

pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const DNAME: u16 = 39;
pub const OPT: u16 = 41;
pub const ANY: u16 = 255;

impl Message {
    /// The records of a section other than OPT.
    pub fn section(&self, section: u8) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.section == section && record.rtype != OPT)
    }

    /// The OPT records.
    pub fn opts(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.rtype == OPT)
    }

    /// The RCODE, with the upper bits that OPT carries (RFC 6891 §6.1.3).
    pub fn rcode(&self) -> u16 {
        self.opts().next().map_or(0, |opt| (opt.ttl >> 24) as u16) << 4 | self.flags & 15
    }

    /// The options of the OPT record, if its data is whole.
    pub fn options(&self) -> Result<Vec<(u16, &[u8])>, &'static str> {
        let mut rest = self.opts().next().map_or(&[][..], |opt| &opt.data);
        let mut options = Vec::new();
        while !rest.is_empty() {
            let (head, behind) = rest.split_first_chunk::<4>().ok_or("half an option")?;
            let (data, next) = behind.split_at_checked(word(&head[2..]).into()).ok_or("an option longer than the OPT")?;
            options.push((word(head), data));
            rest = next;
        }
        Ok(options)
    }
}

/// Reads a message.
pub fn read(octets: &[u8]) -> Result<Message, &'static str> {
    let header: &[u8; 12] = octets.first_chunk().ok_or("shorter than a header")?;
    let mut at = 12;
    let question = match word(&header[4..]) {
        0 => None,
        1 => {
            let name = name(octets, &mut at)?;
            let fixed = take(octets, &mut at, 4)?;
            Some(Question { name, qtype: word(fixed), qclass: word(&fixed[2..]), end: at })
        }
        _ => return Err("several questions"),
    };
    let mut records = Vec::new();
    for section in 1..=3 {
        for _ in 0..word(&header[4 + 2 * usize::from(section)..]) {
            let owner = name(octets, &mut at)?;
            let fixed = take(octets, &mut at, 10)?;
            let end = at + usize::from(word(&fixed[8..]));
            let rtype = word(fixed);
            let data = data(octets.get(..end).ok_or("data longer than the message")?, &mut at, rtype)?;
            let ttl = u32::from(word(&fixed[4..])) << 16 | u32::from(word(&fixed[6..]));
            records.push(Record { section, owner, rtype, class: word(&fixed[2..]), ttl, data });
        }
    }
    match at == octets.len() {
        true => Ok(Message { flags: word(&header[2..]), question, records }),
        false => Err("octets behind the last record"),
    }
}

/// A number of 16 bits.
pub fn word(octets: &[u8]) -> u16 {
    u16::from_be_bytes([octets[0], octets[1]])
}

fn take<'o>(octets: &'o [u8], at: &mut usize, length: usize) -> Result<&'o [u8], &'static str> {
    let taken = octets.get(*at..*at + length).ok_or("the message ends too early")?;
    *at += length;
    Ok(taken)
}

/// The data of a record, which ends where `octets` do.
fn data(octets: &[u8], at: &mut usize, rtype: u16) -> Result<Vec<u8>, &'static str> {
    // The types of RFC 1035 that hold names: octets before the names, names, and what is behind them.
    let (before, names) = match rtype {
        NS | 3 | 4 | CNAME | 7 | 8 | 9 | 12 => (0, 1),
        SOA | 14 => (0, 2),
        15 => (2, 1),
        _ => (0, 0),
    };
    let mut data = take(octets, at, before)?.to_vec();
    for _ in 0..names {
        data.extend(name(octets, at)?);
    }
    data.extend(take(octets, at, octets.len().checked_sub(*at).ok_or("a name longer than its record")?)?);
    Ok(data)
}

/// Reads a name, whose pointers lead to names before it (RFC 1035 §4.1.4); lower case.
fn name(octets: &[u8], at: &mut usize) -> Result<Vec<u8>, &'static str> {
    let mut spelled = Vec::new();
    let (mut here, mut end, mut before) = (*at, None, *at);
    loop {
        match *octets.get(here).ok_or("a name without end")? {
            0 => break,
            length @ 1..=63 => {
                let label = octets.get(here..=here + usize::from(length)).ok_or("a label without end")?;
                spelled.extend(label.iter().map(u8::to_ascii_lowercase));
                here += label.len();
            }
            0xc0.. => {
                let pointer = usize::from(word(octets.get(here..here + 2).ok_or("half a pointer")?) & 0x3fff);
                end.get_or_insert(here + 2);
                if pointer >= before || pointer < 12 {
                    return Err("a pointer that does not lead back");
                }
                (here, before) = (pointer, pointer);
            }
            _ => return Err("an unknown label type"),
        }
    }
    spelled.push(0);
    *at = end.unwrap_or(here + 1);
    // The octet of a length is no letter: 63 is less than `A`.
    if spelled.len() > 255 { Err("a name of more than 255 octets") } else { Ok(spelled) }
}

/// Whether a name is `above` or below it.
pub fn is_within(name: &[u8], above: &[u8]) -> bool {
    std::iter::successors(Some(name), |name| parent(name)).any(|name| name == above)
}

/// The name without its first label.
pub fn parent(name: &[u8]) -> Option<&[u8]> {
    match *name.first()? {
        0 => None,
        length => name.get(1 + usize::from(length)..),
    }
}
