//! What a primary asks of a member, and what it is answered.

use std::{sync::Arc, time::Duration};

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

/// When something was asked, which comes back with the answer: what an answer promises counts from then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// Numbers what the primary asks.
    pub number: u64,
    /// The moment on the primary's clock.
    pub at: Duration,
}

/// Something asked of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// In whose name.
    pub ballot: Ballot,
    /// When.
    pub stamp: Stamp,
    /// For how long the member is asked to refuse higher fences, from when it gets this. Whoever asks for zero with anything but a fence
    /// counts on no earlier promise either: the member need not keep it.
    pub lease: Duration,
    /// What.
    pub ask: Ask,
}

/// What is asked of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Take nothing of a lower epoch any more, and show the log.
    Fence,
    /// Hand over records after this place, to whoever fenced the log.
    Fetch(Point),
    /// Take these records.
    Append(Append),
    /// Get a snapshot that reaches this place or a later one: the records up to it are gone.
    Snapshot(Point),
    /// Say that no higher epoch has been promised.
    Ping,
}

/// Records for a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The place that the records follow.
    pub prev: Point,
    /// The records.
    pub records: Vec<Arc<Record>>,
    /// The highest committed record.
    pub commit: Lsn,
    /// The records up to this one may be dropped: all members hold them, or those that lag get a snapshot.
    pub trim: Lsn,
}

/// What a member answers a fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceAck {
    /// The last record held.
    pub last: Point,
    /// Where each epoch ends.
    pub epoch_table: EpochTable,
    /// The place in front of the first record held.
    pub base: Point,
    /// The highest record that is known to be committed.
    pub known_commit: Lsn,
    /// The highest epoch that is known to have been active: that of the highest committed record, or of what the registry has shown as
    /// active.
    pub highest_active_epoch_seen: Epoch,
    /// Whether the copy is whole. What is left of a damaged one counts for no quorum.
    pub clean: bool,
    /// The configuration that this copy led until it was fenced: nothing is appended or read in its name any more, so this log has all that was
    /// ever committed under it.
    pub gave_way: Option<ConfigId>,
}

/// What a member answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// In whose name it was asked.
    pub ballot: Ballot,
    /// When it was asked.
    pub stamp: Stamp,
    /// For how long the member refuses higher fences, from when it was asked at the earliest.
    pub lease: Duration,
    /// The copy that answers: what it said does not hold for another copy on the node.
    pub replica_id: ReplicaId,
    /// The answer.
    pub answer: Answer,
}

/// The answer of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Lower epochs are fenced off, durably, unless a primary gave way: that one never leads them again, whatever it forgets.
    Fenced(FenceAck),
    /// Records after a place; none if the log ends there.
    Fetched {
        /// The place.
        prev: Point,
        /// The records.
        records: Vec<Arc<Record>>,
    },
    /// The log agrees with the sender's up to here, durably.
    Appended(Lsn),
    /// No higher epoch was promised when the ping came.
    Pong,
    /// The records do not follow this log. Nothing was appended.
    Diverged {
        /// Where each epoch ends.
        epoch_table: EpochTable,
        /// The place in front of the first record held: what is before it is committed, and cannot be compared any more.
        base: Point,
        /// The last record held.
        last: Point,
    },
    /// The records asked for are gone: a snapshot is needed.
    NeedSnapshot,
    /// The snapshot is being fetched.
    Installing,
    /// A higher fence is refused for so long yet, as was promised. Nothing changed; ask again then.
    Held(Duration),
    /// A higher epoch was promised. Nothing changed.
    StaleEpoch(Epoch),
    /// Another configuration claims the epoch. Nothing changed; an operator has to look.
    OtherConfig(ConfigId),
    /// The copy is set aside: it needs a new id and a new start as a learner.
    Faulty,
}

impl Answer {
    /// Returns whether the answer shows that no higher epoch was promised when the request came.
    #[must_use]
    pub fn is_obedient(&self) -> bool {
        match self {
            Self::Fenced(_)
            | Self::Fetched { .. }
            | Self::Appended(_)
            | Self::Pong
            | Self::Diverged { .. }
            | Self::NeedSnapshot
            | Self::Installing => true,
            Self::Held(_) | Self::StaleEpoch(_) | Self::OtherConfig(_) | Self::Faulty => false,
        }
    }
}
