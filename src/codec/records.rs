//! The records of a whole message, in order.

use super::code::rtype;
use super::request::{Raw, skip_name};
use super::{Fault, HEADER, Header};

/// Where in a message a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Behind the question; in an update: prerequisites (RFC 2136 §2).
    Answer,
    /// Behind the answers; in an update: what changes.
    Authority,
    /// The last.
    Additional,
}

/// A record as it stands in a message.
#[derive(Debug, Clone, Copy)]
pub struct Record<'m> {
    /// Where in the message.
    pub section: Section,
    /// The offset of its owner, for [`super::NameBuf::follow`].
    pub owner: usize,
    /// TYPE.
    pub rtype: u16,
    /// CLASS.
    pub class: u16,
    /// TTL in seconds, as it stands.
    pub ttl: u32,
    /// RDATA. Names in it may be compressed.
    pub data: &'m [u8],
    /// The offset of RDATA in the message.
    pub data_at: usize,
    /// The offset behind it.
    pub end: usize,
}

/// Reads the records of a message one after another; ends at the first that cannot be read.
#[derive(Debug, Clone)]
pub struct Records<'m> {
    message: &'m [u8],
    at: usize,
    /// How many are left of each section.
    left: [u16; 3],
}

impl<'m> Records<'m> {
    /// The records behind the questions.
    ///
    /// # Errors
    /// No header, or a question that cannot be read.
    pub fn of(message: &'m [u8]) -> Result<Records<'m>, Fault> {
        let header = Header::parse(message).ok_or(Fault::Short)?;
        let [questions, answers, authority, additional] = [0, 1, 2, 3].map(|section| header.counts.get(section));
        let mut at = HEADER;
        // Each question takes at least five octets, so the message's length bounds the loop.
        for _ in 0..questions {
            at = skip_name(message, at)? + 4;
            if at > message.len() {
                return Err(Fault::Short);
            }
        }
        Ok(Records { message, at, left: [answers, authority, additional] })
    }

    /// The offset of the next record, or behind the last.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl<'m> Iterator for Records<'m> {
    type Item = Result<Record<'m>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let n = self.left.iter().position(|left| *left > 0)?;
        self.left[n] -= 1;
        let raw = match Raw::parse(self.message, self.at) {
            Ok(raw) => raw,
            Err(fault) => {
                self.left = [0; 3];
                return Some(Err(fault));
            }
        };
        let owner = std::mem::replace(&mut self.at, raw.end);
        let section = [Section::Answer, Section::Authority, Section::Additional][n];
        let data_at = raw.end - raw.data.len();
        if raw.rtype == rtype::TSIG && (section != Section::Additional || self.left[2] > 0) {
            // RFC 8945 §5.1: the last record of the additional section.
            self.left = [0; 3];
            return Some(Err(Fault::TsigPlace));
        }
        Some(Ok(Record { section, owner, rtype: raw.rtype, class: raw.class, ttl: raw.ttl, data: raw.data, data_at, end: raw.end }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::NameBuf;
    use super::*;

    #[test]
    fn records_are_read_section_by_section() {
        let message = b"\0\x01\x80\0\0\x01\0\x01\0\x01\0\x01\x03www\x01x\0\0\x01\0\x01\
            \xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04\x01\x02\x03\x04\xc0\x10\0\x02\0\x01\0\0\0\x1e\0\x02\xc0\x0c\0\0\x29\x04\xd0\0\0\0\0\0\0";
        let mut name = NameBuf::default();
        let read: Vec<_> = Records::of(message)
            .unwrap()
            .map(|record| {
                let record = record.unwrap();
                name.follow(message, record.owner).unwrap();
                (record.section, name.to_string(), record.rtype, record.ttl, &message[record.data_at..record.end] == record.data)
            })
            .collect();
        let expected = [
            (Section::Answer, "www.x.".to_string(), 1, 30, true),
            (Section::Authority, "x.".to_string(), 2, 30, true),
            (Section::Additional, ".".to_string(), 41, 0, true),
        ];
        assert_eq!(read, expected);
        let mut cut = Records::of(&message[..message.len() - 1]).unwrap();
        assert_eq!(cut.by_ref().filter(|r| r.is_err()).count(), 1);
        assert!(cut.next().is_none());
        assert_eq!(Records::of(&message[..20]).unwrap_err(), Fault::Short);
    }
}
