//! Backups: what all shards held at one moment, as files that are a database in a directory again.
//!
//! [`ShardedDatabase::restore_point`] takes a snapshot of every place. Together they show each commit over several places everywhere or
//! nowhere, one schema, and each change of a reference table on all places or on none. Where the places are elsewhere, the content of each
//! snapshot comes as the bytes of a file. In a directory, with the names that [`Layout`] gives them, these files need a registry to be a
//! database: [`complete`] writes it from the [`Outline`] of the point.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use shardwright_topology::{KeyRange, ShardId};

use crate::{
    Layout, ShardedDatabase,
    database::{CATALOG, create_records},
    error::Error,
    schema::{StoredSchema, Undeclared},
    shards::{ByteSource, Place, Shards},
};

/// What has to be known of a restore point beside the content of its places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// The shards, which tile the space, in its order.
    pub shards: Vec<Extent>,
    /// The schema.
    pub schema: StoredSchema,
    /// The number of the last change that reached every place, which each of them has.
    pub number: u64,
    /// What becomes of tables that nobody declares.
    #[serde(default)]
    pub undeclared: Undeclared,
}

/// A shard, and what it owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Its name.
    pub id: ShardId,
    /// The positions that it owns.
    pub range: KeyRange,
}

impl Outline {
    /// The names of all places: the shards, and the catalog last.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        let shards = self.shards.iter().map(|shard| shard.id.as_str());
        shards.chain([CATALOG])
    }
}

/// A moment of a database, for as long as this lives. It is for the thread that has taken it.
#[derive(Debug)]
pub struct RestorePoint {
    outline: Outline,
    snapshots: Rc<dyn Shards>,
}

impl RestorePoint {
    /// What it is of.
    #[must_use]
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The places, each with its name: the shards in the order of their ranges, and the catalog last.
    pub fn places(&self) -> impl Iterator<Item = (Place, &str)> {
        let places = (0..self.outline.shards.len()).map(Place::Shard);
        places.chain([Place::Catalog]).zip(self.outline.places())
    }

    /// The content of a place, as a file that has no more to do with the place. The place may let go of its snapshot with that.
    ///
    /// # Errors
    /// When the place does not answer, or has no such file to give.
    pub fn file(&self, place: Place) -> Result<Box<dyn ByteSource>, Error> {
        self.snapshots.file(place)
    }
}

impl ShardedDatabase {
    /// Takes a restore point. The handle has to be one whose places refuse what was planned for another schema than theirs, as
    /// [`ShardedDatabase::through`] makes it: that is how all places are known to have the same changes.
    ///
    /// # Errors
    /// As [`ShardedDatabase::read_consistent`].
    pub fn restore_point(&self) -> Result<RestorePoint, Error> {
        let (outline, snapshots) = self.outlined_snapshots()?;
        Ok(RestorePoint { outline, snapshots })
    }
}

/// Makes a database of the files of a restore point that are in a directory. Files of another release or of other places are refused when
/// it is opened.
///
/// `database` is what the files say that they belong to: the keyspace that they are from.
///
/// # Errors
/// [`Error::MissingFile`] for a place whose file is not there, [`Error::NotEmpty`] if there is a registry already, and what the system says.
pub fn complete(layout: &Layout, database: &str, outline: &Outline) -> Result<(), Error> {
    if layout.registry().exists() {
        let path = layout.directory().display().to_string();
        return Err(Error::NotEmpty { path });
    }
    for place in outline.places() {
        let path = layout.shard(place);
        if !path.is_file() {
            return Err(Error::MissingFile {
                place: place.to_owned(),
                path: path.display().to_string(),
            });
        }
    }
    create_records(layout, database, outline)
}

#[cfg(test)]
mod tests;
