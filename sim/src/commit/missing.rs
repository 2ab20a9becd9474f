//! The rules that can be left out, each to see that its absence is noticed.

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A participant says that it has prepared once that is durable.
    PreparedIsDurable,
    /// The first one says that it has decided once that is durable.
    DecidedIsDurable,
    /// A participant acknowledges once its resolution is durable.
    ResolvedIsDurable,
    /// A participant that starts anew finds what was prepared.
    PreparedIsFound,
    /// A first participant that starts anew finds what it has decided.
    DecidedIsFound,
    /// A participant that hears nothing asks.
    Ask,
    /// Who is asked before it has decided does not decide later.
    QuestionEndsTicket,
    /// A decision is kept until all participants have acknowledged it.
    KeptForParticipants,
    /// A decision is kept until its caller has heard.
    KeptForCaller,
    /// The decision is asked for when all others have prepared.
    AllPrepare,
    /// A shard is replaced when nothing of it is unresolved.
    SealWaits,
    /// Snapshots are compared.
    Compare,
    /// The commits are counted before the first snapshot.
    CountFirst,
}

impl Missing {
    pub(super) const ALL: &'static [Self] = &[
        Self::PreparedIsDurable,
        Self::DecidedIsDurable,
        Self::ResolvedIsDurable,
        Self::PreparedIsFound,
        Self::DecidedIsFound,
        Self::Ask,
        Self::QuestionEndsTicket,
        Self::KeptForParticipants,
        Self::KeptForCaller,
        Self::AllPrepare,
        Self::SealWaits,
        Self::Compare,
        Self::CountFirst,
    ];
}
