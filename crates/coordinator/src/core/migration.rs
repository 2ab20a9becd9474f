//! The migration of a shard that commits on several members: one of them gives its place to a copy on another node.
//!
//! ```text
//! Planned ----> Created ----> Copying ----> CatchingUp <---> Verified --> Sealing --> Sealed --> Committed ----> CleaningUp ----> Done
//!    the shard     the copy      the copy      it is          nothing is sealed: members          the members       what `from`
//!    is held       is there      follows       in sync        change while they are written to    have changed      had is deleted
//!
//! any of them up to Sealed --cancelled, or it cannot be any more--> Aborting --the copy is deleted--> Aborted
//! ```
//!
//! The copy is made and filled before the commit, and no member goes before it. So an abort has nothing to take back but that copy, and after
//! the commit it goes on, whoever leads. It waits for a node that is away; one that was removed or gives away what it has ends it.
//!
//! It reads no clock and writes nothing: the core shows it what there is, and does what it says.

use std::collections::BTreeSet;

use shardwright_failover::replication::{Stage, Standing};
use shardwright_topology::{Decision, NodeId, Operation, OperationId, Phase};

/// What is to be done next of a migration. Whatever is written is a compare-and-set, and done again if it did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: something is waited for, or it is over.
    Wait,
    /// Point the shard at the operation.
    Hold,
    /// Write the decision into the shard and let go of it.
    LetGo,
    /// Write the next phase, and why if that is no matter of course.
    Enter(Phase, Option<String>),
}

/// Who has a shard that is to be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody.
    Nobody,
    /// This operation.
    Own,
    /// Nobody needs to: no other operation takes such a shard.
    Unneeded,
    /// Another operation.
    Other(OperationId),
}

/// What there is to see of a migration.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    /// Whether the shard is there and in use.
    pub(super) serves: bool,
    pub(super) holder: Holder,
    /// Whether no other configuration is being tried.
    pub(super) is_settled: bool,
    /// The nodes of those members that count, and of those that are about to.
    pub(super) members: BTreeSet<NodeId>,
    /// The copy that gives its place.
    pub(super) from: Option<Standing>,
    /// The copy that takes it.
    pub(super) to: Option<Standing>,
    /// Which of the two nodes are up.
    pub(super) is_up: [bool; 2],
    /// Why the node can be given no copy any more.
    pub(super) refused: Option<String>,
    /// Whether the merge that it was to prepare is aborted.
    pub(super) is_for_nothing: bool,
    /// Whether another migration of the shard has begun after this one was decided.
    pub(super) is_followed: bool,
}

/// How far the change of members may go.
pub(super) fn stage(phase: Phase) -> Option<Stage> {
    match phase {
        Phase::Created
        | Phase::Copying
        | Phase::CatchingUp
        | Phase::Verified
        | Phase::Sealing
        | Phase::Sealed => Some(Stage::Fill),
        Phase::Committed | Phase::CleaningUp => Some(Stage::Swap),
        Phase::Aborting => Some(Stage::Undo),
        Phase::Planned | Phase::Done | Phase::Aborted => None,
    }
}

/// Returns what is to be done next.
pub(super) fn next(operation: &Operation, sight: &Sight) -> Step {
    let Some(change) = &operation.members else {
        return Step::Wait;
    };
    let phase = operation.phase;
    if phase.decision() == Decision::Open {
        return match undone(&change.from, &change.to, sight) {
            Some(reason) => Step::Enter(Phase::Aborting, Some(reason)),
            None if operation.paused => Step::Wait,
            None => forward(phase, sight),
        };
    }
    let counts = |node: &NodeId| sight.members.contains(node);
    let is_gone =
        |copy: &Option<Standing>, is_up: bool| copy.is_none() || !is_up || sight.is_followed;
    let is_held = sight.holder == Holder::Own;
    match phase {
        Phase::Committed => {
            let is_done = sight.is_settled && !counts(&change.from);
            // Nobody comes who could take the place.
            let is_stuck = sight.is_settled && !counts(&change.to) && sight.refused.is_some();
            match is_done || is_stuck || !sight.serves {
                true if is_held => Step::LetGo,
                true => Step::Enter(
                    Phase::CleaningUp,
                    sight.refused.clone().filter(|_| !is_done),
                ),
                false => Step::Wait,
            }
        }
        Phase::CleaningUp => {
            let is_over = counts(&change.from) || is_gone(&sight.from, sight.is_up[0]);
            match is_over {
                _ if is_held => Step::LetGo,
                true => Step::Enter(Phase::Done, None),
                false => Step::Wait,
            }
        }
        Phase::Aborting => {
            let is_over = counts(&change.to) || is_gone(&sight.to, sight.is_up[1]);
            match is_over {
                _ if is_held => Step::LetGo,
                true => Step::Enter(Phase::Aborted, None),
                false => Step::Wait,
            }
        }
        // A hold that was written late, by whoever led before.
        _ if is_held => Step::LetGo,
        _ => Step::Wait,
    }
}

/// Why a migration that is not decided cannot be any more.
fn undone(from: &NodeId, to: &NodeId, sight: &Sight) -> Option<String> {
    if !sight.serves {
        return Some("the shard is no more".to_owned());
    }
    if let Holder::Other(other) = &sight.holder {
        return Some(format!("the shard takes part in operation {other}"));
    }
    if sight.is_for_nothing {
        return Some("the merge that it was to prepare is aborted".to_owned());
    }
    if sight.members.contains(to) {
        return Some(format!("node {to} has become a member otherwise"));
    }
    if !sight.members.contains(from) {
        return Some(format!("node {from} is no member any more"));
    }
    sight.refused.clone()
}

fn forward(phase: Phase, sight: &Sight) -> Step {
    if sight.holder == Holder::Nobody {
        return Step::Hold;
    }
    let copy = sight.to;
    let is_ready = copy.is_some_and(|copy| copy.is_ready);
    let enter = |phase| Step::Enter(phase, None);
    match phase {
        Phase::Planned => enter(Phase::Created),
        Phase::Created if copy.is_some() => enter(Phase::Copying),
        Phase::Copying if copy.is_some_and(|copy| copy.lag.is_some()) => enter(Phase::CatchingUp),
        Phase::CatchingUp if is_ready => enter(Phase::Verified),
        Phase::Verified if !is_ready => enter(Phase::CatchingUp),
        Phase::Verified => enter(Phase::Sealing),
        Phase::Sealing => enter(Phase::Sealed),
        Phase::Sealed if is_ready && sight.is_settled => enter(Phase::Committed),
        _ => Step::Wait,
    }
}

#[cfg(test)]
mod tests;
