//! The hash of a name under which NSEC3 stands (RFC 5155 §5), and its label. What is signed here has neither salt nor further iterations
//! (RFC 9276 §3.1); what others signed may have both.

use super::MAX_NAME;

/// Octets of a hash: those of SHA-1 (RFC 5155 §11), the one that there is.
pub const HASH: usize = 20;
/// Octets of the label of a hash, with its length.
pub const HASH_LABEL: usize = 33;

/// Most blocks that are hashed in further iterations for one name. None is right (RFC 9276 §3.1); beyond about so many validators take a zone
/// for insecure, or fail (§3.2), and each costs whoever answers.
pub const MOST_ITERATED: usize = 100;

/// Blocks that further iterations take, with a salt of so many octets.
pub fn iterated(iterations: u16, salt: usize) -> usize {
    usize::from(iterations) * (HASH + salt + TAIL).div_ceil(BLOCK)
}

/// The hash of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameHash(pub [u8; HASH]);

impl NameHash {
    /// Of a name in wire form, in lower case.
    pub fn of(name: &[u8]) -> NameHash {
        NameHash(sha1::<ROOM>(&name[..name.len().min(MAX_NAME)], &[]))
    }

    /// The same with a salt and further iterations (RFC 5155 §5); of the salt the first 255 octets count, which is all that there can be.
    pub fn salted(name: &[u8], salt: &[u8], iterations: u16) -> NameHash {
        let salt = &salt[..salt.len().min(MOST_SALT)];
        let first = sha1::<ROOM_SALTED>(&name[..name.len().min(MAX_NAME)], salt);
        let next = |hash: [u8; HASH], _| match salt.len() {
            0..=SHORT_SALT => sha1::<BLOCK>(&hash, salt),
            _ => sha1::<ROOM>(&hash, salt),
        };
        NameHash((0..iterations).fold(first, next))
    }

    /// Of a label without its length; `None`: it is none of a hash.
    pub fn of_label(label: &[u8]) -> Option<NameHash> {
        let (eights, []) = label.as_chunks::<8>() else { return None };
        let mut hash = [0; HASH];
        if eights.len() * 5 != HASH {
            return None;
        }
        for (five, eight) in hash.chunks_exact_mut(5).zip(eights) {
            let mut word = 0_u64;
            for digit in eight {
                let value = match digit.to_ascii_lowercase() {
                    digit @ b'0'..=b'9' => digit - b'0',
                    digit @ b'a'..=b'v' => digit - b'a' + 10,
                    _ => return None,
                };
                word = word << 5 | u64::from(value);
            }
            five.copy_from_slice(&word.to_be_bytes()[3..]);
        }
        Some(NameHash(hash))
    }

    /// The hash right behind; the first behind the last.
    pub fn next(self) -> NameHash {
        self.carried(|octet| octet.overflowing_add(1))
    }

    /// The hash right before; the last before the first.
    pub fn previous(self) -> NameHash {
        self.carried(|octet| octet.overflowing_sub(1))
    }

    fn carried(mut self, step: impl Fn(u8) -> (u8, bool)) -> NameHash {
        for octet in self.0.iter_mut().rev() {
            let (stepped, carries) = step(*octet);
            *octet = stepped;
            if !carries {
                break;
            }
        }
        self
    }

    /// As a label with its length: base32 with the extended alphabet (RFC 4648 §7), in lower case and without padding.
    pub fn label(self) -> [u8; HASH_LABEL] {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let mut label = [0; HASH_LABEL];
        label[0] = HASH_LABEL as u8 - 1;
        for (five, eight) in self.0.chunks_exact(5).zip(label[1..].chunks_exact_mut(8)) {
            let word = five.iter().fold(0_u64, |word, octet| word << 8 | u64::from(*octet));
            for (n, digit) in eight.iter_mut().enumerate() {
                *digit = DIGITS[(word >> (35 - 5 * n)) as usize & 31];
            }
        }
        label
    }
}

const BLOCK: usize = 64;
/// Octets that stand behind what is hashed: the bit that ends it, and its length.
const TAIL: usize = 9;
/// Octets of a salt at most (RFC 5155 §3.1.4).
const MOST_SALT: usize = 255;
/// With so many octets of salt a hash is hashed in one block.
const SHORT_SALT: usize = BLOCK - TAIL - HASH;
/// Room for a name; for a hash with any salt as well.
const ROOM: usize = (HASH + MOST_SALT + TAIL).next_multiple_of(BLOCK);
const ROOM_SALTED: usize = (MAX_NAME + MOST_SALT + TAIL).next_multiple_of(BLOCK);

/// SHA-1 (RFC 3174 §6.1) of both together, which with [`TAIL`] fit in so much room. Here it hides nothing and proves nothing: it orders names.
fn sha1<const ROOM: usize>(octets: &[u8], more: &[u8]) -> [u8; HASH] {
    let mut padded = [0; ROOM];
    let length = octets.len() + more.len();
    padded[..octets.len()].copy_from_slice(octets);
    padded[octets.len()..length].copy_from_slice(more);
    padded[length] = 0x80;
    let end = (length + TAIL).next_multiple_of(BLOCK);
    padded[end - 8..end].copy_from_slice(&(8 * length as u64).to_be_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded[..end].chunks_exact(BLOCK) {
        let mut words = [0_u32; 80];
        for (word, octets) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = octets.iter().fold(0, |word, octet| word << 8 | u32::from(*octet));
        }
        for n in 16..80 {
            words[n] = (words[n - 3] ^ words[n - 8] ^ words[n - 14] ^ words[n - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (n, word) in words.iter().enumerate() {
            let (mixed, constant) = match n / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc_u32),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let sum = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
        }
        for (sum, word) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(word);
        }
    }
    let mut hash = [0; HASH];
    hash.chunks_exact_mut(4).zip(state).for_each(|(octets, word)| octets.copy_from_slice(&word.to_be_bytes()));
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard() {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        // RFC 3174 §7.3.
        assert_eq!(hex(&sha1::<ROOM>(b"abc", b"")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(&sha1::<ROOM>(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", b"")),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        );
        let eighty = b"01234567".repeat(10);
        assert_eq!(
            hex(&sha1::<ROOM>(&eighty[..33], &eighty[33..])),
            hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &eighty).as_ref())
        );
        for length in 0..=MAX_NAME {
            let name = vec![length as u8; length];
            let theirs = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &name);
            assert_eq!(hex(&sha1::<ROOM>(&name, b"")), hex(theirs.as_ref()), "{length}");
        }
    }

    #[test]
    fn names_have_the_labels_of_rfc_5155() {
        // RFC 5155 §A hashes with the salt aabbccdd and twelve further iterations.
        let hash = |name: &[u8]| NameHash::salted(name, &[0xaa, 0xbb, 0xcc, 0xdd], 12);
        for (name, label) in [
            (&b"\x07example\0"[..], "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            (b"\x01a\x07example\0", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            (b"\x01*\x01w\x07example\0", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ] {
            assert_eq!((hash(name).label()[1..].to_vec(), NameHash::of_label(label.as_bytes())), (label.into(), Some(hash(name))));
        }
    }

    #[test]
    fn a_salt_of_any_length_is_hashed_with_the_name() {
        let digest = |octets: &[u8]| {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, octets);
            <[u8; HASH]>::try_from(digest.as_ref()).unwrap()
        };
        for salt in [0, 1, SHORT_SALT, SHORT_SALT + 1, MOST_SALT] {
            let (name, salt) = ([7; MAX_NAME], vec![9; salt]);
            let once = digest(&[&name[..], &salt].concat());
            assert_eq!(NameHash::salted(&name, &salt, 0).0, once, "{}", salt.len());
            assert_eq!(NameHash::salted(&name, &salt, 1).0, digest(&[&once[..], &salt].concat()), "{}", salt.len());
        }
        assert_eq!((iterated(100, SHORT_SALT), iterated(100, SHORT_SALT + 1), iterated(0, 255)), (100, 200, 0));
        assert_eq!([&b"short"[..], &[b'w'; 32], &[b'0'; 40]].map(NameHash::of_label), [None; 3]);
    }

    #[test]
    fn hashes_stand_in_a_ring() {
        let (first, last) = (NameHash([0; HASH]), NameHash([0xff; HASH]));
        assert_eq!((first.previous(), last.next()), (last, first));
        let mut one = NameHash([7; HASH]);
        one.0[HASH - 1] = 0xff;
        let next = one.next();
        assert_eq!((next.0[HASH - 2..].to_vec(), next.previous()), (vec![8, 0], one));
        assert!(one < next && one.label() < next.label());
    }
}
