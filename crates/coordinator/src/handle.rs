//! How a running coordinator is asked: the seam between its driver and whoever speaks for it, such as the HTTP server.

use std::sync::Arc;

use shardwright_registry::Revision;
use shardwright_topology::NodeId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    balance::Balance,
    core::{Command, Done, Refusal, View},
    event_log::EventLog,
    operations::Operations,
    protocol::{Leave, Register, Registered},
};

/// How many requests wait for the driver at most; the next one waits outside.
const REQUESTS_MAX: usize = 256;

/// Where an answer goes. The driver drops it unanswered only when it stops.
pub type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// What a driver is asked.
#[derive(Debug)]
pub enum Request {
    /// To carry out a command.
    Command(Command, Answer<Done>),
    /// To register a worker.
    Register(Register, Answer<Registered>),
    /// To let a worker leave.
    Leave(Leave, Answer<()>),
}

/// A running coordinator. A clone asks the same one.
#[derive(Debug, Clone)]
pub struct Handle {
    id: NodeId,
    view: watch::Receiver<Arc<View>>,
    requests: mpsc::Sender<Request>,
    events: Arc<EventLog>,
    operations: Operations,
    balance: Option<Balance>,
}

/// The driver's end of a [`Handle`].
#[derive(Debug)]
pub struct Seat {
    /// Where the driver shows what it knows.
    pub view: watch::Sender<Arc<View>>,
    /// What it is asked.
    pub requests: mpsc::Receiver<Request>,
    /// Where it logs what happens.
    pub events: Arc<EventLog>,
}

impl Handle {
    /// Returns a handle on the coordinator with this name, and the end that its driver takes.
    #[must_use]
    pub fn new(id: NodeId) -> (Self, Seat) {
        let (view_sender, view) = watch::channel(Arc::new(View::default()));
        let (requests, requests_receiver) = mpsc::channel(REQUESTS_MAX);
        let events = Arc::new(EventLog::default());
        let seat = Seat {
            view: view_sender,
            requests: requests_receiver,
            events: events.clone(),
        };
        let handle = Self {
            id,
            view,
            requests,
            events,
            operations: Operations::default(),
            balance: None,
        };
        (handle, seat)
    }

    /// Returns the handle with a place where splits and merges are asked for. Without one they are refused.
    #[must_use]
    pub fn with_operations(self, operations: Operations) -> Self {
        Self { operations, ..self }
    }

    /// Returns the handle with a place where the balance is asked for. Without one that is refused.
    #[must_use]
    pub fn with_balance(self, balance: Balance) -> Self {
        Self {
            balance: Some(balance),
            ..self
        }
    }

    /// Returns where the balance is asked for.
    #[must_use]
    pub fn balance(&self) -> Option<&Balance> {
        self.balance.as_ref()
    }

    /// Returns where splits and merges are asked for.
    #[must_use]
    pub fn operations(&self) -> &Operations {
        &self.operations
    }

    /// Returns the name of the coordinator.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Returns what the coordinator knows.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Waits until every change up to `revision` is known, and returns what is known then; `None` if the driver stopped.
    pub async fn view_at(&self, revision: Revision) -> Option<Arc<View>> {
        self.view_when(|view| view.revision >= revision).await
    }

    /// Waits until a condition holds, and returns what is known then; `None` if the driver stopped.
    pub async fn view_when(&self, condition: impl Fn(&View) -> bool) -> Option<Arc<View>> {
        let mut view = self.view.clone();
        let seen = view.wait_for(|view| condition(view)).await.ok()?;
        Some(seen.clone())
    }

    /// Returns whether the driver runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Returns the log of what happened.
    #[must_use]
    pub fn events(&self) -> &Arc<EventLog> {
        &self.events
    }

    /// Has a command carried out.
    ///
    /// # Errors
    /// A [`Refusal`]. [`Refusal::Unconfirmed`] if the driver stopped meanwhile.
    pub async fn command(&self, command: Command) -> Result<Done, Refusal> {
        self.ask(|answer| Request::Command(command, answer)).await
    }

    /// Registers a worker's process.
    ///
    /// # Errors
    /// A [`Refusal`]. [`Refusal::Unconfirmed`] if the driver stopped meanwhile.
    pub async fn register(&self, register: Register) -> Result<Registered, Refusal> {
        self.ask(|answer| Request::Register(register, answer)).await
    }

    /// Says that a worker leaves.
    ///
    /// # Errors
    /// A [`Refusal`]. [`Refusal::Unconfirmed`] if the driver stopped meanwhile.
    pub async fn leave(&self, leave: Leave) -> Result<(), Refusal> {
        self.ask(|answer| Request::Leave(leave, answer)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, Refusal> {
        let (answer, result) = oneshot::channel();
        let not_leading = || Refusal::NotLeader { leader: None };
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| not_leading())?;
        result.await.unwrap_or(Err(Refusal::Unconfirmed))
    }
}
