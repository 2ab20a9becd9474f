//! Where the files of a database are.

use std::path::{Path, PathBuf};

/// The name of the catalog shard.
pub const CATALOG: &str = "catalog";

/// Where the files of a database are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    /// The layout of a directory.
    #[must_use]
    pub fn of(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of a shard, or of [`CATALOG`].
    #[must_use]
    pub fn shard(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.db"))
    }

    /// The registry: keyspace, shards, and operations under way.
    #[must_use]
    pub fn registry(&self) -> PathBuf {
        self.directory.join("registry.db")
    }

    /// The file of the secrets of lookup keys, if there are any.
    #[must_use]
    pub fn lookup_secret(&self) -> PathBuf {
        self.directory.join("lookup.key")
    }

    /// The file whose lock the writing process holds.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.directory.join("LOCK")
    }
}
