//! Ends what SQLite runs for a client once its time is over, or once it is in vain.
//!
//! SQLite forgets an interruption that comes between two statements. So whatever rings goes on to, until what it rings for has returned.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use shardwright_registry::Clock;
use shardwright_store::Interrupter;
use shardwright_topology::Timestamp;
use tokio::{runtime::Handle, time::sleep};

/// How soon what has not ended yet is interrupted again.
const AGAIN: Duration = Duration::from_millis(20);

/// Rings for one run of SQLite: a batch, or the next rows of a read.
#[derive(Debug)]
pub(crate) struct Alarm {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    armed: Option<Interrupter>,
    has_rung: bool,
    is_over: bool,
    /// Which member of a batch runs, and since when.
    running: Option<(usize, Timestamp)>,
    caught: Option<Caught>,
}

/// The member of a batch that ran when the alarm began to ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caught {
    pub(super) member: usize,
    /// For how long it had run.
    pub(super) after: Duration,
}

impl Alarm {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            state: Mutex::default(),
        })
    }

    /// Runs something that the alarm can end; `None` if it has rung before.
    pub(crate) fn during<T>(&self, interrupter: Interrupter, run: impl FnOnce() -> T) -> Option<T> {
        let disarm = Disarm(self);
        {
            let mut state = self.lock();
            if state.has_rung {
                return None;
            }
            state.armed = Some(interrupter);
        }
        let done = run();
        drop(disarm);
        Some(done)
    }

    /// Takes note of the member that runs from now on. Whether it may.
    pub(super) fn begin(&self, member: usize) -> bool {
        let now = self.clock.now();
        let mut state = self.lock();
        state.running = Some((member, now));
        !state.has_rung
    }

    pub(crate) fn has_rung(&self) -> bool {
        self.lock().has_rung
    }

    pub(super) fn caught(&self) -> Option<Caught> {
        self.lock().caught
    }

    /// Waits for what runs on another thread. If something else ends before, rings until it has returned, and says what that was. It also
    /// rings if nobody waits any more.
    pub(crate) async fn bound<T, W>(
        self: &Arc<Self>,
        running: impl Future<Output = T>,
        over: impl Future<Output = W>,
    ) -> (T, Option<W>) {
        let mut left = Left(Some(Arc::downgrade(self)));
        let mut running = pin!(running);
        let why = tokio::select! {
            biased;
            done = &mut running => {
                left.0 = None;
                return (done, None);
            }
            why = over => why,
        };
        loop {
            self.ring();
            tokio::select! {
                done = &mut running => {
                    left.0 = None;
                    return (done, Some(why));
                }
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// Interrupts what runs. Whether there is something that has not returned.
    fn ring(&self) -> bool {
        let now = self.clock.now();
        let mut state = self.lock();
        if !state.has_rung {
            state.has_rung = true;
            state.caught = state.running.map(|(member, since)| Caught {
                member,
                after: now.since(since),
            });
        }
        if let Some(interrupter) = &state.armed {
            interrupter.interrupt();
        }
        !state.is_over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the time in which an alarm may interrupt.
struct Disarm<'a>(&'a Alarm);

impl Drop for Disarm<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.armed = None;
        state.is_over = true;
    }
}

/// Rings where whoever waited is gone.
struct Left(Option<Weak<Alarm>>);

impl Drop for Left {
    fn drop(&mut self) {
        let Some(alarm) = self.0.take() else {
            return;
        };
        let rings = move || alarm.upgrade().is_some_and(|alarm| alarm.ring());
        if rings()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                while rings() {
                    sleep(AGAIN).await;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use shardwright_store::{Config, Error, Identity, ShardFile};
    use tempfile::TempDir;
    use tokio::{
        task::{JoinHandle, spawn_blocking},
        time::timeout,
    };

    use super::*;

    const ENDLESS: &str =
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";

    const PATIENCE: Duration = Duration::from_secs(60);

    type Read = JoinHandle<Option<Result<Option<()>, Error>>>;

    /// Reads for ever.
    fn endless(alarm: &Arc<Alarm>) -> (TempDir, Read) {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::new("main", "shard-0");
        let path = directory.path().join("a.db");
        let file = ShardFile::create(path, &identity, &Config::default()).unwrap();
        let alarm = Arc::clone(alarm);
        let read = spawn_blocking(move || {
            let snapshot = file.snapshot().unwrap();
            let read = || snapshot.query_row(ENDLESS, (), |_| ());
            alarm.during(snapshot.interrupter(), read)
        });
        (directory, read)
    }

    fn was_interrupted(read: Option<Result<Option<()>, Error>>) -> bool {
        matches!(read, None | Some(Err(Error::Interrupted)))
    }

    #[tokio::test]
    async fn what_takes_too_long_is_interrupted() {
        let alarm = Alarm::new(Clock::start());
        let (_directory, read) = endless(&alarm);
        let bound = alarm.bound(read, sleep(Duration::from_millis(50)));
        let (read, over) = timeout(PATIENCE, bound).await.expect("it ends");
        assert!(was_interrupted(read.unwrap()) && over.is_some());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_interrupted() {
        let alarm = Alarm::new(Clock::start());
        let (_directory, read) = endless(&alarm);
        let bound = alarm.bound(pending::<()>(), pending::<()>());
        assert!(bound.now_or_never().is_none());
        let read = timeout(PATIENCE, read).await.expect("it ends");
        assert!(was_interrupted(read.unwrap()));
    }
}
