//! The thread that brings the write-ahead log into the file, so that no change waits for that.

use std::{
    io,
    sync::mpsc::{self, Receiver, SyncSender},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;

/// How many changes a process makes until it has the log brought into the file.
const CHANGES: usize = 100;

/// With so many pages the log is to begin anew, though changes wait for that: without a pause between them it never does by itself.
const PAGES_MAX: i64 = 8_000;

/// Has the log brought into the file now and then. The thread ends with this.
#[derive(Debug)]
pub(super) struct Checkpoints {
    due: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The changes since it was asked to.
    changes: usize,
}

impl Checkpoints {
    /// Starts the thread, with a connection of its own.
    pub(super) fn start(connection: Connection) -> io::Result<Self> {
        let (due, inbox) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("registry-log".to_owned())
            .spawn(move || run(&connection, &inbox))?;
        Ok(Self {
            due: Some(due),
            thread: Some(thread),
            // Many processes may make one change each.
            changes: CHANGES,
        })
    }

    /// Returns what does nothing, for a file that nobody writes.
    pub(super) fn none() -> Self {
        Self {
            due: None,
            thread: None,
            changes: 0,
        }
    }

    /// Takes in that so many changes were made.
    pub(super) fn count(&mut self, changes: usize) {
        self.changes += changes;
        if let Some(due) = &self.due
            && self.changes > CHANGES
        {
            self.changes = 0;
            // One that is asked for already does for this one too.
            let _asked = due.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.due = None;
        if let Some(thread) = self.thread.take() {
            // The last one who has the file open leaves no log beside it. A panic has been reported.
            drop(thread.join());
        }
    }
}

fn run(connection: &Connection, inbox: &Receiver<()>) {
    while let Ok(()) = inbox.recv() {
        // What fails is done next time: until then the log has it all.
        let Ok((pages, done)) = checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)") else {
            continue;
        };
        if done < pages && PAGES_MAX < pages {
            let _begun_anew = checkpoint(connection, "PRAGMA wal_checkpoint(RESTART)");
        }
    }
}

/// Returns how many pages the log has, and how many of them are in the file.
fn checkpoint(connection: &Connection, sql: &str) -> rusqlite::Result<(i64, i64)> {
    connection.query_row(sql, [], |row| Ok((row.get(1)?, row.get(2)?)))
}
