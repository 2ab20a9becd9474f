//! Elastic operations: the one record that switches routing for all shards that they touch.

mod gap;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::gap::{Gap, Halts, UnknownGap, Written};
use crate::{KeyspaceName, NodeId, OperationId, ShardId};

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// One shard becomes several neighbours.
    Split,
    /// Several neighbours become one shard.
    Merge,
    /// One shard moves: to a new shard of the same range, or, replicated, to other members of its own.
    Migrate,
}

impl OperationKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Split, Self::Merge, Self::Migrate];
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Split => "split",
            Self::Merge => "merge",
            Self::Migrate => "migrate",
        })
    }
}

// Whatever is added is in the lists.
const _: () = assert!(OperationKind::ALL.len() == OperationKind::Migrate as usize + 1);
const _: () = assert!(Phase::ALL.len() == Phase::Aborted as usize + 1);

/// How far an operation is.
///
/// ```text
/// Planned -> Created -> Copying -> CatchingUp -> Verified -> Sealing -> Sealed -> Committed -> CleaningUp -> Done
///                any phase before Committed -> Aborting -> Aborted
/// ```
///
/// The phase is also the decision ([`Phase::decision`]): the change to `Committed` or to `Aborting` is the one that counts,
/// and there is no way from one to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Written down; nothing else exists.
    Planned,
    /// The targets exist, empty, and the sources point at the operation.
    Created,
    /// A snapshot of the sources is copied.
    Copying,
    /// The changes since the snapshot are copied.
    CatchingUp,
    /// The copies were found equal to their sources at one position.
    Verified,
    /// The sources are about to take no more writes.
    Sealing,
    /// The sources take no more writes, and the targets have all of them.
    Sealed,
    /// The targets own the range. From here only forward.
    Committed,
    /// What is left of the sources is removed.
    CleaningUp,
    /// The operation took effect and left nothing to do.
    Done,
    /// The sources keep the range, and what was made of the targets is removed.
    Aborting,
    /// The operation had no effect and left nothing to do.
    Aborted,
}

/// Who owns the range that an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// The sources, so far: either may still come.
    Open,
    /// The targets, for good.
    Commit,
    /// The sources, for good.
    Abort,
}

impl Phase {
    /// Every phase, in order, the aborted ones last.
    pub const ALL: [Self; 12] = [
        Self::Planned,
        Self::Created,
        Self::Copying,
        Self::CatchingUp,
        Self::Verified,
        Self::Sealing,
        Self::Sealed,
        Self::Committed,
        Self::CleaningUp,
        Self::Done,
        Self::Aborting,
        Self::Aborted,
    ];

    /// Returns what the phase says of the ownership.
    #[must_use]
    pub fn decision(self) -> Decision {
        match self {
            Self::Planned
            | Self::Created
            | Self::Copying
            | Self::CatchingUp
            | Self::Verified
            | Self::Sealing
            | Self::Sealed => Decision::Open,
            Self::Committed | Self::CleaningUp | Self::Done => Decision::Commit,
            Self::Aborting | Self::Aborted => Decision::Abort,
        }
    }

    /// Returns whether the operation is over.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Aborted)
    }

    /// Returns whether `next` may follow.
    ///
    /// Forward by one; back from `Verified` to `CatchingUp`, when the gate to the seal closed again; to `Aborting` while the
    /// decision is open.
    #[must_use]
    pub fn allows(self, next: Self) -> bool {
        let forward = match self {
            Self::Planned => Self::Created,
            Self::Created => Self::Copying,
            Self::Copying => Self::CatchingUp,
            Self::CatchingUp => Self::Verified,
            Self::Verified => Self::Sealing,
            Self::Sealing => Self::Sealed,
            Self::Sealed => Self::Committed,
            Self::Committed => Self::CleaningUp,
            Self::CleaningUp => Self::Done,
            Self::Aborting => Self::Aborted,
            Self::Done | Self::Aborted => return false,
        };
        next == forward
            || (next == Self::Aborting && self.decision() == Decision::Open)
            || (next == Self::CatchingUp && self == Self::Verified)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Planned => "planned",
            Self::Created => "created",
            Self::Copying => "copying",
            Self::CatchingUp => "catching-up",
            Self::Verified => "verified",
            Self::Sealing => "sealing",
            Self::Sealed => "sealed",
            Self::Committed => "committed",
            Self::CleaningUp => "cleaning-up",
            Self::Done => "done",
            Self::Aborting => "aborting",
            Self::Aborted => "aborted",
        })
    }
}

/// Which member of a replicated shard gives its place to a copy on which other node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberChange {
    /// The node of the member.
    pub from: NodeId,
    /// The node of the copy.
    pub to: NodeId,
}

/// A split, a merge or a migration: which shards it is about, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Its name.
    pub id: OperationId,
    /// The keyspace of all its shards.
    pub keyspace: KeyspaceName,
    /// What it does.
    pub kind: OperationKind,
    /// The shards that own the range before, in range order.
    pub sources: Vec<ShardId>,
    /// The shards that own it after, in range order. A migration that changes the members of a shard has the shard itself here.
    pub targets: Vec<ShardId>,
    /// How far it is, and what was decided.
    pub phase: Phase,
    /// Why it was aborted, or what holds it up.
    pub error: Option<String>,
    /// Whether somebody asked it to wait where it is. It is here, so that a change of the phase cannot undo it unseen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// What becomes of the members of a shard that [keeps](Operation::keeps) its identity; `None` for all other operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<MemberChange>,
}

/// An operation that contradicts itself, or a step that it must not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOperation {
    /// The kind does not go with so many shards.
    #[error("a {kind:?} of {sources} shards to {targets} is not possible")]
    Shape {
        /// The kind.
        kind: OperationKind,
        /// The number of sources.
        sources: usize,
        /// The number of targets.
        targets: usize,
    },
    /// A shard is named twice.
    #[error("shard {shard} takes part twice")]
    Twice {
        /// The shard.
        shard: ShardId,
    },
    /// Members change in an operation that is no migration of a shard to itself, or one of them to its own node.
    #[error("operation {operation} cannot change members")]
    Members {
        /// The operation.
        operation: OperationId,
    },
    /// The phase cannot follow. Read the operation again: somebody else moved it on.
    #[error("operation {operation} is {from}, and {to} does not follow")]
    Phase {
        /// The operation.
        operation: OperationId,
        /// Where it is.
        from: Phase,
        /// Where it was to go.
        to: Phase,
    },
}

impl Operation {
    /// Returns whether the shard keeps its identity through the operation: a migration by a change of members.
    #[must_use]
    pub fn keeps(&self, shard: &ShardId) -> bool {
        self.sources.contains(shard) && self.targets.contains(shard)
    }

    /// Returns the shards that own nothing any more by its decision: none as long as it has none.
    pub fn retires(&self) -> impl Iterator<Item = &ShardId> {
        let retired: &[ShardId] = match self.phase.decision() {
            Decision::Open => &[],
            Decision::Commit => &self.sources,
            Decision::Abort => &self.targets,
        };
        retired.iter().filter(|shard| !self.keeps(shard))
    }

    /// Returns where it is once it has written something.
    #[must_use]
    pub fn gap(&self, written: Written) -> Gap {
        Gap {
            kind: self.kind,
            phase: self.phase,
            written,
        }
    }

    /// Returns the operation one phase on, or back, or aborting.
    ///
    /// # Errors
    /// [`InvalidOperation::Phase`] unless [`Phase::allows`] it. The same phase again is allowed and changes nothing.
    pub fn advance(&self, to: Phase) -> Result<Self, InvalidOperation> {
        if to == self.phase || self.phase.allows(to) {
            return Ok(Self {
                phase: to,
                ..self.clone()
            });
        }
        Err(InvalidOperation::Phase {
            operation: self.id.clone(),
            from: self.phase,
            to,
        })
    }

    /// Checks what holds of every operation.
    ///
    /// # Errors
    /// [`InvalidOperation`] with the first rule that is broken.
    pub fn check_invariants(&self) -> Result<(), InvalidOperation> {
        let (sources, targets) = (self.sources.len(), self.targets.len());
        let shape = match self.kind {
            OperationKind::Split => sources == 1 && targets >= 2,
            OperationKind::Merge => sources >= 2 && targets == 1,
            OperationKind::Migrate => sources == 1 && targets == 1,
        };
        if !shape {
            return Err(InvalidOperation::Shape {
                kind: self.kind,
                sources,
                targets,
            });
        }
        let in_place = self.kind == OperationKind::Migrate && self.sources == self.targets;
        let is_change = |members: &MemberChange| in_place && members.from != members.to;
        if !self.members.as_ref().is_none_or(is_change) {
            let operation = self.id.clone();
            return Err(InvalidOperation::Members { operation });
        }
        let mut shards: Vec<_> = self.sources.iter().collect();
        if !in_place {
            shards.extend(&self.targets);
        }
        shards.sort_unstable();
        match shards.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(InvalidOperation::Twice {
                shard: pair[0].clone(),
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(kind: OperationKind, sources: &[&str], targets: &[&str]) -> Operation {
        let shards = |names: &[&str]| -> Vec<ShardId> {
            names
                .iter()
                .map(|name| ShardId::new(name).expect("a valid name"))
                .collect()
        };
        Operation {
            id: OperationId::new("op-1").expect("a valid name"),
            keyspace: KeyspaceName::main(),
            kind,
            sources: shards(sources),
            targets: shards(targets),
            phase: Phase::Planned,
            error: None,
            paused: false,
            members: None,
        }
    }

    #[test]
    fn a_decision_is_never_taken_back() {
        for from in Phase::ALL {
            for to in Phase::ALL.into_iter().filter(|to| from.allows(*to)) {
                assert!(
                    from.decision() == Decision::Open || from.decision() == to.decision(),
                    "{from} -> {to} changes a decision",
                );
            }
        }
    }

    #[test]
    fn every_phase_before_the_commit_can_be_aborted_and_none_after() {
        for phase in Phase::ALL {
            let expect = phase.decision() == Decision::Open;
            assert_eq!(phase.allows(Phase::Aborting), expect, "{phase}");
            assert_eq!(
                phase.is_final(),
                Phase::ALL.iter().all(|next| !phase.allows(*next))
            );
        }
    }

    #[test]
    fn a_phase_is_stored_as_it_is_shown() {
        for phase in Phase::ALL {
            let stored = serde_json::to_string(&phase).expect("a text");
            assert_eq!(stored, format!("\"{phase}\""));
        }
    }

    #[test]
    fn a_phase_that_does_not_follow_is_refused() {
        let planned = operation(OperationKind::Migrate, &["a"], &["b"]);
        let refused = planned.advance(Phase::Committed).expect_err("far ahead");
        assert_eq!(
            refused.to_string(),
            "operation op-1 is planned, and committed does not follow"
        );
        assert_eq!(planned.advance(Phase::Planned), Ok(planned.clone()));
        assert_eq!(
            planned.advance(Phase::Created).map(|next| next.phase),
            Ok(Phase::Created)
        );
    }

    #[test]
    fn members_change_only_where_a_shard_stays_the_same() {
        let change = |from: &str, to: &str| {
            let [from, to] = [from, to].map(|name| NodeId::new(name).expect("a valid name"));
            Some(MemberChange { from, to })
        };
        let check = |targets: &[&str], members| {
            let operation = operation(OperationKind::Migrate, &["a"], targets);
            let operation = Operation {
                members,
                ..operation
            };
            operation.check_invariants().is_ok()
        };
        assert!(check(&["a"], change("n1", "n2")));
        assert!(!check(&["b"], change("n1", "n2")));
        assert!(!check(&["a"], change("n1", "n1")));
    }

    #[test]
    fn what_was_written_without_members_is_read() {
        let before = operation(OperationKind::Split, &["a"], &["b", "c"]);
        let stored = serde_json::to_value(&before).expect("a value");
        assert_eq!(stored.get("members"), None);
        let read: Operation = serde_json::from_value(stored).expect("an operation");
        assert_eq!(read, before);
    }

    #[test]
    fn each_kind_has_its_shape() {
        use OperationKind::{Merge, Migrate, Split};
        let valid = [
            operation(Split, &["a"], &["b", "c"]),
            operation(Merge, &["a", "b"], &["c"]),
            operation(Migrate, &["a"], &["b"]),
            operation(Migrate, &["a"], &["a"]),
        ];
        for operation in valid {
            assert_eq!(operation.check_invariants(), Ok(()), "{operation:?}");
        }
        let invalid = [
            operation(Split, &["a"], &["b"]),
            operation(Split, &["a"], &["b", "b"]),
            operation(Split, &["a"], &["a", "b"]),
            operation(Merge, &["a"], &["c"]),
            operation(Merge, &["a", "b"], &["a"]),
            operation(Migrate, &["a"], &[]),
        ];
        for operation in invalid {
            assert!(operation.check_invariants().is_err(), "{operation:?}");
        }
    }
}
