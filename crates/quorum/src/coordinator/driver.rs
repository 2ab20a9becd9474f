//! Runs one put: its machine on a clock, the store and the peers.

use std::{
    collections::VecDeque,
    future::{pending, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use shardwright_topology::Timestamp;
use tokio::{
    sync::oneshot,
    time::{error::Elapsed, sleep_until, timeout_at},
};

use super::{Receipt, Shared, UnderReplicated};
use crate::{
    BoxError, CommitLevel, CopyError, CopyFailure, Error, PeerClient, Peers, Storage,
    put::{Action, Event, Put, Replica},
};

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Outcome = (Replica, Result<(), CopyError>);

/// A copy that has been started, and not looked at since.
struct Started {
    replica: Replica,
    deadline: Timestamp,
    work: Work<Result<(), CopyError>>,
}

/// A put that has begun. Its place among those that are under way is given back when it is dropped.
pub(super) struct Driver<S: Storage, C: PeerClient> {
    shared: Arc<Shared<S, C>>,
    peers: Arc<Peers<C::Peer>>,
    put: Put,
    level: CommitLevel,
    key: Arc<str>,
    event: Bytes,
    started: VecDeque<Started>,
    copies: FuturesUnordered<Work<Outcome>>,
    actions: Vec<Action>,
    wake_at: Option<Timestamp>,
    /// Whether it has a place among those that are being repaired.
    is_repairing: bool,
    failures: Vec<CopyFailure>,
    answer: Option<Result<Receipt, Error>>,
}

impl<S: Storage, C: PeerClient> Driver<S, C> {
    /// Returns a put that was counted in.
    pub(super) fn new(
        shared: Arc<Shared<S, C>>,
        peers: Arc<Peers<C::Peer>>,
        put: Put,
        level: CommitLevel,
        (key, event): (Arc<str>, Bytes),
    ) -> Self {
        Self {
            shared,
            peers,
            put,
            level,
            key,
            event,
            started: VecDeque::new(),
            copies: FuturesUnordered::new(),
            actions: Vec::new(),
            wake_at: None,
            is_repairing: false,
            failures: Vec::new(),
            answer: None,
        }
    }

    /// Runs the put up to its answer, and what is left of it in a task of its own.
    pub(super) async fn run(mut self) -> Result<Receipt, Error> {
        self.tell(Event::Begin);
        // Copies that are made at once, such as those in memory, need neither a task nor a timer.
        poll_fn(|context| {
            while let Poll::Ready(Some(outcome)) = self.poll_copies(context) {
                self.finished(outcome);
            }
            Poll::Ready(())
        })
        .await;
        match self.answer.take() {
            Some(answer) => {
                if !self.is_finished() {
                    tokio::spawn(self.run_to_the_end(None));
                }
                answer
            }
            None if self.is_finished() => Err(Error::Interrupted),
            None => {
                let (sender, receiver) = oneshot::channel();
                tokio::spawn(self.run_to_the_end(Some(sender)));
                receiver.await.unwrap_or(Err(Error::Interrupted))
            }
        }
    }

    fn is_finished(&self) -> bool {
        self.started.is_empty() && self.copies.is_empty() && self.wake_at.is_none()
    }

    /// Looks for the outcome of a copy; there is none to come if there is no copy.
    fn poll_copies(&mut self, context: &mut Context<'_>) -> Poll<Option<Outcome>> {
        while let Some(mut copy) = self.started.pop_front() {
            match copy.work.as_mut().poll(context) {
                Poll::Ready(outcome) => return Poll::Ready(Some((copy.replica, outcome))),
                Poll::Pending => self.copies.push(self.limited(copy)),
            }
        }
        self.copies.poll_next_unpin(context)
    }

    /// Returns the copy with an end at its deadline.
    fn limited(&self, copy: Started) -> Work<Outcome> {
        let deadline = self.shared.clock.instant(copy.deadline);
        let time = self.shared.settings.copy_timeout;
        Box::pin(async move {
            let outcome = match timeout_at(deadline, copy.work).await {
                Ok(outcome) => outcome,
                Err(Elapsed { .. }) => Err(CopyError::TimedOut(time)),
            };
            (copy.replica, outcome)
        })
    }

    async fn run_to_the_end(mut self, mut answer: Option<oneshot::Sender<Result<Receipt, Error>>>) {
        loop {
            if self.answer.is_some()
                && let Some((answer, outcome)) = answer.take().zip(self.answer.take())
            {
                // The caller may have gone; the copies are made all the same.
                let _ = answer.send(outcome);
            }
            if self.is_finished() {
                return;
            }
            let clock = self.shared.clock;
            let wake_at = self.wake_at;
            let wake = async {
                match wake_at {
                    Some(at) => sleep_until(clock.instant(at)).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                Some(outcome) = poll_fn(|context| self.poll_copies(context)) => self.finished(outcome),
                () = wake => {
                    self.wake_at = None;
                    self.tell_at(wake_at.unwrap_or_default().max(clock.now()), Event::Tick);
                }
            }
        }
    }

    fn finished(&mut self, (replica, outcome): Outcome) {
        match outcome {
            Ok(()) => self.tell(Event::Stored(replica)),
            Err(error) => {
                let peer = match replica {
                    Replica::Local => None,
                    Replica::Peer(index) => Some(self.peers.at(index).id().clone()),
                };
                self.failures.push(CopyFailure { peer, error });
                self.tell(Event::Failed(replica));
            }
        }
    }

    fn tell(&mut self, event: Event) {
        self.tell_at(self.shared.clock.now(), event);
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
                self.started.push_back(Started {
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
                let shared = &self.shared;
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
        let shared = Arc::clone(&self.shared);
        let (key, event) = (Arc::clone(&self.key), self.event.clone());
        let failed = |error: BoxError| CopyError::Failed(error.into());
        match replica {
            Replica::Local => {
                Box::pin(async move { shared.storage.put(&key, event).await.map_err(failed) })
            }
            Replica::Peer(index) => {
                let peers = Arc::clone(&self.peers);
                Box::pin(async move {
                    let peer = peers.at(index);
                    if shared.peers.load().index_of(peer.id()).is_none() {
                        return Err(CopyError::Dropped);
                    }
                    let put = shared.client.put(peer.contact(), &key, event);
                    put.await.map_err(failed)
                })
            }
        }
    }

    fn report(&self, stored: usize) {
        let wanted = self.shared.settings.replication_factor;
        tracing::warn!(key = %self.key, stored, wanted, "an acknowledged event has too few copies");
        if let Some(handler) = &self.shared.on_under_replicated {
            handler(UnderReplicated {
                key: Arc::clone(&self.key),
                stored,
                wanted,
                failures: self.failures.clone(),
            });
        }
    }
}

impl<S: Storage, C: PeerClient> Drop for Driver<S, C> {
    fn drop(&mut self) {
        if self.is_repairing {
            self.shared.load.end_repair();
        }
        self.shared.load.leave(self.event.len());
    }
}
