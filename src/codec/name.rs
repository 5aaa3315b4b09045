//! Domain names in a fixed buffer: lower-cased, with the offset of each label.

use std::fmt;

use super::Fault;

/// Most octets of a name in wire form (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 255;
/// Most labels of a name, the root not counted.
pub const MAX_LABELS: usize = 127;

/// Octets that are read and written in one piece.
const PIECE: usize = 16;
/// Room for a name in whole pieces, and for one more, so that eight octets can be read wherever a label begins.
const ROOM: usize = MAX_NAME.next_multiple_of(PIECE) + PIECE;

/// A domain name in uncompressed wire form and lower case, with the offsets of its labels. Needs no memory but its own 400 octets: whoever
/// reads many names one after another keeps one of them and reads into that.
#[derive(Clone)]
pub struct NameBuf {
    /// What stands behind the name means nothing.
    wire: [u8; ROOM],
    /// `starts[i]` is the offset of label `i`, counted from the left; `starts[labels]` is that of the root.
    starts: [u8; MAX_LABELS + 1],
    length: u8,
    labels: u8,
}

impl Default for NameBuf {
    /// The root.
    fn default() -> NameBuf {
        NameBuf { wire: [0; ROOM], starts: [0; MAX_LABELS + 1], length: 1, labels: 0 }
    }
}

impl NameBuf {
    /// Reads the name that begins at `at` in `message`; returns it and the offset behind it.
    ///
    /// Compression is refused: a question is the first name of a message, so a pointer in it can lead nowhere but into itself or the
    /// header (RFC 1035 §4.1.4).
    pub fn parse(message: &[u8], at: usize) -> Result<(NameBuf, usize), Fault> {
        let mut name = NameBuf::default();
        let end = name.read(message, at)?;
        Ok((name, end))
    }

    /// As [`NameBuf::parse`], in place of the name that it was; returns the offset behind the name. Where there is none, it is the root.
    #[inline(always)]
    pub fn read(&mut self, message: &[u8], at: usize) -> Result<usize, Fault> {
        (self.labels, self.length, self.starts[0], self.wire[0]) = (0, 1, 0, 0);
        let (mut read, mut labels) = (at, 0);
        loop {
            let length = usize::from(*message.get(read).ok_or(Fault::Short)?);
            match length {
                0 => break,
                1..=63 => {}
                192.. => return Err(Fault::CompressedQuestion),
                _ => return Err(Fault::LabelType),
            }
            let next = read + 1 + length;
            if next > message.len() {
                return Err(Fault::Short);
            }
            // One octet is kept for the root label.
            if next - at >= MAX_NAME {
                return Err(Fault::LongName);
            }
            // 254 octets hold at most 127 labels, so the index is in range.
            self.starts[labels] = (read - at) as u8;
            labels += 1;
            read = next;
        }
        let (length, end) = (read - at + 1, read + 1);
        // Octets that tell lengths are below the letters, so that all of the name is folded alike.
        let mut from = at;
        for piece in self.wire.as_chunks_mut::<PIECE>().0 {
            *piece = match message.get(from..).and_then(|rest| rest.first_chunk()) {
                Some(whole) => lower_case(whole),
                None => {
                    let mut octets = [0; PIECE];
                    octets[..end - from].copy_from_slice(&message[from..end]);
                    lower_case(&octets)
                }
            };
            from += PIECE;
            if from >= end {
                break;
            }
        }
        self.starts[labels] = (length - 1) as u8;
        (self.labels, self.length) = (labels as u8, length as u8);
        Ok(end)
    }

    /// As [`NameBuf::read`], through compression pointers; returns the offset behind the name where it stands.
    ///
    /// A pointer leads to a prior occurrence (RFC 1035 §4.1.4), so each must lead before where the last one led: no message makes it go round.
    ///
    /// # Errors
    /// Where there is no name; it is the root then.
    pub fn follow(&mut self, message: &[u8], at: usize) -> Result<usize, Fault> {
        let mut wire = [0; MAX_NAME];
        let (mut length, mut read, mut least, mut end) = (0, at, at, None);
        (self.labels, self.length, self.starts[0], self.wire[0]) = (0, 1, 0, 0);
        loop {
            let octet = *message.get(read).ok_or(Fault::Short)?;
            match octet {
                0 => break,
                1..=63 => {
                    let label = message.get(read..read + 1 + usize::from(octet)).ok_or(Fault::Short)?;
                    // One octet is kept for the root label.
                    let room = wire[..MAX_NAME - 1].get_mut(length..length + label.len()).ok_or(Fault::LongName)?;
                    room.copy_from_slice(label);
                    length += label.len();
                    read += label.len();
                }
                192.. => {
                    let low = *message.get(read + 1).ok_or(Fault::Short)?;
                    let to = usize::from(u16::from_be_bytes([octet & 0x3f, low]));
                    if to >= least {
                        return Err(Fault::Pointer);
                    }
                    end.get_or_insert(read + 2);
                    (read, least) = (to, to);
                }
                _ => return Err(Fault::LabelType),
            }
        }
        self.read(&wire[..=length], 0)?;
        Ok(end.unwrap_or(read + 1))
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

    /// The hash of the root, which stands behind every other label.
    pub const ROOT_HASH: u64 = 0x243f_6a88_85a3_08d3;

    /// The hash of the name from label `index` on, one that it has, where `behind` is that of what stands behind the label: a name is hashed from the right
    /// to the left, and the hash of each name above it comes out on the way. It is the same in every process.
    #[inline(always)]
    pub fn hash(&self, index: usize, behind: u64) -> u64 {
        let mut at = usize::from(self.starts[index & MAX_LABELS]);
        let (mut word, mut hash) = (self.word(at), behind);
        // The first octet of a label says how many follow.
        let mut left = usize::from(word as u8) + 1;
        while left > 8 {
            hash = fold(hash ^ word);
            (at, left) = (at + 8, left - 8);
            word = self.word(at);
        }
        fold(hash ^ first(word, left))
    }

    /// The hash of label `index` alone.
    #[inline(always)]
    pub fn label_hash(&self, index: usize) -> u64 {
        self.hash(index, NameBuf::ROOT_HASH)
    }

    /// The same of a label's text, which is in lower case and has 63 octets at most.
    pub fn hash_of_label(text: &[u8]) -> u64 {
        let mut name = NameBuf::default();
        let length = text.len().min(63);
        name.wire[0] = length as u8;
        name.wire[1..=length].copy_from_slice(&text[..length]);
        name.hash(0, NameBuf::ROOT_HASH)
    }

    /// Whether the `length` octets from `start` on, at most up to the name's end, are those of `padded`, which is filled up with zeros to
    /// the next multiple of 8.
    #[inline(always)]
    pub fn has(&self, start: usize, length: usize, padded: &[u8]) -> bool {
        if padded.len() != length.next_multiple_of(8) {
            return false;
        }
        let Some((last, words)) = padded.as_chunks().0.split_last() else { return true };
        let mut at = start;
        for word in words {
            if self.word(at) != u64::from_le_bytes(*word) {
                return false;
            }
            at += 8;
        }
        first(self.word(at), start + length - at) == u64::from_le_bytes(*last)
    }

    /// Whether it is `suffix` from label `index` on.
    #[inline(always)]
    pub fn ends_in(&self, index: usize, suffix: &NameBuf) -> bool {
        let (start, length) = (self.start(index), usize::from(suffix.length));
        if usize::from(self.length) != start + length {
            return false;
        }
        // The last eight octets may be looked at twice, lest they be cut.
        let Some(last) = length.checked_sub(8) else { return first(self.word(start) ^ suffix.word(0), length) == 0 };
        let mut at = 0;
        while at < last {
            if self.word(start + at) != suffix.word(at) {
                return false;
            }
            at += 8;
        }
        self.word(start + last) == suffix.word(last)
    }

    /// Eight octets, of which those behind the name mean nothing.
    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.wire.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |octets| u64::from_le_bytes(*octets))
    }

    /// Wire form, root label included.
    #[inline]
    pub fn wire(&self) -> &[u8] {
        &self.wire[..usize::from(self.length)]
    }

    /// Wire form, and what stands behind it, which means nothing: for copying in whole pieces.
    #[inline]
    pub fn padded(&self) -> &[u8] {
        &self.wire
    }

    /// How many labels it has, the root not counted.
    #[inline]
    pub fn labels(&self) -> usize {
        self.labels.into()
    }

    /// The offset of label `index`, counted from the left; the root's for every index behind the last.
    #[inline]
    pub fn start(&self, index: usize) -> usize {
        // 127 labels at most: the mask says so to the compiler.
        self.starts[index.min(self.labels()) & MAX_LABELS].into()
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

/// The first octets of a word, one to eight; zeros for the others.
#[inline(always)]
fn first(word: u64, octets: usize) -> u64 {
    let others = 64 - 8 * octets as u32;
    word.wrapping_shl(others).wrapping_shr(others)
}

/// Mixes all bits of a word into all bits of the result: the two halves of a product with an odd constant.
#[inline(always)]
fn fold(word: u64) -> u64 {
    let product = u128::from(word) * 0x9e37_79b9_7f4a_7c15;
    product as u64 ^ (product >> 64) as u64
}

/// Sixteen octets with `A`–`Z` in lower case, all at once.
#[inline(always)]
fn lower_case(octets: &[u8; PIECE]) -> [u8; PIECE] {
    // Without a branch, so that all of them are done in one instruction.
    octets.map(|octet| octet | u8::from(octet.wrapping_sub(b'A') < 26) << 5)
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
    fn every_octet_is_folded_as_ascii_wherever_it_stands() {
        let octets: Vec<u8> = (0..=255).collect();
        for (label, behind) in octets.chunks(60).flat_map(|label| [0, 1, 7, 40].map(|behind| (label, behind))) {
            let wire = [&[label.len() as u8], label, &[0]].concat();
            let message = [&b"xxx"[..], &wire, &vec![b'Z'; behind]].concat();
            let (name, end) = NameBuf::parse(&message, 3).unwrap();
            assert_eq!((name.wire(), end), (&wire.to_ascii_lowercase()[..], 3 + wire.len()));
        }
        let mut name = NameBuf::from_wire(b"\x01a\x00").unwrap();
        assert_eq!(name.read(b"\x01b\x01", 0), Err(Fault::Short));
        assert_eq!((name.wire(), name.labels()), (&[0][..], 0), "nothing is left of a name that was read into");
    }

    #[test]
    fn hashes_and_comparisons_see_the_name_and_nothing_behind_it() {
        let texts: [&[u8]; 6] =
            [b"\x00", b"\x01a\x00", b"\x01b\x00", b"\x07abcdefg\x00", b"\x08abcdefgh\x01a\x00", b"\x11abcdefghijklmnopq\x03xyz\x01a\x00"];
        let hash_of = |name: &NameBuf| (0..name.labels()).rev().fold(NameBuf::ROOT_HASH, |behind, label| name.hash(label, behind));
        let mut hashes = std::collections::BTreeSet::new();
        for text in texts {
            let plain = NameBuf::from_wire(text).unwrap();
            let (dirty, _) = NameBuf::parse(&[text, b"\xffmore"].concat(), 0).unwrap();
            assert!(hashes.insert(hash_of(&plain)), "{plain}");
            assert_eq!(hash_of(&plain), hash_of(&dirty));
            for other in texts {
                let other = NameBuf::from_wire(other).unwrap();
                for label in 0..=plain.labels() {
                    assert_eq!(
                        dirty.ends_in(label, &other),
                        plain.wire()[plain.start(label)..] == *other.wire(),
                        "{plain} {label} {other}"
                    );
                }
            }
            for (from, to) in (0..text.len()).flat_map(|to| (0..=to).map(move |from| (from, to))) {
                let mut padded = text[from..to].to_vec();
                padded.resize((to - from).next_multiple_of(8), 0);
                assert!(dirty.has(from, to - from, &padded));
                padded.iter_mut().take(1).for_each(|octet| *octet ^= 1);
                assert_eq!(dirty.has(from, to - from, &padded), from == to);
            }
        }
    }

    #[test]
    fn pointers_lead_back_and_never_round() {
        let mut name = NameBuf::default();
        let message = b"\x03wWw\x01x\x00\xc0\x04\x01a\xc0\x00\xc0\x0d\xc0\x11\xc0";
        let mut check = |at: usize, expected: Result<(&str, usize), Fault>| {
            let end = name.follow(message, at);
            assert_eq!(end.map(|end| (name.to_string(), end)), expected.map(|(text, end)| (text.to_string(), end)), "{at}");
        };
        check(0, Ok(("www.x.", 7)));
        check(7, Ok(("x.", 9)));
        check(9, Ok(("a.www.x.", 13)));
        check(13, Err(Fault::Pointer));
        check(15, Err(Fault::Pointer));
        check(17, Err(Fault::Short));
        assert_eq!(name.wire(), [0]);
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
