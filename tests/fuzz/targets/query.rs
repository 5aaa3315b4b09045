//! Mutations that keep a query a query, most of the time.

/// Names of the world and of its neighbours.
const NAMES: &[&str] = &[
    "",
    "static.example",
    "www.static.example",
    "alias.static.example",
    "alias2.static.example",
    "alias3.static.example",
    "alias4.static.example",
    "alias5.static.example",
    "alias6.static.example",
    "alias7.static.example",
    "outside.static.example",
    "loop1.static.example",
    "self.static.example",
    "c0.static.example",
    "c1.static.example",
    "b.ent.static.example",
    "x.wild.static.example",
    "*.wild.static.example",
    "real.wild.static.example",
    "y.ent.wild.static.example",
    "x.cwild.static.example",
    "x.chain.static.example",
    "cut.static.example",
    "deep.cut.static.example",
    "ns.sibling.static.example",
    "insecure.static.example",
    "_sip._tcp.static.example",
    "_25._tcp.mail.static.example",
    "host.static.example",
    "naptr.static.example",
    "svcb.static.example",
    "unknown.static.example",
    "many.static.example",
    "big.static.example",
    "dname.static.example",
    "x.dname.static.example",
    "x.y.dname.static.example",
    "www.dname.static.example",
    "alias.dname.static.example",
    "x.abroad.static.example",
    "x.round.static.example",
    "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd.toolong.static.example",
    "inner.static.example",
    "www.inner.static.example",
    "back.inner.static.example",
    "svc.example",
    "web.svc.example",
    "_http._tcp.web.svc.example",
    "_web._tcp.svc.example",
    "ams-1a.id.web.svc.example",
    "ams.region.web.svc.example",
    "ams-1.az.web.svc.example",
    "half.svc.example",
    "deep.svc.example",
    "moved.svc.example",
    "settled.svc.example",
    "thinned.svc.example",
    "leaving.svc.example",
    "panicky.svc.example",
    "gone.svc.example",
    "before.svc.example",
    "dead.svc.example",
    "several.svc.example",
    "drawn.svc.example",
    "kept.svc.example",
    "listed.svc.example",
    "quick.svc.example",
    "split.svc.example",
    "simple.svc.example",
    "multivalue.svc.example",
    "weighted.svc.example",
    "latency.svc.example",
    "by-country.svc.example",
    "by-prefix.svc.example",
    "by-system.svc.example",
    "sticky.svc.example",
    "nested.svc.example",
    "any.svc.example",
    "leads.svc.example",
    "through.svc.example",
    "away.svc.example",
    "www.else.example",
    "id.web.svc.example",
    "nosuch.web.svc.example",
    "alias.example",
    "near.alias.example",
    "plain.alias.example",
    "twice.alias.example",
    "apex.alias.example",
    "x.any.alias.example",
    "same.alias.example",
    "chain.alias.example",
    "web.services.alias.example",
    "alias3.statics.alias.example",
    "www.twofold.alias.example",
    "x.cut.alias.example",
    "near.back.alias.example",
    "x.out.alias.example",
    "apex.example",
    "www.apex.example",
    "near.moved.apex.example",
    "whole.example",
    "near.whole.example",
    "back.back.whole.example",
    "version.bind",
    "hostname.bind",
    "id.server",
    "elsewhere.test",
];

const TYPES: &[u16] =
    &[1, 2, 5, 6, 12, 13, 15, 16, 28, 33, 35, 39, 41, 43, 44, 46, 48, 52, 64, 65, 128, 249, 250, 251, 252, 253, 254, 255, 257, 65280, 0];

/// Options: NSID, subnets, cookies, keepalive, padding, and one that nobody knows.
const OPTIONS: &[&[u8]] = &[
    b"\x00\x03\x00\x00",
    b"\x00\x08\x00\x07\x00\x01\x18\x00\x0a\x01\x40",
    b"\x00\x08\x00\x08\x00\x01\x20\x00\x0a\x01\x40\xc1",
    b"\x00\x08\x00\x0b\x00\x02\x38\x00\x20\x01\x0d\xb8\x00\x01\x80",
    b"\x00\x08\x00\x04\x00\x01\x00\x00",
    b"\x00\x08\x00\x04\x00\x02\x00\x00",
    b"\x00\x0a\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08",
    b"\x00\x0a\x00\x18\x01\x02\x03\x04\x05\x06\x07\x08\x01\x00\x00\x00\x6b\x49\xd2\x00\x01\x02\x03\x04\x05\x06\x07\x08",
    // What the guarded world gives 198.51.100.7 for the client cookie above.
    b"\x00\x0a\x00\x18\x01\x02\x03\x04\x05\x06\x07\x08\x01\x00\x00\x00\x6b\x49\xd2\x00\x5b\x9a\x90\x8a\xb2\xf8\xd3\xcf",
    b"\x00\x0b\x00\x00",
    b"\x00\x0b\x00\x02\x00\x64",
    b"\x00\x0c\x00\x05\x00\x00\x00\x00\x00",
    b"\x00\x0f\x00\x02\x00\x00",
    b"\xfd\xe9\x00\x02ab",
];

/// The parts of a query that are put together anew.
struct Parts {
    flags: u8,
    header: [u8; 4],
    name: Vec<u8>,
    qtype: u16,
    qclass: u16,
    /// Payload size, version and flags, options.
    edns: Option<(u16, u16, Vec<u8>)>,
}

/// Changes `data[..size]` in one or two places; returns the new size.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u64) -> usize {
    let mut dice = Dice(seed);
    let mut parts = Parts::read(&data[..size]);
    for _ in 0..=dice.below(3) {
        parts.change(&mut dice);
    }
    let octets = parts.write();
    if octets.len() > max_size {
        return size;
    }
    data[..octets.len()].copy_from_slice(&octets);
    octets.len()
}

impl Parts {
    /// What can be read of an input; the rest is as in most queries.
    fn read(input: &[u8]) -> Parts {
        let flags = input.first().copied().unwrap_or_default();
        let query = input.get(1..).unwrap_or_default();
        let mut parts = Parts { flags, header: [0, 1, 1, 0], name: vec![0], qtype: 1, qclass: 1, edns: Some((1232, 0, Vec::new())) };
        let Some(header) = query.first_chunk::<12>() else { return parts };
        parts.header = [header[0], header[1], header[2] & 0x7f, header[3]];
        let mut at = 12;
        while let Some(length @ 1..=63) = query.get(at).copied() {
            at += 1 + usize::from(length);
        }
        let word = |at: usize| query.get(at..at + 2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]));
        let Some((qtype, qclass)) = query.get(at).filter(|end| **end == 0).and(word(at + 1).zip(word(at + 3))) else { return parts };
        (parts.name, parts.qtype, parts.qclass) = (query[12..=at].to_vec(), qtype, qclass);
        at += 5;
        parts.edns = None;
        if let (Some([0, 0, 41]), Some(payload), Some(flags)) = (query.get(at..at + 3), word(at + 3), word(at + 6)) {
            parts.edns = Some((payload, flags, query.get(at + 11..).unwrap_or_default().to_vec()));
        }
        parts
    }

    fn change(&mut self, dice: &mut Dice) {
        match dice.below(12) {
            0 => self.flags = dice.below(16) as u8,
            1 | 2 => self.name = wire(NAMES[dice.below(NAMES.len())]),
            3 => {
                // A name below it.
                let label = [&b"x"[..], b"*", b"_tcp", b"_http", b"id", b"www", b"dname", &[b'l'; 63]][dice.below(8)];
                if self.name.len() + label.len() < 255 {
                    self.name.splice(0..0, std::iter::once(label.len() as u8).chain(label.iter().copied()));
                }
            }
            4 if self.name.len() > 1 => drop(self.name.drain(..1 + usize::from(self.name[0]))),
            5 => {
                let at = dice.below(self.name.len());
                if self.name[at].is_ascii_alphabetic() {
                    self.name[at] ^= 0x20;
                }
            }
            6 | 7 => self.qtype = TYPES[dice.below(TYPES.len())],
            8 => self.qclass = [1, 1, 3, 255, 4][dice.below(5)],
            9 => self.edns = [None, Some((512, 0, Vec::new())), Some((4096, 0x8000, Vec::new()))][dice.below(3)].take(),
            10 => {
                let (_, _, options) = self.edns.get_or_insert((1232, 0, Vec::new()));
                options.extend(OPTIONS[dice.below(OPTIONS.len())]);
            }
            _ => {
                let (payload, flags, _) = self.edns.get_or_insert((1232, 0, Vec::new()));
                *payload = [0, 512, 513, 600, 1232, 1400, 4096, 65_535][dice.below(8)];
                *flags = [0, 0, 0x8000, 0x4000, 0x0100][dice.below(5)];
            }
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut octets = vec![self.flags];
        octets.extend(self.header);
        octets.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        octets.extend(&self.name);
        octets.extend(self.qtype.to_be_bytes());
        octets.extend(self.qclass.to_be_bytes());
        if let Some((payload, flags, options)) = &self.edns {
            octets.extend([0, 0, 41]);
            octets.extend(payload.to_be_bytes());
            octets.extend([0, (flags >> 8 & 1) as u8]);
            octets.extend((flags & 0xfe00).to_be_bytes());
            octets.extend((options.len() as u16).to_be_bytes());
            octets.extend(options);
        }
        octets
    }
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    labels.flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes())).chain([0]).collect()
}

/// Numbers as good as drawn (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}
