//! The seal: from it on a source takes no writes, until an operation is decided.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shardwright_quorum::log::Level;
use shardwright_sql::{
    commit::notes,
    shards::{ANNOUNCED_KEY, is_announced},
};
use shardwright_store::{Error as StoreError, Member, Value};
use shardwright_topology::{Lsn, OperationId};

use super::ShardCopy;
use crate::shard::{CopyGap, Write, WriteError};

/// What the keys of notes begin with that belong to an operation.
const NOTES: &str = "elastic.";

/// What the keys of notes begin with that are about a shard itself: those of operations, and of commits over several shards, which are all
/// resolved when it is sealed. The shards that follow it do not have them.
pub(crate) const OWN_NOTES: [&str; 2] = [NOTES, notes::PREFIX];

/// Whether a note is about the shard itself.
pub(crate) fn is_own_note(key: &str) -> bool {
    OWN_NOTES.iter().any(|begins| key.starts_with(begins))
}

/// The key under which a shard that takes nothing from gateways any more keeps the id of the operation that has sealed it, as text. While
/// it is there, reads of every freshness, writes, transactions and recalls of what is not known are refused with [`Refusal::Sealed`].
///
/// Whoever writes it does so in a batch of its own, in which it has to look for three things and seal nothing if it finds one: another
/// operation's seal, [unresolved](notes::UNRESOLVED) commits over several shards, and under [`ANNOUNCED_KEY`] an announcement that [stands](is_announced). A change that is announced here may be written
/// down already, and then no place may be without it; it ends soon. Then a change of all shards is either on the source, and so on its
/// targets, before the seal, or it meets the seal before it has been made anywhere.
///
/// Targets have all notes of their source but this one: they are how they know which changes they have. Of several sources, which have the same
/// changes then, they take the greatest number of each note.
pub(crate) const SEALED: &str = "elastic.sealed";

/// What the key begins with of a note that says by how much the rowids of a table are raised that comes from another shard.
pub(crate) const SHIFT: &str = "elastic.shift.";

/// What the key begins with of a note that says that an operation has let go of the shard.
const ENDED: &str = "elastic.ended.";

/// For how long no commit over several shards begins after a seal was asked for: until it is asked for again, if it was refused.
const CLOSED: Duration = Duration::from_secs(5);

/// Why a shard is not sealed, or not opened again.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SealError {
    /// The operation has let go of it before.
    #[error("the operation has let go of the shard")]
    Ended,
    /// Another operation has sealed it.
    #[error("operation {0} has sealed the shard")]
    Held(String),
    /// A change for all shards is under way here. Try again in a moment.
    #[error("a change for all shards is under way")]
    Announced,
    /// A commit over several shards has prepared here, or was decided here and not everybody knows. Try again in a moment: none begins
    /// meanwhile.
    #[error("a commit over several shards is under way")]
    Unresolved,
    /// It is not known to be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Where the transaction leaves why it did nothing.
type Reason = Arc<Mutex<Option<SealError>>>;

/// What ends the writes of a source, and lets them go on.
pub(crate) trait Sealing: ShardCopy {
    /// Ends what clients write, and returns the last record that counts. Again returns a place at which nothing has changed since.
    ///
    /// # Errors
    /// [`SealError`]: it may be sealed only if that is not known to be written.
    async fn seal(&self, operation: &OperationId, within: Duration) -> Result<Lsn, SealError> {
        let (operation, ended) = (operation.to_string(), ended_key(operation));
        self.close_to_commits(CLOSED);
        self.write_alone(within, move |member, reason| {
            if note_of(member, &ended)?.is_some() {
                return refuse(reason, SealError::Ended);
            }
            match note_of(member, SEALED)? {
                Some(by) if by == operation => return Ok(()),
                Some(by) => return refuse(reason, SealError::Held(by)),
                None => {}
            }
            // Until it is over, the shard takes no write that does not belong to it.
            let announced = note_of(member, ANNOUNCED_KEY)?;
            if announced
                .and_then(|kept| kept.parse().ok())
                .is_some_and(is_announced)
            {
                return refuse(reason, SealError::Announced);
            }
            // Those who take part in it know this shard, and none that follows it.
            if member.query_row(notes::UNRESOLVED, (), |_| ())?.is_some() {
                return refuse(reason, SealError::Unresolved);
            }
            set_note(member, SEALED, &operation)
        })
        .await
        .inspect(|_| self.aside().halts().reached(CopyGap::Sealed))
    }

    /// Lets clients write again, and never lets the operation seal the shard again.
    ///
    /// # Errors
    /// [`SealError::Write`].
    async fn release(&self, operation: &OperationId, within: Duration) -> Result<Lsn, SealError> {
        let (operation, ended) = (operation.to_string(), ended_key(operation));
        self.write_alone(within, move |member, _| {
            if note_of(member, &ended)?.is_none() {
                set_note(member, &ended, &operation)?;
            }
            let by = [Value::from(SEALED), Value::from(operation.as_str())];
            let sql = "DELETE FROM main._meta WHERE key = ?1 AND value = ?2";
            member.execute(sql, &by).map(drop)
        })
        .await
        .inspect(|_| self.aside().halts().reached(CopyGap::Released))
    }

    /// Writes with nothing else in the batch, and returns where that is.
    async fn write_alone(
        &self,
        within: Duration,
        run: impl Fn(&mut Member<'_>, &Reason) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Lsn, SealError> {
        let reason = Reason::default();
        let noted = Arc::clone(&reason);
        let run = move |member: &mut Member<'_>| run(member, &noted).map(|()| Vec::new());
        let mut write = Write::new(run).until(Level::Quorum, within);
        write.exclusive = true;
        match self.write_in_turn(write).await {
            Ok(written) => Ok(written.token.lsn),
            Err(error) => {
                let noted = reason.lock().unwrap_or_else(PoisonError::into_inner).take();
                Err(noted.unwrap_or(SealError::Write(error)))
            }
        }
    }
}

impl<C: ShardCopy> Sealing for C {}

fn ended_key(operation: &OperationId) -> String {
    format!("{ENDED}{operation}")
}

fn note_of(member: &mut Member<'_>, key: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT CAST(value AS TEXT) FROM main._meta WHERE key = ?1";
    let text = member.query_row(sql, &[Value::from(key)], |row| {
        row.get(0).as_str().map(str::to_owned)
    })?;
    Ok(text.flatten())
}

fn set_note(member: &mut Member<'_>, key: &str, value: &str) -> Result<(), StoreError> {
    let values = [Value::from(key), Value::from(value)];
    let sql = "INSERT INTO main._meta (key, value) VALUES (?1, ?2)";
    member.execute(sql, &values).map(drop)
}

fn refuse(reason: &Reason, why: SealError) -> Result<(), StoreError> {
    *reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    Err(StoreError::Interrupted)
}
