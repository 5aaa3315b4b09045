//! Zones as values: what a zone file says, parsed and checked, before it is compiled into a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Instance, Label, Name, Period, Policy, Service, ZoneSigning};

/// A DNS zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// The apex, which is the file's name.
    pub apex: Name,
    /// The file, as people know it.
    pub file: String,
    /// Whether services are shown in it.
    pub services: bool,
    /// Name servers: NS records of the apex.
    pub ns: Vec<Name>,
    /// TTL of those NS records, in seconds; default [`APEX_TTL`].
    pub ns_ttl: u32,
    /// Start of authority.
    pub soa: Soa,
    /// TTLs.
    pub ttl: ZoneTtl,
    /// Static RRsets by owner name and type; NS and SOA of the apex are not among them.
    pub records: BTreeMap<(Name, u16), RecordSet>,
    /// Names with a policy of their own.
    pub names: BTreeMap<Name, Policy>,
    /// Those of them that were written as ALIAS: their policy answers addresses alone, and static records may stand beside it.
    pub aliases: BTreeMap<Name, AliasOf>,
    /// Services that the file defines, which API calls cannot change.
    pub defined: BTreeMap<Label, Defined>,
    /// The keys that it is signed with, which no zone file says; `None`: it is not signed.
    pub signing: Option<Arc<ZoneSigning>>,
    /// Whether its records are wanted once it is compiled: it may be changed, or is copied from another server. Those of a zone that is signed are
    /// wanted in any case.
    pub held: bool,
}

impl Zone {
    /// A zone with nothing in it but its apex, where `primary` is the only name server.
    pub fn new(apex: Name, file: &str, primary: Name, serial: u32) -> Zone {
        // A contact is hostmaster@ the zone unless it says otherwise (RFC 2142 §7).
        let contact = apex.child(b"hostmaster").unwrap_or_else(|| apex.clone());
        Zone {
            apex,
            file: file.into(),
            services: false,
            ns: vec![primary.clone()],
            ns_ttl: APEX_TTL,
            soa: Soa::new(primary, contact, serial),
            ttl: ZoneTtl::default(),
            records: BTreeMap::new(),
            names: BTreeMap::new(),
            aliases: BTreeMap::new(),
            defined: BTreeMap::new(),
            signing: None,
            held: true,
        }
    }
}

impl Zone {
    /// Whether it came signed: no zone file holds signatures, so a primary made them.
    pub fn is_signed_elsewhere(&self) -> bool {
        self.records.contains_key(&(self.apex.clone(), RRSIG))
    }
}

const RRSIG: u16 = 46;

/// What an ALIAS (also called ANAME) says: a name has the addresses of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasOf {
    /// The other name, which this server answers too.
    pub name: Name,
    /// The longest TTL of an answer, in seconds.
    pub ttl: u32,
}

/// An RRset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSet {
    /// Seconds.
    pub ttl: u32,
    /// RDATA of each record, uncompressed.
    pub rdata: Vec<Box<[u8]>>,
}

/// The SOA record of a zone (RFC 1035 §3.3.13). Its MINIMUM is [`ZoneTtl::negative`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa {
    /// TTL of the record, in seconds; default [`APEX_TTL`].
    pub ttl: u32,
    /// MNAME, the primary name server; default: the first of the zone's name servers.
    pub primary: Name,
    /// RNAME, the mail address of who is responsible; default `hostmaster.<apex>`.
    pub contact: Name,
    /// The serial (RFC 1982 arithmetic).
    pub serial: u32,
    /// Whether the zone's file says it; else it is made from the time of writing, and moves with what the file says.
    pub own_serial: bool,
    /// Seconds until a secondary looks at the serial again; default 7,200 (RFC 1912 §2.2, as the other two).
    pub refresh: u32,
    /// Seconds until it tries again after it could not; default 900.
    pub retry: u32,
    /// Seconds until it gives the zone up; default 1,209,600.
    pub expire: u32,
}

impl Soa {
    /// An SOA with the default timers.
    pub fn new(primary: Name, contact: Name, serial: u32) -> Soa {
        Soa { ttl: APEX_TTL, primary, contact, serial, own_serial: false, refresh: 7_200, retry: 900, expire: 1_209_600 }
    }
}

/// Default TTL of the apex's SOA and NS, in seconds. They change rarely, and resolvers keep asking the parent for a zone whose NS is
/// short-lived.
pub const APEX_TTL: u32 = 3600;

/// TTLs of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneTtl {
    /// Least TTL of an answer that depends on health; default 5 s.
    pub min: Period,
    /// Most; also the TTL of static records that name none; default 30 s.
    pub max: Period,
    /// TTL of NODATA and NXDOMAIN (RFC 2308); default 5 s.
    pub negative: Period,
}

impl Default for ZoneTtl {
    fn default() -> ZoneTtl {
        ZoneTtl { min: Period::seconds(5), max: Period::seconds(30), negative: Period::seconds(5) }
    }
}

/// A service that a zone file defines, and the instances that stand beside it there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Defined {
    /// Its settings.
    pub service: Service,
    /// Instances that need no registration.
    pub instances: BTreeMap<Label, Instance>,
}
