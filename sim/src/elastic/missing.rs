//! The rules that can be left out, each to see that its absence is noticed.

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A record is replaced only as it was read.
    CompareAndSet,
    /// Targets are opened once the commit is in the journal.
    CommitFirst,
    /// Sources are let go once the abort is in the journal.
    AbortFirst,
    /// A sealed shard takes no writes.
    SealEndsWrites,
    /// What an operation has let go of, it does not seal again.
    EndedStaysEnded,
    /// What was written until the seal is applied before the switch.
    DrainFirst,
    /// A target is compared with its source.
    Compare,
    /// An open target takes nothing from a copy.
    OpenTakesNoCopies,
    /// A pause is part of the record that is replaced as it was read.
    PauseInRecord,
}

impl Missing {
    pub(crate) const ALL: &'static [Self] = &[
        Self::CompareAndSet,
        Self::CommitFirst,
        Self::AbortFirst,
        Self::SealEndsWrites,
        Self::EndedStaysEnded,
        Self::DrainFirst,
        Self::Compare,
        Self::OpenTakesNoCopies,
        Self::PauseInRecord,
    ];
}
