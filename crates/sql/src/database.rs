//! The sharded database: a directory of SQLite files as one.

mod announce;
mod atomic;
mod broadcast;
mod by_id;
mod by_key;
mod by_shard;
mod collect;
mod ddl;
mod deferred;
mod describe;
mod directory;
mod draft;
mod execute;
mod explain;
mod insert;
mod journal;
mod layout;
mod lock;
mod lookup_keys;
mod open;
mod options;
mod pragma;
mod prepared;
mod read;
mod read_several;
mod recall;
mod records;
mod restore_point;
mod schema_read;
mod schema_standing;
mod sequence;
mod session;
mod several;
mod state;
mod unique;
mod view;
mod write;

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use shardwright_store::Batch;

pub(crate) use self::records::{create_records, last_broadcast, stored_schema};
use self::{
    announce::Announcements, atomic::Desk, directory::Directory, records::Records, state::State,
    view::View,
};
pub use self::{
    atomic::{CommitGap, Unresolved},
    by_id::Page,
    describe::Description,
    directory::{Allocation, DirectoryEntry, Reassigned, ShardStats, Strategy},
    draft::Draft,
    explain::Explanation,
    layout::{CATALOG, Layout},
    lookup_keys::LookupForm,
    options::{Access, CreateOptions, Limits, Options, ReadLevel, WriteMode},
    prepared::Prepared,
    schema_standing::{Drift, DriftKind, PlaceStanding, SchemaStanding},
    session::Session,
};
pub(crate) use self::{
    directory::{DIRECTORY_TABLES, PUT_ENTRY, home_in},
    lock::DirectoryLock,
    open::{IMPORT_MARKER, create_files, create_place, create_registry},
    read::{own_value, sqlite_ref, sqlite_value},
    records::new_identity,
    write::refuse_null,
};
use crate::{
    error::Error,
    key::Key,
    shards::{Fragment, Place, Places},
};

/// A directory of SQLite files that answers as one SQLite database.
///
/// Cheap to clone, and usable from many threads at once. One process has a directory open for writing; any number
/// may read it.
///
/// ```
/// use shardwright_sql::{CreateOptions, ShardedDatabase, Value};
///
/// # let directory = tempfile::tempdir()?;
/// let db = ShardedDatabase::create(directory.path().join("shop"), &CreateOptions::default())?;
/// db.execute("CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT)", ())?;
/// db.run("ada", "INSERT INTO users VALUES (?1, ?2)", &[Value::from("ada"), "Ada Lovelace".into()])?;
///
/// let name = db.first("ada", "SELECT name FROM users WHERE id = ?1", &[Value::from("ada")])?;
/// assert_eq!(name.expect("Ada is there")[0].as_str(), Some("Ada Lovelace"));
/// let count = db.execute("SELECT count(*) FROM users", ())?;
/// assert_eq!(count.rows[0][0].as_i64(), Some(1));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ShardedDatabase {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// Where the statements of this handle go.
    places: Arc<dyn Places>,
    /// The schema of now; in a view, that of the moment when it was made.
    state: ArcSwap<State>,
    /// `None` for the database itself.
    view: Option<View>,
}

/// What the database and all views of it have in common.
#[derive(Debug)]
struct Shared {
    /// The directory, if the places are the files of one.
    layout: Option<Layout>,
    options: Options,
    records: Records,
    /// Serialises changes of the schema and writes that reach every place.
    broadcast: Mutex<()>,
    announcements: Announcements,
    /// Held by writes that another shard's rows may forbid.
    constraints: Mutex<()>,
    /// Held together by who asks shards for rows that forbid a write, and alone while a transaction that has asked commits.
    showing: RwLock<()>,
    /// Held together by writes that no other shard may forbid, and alone by what makes such writes constrained ones.
    unconstrained: RwLock<()>,
    /// Where commits over several places meet.
    desk: Desk,
    /// Held by who finishes what a commit has left over.
    recovery: Mutex<()>,
    /// Keys that have homes of their own.
    directory: Directory,
    /// What hashes lookup keys.
    secrets: lookup_keys::Secrets,
}

/// A shard as [`ShardedDatabase::shards`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardListing {
    /// Its name.
    pub name: String,
    /// The first position that it owns; `None` for the catalog.
    pub start: Option<String>,
    /// The first position after those that it owns; `None` at the end of the space.
    pub end: Option<String>,
    /// The rows of all its tables.
    pub rows: u64,
    /// The size of its file in bytes.
    pub bytes: u64,
    /// The path of its file, if it is a file of this machine.
    pub path: Option<std::path::PathBuf>,
}

impl ShardedDatabase {
    /// The directory, if the database is in one.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.inner.shared.layout.as_ref().map(Layout::directory)
    }

    /// The logical schema at this moment.
    #[must_use]
    pub fn schema(&self) -> crate::schema::Schema {
        (*self.inner.state.load().schema).clone()
    }

    /// The number of shards, the catalog not counted.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.inner.places.count()
    }

    /// The names of the shards, in the order of their ranges.
    #[doc(alias = "listKnownShards")]
    #[must_use]
    pub fn shard_names(&self) -> Vec<String> {
        let places = &self.inner.places;
        (0..places.count())
            .map(|shard| places.name(Place::Shard(shard)).to_owned())
            .collect()
    }

    /// Lists the shards and, last, the catalog.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn shards(&self) -> Result<Vec<ShardListing>, Error> {
        let state = self.inner.state.load();
        let mut listings = Vec::new();
        for (index, shard) in state.map.shards().iter().enumerate() {
            let place = Place::Shard(index);
            let range = shard.range();
            listings.push(self.listing(
                place,
                Some(range.start().to_string()),
                range.end().map(|end| end.to_string()),
            )?);
        }
        listings.push(self.listing(Place::Catalog, None, None)?);
        Ok(listings)
    }

    fn listing(
        &self,
        place: Place,
        start: Option<String>,
        end: Option<String>,
    ) -> Result<ShardListing, Error> {
        let places = &self.inner.places;
        let state = self.inner.state.load();
        let snapshot = Arc::clone(places).snapshots();
        let mut batch = Batch::new();
        let mut rows = 0;
        for table in state
            .schema
            .tables()
            .filter(|table| state.lives_at(table, place))
        {
            let table = crate::schema::quote_identifier(&table.name);
            let count = Fragment::new(format!("SELECT count(*) FROM main.{table}"), Vec::new());
            snapshot.run(place, &count)?.next_batch(&mut batch)?;
            let found = batch.rows().next().and_then(|row| row.get(0).as_i64());
            rows += found.map_or(0, i64::unsigned_abs);
        }
        Ok(ShardListing {
            name: places.name(place).to_owned(),
            start,
            end,
            rows,
            bytes: places.size_bytes(place)?,
            path: places.file(place).map(Path::to_path_buf),
        })
    }

    /// The shard that a key of a table lives on. Without a table, the key space must be the only one, or named by the key.
    ///
    /// Of a key that has no rows and no home yet, it is where its hash says.
    ///
    /// # Errors
    /// [`Error::AmbiguousKey`], [`Error::UnknownTable`], and what a place says.
    pub fn locate(&self, table: Option<&str>, key: impl Into<Key>) -> Result<String, Error> {
        let key = key.into();
        let state = self.inner.state.load();
        let table = state.table_of_key(table, &key)?;
        let value = key.value().as_ref();
        let shard = self.find_route(&state, |routing| Ok(routing.shard_of(table, value)))?;
        Ok(self.inner.places.name(Place::Shard(shard)).to_owned())
    }

    /// Ends the database, if this is the last handle on it: writes go to the files and their write-ahead logs are
    /// removed. Dropping does the same but cannot report what went wrong.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn close(self) -> Result<(), Error> {
        let Ok(inner) = Arc::try_unwrap(self.inner) else {
            return Ok(());
        };
        if inner.view.is_some() {
            return Ok(());
        }
        let places = Arc::clone(&inner.places);
        drop(inner);
        places.close()
    }

    /// Whether the registry can be read.
    pub(crate) fn registry_answers(&self) -> bool {
        self.inner.shared.records.standing().is_ok()
    }

    pub(crate) fn place_of(&self, shard: &str) -> Result<Place, Error> {
        self.inner
            .places
            .named(shard)
            .ok_or_else(|| Error::UnknownShard {
                shard: shard.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests;
