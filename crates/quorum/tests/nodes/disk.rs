//! A disk in memory, which survives the copies that use it, and fails when it is told to.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
};

use shardwright_quorum::{
    log::{
        Durable, StateError, Storage, StorageError, Write,
        shard_log::{Home, OpenError, Opened},
    },
    topology::ReplicaId,
};

use crate::lines::{Lines, Shown};

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ill {
    #[default]
    Well,
    /// There is no room.
    Full,
    /// There is no room for the log; what was applied may still be saved, which happens when the copy finds the time.
    LogFull,
    /// It cannot be synced.
    Broken,
    /// It stands still.
    Stuck,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    kept: Mutex<Kept>,
    changed: Condvar,
    pub(crate) shown: Arc<Shown>,
    directory: PathBuf,
}

#[derive(Debug, Default)]
struct Kept {
    durable: Option<Durable>,
    /// The data that no crash takes back.
    lines: Lines,
    ill: Ill,
    openings: u64,
}

impl Disk {
    pub(crate) fn new(directory: &Path) -> Arc<Self> {
        Arc::new(Self {
            directory: directory.to_owned(),
            ..Self::default()
        })
    }

    pub(crate) fn turn(&self, ill: Ill) {
        self.kept.lock().expect("a disk").ill = ill;
        self.changed.notify_all();
    }

    /// Damages the log: a record in the middle is gone.
    pub(crate) fn lose_the_log(&self) {
        self.kept
            .lock()
            .expect("a disk")
            .durable
            .as_mut()
            .expect("a log")
            .log
            .truncate_after(shardwright_quorum::topology::Lsn(1));
    }

    pub(crate) fn save(&self, lines: &Lines) -> Result<(), StateError> {
        let mut kept = self.kept.lock().expect("a disk");
        match kept.ill {
            Ill::Full => Err(StateError::NoRoom(full())),
            Ill::Broken => Err(StateError::Failed("the disk is broken".into())),
            Ill::Well | Ill::Stuck | Ill::LogFull => {
                kept.lines = lines.clone();
                Ok(())
            }
        }
    }
}

fn full() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

/// Where a copy is kept: a disk.
#[derive(Debug)]
pub(crate) struct OnDisk(pub(crate) Arc<Disk>);

impl Home for OnDisk {
    type State = crate::lines::OnDisk;

    fn open(&mut self, fresh: ReplicaId) -> Result<Opened<Self::State>, OpenError> {
        let mut kept = self.0.kept.lock().expect("a disk");
        if matches!(kept.ill, Ill::Full | Ill::LogFull) {
            return Err(OpenError::NoRoom(full()));
        }
        kept.openings += 1;
        let durable = kept
            .durable
            .get_or_insert_with(|| Durable::new(fresh))
            .clone();
        let lines = kept.lines.clone();
        self.0.shown.show(&lines);
        drop(kept);
        let storage = Box::new(Writes {
            disk: Arc::clone(&self.0),
            has_failed: false,
        });
        let state = crate::lines::OnDisk::new(Arc::clone(&self.0), lines);
        Ok(Opened {
            storage,
            durable,
            state,
        })
    }

    fn set_aside(&mut self) -> Result<Option<Durable>, OpenError> {
        let mut kept = self.0.kept.lock().expect("a disk");
        kept.lines = Lines::default();
        let remains = kept.durable.take();
        Ok(remains.map(|durable| Durable {
            clean: false,
            ..durable
        }))
    }

    fn directory(&self) -> &Path {
        &self.0.directory
    }
}

/// The log on a disk.
#[derive(Debug)]
struct Writes {
    disk: Arc<Disk>,
    has_failed: bool,
}

impl Storage for Writes {
    fn persist(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        if self.has_failed {
            return Err(StorageError::Failed);
        }
        let kept = self.disk.kept.lock().expect("a disk");
        let stuck = |kept: &mut Kept| kept.ill == Ill::Stuck;
        let mut kept = self.disk.changed.wait_while(kept, stuck).expect("a disk");
        let failed = match kept.ill {
            Ill::Full | Ill::LogFull => StorageError::NoRoom(full()),
            Ill::Broken => StorageError::Medium(io::Error::other("the disk is broken")),
            Ill::Well | Ill::Stuck => {
                let durable = kept.durable.as_mut().expect("it was opened");
                for write in writes {
                    durable.take_in(write).expect("writes follow one another");
                }
                return Ok(());
            }
        };
        self.has_failed = true;
        Err(failed)
    }
}
