//! Where the demo's database is: for the time of the demo, or in a directory of the user's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

/// The directory of the demo's database.
#[derive(Debug)]
pub(crate) enum Home {
    /// Removed at the end, however the demo ends.
    Temporary(TempDir),
    /// The user's, whose database stays.
    Kept(PathBuf),
    /// The user's, empty or absent at first: what is made in it goes unless it becomes complete.
    Unfinished { path: PathBuf, existed: bool },
}

impl Home {
    /// A temporary directory, or the one to keep.
    pub(crate) fn new(keep: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = keep else {
            let directory = tempfile::tempdir().context("make a temporary directory")?;
            return Ok(Self::Temporary(directory));
        };
        let path = path.to_owned();
        Ok(
            match path.read_dir().map(|mut entries| entries.next().is_none()) {
                Ok(true) => Self::Unfinished {
                    path,
                    existed: true,
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Unfinished {
                    path,
                    existed: false,
                },
                // What is in the way is for the database to refuse.
                Ok(false) | Err(_) => Self::Kept(path),
            },
        )
    }

    /// The path.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) | Self::Unfinished { path, .. } => path,
        }
    }

    /// Says that the database is complete.
    pub(crate) fn keep(&mut self) {
        if let Self::Unfinished { path, .. } = self {
            *self = Self::Kept(std::mem::take(path));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Self::Unfinished { path, existed } = self {
            // The failure that led here is what the user hears of.
            let _removed = remove(path, *existed);
        }
    }
}

fn remove(path: &Path, existed: bool) -> io::Result<()> {
    if !existed {
        return fs::remove_dir_all(path);
    }
    for entry in path.read_dir()? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_complete_goes_and_what_was_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (absent, empty) = (
            directory.path().join("absent"),
            directory.path().join("empty"),
        );
        fs::create_dir(&empty).unwrap();
        for path in [&absent, &empty] {
            let home = Home::new(Some(path)).unwrap();
            fs::create_dir_all(home.path()).unwrap();
            fs::write(home.path().join("shard-0.db"), "half").unwrap();
        }
        assert!(!absent.exists());
        assert_eq!(empty.read_dir().unwrap().count(), 0);

        fs::write(empty.join("letter"), "dear").unwrap();
        drop(Home::new(Some(&empty)).unwrap());
        assert_eq!(empty.read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_complete_database_stays() {
        let directory = tempfile::tempdir().unwrap();
        let mut home = Home::new(Some(directory.path())).unwrap();
        fs::write(home.path().join("shard-0.db"), "whole").unwrap();
        home.keep();
        drop(home);
        assert!(directory.path().join("shard-0.db").exists());
    }
}
