//! Logs, and the configurations that say who may write them.

use std::sync::Arc;

/// A node, counted from 0.
pub(crate) type NodeId = u8;
/// An epoch; it names its configuration, since the registry gives each to one attempt only.
pub(crate) type Epoch = u8;
/// Which copy a node holds; another one after its disk lost something.
pub(crate) type ReplicaId = u8;
/// The position of a record, counted from 1; also the length of a log that ends there.
pub(crate) type Lsn = u8;
/// A span of time on one node's own clock.
pub(crate) type Ticks = u8;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Content {
    /// The first record of its epoch.
    Start,
    /// A client's write; its number is what a retry of it has too.
    Write(u8),
    /// The outcomes of writes up to this number are forgotten: no retry of them is applied any more.
    Expire(u8),
    /// A child begins with what is in front of this.
    Base,
    /// No write of the range follows, unless it is unsealed: the range goes to a child.
    Seal,
    /// The operation was aborted: writes follow again, and no seal.
    Unseal,
}

impl Content {
    /// The number of the client's write, if it is one.
    pub(crate) fn write(self) -> Option<u8> {
        match self {
            Self::Write(number) => Some(number),
            Self::Start | Self::Expire(_) | Self::Base | Self::Seal | Self::Unseal => None,
        }
    }
}

/// One record of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) epoch: Epoch,
    pub(crate) content: Content,
}

/// A log from its first record on. Equal prefixes stand for equal hash chains. It is shared, as most steps change none
/// of the logs in a state and its messages.
pub(crate) type Log = Arc<Vec<Record>>;

/// What recovery compares logs by: the epoch of the last record, then its position.
pub(crate) fn last(log: &[Record]) -> (Epoch, usize) {
    (log.last().map_or(0, |record| record.epoch), log.len())
}

/// A log's length as a position.
pub(crate) fn end(log: &[Record]) -> Lsn {
    Lsn::try_from(log.len()).expect("the boundary of the model keeps logs short")
}

/// Whether `log` has no room for a write: its last seal was not lifted.
pub(crate) fn is_sealed(log: &[Record]) -> bool {
    let mark = |record: &&Record| matches!(record.content, Content::Seal | Content::Unseal);
    log.iter()
        .rfind(mark)
        .is_some_and(|record| record.content == Content::Seal)
}

/// The writes in `log`, in order.
pub(crate) fn writes(log: &[Record]) -> impl Iterator<Item = u8> {
    log.iter().filter_map(|record| record.content.write())
}

/// What a parent hands over to the child of an operation: its writes, and what it knows of clients' writes.
pub(crate) type Part = Vec<Content>;

/// What is handed over of `log`.
pub(crate) fn handed_over(log: &[Record]) -> impl Iterator<Item = Content> {
    let contents = log.iter().map(|record| record.content);
    contents.filter(|content| matches!(content, Content::Write(_) | Content::Expire(_)))
}

/// Where `content` is first.
pub(crate) fn position(log: &[Record], content: Content) -> Option<Lsn> {
    let found = log.iter().position(|record| record.content == content);
    found.map(|index| end(&log[..=index]))
}

/// Who replicates the shard in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Config {
    pub(crate) epoch: Epoch,
    pub(crate) primary: NodeId,
    /// The primary's process; a restarted one never resumes the epoch.
    pub(crate) incarnation: u8,
    pub(crate) members: Vec<(NodeId, ReplicaId)>,
    /// How many members make a record committed.
    pub(crate) w: usize,
}

impl Config {
    /// How many fenced members a new epoch starts from: with `w` they always share one.
    pub(crate) fn recovery_quorum(&self) -> usize {
        self.members.len() - self.w + 1
    }

    /// Whether this copy is a member.
    pub(crate) fn has(&self, node: NodeId, replica_id: ReplicaId) -> bool {
        self.members.contains(&(node, replica_id))
    }

    /// Whether any copy on this node is a member.
    pub(crate) fn names(&self, node: NodeId) -> bool {
        self.members.iter().any(|(member, _)| *member == node)
    }

    /// How many members have `per_node[node] >= least`.
    pub(crate) fn count(&self, per_node: &[u8], least: u8) -> usize {
        let reached = |member: &&(NodeId, ReplicaId)| per_node[usize::from(member.0)] >= least;
        self.members.iter().filter(reached).count()
    }
}
