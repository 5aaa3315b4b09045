//! Counts, and the differences that are to be looked at.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::excuses::EXCUSES;
use super::lab::{Case, Judgement, Refusal, Verdict, apex_text};
use super::message::{Message, is_within, name_text, parent, type_text, upwards};
use super::peers::Kind;
use super::zones::Family;

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
    /// Zones that nobody loads.
    illegal: usize,
    told: String,
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

    pub fn note_refusal(&mut self, seed: u64, family: &Family, n: usize, refusal: &Refusal) {
        let (kind, text) = match refusal {
            Refusal::Unanimous => {
                self.illegal += 1;
                return;
            }
            Refusal::Partial(text) => ("not loaded by all", text),
            Refusal::Misread(text) => ("read otherwise", text),
        };
        if self.count(kind.into()) {
            let zones: String = family.zones.iter().map(|zone| zone.text(&apex_text(n))).collect();
            let whole = if kind == "not loaded by all" { zones } else { String::new() };
            let _ = writeln!(self.told, "\n--- {kind}; seed {seed}, family {n}\n{text}\n{whole}");
        }
    }

    pub fn note(&mut self, seed: u64, family: &Family, case: &Case<'_>, judgement: &Judgement) {
        self.cases += 1;
        for (faults, peer) in judgement.their_faults.iter().zip(Kind::ALL) {
            for fault in faults {
                *self.theirs.entry(format!("{}: {fault:?}", peer.name())).or_default() += 1;
            }
        }
        let mut kinds = Vec::new();
        for (verdict, peer) in judgement.verdicts.iter().zip(Kind::ALL) {
            match verdict {
                Verdict::Same => {}
                Verdict::Excused(rule) => *self.excused.entry((*rule, peer.name())).or_default() += 1,
                Verdict::Different(aspects) => kinds.push(format!("{} {aspects:?}", peer.name())),
            }
        }
        kinds.extend(judgement.faults.iter().map(|fault| format!("we {fault:?}")));
        if kinds.is_empty() {
            self.same += usize::from(judgement.verdicts.iter().all(|verdict| *verdict == Verdict::Same));
            return;
        }
        let kind = kinds.join(", ");
        if self.count(kind.clone()) {
            let text = describe(family, case);
            let _ = writeln!(self.told, "\n--- {kind}; seed {seed}, family {}\n{text}", case.family);
        }
    }

    /// Counts; whether this one is to be told.
    fn count(&mut self, kind: String) -> bool {
        let count = self.different.entry(kind).or_default();
        *count += 1;
        *count <= TOLD
    }
}

/// The query, what each said, and the lines of the zones that may matter.
pub fn describe(family: &Family, case: &Case<'_>) -> String {
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
    for source in &family.zones {
        for line in source.text(&apex).lines() {
            let owner = super::lab::owner_of(line);
            let matters = |owner: &[u8]| {
                near.iter().any(|name| {
                    is_within(name, owner) || parent(owner).is_some_and(|up| owner.starts_with(b"\x01*") && is_within(name, up))
                })
            };
            if owner.as_deref().is_some_and(matters) {
                let _ = writeln!(text, "      {line}");
            }
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
        for (kind, count) in &self.theirs {
            writeln!(f, "  {count:>8} faults of {kind}")?;
        }
        for (kind, count) in &self.different {
            writeln!(f, "  {count:>8} different: {kind}")?;
        }
        Ok(())
    }
}
