//! What the engine is told of a shard's refusal.

use shardwright_sql::{
    commit,
    shards::{Fault, FaultKind},
};

use super::wire::{Refusal, Said};

/// Returns what a refusal means for the caller of the engine.
pub(super) fn fault(refusal: Refusal, is_ambiguous: bool) -> Fault {
    match refusal {
        // It happened at the first attempt or not at all, and what is remembered does not reach so far back.
        Refusal::Fault { fault, .. } if is_ambiguous && fault.kind == FaultKind::Forgotten => {
            indeterminate()
        }
        Refusal::Fault { fault, .. } => fault,
        Refusal::SchemaChanged => Fault::new(
            FaultKind::SchemaChanged,
            "the schema of the shard is not the one that the statement was planned for",
        ),
        Refusal::Announced => Fault::new(
            FaultKind::SchemaChanged,
            "a change of the schema or of a reference table is about to reach every shard, and this one waits for it",
        ),
        Refusal::Sealed => Fault::new(
            FaultKind::LayoutChanged,
            "the shard is being split or merged",
        ),
        Refusal::Aborted(refusal) => refused(refusal),
        Refusal::NotWriter => Fault::new(
            FaultKind::NotWriter,
            "another node has taken over what one node alone may do",
        ),
        Refusal::Indeterminate => indeterminate(),
        Refusal::NotPrimary { .. } | Refusal::Later | Refusal::NoSession => Fault::new(
            FaultKind::Unreachable,
            "the primary of the shard has moved, and nothing of the transaction has happened",
        ),
    }
}

/// Returns what the refusal of a commit over several shards means, of which nothing has happened.
pub(super) fn refused(refusal: commit::Refusal) -> Fault {
    let kind = match refusal {
        commit::Refusal::Sealed | commit::Refusal::Stale => FaultKind::LayoutChanged,
        commit::Refusal::Busy => FaultKind::Busy,
        _ => FaultKind::Interrupted,
    };
    Fault::new(kind, refusal.to_string())
}

pub(super) fn indeterminate() -> Fault {
    Fault::new(
        FaultKind::Indeterminate,
        "the shard was lost while it worked, and it is not known whether the write was made",
    )
}

/// A place that is asked for what it is not.
pub(super) fn unexpected(said: &Said) -> Fault {
    tracing::error!(?said, "a shard answers what it was not asked");
    Fault::new(FaultKind::Other, "the shard answered what it was not asked")
}
