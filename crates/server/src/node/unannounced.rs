//! New copies that the registry does not know yet. Such a copy holds nothing, and a file beside it says so.
//!
//! ```text
//! shards/KEYSPACE/SHARD/
//!   UNANNOUNCED   from before the copy is made until the registry has it
//!   copy/         the copy
//! ```
//!
//! A node may die between the two. When it starts again, the file tells the copy from one that may hold something, whatever the registry says by
//! then: it is announced as a new one, and removed if its shard is no more.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The name of the file.
const NAME: &str = "UNANNOUNCED";

/// That a copy was not announced yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unannounced {
    home: PathBuf,
}

impl Unannounced {
    /// Returns what is noted of the copy in a directory; `None` if it was announced. Of one that is not there, nor anything of it, that is noted
    /// durably first.
    ///
    /// # Errors
    /// When the disk refuses: nothing of a copy is there.
    pub(super) fn of(home: &Path) -> io::Result<Option<Self>> {
        let note = Self {
            home: home.to_owned(),
        };
        if note.file().exists() {
            return Ok(Some(note));
        }
        fs::create_dir_all(home)?;
        // It is empty where a node died before it could note that.
        if fs::read_dir(home)?.next().is_some() {
            return Ok(None);
        }
        File::create(note.file())?.sync_all()?;
        sync(home)?;
        home.parent().map_or(Ok(()), sync)?;
        Ok(Some(note))
    }

    /// The copy is announced: it may hold something from now on, also after a power failure. Again changes nothing.
    ///
    /// # Errors
    /// When the disk refuses: it must hold nothing yet.
    pub(super) fn end(&self) -> io::Result<()> {
        match fs::remove_file(self.file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync(&self.home),
        }
    }

    fn file(&self) -> PathBuf {
        self.home.join(NAME)
    }
}

/// Makes durable which names are in a directory.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_new_until_it_is_announced() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let home = directory.path().join("main/shard-0");
        for _ in 0..2 {
            let found = Unannounced::of(&home)?.expect("it was not announced");
            // What died before it was announced has left something.
            fs::create_dir_all(home.join("copy"))?;
            assert!(found.file().exists());
        }
        let found = Unannounced::of(&home)?.expect("it was not announced");
        for _ in 0..2 {
            found.end()?;
            assert_eq!(Unannounced::of(&home)?, None);
        }
        Ok(())
    }

    #[test]
    fn a_directory_with_something_else_is_no_new_copy_and_an_empty_one_is() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let (old, empty) = (directory.path().join("old"), directory.path().join("empty"));
        fs::create_dir_all(old.join("aside-1"))?;
        assert_eq!(Unannounced::of(&old)?, None);
        fs::create_dir(&empty)?;
        assert!(Unannounced::of(&empty)?.is_some());
        Ok(())
    }
}
