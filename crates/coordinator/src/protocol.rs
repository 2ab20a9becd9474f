//! What coordinators and workers say to each other: JSON over HTTP.
//!
//! A worker registers at any coordinator. From then on the leading coordinator pings it at its own address, with what it is to serve,
//! and the worker answers with what it does serve. See the crate's front page for why no shard is served by two.

use serde::{Deserialize, Serialize};
use shardwright_failover::replication::{CopyReport, Instruction};
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{
    Epoch, Incarnation, KeyspaceName, Location, NodeId, NodeRecord, ReplicaId, Role,
};

/// The version of the messages; another one is refused by name.
pub const VERSION: u32 = 1;

/// Where a worker takes pings, below its address.
pub const WORKER_PATH: &str = "/shardz";

/// Where a coordinator takes registrations.
pub const REGISTER_PATH: &str = "/shardz/v1/register";

/// Where a coordinator takes the news that a worker leaves.
pub const LEAVE_PATH: &str = "/shardz/v1/leave";

/// A worker's process says that it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// [`VERSION`].
    pub version: u32,
    /// The worker.
    pub id: NodeId,
    /// Where coordinators reach it, for example `http://10.0.0.7:9090`.
    pub address: String,
    /// Where it runs.
    #[serde(default)]
    pub location: Location,
    /// Its share of the load; [`NodeRecord::WEIGHT`] is ordinary.
    #[serde(default = "ordinary_weight")]
    pub weight: u32,
}

fn ordinary_weight() -> u32 {
    NodeRecord::WEIGHT
}

/// The answer to [`Register`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// [`VERSION`].
    pub version: u32,
    /// The number of this session of the worker. A worker that loses its lease registers again and gets the next.
    pub incarnation: Incarnation,
    /// How often it will be pinged, in milliseconds.
    pub check_interval_ms: u64,
    /// For how long after an answer of its own it may serve once that answer is granted, in milliseconds.
    pub hold_ms: u64,
}

/// A worker's process says that it goes away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// [`VERSION`].
    pub version: u32,
    /// The worker.
    pub id: NodeId,
    /// Its session.
    pub incarnation: Incarnation,
    /// False asks that what it serves be given to others first; true says that it serves nothing any more.
    pub gone: bool,
}

/// The leading coordinator asks whether a worker is there, and says what it is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// [`VERSION`].
    pub version: u32,
    /// The coordinator.
    pub coordinator: NodeId,
    /// The worker that is meant.
    pub node: NodeId,
    /// The session that is meant.
    pub incarnation: Incarnation,
    /// The coordinator's term. A worker refuses what is of an older term than it has seen.
    pub term: u64,
    /// Which list of this term holds now.
    pub list: u64,
    /// The list, unless the worker has said that it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignments: Option<Assignments>,
    /// The latest answer of the worker that is recorded in the registry: the worker may serve for `hold_ms` after it sent that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<u64>,
    /// For how long, in milliseconds.
    pub hold_ms: u64,
    /// The session is over: the worker stops serving and registers again.
    #[serde(default)]
    pub expired: bool,
    /// Nothing is left that could be given to others: a worker that leaves may go.
    #[serde(default)]
    pub drained: bool,
    /// What the worker is to do with its copies of shards that commit on several members. It may have heard it before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instructions: Vec<CopyInstruction>,
}

/// All that a worker is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Assignments {
    /// What it is to serve.
    pub serve: Vec<Assignment>,
    /// What it must stop to serve, and never serve again at that epoch or below.
    pub release: Vec<Fence>,
}

/// One shard that a worker is to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The shard.
    #[serde(flatten)]
    pub partition: PartitionId,
    /// As what.
    pub role: Role,
    /// The copy that it holds.
    pub replica: ReplicaId,
    /// The epoch that goes with everything it does for the shard.
    pub epoch: Epoch,
}

/// One shard that a worker must not serve any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fence {
    /// The shard.
    #[serde(flatten)]
    pub partition: PartitionId,
    /// The highest epoch that is over.
    pub epoch: Epoch,
}

/// A worker's answer to a [`Ping`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// [`VERSION`].
    pub version: u32,
    /// The worker.
    pub node: NodeId,
    /// Its session.
    pub incarnation: Incarnation,
    /// The session that the same process had before, once it serves nothing of it: nobody need wait for the end of its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Incarnation>,
    /// Whether the worker's process is to end, and others are to have what it holds first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
    /// Counts the answers of this session.
    pub number: u64,
    /// The highest term that it has seen.
    pub term: u64,
    /// The list of that term that it has.
    pub list: u64,
    /// What it does for each shard that it holds or was asked to release.
    pub shards: Vec<Report>,
    /// The copies that it has open of shards that commit on several members, and no others; `None` if it is no worker that keeps such
    /// copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Vec<CopyState>>,
    /// Which of its copies do not work, or have not caught up since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<CopyTrouble>,
}

/// What a worker says of its copy of a shard that commits on several members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyState {
    /// The shard.
    #[serde(flatten)]
    pub partition: PartitionId,
    /// The copy.
    #[serde(flatten)]
    pub report: CopyReport,
}

/// A copy of a shard on a worker that does not work, or has not caught up since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyTrouble {
    /// The shard.
    #[serde(flatten)]
    pub partition: PartitionId,
    /// What kind of trouble it is.
    pub kind: TroubleKind,
    /// What the worker says of it.
    pub error: String,
}

/// What kind of trouble a copy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// Its disk is full. It goes on when there is room.
    NoRoom,
    /// It cannot be opened, or not be registered. That is tried again.
    Unusable,
    /// It was damaged, or differed from the others: it was set aside, and another one is made in its place.
    SetAside,
}

/// What a worker is to do with a copy of a shard that commits on several members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyInstruction {
    /// The keyspace of the shard.
    pub keyspace: KeyspaceName,
    /// What to do, and with which shard.
    #[serde(flatten)]
    pub instruction: Instruction,
}

/// What a worker does for one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The shard.
    #[serde(flatten)]
    pub partition: PartitionId,
    /// The epoch that this is about.
    pub epoch: Epoch,
    /// What it does.
    pub state: ReportedState,
    /// Why the last attempt failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How far the copy is, in whatever the worker counts; used to choose among replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Whether the copy has all that was acknowledged, as far as the worker knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_sync: Option<bool>,
}

impl Report {
    /// Returns a report without an error and without a position.
    #[must_use]
    pub fn new(partition: PartitionId, epoch: Epoch, state: ReportedState) -> Self {
        Self {
            partition,
            epoch,
            state,
            error: None,
            position: None,
            in_sync: None,
        }
    }
}

/// What a worker does for a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportedState {
    /// It gets ready to serve.
    Starting,
    /// It serves.
    Serving,
    /// It stops.
    Stopping,
    /// It does not serve, and never will at this epoch or below.
    Released,
    /// It could not begin to serve; it has stopped, and never will serve at this epoch.
    Failed,
}
