//! Plans: the moves that lead from who holds what to who should, and what no move can mend.

mod batches;
mod table;

pub use self::batches::Limits;

use std::fmt;

use serde::{Deserialize, Serialize};
use shardwright_topology::NodeId;

use crate::{PartitionId, sharder::Error};

/// What is to change about one copy of a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Step {
    /// Another holder becomes primary.
    Promote {
        /// The holder.
        to: NodeId,
    },
    /// A node gets a copy in addition to the others. It becomes primary if there are no others.
    Place {
        /// The node.
        to: NodeId,
    },
    /// A node gets the copy of another one and its role.
    Move {
        /// The node that has the copy, or had it before it went down.
        from: NodeId,
        /// The node that gets it.
        to: NodeId,
    },
    /// A node loses its copy, and no other gets one.
    Drop {
        /// The node.
        from: NodeId,
    },
}

impl Step {
    /// Returns the node that loses a copy.
    #[must_use]
    pub fn from(&self) -> Option<&NodeId> {
        match self {
            Self::Promote { .. } | Self::Place { .. } => None,
            Self::Move { from, .. } | Self::Drop { from } => Some(from),
        }
    }

    /// Returns the node that gets a copy or becomes primary.
    #[must_use]
    pub fn to(&self) -> Option<&NodeId> {
        match self {
            Self::Promote { to } | Self::Place { to } | Self::Move { to, .. } => Some(to),
            Self::Drop { .. } => None,
        }
    }

    /// Changes the list of holders, the primary first; `None` if the step does not fit it, and then nothing changes.
    #[must_use]
    pub fn apply(&self, holders: &mut Vec<NodeId>) -> Option<()> {
        let place = |holders: &[NodeId], node| holders.iter().position(|holder| holder == node);
        match self {
            Self::Promote { to } => {
                let place = place(holders, to)?;
                holders[..=place].rotate_right(1);
            }
            Self::Place { to } => {
                if holders.contains(to) {
                    return None;
                }
                holders.push(to.clone());
            }
            Self::Move { from, to } => {
                let place = place(holders, from)?;
                if holders.contains(to) {
                    return None;
                }
                holders[place] = to.clone();
            }
            Self::Drop { from } => {
                holders.remove(place(holders, from)?);
            }
        }
        Some(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promote { to } => write!(f, "promote {to}"),
            Self::Place { to } => write!(f, "place on {to}"),
            Self::Move { from, to } => write!(f, "move {from} -> {to}"),
            Self::Drop { from } => write!(f, "drop from {from}"),
        }
    }
}

/// Why a move was planned, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The primary is down and another holder is not.
    PrimaryDown,
    /// The node that holds the copy is down.
    NodeDown,
    /// The partition has fewer copies than it should.
    TooFewCopies,
    /// The node is being drained, or has weight 0.
    Draining,
    /// The node has another partition that this one must be kept apart from.
    Apart,
    /// Two copies are in one zone or region, and one without a copy has room.
    Spread,
    /// The partition has more copies than it should.
    TooManyCopies,
    /// The node has much more than its share.
    Overloaded,
    /// The node that gets the copy has much less than its share.
    Underloaded,
    /// The rule of the policy says so, a ring's for example.
    Wanted,
}

impl Reason {
    /// Whether something is wrong until the move is done, so that it should not wait for the cluster to calm down.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        match self {
            Self::PrimaryDown | Self::NodeDown | Self::TooFewCopies | Self::Draining => true,
            Self::Apart
            | Self::Spread
            | Self::TooManyCopies
            | Self::Overloaded
            | Self::Underloaded
            | Self::Wanted => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PrimaryDown => "primary down",
            Self::NodeDown => "node down",
            Self::TooFewCopies => "too few copies",
            Self::Draining => "draining",
            Self::Apart => "apart",
            Self::Spread => "spread",
            Self::TooManyCopies => "too many copies",
            Self::Overloaded => "overloaded",
            Self::Underloaded => "underloaded",
            Self::Wanted => "wanted",
        })
    }
}

/// One move of a plan: a step of one partition.
///
/// As JSON it is flat: `{"keyspace", "shard", "kind", "from", "to", "reason"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The partition.
    #[serde(flatten)]
    pub partition: PartitionId,
    /// What changes.
    #[serde(flatten)]
    pub step: Step,
    /// Why.
    pub reason: Reason,
}

/// A partition with fewer living copies than it should have, after the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderReplicated {
    /// The partition.
    #[serde(flatten)]
    pub partition: PartitionId,
    /// How many copies it will have on nodes that are not down.
    pub has: u32,
    /// How many it should have.
    pub wants: u32,
}

/// A partition whose copies share zones or regions although the policy spreads them, after the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowded {
    /// The partition.
    #[serde(flatten)]
    pub partition: PartitionId,
    /// In how many zones or regions its copies will be.
    pub has: u32,
    /// In how many they should be: one for each copy.
    pub wants: u32,
}

/// A copy that should leave its node and cannot, after the plan: it is pinned, or no other node may take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// The partition.
    #[serde(flatten)]
    pub partition: PartitionId,
    /// The node that is being drained.
    pub node: NodeId,
}

/// A copy on a node with another partition that it must be [kept apart](crate::Partition::apart) from, after the plan: it is pinned,
/// no other node may take it, or the policy does not look at that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Together {
    /// The partition.
    #[serde(flatten)]
    pub partition: PartitionId,
    /// The node that has both.
    pub node: NodeId,
}

/// The moves that lead to what a policy wants, and what no move can mend.
///
/// Moves of different partitions do not depend on each other. Those of one partition are done in their order. The most urgent
/// come first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// What is to be done.
    pub moves: Vec<Move>,
    /// What has too few copies all the same.
    pub under_replicated: Vec<UnderReplicated>,
    /// What is not spread as it should be all the same.
    pub crowded: Vec<Crowded>,
    /// What cannot leave a node that is being drained.
    pub stuck: Vec<Stuck>,
    /// What shares a node with others that it must be kept apart from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<Together>,
    /// Why the sharder of the policy would not decide; then nothing else is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Error>,
}

impl Plan {
    /// Whether there is nothing to do. Something may still be under-replicated, crowded, stuck or together.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }
}
