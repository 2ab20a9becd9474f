//! The data of a copy, as those share it who write to it: the executor of the primary, and the log that has committed.
//!
//! The executor leaves its transaction open and goes to the log. What comes back is either that transaction's own record, and it is
//! committed, or another one, and it is undone.

use std::{
    io::Read,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwapOption;
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_quorum::log::{Kind, Point, Record, Snapshot, StateError, shard_log::Entry};
use shardwright_store::ShardFile;
use shardwright_topology::{Halts, Lsn};
use tokio::sync::watch;

use super::{
    CopyGap,
    alarm::Alarm,
    convert::not_open,
    logged_file::{Came, Fate, LoggedFile},
    meter::Meter,
    scrub::Held,
    split::Aside,
    write::{Token, Write, WriteError},
};

/// The data of a copy, while it is open.
#[derive(Debug)]
pub(super) struct CopyFile {
    slot: Mutex<Option<Slot>>,
    /// Its file, for those who read.
    file: ArcSwapOption<ShardFile>,
    /// How far it is.
    place: watch::Sender<Option<Token>>,
    /// Whether it has a part of a commit over several shards that is prepared and not resolved.
    held_by_part: watch::Sender<bool>,
    /// What it held when it was compared.
    held: Held,
    /// What it keeps aside for other shards.
    aside: Aside,
    /// How much it is used.
    meter: Meter,
}

#[derive(Debug)]
struct Slot {
    data: LoggedFile,
    /// Tells what became of the transaction that waits for its record.
    committed: Option<watch::Sender<bool>>,
}

/// What running a batch has led to.
#[derive(Debug)]
pub(super) struct Ran {
    /// What became of each write.
    pub(super) fates: Vec<Fate>,
    /// The last record that the data had.
    pub(super) base: Lsn,
    /// What has changed, if anything succeeded: it is in the open transaction.
    pub(super) changes: Option<Changes>,
}

/// What an open transaction changes.
#[derive(Debug)]
pub(super) struct Changes {
    /// What the log is to decide about.
    pub(super) entry: Entry,
    /// Whether the transaction is committed; ends without a word when it is undone.
    pub(super) committed: watch::Receiver<bool>,
}

impl CopyFile {
    /// Returns the data of a copy in a directory, which is not open yet.
    pub(super) fn new(shard: PartitionId, home: PathBuf, halts: Halts<CopyGap>) -> Self {
        Self {
            slot: Mutex::default(),
            file: ArcSwapOption::default(),
            place: watch::channel(None).0,
            held_by_part: watch::channel(false).0,
            held: Held::default(),
            aside: Aside::halting(home, halts),
            meter: Meter::new(shard),
        }
    }

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

    /// Returns whether it has a part that is prepared, as that changes.
    pub(super) fn held_by_part(&self) -> watch::Receiver<bool> {
        self.held_by_part.subscribe()
    }

    /// Returns what it held when it was compared.
    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// Takes data that was opened, in place of what was there before.
    pub(super) fn open(&self, data: LoggedFile) {
        self.held.forget();
        self.aside.opened(data.file());
        let mut slot = self.lock();
        let slot = slot.insert(Slot {
            data,
            committed: None,
        });
        self.show_all(&slot.data);
    }

    /// Lets go of the data. Those who read it may go on.
    pub(super) fn close(&self) {
        *self.lock() = None;
        self.file.store(None);
        self.place.send_replace(None);
    }

    /// Runs writes in one transaction, which stays open if any of them succeeded. `None` if the alarm rang: nothing of them has happened.
    pub(super) fn run(
        &self,
        writes: &mut [&mut Write],
        alarm: &Alarm,
    ) -> Result<Option<Ran>, WriteError> {
        let mut slot = self.lock();
        let slot = slot.as_mut().ok_or(WriteError::NotRunning)?;
        slot.committed = None;
        let interrupter = slot.data.interrupter();
        let data = &mut slot.data;
        let ran = alarm.during(interrupter, || self.meter.during(|| data.run(writes)));
        let Some(ran) = ran.filter(|_| !alarm.has_rung()) else {
            slot.data.roll_back();
            return Ok(None);
        };
        let ran = ran.map_err(|error| WriteError::Refused(Arc::new(error)))?;
        let changes = ran.entry.map(|entry| {
            let (sender, committed) = watch::channel(false);
            slot.committed = Some(sender);
            Changes { entry, committed }
        });
        Ok(Some(Ran {
            fates: ran.fates,
            base: ran.base,
            changes,
        }))
    }

    /// Undoes the transaction that waits, if one does.
    pub(super) fn roll_back(&self) {
        if let Some(slot) = self.lock().as_mut() {
            slot.data.roll_back();
            slot.committed = None;
        }
    }

    /// Applies a record that is committed.
    pub(super) fn apply(&self, record: &Record) -> Result<(), StateError> {
        self.with(|slot| {
            // Whatever comes, no transaction waits any longer.
            let committed = slot.committed.take();
            if record.kind == Kind::SplitBase {
                slot.data.take(record, &self.aside)?;
                self.held.forget();
                self.show_all(&slot.data);
                return Ok(());
            }
            let came = self.meter.during(|| slot.data.apply(record))?;
            if let (Came::Awaited, Some(committed)) = (came, committed) {
                committed.send_replace(true);
            }
            self.show(&slot.data);
            match record.kind {
                Kind::Compare => self.held.compare(record, slot.data.file()),
                Kind::Cut => self.cut(record, slot.data.file()),
                _ => Ok(()),
            }
        })
    }

    /// Begins to keep aside what other shards are to begin with.
    fn cut(&self, record: &Record, file: &ShardFile) -> Result<(), StateError> {
        if let Some(making) = self.aside.cut(record, file)? {
            making.begin();
        }
        Ok(())
    }

    /// Returns what it keeps aside for other shards.
    pub(super) fn aside(&self) -> &Aside {
        &self.aside
    }

    /// Returns what counts how much it is used.
    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Makes durable what was applied, and returns how far that is.
    pub(super) fn save(&self) -> Result<Point, StateError> {
        self.with(|slot| {
            slot.data.save()?;
            Ok(slot.data.saved())
        })
    }

    /// Returns the data as it is now.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StateError> {
        // What is left in the log is moved while nobody can commit: that should not be much.
        let _moved = self.file().map(|file| file.move_log());
        self.with(|slot| slot.data.snapshot())
    }

    /// Replaces the data by the content of a snapshot.
    pub(super) fn install(&self, base: Point, content: &mut dyn Read) -> Result<Point, StateError> {
        self.with(|slot| {
            slot.committed = None;
            slot.data.install(base, content)?;
            self.held.forget();
            self.show_all(&slot.data);
            Ok(slot.data.saved())
        })
    }

    fn with<T>(
        &self,
        run: impl FnOnce(&mut Slot) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut slot = self.lock();
        run(slot.as_mut().ok_or_else(not_open)?)
    }

    fn show_all(&self, data: &LoggedFile) {
        self.file.store(Some(Arc::clone(data.file())));
        self.show(data);
    }

    fn show(&self, data: &LoggedFile) {
        let (applied, is_held) = (data.applied(), data.is_held());
        self.held_by_part
            .send_if_modified(|held| std::mem::replace(held, is_held) != is_held);
        self.place.send_replace(Some(Token {
            epoch: applied.epoch,
            lsn: applied.lsn,
        }));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Slot>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
