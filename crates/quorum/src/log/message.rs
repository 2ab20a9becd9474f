//! What a primary asks of a member, and what it is answered.

use serde::{Deserialize, Serialize};
use shardwright_topology::{ConfigId, Epoch, Lsn, ReplicaId};

use super::{EpochTable, Point, Record};

/// The configuration in whose name something is asked, and the most that a member has promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// The epoch.
    pub epoch: Epoch,
    /// Which configuration of the epoch; there is only one, unless the registry went back in time.
    pub config_id: ConfigId,
}

/// Something asked of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub ballot: Ballot,
    /// What.
    pub ask: Ask,
}

/// What is asked of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Take nothing of a lower epoch any more, and show the log.
    Fence,
    /// Take these records.
    Append(Append),
    /// Say that no higher epoch has been promised.
    Ping(u64),
}

/// Records for a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The place that the records follow.
    pub prev: Point,
    /// The records.
    pub records: Vec<Record>,
    /// The highest committed record.
    pub commit: Lsn,
}

/// What a member answers a fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceAck {
    /// The last record held.
    pub last: Point,
    /// Where each epoch ends.
    pub epoch_table: EpochTable,
    /// The highest record that is known to be committed.
    pub known_commit: Lsn,
    /// The highest epoch that is known to have been active: that of the highest committed record.
    pub highest_active_epoch_seen: Epoch,
}

/// What a member answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The epoch of the request.
    pub epoch: Epoch,
    /// The copy that answers: what it said does not hold for another copy on the node.
    pub replica_id: ReplicaId,
    /// The answer.
    pub answer: Answer,
}

/// The answer of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Lower epochs are fenced off, durably.
    Fenced(FenceAck),
    /// The log agrees with the sender's up to here, durably.
    Appended(Lsn),
    /// No higher epoch was promised when the ping came.
    Pong(u64),
    /// The records do not follow this log. Nothing was appended.
    Diverged {
        /// Where each epoch ends.
        epoch_table: EpochTable,
        /// The last record held.
        last: Point,
    },
    /// A higher epoch was promised. Nothing changed.
    StaleEpoch(Epoch),
    /// Another configuration claims the epoch. Nothing changed; an operator has to look.
    OtherConfig(ConfigId),
    /// The copy is set aside: it needs a new id and a new start as a learner.
    Faulty,
}
