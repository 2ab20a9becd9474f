//! The commit that has a participant's writer.

use shardwright_topology::Timestamp;

use super::Prepared;
use crate::commit::{CommitId, Ticket, Verdict};

/// The commit that has a participant's writer.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) id: CommitId,
    pub(super) ticket: Ticket,
    pub(super) since: Timestamp,
    /// When something has to be done about it.
    pub(super) due: Option<Timestamp>,
    pub(super) stage: Stage,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its statements run.
    Enlisted,
    /// Its part is being stored. The caller may have given it up meanwhile.
    Preparing(Option<Verdict>),
    /// Its part is stored.
    Prepared(Prepared),
    /// The decision is being stored, here and now.
    Deciding,
    /// What was decided elsewhere is being stored.
    Resolving(Prepared),
}

impl Holder {
    pub(super) fn enlisted(id: CommitId, ticket: Ticket, now: Timestamp, until: Timestamp) -> Self {
        Self {
            id,
            ticket,
            since: now,
            due: Some(until),
            stage: Stage::Enlisted,
        }
    }

    /// A part that was found prepared. Its ticket is used up: number 0 of a term is granted to nobody.
    pub(super) fn recovered(part: Prepared, term: u64, now: Timestamp) -> Self {
        Self {
            id: part.id,
            ticket: Ticket { term, number: 0 },
            since: now,
            due: Some(now),
            stage: Stage::Prepared(part),
        }
    }

    /// Whether it can lose the writer.
    pub(super) fn is_loose(&self) -> bool {
        matches!(self.stage, Stage::Enlisted)
    }

    pub(super) fn prepared(&self) -> Option<&Prepared> {
        match &self.stage {
            Stage::Prepared(part) | Stage::Resolving(part) => Some(part),
            Stage::Enlisted | Stage::Preparing(_) | Stage::Deciding => None,
        }
    }

    /// Whether that commit runs here, under that ticket.
    pub(super) fn runs(&self, id: CommitId, ticket: Ticket) -> bool {
        self.is_loose() && self.id == id && self.ticket == ticket
    }
}
