//! What was last good, as documents that outlive the process: a zone, or the geo data, with the texts of all files that it was read from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::sources::{Source, Sources, Text};
use super::world::{GEO, KEPT};
use crate::model::Settings;

/// The form of the documents.
const VERSION: u8 = 1;

/// One zone, or the geo data, as it was last good.
#[derive(Debug, Clone)]
pub struct LastText {
    /// The name of its zone file; `geo/` for geo data.
    pub name: String,
    source: Arc<Source>,
}

/// Why a document of [`LastText`] is none.
#[derive(Debug, thiserror::Error)]
pub enum LastError {
    /// It is not of this form.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// A later Signpost wrote it.
    #[error("is of version {0}, and this Signpost knows version {VERSION}")]
    Version(u8),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u8,
    name: String,
    /// By path: from the folder of zones or geo data on, or absolute.
    texts: BTreeMap<String, DocumentText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentText {
    /// When the file was written, in seconds since 1970: the serial of a zone that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<u64>,
    text: String,
}

impl Sources {
    /// What is worth writing down, in the order of names. Zones that are copied from other servers are kept where they came to.
    pub fn last_texts(&self) -> impl Iterator<Item = LastText> + '_ {
        let ours = self.files.iter().filter(|(name, _)| !name.starts_with(KEPT));
        ours.map(|(name, source)| LastText { name: name.clone(), source: source.clone() })
    }

    /// Whether nothing was good yet.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What was good, from what was written down of it.
    pub fn of_last(texts: impl IntoIterator<Item = LastText>) -> Sources {
        let files = texts.into_iter().map(|LastText { name, source }| (name, source)).collect();
        Sources { files, tried: BTreeMap::new() }
    }
}

impl LastText {
    /// Whether both have the same texts.
    pub fn is_same(&self, other: &LastText) -> bool {
        Arc::ptr_eq(&self.source, &other.source) || self.source.is_same(&other.source)
    }

    /// As a document.
    pub fn to_document(&self, settings: &Settings) -> String {
        let folder = folder(&self.name, settings);
        let texts = self.source.texts.iter().filter_map(|(path, text)| {
            let modified = text.print.as_ref().and_then(|print| print.1?.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
            let path = path.strip_prefix(folder).unwrap_or(path).to_str()?;
            Some((path.to_string(), DocumentText { modified, text: text.text.as_deref()?.to_string() }))
        });
        let document = Document { version: VERSION, name: self.name.clone(), texts: texts.collect() };
        // Strings and numbers alone.
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// Reads a document.
    ///
    /// # Errors
    /// It is none, or of a later version.
    pub fn of_document(document: &str, settings: &Settings) -> Result<LastText, LastError> {
        let Document { version, name, texts } = serde_json::from_str(document)?;
        if version != VERSION {
            return Err(LastError::Version(version));
        }
        let folder = folder(&name, settings).to_owned();
        let text = |(path, DocumentText { modified, text }): (String, DocumentText)| {
            let path: PathBuf = folder.join(path);
            let modified = modified.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
            let print = Some((path.clone(), modified, text.len() as u64, 0));
            (path, Text { text: Some(text.into()), print })
        };
        let source = Source { texts: texts.into_iter().map(text).collect() };
        Ok(LastText { name, source: source.into() })
    }
}

fn folder<'s>(name: &str, settings: &'s Settings) -> &'s Path {
    if name == GEO { &settings.geo_dir } else { &settings.zones_dir }
}

#[cfg(test)]
mod tests {
    use super::super::{Reread, world};
    use super::*;

    /// Files, what is read of them with what was last good, and what is refused and kept.
    fn check(settings: &Settings, last: &[String], expected: &str) -> Vec<String> {
        let last: Vec<LastText> = last.iter().map(|document| LastText::of_document(document, settings).unwrap()).collect();
        let loaded = Reread::new(settings.clone(), Sources::of_last(last)).world().unwrap();
        let mut said: Vec<String> = loaded.zones.iter().map(|zone| format!("{} {}", zone.apex, zone.records.len())).collect();
        said.extend(loaded.geo.regions.iter().flatten().map(|(region, _)| format!("region {region}")));
        let root = settings.zones_dir.parent().unwrap().display().to_string() + "/";
        said.extend(loaded.refused.iter().map(|finding| finding.to_string().replace(&root, "")));
        said.extend(
            loaded.kept.iter().map(|kept| format!("{}: {}", kept.file.replace(&root, ""), if kept.serves { "kept" } else { "out" })),
        );
        assert_eq!(said.join("\n"), expected);
        loaded.sources.last_texts().map(|text| text.to_document(settings)).collect()
    }

    #[test]
    fn what_was_good_is_read_again_from_documents_where_files_are_broken() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let settings = Settings {
            file: Some(path("signpost.toml")),
            zones_dir: path("zones"),
            geo_dir: path("geo"),
            data_dir: path("data"),
            ..Settings::default()
        };
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        ["zones", "geo"].iter().for_each(|name| std::fs::create_dir(path(name)).unwrap());
        write("geo/regions.toml", "[regions]\neu = { azs = [\"a\"] }\n");
        let zone = "@ 60 SOA ns hostmaster 1 2 3 4 5\n@ 60 NS ns\n@ 60 NS ns.example.\nns 60 A 192.0.2.1\n$INCLUDE hosts\n";
        write("zones/b.test.zone", zone);
        write("zones/hosts", "www 60 A 192.0.2.2\n");
        write("zones/a.test.toml", "ns = [\"ns.example.\", \"ns2.example.\"]\n[records]\nwww = { A = [\"192.0.2.3\"] }\n");
        let good = check(&settings, &[], "a.test. 1\nb.test. 2\nregion eu");
        assert_eq!(good.len(), 3, "{good:?}");

        // As they are now they are broken; a third never was good.
        write("zones/a.test.toml", "ns = 3\n");
        write("zones/hosts", "www 60 A 192.0.2.300\n");
        write("zones/c.test.toml", "x\n");
        write("geo/regions.toml", "[regions]\neu = { azs = 3 }\n");
        assert!(world(&settings).is_err());
        let said = "a.test. 1\nb.test. 2\nregion eu\n\
            geo/regions.toml:2: regions.eu.azs: a list is expected, not integer `3`\n\
            zones/a.test.toml:1: ns: a list is expected, not integer `3`\nzones/c.test.toml:1: key with no value, expected `=`\n\
            zones/hosts:1: www: address: an IPv4 address is expected, not \"192.0.2.300\"; A is written \"192.0.2.1\"\n\
            a.test.toml: kept\nb.test.zone: kept\nc.test.toml: out\ngeo: kept";
        assert_eq!(check(&settings, &good, said), good, "what was good stays so");
        // What nobody wrote down cannot be kept.
        assert!(Reread::new(settings.clone(), Sources::default()).world().is_err(), "geo data");
    }

    #[test]
    fn odd_documents_are_refused_with_the_reason() {
        let refuse = |document: &str, reason: &str| {
            let error = LastText::of_document(document, &Settings::default()).unwrap_err().to_string();
            assert!(error.contains(reason), "{document}: {error}");
        };
        refuse("", "EOF");
        refuse(r#"{"version":2,"name":"a.test.toml","texts":{}}"#, "is of version 2, and this Signpost knows version 1");
        refuse(r#"{"version":1,"name":"a.test.toml","texts":{"a":{"text":3}}}"#, "expected a string");
    }
}
