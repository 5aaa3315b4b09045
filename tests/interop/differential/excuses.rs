//! Where servers may differ: each rule names the RFC that lets them, and holds for nothing else.

use super::compare::{Aspect, Known, aliases, is_part};
use super::message::{ANY, CNAME, DS, Message, Record, upwards};
use super::peers::Kind;
use super::queries::{Query, host};

/// A query with two replies that are not alike.
pub struct Difference<'d> {
    pub query: &'d Query,
    pub ours: &'d Message,
    pub theirs: &'d Message,
    pub peer: Kind,
    pub known: &'d Known,
    pub aspects: &'d [Aspect],
}

/// Why a difference is no defect of ours.
pub struct Excuse {
    pub name: &'static str,
    /// The section that lets both, or that asks for what we do.
    pub rfc: &'static str,
    pub allows: Allows,
    pub holds: fn(&Difference<'_>) -> bool,
}

/// What an RFC allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allows {
    Both,
    OursAlone,
}

/// All of them. The first that holds is counted.
pub const EXCUSES: &[Excuse] = &[
    Excuse {
        name: "each answers ANY with an RRset of its choice",
        rfc: "RFC 8482 §4.1",
        allows: Allows::Both,
        holds: |d| {
            let chosen = d.is_one_set(d.ours) && !d.theirs.answer().is_empty() && d.known.holds(d.theirs.answer());
            d.query.rtype == ANY && chosen && d.is_only(&[Aspect::Answer, Aspect::Truncated])
        },
    },
    Excuse {
        name: "RRSIG may stand beside a CNAME, so the alias is not followed",
        rfc: "RFC 4035 §2.5",
        allows: Allows::Both,
        holds: |d| {
            let followed = d.ours.answer().first().is_some_and(|first| first.rtype == CNAME);
            let no_data = d.theirs.rcode == 0 && d.theirs.answer().is_empty();
            d.peer == Kind::Knot && d.query.rtype == RRSIG && followed && no_data
        },
    },
    Excuse {
        name: "a chain of aliases that comes round ends where the server sees it",
        rfc: "RFC 1034 §3.6.2",
        allows: Allows::Both,
        holds: |d| {
            let last = d.ours.answer().last().and_then(host);
            let round = last.is_some_and(|name| d.ours.answer().iter().any(|r| r.rtype == CNAME && r.owner == name));
            let part = !d.theirs.answer().is_empty() && is_part(d.theirs.answer(), d.ours.answer());
            round && part && d.is_only(&[Aspect::Answer, Aspect::Order])
        },
    },
    Excuse {
        name: "an alias to another zone of the server is left to the resolver",
        rfc: "RFC 1034 §5.3.3 4c",
        allows: Allows::Both,
        holds: |d| {
            let leaves = d.theirs.answer().last().is_some_and(|last| {
                let zone = |name: &[u8]| d.known.zone_of(name).map(|zone| &zone.apex);
                let to = host(last);
                to.is_some_and(|to| zone(&to).is_some() && zone(&to) != zone(&last.owner))
            });
            let begin = aliases(d.ours).starts_with(&aliases(d.theirs)) && is_part(d.theirs.answer(), d.ours.answer());
            d.peer == Kind::Knot && leaves && begin && !d.aspects.contains(&Aspect::Authoritative)
        },
    },
    Excuse {
        name: "a chain of aliases is followed so far and no farther",
        rfc: "RFC 1034 §5.3.3 4c",
        allows: Allows::Both,
        holds: |d| {
            let theirs = aliases(d.theirs);
            let begin = aliases(d.ours).starts_with(&theirs) && d.theirs.answer().len() == theirs.len();
            let bare = d.theirs.rcode == 0 && d.theirs.authority().is_empty();
            d.peer == Kind::Knot && theirs.len() == KNOT_FOLLOWS && begin && bare && !d.aspects.contains(&Aspect::Authoritative)
        },
    },
    Excuse {
        name: "the DS of a child's apex is in the zone above, also behind an alias",
        rfc: "RFC 4035 §3.1.4.1",
        allows: Allows::OursAlone,
        holds: |d| {
            let last = d.theirs.answer().iter().rfind(|r| r.rtype == CNAME).and_then(host);
            let child = last.is_some_and(|name| d.known.zones.iter().skip(1).any(|zone| zone.apex == name));
            d.peer == Kind::Knot && d.query.rtype == DS && child && d.is_only(&[Aspect::Answer, Aspect::Soa])
        },
    },
    Excuse {
        name: "what the zone above has below the cut makes no name in the child",
        rfc: "RFC 1034 §4.2",
        allows: Allows::OursAlone,
        holds: |d| {
            let last = d.ours.answer().iter().rfind(|r| r.rtype == CNAME).and_then(host);
            let name = last.unwrap_or_else(|| d.query.folded());
            let Some(zone) = d.known.zone_of(&name) else { return false };
            let above = d.known.zones.iter().filter(|other| other.apex != zone.apex);
            let strange = |encloser: &[u8]| !zone.has_name(encloser) && above.clone().any(|other| other.has_name(encloser));
            d.peer == Kind::Nsd
                && upwards(&name).take_while(|n| *n != zone.apex).any(strange)
                && !d.aspects.contains(&Aspect::Authoritative)
        },
    },
];

const RRSIG: u16 = 46;
/// How many aliases Knot 3.2 puts into one answer.
const KNOT_FOLLOWS: usize = 5;

impl Difference<'_> {
    /// Whether nothing else differs.
    fn is_only(&self, aspects: &[Aspect]) -> bool {
        self.aspects.iter().all(|aspect| aspects.contains(aspect))
    }

    /// Whether a reply is one whole RRset of the name that is asked for.
    fn is_one_set(&self, message: &Message) -> bool {
        let Some(first) = message.answer().first() else { return false };
        let of_set = |r: &Record| r.owner == self.query.folded() && r.rtype == first.rtype;
        message.answer().iter().all(of_set) && message.answer().len() == self.known.set_length(first) && self.known.holds(message.answer())
    }
}
