//! The places of a database in a directory: one file each.

mod snapshots;
mod transaction;

use std::{ops::ControlFlow, path::Path, rc::Rc, sync::Arc};

use shardwright_store::{ShardFile, Writer};

use self::{snapshots::LocalShards, transaction::LocalTransaction};
use crate::{
    database::{CATALOG, DirectoryLock},
    error::Error,
    shards::{Call, Place, PlaceTransaction, Places, Ran, Shards, Visit, Watching},
};

/// The shard files of one directory, open in this process.
///
/// [`ShardedDatabase::open`](crate::ShardedDatabase::open) uses them by itself. They are a value of their own for
/// [`ShardedDatabase::over`](crate::ShardedDatabase::over), and for a process that serves them to another.
#[derive(Debug)]
pub struct LocalPlaces {
    /// In the order of the shard map.
    shards: Vec<LocalPlace>,
    catalog: LocalPlace,
    /// The lock that keeps other processes from writing; `None` when open for reading. It goes last.
    lock: Option<DirectoryLock>,
}

#[derive(Debug)]
struct LocalPlace {
    name: String,
    file: ShardFile,
}

impl LocalPlaces {
    /// Files by their names, in the order of the shard map, and the catalog's.
    pub(crate) fn new(
        shards: Vec<(String, ShardFile)>,
        catalog: ShardFile,
        lock: Option<DirectoryLock>,
    ) -> Self {
        let place = |(name, file)| LocalPlace { name, file };
        Self {
            shards: shards.into_iter().map(place).collect(),
            catalog: place((CATALOG.to_owned(), catalog)),
            lock,
        }
    }

    #[inline]
    fn place(&self, place: Place) -> &LocalPlace {
        match place {
            Place::Shard(index) => &self.shards[index],
            Place::Catalog => &self.catalog,
        }
    }

    fn shard_file(&self, place: Place) -> &ShardFile {
        &self.place(place).file
    }

    #[cold]
    fn error(&self, place: Place, error: shardwright_store::Error) -> Error {
        error_at(&self.place(place).name, error)
    }
}

/// Says at which place an error arose. What ended a transaction is what the caller has to know; that it ended can be
/// asked.
fn error_at(name: &str, error: shardwright_store::Error) -> Error {
    match error {
        shardwright_store::Error::TransactionEnded { source } => Error::at(name)(*source),
        error => Error::at(name)(error),
    }
}

impl Places for LocalPlaces {
    fn count(&self) -> usize {
        self.shards.len()
    }

    fn name(&self, place: Place) -> &str {
        &self.place(place).name
    }

    /// The lock of the directory keeps others out, and a database is finished before it is handed out.
    fn is_exclusive(&self) -> bool {
        true
    }

    fn size_bytes(&self, place: Place) -> Result<u64, Error> {
        let size = self.shard_file(place).size_bytes();
        size.map_err(|error| self.error(place, error))
    }

    fn file(&self, place: Place) -> Option<&Path> {
        Some(self.shard_file(place).path())
    }

    fn read(&self, place: Place, call: Call<'_>, visit: &mut Visit<'_>) -> Result<(), Error> {
        self.shard_file(place)
            .reader()
            .and_then(|mut reader| reader.query(call.sql, call.params, visit))
            .map(drop)
            .map_err(|error| self.error(place, error))
    }

    fn snapshots(self: Arc<Self>) -> Rc<dyn Shards> {
        Rc::new(LocalShards::new(self))
    }

    fn write(&self, place: Place, unit: &[Call<'_>]) -> Result<Vec<Ran>, Error> {
        self.shard_file(place)
            .writer()
            .and_then(|mut writer| run_unit(&mut writer, unit))
            .map_err(|error| self.error(place, error))
    }

    fn begin(
        &self,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        let found = self.place(place);
        let begun = found.file.writer().and_then(|mut writer| {
            match watching {
                Watching::Any => {}
                Watching::Nothing => writer.watch(None)?,
                Watching::These(watch) => writer.watch(Some(&watch.script))?,
            }
            writer.begin()?;
            Ok(writer)
        });
        let writer = begun.map_err(|error| self.error(place, error))?;
        Ok(Box::new(LocalTransaction::new(found.name.clone(), writer)))
    }

    fn close(self: Arc<Self>) -> Result<(), Error> {
        let Ok(places) = Arc::try_unwrap(self) else {
            return Ok(());
        };
        let Self {
            shards,
            catalog,
            lock,
        } = places;
        for LocalPlace { name, file, .. } in shards.into_iter().chain([catalog]) {
            file.close().map_err(Error::at(&name))?;
        }
        drop(lock);
        Ok(())
    }
}

fn run_unit(writer: &mut Writer, unit: &[Call<'_>]) -> shardwright_store::Result<Vec<Ran>> {
    // One statement is a transaction by itself.
    if let [only] = unit {
        return Ok(vec![run(writer, *only)?]);
    }
    // What fails before COMMIT is undone when the writer goes back.
    writer.begin()?;
    let ran = unit
        .iter()
        .map(|call| run(writer, *call))
        .collect::<Result<_, _>>()?;
    writer.commit()?;
    Ok(ran)
}

/// Runs one statement and keeps its rows.
fn run(writer: &mut Writer, call: Call<'_>) -> shardwright_store::Result<Ran> {
    Ran::of(|keep| {
        let kept = writer.query(call.sql, call.params, |row| {
            keep(row);
            ControlFlow::<()>::Continue(())
        });
        kept.map(|(outcome, _)| outcome)
    })
}
