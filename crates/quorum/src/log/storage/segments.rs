//! The storage of a copy in files.
//!
//! ```text
//! DIRECTORY/
//!   lock                       held while the copy is open
//!   00000000000000000001.log   a segment, named by the number of its first frame
//!   00000000000000004711.log   the next one
//!   NUMBER.log.new             a segment that is being made
//! ```
//!
//! Each call of [`Storage::persist`] is one *frame*: one write, and one sync. A segment is a header, frames, and zeros up to the end of
//! the file, which is made longer ahead of the frames. The header says what was kept before the segment, so that older segments can be removed once
//! all records in them are trimmed. A segment that is followed by another one says so at its end: the loss of any file is noticed.
//!
//! # What a crash leaves, and what is damage
//!
//! All is written in sectors of 512 bytes, each with a check of its own, which covers its place too. The storage relies on this: a crash leaves
//! each sector as it was or as it was written, also if its neighbours are written with it. A frame begins at a sector of its own, so a torn write touches nothing
//! that was acknowledged. A frame of which sectors are empty, at the end of the log, was never acknowledged: it is dropped. Anything else
//! that is not as it was written, a single bit in the last frame included, is [`Damage`], never taken for absence (R4).
//! One kind of damage looks like a crash: a sector of the very last frame that turned to zeros altogether.
//!
//! # What was written and not synced
//!
//! What a process wrote before it ended is read back by the next one even if it never reached the disk, also after a sync that failed.
//! So [`Segments::open`] writes the last frame again, and syncs it, before it shows it. A frame is begun only after the one before it was
//! synced, so no other frame is in doubt. A copy whose sync failed should begin anew all the same: the medium has said that it fails.

mod damage;
mod disk;
mod encoding;
mod frame;
mod header;
mod journal;
mod lock;
mod replay;
mod sector;
mod verify;

use std::{io, path::Path};

use shardwright_topology::ReplicaId;

pub use self::{
    damage::{CreateError, Damage, OpenError, Why},
    verify::{Findings, SegmentFindings},
};
use self::{
    disk::Directory,
    journal::Journal,
    lock::{Lock, NotLocked},
    replay::NotRead,
};
use super::{Storage, StorageError};
use crate::log::{Durable, Write};

/// How files are laid out. Either may be changed with each opening: what is there is read with any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many bytes a segment has, unless a single frame has more; 16 MiB by default. Room is given back a segment at a time, and a
    /// segment is read into memory at once when the copy is opened.
    pub segment_bytes: usize,
    /// By how many bytes a file is made longer at a time; 1 MiB by default. That takes a sync of its own, and a millisecond or two.
    pub step_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            step_bytes: 1 << 20,
        }
    }
}

/// The storage of one copy in the files of a directory, which no other process opens meanwhile.
///
/// ```
/// use shardwright_quorum::log::{Ballot, Storage, Write, segments::{Options, Segments}};
/// use shardwright_quorum::topology::{ConfigId, Epoch, ReplicaId};
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("shard-7");
/// let mut segments = Segments::create(&path, ReplicaId::from_bits(1), Options::default())?;
/// let promised = Some(Ballot { epoch: Epoch(1), config_id: ConfigId::from_bits(2) });
/// segments.persist(&[Write { promised, ..Write::default() }])?;
/// drop(segments);
///
/// let (_segments, kept) = Segments::open(&path, Options::default())?;
/// assert_eq!(kept.promised, promised);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Segments {
    journal: Journal<Directory>,
    _lock: Lock,
}

impl Segments {
    /// Makes a copy that holds nothing, and the directory if need be. It is durable after the return.
    ///
    /// # Errors
    /// [`CreateError`]; above all, what is there is never replaced.
    pub fn create(
        directory: impl AsRef<Path>,
        replica_id: ReplicaId,
        options: Options,
    ) -> Result<Self, CreateError> {
        let directory = directory.as_ref();
        let failed = |source| CreateError::Io {
            directory: directory.to_owned(),
            source,
        };
        disk::create_durably(directory).map_err(failed)?;
        let lock = Lock::take(directory).map_err(|not| match not {
            NotLocked::Held => CreateError::Locked(directory.to_owned()),
            NotLocked::Io(source) => failed(source),
        })?;
        let disk = Directory(directory.to_owned());
        if !replay::list(&disk).map_err(failed)?.is_empty() {
            return Err(CreateError::Exists(directory.to_owned()));
        }
        let journal = Journal::create(disk, Durable::new(replica_id), options).map_err(failed)?;
        Ok(Self {
            journal,
            _lock: lock,
        })
    }

    /// Opens a copy, and returns what it keeps, all of it durable. What a crash left of a last write is dropped before.
    ///
    /// # Errors
    /// [`OpenError`]. A copy that is damaged is left as it is.
    pub fn open(
        directory: impl AsRef<Path>,
        options: Options,
    ) -> Result<(Self, Durable), OpenError> {
        let directory = directory.as_ref();
        let lock = locked(directory, Lock::take)?;
        let journal = Journal::open(Directory(directory.to_owned()), options)
            .map_err(|not| not_opened(directory, not))?;
        let kept = journal.kept().clone();
        let segments = Self {
            journal,
            _lock: lock,
        };
        Ok((segments, kept))
    }

    /// Reads all of a copy that no process has open, changes nothing, and says what it found.
    ///
    /// # Errors
    /// [`OpenError`], as opening the copy would.
    pub fn verify(directory: impl AsRef<Path>) -> Result<Findings, OpenError> {
        let directory = directory.as_ref();
        let _lock = locked(directory, Lock::share)?;
        replay::read(&Directory(directory.to_owned()))
            .map(|replay| Findings::of(directory, &replay))
            .map_err(|not| not_opened(directory, not))
    }

    /// Removes a copy, whole or damaged, so that another one can be made in the directory. Does nothing if there is none.
    ///
    /// # Errors
    /// [`OpenError::Locked`] and [`OpenError::Io`]; what is left can be discarded later.
    pub fn discard(directory: impl AsRef<Path>) -> Result<(), OpenError> {
        let directory = directory.as_ref();
        let _lock = match locked(directory, Lock::take) {
            Err(OpenError::NoCopy(_)) => return Ok(()),
            lock => lock?,
        };
        journal::discard(&Directory(directory.to_owned()))
            .map_err(|error| not_opened(directory, NotRead::Io(error)))
    }
}

impl Storage for Segments {
    fn persist(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        self.journal.persist(writes)
    }
}

/// Locks the copy in a directory, as far as there is one.
fn locked<L>(
    directory: &Path,
    lock: impl FnOnce(&Path) -> Result<L, NotLocked>,
) -> Result<L, OpenError> {
    let disk = Directory(directory.to_owned());
    match replay::list(&disk) {
        Ok(numbers) if numbers.is_empty() => return Err(not_opened(directory, NotRead::Nothing)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(not_opened(directory, NotRead::Nothing));
        }
        Err(error) => return Err(not_opened(directory, NotRead::Io(error))),
        Ok(_) => {}
    }
    lock(directory).map_err(|not| match not {
        NotLocked::Held => OpenError::Locked(directory.to_owned()),
        NotLocked::Io(error) => not_opened(directory, NotRead::Io(error)),
    })
}

fn not_opened(directory: &Path, not: NotRead) -> OpenError {
    let file = |number| directory.join(replay::name(number));
    match not {
        NotRead::Nothing => OpenError::NoCopy(directory.to_owned()),
        NotRead::Version(number, version) => OpenError::OtherVersion {
            file: file(number),
            version,
            known: header::VERSION,
        },
        NotRead::Damaged(number, offset, why, left) => OpenError::Damaged(Box::new(Damage {
            file: file(number),
            offset: offset as u64,
            why,
            left: left.map(|left| *left),
        })),
        NotRead::Io(source) => OpenError::Io {
            directory: directory.to_owned(),
            source,
        },
    }
}

#[cfg(test)]
mod tests;
