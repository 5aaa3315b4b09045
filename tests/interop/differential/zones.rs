//! Random zones: small alphabets, so that wildcards, cuts, aliases and empty names meet; legal, so that every server loads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::data::{self, DATA_TYPES};
use super::message::{Name, is_within, label_text};
use super::random::Random;

/// Labels of a name before the family's apex, the leftmost first.
pub type Labels = Vec<Vec<u8>>;

/// A zone, and at times a zone below it that the same servers have.
#[derive(Debug, Clone)]
pub struct Family {
    pub zones: Vec<Source>,
}

/// A zone as lines. `%` stands for the family's apex, so that the same lines can be served under another.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where its apex is, below the family's.
    pub apex: Labels,
    pub lines: Vec<String>,
}

impl Source {
    /// The zone file.
    pub fn text(&self, family: &str) -> String {
        self.lines.iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{}", line.replace('%', family));
            text
        })
    }

    /// The apex as text.
    pub fn apex_text(&self, family: &str) -> String {
        absolute(&self.apex).replace('%', family)
    }
}

/// A name as a line of a zone has it.
pub fn absolute(labels: &[Vec<u8>]) -> String {
    labels.iter().map(|label| label_text(label) + ".").collect::<String>() + "%"
}

/// The owner of a line, in wire form and lower case, the family's apex left out; `None` for a directive.
pub fn owner_of(line: &str) -> Option<Name> {
    let text = line.split(' ').next().filter(|text| !text.starts_with('$'))?;
    let (mut name, mut label, mut rest) = (Vec::new(), Vec::new(), text.as_bytes());
    while let Some((octet, tail)) = rest.split_first() {
        rest = tail;
        match octet {
            b'\\' => {
                let (digits, tail) = tail.split_at_checked(3)?;
                label.push(std::str::from_utf8(digits).ok()?.parse().ok()?);
                rest = tail;
            }
            b'.' => {
                name.push(label.len() as u8);
                name.extend(label.to_ascii_lowercase());
                label.clear();
            }
            b'%' => {}
            octet => label.push(*octet),
        }
    }
    name.push(0);
    Some(name)
}

/// The labels that names are made of.
const ALPHABET: [&[u8]; 18] =
    [b"a", b"b", b"c", b"d", b"*", b"a", b"b", b"*", b"sub", b"x", b"A", b"Sub", b"_tcp", b"\xff", b"a.b", b" ", b"*a", b"**"];

/// Any label of the alphabet; often one of the first.
pub fn label(random: &mut Random) -> Vec<u8> {
    let end = if random.percent(75) { 9 } else { ALPHABET.len() };
    ALPHABET[random.below(end)].to_vec()
}

fn folded(labels: &[Vec<u8>]) -> Labels {
    labels.iter().map(|label| label.to_ascii_lowercase()).collect()
}

/// What stands at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Alias,
    Cut,
    Dname,
}

struct Owner {
    spelled: Labels,
    kind: Kind,
    sets: BTreeMap<&'static str, Vec<String>>,
}

/// A zone under way.
struct Draft<'r> {
    random: &'r mut Random,
    apex: Labels,
    owners: BTreeMap<Labels, Owner>,
    /// Names that data may lead to, in the whole family.
    known: Vec<Labels>,
}

impl Family {
    /// The family that follows from the draws.
    pub fn random(random: &mut Random) -> Family {
        let child = random.percent(15).then(|| {
            let mut labels = vec![random.one(&[&b"a"[..], b"b", b"sub"]).to_vec()];
            if random.percent(30) {
                labels.push(random.one(&[&b"c"[..], b"d", b"*"]).to_vec());
            }
            labels
        });
        // Now and then the zone above knows nothing of the one below.
        let delegated = random.percent(85);
        let mut known: Vec<Labels> = child.iter().cloned().collect();
        let shapes: Vec<Vec<(Labels, Kind)>> = std::iter::once(&Labels::new())
            .chain(&child)
            .map(|apex| {
                let shape = shape(random, apex);
                known.extend(shape.iter().map(|(labels, _)| labels.clone()));
                shape
            })
            .collect();
        let apexes = std::iter::once(Labels::new()).chain(child.clone());
        let zones = apexes.zip(shapes).map(|(apex, shape)| {
            let mut draft = Draft { random: &mut *random, apex, owners: BTreeMap::new(), known: known.clone() };
            let below = child.as_ref().filter(|child| delegated && **child != draft.apex);
            draft.place(shape, below);
            draft.fill();
            draft.finish()
        });
        let mut zones: Vec<Source> = zones.collect();
        if let [parent, child] = &mut zones[..] {
            // NSD has one tree of names for all zones, and refuses a DNAME for what another zone has below it.
            free_dnames(parent, child);
            free_dnames(child, parent);
        }
        Family { zones }
    }
}

/// Takes the DNAMEs out of a zone that stand above names of another.
fn free_dnames(zone: &mut Source, other: &Source) {
    let taken: Vec<Name> = other.lines.iter().filter_map(|line| owner_of(line)).collect();
    let free = |owner: &[u8]| !taken.iter().any(|name| name != owner && is_within(name, owner));
    zone.lines.retain(|line| !line.contains(" IN DNAME ") || owner_of(line).is_none_or(|owner| free(&owner)));
}

/// Names of a zone and what they are to be, the apex left out.
fn shape(random: &mut Random, apex: &Labels) -> Vec<(Labels, Kind)> {
    let mut names: Vec<(Labels, Kind)> = Vec::new();
    let most = *random.one(&[6, 12, 20, 35]);
    for _ in 0..random.between(3, most) {
        let mut labels = match names.is_empty() || random.percent(45) {
            true => apex.clone(),
            false => random.one(&names).0.clone(),
        };
        let more = *random.one(&[1, 1, 1, 1, 2, 2, 3]);
        for _ in 0..more {
            if labels.len() < apex.len() + 6 {
                labels.insert(0, label(random));
            }
        }
        let kind = match random.below(100) {
            0..58 => Kind::Data,
            58..76 => Kind::Alias,
            76..90 => Kind::Cut,
            _ => Kind::Dname,
        };
        if labels != *apex {
            names.push((labels, kind));
        }
    }
    names
}

impl Draft<'_> {
    /// Settles what stands where, so that it is legal.
    fn place(&mut self, shape: Vec<(Labels, Kind)>, below: Option<&Labels>) {
        let apex_dname = below.is_none() && self.random.percent(3);
        for (spelled, kind) in shape {
            // RFC 4592 §4.2: a wildcard is not delegated.
            let kind = if kind == Kind::Cut && spelled[0] == b"*" { Kind::Data } else { kind };
            self.owners.entry(folded(&spelled)).or_insert(Owner { spelled, kind, sets: BTreeMap::new() });
        }
        if let Some(child) = below {
            for n in 1..child.len() {
                if let Some(above) = self.owners.get_mut(&child[n..]) {
                    above.kind = Kind::Data;
                }
            }
            self.owners.insert(child.clone(), Owner { spelled: child.clone(), kind: Kind::Cut, sets: BTreeMap::new() });
        }
        let apex = self.apex.clone();
        let kind = if apex_dname { Kind::Dname } else { Kind::Data };
        self.owners.insert(apex.clone(), Owner { spelled: apex, kind, sets: BTreeMap::new() });
        // RFC 6672 §2.4: nothing stands below a DNAME.
        let dnames: BTreeSet<Labels> = self.owners.iter().filter(|(_, o)| o.kind == Kind::Dname).map(|(name, _)| name.clone()).collect();
        self.owners.retain(|name, _| !(1..=name.len()).any(|n| dnames.contains(&name[n..])));
    }

    fn fill(&mut self) {
        let names: Vec<Labels> = self.owners.keys().cloned().collect();
        for name in &names {
            let kind = self.owners[name].kind;
            match kind {
                Kind::Alias => self.add(name, "CNAME", 1),
                Kind::Dname => {
                    self.add(name, "DNAME", 1);
                    // RFC 6672 §2.4: anything but CNAME and, below the apex, NS stands beside it.
                    if self.random.percent(40) {
                        self.add_data(name);
                    }
                }
                Kind::Data => (0..*self.random.one(&[1, 1, 2, 3, 5])).for_each(|_| self.add_data(name)),
                Kind::Cut => {
                    if self.random.percent(35) {
                        self.add(name, "DS", 2);
                    }
                    // Occluded: the cut answers for it, or it is glue.
                    if self.random.percent(25) {
                        self.add_data(name);
                    }
                }
            }
        }
        if self.random.percent(50) && self.owners[&self.apex].kind == Kind::Data {
            self.add_chain();
        }
        // When all else stands: which names can be name servers.
        for name in &names {
            if self.owners[name].kind != Kind::Cut && *name != self.apex {
                continue;
            }
            for _ in 0..self.random.between(1, 3) {
                let text = match self.name_server(name) {
                    Some(server) => self.spell(&server),
                    None => "ns.outside.invalid.".into(),
                };
                self.put(name, "NS", text);
            }
        }
    }

    fn add_data(&mut self, name: &Labels) {
        let rtype = *self.random.one(&DATA_TYPES);
        let most = *self.random.one(&[1, 1, 2, 3]);
        self.add(name, rtype, most);
    }

    fn add(&mut self, name: &Labels, rtype: &'static str, most: usize) {
        for _ in 0..self.random.between(1, most) {
            let host = self.any_name();
            let text = data::random(self.random, rtype, &host);
            self.put(name, rtype, text);
        }
    }

    fn put(&mut self, name: &Labels, rtype: &'static str, text: String) {
        let spelled = name.clone();
        let owner = self.owners.entry(folded(name)).or_insert(Owner { spelled, kind: Kind::Data, sets: BTreeMap::new() });
        let set = owner.sets.entry(rtype).or_default();
        if !set.iter().any(|data| data.eq_ignore_ascii_case(&text)) {
            set.push(text);
        }
    }

    /// Aliases one behind the other, to wherever.
    fn add_chain(&mut self) {
        let length = self.random.between(2, 6);
        let names: Vec<Labels> = (0..length).map(|n| [vec![format!("n{n}").into_bytes()], self.apex.clone()].concat()).collect();
        for (n, name) in names.iter().enumerate() {
            let next = match names.get(n + 1) {
                Some(next) => self.spell(next),
                // Round in a circle at times.
                None if self.random.percent(15) => {
                    let to = self.random.below(length);
                    self.spell(&names[to])
                }
                None => self.any_name(),
            };
            self.owners.insert(name.clone(), Owner { spelled: name.clone(), kind: Kind::Alias, sets: BTreeMap::new() });
            self.put(name, "CNAME", next);
        }
        self.known.push(names[0].clone());
    }

    /// A name that data leads to.
    fn any_name(&mut self) -> String {
        let known = self.known.clone();
        let random = &mut *self.random;
        let mut labels = match random.below(100) {
            0..45 if !known.is_empty() => random.one(&known).clone(),
            45..65 if !known.is_empty() => [vec![label(random)], random.one(&known).clone()].concat(),
            65..68 if !known.is_empty() => {
                let mut labels = random.one(&known).clone();
                labels[0] = b"*".to_vec();
                labels
            }
            68..72 => Labels::new(),
            72..82 => (0..random.between(1, 3)).map(|_| label(random)).collect(),
            82..86 => {
                let long = (0..random.between(1, 3)).map(|_| vec![b'l'; random.between(20, 63)]);
                long.collect::<Labels>()
            }
            n => return ["www.outside.invalid.", "outside.invalid.", "invalid.", "*.outside.invalid."][n % 4].into(),
        };
        while labels.iter().map(|label| label.len() + 1).sum::<usize>() > 230 {
            labels.remove(0);
        }
        self.spell(&labels)
    }

    fn spell(&mut self, labels: &[Vec<u8>]) -> String {
        match self.random.percent(15) {
            true => absolute(&labels.iter().map(|label| label.to_ascii_uppercase()).collect::<Labels>()),
            false => absolute(labels),
        }
    }

    /// A name server in the family for the cut or apex at `name`; it has an address where the zone must have one.
    fn name_server(&mut self, name: &Labels) -> Option<Labels> {
        let below: Vec<Labels> =
            self.owners.iter().filter(|(n, o)| n.ends_with(name) && o.kind != Kind::Alias).map(|(n, _)| n.clone()).collect();
        let server = match self.random.below(100) {
            0..25 => [vec![b"ns".to_vec()], name.clone()].concat(),
            25..35 if *name != self.apex => name.clone(),
            35..55 if !below.is_empty() => self.random.one(&below).clone(),
            55..75 => {
                let known: Vec<Labels> = self.owners.keys().cloned().collect();
                self.random.one(&known).clone()
            }
            75..85 => [vec![label(self.random)], self.apex.clone()].concat(),
            _ => return None,
        };
        let server = folded(&server);
        let within = |above: &Labels| server.ends_with(above);
        let alias = |labels: &[Vec<u8>]| self.owners.get(labels).is_some_and(|owner| owner.kind == Kind::Alias);
        let dname = |labels: &[Vec<u8>]| self.owners.get(labels).is_some_and(|owner| owner.kind == Kind::Dname);
        // RFC 2181 §10.3: a name server is no alias, by CNAME or DNAME.
        if alias(&server) || (1..=server.len()).any(|n| dname(&server[n..])) {
            return None;
        }
        let exists = |labels: &[Vec<u8>]| self.owners.keys().any(|owner| owner.ends_with(labels));
        let encloser = (0..=server.len()).map(|n| &server[n..]).find(|labels| exists(labels)).unwrap_or_default();
        if encloser != server && alias(&[&[b"*".to_vec()], encloser].concat()) {
            return None;
        }
        let in_cut = self.owners.iter().any(|(name, owner)| owner.kind == Kind::Cut && within(name));
        let has = self.owners.get(&server).is_some_and(|owner| owner.sets.contains_key("A") || owner.sets.contains_key("AAAA"));
        if !has && (in_cut || self.random.percent(60)) {
            let families = [&["A"][..], &["AAAA"], &["A", "AAAA"]][self.random.below(3)];
            for family in families {
                self.add(&server, family, 2);
            }
        }
        Some(server)
    }

    fn finish(self) -> Source {
        const TTLS: [u32; 9] = [0, 1, 5, 60, 300, 3_600, 86_400, 604_800, 2_147_483_647];
        let Draft { random, apex, owners, .. } = self;
        let mut lines = vec![
            format!("$ORIGIN {}", absolute(&apex)),
            format!(
                "{} {} IN SOA ns.{} Host.{} {} {} {} {} {}",
                absolute(&apex),
                random.one(&TTLS),
                absolute(&apex),
                absolute(&apex),
                random.below(1 << 32),
                random.between(1, 9_999),
                random.between(1, 9_999),
                random.between(1, 9_999_999),
                random.one(&TTLS),
            ),
        ];
        for owner in owners.values() {
            for (rtype, set) in &owner.sets {
                let ttl = *random.one(&TTLS);
                lines.extend(set.iter().map(|data| format!("{} {ttl} IN {rtype} {data}", absolute(&owner.spelled))));
            }
        }
        Source { apex, lines }
    }
}
