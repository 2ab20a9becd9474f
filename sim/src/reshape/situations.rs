//! The rare situations that many seeds must reach.

use shardwright_topology::Phase;

pub(super) const SPLIT: &str = "a split that committed";
pub(super) const MERGED: &str = "a merge that committed";
pub(super) const ABORTED: &str = "an operation that was aborted";
pub(super) const ABORTED_SEALED: &str = "an operation that was aborted after its seal was begun";
pub(super) const REVERSED: &str = "an operation is undone by another one";
pub(super) const CANCELLED: &str = "a cancellation";
pub(super) const PAUSED: &str = "a pause of an operation";
pub(super) const TAKEN_OVER: &str = "an operation that was seen first in its middle";
pub(super) const FORGOTTEN: &str = "the record of an operation is removed";
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
