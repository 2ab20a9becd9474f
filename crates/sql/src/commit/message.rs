//! What the parties say to each other.

use serde::{Deserialize, Serialize};

use super::{CommitId, Party, Ticket};

/// Something that is said to a participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A caller asks for the writer.
    Enlist {
        /// The commit.
        id: CommitId,
        /// The revision of the shard map that it was planned for.
        revision: u64,
    },
    /// A caller asks to make its part lasting, without showing it.
    Prepare {
        /// The commit.
        id: CommitId,
        /// The participant's own ticket.
        ticket: Ticket,
        /// Who decides.
        first: Party,
        /// That one's ticket.
        first_ticket: Ticket,
        /// All participants, the first one included.
        participants: Vec<Party>,
        /// The revision of the shard map that it was planned for.
        revision: u64,
    },
    /// A caller asks the first participant to commit. Every other one has prepared.
    Decide {
        /// The commit.
        id: CommitId,
        /// The participant's own ticket.
        ticket: Ticket,
        /// All participants, the first one included.
        participants: Vec<Party>,
        /// The revision of the shard map that it was planned for.
        revision: u64,
    },
    /// A caller gives up a commit that nobody was asked to decide, or whose decision was refused. It ends a part that is
    /// prepared, too.
    Abandon {
        /// The commit.
        id: CommitId,
    },
    /// A caller has no use for the writer, and does not say how its commit has ended, or does not know. A part that is
    /// prepared stays.
    Release {
        /// The commit.
        id: CommitId,
    },
    /// A caller knows that its commit was made.
    Heard {
        /// The commit.
        id: CommitId,
    },
    /// A prepared participant asks the first one for the outcome.
    Inquire {
        /// The commit.
        id: CommitId,
        /// The ticket of the first participant under which it has prepared.
        ticket: Ticket,
        /// Who asks.
        from: Party,
    },
    /// The first participant says what was decided.
    Resolve {
        /// The commit.
        id: CommitId,
        /// What was decided.
        verdict: Verdict,
        /// The first participant.
        from: Party,
    },
    /// A participant has resolved a commit, durably.
    Acknowledge {
        /// The commit.
        id: CommitId,
        /// Who has.
        from: Party,
    },
}

impl Message {
    /// The commit that it is about.
    #[must_use]
    pub fn id(&self) -> CommitId {
        match self {
            Self::Enlist { id, .. }
            | Self::Prepare { id, .. }
            | Self::Decide { id, .. }
            | Self::Abandon { id }
            | Self::Release { id }
            | Self::Heard { id }
            | Self::Inquire { id, .. }
            | Self::Resolve { id, .. }
            | Self::Acknowledge { id, .. } => *id,
        }
    }
}

/// What a participant says to the caller of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It has the writer.
    Enlisted(Ticket),
    /// Its part is lasting.
    Prepared,
    /// The commit is decided.
    Committed,
    /// The commit does not get the writer, or what ran under a ticket is undone and will not be decided. If that was to be
    /// decided, it may also have been, and be forgotten since: see [`Refusal::Gone`].
    Refused {
        /// The ticket that has ended; `None` if there was none.
        ticket: Option<Ticket>,
        /// Why.
        refusal: Refusal,
    },
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// All participants make their parts visible.
    Commit,
    /// None does.
    Abort,
}

/// Why a participant refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// An older commit wants the writer.
    #[error("an older commit needs the same shard")]
    Wounded,
    /// The writer was not free in time.
    #[error("the shard was not free in time")]
    Busy,
    /// The commit has held the writer for longer than it may.
    #[error("the commit held the shard for longer than it may")]
    Expired,
    /// It was planned for another shard map.
    #[error("the commit was planned for another shard map")]
    Stale,
    /// The shard is about to be replaced by others.
    #[error("the shard is about to be replaced by others")]
    Sealed,
    /// A participant that had prepared asked for the outcome before there was one.
    #[error("a prepared shard asked for the outcome before there was one")]
    Recovered,
    /// The participant has been asked to end it, or has started anew, and knows no such ticket.
    #[error("the shard knows nothing of the commit")]
    Gone,
    /// What the commit has done there was undone: a statement ended the transaction, or it could not be stored.
    #[error("the shard could not keep what the commit did")]
    Failed,
    /// The caller gave it up.
    #[error("the commit was given up")]
    GivenUp,
}

impl Refusal {
    /// Whether the same commit may succeed when it is run again from its start.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Wounded
            | Self::Busy
            | Self::Expired
            | Self::Stale
            | Self::Sealed
            | Self::Recovered
            | Self::Gone => true,
            Self::Failed | Self::GivenUp => false,
        }
    }
}
