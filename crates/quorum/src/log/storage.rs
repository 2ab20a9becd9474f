//! The contract of what keeps the writes of a copy across restarts.

pub mod segments;

use std::io;

use super::Write;

/// Keeps the writes of one copy, in their order.
///
/// What was made durable is read back as [`super::Durable`] when the storage is opened again: every write for which
/// [`Storage::persist`] returned, and of the last call before a crash all or nothing. What is read back is durable: nothing that merely waits in
/// the memory of the system is shown, not even after a sync that failed. What is damaged is never taken for absent (R4).
pub trait Storage: Send + 'static {
    /// Makes writes durable, together: after the return no crash loses any of them.
    ///
    /// # Errors
    /// [`StorageError`]: what is durable of these writes is unknown. The storage refuses every later call; it has to be opened again.
    fn persist(&mut self, writes: &[Write]) -> Result<(), StorageError>;
}

/// Why a storage took nothing more.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no room. Nothing that was durable is lost: make room, and open the storage again.
    #[error("no room for the log: {0}")]
    NoRoom(#[source] io::Error),
    /// The medium refused to write or to sync. A sync that failed is never tried again, as the system may have dropped what it was
    /// to write: the copy has to begin anew under a new id.
    #[error("the log cannot be written: {0}")]
    Medium(#[source] io::Error),
    /// An earlier call failed.
    #[error("the log failed earlier; open it again")]
    Failed,
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        if is_no_room(&error) {
            Self::NoRoom(error)
        } else {
            Self::Medium(error)
        }
    }
}

/// Whether an error says that there is no room: then what is there is whole, and room can be made.
pub(in crate::log) fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
