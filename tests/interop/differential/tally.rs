//! Counts, and the differences that are to be looked at.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::compare::Known;
use super::excuses::EXCUSES;
use super::lab::{Case, Judgement, Refusal, Verdict, apex_text};
use super::message::{CNAME, DNAME, DS, Message, NS, SOA, is_within, name_text, parent, type_text, upwards};
use super::peers::Kind;
use super::queries::Query;
use super::shrink::Subject;
use super::zones::{Family, owner_of};

/// The most differences of one kind that are told in full.
const TOLD: usize = 2;

#[derive(Default)]
pub struct Tally {
    pub cases: usize,
    /// Cases in which all three said the same.
    same: usize,
    /// By rule and peer.
    excused: BTreeMap<(usize, &'static str), usize>,
    /// By what differs from whom.
    different: BTreeMap<String, usize>,
    /// Faults of others, which are told and no concern of ours.
    theirs: BTreeMap<String, usize>,
    /// What the answers were like.
    seen: BTreeMap<&'static str, usize>,
    /// Zones that nobody loads.
    illegal: usize,
    told: String,
    subjects: Vec<Subject>,
}

/// What kind of difference a case shows; `None` where there is none.
pub fn kind_of(judgement: &Judgement) -> Option<String> {
    let different = judgement.verdicts.iter().zip(Kind::ALL).filter_map(|(verdict, peer)| match verdict {
        Verdict::Different(aspects) => Some(format!("{} {aspects:?}", peer.name())),
        Verdict::Same | Verdict::Excused(_) => None,
    });
    let kinds: Vec<String> = different.chain(judgement.faults.iter().map(|fault| format!("we {fault:?}"))).collect();
    (!kinds.is_empty()).then(|| kinds.join(", "))
}

impl Tally {
    /// How many differences nothing excuses.
    pub fn differences(&self) -> usize {
        self.different.values().sum()
    }

    /// The first of each kind of difference, with all that is needed to understand it.
    pub fn told(&self) -> &str {
        &self.told
    }

    /// The same, to be made small.
    pub fn into_subjects(self) -> Vec<Subject> {
        self.subjects
    }

    pub fn note_refusal(&mut self, seed: u64, family: &Family, number: usize, refusal: &Refusal) {
        let (kind, text) = match refusal {
            Refusal::Unanimous => {
                self.illegal += 1;
                return;
            }
            Refusal::Partial(text) => ("not loaded by all", text),
            Refusal::Misread(text) => ("read otherwise", text),
        };
        if self.count(kind) {
            let zones: Vec<String> = family.zones.iter().map(|zone| zone.text(&apex_text(number))).collect();
            let _ = writeln!(self.told, "\n--- {kind}; seed {seed}, family {number}\n{text}\n{}", zones.join("--\n"));
        }
    }

    /// What was hardly ever seen in `cases` cases: then the zones or the queries are not what they are meant to be.
    pub fn missing(&self) -> Vec<&'static str> {
        let least = self.cases / 2_000;
        KINDS.iter().map(|(name, _)| *name).filter(|name| self.seen.get(name).is_none_or(|count| *count < least)).collect()
    }

    pub fn note(&mut self, seed: u64, family: &Family, case: &Case<'_>, judgement: &Judgement, known: &Known) {
        self.cases += 1;
        for (name, is) in KINDS.iter().filter_map(|(name, is)| Some((name, is(case.query, case.ours.as_ref()?, known)))) {
            *self.seen.entry(name).or_default() += usize::from(is);
        }
        self.same += usize::from(judgement.verdicts.iter().all(|verdict| *verdict == Verdict::Same));
        for (faults, peer) in judgement.their_faults.iter().zip(Kind::ALL) {
            for fault in faults {
                *self.theirs.entry(format!("{}: {fault:?}", peer.name())).or_default() += 1;
            }
        }
        for (verdict, peer) in judgement.verdicts.iter().zip(Kind::ALL) {
            if let Verdict::Excused(rule) = verdict {
                *self.excused.entry((*rule, peer.name())).or_default() += 1;
            }
        }
        let Some(kind) = kind_of(judgement) else { return };
        if self.count(&kind) {
            let text = describe(Some(family), case);
            let _ = writeln!(self.told, "\n--- {kind}; seed {seed}, family {}\n{text}", case.family);
            self.subjects.push(Subject { family: family.clone(), number: case.family, query: case.query.clone(), kind });
        }
    }

    /// Counts; whether this one is to be told.
    fn count(&mut self, kind: &str) -> bool {
        let count = self.different.entry(kind.into()).or_default();
        *count += 1;
        *count <= TOLD
    }
}

/// Whether a reply is of a kind.
type Is = fn(&Query, &Message, &Known) -> bool;

/// Kinds of answers, each of which must be seen.
const KINDS: &[(&str, Is)] = &[
    ("answer", |_, m, _| m.rcode == 0 && m.answer().last().is_some_and(|r| r.rtype != CNAME)),
    ("no data", |_, m, _| m.rcode == 0 && m.answer().is_empty() && m.authority().iter().any(|r| r.rtype == SOA)),
    ("no name", |_, m, _| m.rcode == 3),
    ("name too long", |_, m, _| m.rcode == 6),
    ("refused", |_, m, _| m.rcode == 5),
    ("truncated", |_, m, _| m.has(Message::TC)),
    ("referral", |_, m, _| !m.has(Message::AA) && m.authority().iter().any(|r| r.rtype == NS)),
    ("referral with glue", |_, m, _| !m.has(Message::AA) && !m.additional().is_empty()),
    ("referral behind an alias", |_, m, _| !m.answer().is_empty() && m.authority().iter().any(|r| r.rtype == NS)),
    ("DS at a cut", |q, m, _| q.rtype == DS && m.answer().iter().any(|r| r.rtype == DS)),
    ("three aliases or more", |_, m, _| m.answer().iter().filter(|r| r.rtype == CNAME).count() > 2),
    ("alias to nowhere", |_, m, _| m.rcode == 3 && m.answer().iter().any(|r| r.rtype == CNAME)),
    ("alias to outside", |_, m, _| m.rcode == 0 && m.authority().is_empty() && m.answer().last().is_some_and(|r| r.rtype == CNAME)),
    ("DNAME", |q, m, _| q.rtype != DNAME && m.answer().first().is_some_and(|r| r.rtype == DNAME)),
    ("CNAME, then DNAME", |_, m, _| m.answer().iter().skip(1).any(|r| r.rtype == DNAME)),
    ("wildcard", |_, m, known| m.answer().first().is_some_and(|r| r.rtype != CNAME && !known.stands(r))),
    ("alias at a wildcard", |_, m, known| m.answer().first().is_some_and(|r| r.rtype == CNAME && !known.stands(r))),
    ("empty non-terminal", |q, m, known| {
        let zone = known.zone_of(&q.folded());
        m.rcode == 0 && m.has(Message::AA) && zone.is_some_and(|zone| zone.has_name(&q.folded()) && zone.at(&q.folded()).next().is_none())
    }),
    ("child zone", |q, m, known| m.has(Message::AA) && known.zones.iter().skip(1).any(|zone| is_within(&q.folded(), &zone.apex))),
];

/// The query, what each said, and the lines of the zones that may matter.
pub fn describe(family: Option<&Family>, case: &Case<'_>) -> String {
    let apex = apex_text(case.family);
    let query = case.query;
    let mut text = format!("query {} {} {:?}\n", name_text(&query.name), type_text(query.rtype), query.shape);
    let names = [("ours", &case.ours), ("whole", &case.whole)];
    for (who, message) in names.into_iter().chain(Kind::ALL.map(Kind::name).into_iter().zip(&case.theirs)) {
        match message {
            Some(message) => drop(writeln!(text, "    {who}: {message}")),
            None if who == "whole" => {}
            None => drop(writeln!(text, "    {who}: unreadable")),
        }
    }
    let messages = [&case.ours].into_iter().chain(&case.theirs).flatten();
    let mut near: Vec<Vec<u8>> = upwards(&query.folded()).map(<[u8]>::to_vec).collect();
    let records = messages.flat_map(|message: &Message| message.sections.iter().flatten());
    near.extend(records.map(|record| record.owner.clone()));
    // What stands at a name, above it, or at a wildcard beside it.
    let matters = |owner: &[u8]| {
        let wild = parent(owner).filter(|_| owner.starts_with(b"\x01*"));
        near.iter().any(|name| is_within(name, owner) || wild.is_some_and(|above| is_within(name, above)))
    };
    let sources = family.into_iter().flat_map(|family| &family.zones);
    for line in sources.flat_map(|source| source.text(&apex).lines().map(String::from).collect::<Vec<_>>()) {
        if owner_of(&line).as_deref().is_some_and(matters) {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} cases, {} the same with all, {} different, {} illegal zones",
            self.cases,
            self.same,
            self.differences(),
            self.illegal
        )?;
        for ((rule, peer), count) in &self.excused {
            let excuse = &EXCUSES[*rule];
            writeln!(f, "  {count:>8} excused, {peer}: {} ({}, allows {:?})", excuse.name, excuse.rfc, excuse.allows)?;
        }
        let seen: Vec<String> = self.seen.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(f, "  seen: {}", seen.join(", "))?;
        for (kind, count) in &self.theirs {
            writeln!(f, "  {count:>8} faults of {kind}")?;
        }
        for (kind, count) in &self.different {
            writeln!(f, "  {count:>8} different: {kind}")?;
        }
        Ok(())
    }
}
