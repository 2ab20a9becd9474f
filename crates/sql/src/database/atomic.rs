//! Writes to several places, all or nothing: the commits of [`commit`](crate::commit) on the files of one directory.
//!
//! All participants are in this process and end with it. So a part is prepared by being executed in a transaction that
//! stays open, and what makes it lasting goes into the record of the decision: the first place commits its own part
//! together with the statements of all others, which commit after it. A commit over two files is two durable writes.
//! After a crash, whoever opens the database for writing runs what is missing from the records, before anybody else can
//! write. The statements find the rows as they were when they ran first; only what they draw at random may differ, and of
//! that nobody was told.
//!
//! Where the places are elsewhere, and each of them keeps its part itself, they make the commit ([`Places::join`](crate::shards::Places::join)).
//!
//! Each place lists the commits that it has had (`cut`), so that snapshots of several files can be compared by anybody who
//! may read them.

mod clock;
mod commit;
mod desk;
mod joint;
mod located;
mod moving;
mod notes;
mod recovery;
mod snapshots;
mod spread;

pub use self::recovery::Unresolved;
pub(super) use self::{
    desk::Desk,
    joint::Commit,
    spread::{Parts, run_parts},
};

/// The moments between two durable writes of a commit over several places, in each of which the process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommitGap {
    /// A part has been executed, and is not lasting.
    Prepared,
    /// All parts have been executed, and the decision is about to be written.
    Undecided,
    /// The decision is lasting, and only the first place shows it.
    Decided,
    /// One more place shows it.
    Resolved,
    /// All places show it.
    Ended,
}

impl CommitGap {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [
        Self::Prepared,
        Self::Undecided,
        Self::Decided,
        Self::Resolved,
        Self::Ended,
    ];
}
