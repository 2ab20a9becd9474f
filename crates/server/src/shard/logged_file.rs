//! The data of a copy: an SQLite file that runs batches ahead of its log, and holds what the log has decided.
//!
//! ```text
//! run ─ transaction left open ─ its own record comes ─ COMMIT
//!                               └ another one comes ─ ROLLBACK, and that one is applied
//! ```
//! So the file holds what the log says, in its order, and nothing else is ever seen. Nothing here waits for anybody or looks at a clock:
//! whoever calls it decides when, which is the tasks of a [`Shard`](super::Shard), or a simulation.

mod batch;

use std::{io::Read, path::Path, sync::Arc};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_quorum::log::{
    BatchMember, Kind, Point, Record, Snapshot, StateError, shard_log::Entry,
};
use shardwright_sql::commit::notes;
use shardwright_store::{
    ChangeSet, Config, Error as StoreError, Expect, Identity, Interrupter, Join, Replica,
    ReplicaError, ShardFile, Synchronous, Window, Writer,
};
use shardwright_topology::ShardId;

pub use self::batch::{Fate, Ran};
use super::{
    CopyGap,
    convert::{
        applied, applied_of, encode_window, entries_of, not_open, point, state_error, window_of,
    },
    generations::Generations,
    remembered,
    split::{self, Aside, SplitBase},
};
use crate::threads::aside;

/// The data of a copy of a shard, in a directory of its own.
#[derive(Debug)]
pub struct LoggedFile {
    generations: Generations,
    config: Config,
    file: Arc<ShardFile>,
    writer: Writer,
    applied: Point,
    /// Up to where no crash takes it back.
    saved: Point,
    open: Option<Open>,
    /// Whether it has a part that is prepared.
    held: bool,
}

/// What waits for its record.
#[derive(Debug)]
struct Open {
    kind: Kind,
    payload: Vec<u8>,
    members: Vec<BatchMember>,
    /// Whether it is in the open transaction. Otherwise it is applied as on any other copy.
    is_done: bool,
}

/// What a record met in the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The transaction that waited for it, which is committed.
    Awaited,
    /// Nothing that waited for it: it is applied, and a transaction that waited is undone.
    Unawaited,
}

/// Returns what the log has to say so that all copies forget the outcomes outside a window.
#[must_use]
pub fn forgetting(window: &Window) -> Entry {
    Entry::new(Kind::Expire, encode_window(window))
}

impl LoggedFile {
    /// Opens the data that is in a directory, or makes an empty file there.
    ///
    /// # Errors
    /// [`StateError`]: there is no room, or the file cannot be used.
    pub fn open(directory: &Path, shard: &PartitionId, config: Config) -> Result<Self, StateError> {
        let generations = Generations::find(directory)?;
        let identity = Identity::new(shard.keyspace.as_str(), shard.shard.as_str());
        let config = Config {
            // What a power failure undoes is in the log.
            synchronous: Synchronous::Normal,
            expect: Expect {
                database: Some(identity.database.clone()),
                place: Some(identity.place.clone()),
            },
            ..config
        };
        let file = open_file(&generations, &identity, &config).map_err(state_error)?;
        let opened = Opened::of(file).map_err(state_error)?;
        Ok(Self {
            generations,
            config,
            file: opened.file,
            writer: opened.writer,
            applied: opened.saved,
            saved: opened.saved,
            open: None,
            held: opened.held,
        })
    }

    /// Returns the file, for those who read: they see what has been applied.
    #[must_use]
    pub fn file(&self) -> &Arc<ShardFile> {
        &self.file
    }

    /// Returns what ends the statements of [`LoggedFile::run`] from another thread.
    #[must_use]
    pub fn interrupter(&mut self) -> Interrupter {
        self.writer.interrupter()
    }

    /// Returns the last record that is applied.
    #[must_use]
    pub fn applied(&self) -> Point {
        self.applied
    }

    /// Returns the last record that is applied durably.
    #[must_use]
    pub fn saved(&self) -> Point {
        self.saved
    }

    /// Applies a record that is committed: commits the transaction that waits, if this is its record, and undoes it otherwise.
    ///
    /// # Errors
    /// [`StateError`]: the record is not applied, and the data may not be used any more.
    pub fn apply(&mut self, record: &Record) -> Result<Came, StateError> {
        let came = if self.is_awaited(record) {
            Came::Awaited
        } else {
            Came::Unawaited
        };
        if came == Came::Unawaited || !self.commit_own(record) {
            self.roll_back();
            self.apply_changes(record).map_err(state_error)?;
        }
        self.applied = record.point();
        match record.kind {
            Kind::Prepare => self.held = true,
            Kind::Resolve => self.held = false,
            _ => {}
        }
        Ok(came)
    }

    /// Returns whether it has a part of a commit over several shards that is prepared and not resolved. Until it is, nothing else is
    /// written.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Applies a record that says what this copy begins with: what was kept aside for it, when another shard was divided. That is the data from
    /// now on, durably, and is not kept aside any more.
    ///
    /// # Errors
    /// [`StateError::Diverged`] if something else lies there, or nothing; other errors as of [`LoggedFile::apply`].
    pub fn take(&mut self, record: &Record, aside: &Aside) -> Result<(), StateError> {
        let source = self.begin(record, aside.home())?;
        aside.halts().reached(CopyGap::Taken);
        split::base::forget(aside.home(), &source);
        Ok(())
    }

    /// Lets what lies in `home` be the data, and returns of which shard that is.
    fn begin(&mut self, record: &Record, home: &Path) -> Result<ShardId, StateError> {
        let SplitBase::Take(take) = split::decode(record).map_err(state_error)? else {
            return Err(StateError::Diverged("this is nothing to begin with".into()));
        };
        let client = split::import_client(&take.operation, &take.source).0;
        let taken = self
            .file
            .snapshot()
            .and_then(|snapshot| snapshot.last_of(&client));
        if taken.map_err(state_error)?.is_some() {
            // Somebody asked twice.
            self.roll_back();
            let moved = self.writer.advance(applied_of(record), &[]);
            self.applied = record.point();
            return moved.map(|()| take.source).map_err(state_error);
        }
        let base = split::base::read(home, &take.source, take.at);
        if !base.is_some_and(|base| base.is_for(&take)) {
            let why = format!(
                "it has not kept aside what {} was at {}",
                take.source, take.at
            );
            return Err(StateError::Diverged(why.into()));
        }
        let from = split::base::file(home, &take.source, take.at);
        let taken = match &take.joins {
            None => self.begin_with(record, &from),
            Some(tables) => self.join(record, &from, tables),
        };
        taken.map(|()| take.source)
    }

    /// Lets a file be the data from now on, durably.
    fn begin_with(&mut self, record: &Record, from: &Path) -> Result<(), StateError> {
        let applied = applied_of(record);
        let file = aside(|| self.generations.take(from, applied, &self.config));
        self.replace(file.and_then(Opened::of).map_err(state_error)?)
    }

    /// Lets what the data is now, and the rows of a file, be the data from now on, durably.
    fn join(&mut self, record: &Record, from: &Path, tables: &[String]) -> Result<(), StateError> {
        self.roll_back();
        let what = Join {
            tables,
            shifts: split::SHIFT,
            both: &remembered::both,
        };
        let (generations, applied) = (&mut self.generations, applied_of(record));
        let snapshot = self.file.snapshot().map_err(state_error)?;
        let joined = aside(|| generations.join(snapshot, (from, &what), applied, &self.config));
        self.replace(joined.and_then(Opened::of).map_err(state_error)?)
    }

    /// Undoes the transaction that waits, if one does.
    pub fn roll_back(&mut self) {
        self.open = None;
        if self.writer.in_transaction()
            && let Err(error) = self.writer.rollback()
        {
            // SQLite has rolled back already wherever it says that it cannot.
            tracing::warn!(%error, "a transaction is not undone by itself");
        }
    }

    /// Makes durable what is applied.
    ///
    /// # Errors
    /// [`StateError`]: what is durable is unknown. The data has to be opened anew.
    pub fn save(&mut self) -> Result<(), StateError> {
        self.file.sync().map_err(state_error)?;
        self.saved = self.applied;
        Ok(())
    }

    /// Returns the data as it is now, for another copy.
    ///
    /// # Errors
    /// [`StateError`]: it cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, StateError> {
        let snapshot = self.file.snapshot().map_err(state_error)?;
        let replica = snapshot.replica().map_err(state_error)?;
        let replica = replica.ok_or_else(not_open)?;
        Ok(Snapshot {
            base: point(replica.applied),
            content: Box::new(self.generations.send(snapshot)),
        })
    }

    /// Replaces the data, durably, by the content of a snapshot that reaches `base`. Those who read the file before may go on.
    ///
    /// # Errors
    /// [`StateError`]: the data is what it was, or after a new opening the new one.
    pub fn install(&mut self, base: Point, content: &mut dyn Read) -> Result<(), StateError> {
        let file = self.generations.receive(content, &self.config);
        let file = file.map_err(state_error)?;
        let reached = point(file.applied().map_err(state_error)?);
        if reached != base {
            let why = format!("a snapshot of {} reaches {}", base.lsn, reached.lsn);
            return Err(StateError::Diverged(why.into()));
        }
        self.replace(Opened::of(file).map_err(state_error)?)
    }

    fn replace(&mut self, opened: Opened) -> Result<(), StateError> {
        self.roll_back();
        (self.writer, self.file) = (opened.writer, opened.file);
        (self.applied, self.saved) = (opened.saved, opened.saved);
        self.held = opened.held;
        Ok(self.generations.clean()?)
    }

    /// Whether that is the record that something waits for.
    fn is_awaited(&self, record: &Record) -> bool {
        self.open.as_ref().is_some_and(|open| {
            record.kind == open.kind
                && open.payload == record.payload
                && open.members == record.members
        })
    }

    /// Commits the transaction that waits for a record. `false` if it could not be committed, or has yet to be made: then the record is
    /// applied as on any other copy.
    fn commit_own(&mut self, record: &Record) -> bool {
        if !self.open.take().is_some_and(|open| open.is_done) {
            return false;
        }
        let entries = entries_of(record);
        match self.writer.commit_at(applied_of(record), &entries) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, lsn = %record.lsn, "a committed batch is applied anew");
                false
            }
        }
    }

    fn apply_changes(&mut self, record: &Record) -> Result<(), StoreError> {
        let (applied, entries) = (applied_of(record), entries_of(record));
        match record.kind {
            Kind::Batch | Kind::Ddl | Kind::Prepare | Kind::Resolve => {
                let changes = ChangeSet::from_bytes(record.payload.as_slice())?;
                self.writer.apply(applied, &changes, &entries)
            }
            Kind::Expire => self.writer.expire(applied, &window_of(record)?),
            Kind::SplitBase => Err(ReplicaError::Damaged {
                reason: "a shard begins with nothing where nothing is kept aside",
            }
            .into()),
            // Nothing but the place changes.
            _ => self.writer.apply(applied, &ChangeSet::default(), &entries),
        }
    }
}

/// Opens the file in use, or makes an empty one.
fn open_file(
    generations: &Generations,
    identity: &Identity,
    config: &Config,
) -> Result<ShardFile, StoreError> {
    let path = generations.current();
    let file = if path.exists() {
        ShardFile::open(&path, config)?
    } else {
        ShardFile::create(&path, identity, config)?
    };
    if file.replica()?.is_none() {
        let replica = Replica {
            id: rand::random(),
            applied: applied(Point::default()),
        };
        file.writer()?.start_replica(&replica)?;
    }
    Ok(file)
}

/// A file to go on with, from what is durable of it.
struct Opened {
    file: Arc<ShardFile>,
    writer: Writer,
    saved: Point,
    held: bool,
}

impl Opened {
    fn of(file: ShardFile) -> Result<Self, StoreError> {
        file.sync()?;
        let saved = point(file.applied()?);
        let mut writer = file.writer()?;
        let held = writer.query_row(notes::HELD, (), |_| ())?.is_some();
        Ok(Self {
            file: Arc::new(file),
            writer,
            saved,
            held,
        })
    }
}
