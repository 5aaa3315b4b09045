//! The least zone that still shows a difference: lines are left out as long as the three say different things in the same way.

use super::lab::{Lab, apex_text, wire_name};
use super::message::is_within;
use super::queries::{Query, Shape};
use super::tally::{describe, kind_of};
use super::zones::Family;

/// A difference to make small.
pub struct Subject {
    pub family: Family,
    /// The family's number, which is in the query's name.
    pub number: usize,
    pub query: Query,
    pub kind: String,
}

impl Subject {
    /// The same with as little as possible: the query, the answers and all lines that are left.
    pub fn shrink(mut self) -> String {
        let plain = Query {
            name: self.query.folded(),
            shape: Shape { payload: Some(4096), dnssec_ok: false, recursion_desired: false },
            ..self.query
        };
        if self.survivors(std::slice::from_ref(&self.family), &plain) == [0] {
            self.query = plain;
        }
        let mut size = self.lines().len() / 2;
        while size > 0 {
            let lines = self.lines();
            let chunks: Vec<&[(usize, usize)]> = lines.chunks(size).collect();
            let without: Vec<Family> = chunks.iter().map(|chunk| self.without(chunk)).collect();
            let each = self.survivors(&without, &self.query);
            // Those that can each be left out, together: as many of them as can.
            let together: Vec<Family> =
                (0..each.len()).map(|n| self.without(&each[..=n].iter().flat_map(|k| chunks[*k]).copied().collect::<Vec<_>>())).collect();
            match self.survivors(&together, &self.query).last() {
                Some(most) => self.family = together[*most].clone(),
                None => size /= 2,
            }
        }
        let lab = Lab::start(std::slice::from_ref(&self.family));
        let query = self.query_of(&self.query, 0);
        let cases = lab.ask(&[(0, &query)]);
        let zones = self.family.zones.iter().map(|zone| zone.text(&apex_text(0)));
        format!("{}  all lines\n{}", describe(None, &cases[0]), zones.collect::<Vec<_>>().join("--\n"))
    }

    /// Which of these families show the same difference.
    fn survivors(&self, families: &[Family], query: &Query) -> Vec<usize> {
        if families.is_empty() {
            return Vec::new();
        }
        let lab = Lab::start(families);
        let loaded = lab.families().iter().enumerate().filter(|(_, known)| known.is_ok());
        let queries: Vec<(usize, Query)> = loaded.map(|(n, _)| (n, self.query_of(query, n))).collect();
        let asked: Vec<(usize, &Query)> = queries.iter().map(|(n, query)| (*n, query)).collect();
        let same = |case: &super::lab::Case<'_>| {
            let known = lab.families()[case.family].as_ref().ok()?;
            (kind_of(&lab.judge(case, known))? == self.kind).then_some(case.family)
        };
        lab.ask(&asked).iter().filter_map(same).collect()
    }

    /// The query as it is in the family of another number.
    fn query_of(&self, query: &Query, number: usize) -> Query {
        let apex = wire_name(&apex_text(self.number));
        match is_within(&query.folded(), &apex) {
            true => {
                Query { name: [&query.name[..query.name.len() - apex.len()], &wire_name(&apex_text(number))].concat(), ..query.clone() }
            }
            false => query.clone(),
        }
    }

    /// Every line, as the number of its zone and its own.
    fn lines(&self) -> Vec<(usize, usize)> {
        // Without an SOA there is no zone.
        self.family.zones.iter().enumerate().flat_map(|(zone, source)| (2..source.lines.len()).map(move |line| (zone, line))).collect()
    }

    fn without(&self, lines: &[(usize, usize)]) -> Family {
        let mut family = self.family.clone();
        for (n, zone) in family.zones.iter_mut().enumerate() {
            let mut line = 0..;
            zone.lines.retain(|_| !lines.contains(&(n, line.next().unwrap_or_default())));
        }
        // A zone of which nothing is left is none.
        family.zones.retain(|zone| zone.lines.len() > 1);
        family
    }
}
