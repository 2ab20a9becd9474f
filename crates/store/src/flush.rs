//! Making durable what is written to a file while it is written, a little at a time.
//!
//! A sync of much that gathered holds up every other sync on the disk: a file system such as ext4 first writes what it owes for all files.

use std::{fs::File, path::Path, sync::mpsc, thread, time::Duration};

/// How long what is written may wait.
const EVERY: Duration = Duration::from_millis(20);

/// Calls what writes to a file, which need not be there yet, and makes durable now and then what it has written. The last of it is the caller's to
/// sync.
pub(crate) fn while_written<T>(path: &Path, write: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (writes, over) = mpsc::channel::<()>();
        scope.spawn(move || {
            let mut file = None;
            while let Err(mpsc::RecvTimeoutError::Timeout) = over.recv_timeout(EVERY) {
                file = file.or_else(|| File::open(path).ok());
                if let Some(file) = &file {
                    // Whoever needs it syncs once more, and hears of a failure.
                    let _synced = file.sync_data();
                }
            }
        });
        let written = write();
        drop(writes);
        written
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_is_there_and_returned() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("new");
        let length = while_written(&path, || {
            fs::write(&path, "something").expect("room");
            9
        });
        assert_eq!(fs::read(&path).expect("it is there").len(), length);
    }
}
