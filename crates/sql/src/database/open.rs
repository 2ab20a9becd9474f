//! Creating and opening a database.

use std::{fs::File, io, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use shardwright_registry::Registry;
use shardwright_store::{Access as FileAccess, Config, Encoding, Expect, Identity, ShardFile};
use shardwright_topology::{ShardId, ShardMap};

use super::{
    Access, CATALOG, CreateOptions, Inner, Layout, Options, ShardedDatabase, Shared,
    announce::Announcements,
    atomic::Desk,
    directory::Directory,
    lock::DirectoryLock,
    records::{Records, new_identity},
    sequence::SEQUENCE_TABLE,
    state::State,
};
use crate::{
    error::Error,
    local::LocalPlaces,
    schema::{Schema, StoredSchema, Undeclared},
    shards::{Call, Place, Places},
};

/// The file that marks a directory whose import has not ended.
pub(crate) const IMPORT_MARKER: &str = "IMPORT.json";

impl ShardedDatabase {
    /// Creates an empty database in a directory that does not exist yet or is empty, and opens it.
    ///
    /// # Errors
    /// [`Error::BadShardCount`], [`Error::NotEmpty`], or what the system says.
    pub fn create(directory: impl AsRef<Path>, create: &CreateOptions) -> Result<Self, Error> {
        let layout = Layout::of(directory.as_ref());
        prepare_directory(layout.directory())?;
        create_files(&layout, create, &StoredSchema::default())?;
        Self::open(directory, &create.options)
    }

    /// Opens a database. For reading, the directory may be on a read-only medium.
    ///
    /// # Errors
    /// [`Error::NotADatabase`], [`Error::Locked`], [`Error::MissingFile`], [`Error::ImportUnfinished`], or what a file says.
    pub fn open(directory: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let layout = Layout::of(directory.as_ref());
        let (places, records) = open_parts(&layout, options)?;
        Self::ready(Arc::new(places), records, options, Some(layout))
    }

    /// Opens for writing what is not called a database yet, by whoever holds its lock.
    pub(crate) fn open_held(
        layout: &Layout,
        options: &Options,
        lock: DirectoryLock,
    ) -> Result<Self, Error> {
        let (places, records) = open_files(layout, options, Some(lock))?;
        Self::ready(Arc::new(places), records, options, Some(layout.clone()))
    }

    fn ready(
        places: Arc<dyn Places>,
        records: Records,
        options: &Options,
        layout: Option<Layout>,
    ) -> Result<Self, Error> {
        let database = Self::assemble(places, records, options, layout)?;
        if options.access == Access::ReadWrite {
            database.recover()?;
        }
        database.open_directory()?;
        Ok(database)
    }

    /// Opens a database whose places are anywhere. Its shard map and its schema are in the registry, and what is begun
    /// on several places is noted there.
    ///
    /// The places must be those of the map, in its order. A keyspace without a schema and places without tables are an
    /// empty database. With [`Access::ReadWrite`], nobody else may write to them meanwhile: engines that share their
    /// places [join](ShardedDatabase::join) a database.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use shardwright_sql::{CreateOptions, Layout, LocalPlaces, Options, ShardedDatabase};
    /// use shardwright_sql::registry::{Registry, SqliteStore, topology::KeyspaceName};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("shop");
    /// ShardedDatabase::create(&path, &CreateOptions::default())?.close()?;
    ///
    /// let options = Options::default();
    /// let places = LocalPlaces::open(&path, &options)?;
    /// let store = SqliteStore::open(Layout::of(&path).registry())?;
    /// let registry = Registry::new(Arc::new(store), KeyspaceName::new("main")?);
    /// let db = ShardedDatabase::over(Arc::new(places), registry, &options)?;
    /// db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY)", ())?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotADatabase`] if the registry has no keyspace, [`Error::UnknownShard`] if the places are not those of
    /// the map, and failures of the registry and the places.
    pub fn over(
        places: Arc<dyn Places>,
        registry: Registry,
        options: &Options,
    ) -> Result<Self, Error> {
        let database = Self::assemble(places, Self::records_in(registry)?, options, None)?;
        if options.access == Access::ReadWrite {
            database.prepare_catalog()?;
            database.recover()?;
        }
        database.open_directory()?;
        Ok(database)
    }

    pub(super) fn records_in(registry: Registry) -> Result<Records, Error> {
        Records::of(registry, || Error::NotADatabase {
            path: "the registry".to_owned(),
        })
    }

    pub(super) fn assemble(
        places: Arc<dyn Places>,
        records: Records,
        options: &Options,
        layout: Option<Layout>,
    ) -> Result<Self, Error> {
        let map = records.map()?;
        check_places(&*places, &map)?;
        let standing = records.standing()?;
        let (version, number) = (standing.version, standing.number);
        let schema = Schema::derive(standing.schema()?)?;
        let state = State::new(version, number, schema, Arc::new(map))?;
        let shared = Shared {
            layout,
            options: options.clone(),
            records,
            broadcast: Mutex::new(()),
            announcements: Announcements::default(),
            constraints: Mutex::new(()),
            showing: RwLock::new(()),
            unconstrained: RwLock::new(()),
            desk: Desk::new(options),
            recovery: Mutex::new(()),
            directory: Directory::new(options),
            secrets: super::lookup_keys::Secrets::default(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                shared: Arc::new(shared),
                places,
                state: ArcSwap::from_pointee(state),
                view: None,
            }),
        })
    }

    /// Makes the engine's own table in a catalog that has nothing yet.
    pub(super) fn prepare_catalog(&self) -> Result<(), Error> {
        let places = &self.inner.places;
        let look = "SELECT 1 FROM main.sqlite_schema WHERE name = '_sequence'";
        let found = places.query_row(Place::Catalog, Call::new(look, ()), |_| ())?;
        if found.is_none() {
            places.write(Place::Catalog, &[Call::new(SEQUENCE_TABLE, ())])?;
        }
        Ok(())
    }

    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        self.refuse_read_only()?;
        match self.within() {
            // It holds what would have to be written to.
            Some(_) => Ok(()),
            None => self.finish_commits(),
        }
    }

    pub(super) fn refuse_read_only(&self) -> Result<(), Error> {
        match self.inner.shared.options.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::ReadOnly {
                reason: "it was opened so".to_owned(),
            }),
        }
    }
}

/// Makes the directory, which may hold nothing yet.
pub(crate) fn prepare_directory(directory: &Path) -> Result<(), Error> {
    let io = |action, source| Error::Io {
        action,
        path: directory.display().to_string(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(|source| io("create directory", source))?;
    let mut entries =
        std::fs::read_dir(directory).map_err(|source| io("read directory", source))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Error::NotEmpty {
            path: directory.display().to_string(),
        }),
    }
}

/// Creates the files of a database and, last, its registry. The tables of `schema` are not created in the files.
pub(crate) fn create_files(
    layout: &Layout,
    create: &CreateOptions,
    schema: &StoredSchema,
) -> Result<(), Error> {
    let most = CreateOptions::MOST_SHARDS;
    let shards = u32::try_from(create.shards)
        .ok()
        .filter(|&shards| shards > 0 && create.shards <= most)
        .ok_or(Error::BadShardCount {
            shards: create.shards,
            most,
        })?;
    let database = new_identity();
    let names: Vec<ShardId> = (0..shards).map(ShardId::numbered).collect();
    for name in std::iter::once(CATALOG).chain(names.iter().map(ShardId::as_str)) {
        create_place(layout, &database, name, create.encoding)?;
    }
    let encoding = create.encoding.as_str().to_owned();
    let schema = StoredSchema {
        encoding,
        ..schema.clone()
    };
    Records::create(layout, &names, create.undeclared, &database, &schema)
}

/// Creates the file of a shard or of the catalog.
pub(crate) fn create_place(
    layout: &Layout,
    database: &str,
    name: &str,
    encoding: Encoding,
) -> Result<(), Error> {
    let identity = Identity {
        encoding,
        ..Identity::new(database, name)
    };
    let file = ShardFile::create(layout.shard(name), &identity, &Config::default())
        .map_err(Error::at(name))?;
    if name == CATALOG {
        let mut writer = file.writer().map_err(Error::at(name))?;
        writer
            .execute(SEQUENCE_TABLE, ())
            .map_err(Error::at(name))?;
    }
    file.close().map_err(Error::at(name))
}

/// Creates the registry of a database whose files are there.
pub(crate) fn create_registry(
    layout: &Layout,
    names: &[ShardId],
    database: &str,
    schema: &StoredSchema,
) -> Result<(), Error> {
    Records::create(layout, names, Undeclared::default(), database, schema)
}

impl LocalPlaces {
    /// Opens the files of a database in a directory, for writing or for reading.
    ///
    /// # Errors
    /// As [`ShardedDatabase::open`].
    pub fn open(directory: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let (places, _) = open_parts(&Layout::of(directory.as_ref()), options)?;
        Ok(places)
    }
}

/// The files of a directory and its registry.
fn open_parts(layout: &Layout, options: &Options) -> Result<(LocalPlaces, Records), Error> {
    let path = layout.directory().display().to_string();
    if layout.directory().join(IMPORT_MARKER).exists() {
        return Err(Error::ImportUnfinished { path });
    }
    if !layout.registry().exists() {
        return Err(Error::NotADatabase { path });
    }
    let writable = options.access == Access::ReadWrite;
    let lock = if writable {
        Some(DirectoryLock::take(layout)?)
    } else {
        None
    };
    open_files(layout, options, lock)
}

fn open_files(
    layout: &Layout,
    options: &Options,
    lock: Option<DirectoryLock>,
) -> Result<(LocalPlaces, Records), Error> {
    let records = Records::open(layout, options.access == Access::ReadWrite)?;
    let map = records.map()?;
    let open = |name: &str| open_file(layout, options, records.database(), name);
    let catalog = open(CATALOG)?;
    let mut shards = Vec::with_capacity(map.shards().len());
    for shard in map.shards() {
        let name = shard.id().to_string();
        let file = open(&name)?;
        shards.push((name, file));
    }
    Ok((LocalPlaces::new(shards, catalog, lock), records))
}

fn open_file(
    layout: &Layout,
    options: &Options,
    database: &str,
    name: &str,
) -> Result<ShardFile, Error> {
    let config = Config {
        access: file_access(layout, options.access),
        readers: options.readers,
        synchronous: options.synchronous,
        snapshot_reads: options.snapshot_reads,
        busy_timeout: options.busy_timeout,
        expect: Expect {
            database: Some(database.to_owned()),
            place: Some(name.to_owned()),
        },
        ..Config::default()
    };
    ShardFile::open(layout.shard(name), &config).map_err(|error| match error {
        shardwright_store::Error::Missing { path } => Error::MissingFile {
            place: name.to_owned(),
            path: path.display().to_string(),
        },
        error => Error::at(name)(error),
    })
}

/// Refuses places that are not the shards of the map in their order.
pub(super) fn check_places(places: &dyn Places, map: &ShardMap) -> Result<(), Error> {
    for (index, shard) in map.shards().iter().enumerate() {
        let name = shard.id().to_string();
        if index >= places.count() || places.name(Place::Shard(index)) != name {
            return Err(Error::UnknownShard { shard: name });
        }
    }
    if places.count() > map.shards().len() {
        let extra = places.name(Place::Shard(map.shards().len()));
        return Err(Error::UnknownShard {
            shard: extra.to_owned(),
        });
    }
    Ok(())
}

/// SQLite needs to write beside a file that it reads, unless it is told that nobody changes the file.
fn file_access(layout: &Layout, access: Access) -> FileAccess {
    let read_only_medium = || {
        let probe = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(layout.lock());
        matches!(
            probe.map_err(|error| error.kind()),
            Err(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
        )
    };
    match access {
        Access::ReadWrite => FileAccess::ReadWrite,
        Access::ReadOnly if read_only_medium() => FileAccess::Immutable,
        Access::ReadOnly => FileAccess::ReadOnly,
    }
}
