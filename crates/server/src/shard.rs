//! A copy of a shard: an SQLite file that a replicated log decides about.
//!
//! The primary runs writes in one transaction, has its changes appended to the log, and commits once a majority has them; the other
//! copies make the same changes in the same order. So whatever a client was told has happened survives the loss of any minority.

mod alarm;
mod convert;
mod copy_file;
mod executor;
mod gap;
mod generations;
mod interactive;
pub mod logged_file;
mod meter;
pub(crate) mod part;
mod read;
mod remembered;
mod round;
mod scrub;
pub(crate) mod split;
mod state;
mod write;

use std::{path::PathBuf, sync::Arc, time::Duration};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_quorum::log::{
    ShardLog,
    peer::{Content, Peers},
    segments::Options,
    shard_log::{InDirectory, LogOptions, Status},
};
use shardwright_registry::Clock;
use shardwright_store::{Config, Error as StoreError, Window};
use shardwright_topology::{Halts, Lsn, Timestamp};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

pub(crate) use self::{
    alarm::Alarm, convert::is_fault_of_disk, generations::FOR_OTHERS, meter::Meter,
};
use self::{
    copy_file::CopyFile,
    executor::{Claim, Executor, Request},
    state::open_state,
};
pub use self::{
    gap::{CopyGap, UnknownCopyGap},
    interactive::{Begin, Begun, Ended, Interactive, Limits, StatementError},
    meter::Usage,
    part::Preparation,
    read::{Fresh, ReadError, ReadLevel},
    scrub::{ScrubError, ScrubOptions, Scrubbed},
    write::{Identity, Token, Transaction, Watching, Write, WriteError, Written},
};

/// How many writes may wait for one shard.
const WAITING_MAX: usize = 4_096;

/// How much longer than it may take a write is waited for that has begun: what runs for too long is undone, and its end told.
const SETTLING: Duration = Duration::from_millis(300);

/// For how long a copy is waited for at most that is about to be the primary. To become it takes milliseconds, or members are missing.
const LEADING_SOON: Duration = Duration::from_millis(250);

/// What a copy runs on.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    /// Its log.
    pub log: LogOptions,
    /// What it remembers of the writes of clients.
    pub memory: Memory,
    /// Its file. What makes it durable is the log, so [`Config::synchronous`] is chosen here.
    pub file: Config,
}

/// What a shard remembers of the writes that have numbers: a retry of what it has forgotten is refused, and never run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// How many outcomes are kept.
    pub window: Window,
    /// After how many writes the others are forgotten. 16,384.
    pub forget_every: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            window: Window::default(),
            forget_every: 1 << 14,
        }
    }
}

/// A copy of a shard that runs. Clones are the same copy, which stops with the last of them.
#[derive(Debug, Clone)]
pub struct Shard {
    log: ShardLog,
    data: Arc<CopyFile>,
    requests: mpsc::Sender<Request>,
    clock: Clock,
    stops: Arc<watch::Sender<bool>>,
    peers: Peers,
    /// Whose turn it is to append: a batch, or what compares copies.
    turn: Arc<Mutex<()>>,
    /// Until when no commit over several shards begins here.
    closed: Arc<watch::Sender<Option<Timestamp>>>,
}

/// Why nothing may run any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Its time is over.
    Late,
    /// This copy is not the primary any more.
    NotPrimary,
    /// The copy stops.
    Stopped,
}

/// Ends when the copy stops.
async fn stopped(stops: &mut watch::Receiver<bool>) {
    // Nobody is left who could use it if the sender is gone.
    let _stopped = stops.wait_for(|stops| *stops).await;
}

/// A write that was handed over.
#[derive(Debug)]
struct Pending {
    claim: Claim,
    answer: oneshot::Receiver<Result<Written, WriteError>>,
}

impl Shard {
    /// Starts the copy that is kept in a directory, or makes an empty one there; it runs in the present tokio runtime.
    #[must_use]
    pub fn start(shard: PartitionId, directory: PathBuf, options: ShardOptions) -> Self {
        Self::start_halting(shard, directory, options, Halts::default())
    }

    /// Starts it, and lets a test know of each gap between two steps of an operation.
    pub(crate) fn start_halting(
        shard: PartitionId,
        directory: PathBuf,
        options: ShardOptions,
        halts: Halts<CopyGap>,
    ) -> Self {
        let data = Arc::new(CopyFile::new(shard.clone(), directory.clone(), halts));
        let open = open_state(Arc::clone(&data), shard.clone(), options.file);
        let home = InDirectory::new(directory, Options::default(), open);
        let peers = options.log.peers.clone();
        let (log, _task) = ShardLog::start(shard.shard, home, options.log);
        let (requests, inbox) = mpsc::channel(WAITING_MAX);
        let (clock, turn) = (Clock::start(), Arc::default());
        let stops = Arc::new(watch::Sender::new(false));
        let executor = Executor {
            log: log.clone(),
            data: Arc::clone(&data),
            inbox,
            clock,
            memory: options.memory,
            remembered: 0,
            turn: Arc::clone(&turn),
            expected: 0,
            stops: stops.subscribe(),
        };
        tokio::spawn(executor.run());
        Self {
            log,
            data,
            requests,
            clock,
            stops,
            peers,
            turn,
            closed: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Returns how far the data of this copy is.
    pub(crate) fn place(&self) -> Option<Token> {
        self.data.place()
    }

    /// Returns whether it is to be sealed, so that no commit over several shards may begin here.
    pub(crate) fn is_closed_to_commits(&self) -> bool {
        let now = self.clock.now();
        self.closed.borrow().is_some_and(|until| now < until)
    }

    /// Lets a test know that a commit over several shards has come to a gap.
    pub(crate) fn reached(&self, gap: CopyGap) {
        self.data.aside().halts().reached(gap);
    }

    /// Returns what this copy held at a record that compared the copies; `None` if it is not known.
    pub(crate) fn content(&self, lsn: Lsn) -> Option<Content> {
        let digest = *self.data.held().at(lsn)?.digest.as_bytes();
        let replica_id = self.status().borrow().replica_id?;
        Some(Content { replica_id, digest })
    }

    /// Returns its log.
    #[must_use]
    pub fn log(&self) -> &ShardLog {
        &self.log
    }

    /// Returns how the copy stands, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.log.status()
    }

    /// Writes to the shard. This copy has to be the primary. If this is dropped, the write may happen or not.
    ///
    /// # Errors
    /// [`WriteError`] says whether it may have happened, and what to do.
    pub async fn write(&self, write: Write) -> Result<Written, WriteError> {
        let within = write.within;
        let Pending { claim, mut answer } = self.submit(write)?;
        match tokio::time::timeout(within, &mut answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(WriteError::Indeterminate),
            Err(_) if claim.give_up() => Err(WriteError::Late),
            Err(_) => {
                let settled = tokio::time::timeout(SETTLING, answer).await;
                settled.map_or(Err(WriteError::Indeterminate), |answer| {
                    answer.unwrap_or(Err(WriteError::Indeterminate))
                })
            }
        }
    }

    /// Waits until this copy is the primary, if it is about to be: whoever is asked meanwhile answers sooner than a client that comes again.
    pub(crate) async fn until_led(&self, within: Duration) {
        let mut status = self.status();
        let is_decided = |status: &Status| !status.aspires;
        let decided = status.wait_for(is_decided);
        // Who waits in vain is told that it has to look elsewhere.
        let _in_time = tokio::time::timeout(within.min(LEADING_SOON), decided).await;
    }

    fn submit(&self, write: Write) -> Result<Pending, WriteError> {
        let (sender, answer) = oneshot::channel();
        let claim = Claim::default();
        let request = Request {
            deadline: self.clock.now() + write.within,
            began: Timestamp::default(),
            write,
            claim: claim.clone(),
            answer: sender,
        };
        match self.requests.try_send(request) {
            Ok(()) => Ok(Pending { claim, answer }),
            Err(mpsc::error::TrySendError::Full(_)) => Err(WriteError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(WriteError::NotRunning),
        }
    }

    /// Takes in what a read of the file has failed with. If that says that the disk is full, fails, or holds garbage, the copy stops as if a
    /// write had found it: others go on, and this one heals or is made anew.
    pub async fn found(&self, error: &StoreError) {
        if let Some(fault) = convert::fault_of(error) {
            // One that has stopped already has nothing to stop.
            let _told = self.log.fail(fault).await;
        }
    }

    /// Stops the copy, and waits until all that it took in is durable. A transaction that goes on from statement to statement ends.
    pub async fn stop(&self) {
        self.stops.send_replace(true);
        self.log.shut_down().await;
    }

    /// Ends after that time, or when the copy stops.
    pub(crate) fn over_after(&self, within: Duration) -> impl Future<Output = Over> + use<> {
        let mut stops = self.stops.subscribe();
        async move {
            tokio::select! {
                () = tokio::time::sleep(within) => Over::Late,
                () = stopped(&mut stops) => Over::Stopped,
            }
        }
    }

    /// Returns how much this copy is used. It costs nothing to have that known: nothing runs for it.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.data.meter().usage()
    }

    /// Returns what counts how much this copy is used.
    pub(crate) fn meter(&self) -> &Meter {
        self.data.meter()
    }

    /// Returns the clock of its deadlines.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }
}
