//! The rules that can be left out, each to see that its absence is noticed.

use shardwright_quorum::log::{Kind, Record};
use shardwright_topology::ShardId;

use super::Reshape;

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A source is sealed once that is committed.
    SealAwaited,
    /// A sealed shard takes no writes.
    SealEndsWrites,
    /// A sealed shard answers no reads.
    SealEndsReads,
    /// What was written until the seal is in the targets before they own it.
    DrainedFirst,
    /// What comes twice to a target is taken in once.
    TakenOnce,
    /// A target remembers the writes of its source.
    OutcomesShared,
    /// A target begins with what its source held at the record of the cut.
    BaseAtItsRecord,
    /// A target takes in the rows of its own range, and has no others when it is compared.
    RecordsOfItsOwn,
    /// The sources go after the commit.
    CommitBeforeRetire,
    /// A node that starts removes what it was removing.
    RemovalsEnded,
    /// What an operation was to do is forgotten that is not there.
    OrphansForgotten,
    /// The registry knows of the copy of a shard that owns nothing until it is removed.
    ForgottenLast,
}

impl Missing {
    pub(super) const ALL: &'static [Self] = &[
        Self::SealAwaited,
        Self::SealEndsWrites,
        Self::SealEndsReads,
        Self::DrainedFirst,
        Self::TakenOnce,
        Self::OutcomesShared,
        Self::BaseAtItsRecord,
        Self::RecordsOfItsOwn,
        Self::CommitBeforeRetire,
        Self::RemovalsEnded,
        Self::OrphansForgotten,
        Self::ForgottenLast,
    ];
}

impl Reshape {
    /// What becomes of a record before it is applied, where a rule is left out.
    pub(super) fn mutated(&self, _: &ShardId, record: &Record) -> Option<Record> {
        if self.missing != Some(Missing::OutcomesShared) || record.kind != Kind::Batch {
            return None;
        }
        // The last one says how far the target is.
        let last = record.members.last()?;
        let is_import = record.members.len() > 1 && last.outcome.is_empty();
        is_import.then(|| Record {
            members: vec![last.clone()],
            ..record.clone()
        })
    }
}
