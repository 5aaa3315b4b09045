//! Where servers may differ: each rule names the RFC that lets them, and holds for nothing else.

use super::compare::{Aspect, Known, aliases, is_part};
use super::message::{ANY, CNAME, DNAME, DS, Message, NS, Record, is_within, upwards};
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
        holds: |d| d.query.rtype == ANY && d.are_sets_of_one_name() && d.is_only(&[Aspect::Answer, Aspect::Order, Aspect::Truncated]),
    },
    Excuse {
        name: "the RCODE of a truncated reply says nothing: the client asks again",
        rfc: "RFC 2181 §9",
        allows: Allows::Both,
        holds: |d| d.theirs.has(Message::TC) && d.is_only(&[Aspect::Rcode]),
    },
    Excuse {
        name: "what a DNAME at a wildcard means is not defined",
        rfc: "RFC 4592 §4.4",
        allows: Allows::Both,
        holds: |d| {
            let wild = |r: &Record| r.rtype == DNAME && r.owner.starts_with(b"\x01*");
            let expanded = |r: &Record| r.rtype == DNAME && !d.known.stands(r);
            d.peer == Kind::Knot && d.ours.answer().iter().any(wild) && d.theirs.answer().iter().any(expanded)
        },
    },
    Excuse {
        name: "RRSIG may stand beside a CNAME, so the alias is not followed",
        rfc: "RFC 4035 §2.5",
        allows: Allows::Both,
        holds: |d| {
            let so_far = d.theirs.answer().len();
            let begin = d.ours.answer().starts_with(d.theirs.answer());
            let not_followed = d.ours.answer().get(so_far).is_some_and(|next| next.rtype == CNAME);
            d.peer == Kind::Knot && d.query.rtype == RRSIG && begin && not_followed && d.theirs.rcode == 0
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
            let zone = |name: &[u8]| d.known.zone_of(name).map(|zone| &zone.apex);
            let leaves = |r: &Record| host(r).is_some_and(|to| zone(&to).is_some() && zone(&to) != zone(&r.owner));
            let common = d.common();
            // At most it goes on with what its own zone has there, occluded as it is.
            let own = d.known.holds(&d.theirs.answer()[common..]);
            d.peer == Kind::Knot
                && own
                && d.ours.answer()[..common].last().is_some_and(leaves)
                && !d.aspects.contains(&Aspect::Authoritative)
        },
    },
    Excuse {
        name: "a DNAME that leads below itself is followed once",
        rfc: "RFC 1034 §5.3.3 4c",
        allows: Allows::Both,
        holds: |d| {
            let (ours, theirs) = (aliases(d.ours), aliases(d.theirs));
            let last = d.theirs.answer().last().and_then(host);
            let again = last.is_some_and(|to| theirs.iter().any(|(owner, rtype)| *rtype == DNAME && to != *owner && is_within(&to, owner)));
            let bare = d.theirs.rcode == 0 && d.theirs.authority().is_empty() && d.theirs.answer().len() == theirs.len();
            d.peer == Kind::Nsd && ours.starts_with(&theirs) && again && bare && !d.aspects.contains(&Aspect::Authoritative)
        },
    },
    Excuse {
        name: "where a DNAME makes a name too long, the answer ends with YXDOMAIN",
        rfc: "RFC 6672 §3.2 3C",
        allows: Allows::OursAlone,
        holds: |d| {
            let ends =
                d.ours.rcode == YXDOMAIN && d.ours.authority().is_empty() && d.ours.answer().last().is_some_and(|r| r.rtype == DNAME);
            d.peer == Kind::Knot && ends && d.theirs.answer().starts_with(d.ours.answer()) && !d.aspects.contains(&Aspect::Authoritative)
        },
    },
    Excuse {
        name: "without the SOA of a negative answer, a reply is truncated",
        rfc: "RFC 2308 §3, RFC 2181 §9",
        allows: Allows::OursAlone,
        holds: |d| {
            let left_out = d.theirs.authority().is_empty() && d.theirs.octets + LEAST_SOA > d.query.limit();
            d.peer == Kind::Knot && left_out && d.is_only(&[Aspect::Soa])
        },
    },
    Excuse {
        name: "a chain of aliases is followed so far and no farther",
        rfc: "RFC 1034 §5.3.3 4c",
        allows: Allows::Both,
        holds: |d| {
            let (shorter, longer, most) = match d.peer {
                Kind::Knot => (d.theirs, d.ours, KNOT_FOLLOWS),
                Kind::Nsd => (d.ours, d.theirs, WE_FOLLOW),
            };
            let followed = shorter.answer().iter().filter(|r| r.rtype == CNAME).count() == most;
            let begin =
                aliases(longer).starts_with(&aliases(shorter)) && shorter.answer().iter().all(|r| r.rtype == CNAME || r.rtype == DNAME);
            let bare = shorter.rcode == 0 && shorter.authority().is_empty();
            followed && begin && bare && !d.aspects.contains(&Aspect::Authoritative)
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
        name: "the DS of an apex that the zone above does not delegate is in neither zone",
        rfc: "RFC 4035 §3.1.4.1",
        allows: Allows::Both,
        holds: |d| {
            let name = d.ours.answer()[..d.common()].last().and_then(host).unwrap_or_else(|| d.query.folded());
            let [parent, child] = &d.known.zones[..] else { return false };
            let no_cut = name == child.apex && !parent.at(&name).any(|r| r.rtype == NS);
            // Behind a cut farther up, a referral there is as good.
            d.query.rtype == DS && no_cut
        },
    },
    Excuse {
        name: "what the zone above has below the cut makes no name in the child",
        rfc: "RFC 1034 §4.2",
        allows: Allows::OursAlone,
        holds: |d| {
            let names = d.ours.answer().iter().filter(|r| r.rtype == CNAME).filter_map(host).chain([d.query.folded()]);
            let strange = names.into_iter().any(|name| d.is_strange(&name));
            d.peer == Kind::Nsd && strange && !d.aspects.contains(&Aspect::Authoritative)
        },
    },
];

const RRSIG: u16 = 46;
const YXDOMAIN: u16 = 6;
/// Octets of an SOA record of ours at least: its owner and both names end in pointers.
const LEAST_SOA: usize = 12 + 5 + 7 + 20;
/// How many aliases Knot 3.2 puts into one answer, and how many we do; NSD all.
const KNOT_FOLLOWS: usize = 5;
const WE_FOLLOW: usize = 17;

impl Difference<'_> {
    /// Whether nothing else differs.
    fn is_only(&self, aspects: &[Aspect]) -> bool {
        self.aspects.iter().all(|aspect| aspects.contains(aspect))
    }

    /// How many records both answers begin with.
    fn common(&self) -> usize {
        self.ours.answer().iter().zip(self.theirs.answer()).take_while(|(ours, theirs)| ours == theirs).count()
    }

    /// Whether a name, one that it is below, or a wildcard beside one of those is in the other zone of the family alone.
    fn is_strange(&self, name: &[u8]) -> bool {
        let Some(zone) = self.known.zone_of(name) else { return false };
        let others = || self.known.zones.iter().filter(|other| other.apex != zone.apex);
        let alone = |name: &[u8]| !zone.has_name(name) && others().any(|other| other.has_name(name));
        let mut enclosers = upwards(name).filter(|n| is_within(n, &zone.apex));
        enclosers.any(|n| alone(n) || alone(&[b"\x01*", n].concat()))
    }

    /// Whether both answer, behind the same aliases, with RRsets of one name: ours whole, theirs true.
    fn are_sets_of_one_name(&self) -> bool {
        let (ours, theirs) = (self.ours.answer(), self.theirs.answer());
        let common = self.common();
        let name = ours[..common].last().and_then(host).unwrap_or_else(|| self.query.folded());
        let (ours, theirs) = (&ours[common..], &theirs[common..]);
        let whole = match ours.first() {
            Some(first) => ours.iter().all(|r| r.rtype == first.rtype) && ours.len() == self.known.set_length(first),
            // The DNAME of that name, which stands in the answer.
            None => self.ours.answer().iter().any(|r| r.rtype == DNAME && r.owner == name),
        };
        let of_name = ours.iter().chain(theirs).all(|r| r.owner == name);
        whole && !theirs.is_empty() && of_name && self.known.holds(ours) && self.known.holds(theirs)
    }
}
