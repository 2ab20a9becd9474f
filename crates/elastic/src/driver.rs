//! The driver: carries out what a workflow asks for, on a journal, stores and a clock.

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either, pending},
    stream::FuturesUnordered,
};
use shardwright_registry::Clock;
use shardwright_topology::{NodeId, OperationId, Timestamp};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    Entry, Journal, JournalError, Record, Settings, ShardStore, StoreError, Version,
    store::perform,
    workflow::{Action, Call, CallId, Event, Owned, Report, Workflow, Written},
};

/// From a node to the store of its shards.
pub trait Nodes: fmt::Debug + Send + Sync {
    /// Returns the store of a node; `None` if there is no such node.
    fn store(&self, node: &NodeId) -> Option<Arc<dyn ShardStore>>;

    /// Returns the nodes, in the order of their names.
    fn nodes(&self) -> Vec<NodeId>;
}

impl Nodes for BTreeMap<NodeId, Arc<dyn ShardStore>> {
    fn store(&self, node: &NodeId) -> Option<Arc<dyn ShardStore>> {
        self.get(node).cloned()
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.keys().cloned().collect()
    }
}

/// Runs operations that are in a journal.
///
/// Any number of processes may run the same operation: each step is made by one. What is not run is not lost: it goes on when somebody runs it.
#[derive(Debug, Clone)]
pub struct Driver {
    journal: Arc<dyn Journal>,
    nodes: Arc<dyn Nodes>,
    settings: Settings,
    clock: Clock,
}

/// What happens to an operation while it is run.
#[derive(Debug)]
pub enum Seen<'a> {
    /// It made a step; this is how it is.
    Step(&'a Workflow),
    /// There is something to tell.
    Report(&'a Report),
}

impl Driver {
    /// Returns a driver.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, nodes: Arc<dyn Nodes>, settings: Settings) -> Self {
        Self {
            journal,
            nodes,
            settings,
            clock: Clock::start(),
        }
    }

    /// Returns the journal.
    #[must_use]
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Returns the nodes.
    #[must_use]
    pub fn nodes(&self) -> &Arc<dyn Nodes> {
        &self.nodes
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the time by the driver's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs an operation to its end, or until the operation is somebody else's. `inbox` is what people want; it does nothing before it was
    /// [admitted](Event::Admitted) once. `seen` is called after every step.
    ///
    /// Dropped, it stops where it is; nothing that was begun has to be finished by this process.
    pub async fn run(
        &self,
        entry: Entry,
        mut inbox: UnboundedReceiver<Event>,
        mut seen: impl FnMut(Seen<'_>) + Send,
    ) -> Record {
        let mut workflow = Workflow::new(self.settings, entry, self.clock.now());
        let mut running = FuturesUnordered::<BoxFuture<'static, Event>>::new();
        let mut event = Event::Tick;
        let mut wake = None;
        loop {
            let mut actions = Vec::new();
            workflow.handle(self.clock.now(), event, &mut actions);
            for action in actions {
                match action {
                    Action::WakeAt(at) => wake = Some(at),
                    Action::Tell(report) => seen(Seen::Report(&report)),
                    other => running.push(self.carry_out(workflow.id(), other)),
                }
            }
            seen(Seen::Step(&workflow));
            if workflow.is_over() {
                return workflow.record().clone();
            }
            let sleep = match wake {
                Some(at) => Either::Left(tokio::time::sleep(at.since(self.clock.now()))),
                None => Either::Right(pending()),
            };
            event = tokio::select! {
                Some(event) = running.next(), if !running.is_empty() => event,
                Some(event) = inbox.recv() => event,
                () = sleep => {
                    wake = None;
                    Event::Tick
                }
            };
        }
    }

    /// Does what the workflow of an operation asks for, and returns what to tell it. [`Driver::run`] is a loop around it, for those who have a clock.
    ///
    /// Waking and telling is up to the caller: for that there is nothing to do here.
    #[must_use]
    pub fn carry_out(&self, id: &OperationId, action: Action) -> BoxFuture<'static, Event> {
        let (journal, id) = (self.journal.clone(), id.clone());
        match action {
            Action::Write {
                call,
                expected,
                record,
            } => async move {
                let outcome = write(&*journal, &record, expected).await;
                Event::Wrote { call, outcome }
            }
            .boxed(),
            Action::Read => async move {
                match journal.get(&id).await {
                    Ok(found) => Event::Read(found.map(Box::new)),
                    Err(_) => Event::Unread,
                }
            }
            .boxed(),
            Action::Hold { call, record } => {
                async move { owned(call, journal.hold(&record).await) }.boxed()
            }
            Action::Resolve { call, record } => {
                async move { owned(call, journal.resolve(&record).await) }.boxed()
            }
            Action::Call(call) => {
                let store = self.nodes.store(&call.node);
                call_store(store, call).boxed()
            }
            Action::WakeAt(_) | Action::Tell(_) => async { Event::Tick }.boxed(),
        }
    }
}

async fn write(journal: &dyn Journal, record: &Record, expected: Version) -> Written {
    match journal.put(record, Some(expected)).await {
        Ok(version) => Written::Done(version),
        Err(JournalError::Conflict { found }) => Written::Conflict(found),
        Err(_) => Written::Unknown,
    }
}

fn owned(call: CallId, outcome: Result<(), JournalError>) -> Event {
    let outcome = match outcome {
        Ok(()) => Owned::Done,
        Err(error) if error.is_retryable() => Owned::Failed,
        Err(error) => Owned::Refused {
            reason: error.to_string(),
        },
    };
    Event::Owned { call, outcome }
}

async fn call_store(store: Option<Arc<dyn ShardStore>>, call: Call) -> Event {
    let outcome = match store {
        Some(store) => perform(&*store, &call.operation, call.request).await,
        None => {
            let error = format!("there is no node {}", call.node);
            Err(StoreError::Unavailable(Arc::new(error.into())))
        }
    };
    Event::Replied {
        call: call.id,
        outcome,
    }
}
