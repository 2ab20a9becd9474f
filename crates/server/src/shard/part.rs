//! The part of a shard in a commit over several shards, from when it is prepared until it is resolved.
//!
//! ```text
//! record PREPARE   what an open transaction has changed, as a note of the shard: every copy has it, and nobody sees it
//!                  ─ from here on nothing else is written, whoever is the primary
//! record RESOLVE   the same changes take effect, or are dropped, and the note goes
//! ```
//! The changes are rows with what they were before and are after, so no statement runs twice. What they were made on is what they
//! take effect on, because nothing else is written in between.

use serde::{Deserialize, Serialize};
use shardwright_hashing::Position;
use shardwright_quorum::log::{BatchMember, ClientId};
use shardwright_sql::commit::{
    CommitId, Party, Prepared, Verdict,
    notes::{self, AppliedNote, PreparedNote},
};
use shardwright_store::{Error as StoreError, Member, Value};

use super::{
    Shard, WriteError, Written,
    remembered::remember,
    write::{Identity, Write},
};

/// The version of the form in which a part is kept.
const VERSION: u16 = 1;

/// How much more than its changes and its outcome a record of a part has, at most.
const ROOM: usize = 64 << 10;

/// What a write is in a commit over several shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing: it waits while a part is prepared.
    #[default]
    Plain,
    /// It reads or writes notes of commits alone, on which no prepared part rests.
    Note,
    /// It ends the prepared part of a commit.
    Resolution(CommitId, Verdict),
}

/// How a transaction is kept as a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preparation {
    /// The commit.
    pub part: Prepared,
    /// How large a record may be: what cannot be resolved is not prepared.
    pub record_bytes: usize,
}

/// What a prepared part does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptPart {
    /// Which write of which client it is.
    numbered: Option<Numbered>,
    /// What it is answered when it comes again.
    outcome: Vec<u8>,
    /// What it changes.
    pub(super) changes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Numbered {
    client: ClientId,
    sequence: u64,
    positions: Vec<Position>,
}

impl KeptPart {
    pub(super) fn new(
        identity: Option<Identity>,
        positions: &[Position],
        outcome: &[u8],
        changes: Vec<u8>,
    ) -> Self {
        let numbered = identity.map(|Identity { client, sequence }| Numbered {
            client,
            sequence,
            positions: positions.to_vec(),
        });
        Self {
            numbered,
            outcome: outcome.to_vec(),
            changes,
        }
    }

    fn to_value(&self) -> Value {
        let bytes = postcard::to_stdvec(&(VERSION, self));
        Value::Blob(bytes.expect("memory has no limit that a part reaches"))
    }

    fn of(value: &Value) -> Option<Self> {
        let Value::Blob(bytes) = value else {
            return None;
        };
        let (version, rest) = postcard::take_from_bytes::<u16>(bytes).ok()?;
        if version != VERSION {
            return None;
        }
        postcard::from_bytes(rest).ok()
    }

    /// The write that takes effect with it, for those who ask again.
    pub(super) fn member(&self) -> Option<BatchMember> {
        let Numbered {
            client,
            sequence,
            positions,
        } = self.numbered.clone()?;
        Some(BatchMember {
            client,
            sequence,
            outcome: remember(&positions, &self.outcome),
            positions,
        })
    }
}

impl Preparation {
    /// Notes the part in a transaction of its own.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn note(&self, member: &mut Member<'_>, kept: &KeptPart) -> Result<(), StoreError> {
        let id = self.part.id;
        let entry = [
            notes::key(notes::PREPARED, id),
            PreparedNote::new(&self.part).to_value(),
        ];
        member.execute(notes::PUT, &entry)?;
        let entry = [notes::key(notes::PART, id), kept.to_value()];
        member.execute(notes::PUT, &entry)?;
        Ok(())
    }

    /// Whether the record that resolves the part is small enough: it has the part twice, as a note that goes, and as what it does.
    pub(super) fn has_room_for(&self, kept: &KeptPart) -> bool {
        let bytes = kept.changes.len() + kept.outcome.len();
        2 * bytes + ROOM <= self.record_bytes
    }

    /// The size that a part may have.
    pub(super) fn room(&self) -> usize {
        self.record_bytes.saturating_sub(ROOM) / 2
    }
}

/// Takes the prepared part of a commit out of the notes, and lists the commit if it was made. Returns the part; `None` if there is
/// none, because it was resolved before.
pub(super) fn take_part(
    member: &mut Member<'_>,
    id: CommitId,
    verdict: Verdict,
) -> Result<Option<KeptPart>, StoreError> {
    let [noted, kept] = [notes::PREPARED, notes::PART].map(|prefix| notes::key(prefix, id));
    let (Some(noted), Some(kept)) = (take_note(member, noted)?, take_note(member, kept)?) else {
        return Ok(None);
    };
    let (Some(noted), Some(kept)) = (PreparedNote::of(&noted), KeptPart::of(&kept)) else {
        // A later release has prepared it, and has to resolve it.
        return Err(StoreError::Interrupted);
    };
    if verdict == Verdict::Commit {
        list(member, id, noted.first, noted.members)?;
    }
    Ok(Some(kept))
}

fn take_note(member: &mut Member<'_>, key: Value) -> Result<Option<Value>, StoreError> {
    let key = [key];
    let sql = "SELECT value FROM main._meta WHERE key = ?1";
    let value = member.query_row(sql, &key, |row| row.get(0).to_value())?;
    if value.is_some() {
        member.execute(notes::DELETE, &key)?;
    }
    Ok(value)
}

/// Lists a commit in the transaction with which the shard has it.
pub(crate) fn list(
    member: &mut Member<'_>,
    id: CommitId,
    first: Party,
    members: Vec<Party>,
) -> Result<(), StoreError> {
    let count = member.query_row(notes::RAISE, (), |row| row.get(0).as_i64())?;
    let number = count.flatten().map_or(0, i64::unsigned_abs);
    let note = AppliedNote::new(number, first, members);
    let entry = [notes::key(notes::APPLIED, id), note.to_value()];
    member.execute(notes::PUT, &entry)?;
    if number % notes::UNLIST_EVERY == 0 {
        let last = i64::try_from(number.saturating_sub(notes::LISTED)).unwrap_or(i64::MAX);
        member.execute(notes::UNLIST, &[Value::Integer(last)])?;
    }
    Ok(())
}

impl Shard {
    /// Reads or writes notes of commits. It does not wait for a prepared part.
    pub(crate) async fn write_notes(&self, write: Write) -> Result<Written, WriteError> {
        let role = Role::Note;
        self.write(Write { role, ..write }).await
    }

    /// Lets the prepared part of a commit take effect, or drops it. Where it was done before, nothing changes.
    pub(crate) async fn resolve(
        &self,
        id: CommitId,
        verdict: Verdict,
        within: std::time::Duration,
    ) -> Result<Written, WriteError> {
        let write = Write {
            role: Role::Resolution(id, verdict),
            exclusive: true,
            within,
            ..Write::new(move |member: &mut Member<'_>| {
                take_part(member, id, verdict).map(|_| Vec::new())
            })
        };
        self.write(write).await
    }

    /// Returns how large a record of its log may be.
    pub(crate) fn record_bytes(&self) -> usize {
        self.log.record_bytes()
    }
}
