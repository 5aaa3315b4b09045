//! Keys on disk: `keys/<apex>/` in the data folder, for nobody but the server.
//!
//! ```text
//!   keys/clock.json                       when the keys were last watched
//!   keys/svc.example/keys.json            the keys and how far each has come (`sign::ZoneKeys`)
//!   keys/svc.example/Ksvc.example.+013+12345.private    as other servers read it, with its .key
//! ```
//! A file is written whole and synced before anything follows from it. A zone's folder appears with its keys in it, so one without its
//! `keys.json`, or without a private key that this names, has lost something: nothing is made in its place.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{Algorithm, KeyRole, Name};
use crate::serve::durable::{replace_private, sync_folder};
use crate::sign::{PrivateKey, Watched, ZoneKeys, digest, formats};

/// The most that is read of a file.
const LARGEST: u64 = 1 << 20;
/// The list of a zone's keys.
const LIST: &str = "keys.json";
/// When the keys were last watched.
const CLOCK: &str = "clock.json";

/// The private keys of a zone, by tag.
pub(super) type Private = BTreeMap<u16, Arc<PrivateKey>>;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub(super) struct ShelfError {
    pub path: PathBuf,
    pub reason: String,
}

#[derive(Debug, Clone)]
pub(super) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// In this folder, which need not be there yet.
    pub fn new(folder: PathBuf) -> Shelf {
        Shelf { folder }
    }

    /// The keys of a zone; `None`: it never had any.
    pub fn load(&self, apex: &Name) -> Result<Option<(ZoneKeys, Private)>, ShelfError> {
        let folder = self.of(apex);
        let list = folder.join(LIST);
        let text = match read(&list) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let reason = "the list of the zone's keys is missing, and no new keys are made where there were some: put it back, or, if \
                              the parent has no DS of them, take the folder away";
                return Err(wrong(&list, reason));
            }
            Err(error) => return Err(wrong(&list, error)),
        };
        let keys: ZoneKeys = serde_json::from_slice(&text).map_err(|error| wrong(&list, error))?;
        keys.check().map_err(|error| wrong(&list, error))?;
        let mut private = Private::new();
        for key in keys.keys() {
            let path = folder.join(file_name(apex, key.algorithm, key.tag) + ".private");
            let text = read(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => wrong(&path, "the private key is missing, and none is made in its place: put it back"),
                _ => wrong(&path, error),
            })?;
            let ours = formats::private_key(&String::from_utf8_lossy(&text)).map_err(|error| wrong(&path, error))?;
            if *ours.public() != *key.public {
                return Err(wrong(&path, format!("it is another key than that with tag {} in {LIST}", key.tag)));
            }
            warn_if_open(&path);
            private.insert(key.tag, Arc::new(ours));
        }
        Ok(Some((keys, private)))
    }

    /// Writes the first keys of a zone: all of them, or none.
    pub fn create(&self, apex: &Name, keys: &ZoneKeys, private: &[(KeyRole, Arc<PrivateKey>)]) -> Result<(), ShelfError> {
        let (whole, half) = (self.of(apex), self.folder.join(format!("{}.part", folder_name(apex))));
        let made = || -> Result<(), (PathBuf, io::Error)> {
            let at = |path: &Path| {
                let path = path.to_owned();
                move |error| (path, error)
            };
            make_folder(&self.folder).map_err(at(&self.folder))?;
            match fs::remove_dir_all(&half) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((half.clone(), error)),
                _ => {}
            }
            make_folder(&half).map_err(at(&half))?;
            for (role, key) in private {
                put_key(&half, apex, *role, key).map_err(at(&half))?;
            }
            put_list(&half, keys).map_err(at(&half))?;
            fs::rename(&half, &whole).and_then(|()| sync_folder(&self.folder)).map_err(at(&whole))
        };
        made().map_err(|(path, error)| wrong(&path, error))
    }

    /// Writes a key beside those that a zone has.
    pub fn add(&self, apex: &Name, role: KeyRole, key: &PrivateKey) -> Result<(), ShelfError> {
        let folder = self.of(apex);
        put_key(&folder, apex, role, key).map_err(|error| wrong(&folder, error))
    }

    /// Writes the list of a zone's keys.
    pub fn write(&self, apex: &Name, keys: &ZoneKeys) -> Result<(), ShelfError> {
        let folder = self.of(apex);
        put_list(&folder, keys).map_err(|error| wrong(&folder.join(LIST), error))
    }

    /// Takes away the files of keys that the list has no more.
    pub fn sweep(&self, apex: &Name, gone: &[(Algorithm, u16)]) {
        for (algorithm, tag) in gone {
            for kind in ["private", "key"] {
                let path = self.of(apex).join(format!("{}.{kind}", file_name(apex, *algorithm, *tag)));
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!(file = %path.display(), %error, "a key that is not used any more cannot be removed");
                    }
                    _ => {}
                }
            }
        }
    }

    /// When the keys were last watched, as far as is known.
    pub fn watched(&self) -> Option<Watched> {
        serde_json::from_slice(&read(&self.folder.join(CLOCK)).ok()?).ok()
    }

    /// Writes down that the keys are watched.
    pub fn watch(&self, watched: Watched) -> Result<(), ShelfError> {
        let path = self.folder.join(CLOCK);
        let written = || {
            make_folder(&self.folder)?;
            replace_private(&path, &serde_json::to_vec(&watched)?)
        };
        written().map_err(|error| wrong(&path, error))
    }

    /// The folder of a zone.
    fn of(&self, apex: &Name) -> PathBuf {
        self.folder.join(folder_name(apex))
    }
}

fn wrong(path: &Path, reason: impl ToString) -> ShelfError {
    ShelfError { path: path.to_owned(), reason: reason.to_string() }
}

/// An apex as a file's name: without its last dot, and with what no file name holds written out.
fn folder_name(apex: &Name) -> String {
    match apex.to_string().trim_end_matches('.').replace('/', "\\047") {
        root if root.is_empty() => "@".into(),
        name => name,
    }
}

/// The name that other servers give a key's files.
fn file_name(apex: &Name, algorithm: Algorithm, tag: u16) -> String {
    format!("K{}.+{:03}+{tag:05}", folder_name(apex), algorithm.number())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path)?.len() {
        0..=LARGEST => fs::read(path),
        _ => Err(io::Error::other("the file is too large to be what it should be")),
    }
}

fn put_key(folder: &Path, apex: &Name, role: KeyRole, key: &PrivateKey) -> io::Result<()> {
    let name = file_name(apex, key.algorithm(), digest::key_tag(&key.dnskey(role)));
    replace_private(&folder.join(format!("{name}.private")), formats::private_text(key).as_bytes())?;
    replace_private(&folder.join(format!("{name}.key")), formats::public_text(apex, role, key).as_bytes())
}

fn put_list(folder: &Path, keys: &ZoneKeys) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(keys)?;
    text.push(b'\n');
    replace_private(&folder.join(LIST), &text)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Says so where others may read a private key.
fn warn_if_open(path: &Path) {
    if let Ok(about) = fs::metadata(path)
        && about.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(file = %path.display(), "others than the server may read this private key; `chmod 600` mends it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::sign::{Secret, Step, Timing};

    const TIMING: Timing = Timing {
        dnskey_ttl: 60,
        longest_ttl: 60,
        ds_ttl: 60,
        propagation: std::time::Duration::ZERO,
        parent_propagation: std::time::Duration::ZERO,
        zsk_lifetime: std::time::Duration::ZERO,
    };

    fn begun(shelf: &Shelf, apex: &Name) -> (ZoneKeys, Arc<PrivateKey>) {
        let key = Arc::new(PrivateKey::new(Algorithm::EcdsaP256Sha256, Secret([7; 32])).unwrap());
        let keys = ZoneKeys::begin(&[(KeyRole::Csk, &key)], false, &TIMING, Timestamp(5)).unwrap();
        shelf.create(apex, &keys, &[(KeyRole::Csk, key.clone())]).unwrap();
        (keys, key)
    }

    #[test]
    fn keys_are_kept_for_their_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path().join("data/keys"));
        for (apex, folder) in [("svc.example", "svc.example"), ("0/25.2.0.192.in-addr.arpa", "0\\04725.2.0.192.in-addr.arpa"), (".", "@")] {
            let apex = Name::parse(apex).unwrap();
            assert!(shelf.load(&apex).unwrap().is_none());
            let (mut keys, key) = begun(&shelf, &apex);
            let folder = home.path().join("data/keys").join(folder);
            assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
            let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
            assert_eq!(files.len(), 3, "{files:?}");
            assert!(files.iter().all(|file| file.metadata().unwrap().permissions().mode() & 0o777 == 0o600));
            let (again, private) = shelf.load(&apex).unwrap().unwrap();
            assert_eq!((again, private.values().next().unwrap().public()), (keys.clone(), key.public()));
            keys.confirm(Timestamp(9));
            keys.take(Step::Submit(keys.keys()[0].tag));
            shelf.write(&apex, &keys).unwrap();
            assert_eq!(shelf.load(&apex).unwrap().unwrap().0, keys);
        }
        assert_eq!(shelf.watched(), None);
        let watched = Watched { run: 7, seen: Timestamp(1_700_000_000_000) };
        shelf.watch(watched).unwrap();
        assert_eq!(shelf.watched(), Some(watched));
    }

    #[test]
    fn what_is_lost_or_broken_is_said_and_nothing_is_made_in_its_place() {
        let home = tempfile::tempdir().unwrap();
        let (shelf, apex) = (Shelf::new(home.path().into()), Name::parse("svc.example").unwrap());
        let (keys, _) = begun(&shelf, &apex);
        let folder = home.path().join("svc.example");
        let name = file_name(&apex, Algorithm::EcdsaP256Sha256, keys.keys()[0].tag);
        let check = |file: &str, text: Option<&str>, said: &str| {
            let path = folder.join(file);
            let before = fs::read(&path).unwrap();
            match text {
                None => fs::remove_file(&path).unwrap(),
                Some(text) => fs::write(&path, text).unwrap(),
            }
            let error = shelf.load(&apex).unwrap_err();
            assert!(error.path == path && error.reason.contains(said), "{error}");
            fs::write(&path, before).unwrap();
            shelf.load(&apex).unwrap().unwrap();
        };
        check("keys.json", None, "the list of the zone's keys is missing");
        check("keys.json", Some("{"), "EOF");
        check("keys.json", Some("{}"), "missing field");
        let private = format!("{name}.private");
        check(&private, None, "the private key is missing");
        check(&private, Some(""), "is expected");
        let other = PrivateKey::new(Algorithm::EcdsaP256Sha256, Secret([8; 32])).unwrap();
        check(&private, Some(&formats::private_text(&other)), "another key than that with tag");
        // What a crash left half made is no key.
        fs::create_dir(home.path().join("new.example.part")).unwrap();
        let new = Name::parse("new.example").unwrap();
        assert!(shelf.load(&new).unwrap().is_none());
        begun(&shelf, &new);
    }
}
