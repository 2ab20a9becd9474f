//! Runs one put: its machine on a clock, the store and the peers.

use std::{
    future::{pending, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
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

type Outcome = (Replica, Result<(), CopyError>);
type Copying = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A put that has begun.
pub(super) struct Driver<S: Storage, C: PeerClient> {
    shared: Arc<Shared<S, C>>,
    peers: Arc<Peers<C::Peer>>,
    put: Put,
    level: CommitLevel,
    key: Arc<str>,
    event: Bytes,
    copies: FuturesUnordered<Copying>,
    actions: Vec<Action>,
    wake_at: Option<Timestamp>,
    failures: Vec<CopyFailure>,
    answer: Option<Result<Receipt, Error>>,
}

impl<S: Storage, C: PeerClient> Driver<S, C> {
    pub(super) fn new(
        shared: Arc<Shared<S, C>>,
        peers: Arc<Peers<C::Peer>>,
        put: Put,
        level: CommitLevel,
        key: Arc<str>,
        event: Bytes,
    ) -> Self {
        shared.unfinished.fetch_add(1, SeqCst);
        Self {
            shared,
            peers,
            put,
            level,
            key,
            event,
            copies: FuturesUnordered::new(),
            actions: Vec::new(),
            wake_at: None,
            failures: Vec::new(),
            answer: None,
        }
    }

    /// Runs the put up to its answer, and what is left of it in a task of its own.
    pub(super) async fn run(mut self) -> Result<Receipt, Error> {
        self.tell(Event::Begin);
        // Copies that are made at once, such as those in memory, need no task.
        poll_fn(|context| {
            self.take_what_is_ready(context);
            Poll::Ready(())
        })
        .await;
        if self.is_finished() {
            return self.answer.take().unwrap_or(Err(Error::Interrupted));
        }
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(self.run_to_the_end(sender));
        receiver.await.unwrap_or(Err(Error::Interrupted))
    }

    fn is_finished(&self) -> bool {
        self.copies.is_empty() && self.wake_at.is_none()
    }

    fn take_what_is_ready(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(outcome)) = self.copies.poll_next_unpin(context) {
            self.finished(outcome);
        }
    }

    async fn run_to_the_end(mut self, answer: oneshot::Sender<Result<Receipt, Error>>) {
        let mut answer = Some(answer);
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
                Some(outcome) = self.copies.next() => self.finished(outcome),
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
            self.act(action);
        }
        self.actions = actions;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { replica, deadline } => self.start(replica, deadline),
            Action::Acknowledge { copies } => self.answer = Some(Ok(Receipt { copies })),
            Action::Fail { copies } => {
                self.answer = Some(Err(Error::NotReached {
                    level: self.level,
                    needed: self.put.needed(),
                    stored: copies,
                    failures: self.failures.clone(),
                }));
            }
            Action::WakeAt(at) => self.wake_at = Some(at),
            Action::Report { copies } => self.report(copies),
        }
    }

    fn start(&mut self, replica: Replica, deadline: Timestamp) {
        let shared = Arc::clone(&self.shared);
        let (key, event) = (Arc::clone(&self.key), self.event.clone());
        let deadline = shared.clock.instant(deadline);
        let time = shared.settings.copy_timeout;
        let limited = move |outcome: Result<Result<(), BoxError>, Elapsed>| match outcome {
            Ok(outcome) => outcome.map_err(|error| CopyError::Failed(error.into())),
            Err(Elapsed { .. }) => Err(CopyError::TimedOut(time)),
        };
        let copying: Copying = match replica {
            Replica::Local => Box::pin(async move {
                let stored = timeout_at(deadline, shared.storage.put(&key, event)).await;
                (replica, limited(stored))
            }),
            Replica::Peer(index) => {
                let peers = Arc::clone(&self.peers);
                Box::pin(async move {
                    let peer = peers.at(index);
                    if shared.peers.load().index_of(peer.id()).is_none() {
                        return (replica, Err(CopyError::Dropped));
                    }
                    let put = shared.client.put(peer.contact(), &key, event);
                    (replica, limited(timeout_at(deadline, put).await))
                })
            }
        };
        self.copies.push(copying);
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
        if self.shared.unfinished.fetch_sub(1, SeqCst) == 1 {
            self.shared.all_finished.notify_waiters();
        }
    }
}
