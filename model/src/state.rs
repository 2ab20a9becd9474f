//! One state of the whole system: registry, replicas, messages, and what clients were told.

use std::collections::BTreeSet;

use crate::{
    operation::Operation,
    record::{
        Config, Content, Epoch, Log, Lsn, NodeId, Part, Record, ReplicaId, Ticks, end, writes,
    },
};

/// The shard's record in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Registry {
    /// The highest epoch ever handed out.
    pub(crate) epoch: Epoch,
    /// The configuration that was activated last.
    pub(crate) active: Config,
    /// The attempt in progress.
    pub(crate) pending: Option<Attempt>,
    /// The copy of each node that is listed as clean.
    pub(crate) replica_ids: Vec<ReplicaId>,
}

/// A configuration that wants to be activated, and the one that it recovers from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) config: Config,
    pub(crate) recover_from: Config,
}

/// What a node does in the shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Replica,
    Recovering(Recovery),
    Primary(Primary),
}

/// A named primary that collects fence answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recovery {
    pub(crate) attempt: Attempt,
    pub(crate) answers: Vec<(NodeId, ReplicaId, Log)>,
    /// Whether one of them is that of the primary before, which has given way.
    pub(crate) left: bool,
}

/// A primary that has adopted a log and replicates it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Primary {
    pub(crate) config: Config,
    /// The position of its epoch-start record.
    pub(crate) start: Lsn,
    pub(crate) activated: bool,
    /// How far each node has acknowledged under this epoch.
    pub(crate) acked: Vec<Lsn>,
    pub(crate) commit: Lsn,
    /// A read that waits for its barrier.
    pub(crate) barrier: Option<Barrier>,
    /// The last round of pings for leases.
    pub(crate) round: Option<Round>,
    /// How long each node's promise holds yet, by this node's clock.
    pub(crate) leases: Vec<Ticks>,
    /// The retries that it alone refuses; none, unless that rule is left out.
    pub(crate) forgotten: u8,
}

/// A linearizable read in progress.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Barrier {
    /// Who has answered since the read arrived.
    pub(crate) answered: BTreeSet<NodeId>,
    /// What was acknowledged when the read arrived.
    pub(crate) wanted: BTreeSet<u8>,
}

/// Pings that were sent at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Round {
    pub(crate) number: u8,
    /// The time since then, by the sender's clock.
    pub(crate) age: Ticks,
}

/// One node's copy of the shard, and its process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) promised: Epoch,
    /// What a restart makes of that, if it is not durable yet.
    pub(crate) synced: Option<Epoch>,
    pub(crate) log: Log,
    pub(crate) replica_id: ReplicaId,
    pub(crate) incarnation: u8,
    /// What it knows to be committed.
    pub(crate) commit: Lsn,
    /// For how long it refuses higher fences yet, by its own clock.
    pub(crate) held: Ticks,
    /// How far its clock is ahead of the slowest one.
    pub(crate) ahead: Ticks,
    /// Its copy of what a child begins with.
    pub(crate) base: Option<Part>,
    pub(crate) role: Role,
}

/// A message. Those that were sent stay for ever, so that they are lost, late, doubled and out of order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Message {
    FenceAck {
        epoch: Epoch,
        from: NodeId,
        replica_id: ReplicaId,
        log: Log,
        /// Whether it led what is recovered from until then.
        left: bool,
    },
    Append {
        epoch: Epoch,
        from: NodeId,
        log: Log,
        commit: Lsn,
    },
    AppendAck {
        epoch: Epoch,
        from: NodeId,
        replica_id: ReplicaId,
        durable: Lsn,
    },
    Ping {
        epoch: Epoch,
        from: NodeId,
        round: u8,
    },
    Pong {
        epoch: Epoch,
        from: NodeId,
        replica_id: ReplicaId,
        round: u8,
    },
}

/// A rule of safety that one step has broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    TwoRecordsCommitted,
    CommitTruncated,
    StaleRead,
    StaleLeasedRead,
    /// A child took a write for known that was never applied.
    UnappliedAcknowledged,
}

/// One state of the whole system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) registry: Registry,
    /// Every attempt ever made; its commands may arrive at any time.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) messages: BTreeSet<Message>,
    /// How many writes, expiries, restarts, losses and rounds of pings there were.
    pub(crate) written: u8,
    pub(crate) expiries: u8,
    pub(crate) restarts: u8,
    pub(crate) losses: u8,
    pub(crate) rounds: u8,
    /// The writes that were acknowledged.
    pub(crate) acknowledged: BTreeSet<u8>,
    /// The writes that were refused as too old, without having been applied.
    pub(crate) refused: BTreeSet<u8>,
    /// What anybody ever declared committed, by position.
    pub(crate) committed: Vec<Option<Record>>,
    pub(crate) operation: Operation,
    pub(crate) broken: Option<Broken>,
}

impl State {
    pub(crate) fn replica(&self, node: NodeId) -> &Replica {
        &self.replicas[usize::from(node)]
    }

    pub(crate) fn replica_mut(&mut self, node: NodeId) -> &mut Replica {
        &mut self.replicas[usize::from(node)]
    }

    pub(crate) fn primary(&self, node: NodeId) -> Option<&Primary> {
        match &self.replica(node).role {
            Role::Primary(primary) => Some(primary),
            Role::Replica | Role::Recovering(_) => None,
        }
    }

    pub(crate) fn primary_mut(&mut self, node: NodeId) -> Option<&mut Primary> {
        match &mut self.replica_mut(node).role {
            Role::Primary(primary) => Some(primary),
            Role::Replica | Role::Recovering(_) => None,
        }
    }

    /// The writes that were committed in the replicated shard.
    pub(crate) fn committed_writes(&self) -> impl Iterator<Item = u8> {
        let committed = self.committed.iter().flatten();
        committed.filter_map(|record| record.content.write())
    }

    /// The writes that were applied anywhere.
    pub(crate) fn applied_writes(&self) -> impl Iterator<Item = u8> {
        let neighbour = self.operation.neighbour.iter();
        let elsewhere = neighbour.flat_map(|neighbour| writes(&neighbour.log));
        let accepted = self.operation.accepted.iter().copied();
        self.committed_writes().chain(elsewhere).chain(accepted)
    }

    /// Records that `log` was declared committed up to `commit`, and acknowledges its writes.
    pub(crate) fn declare_committed(&mut self, log: &[Record], commit: Lsn) {
        let committed = &log[..usize::from(commit)];
        for (index, record) in committed.iter().enumerate() {
            if self.committed.len() <= index {
                self.committed.push(None);
            }
            match self.committed[index] {
                None => self.committed[index] = Some(*record),
                Some(other) if other != *record => self.broken = Some(Broken::TwoRecordsCommitted),
                Some(_) => {}
            }
            if let Content::Write(value) = record.content {
                self.acknowledged.insert(value);
            }
        }
    }
}

impl Replica {
    /// Promises an epoch durably.
    pub(crate) fn promise(&mut self, epoch: Epoch) {
        self.promised = epoch.max(self.promised);
        self.synced = None;
    }
}

impl Primary {
    /// A primary of `config` whose log ends with its epoch-start record, and is committed up to `commit`.
    pub(crate) fn starting(config: Config, replica: &Replica, commit: Lsn, nodes: usize) -> Self {
        let start = end(&replica.log);
        let node = config.primary;
        let mut primary = Self {
            acked: vec![0; nodes],
            config,
            start,
            activated: false,
            commit,
            barrier: None,
            round: None,
            leases: vec![0; nodes],
            forgotten: 0,
        };
        primary.extended(node, replica.replica_id, start);
        primary
    }

    /// Counts what is durable here, if this copy is a member.
    pub(crate) fn extended(&mut self, node: NodeId, replica_id: ReplicaId, end: Lsn) {
        if self.config.has(node, replica_id) {
            self.acked[usize::from(node)] = end;
        }
    }

    /// How far the log is on `w` members.
    pub(crate) fn quorum_end(&self, end: Lsn) -> Lsn {
        let mut reached = self.commit;
        while reached < end && self.config.count(&self.acked, reached + 1) >= self.config.w {
            reached += 1;
        }
        reached
    }
}
