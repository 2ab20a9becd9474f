//! What a journal needs of a disk: the one place where files are touched.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::log::directory;

/// A directory. After an error nothing is known of what was asked for; whether it is tried again is the caller's decision.
pub(super) trait Disk: fmt::Debug + Send + 'static {
    /// An open file.
    type File: fmt::Debug + Send;

    /// Returns the names of all files.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Returns the content of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Makes an empty file, in place of one with that name.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file to write to it.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Writes at a place of a file, all or an error. The file grows as needed.
    fn write_at(&self, file: &mut Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was written to a file, and its length.
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;

    /// Gives a file another name, in place of one with that name. Durable after [`Disk::sync_names`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after [`Disk::sync_names`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which files there are.
    fn sync_names(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub(super) struct Directory(pub(super) PathBuf);

impl Disk for Directory {
    type File = File;

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(name))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        File::create(self.0.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::options().write(true).open(self.0.join(name))
    }

    fn write_at(&self, file: &mut File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        directory::sync(&self.0)
    }
}

/// Makes a directory, and those above it, so that none of them is lost.
pub(super) fn create_durably(directory: &Path) -> io::Result<()> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing = directory.ancestors().take_while(is_missing).count();
    fs::create_dir_all(directory)?;
    // The directory itself may be left from an attempt that ended before this.
    for path in directory.ancestors().take(missing.max(1)) {
        match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => directory::sync(Path::new("."))?,
            Some(parent) => directory::sync(parent)?,
            None => {}
        }
    }
    Ok(())
}
