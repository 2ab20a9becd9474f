//! The rare situations that many seeds must reach.

use shardwright_server::shard::CopyGap;
use shardwright_topology::{Gap, Phase};

pub(super) const SPLIT: &str = "a split that committed";
pub(super) const MERGED: &str = "a merge that committed";
pub(super) const ABORTED: &str = "an operation that was aborted";
pub(super) const ABORTED_SEALED: &str = "an operation that was aborted after its seal was begun";
pub(super) const REVERSED: &str = "an operation is undone by another one";
pub(super) const CANCELLED: &str = "a cancellation";
pub(super) const PAUSED: &str = "a pause of an operation";
pub(super) const TAKEN_OVER: &str = "an operation that was seen first in its middle";
pub(super) const FORGOTTEN: &str = "the record of an operation is removed";
pub(super) const ORPHAN: &str =
    "what an operation was to do is forgotten, and nothing is known of it";
pub(super) const NOT_KEPT: &str = "a copy of a target has kept nothing aside";
pub(super) const MADE_ANEW: &str = "a copy is made anew";
pub(super) const INSTALLED: &str = "a snapshot takes the place of a log";
pub(super) const TRIMMED: &str = "records are dropped for their room";
pub(super) const TOO_LATE: &str = "records of a source are not kept any more";
pub(super) const PART_LOST: &str = "a crash while a part is made";
pub(super) const POWER_FAILURE: &str = "a power failure takes commits of a file back";
pub(super) const FAILOVER: &str = "another primary goes on";
pub(super) const OUTRUN: &str = "a write runs again because the log has gone on";
pub(super) const INDETERMINATE: &str = "a write of which nobody knows";
pub(super) const AGAIN: &str = "a write comes again";
pub(super) const AGAIN_ELSEWHERE: &str =
    "a write of which nobody knows comes again to another shard";
pub(super) const REPEATED: &str = "a write that has happened is answered as before";
pub(super) const REPEATED_ELSEWHERE: &str = "a write is answered by a shard that has not made it";
pub(super) const IMPATIENT: &str = "a write comes twice at the same time";
pub(super) const DIVIDED: &str = "a write of which nobody knows has keys in two shards";
pub(super) const SEALED: &str = "a write is refused by a sealed shard";
pub(super) const READ: &str = "a read";
pub(super) const READ_SEALED: &str = "a read is refused by a sealed shard";

pub(super) const ALL: &[&str] = &[
    SPLIT,
    MERGED,
    ABORTED,
    ABORTED_SEALED,
    REVERSED,
    CANCELLED,
    PAUSED,
    TAKEN_OVER,
    FORGOTTEN,
    ORPHAN,
    NOT_KEPT,
    MADE_ANEW,
    INSTALLED,
    TRIMMED,
    TOO_LATE,
    PART_LOST,
    POWER_FAILURE,
    FAILOVER,
    OUTRUN,
    INDETERMINATE,
    AGAIN,
    AGAIN_ELSEWHERE,
    REPEATED,
    REPEATED_ELSEWHERE,
    IMPATIENT,
    DIVIDED,
    SEALED,
    READ,
    READ_SEALED,
];

/// Who crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Party {
    Source,
    Target,
    Coordinator,
}

impl Party {
    pub(super) const ALL: [Self; 3] = [Self::Source, Self::Target, Self::Coordinator];
}

/// Crashes of the primary of a source or of a target, or of a coordinator that runs the operation, in each phase in which there is something to do.
pub(super) const CRASHES: &[&str] = &[
    "the primary of a source crashes: planned",
    "the primary of a source crashes: created",
    "the primary of a source crashes: copying",
    "the primary of a source crashes: catching-up",
    "the primary of a source crashes: verified",
    "the primary of a source crashes: sealing",
    "the primary of a source crashes: sealed",
    "the primary of a source crashes: committed",
    "the primary of a source crashes: cleaning-up",
    "the primary of a source crashes: aborting",
    "the primary of a target crashes: created",
    "the primary of a target crashes: copying",
    "the primary of a target crashes: catching-up",
    "the primary of a target crashes: verified",
    "the primary of a target crashes: sealing",
    "the primary of a target crashes: sealed",
    "the primary of a target crashes: committed",
    "the primary of a target crashes: cleaning-up",
    "the primary of a target crashes: aborting",
    "a coordinator crashes: planned",
    "a coordinator crashes: created",
    "a coordinator crashes: copying",
    "a coordinator crashes: catching-up",
    "a coordinator crashes: verified",
    "a coordinator crashes: sealing",
    "a coordinator crashes: sealed",
    "a coordinator crashes: committed",
    "a coordinator crashes: cleaning-up",
    "a coordinator crashes: aborting",
];

/// Returns the situation that a party crashes in a phase, if it is one.
pub(super) fn crash(party: Party, phase: Phase) -> Option<&'static str> {
    let who = match party {
        Party::Source => "the primary of a source",
        Party::Target => "the primary of a target",
        Party::Coordinator => "a coordinator",
    };
    let wanted = format!("{who} crashes: {phase}");
    CRASHES.iter().find(|mark| **mark == wanted).copied()
}

/// Crashes of a coordinator between two writes of an operation. Whoever leads in production makes moves for it, too: nobody does here.
pub(super) const COORDINATORS_GAPS: &[&str] = &[
    "a coordinator crashes in the gap split/planned/work",
    "a coordinator crashes in the gap split/planned",
    "a coordinator crashes in the gap split/planned/held",
    "a coordinator crashes in the gap split/planned/target",
    "a coordinator crashes in the gap split/created",
    "a coordinator crashes in the gap split/copying",
    "a coordinator crashes in the gap split/catching-up",
    "a coordinator crashes in the gap split/verified",
    "a coordinator crashes in the gap split/sealing",
    "a coordinator crashes in the gap split/sealed",
    "a coordinator crashes in the gap split/committed",
    "a coordinator crashes in the gap split/committed/resolved",
    "a coordinator crashes in the gap split/cleaning-up",
    "a coordinator crashes in the gap split/done",
    "a coordinator crashes in the gap split/done/forgotten",
    "a coordinator crashes in the gap split/done/removed",
    "a coordinator crashes in the gap split/aborting",
    "a coordinator crashes in the gap split/aborting/resolved",
    "a coordinator crashes in the gap split/aborted",
    "a coordinator crashes in the gap split/aborted/forgotten",
    "a coordinator crashes in the gap split/aborted/removed",
    "a coordinator crashes in the gap merge/planned/work",
    "a coordinator crashes in the gap merge/planned",
    "a coordinator crashes in the gap merge/planned/held",
    "a coordinator crashes in the gap merge/planned/target",
    "a coordinator crashes in the gap merge/created",
    "a coordinator crashes in the gap merge/copying",
    "a coordinator crashes in the gap merge/catching-up",
    "a coordinator crashes in the gap merge/verified",
    "a coordinator crashes in the gap merge/sealing",
    "a coordinator crashes in the gap merge/sealed",
    "a coordinator crashes in the gap merge/committed",
    "a coordinator crashes in the gap merge/committed/resolved",
    "a coordinator crashes in the gap merge/cleaning-up",
    "a coordinator crashes in the gap merge/done",
    "a coordinator crashes in the gap merge/done/forgotten",
    "a coordinator crashes in the gap merge/done/removed",
    "a coordinator crashes in the gap merge/aborting",
    "a coordinator crashes in the gap merge/aborting/resolved",
    "a coordinator crashes in the gap merge/aborted",
    "a coordinator crashes in the gap merge/aborted/forgotten",
    "a coordinator crashes in the gap merge/aborted/removed",
];

/// Crashes of a node between two steps that it makes durable.
pub(super) const NODES_GAPS: &[&str] = &[
    "a node crashes in the gap copy/cut",
    "a node crashes in the gap copy/part",
    "a node crashes in the gap copy/kept",
    "a node crashes in the gap copy/begun",
    "a node crashes in the gap copy/taken",
    "a node crashes in the gap copy/imported",
    "a node crashes in the gap copy/sealed",
    "a node crashes in the gap copy/released",
    "a node crashes in the gap copy/forgotten",
    "a node crashes in the gap copy/renamed",
];

/// Returns the situation that a coordinator crashes in a gap, if it is one.
pub(super) fn crash_of_coordinator(gap: Gap) -> Option<&'static str> {
    let wanted = format!("a coordinator crashes in the gap {gap}");
    COORDINATORS_GAPS
        .iter()
        .find(|mark| **mark == wanted)
        .copied()
}

/// Returns the situation that a node crashes in a gap.
pub(super) fn crash_of_node(gap: CopyGap) -> Option<&'static str> {
    let wanted = format!("a node crashes in the gap {gap}");
    NODES_GAPS.iter().find(|mark| **mark == wanted).copied()
}

#[cfg(test)]
mod tests {
    use shardwright_topology::{OperationKind, Written};

    use super::*;

    /// Whether an operation comes there in this scenario.
    fn is_reached(gap: &Gap) -> bool {
        let is_of_moves = matches!(gap.written, Written::Move | Written::Members);
        // What is held late is let go of before its operation is over.
        let is_late = gap.phase.is_final() && gap.written == Written::Resolved;
        gap.kind != OperationKind::Migrate && !is_of_moves && !is_late
    }

    #[test]
    fn every_gap_is_a_situation() {
        let gaps: Vec<Gap> = Gap::all().filter(is_reached).collect();
        assert_eq!(gaps.len(), COORDINATORS_GAPS.len());
        for gap in gaps {
            assert!(crash_of_coordinator(gap).is_some(), "{gap}");
        }
        let of_operations = CopyGap::ALL.into_iter().filter(|gap| !gap.is_of_commits());
        let gaps: Vec<CopyGap> = of_operations.collect();
        assert_eq!(gaps.len(), NODES_GAPS.len());
        for gap in gaps {
            assert!(crash_of_node(gap).is_some(), "{gap}");
        }
    }
}
