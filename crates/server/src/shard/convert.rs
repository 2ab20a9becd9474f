//! What the log and the file say to one another, each in its own words.

use std::io;

use shardwright_quorum::log::{Hash, Point, Record, StateError};
use shardwright_store::{Applied, Entry, Error as StoreError, ReplicaError, Window};
use shardwright_topology::{Epoch, Lsn};

/// Returns the place that a file has reached once it has applied a record.
pub(super) fn applied_of(record: &Record) -> Applied {
    applied(record.point())
}

pub(super) fn applied(point: Point) -> Applied {
    Applied {
        epoch: point.epoch.0,
        lsn: point.lsn.0,
        hash: point.hash.0,
    }
}

pub(super) fn point(applied: Applied) -> Point {
    Point {
        epoch: Epoch(applied.epoch),
        lsn: Lsn(applied.lsn),
        hash: Hash(applied.hash),
    }
}

/// Returns what the file remembers of the writes of a record.
pub(super) fn entries_of(record: &Record) -> Vec<Entry<'_>> {
    let members = record.members.iter();
    let entries = members.map(|member| Entry {
        client: member.client.0,
        sequence: member.sequence,
        outcome: &member.outcome,
    });
    entries.collect()
}

/// Returns the content of a record that lets the copies forget outcomes: three numbers.
pub(super) fn encode_window(window: &Window) -> Vec<u8> {
    let numbers = [window.per_client, window.total, window.floors];
    numbers.map(u64::to_le_bytes).concat()
}

/// Returns what a record says is to be remembered.
pub(super) fn window_of(record: &Record) -> Result<Window, StoreError> {
    let mut numbers = record.payload.chunks_exact(8).map_while(|bytes| {
        let bytes = bytes.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    });
    let mut next = || numbers.next().filter(|_| record.payload.len() == 24);
    match (next(), next(), next()) {
        (Some(per_client), Some(total), Some(floors)) => Ok(Window {
            per_client,
            total,
            floors,
        }),
        _ => Err(ReplicaError::Damaged {
            reason: "an expiry is three numbers",
        }
        .into()),
    }
}

/// Returns what a failure of the file means for the copy.
pub(super) fn state_error(error: StoreError) -> StateError {
    match error {
        StoreError::Full { .. } => StateError::NoRoom(io::Error::other(error)),
        StoreError::Replica(
            ReplicaError::Diverged { .. }
            | ReplicaError::NotNext { .. }
            | ReplicaError::Damaged { .. }
            | ReplicaError::UnknownVersion { .. }
            | ReplicaError::DuplicateEntry { .. },
        ) => StateError::Diverged(error.into()),
        error if is_passing(&error) => StateError::Unusable(error.into()),
        StoreError::Io { source, .. } if is_no_room(&source) => StateError::NoRoom(source),
        error => StateError::Failed(error.into()),
    }
}

/// Returns whether a failure of a write is that of the disk, so that another copy has to go on.
pub(crate) fn is_fault_of_disk(error: &StoreError) -> bool {
    fault_of(error).is_some()
}

/// Returns what a failure of a statement means for the copy; `None` if it is the statement's own.
pub(super) fn fault_of(error: &StoreError) -> Option<StateError> {
    let text = || error.to_string();
    match error {
        StoreError::Full { .. } => Some(StateError::NoRoom(io::Error::other(text()))),
        StoreError::CannotOpen { .. } => Some(StateError::Unusable(text().into())),
        StoreError::Corrupt { .. }
        | StoreError::NotADatabase { .. }
        | StoreError::Disk { .. }
        | StoreError::Io { .. } => Some(StateError::Failed(text().into())),
        _ => None,
    }
}

/// Whether a failure says nothing of what is in the file: it may work the next time.
fn is_passing(error: &StoreError) -> bool {
    match error {
        StoreError::CannotOpen { .. }
        | StoreError::Busy { .. }
        | StoreError::Interrupted
        | StoreError::OutOfMemory => true,
        StoreError::Io { source, .. } => {
            matches!(
                source.raw_os_error(),
                Some(OUT_OF_FILES | OUT_OF_FILES_HERE)
            )
        }
        _ => false,
    }
}

/// The system has no file descriptors left (`ENFILE`), or the process has none (`EMFILE`): the same numbers on all Unixes.
const OUT_OF_FILES: i32 = 23;
const OUT_OF_FILES_HERE: i32 = 24;

fn is_no_room(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::QuotaExceeded,
        io::ErrorKind::FileTooLarge,
    ];
    kinds.contains(&error.kind())
}

/// What a record meets when the file is not open.
pub(super) fn not_open() -> StateError {
    StateError::Failed("the file of the copy is not open".into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn io_error(source: io::Error) -> StateError {
        state_error(StoreError::Io {
            action: "sync",
            path: "shard.db".into(),
            source,
        })
    }

    #[test]
    fn only_what_may_be_damaged_is_set_aside() {
        let path = || Path::new("shard.db").into();
        let full = state_error(StoreError::Full { path: path() });
        assert!(matches!(full, StateError::NoRoom(_)), "{full:?}");
        let message = || "why".to_owned();
        let closed = state_error(StoreError::CannotOpen {
            path: path(),
            message: message(),
        });
        assert!(matches!(closed, StateError::Unusable(_)), "{closed:?}");
        let garbled = state_error(StoreError::Corrupt {
            path: path(),
            message: message(),
        });
        assert!(matches!(garbled, StateError::Failed(_)), "{garbled:?}");
        let no_files = io_error(io::Error::from_raw_os_error(OUT_OF_FILES_HERE));
        assert!(matches!(no_files, StateError::Unusable(_)), "{no_files:?}");
        let no_room = io_error(io::ErrorKind::StorageFull.into());
        assert!(matches!(no_room, StateError::NoRoom(_)), "{no_room:?}");
        // What is durable is unknown after that.
        let medium = io_error(io::Error::from_raw_os_error(5));
        assert!(matches!(medium, StateError::Failed(_)), "{medium:?}");
    }
}
