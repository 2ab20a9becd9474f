//! What goes into the machine and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shardwright_registry::{Key, Revision, Stored};
use shardwright_topology::{
    Epoch, Incarnation, Member, NodeId, NodeRecord, ReplicaId, ShardId, ShardRecord,
};

use super::{CopyReport, Event, Move, Refused, Registered};
use crate::{Verdict, Written};

/// What happens at a coordinator.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "each is moved once and kept nowhere"
)]
pub enum Input {
    /// This coordinator may act from now on, or may no more.
    Leading(bool),
    /// The record of a replicated shard was seen.
    Shard(Stored<ShardRecord>),
    /// The record of a shard is gone.
    ShardGone(ShardId),
    /// The record of a node was seen.
    Node(NodeRecord),
    /// The record of a node is gone.
    NodeGone(NodeId),
    /// A node has registered these copies, and no others.
    Registered(Registered),
    /// The detector has come to another opinion of a node.
    Verdict(Verdict),
    /// A process of a node says what copies it has open, and no others.
    Copies {
        /// The node.
        node: NodeId,
        /// Its process.
        incarnation: Incarnation,
        /// Its copies.
        copies: BTreeMap<ShardId, CopyReport>,
    },
    /// An operator wants what a node gives away, or has left behind, to go to another one. Whoever leads next does not know it.
    Heir {
        /// The node that is drained, or down.
        node: NodeId,
        /// Who takes its place.
        heir: NodeId,
    },
    /// A member of a shard is to give its place to a copy on a node that was named, up to a stage; or nothing of that is wanted any more. It
    /// replaces what was wanted before. Whoever leads next does not know it.
    Move {
        /// The shard.
        shard: ShardId,
        /// What is wanted.
        moving: Option<Move>,
    },
    /// A write that was asked for was answered.
    Written {
        /// The shard.
        shard: ShardId,
        /// What became of it.
        written: Written,
    },
    /// An operator wants something.
    Command {
        /// Comes back with the answer.
        ticket: u64,
        /// What.
        command: Command,
    },
    /// Time has passed.
    Tick,
}

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Let a member that is in sync be the primary.
    HandOver {
        /// The shard.
        shard: ShardId,
        /// The node of the member.
        to: NodeId,
    },
    /// Go on without a recovery quorum: acknowledged writes may be lost.
    Force {
        /// The shard.
        shard: ShardId,
        /// The node that is to be primary, which has a copy.
        to: NodeId,
        /// The shard again, by name: the loss that is accepted.
        accepting_loss_of: ShardId,
        /// Who accepts it.
        by: String,
    },
}

/// What a coordinator must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write a shard's record if it is at `expected`, and report with [`Input::Written`].
    Write {
        /// The key.
        key: Key,
        /// The revision that it must have.
        expected: Revision,
        /// The new value.
        record: Box<ShardRecord>,
    },
    /// Read the record of a shard, and show it.
    Read {
        /// The shard.
        shard: ShardId,
    },
    /// Tell a node what to do. It may get lost; it is told again.
    Instruct {
        /// The node.
        node: NodeId,
        /// What.
        instruction: Instruction,
    },
    /// Tell whoever listens.
    Emit(Event),
    /// Answer an operator.
    Answer {
        /// What the question carried.
        ticket: u64,
        /// The epoch at which the node is primary.
        answer: Result<Epoch, Refused>,
    },
}

/// What a node is told to do with a copy. Told twice, it is done once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Instruction {
    /// Make an empty copy, with this id or another one, register it, and open it. A node that has a registered copy of the shard does nothing.
    Create {
        /// The shard.
        shard: ShardId,
        /// The copy.
        replica_id: ReplicaId,
    },
    /// Keep these copies up to date although they do not count. For the primary of the epoch; another node does nothing.
    Follow {
        /// The shard.
        shard: ShardId,
        /// The epoch.
        epoch: Epoch,
        /// The copies, and no others.
        learners: BTreeSet<Member>,
    },
    /// Delete a copy. The node reads the shard's record first, at this revision or a later one: a copy that is in its active or pending
    /// configuration is kept, and so is one with another id, or of a shard that has reached another epoch. [`Instruction::may_delete`] is
    /// that check.
    Drop {
        /// The shard.
        shard: ShardId,
        /// The copy.
        replica_id: ReplicaId,
        /// The highest epoch of the shard when this was decided.
        epoch: Epoch,
        /// The revision of the record that this was decided on.
        revision: Revision,
    },
}
