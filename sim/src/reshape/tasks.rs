//! Tasks: what production writes as asynchronous functions. They run one step at a time, wait for what the simulator does, and end with their process.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use shardwright_elastic::{Entry as Operation, workflow::Event};
use shardwright_quorum::log::{
    Record,
    shard_log::{AppendError, Appended, Entry, ReadError as LogError},
};
use shardwright_registry::{Key, Prefix, Revision, Stored};
use shardwright_server::shard::{ReadError, Write, WriteError, Written};
use shardwright_testkit::sim::{Outcome, Pid, Unavailable, Write as Change};
use shardwright_topology::{Incarnation, Lsn, NodeId, OperationId, ReplicaId, ShardId};

/// What the registry holds: JSON.
#[derive(Clone, PartialEq)]
pub(crate) struct Text(pub(super) Vec<u8>);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// What a task has led to.
pub(super) enum Done {
    Nothing,
    /// A node has done what it was asked.
    Answer {
        to: Pid,
        call: u64,
        body: Option<Vec<u8>>,
    },
    /// Something that a workflow asked for was answered.
    Event {
        session: u64,
        event: Event,
    },
    /// What operations there are.
    Operations(Vec<Operation>),
    /// Which operations are not there that something was written down for.
    Orphans(Vec<OperationId>),
    /// A copy is registered.
    Opened {
        shard: ShardId,
        opening: u32,
        incarnation: Incarnation,
    },
}

/// What a task waits for.
#[derive(Debug)]
pub(super) enum Want {
    Get(Key),
    List(Prefix),
    Write(Change<Text>),
    /// A request to a node.
    Send(NodeId, Vec<u8>),
    Pause(Duration),
    /// The copy of a shard stops.
    Stop(ShardId),
    /// All of it is removed.
    Erase(ShardId),
    /// It goes on.
    Start(ShardId),
    /// Something of a copy that runs.
    Of(ShardId, Of),
}

/// What a task wants of a copy.
#[derive(Debug)]
pub(super) enum Of {
    Turn,
    /// The turn is over.
    Release,
    Fresh(Duration),
    Append(Entry, Duration),
    Records(Lsn),
    Keep(Lsn, Duration),
    Place(Lsn, Duration),
    Write(Write),
}

/// What it is told.
#[derive(Debug)]
pub(super) enum Got {
    Nothing,
    Found(Result<Option<Stored<Text>>, Unavailable>),
    Listed(Result<(Vec<Stored<Text>>, Revision), Unavailable>),
    Changed(Outcome<Text>),
    Body(Option<Vec<u8>>),
    Stopped(Option<ReplicaId>),
    Fresh(Result<Lsn, ReadError>),
    Appended(Result<Appended, AppendError>),
    Records(Option<Result<Vec<Arc<Record>>, LogError>>),
    Place(Option<Lsn>),
    Wrote(Result<Written, WriteError>),
}

/// A wish of a task, and who has it.
pub(super) struct Asked {
    pub(super) at: Pid,
    /// Names the wish; none if nobody waits for what becomes of it.
    pub(super) ticket: Option<u64>,
    pub(super) want: Want,
}

/// Where tasks leave what they wish for.
#[derive(Default)]
struct Desk {
    asked: VecDeque<Asked>,
    /// Which task has which wish.
    waiting: BTreeMap<u64, u64>,
    told: BTreeMap<u64, Got>,
    next: u64,
    /// The task that runs.
    current: u64,
}

type Shared = Arc<Mutex<Desk>>;

fn lock(desk: &Shared) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the tasks of a process wish for something.
#[derive(Clone)]
pub(super) struct Port {
    at: Pid,
    desk: Shared,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {}", self.at)
    }
}

impl Port {
    /// Wishes for something, which is there once the simulator has done it.
    pub(super) fn ask(&self, want: Want) -> Waiting {
        let mut desk = lock(&self.desk);
        desk.next += 1;
        let (ticket, task) = (desk.next, desk.current);
        desk.waiting.insert(ticket, task);
        desk.asked.push_back(Asked {
            at: self.at,
            ticket: Some(ticket),
            want,
        });
        Waiting {
            ticket,
            desk: Arc::clone(&self.desk),
        }
    }

    /// Wishes for something that nobody waits for.
    pub(super) fn tell(&self, want: Want) {
        lock(&self.desk).asked.push_back(Asked {
            at: self.at,
            ticket: None,
            want,
        });
    }
}

/// Waits for what becomes of a wish.
pub(super) struct Waiting {
    ticket: u64,
    desk: Shared,
}

impl Future for Waiting {
    type Output = Got;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Got> {
        match lock(&self.desk).told.remove(&self.ticket) {
            Some(got) => Poll::Ready(got),
            None => Poll::Pending,
        }
    }
}

type Running = Pin<Box<dyn Future<Output = Done>>>;

/// All tasks of all processes.
#[derive(Default)]
pub(super) struct Tasks {
    desk: Shared,
    running: BTreeMap<u64, (Pid, Running)>,
    ready: VecDeque<u64>,
    names: u64,
}

impl Tasks {
    pub(super) fn port(&self, at: Pid) -> Port {
        Port {
            at,
            desk: Arc::clone(&self.desk),
        }
    }

    /// Begins a task of a process.
    pub(super) fn spawn(&mut self, at: Pid, task: impl Future<Output = Done> + 'static) {
        self.names += 1;
        self.running.insert(self.names, (at, Box::pin(task)));
        self.ready.push_back(self.names);
    }

    /// Ends the tasks of a process that is gone.
    pub(super) fn end(&mut self, at: Pid) {
        self.running.retain(|_, (of, _)| *of != at);
        lock(&self.desk).asked.retain(|asked| asked.at != at);
    }

    /// Tells a task what became of its wish.
    pub(super) fn answer(&mut self, ticket: u64, got: Got) {
        let mut desk = lock(&self.desk);
        if let Some(task) = desk.waiting.remove(&ticket)
            && self.running.contains_key(&task)
        {
            desk.told.insert(ticket, got);
            self.ready.push_back(task);
        }
    }

    /// Lets a task go on that can, and returns what it has led to if it has ended; `None` if no task can.
    pub(super) fn step(&mut self) -> Option<Option<(Pid, Done)>> {
        let task = self.ready.pop_front()?;
        let Some((at, mut running)) = self.running.remove(&task) else {
            return Some(None);
        };
        lock(&self.desk).current = task;
        let mut context = Context::from_waker(Waker::noop());
        Some(match running.as_mut().poll(&mut context) {
            Poll::Ready(done) => Some((at, done)),
            Poll::Pending => {
                self.running.insert(task, (at, running));
                None
            }
        })
    }

    /// Returns what tasks have wished for since.
    pub(super) fn asked(&mut self) -> VecDeque<Asked> {
        std::mem::take(&mut lock(&self.desk).asked)
    }
}
