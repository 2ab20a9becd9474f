//! What of a transfer has been acknowledged, in a file beside.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::source::Source;

/// The version of the file's format.
const VERSION: u32 = 2;

/// How far a transfer is.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    written: Written,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u32,
    /// What is transferred: a digest of all statements.
    digest: String,
    /// The name under which the batches are numbered.
    client: String,
    /// How many batches have been acknowledged.
    batches: u64,
}

/// A journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// Another transfer has left it behind.
    #[error("{} is the journal of a transfer that was interrupted", path.display())]
    Exists { path: PathBuf },
    /// There is none to go on from.
    #[error("there is no journal {} to go on from", path.display())]
    Absent { path: PathBuf },
    /// It is of something else.
    #[error("{} is the journal of another transfer, or what is transferred has changed", path.display())]
    Other { path: PathBuf },
    /// Another release wrote it, or it is damaged.
    #[error("{} is no journal that this release reads", path.display())]
    Malformed { path: PathBuf },
    /// It cannot be read or written.
    #[error("keep the journal {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl JournalError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Exists { .. } => {
                Some("go on with --resume, or remove it and the tables that were made")
            }
            Self::Absent { .. } => Some("leave --resume out, or name it with --journal"),
            Self::Other { .. } => Some(
                "go on with the file and the options of then; or remove the tables that were made and the journal, and begin again",
            ),
            Self::Malformed { .. } => Some(
                "go on with the release that wrote it; or remove the tables that were made and the journal, and begin again",
            ),
            Self::Io { .. } => None,
        }
    }

    /// Whether going on would not be safe.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Exists { .. } | Self::Other { .. })
    }
}

impl Journal {
    /// Fails if there is a journal already.
    pub(crate) fn check_absent(path: &Path) -> Result<(), JournalError> {
        if path.exists() {
            let path = path.to_owned();
            return Err(JournalError::Exists { path });
        }
        Ok(())
    }

    /// Begins one.
    pub(crate) fn begin(path: PathBuf, source: &Source) -> Result<Self, JournalError> {
        Self::check_absent(&path)?;
        let journal = Self {
            path,
            written: Written {
                v: VERSION,
                digest: source.digest().to_owned(),
                client: format!("import-{:032x}", rand::random::<u128>()),
                batches: 0,
            },
        };
        journal.write()?;
        Ok(journal)
    }

    /// Goes on with the one that is there.
    pub(crate) fn resume(path: PathBuf, source: &Source) -> Result<Self, JournalError> {
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(JournalError::Absent { path });
            }
            Err(source) => return Err(JournalError::Io { path, source }),
        };
        let written: Written = match serde_json::from_slice(&text) {
            Ok(written) => written,
            Err(_) => return Err(JournalError::Malformed { path }),
        };
        if written.v != VERSION {
            return Err(JournalError::Malformed { path });
        }
        if written.digest != source.digest() {
            return Err(JournalError::Other { path });
        }
        Ok(Self { path, written })
    }

    /// The name under which the batches are numbered.
    pub(crate) fn client(&self) -> &str {
        &self.written.client
    }

    /// How many batches have been acknowledged. The next one has the number after it: that of one that was sent and not acknowledged, if
    /// there is such a one.
    pub(super) fn batches(&self) -> u64 {
        self.written.batches
    }

    /// Notes that another batch was acknowledged.
    pub(super) fn acknowledged(&mut self) -> Result<(), JournalError> {
        self.written.batches += 1;
        self.write()
    }

    /// Removes it: everything is done.
    pub(crate) fn finish(self) -> Result<(), JournalError> {
        let path = self.path;
        fs::remove_file(&path).map_err(|source| JournalError::Io { path, source })
    }

    /// Puts it in place of the one before, whole, and on the disk.
    fn write(&self) -> Result<(), JournalError> {
        let parent = self.path.parent();
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let put = || -> io::Result<()> {
            let file = NamedTempFile::new_in(parent)?;
            serde_json::to_writer(&file, &self.written)?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            if cfg!(unix) {
                File::open(parent)?.sync_all()?;
            }
            Ok(())
        };
        let path = &self.path;
        put().map_err(|source| JournalError::Io {
            path: path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use shardwright_sql::adopt::AdoptOptions;

    use super::*;

    #[test]
    fn a_transfer_goes_on_with_the_number_that_was_not_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let (file, path) = (
            directory.path().join("a.db"),
            directory.path().join("journal"),
        );
        let connection = Connection::open(&file).unwrap();
        connection
            .execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
            .unwrap();
        let open = || Source::open(&file, &AdoptOptions::default()).unwrap();
        let source = open();
        let absent = Journal::resume(path.clone(), &source).unwrap_err();
        assert!(matches!(absent, JournalError::Absent { .. }));
        let mut journal = Journal::begin(path.clone(), &source).unwrap();
        assert_eq!(journal.batches(), 0);
        journal.acknowledged().unwrap();
        let again = Journal::begin(path.clone(), &source).unwrap_err();
        assert!(again.is_refusal());
        let resumed = Journal::resume(path.clone(), &source).unwrap();
        assert_eq!(resumed.batches(), 1);
        assert_eq!(resumed.client(), journal.client());
        drop(source);
        // As many rows as before, and another one among them.
        connection
            .execute_batch("DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (3)")
            .unwrap();
        let other = Journal::resume(path.clone(), &open()).unwrap_err();
        assert!(matches!(other, JournalError::Other { .. }));
        assert!(other.is_refusal() && other.hint().is_some());
        fs::write(&path, "{\"v\": 1}").unwrap();
        let malformed = Journal::resume(path.clone(), &open()).unwrap_err();
        assert!(matches!(malformed, JournalError::Malformed { .. }));
        assert!(malformed.hint().is_some());
        resumed.finish().unwrap();
        assert!(!path.exists());
    }
}
