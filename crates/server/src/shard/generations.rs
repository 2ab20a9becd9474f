//! The files of a copy: one is in use, and a snapshot of another copy becomes the next one.
//!
//! ```text
//! DIRECTORY/
//!   shard-NUMBER.db      the file; of several, the one with the highest number
//!   received.db          a snapshot that is about to become one
//!   joined.db            the file with the rows of another one, which is about to become one
//!   sent-NUMBER.db       a snapshot on its way to another copy, if the file itself cannot be read
//! ```
//! A file is never replaced under those who read it: the next one gets another name, and the one before is removed once it is there.

use std::{
    fs::{self, File},
    io::{self, Read},
    mem,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use shardwright_store::{
    Applied, Config, Error as StoreError, FileBytes, Join, Replica, ShardFile, Snapshot,
};

use crate::threads::aside;

/// The files of a copy.
#[derive(Debug)]
pub(super) struct Generations {
    directory: PathBuf,
    number: u64,
    sent: AtomicU64,
}

impl Generations {
    /// Finds the file in use, and removes what a crash has left.
    pub(super) fn find(directory: &Path) -> io::Result<Self> {
        let mut found = Self {
            directory: directory.to_owned(),
            number: 0,
            sent: AtomicU64::new(0),
        };
        let names = found.names()?;
        let numbers = names.iter().filter_map(|name| number(name));
        found.number = numbers.max().unwrap_or(0);
        found.clean()?;
        Ok(found)
    }

    /// Returns the file in use, or where it is to be.
    pub(super) fn current(&self) -> PathBuf {
        self.file(self.number)
    }

    /// Lets a received snapshot be the next file, and returns that.
    pub(super) fn receive(
        &mut self,
        content: &mut dyn Read,
        config: &Config,
    ) -> Result<ShardFile, StoreError> {
        let received = self.directory.join(RECEIVED);
        ShardFile::receive(content, &received)?;
        let next = self.file(self.number + 1);
        let installed = aside(|| ShardFile::install(&received, next, &rand::random(), config))?;
        self.number += 1;
        Ok(installed)
    }

    /// Lets a file of the same file system be the next file, at a place in the log.
    pub(super) fn take(
        &mut self,
        from: &Path,
        applied: Applied,
        config: &Config,
    ) -> Result<ShardFile, StoreError> {
        let next = self.file(self.number + 1);
        let replica = Replica {
            id: rand::random(),
            applied,
        };
        let installed = ShardFile::install_at(from, next, &replica, config)?;
        self.number += 1;
        Ok(installed)
    }

    /// Lets what a snapshot shows, with the rows of another file, be the next file, at a place in the log.
    pub(super) fn join(
        &mut self,
        snapshot: Snapshot,
        (from, what): (&Path, &Join<'_>),
        applied: Applied,
        config: &Config,
    ) -> Result<ShardFile, StoreError> {
        let joined = self.directory.join(JOINED);
        snapshot.joined_to(&joined, from, what)?;
        drop(snapshot);
        self.take(&joined, applied, config)
    }

    /// Removes all files but the one in use.
    pub(super) fn clean(&self) -> io::Result<()> {
        let current = format!("shard-{}.db", self.number);
        for name in self.names()? {
            let is_data = name.starts_with("shard-") || name.starts_with("sent-");
            let is_current = name
                .strip_prefix(&current)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
            let is_next = [RECEIVED, JOINED].iter().any(|next| name.starts_with(next));
            if (is_data && !is_current) || is_next {
                remove(&self.directory.join(name))?;
            }
        }
        Ok(())
    }

    /// Returns what another copy takes for its next file. If it has to be copied for that, it is when it is read first.
    pub(super) fn send(&self, snapshot: Snapshot) -> impl Read + Send + use<> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        Sent {
            path: self.directory.join(format!("sent-{number}.db")),
            content: match snapshot.bytes() {
                Ok(bytes) => Sending::InPlace(bytes),
                Err(snapshot) => Sending::Waits(snapshot),
            },
        }
    }

    fn file(&self, number: u64) -> PathBuf {
        self.directory.join(format!("shard-{number}.db"))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.directory)?;
        let names = entries.filter_map(|entry| {
            entry
                .map(|entry| entry.file_name().into_string().ok())
                .transpose()
        });
        names.collect()
    }
}

const RECEIVED: &str = "received.db";
const JOINED: &str = "joined.db";

fn number(name: &str) -> Option<u64> {
    name.strip_prefix("shard-")?
        .strip_suffix(".db")?
        .parse()
        .ok()
}

/// Removes a file. One that has been open until now takes its log away itself when the last connection closes, which may be at any moment.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A snapshot on its way.
struct Sent {
    path: PathBuf,
    content: Sending,
}

/// Where the content of a snapshot comes from.
enum Sending {
    /// From the file itself.
    InPlace(FileBytes),
    /// From a copy, which is made when it is read first.
    Waits(Box<Snapshot>),
    Copied(File),
    Failed,
}

impl Read for Sent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Sending::Waits(_) = self.content
            && let Sending::Waits(snapshot) = mem::replace(&mut self.content, Sending::Failed)
        {
            let copied = snapshot.copy_aside(&self.path, |_, _| ControlFlow::Continue(()));
            copied.map_err(io::Error::other)?;
            self.content = Sending::Copied(File::open(&self.path)?);
        }
        match &mut self.content {
            Sending::InPlace(bytes) => bytes.read(buffer),
            Sending::Copied(file) => file.read(buffer),
            Sending::Waits(_) | Sending::Failed => {
                Err(io::Error::other("the snapshot could not be made"))
            }
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // If it stays, the next opening removes it.
        let _removed = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_has_removed_meanwhile_is_gone_too() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("shard-1.db-wal");
        fs::write(&log, "")?;
        remove(&log)?;
        remove(&log)?;
        assert!(!log.exists());
        Ok(())
    }

    #[test]
    fn the_highest_number_is_in_use_and_the_rest_goes() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let names = [
            "shard-1.db",
            "shard-1.db-wal",
            "shard-12.db",
            "shard-12.db-wal",
            "sent-0.db",
            "received.db",
            "received.db-wal",
            "note.txt",
        ];
        for name in names {
            fs::write(directory.path().join(name), "")?;
        }
        let found = Generations::find(directory.path())?;
        assert_eq!(found.current(), directory.path().join("shard-12.db"));
        let mut left = found.names()?;
        left.sort_unstable();
        assert_eq!(left, ["note.txt", "shard-12.db", "shard-12.db-wal"]);
        Ok(())
    }
}
