//! The driver of an election: one task that looks at the lease, takes it, renews it, and tells who leads.

use std::{sync::Arc, time::Duration};

use shardwright_topology::Timestamp;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    Election, ElectionAction, Error, Holder, InvalidKey, LeaseRecord, LeaseTiming, Prefix, Records,
    Store, StoreError, WriteOutcome, records::stored,
};

/// One process's part in the election of a leader, run by a task.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{sync::Arc, time::Duration};
/// use shardwright_registry::{
///     Campaign, Holder, LeaseTiming, MemoryStore,
///     topology::{Incarnation, NodeId},
/// };
///
/// let me = Holder { node: NodeId::new("c1")?, incarnation: Incarnation(1) };
/// let timing = LeaseTiming::new(Duration::from_secs(15), Duration::from_secs(13))?;
/// let mut campaign = Campaign::start(Arc::new(MemoryStore::new()), "leader", me, timing)?;
/// assert_eq!(campaign.changed().await, Some(1));
/// campaign.resign().await;
/// # Ok(())
/// # }
/// ```
///
/// It needs a tokio runtime. Dropping it stops the task and keeps the lease until it runs out.
#[derive(Debug)]
pub struct Campaign {
    leadership: watch::Receiver<Option<Leadership>>,
    shown: Option<u64>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// A term, and until when its leader may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leadership {
    term: u64,
    ends_at: Instant,
}

impl Campaign {
    /// Takes part in the election for `lease/<name>`. All parts agree on the timing, and no two processes are the same holder.
    ///
    /// # Errors
    /// [`InvalidKey`] if the name is none.
    pub fn start(
        store: Arc<dyn Store>,
        name: &str,
        me: Holder,
        timing: LeaseTiming,
    ) -> Result<Self, InvalidKey> {
        let prefix = Prefix::new("lease/")?;
        let key = prefix.key(name)?;
        let (shown, leadership) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let part = Part {
            election: Election::new(key, me, timing),
            records: Records::new(store, prefix),
            name: name.to_owned(),
            // A holder may fail two of them, as with renewals.
            patience: timing.renew_every(),
            began_at: Instant::now(),
            leadership: shown,
        };
        Ok(Self {
            leadership,
            shown: None,
            stop: Some(stop),
            task: tokio::spawn(part.run(stopped)),
        })
    }

    /// Returns the term in which this process leads, which goes with every command; `None` if it does not, or must not act any
    /// more.
    #[must_use]
    pub fn leads(&self) -> Option<u64> {
        let leadership = *self.leadership.borrow();
        let holds = leadership.filter(|held| Instant::now() < held.ends_at);
        holds.map(|held| held.term)
    }

    /// Waits until what [`Campaign::leads`] says is another than it was when this was last called, and returns it.
    pub async fn changed(&mut self) -> Option<u64> {
        loop {
            let held = *self.leadership.borrow_and_update();
            let held = held.filter(|held| Instant::now() < held.ends_at);
            let leads = held.map(|held| held.term);
            if leads != self.shown {
                self.shown = leads;
                return leads;
            }
            let ends = async {
                match held {
                    Some(held) => sleep_until(held.ends_at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(ends);
            tokio::select! {
                changed = self.leadership.changed() => if changed.is_err() {
                    // The task ended, so nothing but time changes any more.
                    ends.await;
                },
                () = &mut ends => {}
            }
        }
    }

    /// Stops leading, and gives the lease back so that the next leader need not wait. The caller has stopped acting.
    pub async fn resign(mut self) {
        if let Some(stop) = self.stop.take() {
            // A task that ended needs no telling.
            let _told = stop.send(());
        }
        let _ended = (&mut self.task).await;
    }
}

impl Drop for Campaign {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the task holds.
struct Part {
    election: Election,
    records: Records<LeaseRecord>,
    name: String,
    /// How long one call to the store may take.
    patience: Duration,
    began_at: Instant,
    leadership: watch::Sender<Option<Leadership>>,
}

impl Part {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            self.look().await;
            let mut actions = Vec::new();
            self.election.tick(self.now(), &mut actions);
            self.perform(actions).await;
            let look_at = Instant::now() + self.patience;
            let tick_at = self.election.next_tick().map(|at| self.began_at + at.0);
            tokio::select! {
                () = sleep_until(tick_at.map_or(look_at, |at| at.min(look_at))) => {}
                _ = &mut stopped => break,
            }
        }
        let mut actions = Vec::new();
        self.election.resign(self.now(), &mut actions);
        self.perform(actions).await;
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.began_at.elapsed())
    }

    /// Reads the lease. A store that does not answer shows nothing.
    async fn look(&mut self) {
        let read = timeout(self.patience, self.records.get(&self.name)).await;
        if let Ok(Ok(lease)) = read {
            let mut actions = Vec::new();
            self.election.observe(self.now(), lease, &mut actions);
            self.perform(actions).await;
        }
    }

    /// Makes the writes that are asked for, and shows who leads after each.
    async fn perform(&mut self, mut actions: Vec<ElectionAction>) {
        loop {
            self.show();
            let mut next = Vec::new();
            for action in actions {
                if let ElectionAction::Write { expected, record } = action {
                    let write = self.write(expected, record);
                    let outcome = timeout(self.patience, write).await;
                    let outcome = outcome.unwrap_or(WriteOutcome::Failed);
                    self.election.wrote(self.now(), outcome, &mut next);
                }
            }
            if next.is_empty() {
                return self.show();
            }
            actions = next;
        }
    }

    async fn write(&self, expected: Option<crate::Revision>, record: LeaseRecord) -> WriteOutcome {
        let outcome = self.records.put(&self.name, expected, record).await;
        match outcome {
            Ok(stored) => WriteOutcome::Written(stored.revision),
            Err(Error::Store(StoreError::Conflict { found, .. })) => {
                match found.map(|entry| stored(*entry)).transpose() {
                    Ok(found) => WriteOutcome::Conflict(found),
                    Err(_unreadable) => WriteOutcome::Failed,
                }
            }
            Err(_) => WriteOutcome::Failed,
        }
    }

    fn show(&self) {
        let term = self.election.leads(self.now());
        let ends_at = self.election.leads_until().map(|at| self.began_at + at.0);
        let held = term.zip(ends_at);
        let held = held.map(|(term, ends_at)| Leadership { term, ends_at });
        self.leadership.send_if_modified(|shown| {
            let differs = *shown != held;
            *shown = held;
            differs
        });
    }
}
