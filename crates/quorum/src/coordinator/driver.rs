//! Runs one put: its machine on a clock, the store and the peers.

use std::{
    future::{pending, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use shardwright_topology::Timestamp;
use smallvec::SmallVec;
use tokio::{
    sync::oneshot,
    time::{error::Elapsed, sleep_until, timeout_at},
};

use super::{Receipt, Shared, UnderReplicated};
use crate::{
    BoxError, CommitLevel, CopyError, CopyFailure, Error, KeyTaken, Peer, PeerClient, PeerIndex,
    Peers, Storage,
    put::{Action, Event, Put, Replica},
};

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Outcome = (Replica, Result<(), CopyError>);
type Answer = Result<Receipt, Error>;

/// A copy that has been started, and not looked at since.
struct Started {
    replica: Replica,
    deadline: Timestamp,
    work: Work<Result<(), CopyError>>,
}

/// What every copy of a put needs.
pub(super) struct Job<S: Storage, C: PeerClient> {
    pub(super) shared: Arc<Shared<S, C>>,
    /// Those that were known when the put began.
    pub(super) peers: Arc<Peers<C::Peer>>,
    pub(super) key: Arc<str>,
    pub(super) event: Bytes,
}

/// A put that has begun. Its place among those that are under way is given back when it is dropped.
pub(super) struct Driver<S: Storage, C: PeerClient> {
    job: Arc<Job<S, C>>,
    put: Put,
    level: CommitLevel,
    started: SmallVec<[Started; 4]>,
    /// Those that were not ready at once. Most puts in memory have none, and need no such set.
    copies: Option<FuturesUnordered<Work<Outcome>>>,
    actions: Vec<Action>,
    wake_at: Option<Timestamp>,
    /// Whether it has a place among those that are being repaired.
    is_repairing: bool,
    failures: Vec<CopyFailure>,
    answer: Option<Answer>,
}

impl<S: Storage, C: PeerClient> Driver<S, C> {
    /// Returns a put that was counted in.
    pub(super) fn new(job: Job<S, C>, level: CommitLevel, chosen: &[PeerIndex]) -> Self {
        let fallback = Arc::clone(job.peers.fallback());
        Self {
            put: Put::new(&job.shared.settings, level, chosen, fallback),
            job: Arc::new(job),
            level,
            started: SmallVec::new(),
            copies: None,
            actions: Vec::new(),
            wake_at: None,
            is_repairing: false,
            failures: Vec::new(),
            answer: None,
        }
    }

    /// Starts the copies, and goes on with those that are made at once.
    pub(super) fn begin(&mut self, context: &mut Context<'_>) {
        let begun_at = self.now();
        self.tell_at(begun_at, Event::Begin);
        while let Poll::Ready(Some(outcome)) = self.poll_copies(context) {
            // A copy that is there starts no other one, so its moment is of no account, and the clock is a good part of what a
            // put in memory costs.
            let is_stored = outcome.1.is_ok();
            let now = if is_stored { begun_at } else { self.now() };
            self.finished(now, outcome);
        }
    }

    /// Returns the answer to the caller if it is known now.
    pub(super) fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    /// Goes on in a task of its own, and returns where an answer comes that has not been taken.
    pub(super) fn go_on(self) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(self.run_to_the_end(sender));
        receiver
    }

    /// Returns whether no copy is under way or to be repaired.
    pub(super) fn is_finished(&self) -> bool {
        let has_copies = self
            .copies
            .as_ref()
            .is_some_and(|copies| !copies.is_empty());
        self.started.is_empty() && !has_copies && self.wake_at.is_none()
    }

    /// Looks for the outcome of a copy; there is none to come if there is no copy.
    fn poll_copies(&mut self, context: &mut Context<'_>) -> Poll<Option<Outcome>> {
        while !self.started.is_empty() {
            let mut copy = self.started.remove(0);
            match copy.work.as_mut().poll(context) {
                Poll::Ready(outcome) => return Poll::Ready(Some((copy.replica, outcome))),
                Poll::Pending => {
                    let copy = self.limited(copy);
                    self.copies.get_or_insert_default().push(copy);
                }
            }
        }
        match &mut self.copies {
            Some(copies) => copies.poll_next_unpin(context),
            None => Poll::Ready(None),
        }
    }

    /// Returns the copy with an end at its deadline.
    fn limited(&self, copy: Started) -> Work<Outcome> {
        let deadline = self.job.shared.clock.instant(copy.deadline);
        let time = self.job.shared.settings.copy_timeout;
        Box::pin(async move {
            let outcome = match timeout_at(deadline, copy.work).await {
                Ok(outcome) => outcome,
                Err(Elapsed { .. }) => Err(CopyError::TimedOut(time)),
            };
            (copy.replica, outcome)
        })
    }

    async fn run_to_the_end(mut self, caller: oneshot::Sender<Answer>) {
        let mut caller = Some(caller);
        loop {
            if self.answer.is_some()
                && let Some((caller, answer)) = caller.take().zip(self.answer.take())
            {
                // The caller may have gone; the copies are made all the same.
                let _ = caller.send(answer);
            }
            if self.is_finished() {
                return;
            }
            let clock = self.job.shared.clock;
            let wake_at = self.wake_at;
            let wake = async {
                match wake_at {
                    Some(at) => sleep_until(clock.instant(at)).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                Some(outcome) = poll_fn(|context| self.poll_copies(context)) => {
                    self.finished(self.now(), outcome);
                }
                () = wake => {
                    self.wake_at = None;
                    self.tell_at(wake_at.unwrap_or_default().max(clock.now()), Event::Tick);
                }
            }
        }
    }

    fn finished(&mut self, now: Timestamp, (replica, outcome): Outcome) {
        match outcome {
            Ok(()) => self.tell_at(now, Event::Stored(replica)),
            Err(error) => {
                let peer = match replica {
                    Replica::Local => None,
                    Replica::Peer(index) => Some(self.job.peers.at(index).id().clone()),
                };
                self.failures.push(CopyFailure { peer, error });
                self.tell_at(now, Event::Failed(replica));
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.job.shared.clock.now()
    }

    fn tell_at(&mut self, now: Timestamp, event: Event) {
        let mut actions = std::mem::take(&mut self.actions);
        self.put.handle(now, event, &mut actions);
        for action in actions.drain(..) {
            self.act(now, action);
        }
        self.actions = actions;
    }

    fn act(&mut self, now: Timestamp, action: Action) {
        match action {
            Action::Start { replica, deadline } => {
                let work = self.start(replica);
                self.started.push(Started {
                    replica,
                    deadline,
                    work,
                });
            }
            Action::Acknowledge { copies } => self.answer = Some(Ok(Receipt { copies })),
            Action::Fail { copies } => {
                self.answer = Some(Err(Error::NotReached {
                    level: self.level,
                    needed: self.put.needed(),
                    stored: copies,
                    failures: self.failures.clone(),
                }));
            }
            Action::WakeAt(at) => {
                let shared = &self.job.shared;
                self.is_repairing = self.is_repairing || shared.load.begin_repair(&shared.settings);
                if self.is_repairing {
                    self.wake_at = Some(at);
                } else {
                    self.tell_at(now, Event::NoRepair);
                }
            }
            Action::Report { copies } => self.report(copies),
        }
    }

    fn start(&self, replica: Replica) -> Work<Result<(), CopyError>> {
        let job = Arc::clone(&self.job);
        let failed = |error: BoxError| match error.downcast::<KeyTaken>() {
            Ok(_) => CopyError::KeyTaken,
            Err(error) => CopyError::Failed(error.into()),
        };
        match replica {
            Replica::Local => Box::pin(async move {
                let put = job.shared.storage.put(&job.key, job.event.clone());
                put.await.map_err(failed)
            }),
            Replica::Peer(index) => Box::pin(async move {
                let peer = job.peers.at(index);
                if job.is_dropped(peer) {
                    return Err(CopyError::Dropped);
                }
                let client = &job.shared.client;
                let put = client.put(peer.contact(), &job.key, job.event.clone());
                put.await.map_err(failed)
            }),
        }
    }

    fn report(&self, stored: usize) {
        let Job { shared, key, .. } = &*self.job;
        let wanted = shared.settings.replication_factor;
        match &shared.on_under_replicated {
            Some(handler) => handler(UnderReplicated {
                key: Arc::clone(key),
                stored,
                wanted,
                failures: self.failures.clone(),
            }),
            None => {
                tracing::warn!(%key, stored, wanted, "an acknowledged event has too few copies");
            }
        }
    }
}

impl<S: Storage, C: PeerClient> Job<S, C> {
    /// Returns whether a peer is known no more.
    fn is_dropped(&self, peer: &Peer<C::Peer>) -> bool {
        let known = self.shared.peers.load();
        !Arc::ptr_eq(&known, &self.peers) && known.index_of(peer.id()).is_none()
    }
}

impl<S: Storage, C: PeerClient> Drop for Driver<S, C> {
    fn drop(&mut self) {
        let Job { shared, event, .. } = &*self.job;
        if self.is_repairing {
            shared.load.end_repair();
        }
        shared.load.leave(event.len());
    }
}
