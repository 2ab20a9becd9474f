//! The files of a database: where they are, and their handles.

use std::path::{Path, PathBuf};

use shardwright_store::ShardFile;

use crate::{error::Error, shards::Place};

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

    /// The file whose lock the writing process holds.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.directory.join("LOCK")
    }
}

/// The open files, in the order of the shard map.
#[derive(Debug)]
pub(crate) struct Files {
    names: Vec<String>,
    shards: Vec<ShardFile>,
    catalog: ShardFile,
}

impl Files {
    pub(crate) fn new(names: Vec<String>, shards: Vec<ShardFile>, catalog: ShardFile) -> Self {
        Self {
            names,
            shards,
            catalog,
        }
    }

    pub(crate) fn shards(&self) -> &[ShardFile] {
        &self.shards
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn file(&self, place: Place) -> &ShardFile {
        match place {
            Place::Shard(index) => &self.shards[index],
            Place::Catalog => &self.catalog,
        }
    }

    pub(crate) fn name(&self, place: Place) -> &str {
        match place {
            Place::Shard(index) => &self.names[index],
            Place::Catalog => CATALOG,
        }
    }

    pub(crate) fn place(&self, name: &str) -> Option<Place> {
        if name == CATALOG {
            return Some(Place::Catalog);
        }
        self.names
            .iter()
            .position(|known| known == name)
            .map(Place::Shard)
    }

    /// Every place, the catalog first: what is known there is known before any shard has it.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        std::iter::once(Place::Catalog).chain((0..self.shards.len()).map(Place::Shard))
    }

    pub(crate) fn close(self) -> Result<(), Error> {
        for (name, file) in self.names.into_iter().zip(self.shards) {
            file.close().map_err(Error::at(&name))?;
        }
        self.catalog.close().map_err(Error::at(CATALOG))
    }
}
