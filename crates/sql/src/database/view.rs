//! Views: handles on a database that are pinned to a schema and have places of their own.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard, RwLockWriteGuard};

use super::{Inner, ShardedDatabase, session::Within};
use crate::{
    error::Error,
    shards::{Fault, FaultKind, Place, Places},
};

/// What a view is of, and what it may do.
#[derive(Debug)]
pub(super) struct View {
    of: ShardedDatabase,
    /// Whether it leaves to another engine what only one may do.
    is_peer: bool,
    /// The transaction whose statements it runs.
    within: Option<Arc<Within>>,
}

impl View {
    fn of(database: &ShardedDatabase) -> Self {
        Self {
            of: database.clone(),
            is_peer: false,
            within: None,
        }
    }

    /// One that runs the statements of a transaction.
    pub(super) fn within(database: &ShardedDatabase, transaction: &Arc<Within>) -> Self {
        Self {
            within: Some(Arc::clone(transaction)),
            ..Self::of(database)
        }
    }
}

impl ShardedDatabase {
    /// A handle on this database whose statements are planned for the schema of this moment, for as long as it lives,
    /// and go through the places that the closure returns.
    ///
    /// The closure is given the number of the last [broadcast](crate::shards::BROADCAST_KEY) that this schema includes.
    /// A view of the places that carries it, and places that refuse what carries another one than theirs with
    /// [`FaultKind::SchemaChanged`], keep statements from running with a schema that is not theirs any more. The caller
    /// then takes a new handle, after a [refresh](ShardedDatabase::refresh) if the change was made by another engine.
    ///
    /// Reads, units of writes and transactions go through these places, also those of sessions and prepared statements.
    /// What reaches every place at once goes through what [`Places::everywhere`] of these returns: changes of the schema
    /// and of reference tables, which must not be refused for their number, and change the database. This handle keeps
    /// its schema and its number even so. Locks are waited for as long as [`Places::time_left`] says.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use shardwright_sql::{CreateOptions, LocalPlaces, Options, ShardedDatabase};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let db = ShardedDatabase::create(directory.path().join("shop"), &CreateOptions::default())?;
    /// db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY)", ())?;
    /// let mut number = 0;
    /// let pinned = db.through(|now| {
    ///     number = now;
    ///     db.places()
    /// });
    /// db.execute("ALTER TABLE users ADD COLUMN name TEXT", ())?;
    /// assert_eq!(number, 1);
    /// assert_eq!(pinned.schema().table("users").unwrap().columns.len(), 1);
    /// assert_eq!(db.schema().table("users").unwrap().columns.len(), 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn through(&self, places: impl FnOnce(u64) -> Arc<dyn Places>) -> Self {
        let base = self.base();
        let state = base.inner.state.load_full();
        let places = places(state.number());
        Self {
            inner: Arc::new(Inner {
                shared: Arc::clone(&base.inner.shared),
                places,
                state: ArcSwap::new(state),
                view: Some(View::of(base)),
            }),
        }
    }

    /// The same handle, for an engine that is one of several and not their writer: it refuses with
    /// [`FaultKind::NotWriter`], and before it has changed anything, whatever [needs the
    /// writer](ShardedDatabase::needs_writer).
    #[must_use]
    pub fn as_peer(&self) -> Self {
        let inner = &self.inner;
        Self {
            inner: Arc::new(Inner {
                shared: Arc::clone(&inner.shared),
                places: Arc::clone(&inner.places),
                state: ArcSwap::new(inner.state.load_full()),
                view: Some(View {
                    is_peer: true,
                    ..View::of(self.base())
                }),
            }),
        }
    }

    /// The places that the statements of this handle go through.
    #[must_use]
    pub fn places(&self) -> Arc<dyn Places> {
        Arc::clone(&self.inner.places)
    }

    /// The number of the last [broadcast](crate::shards::BROADCAST_KEY) that the schema of this handle includes.
    #[must_use]
    pub fn broadcast_number(&self) -> u64 {
        self.inner.state.load().number()
    }

    /// The database itself.
    pub(super) fn base(&self) -> &Self {
        self.inner.view.as_ref().map_or(self, |view| &view.of)
    }

    /// A handle whose places are for what reaches all of them, and for the engine's own notes.
    pub(super) fn everywhere(&self) -> Self {
        let base = self.base();
        let Some(places) = Arc::clone(&self.inner.places).everywhere() else {
            return base.clone();
        };
        Self {
            inner: Arc::new(Inner {
                shared: Arc::clone(&base.inner.shared),
                places,
                state: ArcSwap::new(base.inner.state.load_full()),
                view: Some(View::of(base)),
            }),
        }
    }

    /// The transaction whose statements this handle runs.
    pub(super) fn within(&self) -> Option<&Within> {
        self.inner.view.as_ref()?.within.as_deref()
    }

    /// Held by a write that other rows than those of its place may forbid, and by one that draws numbers. A transaction
    /// that does so has all shards for itself, and needs no lock.
    pub(super) fn lock_constraints(&self) -> Result<Option<MutexGuard<'_, ()>>, Error> {
        match self.within() {
            Some(_) => Ok(None),
            None => self.lock(&self.inner.shared.constraints).map(Some),
        }
    }

    /// Held while the shards of a transaction show its rows one after the other: nobody asks them for these meanwhile.
    pub(super) fn hide_commit(&self) -> RwLockWriteGuard<'_, ()> {
        self.inner.shared.showing.write()
    }

    /// Held by a change that reaches all places.
    pub(super) fn lock_broadcast(&self) -> Result<MutexGuard<'_, ()>, Error> {
        self.lock(&self.inner.shared.broadcast)
    }

    /// Held by what makes constrained writes of others.
    pub(super) fn lock_unconstrained(&self) -> Result<RwLockWriteGuard<'_, ()>, Error> {
        let lock = &self.inner.shared.unconstrained;
        match self.inner.places.time_left() {
            None => Ok(lock.write()),
            Some(left) => lock.try_write_for(left).ok_or_else(|| self.late()),
        }
    }

    fn late(&self) -> Error {
        let message = "writes before this one took all its time";
        self.fault(FaultKind::Busy, message)
    }

    /// Waits for a lock of the process, no longer than the statement may.
    fn lock<'l>(&self, lock: &'l Mutex<()>) -> Result<MutexGuard<'l, ()>, Error> {
        self.check_writer()?;
        let Some(left) = self.inner.places.time_left() else {
            return Ok(lock.lock());
        };
        lock.try_lock_for(left).ok_or_else(|| self.late())
    }

    /// Refuses the work of the one writer, where this handle is not to do it. Every lock of the process is behind it.
    pub(super) fn check_writer(&self) -> Result<(), Error> {
        match &self.inner.view {
            Some(view) if view.is_peer => {
                Err(self.fault(FaultKind::NotWriter, "this engine is not the writer"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// An error that is about all places; the catalog stands for them.
    pub(super) fn fault(&self, kind: FaultKind, message: impl Into<String>) -> Error {
        Fault::new(kind, message).at(self.inner.places.name(Place::Catalog))
    }
}
