//! Moving the write-ahead log into the file: a little at the end of a commit, much on a thread of its own.
//!
//! While a snapshot is held, nothing that came after it can be moved, and the log grows. What has gathered by its end takes as long as it is
//! much, and no commit waits for that. The commit after it moves the rest, so that the log begins anew.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use crate::{
    Config, Params, Result,
    connection::{Connection, Purpose},
};

/// How much a commit moves itself, in lengths of the log at which it begins to.
const OWN: u32 = 2;

/// How far the log of a file has moved into it.
#[derive(Debug, Default)]
pub(super) struct Moving {
    reached: Arc<Reached>,
    /// How long the log was when a thread was started last.
    started_at: u32,
}

#[derive(Debug, Default)]
struct Reached {
    pages: AtomicU32,
    is_under_way: AtomicBool,
}

/// Says that a thread has ended, however it does.
struct UnderWay(Arc<Reached>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.is_under_way.store(false, Ordering::Release);
    }
}

impl Moving {
    /// Moves what may be moved of a log that has so many pages, or has a thread do it. The commit stands whether or not that succeeds:
    /// a later one tries again.
    pub(super) fn go_on(&mut self, connection: &Connection, config: &Config, pages: u32) {
        let limit = config.checkpoint_pages;
        if pages < limit || self.reached.is_under_way.load(Ordering::Acquire) {
            return;
        }
        let moved = self.reached.pages.load(Ordering::Acquire);
        // One that is shorter than that has begun anew.
        let left = pages.checked_sub(moved).unwrap_or(pages);
        if left < limit.saturating_mul(OWN) {
            self.reached.take(passive(connection));
            return;
        }
        // While a snapshot is held, it would be tried in vain at each commit.
        let grown = pages.checked_sub(self.started_at).unwrap_or(pages);
        if limit <= grown {
            self.started_at = pages;
            self.start(connection.path(), config);
        }
    }

    fn start(&self, path: &Arc<Path>, config: &Config) {
        self.reached.is_under_way.store(true, Ordering::Release);
        let under_way = UnderWay(Arc::clone(&self.reached));
        let (path, config) = (Arc::clone(path), bare(config));
        let moving = thread::Builder::new().name("checkpoint".to_owned());
        // Without a thread it is over at once, and tried again later.
        let _started = moving.spawn(move || {
            let opened = Connection::open(&path, &config, Purpose::Write);
            under_way
                .0
                .take(opened.and_then(|connection| passive(&connection)));
        });
    }
}

impl Reached {
    fn take(&self, moved: Result<u32>) {
        if let Ok(pages) = moved {
            self.pages.store(pages, Ordering::Release);
        }
    }
}

/// Returns what a connection needs that runs nothing of anybody.
fn bare(config: &Config) -> Config {
    Config {
        functions: Vec::new(),
        setup_sql: String::new(),
        ..config.clone()
    }
}

/// Moves what nobody needs in the log, and returns how many of its pages have moved.
fn passive(connection: &Connection) -> Result<u32> {
    let sql = "PRAGMA main.wal_checkpoint(PASSIVE)";
    let (_, flow) = connection.query(sql, Params::NONE, |row| {
        ControlFlow::Break(row.get(2).as_i64().unwrap_or(0))
    })?;
    let pages = flow.break_value().unwrap_or(0);
    Ok(u32::try_from(pages).unwrap_or(0))
}
