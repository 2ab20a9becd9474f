//! Moving the write-ahead log into the file: a little at the end of a commit, much on a thread of its own.
//!
//! A thread moves what has gathered, since no commit waits for that, and again what was written meanwhile, which is less and less. The commit after
//! it moves the rest, so that the log begins anew. While a snapshot is held, nothing that came after it can be moved, and the log grows. If commits go on writing as fast as the
//! thread moves, there is always more left than that: then one of them moves all of it, and the others wait, or the log would never end.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::{
    Checkpoint, Config, Mover, Result,
    checkpoint::{Logged, bare, run_checkpoint},
    connection::{Connection, Purpose},
    flush::while_written,
};

/// Which part of the length at which a log begins to be moved a commit moves itself: it waits for the disk to have it.
const OWN: u32 = 8;

/// How many threads in a row may leave hardly less than there was when they began, because as much was written meanwhile.
const OVERTAKEN_MAX: u32 = 3;

/// How far the log of a file has moved into it.
#[derive(Debug, Default)]
pub(super) struct Moving {
    reached: Arc<Reached>,
    /// The thread that was started last.
    thread: Option<JoinHandle<()>>,
    /// How long the log was when a thread was started last.
    started_at: u32,
    /// How much of it was not in the file then.
    left: Option<u32>,
    /// How many in a row commits have overtaken by then.
    overtaken: u32,
}

#[derive(Debug, Default)]
struct Reached {
    pages: AtomicU32,
    is_under_way: AtomicBool,
    /// How much a snapshot has kept the last run from moving.
    held: AtomicU32,
}

/// Who is to move the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Nobody,
    Commit,
    Thread,
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
        match self.turn(config.checkpoint_pages, pages) {
            Turn::Nobody => {}
            Turn::Thread if config.mover == Mover::Thread => {
                self.start(connection.path(), config);
            }
            Turn::Commit | Turn::Thread => self
                .reached
                .take(run_checkpoint(connection, Checkpoint::Passive)),
        }
    }

    fn turn(&mut self, limit: u32, pages: u32) -> Turn {
        if pages < limit || self.reached.is_under_way.load(Ordering::Acquire) {
            return Turn::Nobody;
        }
        let moved = self.reached.pages.load(Ordering::Acquire);
        // One that is shorter than that has begun anew.
        let left = pages.checked_sub(moved).unwrap_or(pages);
        if left <= limit / OWN {
            (self.left, self.overtaken) = (None, 0);
            return Turn::Commit;
        }
        // Whoever reads for a moment holds back a little; what holds back much would do so for a commit too, and it would be tried in vain at each.
        let is_held = limit <= self.reached.held.load(Ordering::Acquire);
        let grown = pages.checked_sub(self.started_at).unwrap_or(pages);
        if is_held && grown < limit {
            return Turn::Nobody;
        }
        let before = self.left.replace(left);
        let is_less = before.is_none_or(|before| left < before - before / 4);
        if is_less || is_held {
            self.overtaken = 0;
        } else {
            self.overtaken += 1;
        }
        if OVERTAKEN_MAX <= self.overtaken {
            (self.left, self.overtaken) = (None, 0);
            return Turn::Commit;
        }
        self.started_at = pages;
        Turn::Thread
    }

    /// Waits for a thread that is under way: its connection keeps the log from being removed.
    pub(super) fn end(&mut self) {
        // One that has panicked has ended too.
        let _ended = self.thread.take().map(JoinHandle::join);
    }

    fn start(&mut self, path: &Arc<Path>, config: &Config) {
        self.reached.is_under_way.store(true, Ordering::Release);
        let under_way = UnderWay(Arc::clone(&self.reached));
        let (path, config) = (Arc::clone(path), bare(config));
        let moving = thread::Builder::new().name("checkpoint".to_owned());
        // Without a thread it is over at once, and tried again later.
        let started = moving.spawn(move || {
            let opened = Connection::open(&path, &config, Purpose::Write);
            let run = opened.and_then(|connection| {
                while_written(&path, || run_checkpoint(&connection, Checkpoint::Passive))
            });
            under_way.0.take(run);
        });
        self.thread = started.ok();
    }
}

impl Drop for Moving {
    /// Waits as well: the thread's connection may be the last one, and the last one removes the log by its name. Whoever has the file no more may
    /// make another one of that name.
    fn drop(&mut self) {
        self.end();
    }
}

impl Reached {
    fn take(&self, run: Result<Logged>) {
        if let Ok(logged) = run {
            let [pages, moved] = [logged.pages, logged.moved].map(Option::unwrap_or_default);
            self.pages.store(moved, Ordering::Release);
            self.held
                .store(pages.saturating_sub(moved), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u32 = 10;

    /// A log to which commits append, one page each, and what moves it.
    #[derive(Default)]
    struct Log {
        moving: Moving,
        pages: u32,
        moved: u32,
        longest: u32,
    }

    impl Log {
        fn commit(&mut self) -> Turn {
            // It begins anew when all of it has moved.
            if self.moved == self.pages {
                (self.moved, self.pages) = (0, 0);
            }
            self.pages += 1;
            self.longest = self.longest.max(self.pages);
            self.moving.turn(LIMIT, self.pages)
        }

        /// Moves so much, and a thread does so while others commit.
        fn run(&mut self, turn: Turn, up_to: u32, commits: u32) {
            let (pages, moved) = (self.pages, up_to.min(self.pages));
            if turn == Turn::Thread {
                self.moving
                    .reached
                    .is_under_way
                    .store(true, Ordering::Release);
                for _ in 0..commits {
                    assert_eq!(self.commit(), Turn::Nobody);
                }
                drop(UnderWay(Arc::clone(&self.moving.reached)));
            }
            self.moved = moved;
            self.moving.reached.take(Ok(Logged {
                busy: false,
                pages: Some(pages),
                moved: Some(moved),
            }));
        }
    }

    #[test]
    fn whoever_drops_it_waits_for_the_thread() {
        let ended = Arc::new(AtomicBool::new(false));
        let says = Arc::clone(&ended);
        let mut moving = Moving::default();
        moving.thread = Some(thread::spawn(move || {
            (0..1_000).for_each(|_| thread::yield_now());
            says.store(true, Ordering::Release);
        }));
        drop(moving);
        assert!(ended.load(Ordering::Acquire));
    }

    #[test]
    fn a_log_ends_although_commits_write_faster_than_a_thread_moves() {
        let mut log = Log {
            pages: 100,
            ..Log::default()
        };
        let mut turns = Vec::new();
        for _ in 0..1_000 {
            let turn = log.commit();
            if turn != Turn::Nobody {
                // As many pages as the thread moves are written meanwhile, and a tenth more. Somebody reads all the time.
                let read = if turn == Turn::Thread { LIMIT / 2 } else { 0 };
                let pages = log.pages - read;
                log.run(turn, pages, (pages - log.moved) * 11 / 10);
                turns.push(turn);
            }
        }
        assert!(turns.contains(&Turn::Commit), "{turns:?}");
        assert!(log.longest < 1_000, "{} pages", log.longest);
    }

    #[test]
    fn no_commit_moves_what_has_gathered_under_a_snapshot() {
        let mut log = Log {
            pages: 100,
            ..Log::default()
        };
        for _ in 0..1_000 {
            let turn = log.commit();
            assert_ne!(turn, Turn::Commit);
            if turn == Turn::Thread {
                log.run(turn, 50, 1);
            }
        }
        // It ends, and a thread moves all of it first.
        let mut turns = (0..LIMIT).map(|_| log.commit());
        assert!(turns.all(|turn| turn != Turn::Commit));
    }
}
