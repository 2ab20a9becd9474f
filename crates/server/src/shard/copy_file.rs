//! The SQLite file of a copy, as those share it who write to it: the executor of the primary, and the log that has committed.
//!
//! The executor leaves its transaction open and goes to the log. What comes back is either that transaction's own record, and it is
//! committed, or another one, and it is undone: so the file holds what the log says, in its order, and nothing else is ever seen.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwapOption;
use shardwright_quorum::log::{BatchMember, Kind, Point, Record, StateError, shard_log::Entry};
use shardwright_store::{
    Captured, ChangeSet, Error as StoreError, Executed, Member, Seen, ShardFile, Writer,
};
use tokio::sync::watch;

use super::{
    convert::{applied_of, entries_of, not_open, state_error, window_of},
    scrub::Held,
    write::{Identity, Token, Watching, Write, WriteError, Written},
};

/// How many bytes of changes are one record, unless one write alone has more.
const CHANGES_MAX: usize = 1 << 20;

/// The file of a copy, while it is open.
#[derive(Debug)]
pub(super) struct CopyFile {
    slot: Mutex<Option<Slot>>,
    /// The same file, for those who read.
    file: ArcSwapOption<ShardFile>,
    /// How far it is.
    place: watch::Sender<Option<Token>>,
    /// What it held when it was compared.
    held: Held,
}

#[derive(Debug)]
struct Slot {
    file: Arc<ShardFile>,
    writer: Writer,
    applied: Point,
    open: Option<Open>,
}

/// A transaction that waits for its record.
#[derive(Debug)]
struct Open {
    payload: Vec<u8>,
    members: Vec<BatchMember>,
    committed: watch::Sender<bool>,
}

/// What running a batch has led to.
#[derive(Debug)]
pub(super) struct Ran {
    /// What became of each write.
    pub(super) fates: Vec<Fate>,
    /// What has changed, if anything succeeded: it is in the open transaction.
    pub(super) changes: Option<Changes>,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Fate {
    /// It ran, and has this outcome if it is committed.
    Ran(Vec<u8>),
    /// It was refused, on the data as it was.
    Refused(WriteError),
    /// It ends here.
    Answered(Result<Written, WriteError>),
    /// It has to run in a batch after this one.
    Again,
}

/// What an open transaction changes.
#[derive(Debug)]
pub(super) struct Changes {
    /// What the log is to decide about.
    pub(super) entry: Entry,
    /// Whether the transaction is committed; ends without a word when it is undone.
    pub(super) committed: watch::Receiver<bool>,
}

impl Default for CopyFile {
    fn default() -> Self {
        Self {
            slot: Mutex::default(),
            file: ArcSwapOption::default(),
            place: watch::channel(None).0,
            held: Held::default(),
        }
    }
}

impl CopyFile {
    /// Returns the file for those who read; `None` while it is not open.
    pub(super) fn file(&self) -> Option<Arc<ShardFile>> {
        self.file.load_full()
    }

    /// Returns how far the file is, as it goes on.
    pub(super) fn places(&self) -> watch::Receiver<Option<Token>> {
        self.place.subscribe()
    }

    /// Returns how far the file is.
    pub(super) fn place(&self) -> Option<Token> {
        *self.place.borrow()
    }

    /// Returns what it held when it was compared.
    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// Takes a file that was opened, in place of the one before.
    pub(super) fn open(&self, file: ShardFile, applied: Point) -> Result<(), StoreError> {
        let file = Arc::new(file);
        let writer = file.writer()?;
        let slot = Slot {
            file: Arc::clone(&file),
            writer,
            applied,
            open: None,
        };
        self.held.forget();
        *self.lock() = Some(slot);
        self.file.store(Some(file));
        self.show(applied);
        Ok(())
    }

    /// Lets go of the file. Those who read it may go on.
    pub(super) fn close(&self) {
        *self.lock() = None;
        self.file.store(None);
        self.place.send_replace(None);
    }

    /// Runs writes in one transaction, which stays open if any of them succeeded.
    pub(super) fn run(&self, writes: &mut [&mut Write]) -> Result<Ran, WriteError> {
        let mut slot = self.lock();
        let slot = slot.as_mut().ok_or(WriteError::NotRunning)?;
        slot.roll_back();
        slot.run(writes)
            .map_err(|error| WriteError::Refused(Arc::new(error)))
    }

    /// Makes durable what was applied, and returns how far that is.
    pub(super) fn sync(&self) -> Result<Point, StateError> {
        let slot = self.lock();
        let slot = slot.as_ref().ok_or_else(not_open)?;
        slot.file.sync().map_err(state_error)?;
        Ok(slot.applied)
    }

    /// Undoes the transaction that waits, if one does.
    pub(super) fn roll_back(&self) {
        if let Some(slot) = self.lock().as_mut() {
            slot.roll_back();
        }
    }

    /// Applies a record that is committed.
    pub(super) fn apply(&self, record: &Record) -> Result<(), StateError> {
        let mut slot = self.lock();
        let slot = slot.as_mut().ok_or_else(not_open)?;
        slot.apply(record)?;
        self.show(slot.applied);
        if record.kind == Kind::Compare {
            self.held.compare(record, &slot.file)?;
        }
        Ok(())
    }

    fn show(&self, applied: Point) {
        self.place.send_replace(Some(Token {
            epoch: applied.epoch,
            lsn: applied.lsn,
        }));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Slot>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn run(&mut self, writes: &mut [&mut Write]) -> Result<Ran, StoreError> {
        let mut fates = self.recall(writes)?;
        let fresh: Vec<usize> = (0..writes.len())
            .filter(|write| fates[*write].is_none())
            .collect();
        if let [only] = fresh[..] {
            self.watch(&writes[only].watching)?;
        }
        let mut count = fresh.len();
        let mut changes = None;
        while count > 0 {
            let (captured, is_too_large) = self.execute(writes, &fresh[..count])?;
            if is_too_large && count > 1 {
                self.writer.rollback()?;
                count = count.div_ceil(2);
                continue;
            }
            changes = self.keep_open(captured, writes, &fresh[..count], &mut fates)?;
            break;
        }
        let again = |fate: Option<Fate>| fate.unwrap_or(Fate::Again);
        Ok(Ran {
            fates: fates.into_iter().map(again).collect(),
            changes,
        })
    }

    /// Answers what has happened already, and holds back what is here twice.
    fn recall(&mut self, writes: &[&mut Write]) -> Result<Vec<Option<Fate>>, StoreError> {
        let mut here = HashSet::new();
        let mut fates = Vec::with_capacity(writes.len());
        for write in writes {
            let Some(Identity { client, sequence }) = write.identity else {
                fates.push(None);
                continue;
            };
            let fate = if here.insert((client, sequence)) {
                match self.writer.find(&client.0, sequence)? {
                    Seen::New => None,
                    Seen::Known(outcome) => Some(Fate::Answered(Ok(Written {
                        outcome,
                        token: self.token(),
                        repeated: true,
                    }))),
                    Seen::Expired => Some(Fate::Answered(Err(WriteError::Forgotten))),
                }
            } else {
                Some(Fate::Again)
            };
            fates.push(fate);
        }
        Ok(fates)
    }

    /// Lets the connection note what a write wants noted; one that does is alone.
    fn watch(&mut self, watching: &Watching) -> Result<(), StoreError> {
        match watching {
            Watching::Any => Ok(()),
            Watching::Nothing => self.writer.watch(None),
            Watching::These(script) => self.writer.watch(Some(script)),
        }
    }

    fn execute(
        &mut self,
        writes: &mut [&mut Write],
        chosen: &[usize],
    ) -> Result<(Captured<Vec<u8>>, bool), StoreError> {
        let mut chosen = chosen.iter().copied().peekable();
        let mut members: Vec<_> = writes
            .iter_mut()
            .enumerate()
            .filter(|(write, _)| chosen.next_if_eq(write).is_some())
            .map(|(_, write)| |member: &mut Member<'_>| write.transaction.run(member))
            .collect();
        let captured = self.writer.execute_batch(&mut members)?;
        let is_too_large = captured.changes.as_bytes().len() > CHANGES_MAX;
        Ok((captured, is_too_large))
    }

    /// Notes what became of the chosen writes, and lets the transaction wait for its record if any of them succeeded.
    fn keep_open(
        &mut self,
        captured: Captured<Vec<u8>>,
        writes: &[&mut Write],
        chosen: &[usize],
        fates: &mut [Option<Fate>],
    ) -> Result<Option<Changes>, StoreError> {
        let mut members = Vec::new();
        let mut is_empty = true;
        for Executed { member, result } in captured.executed {
            let write = chosen[member];
            fates[write] = Some(match result {
                Err(error) => Fate::Refused(WriteError::Refused(Arc::new(error))),
                Ok(outcome) => {
                    is_empty = false;
                    members.extend(batch_member(writes[write], &outcome));
                    Fate::Ran(outcome)
                }
            });
        }
        if is_empty {
            self.writer.rollback()?;
            return Ok(None);
        }
        let payload = captured.changes.into_bytes();
        let (committed, waiting) = watch::channel(false);
        self.open = Some(Open {
            payload: payload.clone(),
            members: members.clone(),
            committed,
        });
        let entry = Entry {
            kind: Kind::Batch,
            members,
            payload,
            after: Some(self.applied.lsn),
        };
        Ok(Some(Changes {
            entry,
            committed: waiting,
        }))
    }

    fn apply(&mut self, record: &Record) -> Result<(), StateError> {
        if !self.commit_own(record) {
            self.roll_back();
            self.apply_changes(record).map_err(state_error)?;
        }
        self.applied = record.point();
        Ok(())
    }

    /// Commits the transaction that waits, if this is its record. `false` if it is not, or could not be committed: then the record is
    /// applied as on any other copy.
    fn commit_own(&mut self, record: &Record) -> bool {
        let is_own = |open: &mut Open| {
            record.kind == Kind::Batch
                && open.payload == record.payload
                && open.members == record.members
        };
        let Some(open) = self.open.take_if(is_own) else {
            return false;
        };
        let entries = entries_of(record);
        match self.writer.commit_at(applied_of(record), &entries) {
            Ok(()) => {
                open.committed.send_replace(true);
                true
            }
            Err(error) => {
                tracing::warn!(%error, lsn = %record.lsn, "a committed batch is applied anew");
                false
            }
        }
    }

    fn apply_changes(&mut self, record: &Record) -> Result<(), StoreError> {
        let (applied, entries) = (applied_of(record), entries_of(record));
        match record.kind {
            Kind::Batch | Kind::Ddl => {
                let changes = ChangeSet::from_bytes(record.payload.as_slice())?;
                self.writer.apply(applied, &changes, &entries)
            }
            Kind::Expire => self.writer.expire(applied, &window_of(record)?),
            // Nothing but the place changes.
            _ => self.writer.apply(applied, &ChangeSet::default(), &entries),
        }
    }

    /// Undoes the transaction that waits, if one does.
    fn roll_back(&mut self) {
        self.open = None;
        if self.writer.in_transaction()
            && let Err(error) = self.writer.rollback()
        {
            // SQLite has rolled back already wherever it says that it cannot.
            tracing::warn!(%error, "a transaction is not undone by itself");
        }
    }

    fn token(&self) -> Token {
        Token {
            epoch: self.applied.epoch,
            lsn: self.applied.lsn,
        }
    }
}

fn batch_member(write: &Write, outcome: &[u8]) -> Option<BatchMember> {
    let Identity { client, sequence } = write.identity?;
    Some(BatchMember {
        client,
        sequence,
        positions: write.positions.clone(),
        outcome: outcome.to_vec(),
    })
}
