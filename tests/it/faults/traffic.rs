//! Clients that write and read until they are told to stop, and what they found wrong.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use shardwright_testkit::until;

use super::{access::Port, gaps::longest_gap, readers, writers};
use crate::processes::clock::Moment;

/// How many clients write.
pub(super) const WRITERS: usize = 5;

/// How many acknowledgements each writer gets when things go on.
const PROGRESS: usize = 5;

/// The clients.
#[derive(Debug)]
pub(super) struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What they share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) ports: Vec<Port>,
    pub(super) writers: Vec<Written>,
    /// How many reads were answered, by kind.
    pub(super) reads: [AtomicU64; readers::KINDS.len()],
    is_over: AtomicBool,
    wrong: Mutex<Vec<String>>,
}

/// How far a writer is.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// How many writes it has begun.
    pub(super) begun: AtomicU64,
    /// The last write that was acknowledged, with its token.
    pub(super) last: Mutex<(u64, Value)>,
    /// When each was.
    pub(super) moments: Mutex<Vec<Moment>>,
}

impl Written {
    /// How many writes it has begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// The last write that was acknowledged, with its token.
    pub(super) fn last(&self) -> (u64, Value) {
        self.last.lock().expect("no holder panics").clone()
    }
}

impl Shared {
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Takes note of what must not be.
    pub(super) fn complain(&self, wrong: String) {
        self.wrong.lock().expect("no holder panics").push(wrong);
    }

    fn wrong(&self) -> Vec<String> {
        self.wrong.lock().expect("no holder panics").clone()
    }
}

impl Traffic {
    /// Starts all clients.
    pub(super) fn start(ports: Vec<Port>) -> Self {
        let shared = Arc::new(Shared {
            ports,
            writers: (0..WRITERS).map(|_| Written::default()).collect(),
            reads: Default::default(),
            is_over: AtomicBool::new(false),
            wrong: Mutex::default(),
        });
        let writers = (0..WRITERS).map(|writer| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || writers::write(&shared, writer))
        });
        let readers = (0..readers::KINDS.len()).map(|kind| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || readers::read(&shared, kind))
        });
        let threads = writers.chain(readers).collect();
        Self { shared, threads }
    }

    /// Waits until every writer has had some more acknowledgements, and every reader an answer.
    #[track_caller]
    pub(super) fn wait_for_progress(&self) {
        let acknowledged = |writer: &Written| writer.moments.lock().expect("no panic").len();
        let before: Vec<usize> = self.shared.writers.iter().map(acknowledged).collect();
        let answered = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let reads = self.shared.reads.each_ref().map(answered);
        until("all clients are served", || {
            let mut writers = self.shared.writers.iter().zip(&before);
            let mut readers = self.shared.reads.iter().zip(&reads);
            let is_served = writers
                .all(|(writer, before)| acknowledged(writer) >= before + PROGRESS)
                && readers.all(|(reads, before)| answered(reads) > *before);
            (is_served || !self.shared.wrong().is_empty()).then_some(())
        });
        self.assert_nothing_wrong();
    }

    /// Fails if a client was answered what must not be.
    #[track_caller]
    pub(super) fn assert_nothing_wrong(&self) {
        let wrong = self.shared.wrong();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// The longest that a writer waited within a span.
    pub(super) fn longest_gap(&self, since: Moment, until: Moment) -> Duration {
        let gap = |writer: &Written| {
            let moments = writer.moments.lock().expect("no holder panics");
            longest_gap(&moments, since, until)
        };
        self.shared
            .writers
            .iter()
            .map(gap)
            .max()
            .unwrap_or_default()
    }

    /// Stops all clients, each after its last write was acknowledged. Returns how many writes each writer has made.
    #[track_caller]
    pub(super) fn stop(&mut self) -> Vec<u64> {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("no client panics");
        }
        self.assert_nothing_wrong();
        let writers = self.shared.writers.iter();
        writers.map(|writer| writer.last().0).collect()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        // They would go on for as long as other tests run.
        self.shared.is_over.store(true, Ordering::SeqCst);
    }
}
