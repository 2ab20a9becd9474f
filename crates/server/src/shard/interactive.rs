//! Transactions whose statements come one after the other.
//!
//! Such a transaction is a batch by itself: nothing else is written to the shard until it ends. So it may neither idle nor last for long,
//! and it ends at once when this copy is not the primary any more.

use std::{
    pin::pin,
    sync::{
        Arc, OnceLock,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use shardwright_hashing::Position;
use shardwright_quorum::log::{Level, shard_log::Status};
use shardwright_registry::Clock;
use shardwright_store::{Error as StoreError, Member};
use shardwright_topology::Timestamp;
use tokio::sync::{oneshot, watch};

use super::{
    Pending, Preparation, Shard,
    write::{Identity, Transaction, Watching, Write, WriteError, Written},
};

/// How often a transaction that waits for its next statement looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

/// How long a transaction may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From one statement to the next. 5 s.
    pub idle: Duration,
    /// In all, from its first statement on. 30 s.
    pub total: Duration,
    /// Until it begins: others may write now. 10 s.
    pub begin: Duration,
    /// From the commit to its acknowledgement. 10 s.
    pub commit: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5),
            total: Duration::from_secs(30),
            begin: Duration::from_secs(10),
            commit: Duration::from_secs(10),
        }
    }
}

/// How a transaction begins.
#[derive(Debug, Clone)]
pub struct Begin {
    /// How long it may take.
    pub limits: Limits,
    /// Which write of a client it is, so that it happens once, and where its keys are.
    pub identity: Option<(Identity, Vec<Position>)>,
    /// What is noted of the rows that it writes.
    pub watching: Watching,
    /// What its commit waits for. Quorum.
    pub level: Level,
}

impl Default for Begin {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            identity: None,
            watching: Watching::default(),
            level: Level::Quorum,
        }
    }
}

impl From<Limits> for Begin {
    fn from(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }
}

/// A transaction that was to begin.
#[derive(Debug)]
pub enum Begun {
    /// It has begun.
    Open(Interactive),
    /// It has a number, and happened before.
    Known(Written),
}

impl Begun {
    /// Returns the transaction, if it has begun.
    #[must_use]
    pub fn open(self) -> Option<Interactive> {
        match self {
            Self::Open(interactive) => Some(interactive),
            Self::Known(_) => None,
        }
    }
}

/// Why a transaction has ended by itself. Nothing of it has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// It waited for too long for its next statement.
    #[error("the transaction was idle for too long")]
    Idle,
    /// It lasted for too long.
    #[error("it took longer than it may, and nothing of it has happened")]
    TooLong,
    /// This copy is not the primary any more, or stops.
    #[error("this copy is not the primary of the shard any more")]
    NotPrimary,
    /// A statement ended it, as `RAISE(ROLLBACK)` does.
    #[error("a statement ended the transaction")]
    ByStatement,
}

/// Why a statement of a transaction was not run, or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// SQLite refused it. The transaction goes on.
    #[error(transparent)]
    Refused(StoreError),
    /// The transaction has ended.
    #[error(transparent)]
    Ended(Ended),
}

/// A transaction that has begun. Dropping it undoes it.
#[derive(Debug)]
pub struct Interactive {
    steps: mpsc::Sender<Step>,
    answer: oneshot::Receiver<Result<Written, WriteError>>,
    ended: Arc<OnceLock<Ended>>,
    commit: Duration,
}

/// What runs in a transaction, and calls the second one before it tells that it has ended the transaction.
type Running = dyn FnOnce(&mut Member<'_>, &mut dyn FnMut(Ended)) + Send;

/// What is to happen next.
enum Step {
    /// Run this, which tells by itself what came of it.
    Run(Box<Running>),
    /// Let it be committed, and remembered with this outcome.
    Commit(Vec<u8>),
    /// Let it be kept as a part, which is remembered with this outcome once it takes effect.
    Prepare(Vec<u8>, Box<Preparation>),
}

impl Shard {
    /// Begins a transaction, once those before it have ended. This copy has to be the primary.
    ///
    /// # Errors
    /// [`WriteError`]: it has not begun.
    pub async fn begin(&self, begin: impl Into<Begin>) -> Result<Begun, WriteError> {
        let Begin {
            limits,
            identity,
            watching,
            level,
        } = begin.into();
        let (steps, inbox) = mpsc::channel();
        let (begun, mut began) = oneshot::channel();
        let ended = Arc::default();
        let conversation = Conversation {
            inbox,
            begun: Some(begun),
            ended: Arc::clone(&ended),
            status: self.status(),
            stops: self.stops.subscribe(),
            clock: self.clock,
            limits,
            preparation: None,
        };
        let (identity, positions) = identity.unzip();
        let write = Write {
            identity,
            positions: positions.unwrap_or_default(),
            exclusive: true,
            watching,
            level,
            lasting: Some(limits.total),
            within: limits.begin + limits.total + limits.commit,
            ..Write::new(conversation)
        };
        let Pending { claim, mut answer } = self.submit(write)?;
        let mut patience = pin!(tokio::time::sleep(limits.begin));
        loop {
            tokio::select! {
                Ok(()) = &mut began => break,
                answer = &mut answer => return match answer {
                    Ok(Err(error)) => Err(error),
                    Ok(Ok(written)) => Ok(Begun::Known(written)),
                    Err(_) => Err(WriteError::NotRunning),
                },
                () = &mut patience, if !patience.is_elapsed() => {
                    if claim.give_up() {
                        return Err(WriteError::Late);
                    }
                }
            }
        }
        Ok(Begun::Open(Interactive {
            steps,
            answer,
            ended,
            commit: limits.commit,
        }))
    }
}

impl Interactive {
    /// Runs something in the transaction, and returns what it returns.
    ///
    /// # Errors
    /// [`StatementError`].
    pub async fn execute<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Member<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StatementError> {
        let (told, ran) = oneshot::channel();
        let step = Step::Run(Box::new(move |member, end| {
            let result = run(member);
            match &result {
                Err(error) if is_interruption(error) => end(Ended::TooLong),
                Err(StoreError::TransactionEnded { .. }) => end(Ended::ByStatement),
                Ok(_) | Err(_) => {}
            }
            // Whoever asked may have gone.
            let _told = told.send(result);
        }));
        // What could not be sent is dropped, and so is the way back: it is as if it had ended before.
        drop(self.steps.send(step));
        let ended = |_| StatementError::Ended(self.reason());
        ran.await
            .map_err(ended)?
            .map_err(|error| match self.ended() {
                Some(Ended::ByStatement) | None => StatementError::Refused(error),
                Some(ended) => StatementError::Ended(ended),
            })
    }

    /// Commits what was done, and waits until that is acknowledged. If it has a number, `outcome` is what a retry gets.
    ///
    /// # Errors
    /// [`WriteError`] says whether it may have happened. [`WriteError::Refused`] if a foreign key is not satisfied,
    /// [`WriteError::Ended`] if it had ended by itself.
    pub async fn commit(self, outcome: Vec<u8>) -> Result<Written, WriteError> {
        self.end_with(Step::Commit(outcome)).await
    }

    /// Keeps what was done as the part of a commit over several shards: it is lasting then, and not visible. If it has a number, `outcome`
    /// is what a retry gets once it has taken effect.
    ///
    /// # Errors
    /// As of [`Interactive::commit`], and [`WriteError::TooLarge`].
    pub async fn prepare(
        self,
        outcome: Vec<u8>,
        preparation: Preparation,
    ) -> Result<Written, WriteError> {
        let preparation = Box::new(preparation);
        self.end_with(Step::Prepare(outcome, preparation)).await
    }

    async fn end_with(self, step: Step) -> Result<Written, WriteError> {
        // Where nobody takes that any more, the answer says why.
        drop(self.steps.send(step));
        let answer = tokio::time::timeout(self.commit, self.answer).await;
        match (answer, self.ended.get()) {
            (_, Some(ended)) => Err(WriteError::Ended(*ended)),
            (Ok(Ok(answer)), None) => answer,
            (Ok(Err(_)) | Err(_), None) => Err(WriteError::Indeterminate),
        }
    }

    /// Returns why it has ended by itself; `None` while it goes on.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended.get().copied()
    }

    fn reason(&self) -> Ended {
        self.ended().unwrap_or(Ended::NotPrimary)
    }
}

/// The side of a transaction that is run as a batch.
struct Conversation {
    inbox: mpsc::Receiver<Step>,
    begun: Option<oneshot::Sender<()>>,
    ended: Arc<OnceLock<Ended>>,
    status: watch::Receiver<Status>,
    stops: watch::Receiver<bool>,
    clock: Clock,
    limits: Limits,
    preparation: Option<Preparation>,
}

impl Transaction for Conversation {
    fn run(&mut self, member: &mut Member<'_>) -> Result<Vec<u8>, StoreError> {
        let began = self.clock.now();
        // What was said in it cannot be said again.
        let begun = self.begun.take().ok_or(StoreError::Interrupted)?;
        begun.send(()).map_err(|()| StoreError::Interrupted)?;
        let mut heard = began;
        loop {
            match self.inbox.recv_timeout(LOOK) {
                Ok(Step::Commit(outcome)) => return Ok(outcome),
                Ok(Step::Prepare(outcome, preparation)) => {
                    self.preparation = Some(*preparation);
                    return Ok(outcome);
                }
                Ok(Step::Run(run)) => {
                    let mut end = None;
                    run(member, &mut |ended| {
                        let now = self.clock.now();
                        let ended = self.has_to_end(began, now).unwrap_or(ended);
                        end = Some(self.end(ended));
                    });
                    if let Some(error) = end {
                        return Err(error);
                    }
                    heard = self.clock.now();
                }
                Err(RecvTimeoutError::Disconnected) => return Err(StoreError::Interrupted),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(ended) = self.has_to_end(began, heard) {
                return Err(self.end(ended));
            }
        }
    }

    fn preparation(&mut self) -> Option<Preparation> {
        self.preparation.take()
    }
}

/// Whether a statement was interrupted, which is done where the transaction has to end.
fn is_interruption(error: &StoreError) -> bool {
    match error {
        StoreError::TransactionEnded { source } => is_interruption(source),
        error => matches!(error, StoreError::Interrupted),
    }
}

impl Conversation {
    fn has_to_end(&self, began: Timestamp, heard: Timestamp) -> Option<Ended> {
        let now = self.clock.now();
        if self.status.borrow().leading().is_none() || *self.stops.borrow() {
            Some(Ended::NotPrimary)
        } else if now.since(began) >= self.limits.total {
            Some(Ended::TooLong)
        } else if now.since(heard) >= self.limits.idle {
            Some(Ended::Idle)
        } else {
            None
        }
    }

    fn end(&self, ended: Ended) -> StoreError {
        // It ends once.
        let _first = self.ended.set(ended);
        StoreError::Interrupted
    }
}
