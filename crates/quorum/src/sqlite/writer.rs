//! The thread that owns the file, and stores in one transaction what came together.

use std::{
    io, mem,
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{Database, StoreError, StoredEvent};

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What a handle asks of the thread.
#[derive(Debug)]
pub(super) enum Request {
    Put(StoredEvent, Reply<()>),
    Get(String, Reply<Option<Bytes>>),
    Page(String, usize, Reply<Vec<StoredEvent>>),
}

/// How many requests wait in the queue of the thread; those who ask wait for a place in it.
const QUEUE_MAX: usize = 1_024;

/// How many events one transaction stores.
const BATCH_MAX: usize = 1_024;

/// A transaction that is as large takes no further event.
const BATCH_BYTES: usize = 8 << 20;

/// The handle of the thread. The thread ends with it, after what was asked before.
#[derive(Debug)]
pub(super) struct Writer {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(database: Database) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel(QUEUE_MAX);
        let owner = Owner {
            database,
            inbox,
            events: Vec::new(),
            replies: Vec::new(),
        };
        let thread = thread::Builder::new().name("events".to_owned());
        let thread = thread.spawn(move || owner.run())?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    pub(super) async fn send(&self, request: Request) -> Result<(), StoreError> {
        let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
        requests.send(request).await.map_err(|_| StoreError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // The file is closed when the handle is gone. A panic there has been reported, and every request since was
            // answered with `Closed`.
            drop(thread.join());
        }
    }
}

struct Owner {
    database: Database,
    inbox: mpsc::Receiver<Request>,
    /// The next transaction, and who waits for it.
    events: Vec<StoredEvent>,
    replies: Vec<Reply<()>>,
}

impl Owner {
    fn run(mut self) {
        while let Some(request) = self.inbox.blocking_recv() {
            self.take(request);
            self.gather();
            self.commit();
        }
    }

    /// Takes what waits already, as far as it fits into one transaction.
    fn gather(&mut self) {
        let mut bytes: usize = self.events.iter().map(|each| each.event.len()).sum();
        while self.events.len() < BATCH_MAX
            && bytes < BATCH_BYTES
            && let Ok(request) = self.inbox.try_recv()
        {
            if let Request::Put(event, _) = &request {
                bytes += event.event.len();
            }
            self.take(request);
        }
    }

    /// Nothing is done for those who wait no more.
    fn take(&mut self, request: Request) {
        match request {
            Request::Put(event, reply) if !reply.is_closed() => {
                self.events.push(event);
                self.replies.push(reply);
            }
            Request::Get(key, reply) if !reply.is_closed() => {
                let found = self.database.get(&key);
                drop(reply.send(found.map(|event| event.map(Bytes::from))));
            }
            Request::Page(after, limit, reply) if !reply.is_closed() => {
                drop(reply.send(self.database.page(&after, limit)));
            }
            Request::Put(..) | Request::Get(..) | Request::Page(..) => {}
        }
    }

    fn commit(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let outcomes = self.database.put(&self.events);
        self.events.clear();
        for (reply, outcome) in mem::take(&mut self.replies).into_iter().zip(outcomes) {
            drop(reply.send(outcome));
        }
    }
}
