//! The log of a shard as a node runs it: one copy, on a clock, a disk, and the connections of the node.

mod carry;
mod driver;
mod home;
mod in_directory;
mod opening;
mod outcome;
mod pace;
mod records;
mod remains;
mod status;
mod threads;

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::Arc,
    time::Duration,
};

use shardwright_registry::Clock;
use shardwright_topology::{Lsn, Member, NodeId, ShardId};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use self::driver::{Channels, Command};
pub use self::in_directory::InDirectory;
pub use self::{
    home::{Home, OpenError, Opened, Registrar},
    outcome::{AppendError, Appended, Entry, ReadError},
    records::ShardRecords,
    status::{Condition, Status, Trouble},
};
use super::{Level, ReadLevel, Record, Settings, StateError, peer::Peers};

/// What a copy runs on.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// What the copies of the shard agree on.
    pub settings: Settings,
    /// How often time passes for it while something goes on: a fraction of the heartbeat. 20 ms.
    pub tick: Duration,
    /// How large the content of a record may be. 8 MiB.
    pub record_bytes: usize,
    /// The first and the longest pause before the copy is opened again after a failure. 200 ms and 10 s.
    pub pauses: (Duration, Duration),
    /// The connections of the node.
    pub peers: Peers,
    /// What the registry says of the node's shards.
    pub records: ShardRecords,
    /// Where the copy is announced.
    pub registrar: Arc<dyn Registrar>,
    /// In which zone each node is, as far as it is known.
    pub zones: watch::Receiver<BTreeMap<NodeId, String>>,
}

impl LogOptions {
    /// Returns the usual options for these connections, records and announcements, with no zones.
    #[must_use]
    pub fn new(peers: Peers, records: ShardRecords, registrar: Arc<dyn Registrar>) -> Self {
        Self {
            settings: Settings::default(),
            tick: Duration::from_millis(20),
            record_bytes: 8 << 20,
            pauses: (Duration::from_millis(200), Duration::from_secs(10)),
            peers,
            records,
            registrar,
            zones: watch::channel(BTreeMap::new()).1,
        }
    }
}

/// The log of a shard on this node: a copy that runs. Clones are the same copy, which stops with the last of them.
///
/// A copy that fails says so in its [`Status`], and never ends the process: where there is no room it stops until there is, and
/// where something may be lost it is set aside and begins anew as another copy.
#[derive(Debug, Clone)]
pub struct ShardLog {
    shard: ShardId,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    stop: watch::Sender<bool>,
    clock: Clock,
    record_bytes: usize,
}

impl ShardLog {
    /// Starts the copy that is kept in `home`, and the task that runs it; the task ends after [`ShardLog::shut_down`], or
    /// when all handles are dropped.
    ///
    /// One shard has one copy on a node: another one takes the messages away from the first, which stops.
    #[must_use]
    pub fn start(shard: ShardId, home: impl Home, options: LogOptions) -> (Self, JoinHandle<()>) {
        let (commands, inbox) = mpsc::channel(options.settings.waiting_max);
        let (status, seen) = watch::channel(Status::default());
        let (stop, stopped) = watch::channel(false);
        let clock = options.peers.clock();
        let channels = Channels {
            commands: inbox,
            attached: options.peers.attach(shard.clone()),
            records: options.records.watch(&shard),
            stop: stopped,
            status,
        };
        let log = Self {
            shard: shard.clone(),
            commands,
            status: seen,
            stop,
            clock,
            record_bytes: options.record_bytes,
        };
        let task = opening::run(shard, home, options, clock, channels);
        (log, tokio::spawn(task))
    }

    /// Returns the shard.
    #[must_use]
    pub fn shard(&self) -> &ShardId {
        &self.shard
    }

    /// Returns how large a record may be.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.record_bytes
    }

    /// Appends a record, and waits until it has reached a level, for so long.
    ///
    /// # Errors
    /// [`AppendError`] says whether the record may be in the log, and what to do. If this is dropped, the record may be.
    pub async fn append(
        &self,
        entry: Entry,
        level: Level,
        within: Duration,
    ) -> Result<Appended, AppendError> {
        let (bytes, max) = (entry.size(), self.record_bytes);
        if bytes > max {
            return Err(AppendError::TooLarge { bytes, max });
        }
        let (answer, answered) = oneshot::channel();
        let deadline = self.clock.now() + within;
        let command = Command::Append {
            entry,
            level,
            deadline,
            answer,
        };
        match self.commands.try_send(command) {
            Ok(()) => answered.await.unwrap_or(Err(AppendError::Indeterminate)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(AppendError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(AppendError::NotRunning),
        }
    }

    /// Waits until the data of this copy has every record that was acknowledged before, and returns the last record that it has.
    /// This copy has to be the primary.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn barrier(&self, level: ReadLevel) -> Result<Lsn, ReadError> {
        self.ask(|answer| Command::Read { level, answer }).await
    }

    /// Waits until there are committed records after a place, and returns some of them, as this copy has them.
    ///
    /// # Errors
    /// [`ReadError::Trimmed`] if the first of them is gone, [`ReadError::NotRunning`].
    pub async fn read_from(&self, after: Lsn) -> Result<Vec<Arc<Record>>, ReadError> {
        self.ask(|answer| Command::ReadFrom { after, answer }).await
    }

    /// Keeps these copies up to date although they do not count, and no others that are not members. For the primary.
    ///
    /// # Errors
    /// [`ReadError::NotRunning`] if the copy has stopped.
    pub async fn set_learners(&self, learners: BTreeSet<Member>) -> Result<(), ReadError> {
        let sent = self.commands.send(Command::Learners(learners)).await;
        sent.map_err(|_| ReadError::NotRunning)
    }

    /// Has the records after a place kept for so long, for who is yet to [read](ShardLog::read_from) them. Only the last call counts, and as
    /// little is kept as for a member that lags if it takes too much room. For the primary.
    ///
    /// # Errors
    /// [`ReadError::NotRunning`] if the copy has stopped.
    pub async fn hold(&self, after: Lsn, lasting: Duration) -> Result<(), ReadError> {
        let sent = self.commands.send(Command::Hold { after, lasting }).await;
        sent.map_err(|_| ReadError::NotRunning)
    }

    /// Says that the data of the copy cannot be used, as whoever else uses it has found: the copy stops as if it could not apply a record,
    /// and is opened again, or begins anew, as that says.
    ///
    /// # Errors
    /// [`ReadError::NotRunning`] if the copy has stopped.
    pub async fn fail(&self, error: StateError) -> Result<(), ReadError> {
        let sent = self.commands.send(Command::Fail(error)).await;
        sent.map_err(|_| ReadError::NotRunning)
    }

    /// Returns how it stands, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Stops the copy, and waits until all that it took in is durable.
    pub async fn shut_down(&self) {
        self.stop.send_replace(true);
        let mut status = self.status.clone();
        // An error means that the task has ended.
        let _stopped = status
            .wait_for(|status| status.condition == Condition::Stopped)
            .await;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, ReadError>>) -> Command,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        match self.commands.try_send(command(answer)) {
            Ok(()) => answered.await.unwrap_or(Err(ReadError::NotRunning)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ReadError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ReadError::NotRunning),
        }
    }
}

/// What an error says, with its causes.
fn text_of(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = source.source();
    }
    text
}
