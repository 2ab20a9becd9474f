//! Writing back what is written to a file while it is written, a little at a time.
//!
//! A sync of much that gathered holds up every other sync on the disk: a file system such as ext4 first writes what it owes for all files. So the
//! file is written back in pieces, and the sync that makes it durable finds little left.

use std::{
    fs::File,
    io,
    path::Path,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::{Result, create::failed};

/// How long what is written may wait.
const EVERY: Duration = Duration::from_millis(20);

/// How much longer for each piece of the file: to ask for one that is on disk takes about a microsecond.
const EVERY_PIECE: Duration = Duration::from_micros(10);

/// How much is written back at once, in bytes: the syncs of other files wait for no more than that.
const PIECE: u64 = 1 << 20;

/// Calls what writes to a file, which need not be there yet, and writes back meanwhile what it has written. When it returns, little is left, and
/// the file is the caller's to sync.
///
/// # Errors
///
/// Those of `write`, and [`Error::Io`](crate::Error::Io) if something could not be written back: a later sync would not say so again.
pub(crate) fn while_written<T>(path: &Path, write: impl FnOnce() -> Result<T>) -> Result<T> {
    let (written, back) = thread::scope(|scope| {
        let (writes, over) = mpsc::channel::<()>();
        let writing_back = scope.spawn(move || write_back_until(path, &over));
        let written = write();
        drop(writes);
        (written, writing_back.join())
    });
    let written = written?;
    match back {
        Ok(Err(source)) => Err(failed("write", path, source)),
        // Without the thread all is left to the caller's sync.
        Ok(Ok(())) | Err(_) => Ok(written),
    }
}

/// Writes a file back until what writes to it is over, and once more then.
fn write_back_until(path: &Path, over: &Receiver<()>) -> io::Result<()> {
    let (mut file, mut pieces) = (None, 0);
    loop {
        let is_over = over.recv_timeout(EVERY + EVERY_PIECE * pieces);
        file = file.or_else(|| File::open(path).ok());
        if let Some(file) = &file {
            pieces = write_back(file)?;
        }
        if is_over != Err(RecvTimeoutError::Timeout) {
            return Ok(());
        }
    }
}

/// Writes back what is not on disk yet, piece by piece, and returns how many pieces the file has. It may not be durable then: the disk may keep
/// it, and where it lies may not be written down.
fn write_back(file: &File) -> io::Result<u32> {
    let pieces = file.metadata()?.len().div_ceil(PIECE);
    for piece in 0..pieces {
        write_back_piece(file, piece * PIECE)?;
    }
    Ok(u32::try_from(pieces).unwrap_or(u32::MAX))
}

#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "no crate offers the system call by a safe function"
)]
fn write_back_piece(file: &File, from: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let [from, length] = [from, PIECE].map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the descriptor is open, and no memory is touched.
    let code = unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, all) };
    if code == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // A file system that cannot do it leaves all to the sync.
        error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        error => Err(error),
    }
}

/// Other systems leave all to the sync.
#[cfg(not(target_os = "linux"))]
fn write_back_piece(_file: &File, _from: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Error;

    #[test]
    fn what_is_written_is_there_and_returned() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("new");
        let text = vec![b'x'; 3 << 20];
        let length = while_written(&path, || {
            fs::write(&path, &text).expect("room");
            Ok(9)
        });
        assert_eq!(length.expect("it is written"), 9);
        assert_eq!(fs::read(&path).expect("it is there"), text);
    }

    #[test]
    fn a_file_is_as_many_pieces_as_it_takes() {
        let file = tempfile::tempfile().expect("a file");
        for (length, pieces) in [(0, 0), (1, 1), (PIECE, 1), (PIECE + 1, 2)] {
            file.set_len(length).expect("room");
            assert_eq!(write_back(&file).expect("it is on disk"), pieces);
        }
    }

    #[test]
    fn what_fails_to_write_fails() {
        let failed = while_written(Path::new("/nowhere"), || Err::<(), _>(Error::Interrupted));
        assert!(matches!(failed, Err(Error::Interrupted)));
    }
}
