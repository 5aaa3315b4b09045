//! The keys of signed zones.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::words::zone;
use crate::model::Name;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeysOrder {
    /// Print the DS records of a zone for its parent, by SHA-256 and by SHA-384
    ///
    /// One of them is enough; SHA-256 is what every parent takes. Parents that read CDS or CDNSKEY (RFC 7344) find the same there.
    #[command(after_help = "Example:\n  signpost keys ds svc.example")]
    Ds {
        /// The zone's apex
        #[arg(value_parser = zone)]
        zone: Name,
    },
    /// Let a new key follow the one that a zone has
    ///
    /// A zone-signing key (zsk) is published, signs once every cache knows it, and the old one goes when its signatures are gone. A ksk or
    /// csk is published, then CDS and CDNSKEY ask the parent for its DS; the old one stays in use until `signpost keys ds-seen`.
    #[command(after_help = "Examples:\n  signpost keys roll svc.example csk\n  signpost keys roll svc.example zsk")]
    Roll {
        /// The zone's apex
        #[arg(value_parser = zone)]
        zone: Name,
        /// The role whose key is followed by another
        key: RoleArgument,
    },
    /// Say that every server of the parent has the DS of a key, and none that of the key before
    ///
    /// The key before goes once its DS is in no cache either. See with: dig DS ZONE @PARENT-SERVER, at each server of the parent.
    #[command(after_help = "Example:\n  signpost keys ds-seen svc.example 12345")]
    DsSeen {
        /// The zone's apex
        #[arg(value_parser = zone)]
        zone: Name,
        /// The tag of the key
        tag: u16,
    },
    /// Bring the keys of another server, so that the DS in the parent stays as it is
    ///
    /// Takes K*.private and K*.key files as BIND, Knot and ldns export them, and unencrypted PEM (PKCS #8): one key that signs everything,
    /// or a ksk and a zsk; ECDSA on P-256, or Ed25519. Import them before the zone stands in dnssec.zones: then it is signed with them from
    /// the start.
    #[command(
        after_help = "Examples:\n  signpost keys import svc.example Ksvc.example.+013+12345.private\n  signpost keys import svc.example key.pem"
    )]
    Import {
        /// The zone's apex
        #[arg(value_parser = zone)]
        zone: Name,
        /// Key files; the .key file of a .private file is found beside it
        #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
    },
    /// Lead a zone out of DNSSEC without a moment in which nobody can validate it
    ///
    /// 1. `signpost keys unsign ZONE`: CDS and CDNSKEY ask the parent to remove every DS (RFC 8078 §4); where it reads neither, ask it
    ///    yourself. The zone stays signed.
    /// 2. `signpost keys unsign ZONE --ds-gone`, once no server of the parent has a DS.
    /// 3. `signpost keys` says when no cache has one either: take the zone out of dnssec.zones then. Taken out before, it stays signed.
    #[command(
        verbatim_doc_comment,
        after_help = "Examples:\n  signpost keys unsign svc.example\n  signpost keys unsign svc.example --ds-gone\n  signpost keys unsign svc.example --undo"
    )]
    Unsign(UnsignArguments),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UnsignArguments {
    /// The zone's apex
    #[arg(value_parser = zone)]
    pub(in crate::cli) zone: Name,
    /// No server of the parent has a DS of the zone any more
    #[arg(long)]
    pub(in crate::cli) ds_gone: bool,
    /// Ask no more: the zone stays signed
    #[arg(long, conflicts_with = "ds_gone")]
    pub(in crate::cli) undo: bool,
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum RoleArgument {
    /// The keys
    Ksk,
    /// Everything else
    Zsk,
    /// Everything
    Csk,
}

impl RoleArgument {
    /// As the API has it.
    pub(in crate::cli) fn as_str(self) -> &'static str {
        match self {
            RoleArgument::Ksk => "ksk",
            RoleArgument::Zsk => "zsk",
            RoleArgument::Csk => "csk",
        }
    }
}
