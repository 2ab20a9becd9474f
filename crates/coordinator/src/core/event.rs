//! What a coordinator is told, and what it wants done.

use std::collections::BTreeSet;

use shardwright_rebalancer::PartitionId;
use shardwright_registry::{Key, LeaseRecord, PinRecord, Revision, Seen, Stored};
use shardwright_topology::{
    Gap, Incarnation, NodeId, NodeRecord, Operation, OperationId, ShardId, ShardRecord,
};

use super::{Gathering, Notice, Refusal};
use crate::protocol::{Ping, Pong};

/// What a coordinator is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// The watch of the registry showed something.
    Seen(Seen),
    /// A read of the registry showed something, outside of the order of the watch.
    Found(Seen),
    /// A worker answered a ping.
    Pong(Pong),
    /// A worker did not answer a ping.
    Silence {
        /// The worker.
        node: NodeId,
        /// The session that was meant.
        incarnation: Incarnation,
    },
    /// A write is over. What was found in its way was shown as [`Event::Found`] before.
    Wrote {
        /// The write.
        write: WriteId,
        /// What became of it.
        outcome: WriteOutcome,
    },
    /// Somebody wants something.
    Command {
        /// Names the command in its answer.
        id: CommandId,
        /// What is wanted.
        command: Command,
    },
    /// Time has passed.
    Tick,
}

/// Names a write in its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// Names a command in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It happened.
    Done(Revision),
    /// Another change came first: it did not happen.
    Conflict,
    /// Nobody knows yet. The watch will show it if it happened.
    Unknown,
}

/// A change of one record, by compare-and-set.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// The revision that the record must have; `None` if it must not exist.
    pub expected: Option<Revision>,
    /// The new record; `None` deletes it.
    pub value: Option<Value>,
    /// Where the move of a shard is once this is done, if it is a step of one.
    pub gap: Option<Gap>,
}

/// A record that a coordinator writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A node.
    Node(NodeRecord),
    /// A shard.
    Shard(ShardRecord),
    /// A lease: its own, or a worker's.
    Lease(LeaseRecord),
    /// The move of a shard that commits on several members.
    Operation(Operation),
    /// Where somebody has put a shard.
    Pin(PinRecord),
}

impl Value {
    /// Returns what the watch will show once the value is stored.
    #[must_use]
    pub fn seen(self, key: Key, revision: Revision) -> Seen {
        match self {
            Self::Node(value) => Seen::Node(Stored {
                key,
                value,
                revision,
            }),
            Self::Shard(value) => Seen::Shard(Stored {
                key,
                value,
                revision,
            }),
            Self::Lease(value) => Seen::Lease(Stored {
                key,
                value,
                revision,
            }),
            Self::Operation(value) => Seen::Operation(Stored {
                key,
                value,
                revision,
            }),
            Self::Pin(value) => Seen::Pin(Stored {
                key,
                value,
                revision,
            }),
        }
    }
}

/// What a coordinator wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make a change, and report what became of it.
    Write {
        /// Names it in the report.
        write: WriteId,
        /// The change.
        change: Change,
    },
    /// Read the record of a shard, and show it as [`Event::Found`] whether it has changed or not.
    Read {
        /// Its key.
        key: Key,
    },
    /// Ping a worker, and report its answer or its silence.
    Ping {
        /// Where it is.
        address: String,
        /// What to say.
        ping: Ping,
    },
    /// Something happened that people and metrics want to know.
    Notify(Notice),
    /// Create the keyspace `main`, unless it exists.
    Bootstrap {
        /// The number of its shards.
        shards: u32,
        /// Whether they commit on several members.
        replicated: bool,
    },
    /// Answer a command.
    Answer {
        /// The command.
        id: CommandId,
        /// What became of it.
        result: Result<Done, Refusal>,
    },
}

/// What somebody wants of the leading coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Add partitions. The driver does it: it needs no leader, and no machine.
    AddPartitions {
        /// Their names.
        ids: Vec<ShardId>,
        /// How many copies each has; as many as the settings say, unless given.
        replicas: Option<u32>,
    },
    /// Remove partitions: their workers stop serving them. The driver does it, as it adds them.
    RemovePartitions {
        /// Their names.
        ids: Vec<ShardId>,
    },
    /// Give what a node serves to others, and give it nothing any more.
    Drain {
        /// The node.
        node: NodeId,
    },
    /// Give what a node serves or has left behind to another one, as far as that may take it, and give it nothing any more.
    Replace {
        /// The node that goes.
        node: NodeId,
        /// The node that takes its place.
        by: NodeId,
    },
    /// Forget a node that is down: nobody waits for what it holds.
    Remove {
        /// The node.
        node: NodeId,
    },
    /// A worker's process goes away: what it serves is given to others first, unless it serves nothing any more.
    Leave {
        /// The worker.
        node: NodeId,
        /// Its session.
        incarnation: Incarnation,
        /// Whether it serves nothing any more.
        gone: bool,
    },
    /// Let a node serve a shard in place of another. Only the assignment changes: no data moves. But of a shard that commits on several
    /// members, one of them gives its place to a copy that is made on the node first, in an operation that is answered once it is written down;
    /// and if the node has a member already, it takes over as the primary.
    Move {
        /// The shard.
        partition: PartitionId,
        /// Who loses it; the primary, unless named.
        from: Option<NodeId>,
        /// Who gets it.
        to: NodeId,
    },
    /// Have a member of a shard that commits on several members give its place to a copy that is made on a node, as [`Command::Move`] does. No
    /// hand-over: a node that has a member already is refused.
    Migrate {
        /// The shard.
        partition: PartitionId,
        /// Who gives its place; the primary, unless named.
        from: Option<NodeId>,
        /// Who gets it.
        to: NodeId,
        /// Whether it is only to be told if that can be begun.
        dry_run: bool,
    },
    /// Hold up or end the move of a shard that commits on several members, or take it back.
    Steer {
        /// The move.
        operation: OperationId,
        /// What is to become of it.
        steering: Steering,
    },
    /// Have members of shards that commit on several move, one move of a shard after the other, until these shards can become one: answered with
    /// [`Done::gathering`], and with a move of it as [`Done::operation`] as long as one is not over. Of shards that do not commit on several members
    /// nothing moves.
    Gather {
        /// The merge for which that is done; `None` if it is only to be told what would be.
        operation: Option<OperationId>,
        /// The shards. For a merge, the new shard is made beside the first of them.
        shards: Vec<PartitionId>,
        /// Those that are not to move.
        pinned: BTreeSet<ShardId>,
    },
    /// Let plans move a partition again that somebody has moved or promoted: these commands leave it where it is put.
    Unpin {
        /// The partition.
        partition: PartitionId,
    },
    /// Carry out the whole plan, also what would wait for the cluster to calm down.
    Rebalance,
    /// Make a replica the primary.
    Promote {
        /// The shard.
        partition: PartitionId,
        /// The replica's node.
        node: NodeId,
        /// Whether a node counts that does not say that its copy is in sync.
        force: bool,
    },
    /// Let a shard that commits on several members go on without a recovery quorum: acknowledged writes may be lost.
    AcceptLoss {
        /// The shard.
        partition: PartitionId,
        /// The node that is to be primary, which has a copy.
        node: NodeId,
        /// The shard again: the loss that is accepted.
        accepted: ShardId,
        /// Who accepts it.
        by: String,
    },
}

/// What is to become of a move that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Steering {
    /// It stays where it is, up to its commit. The copy that was made goes on to follow.
    Pause,
    /// It goes on.
    Resume,
    /// It ends without effect, up to its commit.
    Cancel,
    /// Once it is done, another move goes the other way.
    Reverse,
}

/// What became of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// How many records it changes, or how many shards are to move.
    pub changes: usize,
    /// The operation that was begun or steered, which goes on.
    pub operation: Option<OperationId>,
    /// What brings shards together, if that was asked for.
    pub gathering: Option<Gathering>,
}

impl Done {
    /// Returns that so many records change, and nothing goes on.
    #[must_use]
    pub fn with(changes: usize) -> Self {
        Self {
            changes,
            ..Self::default()
        }
    }
}
