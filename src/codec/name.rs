//! Domain names in a fixed buffer: lower-cased, with the offset of each label.

use std::fmt;

use super::Fault;

/// Most octets of a name in wire form (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 255;
/// Most labels of a name, the root not counted.
pub const MAX_LABELS: usize = 127;

/// A domain name in uncompressed wire form and lower case, with the offsets of its labels. Lives on the stack.
#[derive(Clone)]
pub struct NameBuf {
    wire: [u8; MAX_NAME],
    length: u8,
    /// `starts[i]` is the offset of label `i`, counted from the left; `starts[labels]` is that of the root.
    starts: [u8; MAX_LABELS + 1],
    labels: u8,
}

impl NameBuf {
    /// Reads the name that begins at `at` in `message`; returns it and the offset behind it.
    ///
    /// Compression is refused: a question is the first name of a message, so a pointer in it can lead nowhere but into itself or the
    /// header (RFC 1035 §4.1.4).
    pub fn parse(message: &[u8], at: usize) -> Result<(NameBuf, usize), Fault> {
        let mut name = NameBuf { wire: [0; MAX_NAME], length: 0, starts: [0; MAX_LABELS + 1], labels: 0 };
        let mut read = at;
        let mut written = 0;
        loop {
            let length = usize::from(*message.get(read).ok_or(Fault::Short)?);
            match length {
                0 => break,
                1..=63 => {}
                192.. => return Err(Fault::CompressedQuestion),
                _ => return Err(Fault::LabelType),
            }
            let label = message.get(read + 1..read + 1 + length).ok_or(Fault::Short)?;
            // One octet is kept for the root label.
            if written + 1 + length >= MAX_NAME {
                return Err(Fault::LongName);
            }
            // 254 octets hold at most 127 labels, so the index is in range.
            name.starts[usize::from(name.labels)] = written as u8;
            name.labels += 1;
            name.wire[written] = length as u8;
            for (to, from) in name.wire[written + 1..].iter_mut().zip(label) {
                *to = from.to_ascii_lowercase();
            }
            written += 1 + length;
            read += 1 + length;
        }
        name.starts[usize::from(name.labels)] = written as u8;
        name.length = written as u8 + 1;
        Ok((name, read + 1))
    }

    /// A name from uncompressed wire form; `None` if it is none, or something stands behind it.
    pub fn from_wire(wire: &[u8]) -> Option<NameBuf> {
        let (name, end) = NameBuf::parse(wire, 0).ok()?;
        (end == wire.len()).then_some(name)
    }

    /// The name with everything from label `from` on replaced by `suffix`, a name in uncompressed wire form; `None` where that would be
    /// longer than a name can be.
    pub fn moved(&self, from: usize, suffix: &[u8]) -> Option<NameBuf> {
        let kept = self.part(0, from);
        let mut wire = [0; MAX_NAME];
        let end = kept.len() + suffix.len();
        wire.get_mut(..kept.len())?.copy_from_slice(kept);
        wire.get_mut(kept.len()..end)?.copy_from_slice(suffix);
        NameBuf::from_wire(&wire[..end])
    }

    /// Wire form, root label included.
    #[inline]
    pub fn wire(&self) -> &[u8] {
        &self.wire[..usize::from(self.length)]
    }

    /// How many labels it has, the root not counted.
    #[inline]
    pub fn labels(&self) -> usize {
        self.labels.into()
    }

    /// The offset of label `index`, counted from the left; the root's for every index behind the last.
    #[inline]
    pub fn start(&self, index: usize) -> usize {
        self.starts[index.min(self.labels())].into()
    }

    /// The text of label `index`, counted from the left; empty for the root and behind it.
    #[inline]
    pub fn label(&self, index: usize) -> &[u8] {
        let start = self.start(index);
        &self.wire[start + 1..start + 1 + usize::from(self.wire[start])]
    }

    /// The labels `from..to` in wire form, without root label.
    #[inline]
    pub fn part(&self, from: usize, to: usize) -> &[u8] {
        &self.wire[self.start(from.min(to))..self.start(to)]
    }
}

impl fmt::Display for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.labels == 0 {
            return f.write_str(".");
        }
        for index in 0..self.labels() {
            for &byte in self.label(index) {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(f, "\\{}", byte as char)?,
                    0x21..=0x7e => write!(f, "{}", byte as char)?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_lower_case_with_their_labels() {
        let (name, end) = NameBuf::parse(b"xx\x03wWw\x07Example\x00rest", 2).unwrap();
        assert_eq!((name.to_string().as_str(), end, name.labels()), ("www.example.", 15, 2));
        assert_eq!((name.label(0), name.label(1), name.label(2), name.label(99)), (&b"www"[..], &b"example"[..], &b""[..], &b""[..]));
        assert_eq!((name.part(0, 1), name.part(1, 2), name.part(2, 2)), (&b"\x03www"[..], &b"\x07example"[..], &b""[..]));
        assert_eq!((name.start(0), name.start(1), name.start(2)), (0, 4, 12));
        assert_eq!(NameBuf::from_wire(&[0]).unwrap().to_string(), ".");
        assert!(NameBuf::from_wire(b"\x01a\x00x").is_none());
    }

    #[test]
    fn a_name_moves_below_another_as_long_as_it_fits() {
        let name = NameBuf::from_wire(b"\x01a\x01b\x03old\x00").unwrap();
        let check = |from: usize, suffix: &[u8], expected: &str| assert_eq!(name.moved(from, suffix).unwrap().to_string(), expected);
        check(2, b"\x03New\x00", "a.b.new.");
        check(1, b"\x00", "a.");
        check(0, b"\x03new\x00", "new.");
        check(9, b"\x03new\x00", "a.b.old.new.");
        // 4 octets stay before the suffix: 251 are the most it can have.
        let suffix = |length: usize| [&b"\x3f"[..], &[b'x'; 63]].concat().into_iter().cycle().take(length).collect::<Vec<u8>>();
        let long = [&suffix(192), &b"\x39"[..], &[b'y'; 57], &[0]].concat();
        assert_eq!((long.len(), name.moved(2, &long).unwrap().wire().len()), (251, 255));
        let longer = [&suffix(192), &b"\x3a"[..], &[b'y'; 58], &[0]].concat();
        assert!(name.moved(2, &longer).is_none());
    }

    #[test]
    fn what_is_no_name_is_told_apart() {
        let check = |wire: &[u8], fault: Fault| assert_eq!(NameBuf::parse(wire, 0).unwrap_err(), fault, "{wire:?}");
        check(b"", Fault::Short);
        check(b"\x03ww", Fault::Short);
        check(b"\x03www", Fault::Short);
        check(b"\x03www\xc0\x00", Fault::CompressedQuestion);
        check(b"\x41x\x00", Fault::LabelType);
        check(b"\x80x\x00", Fault::LabelType);
        let labels = |count: usize, length: u8| {
            let label = std::iter::once(length).chain(std::iter::repeat_n(b'a', length.into()));
            label.cycle().take(count * (usize::from(length) + 1)).chain([0]).collect::<Vec<u8>>()
        };
        assert_eq!(NameBuf::parse(&labels(127, 1), 0).unwrap().0.labels(), 127);
        check(&labels(128, 1), Fault::LongName);
        check(&labels(4, 63), Fault::LongName);
    }
}
