//! What a participant has stored: records of the shard's log.

use std::{sync::Arc, time::Duration};

use shardwright_quorum::log::Level;
use shardwright_sql::commit::{self, CommitId, Party, Prepared, Record, notes};
use shardwright_store::{Error as StoreError, Member};

use super::desk::Desk;
use crate::{
    gateway::{
        host::{Reason, refusal, transaction::not_run},
        wire::{self, Refusal},
    },
    shard::{CopyGap, Preparation, Write, WriteError, Written, part},
};

/// How long a record may take that nobody waits for.
const STORING: Duration = Duration::from_secs(10);

/// Why a record is not known to be stored.
enum Unstored {
    /// It is not, and never will be.
    For(Refusal),
    /// It may be.
    Unknown,
}

impl Desk {
    /// Stores a record, and says what has become of it.
    pub(super) async fn store(self: Arc<Self>, record: Record) {
        let stored = match &record {
            Record::Prepared(part) => self.prepare(part).await,
            Record::Decided { id, participants } => self.decide(*id, participants).await,
            Record::Resolved { id, verdict } => {
                let resolved = self.copy.resolve(*id, *verdict, STORING).await;
                self.seen(CopyGap::Resolved, resolved)
            }
            Record::Forgotten { id } => self.forget(*id).await,
        };
        match stored {
            Ok(()) => self.stored(record),
            Err(Unstored::For(why)) => self.not_stored(record, why),
            // Whoever begins anew reads what the log says.
            Err(Unstored::Unknown) => self.end(),
        }
    }

    async fn prepare(&self, part: &Prepared) -> Result<(), Unstored> {
        let open = self.transaction(part.id).ok_or_else(gone)?;
        let (interactive, ran) = open.take().await.ok_or_else(gone)?;
        let preparation = Preparation {
            part: part.clone(),
            record_bytes: self.copy.record_bytes(),
        };
        let prepared = interactive.prepare(wire::encode(&ran), preparation).await;
        self.seen(CopyGap::Prepared, prepared)
    }

    /// The commit point: the first shard's own part, and the decision.
    async fn decide(&self, id: CommitId, participants: &[Party]) -> Result<(), Unstored> {
        let open = self.transaction(id).ok_or_else(gone)?;
        let (interactive, ran) = open.take().await.ok_or_else(gone)?;
        let (first, members) = (self.name(), participants.to_vec());
        let note = move |member: &mut Member<'_>| note_decision(member, id, first, members);
        if let Err(error) = interactive.execute(note).await {
            return Err(Unstored::For(not_run(&interactive, error)));
        }
        let decided = interactive.commit(wire::encode(&ran)).await;
        self.seen(CopyGap::Decided, decided)
    }

    async fn forget(&self, id: CommitId) -> Result<(), Unstored> {
        let forget = move |member: &mut Member<'_>| {
            member.execute(notes::DELETE, &[notes::key(notes::DECIDED, id)])?;
            Ok(Vec::new())
        };
        let write = Write::new(forget).until(Level::Quorum, STORING);
        match self.copy.write_notes(write).await {
            Ok(_) => Ok(()),
            // What is gone can go again.
            Err(error) => Err(Unstored::For(refusal(error, &Reason::default()))),
        }
    }

    fn seen(&self, gap: CopyGap, written: Result<Written, WriteError>) -> Result<(), Unstored> {
        match written {
            Ok(_) => {
                self.copy.reached(gap);
                Ok(())
            }
            Err(
                error @ (WriteError::Refused(_)
                | WriteError::Ended(_)
                | WriteError::TooLarge { .. }
                | WriteError::Forgotten),
            ) => Err(Unstored::For(refusal(error, &Reason::default()))),
            Err(
                WriteError::NotPrimary { .. }
                | WriteError::Overloaded
                | WriteError::Late
                | WriteError::NotRunning
                | WriteError::Indeterminate,
            ) => Err(Unstored::Unknown),
        }
    }
}

fn gone() -> Unstored {
    Unstored::For(Refusal::Aborted(commit::Refusal::Gone))
}

/// Notes a decision in the transaction of the first shard's own part.
fn note_decision(
    member: &mut Member<'_>,
    id: CommitId,
    first: Party,
    members: Vec<Party>,
) -> Result<(), StoreError> {
    if members.len() <= 1 {
        return Ok(());
    }
    let note = notes::DecidedNote::new(first.clone(), members.clone());
    let entry = [notes::key(notes::DECIDED, id), note.to_value()];
    member.execute(notes::PUT, &entry)?;
    part::list(member, id, first, members)
}
