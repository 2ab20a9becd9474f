//! The shapes of the admin API that the commands read and write.

use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error};

/// An answer with all that came, of which the commands read what they know.
#[derive(Clone, Debug)]
pub(crate) struct Received<T> {
    known: T,
    all: serde_json::Value,
}

impl<T> Deref for Received<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.known
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Received<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = serde_json::Value::deserialize(deserializer)?;
        let known = T::deserialize(&all).map_err(D::Error::custom)?;
        Ok(Self { known, all })
    }
}

impl<T> Serialize for Received<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.all.serialize(serializer)
    }
}

/// A member of the cluster.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) role: String,
    pub(crate) state: String,
    pub(crate) zone: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) weight: u64,
    pub(crate) shards: u64,
}

/// A shard or partition.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Shard {
    pub(crate) id: String,
    pub(crate) keyspace: String,
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) state: String,
    pub(crate) epoch: u64,
    pub(crate) primary: Option<String>,
    pub(crate) replicas: Vec<Replica>,
    /// How it stands, if it commits on several members and the leader says it.
    #[serde(default)]
    pub(crate) condition: Option<String>,
    /// The copies that do not work, or have not caught up since.
    #[serde(default)]
    pub(crate) troubles: Vec<serde_json::Value>,
}

/// A copy of a shard that is not the primary.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Replica {
    pub(crate) node: String,
    /// Whether it has all that was acknowledged, where that is known.
    #[serde(default)]
    pub(crate) in_sync: Option<bool>,
    /// By how many records it is behind the primary.
    #[serde(default)]
    pub(crate) lag: Option<u64>,
}

/// A copy of a shard on a node.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) node: String,
    pub(crate) role: String,
}

/// Partitions to add or to remove.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Partitions {
    pub(crate) ids: Vec<String>,
}

/// How a cluster is, as one coordinator knows it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) id: String,
    pub(crate) leader: Option<String>,
    pub(crate) term: u64,
    pub(crate) revision: u64,
    pub(crate) nodes: u64,
    pub(crate) nodes_up: u64,
    pub(crate) shards: u64,
    pub(crate) assigned: u64,
    pub(crate) planned: u64,
    pub(crate) moving: u64,
    /// How many splits, merges and moves of shards are not over.
    #[serde(default)]
    pub(crate) operations: u64,
}

/// What the leader plans, and what no plan can mend.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Plan {
    pub(crate) moves: Vec<Move>,
    pub(crate) under_replicated: Vec<Lack>,
    /// What has too many copies in one zone or region.
    pub(crate) crowded: Vec<Lack>,
    pub(crate) stuck: Vec<Stuck>,
    pub(crate) refused: Option<SharderRefused>,
    /// What shares a node that is to be apart.
    #[serde(default)]
    pub(crate) together: Vec<Stuck>,
    /// How many moves are left for a later plan.
    #[serde(default)]
    pub(crate) deferred: u64,
    /// The nodes without which it was planned.
    #[serde(default)]
    pub(crate) unheard: Vec<String>,
    /// What it costs, and what it leads to.
    #[serde(default)]
    pub(crate) impact: Option<Impact>,
}

/// What a plan costs, and what it leads to.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Impact {
    pub(crate) data_movement_bytes: u64,
    pub(crate) shards_affected: u64,
    pub(crate) estimated_duration_secs: u64,
    /// From 0 to 1.
    pub(crate) load_improvement: f64,
    pub(crate) hand_overs: u64,
}

/// How the balance stands.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Balance {
    pub(crate) automatic: String,
    pub(crate) interval_seconds: u64,
    pub(crate) rules: Rules,
    pub(crate) pins: Vec<String>,
    pub(crate) execution: Option<Execution>,
    /// How many moves a command has begun.
    #[serde(default)]
    pub(crate) changes: Option<u64>,
}

impl Balance {
    /// Whether a plan is being carried out.
    pub(crate) fn is_running(&self) -> bool {
        let execution = self.execution.as_ref();
        execution.is_some_and(|execution| execution.state != "ended")
    }
}

/// When the leader does something by itself.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rules {
    pub(crate) lasting_seconds: f64,
    pub(crate) cool_down_seconds: f64,
    pub(crate) rest_seconds: f64,
    pub(crate) shards_min: u64,
    pub(crate) split: SplitRules,
    pub(crate) merge: MergeRules,
}

/// When a shard is split.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SplitRules {
    pub(crate) bytes: u64,
    pub(crate) rows: Option<u64>,
    pub(crate) requests_per_second: f64,
    pub(crate) cpu: f64,
    pub(crate) rows_min: u64,
}

/// When neighbours are merged.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct MergeRules {
    pub(crate) bytes: u64,
    pub(crate) rows_max: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) cpu: f64,
}

/// A plan that is carried out, or was last.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Execution {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) moves: u64,
    pub(crate) running: u64,
    pub(crate) done: u64,
    pub(crate) given_up: u64,
    pub(crate) left: Vec<Left>,
}

/// A move that is not done, and is not tried again.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Left {
    pub(crate) shard: String,
    pub(crate) kind: String,
    pub(crate) why: String,
}

/// A step of a plan.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Move {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) kind: String,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) reason: String,
}

/// A shard with too few copies, or with copies in too few places.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Lack {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) has: u64,
    pub(crate) wants: u64,
}

/// A copy that cannot leave its node.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Stuck {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) node: String,
}

/// Why a sharder of the coordinator's own would not plan.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SharderRefused {
    pub(crate) code: String,
    pub(crate) node: Option<String>,
    pub(crate) partition: Option<Partition>,
}

/// The full name of a shard.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Partition {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
}

/// A split, a merge or a move of shards.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Operation {
    /// Its name; none if it has not begun.
    pub(crate) id: Option<String>,
    pub(crate) kind: String,
    pub(crate) phase: String,
    pub(crate) sources: Vec<String>,
    pub(crate) targets: Vec<String>,
    /// Where the new shards begin, but for the first.
    pub(crate) at: Vec<String>,
    /// The nodes of a move.
    #[serde(default)]
    pub(crate) from: Option<String>,
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// What brings the shards of a merge together.
    #[serde(default)]
    pub(crate) moves: Vec<MemberMove>,
    pub(crate) paused: bool,
    pub(crate) reason: String,
    pub(crate) error: Option<String>,
    pub(crate) progress: Progress,
}

/// A member of a shard that moves before that becomes one with others.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct MemberMove {
    pub(crate) shard: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// How far an operation is, as far as that is known.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Progress {
    pub(crate) rows: Option<u64>,
    pub(crate) rows_total: Option<u64>,
    pub(crate) fraction: Option<f64>,
    pub(crate) eta_seconds: Option<u64>,
    pub(crate) lag: Option<u64>,
}

/// How much a shard has and does.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Statistics {
    pub(crate) shard: String,
    pub(crate) primary: Option<String>,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) requests_per_second: Option<f64>,
    #[serde(default)]
    pub(crate) reads_per_second: Option<f64>,
    #[serde(default)]
    pub(crate) writes_per_second: Option<f64>,
    #[serde(default)]
    pub(crate) cpu: Option<f64>,
    pub(crate) operation: Option<String>,
    pub(crate) error: Option<String>,
}
