//! The keys of `signpost.toml`, in one table, part by part: the file, the `SIGNPOST__…` variables and the reference all come from it.

mod dns;
mod dnssec;
mod peers;
mod server;

use std::path::{Path, PathBuf};

use toml::Value;

pub(super) use self::peers::{CATALOG, SECONDARY, TRANSFER, TSIG, UPDATE};
pub(super) use self::server::DRILLS;
use super::values::{folder, here};
use crate::model::{FieldError, Label, Settings};

/// A key.
pub(super) struct Key {
    /// Section and name: `dns.listen`.
    pub path: &'static str,
    /// What it says and its default, for the reference.
    pub about: &'static str,
    /// How its value is written in a variable.
    pub form: Form,
    /// Takes the value; relative paths are relative to the folder given.
    pub set: fn(&mut Draft, Value, &Path) -> Result<(), FieldError>,
}

/// How a variable's text becomes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it stands.
    Text,
    /// A whole number.
    Whole,
    /// `true` or `false`.
    Truth,
    /// Texts with commas between them, or a TOML list.
    List,
    /// As a list, of what no error may show.
    Secrets,
    /// A TOML list of inline tables, or one.
    Tables,
}

/// Settings on the way: what the file and the variables said so far.
pub(super) struct Draft {
    pub settings: Settings,
    pub region: Option<Label>,
    pub az: Option<Label>,
    pub audit: Option<PathBuf>,
    pub versioned: bool,
}

/// Every key of `signpost.toml` with what it says, in the order of the reference.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    all().map(|key| (key.path, key.about))
}

/// Every key, in the order of the reference.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [FILE, dns::KEYS, dnssec::KEYS, server::KEYS, peers::KEYS].into_iter().flatten()
}

/// The file itself.
const FILE: &[Key] = &[
    Key {
        path: "version",
        about: "the version of this file's format: 1; needed in every file",
        form: Form::Whole,
        set: |draft, value, _| {
            draft.versioned = true;
            match value {
                Value::Integer(1) => Ok(()),
                other => Err(here(format!("1 is expected, not {other}: this Signpost knows no other version"))),
            }
        },
    },
    Key {
        path: "data_dir",
        about: "folder of the embedded store and the audit log; default data",
        form: Form::Text,
        set: |draft, value, base| folder(value, base).map(|v| draft.settings.data_dir = v),
    },
];
