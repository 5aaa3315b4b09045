//! What must hold between the parts of a zone, and between zones.
//!
//! A *finding* keeps a zone from being served: with it answers would be wrong, or resolvers would fail. A *warning* does not: the zone
//! is served as written, and its author may have meant something else. kzonecheck and named-checkzone are the measure: what either of
//! them refuses or warns of is said here, of zones that are not signed (`tests/interop/checks.rs` asks them).
//!
//! | file | looks at |
//! | --- | --- |
//! | [`aliases`] | CNAME and DNAME: alone, acyclic, leading somewhere |
//! | [`delegations`] | NS, DS, glue, and data that a delegation hides |
//! | [`leads`] | names in MX, SRV, SVCB, HTTPS and the SOA |
//! | [`habits`] | timers, TTLs, sizes, characters in names |
//! | [`services`] | services beside static records, and names with a policy |

mod aliases;
mod delegations;
mod habits;
mod leads;
mod services;
mod survey;
#[cfg(test)]
mod tests;

use super::document::Spot;
use super::finding::Notes;
use super::zone::Draft;
use survey::Survey;

/// Checks all zones together.
pub(super) fn check(drafts: &[Draft], notes: &mut Notes) {
    let defined = services::unique(drafts, notes);
    let survey = Survey::new(drafts, &defined);
    for draft in drafts {
        let mut look = Look { draft, survey: &survey, notes };
        aliases::check(&mut look);
        delegations::check(&mut look);
        leads::check(&mut look);
        habits::check(&mut look);
        services::check(draft, &defined, notes);
    }
}

/// One zone that is looked at, among all.
struct Look<'l> {
    draft: &'l Draft,
    survey: &'l Survey<'l>,
    notes: &'l mut Notes,
}

impl Look<'_> {
    /// Says what keeps the zone from being served.
    fn refuse(&mut self, spot: &Spot, reason: impl Into<String>) {
        self.notes.findings.push(spot.finding(&self.draft.zone.file, reason));
    }

    /// Says what deserves a second look.
    fn warn(&mut self, spot: &Spot, reason: impl Into<String>) {
        self.notes.warnings.push(spot.finding(&self.draft.zone.file, reason));
    }
}

/// `and 3 more` behind the first of several, where there are more.
fn and_more(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(" (and {more} more like it)"),
    }
}
