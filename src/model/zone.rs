//! Zones as values: what a zone file says, parsed and checked, before it is compiled into a snapshot.

use std::collections::BTreeMap;

use super::{Instance, Label, Name, Period, Policy, Service};

/// A DNS zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// The apex, which is the file's name.
    pub apex: Name,
    /// The file, as people know it.
    pub file: String,
    /// Whether services are shown in it.
    pub services: bool,
    /// Name servers: NS records of the apex; the first is the SOA's MNAME.
    pub ns: Vec<Name>,
    /// The SOA's RNAME; default `hostmaster.<apex>`.
    pub contact: Name,
    /// The SOA's serial (RFC 1982 arithmetic).
    pub serial: u32,
    /// TTLs.
    pub ttl: ZoneTtl,
    /// Static RRsets by owner name and type; NS and SOA of the apex are not among them.
    pub records: BTreeMap<(Name, u16), RecordSet>,
    /// Names with a policy of their own.
    pub names: BTreeMap<Name, Policy>,
    /// Services that the file defines, which API calls cannot change.
    pub defined: BTreeMap<Label, Defined>,
}

/// An RRset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSet {
    /// Seconds.
    pub ttl: u32,
    /// RDATA of each record, uncompressed.
    pub rdata: Vec<Box<[u8]>>,
}

/// Refresh, retry and expire of every SOA, in seconds: when a secondary looks at the serial, tries again, and gives up (RFC 1912 §2.2).
pub const SOA_TIMERS: [u32; 3] = [7_200, 900, 1_209_600];

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
