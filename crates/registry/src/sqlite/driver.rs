//! The thread that owns the file: it answers requests one by one, and looks for changes of other processes meanwhile.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use shardwright_topology::Timestamp;
use tokio::sync::{oneshot, watch};

use super::{
    database::{Change, Database, Log},
    open_error::OpenError,
};
use crate::{Clock, Entry, Finding, Key, Listing, Prefix, Revision, StoreError};

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What a handle asks of the thread.
#[derive(Debug)]
pub(super) enum Request {
    Get(Key, Reply<Option<Entry>>),
    List(Prefix, Reply<Listing>),
    Change(Change, Reply<Revision>),
    Changes(Prefix, Revision, Reply<Log>),
    Diagnose(Reply<Vec<Finding>>),
    /// A watcher waits from now on.
    Poll,
}

/// How many changes share one transaction, at most.
const CHANGES_MAX: usize = 64;

/// For what part of the time that changes took others get time for theirs; less than `PAUSE_MIN` is no time, and `PAUSE_MAX` is enough:
/// whoever waits looks every millisecond.
const PAUSE_SHARE: u32 = 16;
const PAUSE_MIN: Duration = Duration::from_micros(500);
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// How often the thread looks for changes of other processes while somebody watches. One look takes a few microseconds.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// How often it does so for a while after a change: one seldom comes alone, and clients wait for the end of a hand-over.
const POLL_SOON: Duration = Duration::from_millis(2);
const LIVELY: Duration = Duration::from_millis(100);

/// The handle of the thread. It ends with its handle, after the request that it works on.
#[derive(Debug)]
pub(super) struct Driver {
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    latest: watch::Receiver<Revision>,
}

impl Driver {
    pub(super) fn start(database: Database) -> Result<Self, OpenError> {
        let (requests, inbox) = mpsc::channel();
        let (latest, receiver) = watch::channel(Revision(0));
        let run = move || {
            Owner {
                database,
                latest,
                seen: None,
                clock: Clock::start(),
                waiting: Vec::new(),
                free_at: Timestamp::default(),
                lively_until: Timestamp::default(),
            }
            .run(&inbox)
        };
        let thread = thread::Builder::new()
            .name("registry".to_owned())
            .spawn(run)
            .map_err(|source| OpenError::Failed {
                path: "registry thread".into(),
                source: source.into(),
            })?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
            latest: receiver,
        })
    }

    pub(super) fn send(&self, request: Request) -> Result<(), StoreError> {
        let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
        requests.send(request).map_err(|_| StoreError::Closed)
    }

    /// Returns a view of the last revision. While somebody holds it, changes of other processes show up there.
    pub(super) fn latest(&self) -> watch::Receiver<Revision> {
        self.latest.clone()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // The file is closed when the handle is gone, so that its directory can be removed. A panic there has been
            // reported, and every request since was answered with `Closed`.
            drop(thread.join());
        }
    }
}

struct Owner {
    database: Database,
    latest: watch::Sender<Revision>,
    /// SQLite's number for the state that was seen last; it changes when another connection changes the file.
    seen: Option<i64>,
    clock: Clock,
    /// The changes that are made next, together, and who waits for them.
    waiting: Vec<(Change, Reply<Revision>)>,
    /// No change is made before.
    free_at: Timestamp,
    /// Until when others are expected to change something soon.
    lively_until: Timestamp,
}

impl Owner {
    fn run(&mut self, inbox: &Receiver<Request>) {
        loop {
            let now = self.clock.now();
            // The driver holds one receiver itself.
            let watched = self.latest.receiver_count() > 1;
            let poll = if now < self.lively_until {
                POLL_SOON
            } else {
                POLL_EVERY
            };
            let polls_in = watched.then_some(poll);
            let changes_in = (!self.waiting.is_empty()).then(|| self.free_at.since(now));
            let request = match polls_in.into_iter().chain(changes_in).min() {
                Some(wait) => inbox.recv_timeout(wait),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match request {
                Ok(request) => self.take(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.change(),
            }
            while self.waiting.len() < CHANGES_MAX
                && let Ok(request) = inbox.try_recv()
            {
                self.take(request);
            }
            if self.free_at <= self.clock.now() {
                self.change();
            }
            if watched {
                self.poll();
            }
        }
    }

    /// Answers a request, or lets it wait if it is a change. An answer that nobody waits for any more is dropped.
    fn take(&mut self, request: Request) {
        match request {
            Request::Get(key, reply) => drop(reply.send(self.database.get(&key))),
            Request::List(prefix, reply) => drop(reply.send(self.database.list(&prefix))),
            Request::Changes(prefix, after, reply) => {
                drop(reply.send(self.database.changes(&prefix, after)));
            }
            Request::Change(change, reply) => self.waiting.push((change, reply)),
            Request::Diagnose(reply) => drop(reply.send(self.database.diagnose())),
            Request::Poll => {
                self.seen = None;
                self.poll();
            }
        }
    }

    /// Makes the changes that wait. If that took long, others get time to make theirs: a process that always has something to change
    /// would keep them out.
    fn change(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let begun = self.clock.now();
        let (changes, replies): (Vec<_>, Vec<_>) = self.waiting.drain(..).unzip();
        let outcomes = self.database.change(&changes);
        if let Some(last) = outcomes.iter().flatten().max() {
            self.announce(*last);
        }
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            drop(reply.send(outcome));
        }
        let now = self.clock.now();
        let pause = (now.since(begun) / PAUSE_SHARE).min(PAUSE_MAX);
        self.free_at = if pause < PAUSE_MIN { now } else { now + pause };
    }

    /// Looks whether another connection changed the file.
    ///
    /// What may pass is tried again next time. When the file is damaged, all watches end, and what their users call next
    /// says why.
    fn poll(&mut self) {
        let looked = self.database.data_version().and_then(|version| {
            let changed = self.seen != Some(version);
            let revision = changed.then(|| self.database.revision()).transpose()?;
            Ok((version, revision))
        });
        match looked {
            Ok((version, revision)) => {
                self.seen = Some(version);
                if let Some(revision) = revision {
                    self.announce(revision);
                }
            }
            Err(error) if error.is_retryable() => {}
            Err(_) => self.latest = watch::channel(Revision(0)).0,
        }
    }

    fn announce(&mut self, revision: Revision) {
        let is_news = self.latest.send_if_modified(|latest| {
            let newer = *latest < revision;
            *latest = revision.max(*latest);
            newer
        });
        if is_news {
            self.lively_until = self.clock.now() + LIVELY;
        }
    }
}
