//! What whoever uses a copy is told.

use shardwright_topology::{Epoch, Lsn, NodeId};

use crate::log::{BatchMember, Kind, Level};

/// What a new record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it does.
    pub kind: Kind,
    /// The writes of clients in it; none unless it is a batch.
    pub members: Vec<BatchMember>,
    /// Its content.
    pub payload: Vec<u8>,
    /// The record that it has to follow, if its content was made from the data as that left it: it is appended next to that or not
    /// at all. An author who names it has one record under way at a time.
    pub after: Option<Lsn>,
}

impl Entry {
    /// Returns a record without writes of clients, that may follow any other.
    #[must_use]
    pub fn new(kind: Kind, payload: Vec<u8>) -> Self {
        Self {
            kind,
            members: Vec::new(),
            payload,
            after: None,
        }
    }

    pub(super) fn size(&self) -> usize {
        let members = self.members.iter();
        let members = members.map(|member| 64 + member.positions.len() * 10 + member.outcome.len());
        self.payload.len() + members.sum::<usize>()
    }
}

/// A record that reached the level that was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub lsn: Lsn,
    /// The epoch it was appended at.
    pub epoch: Epoch,
    /// The level.
    pub level: Level,
    /// How often an operator had accepted the possible loss of acknowledged writes by then.
    pub data_loss_generation: u64,
}

/// Why a record is not known to have reached its level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// It was not appended: this copy is not the primary. Ask the one that is.
    #[error("this copy is not the primary, {} may be", .hint.as_ref().map_or("nobody known", NodeId::as_str))]
    NotPrimary {
        /// The node of the primary, as the registry said last.
        hint: Option<NodeId>,
    },
    /// It was not appended: too much waits. Try again later.
    #[error("too much waits for this copy")]
    Overloaded,
    /// It was not appended: the log has gone on since the record that it was to follow. Make its content anew once the data has the
    /// last record.
    #[error("the log goes on to {last} already")]
    Outrun {
        /// The last record, which may yet be lost.
        last: Lsn,
    },
    /// It was not appended: one record may not be so large. Never try it again.
    #[error("a record of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size.
        max: usize,
    },
    /// It was not appended: the copy is out of order. Ask another node, or wait for [`super::Status::condition`].
    #[error("this copy does not run")]
    NotRunning,
    /// It was appended or not, and may yet be committed. Ask the primary with the same number of the client.
    #[error("it is not known whether the record is committed")]
    Indeterminate,
}

impl AppendError {
    /// Returns whether the same record may be given again; see the variants for where.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotPrimary { .. }
            | Self::Overloaded
            | Self::Outrun { .. }
            | Self::NotRunning
            | Self::Indeterminate => true,
            Self::TooLarge { .. } => false,
        }
    }

    /// Returns whether the record may be in the log: then only one who recognizes it may be given it again.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        matches!(self, Self::Indeterminate)
    }
}

/// Why a read was not served. It may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// This copy is not the primary, or could not show that it is one. Ask the one that is.
    #[error("this copy is not the primary, {} may be", .hint.as_ref().map_or("nobody known", NodeId::as_str))]
    NotPrimary {
        /// The node of the primary, as the registry said last.
        hint: Option<NodeId>,
    },
    /// Too much waits. Try again later.
    #[error("too much waits for this copy")]
    Overloaded,
    /// The records asked for are gone: they are in the data.
    #[error("the records up to {base} are gone")]
    Trimmed {
        /// The last record that is gone.
        base: Lsn,
    },
    /// The copy is out of order, or stopped meanwhile. Ask another node.
    #[error("this copy does not run")]
    NotRunning,
}
