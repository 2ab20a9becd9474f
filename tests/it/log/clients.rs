//! Clients that append and read, and note what they were answered.

use std::{
    io::ErrorKind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use shardwright::topology::Timestamp;
use shardwright_testkit::history::{Append, AppendOutcome, Read};

use super::node::{Connection, Port};
use crate::processes::clock;

/// How long a client waits for an answer. A node that was stopped gives none.
const PATIENCE: Duration = Duration::from_secs(2);

/// What clients were answered.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) appends: Vec<Append<u64>>,
    pub(crate) reads: Vec<Read<u64>>,
}

/// Clients that go on until they are told to stop.
#[derive(Debug)]
pub(crate) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    ports: Vec<Port>,
    is_over: AtomicBool,
    next: AtomicU64,
    acknowledged: AtomicU64,
    answered_reads: AtomicU64,
    notes: Mutex<Notes>,
}

impl Clients {
    /// Starts clients that write, and one for each level that reads.
    pub(crate) fn start(ports: Vec<Port>, writers: usize) -> Self {
        let shared = Arc::new(Shared {
            ports,
            is_over: AtomicBool::new(false),
            next: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            answered_reads: AtomicU64::new(0),
            notes: Mutex::default(),
        });
        let spawn = |work: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || work(&shared))
        };
        let writers = (0..writers).map(|_| spawn(Shared::write));
        let readers: [fn(&Shared); 2] = [
            |shared| shared.read("leased"),
            |shared| {
                shared.read("consistent");
            },
        ];
        let threads = writers.chain(readers.map(spawn)).collect();
        Self { shared, threads }
    }

    /// How many appends were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// How many reads were answered so far.
    pub(crate) fn answered_reads(&self) -> u64 {
        self.shared.answered_reads.load(Ordering::SeqCst)
    }

    /// Waits for all, and returns their notes.
    pub(crate) fn stop(self) -> Notes {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("no client panics");
        }
        std::mem::take(&mut self.shared.notes.lock().expect("no client panics"))
    }
}

impl Shared {
    fn write(&self) {
        self.visit(|connection| {
            let value = self.next.fetch_add(1, Ordering::SeqCst);
            let called = now();
            let answer = connection.ask(&format!("append quorum {value}"));
            let (outcome, goes_on) = match answer {
                Ok(answer) if answer.starts_with("ok ") => {
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    (AppendOutcome::Acknowledged(now()), true)
                }
                Ok(answer) if answer.starts_with("error refused ") => {
                    (AppendOutcome::Refused, false)
                }
                Ok(_) => (AppendOutcome::Unknown, false),
                // It was asked, or not.
                Err(_) => (AppendOutcome::Unknown, false),
            };
            self.notes
                .lock()
                .expect("no client panics")
                .appends
                .push(Append {
                    value,
                    called,
                    outcome,
                });
            goes_on
        });
    }

    fn read(&self, level: &str) {
        self.visit(|connection| {
            let called = now();
            let seen = match connection.values(&format!("read {level}")) {
                Ok(Some(seen)) => seen,
                Ok(None) => return false,
                Err(error) => {
                    let is_usual = error.kind() != ErrorKind::InvalidData;
                    assert!(is_usual, "a read shows what is no value: {error}");
                    return false;
                }
            };
            let answered = now();
            self.answered_reads.fetch_add(1, Ordering::SeqCst);
            let mut notes = self.notes.lock().expect("no client panics");
            notes.reads.push(Read {
                called,
                answered,
                seen,
            });
            drop(notes);
            clock::pause(Duration::from_millis(20));
            true
        });
    }

    /// Asks one node for as long as it answers, and then the next one.
    fn visit(&self, mut ask: impl FnMut(&mut Connection) -> bool) {
        let mut turn = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            let port = &self.ports[turn % self.ports.len()];
            if let Ok(mut connection) = port.connect(PATIENCE) {
                let mut goes_on = true;
                while goes_on && !self.is_over.load(Ordering::SeqCst) {
                    goes_on = ask(&mut connection);
                }
            }
            turn += 1;
            clock::pause(Duration::from_millis(5));
        }
    }
}

fn now() -> Timestamp {
    Timestamp(Duration::from_nanos(clock::now()))
}
