//! Creating and opening a database.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use arc_swap::ArcSwap;
use shardwright_store::{Access as FileAccess, Config, Expect, Identity, ShardFile};

use super::{
    Access, CATALOG, CreateOptions, Inner, Layout, Options, ShardedDatabase,
    files::Files,
    lock::DirectoryLock,
    records::{Records, new_identity},
    sequence::SEQUENCE_TABLE,
    state::State,
    unique::Prober,
};
use crate::{
    error::Error,
    schema::{Schema, StoredSchema},
    shards::Place,
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
        let path = layout.directory().display().to_string();
        if layout.directory().join(IMPORT_MARKER).exists() {
            return Err(Error::ImportUnfinished { path });
        }
        if !layout.registry().exists() {
            return Err(Error::NotADatabase { path });
        }
        let writable = options.access == Access::ReadWrite;
        let lock = if writable {
            Some(DirectoryLock::take(&layout)?)
        } else {
            None
        };
        let records = Records::open(&layout, writable)?;
        let map = records.map()?;
        let names: Vec<String> = map
            .shards()
            .iter()
            .map(|shard| shard.id().to_string())
            .collect();
        let prober = Arc::new(Prober::default());
        let files = Arc::new(open_files(&layout, options, &records, names, &prober)?);
        prober.attach(&files);
        if writable {
            for pending in records.pending()? {
                pending.value.recover(&files)?;
                records.finish(&pending.value)?;
            }
        }
        let (version, stored) = records.schema()?;
        let schema = Schema::derive(stored)?;
        if writable {
            prober.install(&schema, &files)?;
        }
        let state = ArcSwap::from_pointee(State::new(version, schema, Arc::new(map))?);
        Ok(Self {
            inner: Arc::new(Inner {
                layout,
                options: options.clone(),
                files,
                records,
                state,
                prober,
                broadcast: Mutex::new(()),
                constraints: Mutex::new(()),
                _lock: lock,
            }),
        })
    }

    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        match self.inner.options.access {
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
    let names = (0..shards).map(|number| format!("shard-{number}"));
    for name in std::iter::once(CATALOG.to_owned()).chain(names) {
        let identity = Identity {
            encoding: create.encoding,
            ..Identity::new(&database, &name)
        };
        let file = ShardFile::create(layout.shard(&name), &identity, &Config::default())
            .map_err(Error::at(&name))?;
        if name == CATALOG {
            let mut writer = file.writer().map_err(Error::at(&name))?;
            writer
                .execute(SEQUENCE_TABLE, ())
                .map_err(Error::at(&name))?;
        }
        file.close().map_err(Error::at(&name))?;
    }
    let encoding = create.encoding.as_str().to_owned();
    let schema = StoredSchema {
        encoding,
        ..schema.clone()
    };
    Records::create(layout, shards, create.undeclared, &database, &schema)
}

fn open_files(
    layout: &Layout,
    options: &Options,
    records: &Records,
    names: Vec<String>,
    prober: &Arc<Prober>,
) -> Result<Files, Error> {
    let access = file_access(layout, options.access);
    let open = |name: &str, place: Place| {
        let config = Config {
            access,
            readers: options.readers,
            synchronous: options.synchronous,
            snapshot_reads: options.snapshot_reads,
            busy_timeout: options.busy_timeout,
            functions: vec![prober.function(place)],
            expect: Expect {
                database: Some(records.database().to_owned()),
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
    };
    let catalog = open(CATALOG, Place::Catalog)?;
    let mut shards = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        shards.push(open(name, Place::Shard(index))?);
    }
    Ok(Files::new(names, shards, catalog))
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
