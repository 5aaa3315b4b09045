//! Files that are written whole: whoever reads one, also after a power cut, finds the one before or the new one, and no half of any.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes a file in the place of the one there may be. It is durable when this returns.
pub(super) fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    Written::beside(path, octets)?.take_place()
}

/// The same of a file that nobody but the server may read.
pub(super) fn replace_private(path: &Path, octets: &[u8]) -> io::Result<()> {
    Written::beside_as(path, octets, 0o600)?.take_place()
}

/// Brings to disk which files are in a folder.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file that is on disk beside its place, and not in it yet.
#[must_use]
pub(super) struct Written {
    half: PathBuf,
    whole: PathBuf,
}

impl Written {
    /// Writes what is to be at `path`, in a folder that must be there.
    pub fn beside(path: &Path, octets: &[u8]) -> io::Result<Written> {
        Written::beside_as(path, octets, 0o666)
    }

    fn beside_as(path: &Path, octets: &[u8], mode: u32) -> io::Result<Written> {
        let half = path.with_extension("part");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&half)?;
        file.write_all(octets)?;
        file.sync_all()?;
        Ok(Written { half, whole: path.to_owned() })
    }

    /// Puts it in its place. It is durable when this returns.
    pub fn take_place(self) -> io::Result<()> {
        fs::rename(&self.half, &self.whole)?;
        self.whole.parent().map_or(Ok(()), sync_folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_as_before_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serials.json");
        assert!(replace(&folder.path().join("missing/serials.json"), b"one").is_err());
        replace(&path, b"one").unwrap();
        let two = Written::beside(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        two.take_place().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        // A folder in its way: nothing is lost.
        fs::create_dir(path.with_extension("part")).unwrap();
        assert!(replace(&path, b"three").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn what_is_private_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.private");
        replace(&path, b"open").unwrap();
        replace_private(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no half of it stays");
    }
}
