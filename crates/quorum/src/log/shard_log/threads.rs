//! The threads of a copy that may wait: one makes writes durable, one applies records.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use shardwright_topology::Lsn;
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::driver::Input;
use crate::log::{
    Record, Snapshot, StateError, StateMachine, Storage, Ticket, Write, snapshot::StoredSnapshot,
};

/// How many writes become durable in one step, at most.
const WRITES_MAX: usize = 4_096;

/// How many applied records may be not durable.
const UNSAVED_MAX: u64 = 1_000;

/// A thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Worker<T> {
    work: mpsc::Sender<T>,
    ended: oneshot::Receiver<()>,
}

/// What the thread that applies has to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Apply these.
    Apply(Vec<Arc<Record>>),
    /// Make durable what was applied.
    Save,
    /// Let this be the data.
    Install(StoredSnapshot),
    /// Make a snapshot.
    Snapshot(oneshot::Sender<Snapshot>),
}

impl<T: Send + 'static> Worker<T> {
    fn spawn(
        name: String,
        run: impl FnOnce(mpsc::Receiver<T>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (work, inbox) = mpsc::channel();
        let (ends, ended) = oneshot::channel::<()>();
        thread::Builder::new().name(name).spawn(move || {
            let _ends = ends;
            run(inbox);
        })?;
        Ok(Self { work, ended })
    }

    /// Hands over work. A thread that has ended said why.
    pub(super) fn give(&self, work: T) {
        let _given = self.work.send(work);
    }

    /// Waits until all work is done.
    pub(super) async fn end(self) {
        drop(self.work);
        // The sender is dropped without a word.
        let _ended = self.ended.await;
    }
}

/// Reports a thread that ended although there may be work: it panicked.
struct Watched {
    driver: UnboundedSender<Input>,
    is_over: bool,
}

impl Watched {
    fn tell(&self, input: Input) {
        // A driver that has ended needs to know nothing.
        let _told = self.driver.send(input);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.is_over {
            self.tell(Input::Panicked);
        }
    }
}

/// Starts the thread that makes writes durable: all that wait, in one step.
pub(super) fn storage(
    mut storage: Box<dyn Storage>,
    driver: UnboundedSender<Input>,
) -> std::io::Result<Worker<(Ticket, Vec<Write>)>> {
    Worker::spawn(
        "log-storage".to_owned(),
        move |inbox: mpsc::Receiver<(Ticket, Vec<Write>)>| {
            let mut watched = Watched {
                driver,
                is_over: false,
            };
            while let Ok((mut ticket, mut writes)) = inbox.recv() {
                while writes.len() < WRITES_MAX
                    && let Ok((later, more)) = inbox.try_recv()
                {
                    ticket = later;
                    writes.extend(more);
                }
                match storage.persist(&writes) {
                    Ok(()) => watched.tell(Input::Persisted(ticket)),
                    Err(error) => {
                        watched.tell(Input::NotPersisted(error));
                        break;
                    }
                }
            }
            watched.is_over = true;
        },
    )
}

/// Up to where records were applied. The driver looks when it does something else anyway, and is woken only if somebody waits.
#[derive(Debug, Default)]
pub(super) struct Applied {
    seen: AtomicU64,
    saved: AtomicU64,
    is_wanted: AtomicBool,
}

impl Applied {
    /// Returns the last record that readers see, and the last one that is durable.
    pub(super) fn get(&self) -> (Lsn, Lsn) {
        let saved = self.saved.load(Ordering::SeqCst);
        (Lsn(self.seen.load(Ordering::SeqCst)), Lsn(saved))
    }

    /// Asks to be told of the next change, and of all until nobody waits.
    pub(super) fn want(&self) {
        self.is_wanted.store(true, Ordering::SeqCst);
    }

    pub(super) fn set(&self, seen: Lsn, saved: Lsn) {
        self.seen.store(seen.0, Ordering::SeqCst);
        self.saved.store(saved.0, Ordering::SeqCst);
    }

    fn is_wanted(&self) -> bool {
        self.is_wanted.swap(false, Ordering::SeqCst)
    }
}

/// Starts the thread that applies records.
pub(super) fn applier(
    state: impl StateMachine,
    applied: Arc<Applied>,
    driver: UnboundedSender<Input>,
) -> std::io::Result<Worker<Work>> {
    Worker::spawn("log-apply".to_owned(), move |inbox| {
        let watched = Watched {
            driver,
            is_over: false,
        };
        let seen = state.applied().lsn;
        let mut applier = Applier {
            state,
            seen,
            applied,
            watched,
        };
        let outcome = applier.run(&inbox);
        if let Err(error) = outcome {
            applier.watched.tell(Input::NotApplied(error));
        }
        applier.watched.is_over = true;
    })
}

struct Applier<S> {
    state: S,
    /// The last record that readers see.
    seen: Lsn,
    applied: Arc<Applied>,
    watched: Watched,
}

impl<S: StateMachine> Applier<S> {
    fn run(&mut self, inbox: &mpsc::Receiver<Work>) -> Result<(), StateError> {
        let mut next = inbox.recv().ok();
        while let Some(work) = next.take() {
            match work {
                Work::Apply(mut records) => {
                    while let Ok(more) = inbox.try_recv() {
                        if let Work::Apply(more) = more {
                            records.extend(more);
                        } else {
                            next = Some(more);
                            break;
                        }
                    }
                    self.apply(&records)?;
                }
                Work::Save => self.save()?,
                Work::Install(stored) => self.install(stored)?,
                Work::Snapshot(answer) => {
                    let snapshot = self.state.snapshot()?;
                    // Whoever asked may have gone.
                    let _sent = answer.send(snapshot);
                }
            }
            if next.is_none() {
                next = inbox.recv().ok();
            }
        }
        self.save()
    }

    fn apply(&mut self, records: &[Arc<Record>]) -> Result<(), StateError> {
        let Some(last) = records.last() else {
            return Ok(());
        };
        self.state.apply(records)?;
        self.seen = last.lsn;
        if self.seen.0 - self.state.applied().lsn.0 >= UNSAVED_MAX {
            self.state.save()?;
        }
        self.tell();
        Ok(())
    }

    fn save(&mut self) -> Result<(), StateError> {
        if self.state.applied().lsn < self.seen {
            self.state.save()?;
            self.tell();
        }
        Ok(())
    }

    fn install(&mut self, stored: StoredSnapshot) -> Result<(), StateError> {
        install(&mut self.state, stored)?;
        self.seen = self.state.applied().lsn;
        self.tell();
        self.watched.tell(Input::Installed);
        Ok(())
    }

    fn tell(&self) {
        self.applied.set(self.seen, self.state.applied().lsn);
        if self.applied.is_wanted() {
            self.watched.tell(Input::Applied);
        }
    }
}

/// Lets a stored snapshot be the data, unless it is so already, and removes it.
pub(super) fn install(
    state: &mut impl StateMachine,
    stored: StoredSnapshot,
) -> Result<(), StateError> {
    let failed = |error: std::io::Error| StateError::Failed(error.into());
    if state.applied().lsn < stored.base().lsn {
        let mut content = stored.content().map_err(failed)?;
        state.install(stored.base(), &mut content)?;
    }
    stored.remove().map_err(failed)
}
