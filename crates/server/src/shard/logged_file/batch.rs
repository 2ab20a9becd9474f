//! Running what clients write, in one transaction that is left open.

use std::{collections::HashSet, sync::Arc};

use shardwright_quorum::log::{BatchMember, Kind, shard_log::Entry};
use shardwright_sql::commit::{CommitId, Verdict};
use shardwright_store::{
    Captured, ChangeSet, Error as StoreError, Executed, Member, Seen, is_stream,
};
use shardwright_topology::Lsn;

use super::{LoggedFile, Open};
use crate::shard::{
    part::{KeptPart, Preparation, Role, take_part},
    remembered::{outcome_of, remember},
    write::{Identity, Token, Watching, Write, WriteError, Written},
};

/// How many bytes of changes and outcomes are one record, unless one write alone has more.
const CHANGES_MAX: usize = 1 << 20;

/// What running a batch has led to.
#[derive(Debug)]
pub struct Ran {
    /// What became of each write.
    pub fates: Vec<Fate>,
    /// The last record that the data had.
    pub base: Lsn,
    /// What the log is to decide about, if anything succeeded: it is in the open transaction.
    pub entry: Option<Entry>,
}

/// What became of a write.
#[derive(Debug)]
pub enum Fate {
    /// It ran, and has this outcome if it is committed.
    Ran(Vec<u8>),
    /// It was refused, on the data as it was: that is so only if nothing has been committed since.
    Refused(WriteError),
    /// It ends here.
    Answered(Result<Written, WriteError>),
    /// It has to run in a batch after this one.
    Again,
    /// It has to run in a batch of its own, after this one.
    Alone,
}

impl LoggedFile {
    /// Runs writes in one transaction, which stays open if any of them succeeded. One that waits is undone before.
    ///
    /// # Errors
    /// What SQLite reports when it cannot begin or undo. Nothing of the batch is left.
    pub fn run(&mut self, writes: &mut [&mut Write]) -> Result<Ran, StoreError> {
        self.roll_back();
        let mut fates = self.recall(writes)?;
        let waits = |write: &Write| self.held && write.role == Role::Plain;
        let fresh: Vec<usize> = (0..writes.len())
            .filter(|write| fates[*write].is_none() && !waits(writes[*write]))
            .collect();
        if let [only] = fresh[..] {
            self.watch(&writes[only].watching)?;
            if let Role::Resolution(id, verdict) = writes[only].role {
                let (fate, entry) = self.resolve(id, verdict)?;
                fates[only] = Some(fate);
                return Ok(self.ran(fates, entry));
            }
        }
        let mut count = fresh.len();
        let mut entry = None;
        while count > 0 {
            let (captured, is_too_large) = self.execute(writes, &fresh[..count])?;
            if is_too_large && count > 1 {
                self.writer.rollback()?;
                count = count.div_ceil(2);
                continue;
            }
            entry = match prepared(writes, &fresh[..count], &captured) {
                Some((only, preparation, outcome)) => {
                    let changes = captured.changes.into_bytes();
                    let prepared = self.prepare(writes[only], preparation, outcome, changes)?;
                    fates[only] = Some(prepared.0);
                    prepared.1
                }
                None => self.keep_open(captured, writes, &fresh[..count], &mut fates)?,
            };
            break;
        }
        Ok(self.ran(fates, entry))
    }

    fn ran(&self, fates: Vec<Option<Fate>>, entry: Option<Entry>) -> Ran {
        let again = |fate: Option<Fate>| fate.unwrap_or(Fate::Again);
        Ran {
            fates: fates.into_iter().map(again).collect(),
            base: self.applied.lsn,
            entry,
        }
    }

    /// Lets a note of what a transaction has changed wait for its record, in place of the transaction itself.
    fn prepare(
        &mut self,
        write: &Write,
        preparation: Preparation,
        outcome: Vec<u8>,
        changes: Vec<u8>,
    ) -> Result<(Fate, Option<Entry>), StoreError> {
        self.writer.rollback()?;
        let part = KeptPart::new(write.identity, &write.positions, &outcome, changes);
        if !preparation.has_room_for(&part) {
            let (bytes, max) = (part.changes.len(), preparation.room());
            return Ok((Fate::Refused(WriteError::TooLarge { bytes, max }), None));
        }
        let mut note = [|member: &mut Member<'_>| preparation.note(member, &part)];
        let captured = self.writer.execute_batch(&mut note)?;
        match only(captured.executed) {
            Ok(()) => {
                let payload = captured.changes.into_bytes();
                let entry = self.wait_for(Kind::Prepare, payload, Vec::new(), true);
                Ok((Fate::Ran(outcome), Some(entry)))
            }
            Err(error) => {
                self.writer.rollback()?;
                let refused = WriteError::Refused(Arc::new(error));
                Ok((Fate::Refused(refused), None))
            }
        }
    }

    /// Lets the end of a prepared part wait for its record. What the part changes is in the record, and is made when that is applied.
    fn resolve(
        &mut self,
        id: CommitId,
        verdict: Verdict,
    ) -> Result<(Fate, Option<Entry>), StoreError> {
        let mut take = [|member: &mut Member<'_>| take_part(member, id, verdict)];
        let captured = self.writer.execute_batch(&mut take)?;
        let (changes, taken) = (captured.changes, only(captured.executed));
        let entry = match taken {
            Err(error) => {
                self.writer.rollback()?;
                let refused = WriteError::Refused(Arc::new(error));
                return Ok((Fate::Refused(refused), None));
            }
            // An empty record shows that this copy is the primary and has all that was written.
            Ok(None) => self.wait_for(Kind::Batch, changes.into_bytes(), Vec::new(), true),
            Ok(Some(_)) if verdict == Verdict::Abort => {
                self.wait_for(Kind::Resolve, changes.into_bytes(), Vec::new(), true)
            }
            Ok(Some(part)) => {
                self.writer.rollback()?;
                let member = part.member();
                let changed = ChangeSet::from_bytes(part.changes)?;
                let payload = ChangeSet::joined([&changed, &changes]).into_bytes();
                self.wait_for(Kind::Resolve, payload, member.into_iter().collect(), false)
            }
        };
        Ok((Fate::Ran(Vec::new()), Some(entry)))
    }

    /// Lets something wait for its record, which is `is_done` if it is in the open transaction.
    fn wait_for(
        &mut self,
        kind: Kind,
        payload: Vec<u8>,
        members: Vec<BatchMember>,
        is_done: bool,
    ) -> Entry {
        self.open = Some(Open {
            kind,
            payload: payload.clone(),
            members: members.clone(),
            is_done,
        });
        Entry {
            kind,
            members,
            payload,
            after: Some(self.applied.lsn),
        }
    }

    /// Answers what has happened already, and holds back what is here twice.
    fn recall(&mut self, writes: &[&mut Write]) -> Result<Vec<Option<Fate>>, StoreError> {
        let mut here = HashSet::new();
        let mut fates: Vec<Option<Fate>> = Vec::with_capacity(writes.len());
        // The places of those that come first, and their numbers.
        let mut asked = Vec::new();
        for (place, write) in writes.iter().enumerate() {
            fates.push(None);
            let Some(Identity { client, sequence }) = &write.identity else {
                continue;
            };
            // What comes first decides what becomes of the others, if they are of one stream.
            let number = (!is_stream(&client.0)).then_some(sequence);
            if here.insert((client, number)) {
                asked.push((place, &client.0, *sequence));
            } else {
                fates[place] = Some(Fate::Again);
            }
        }
        if asked.is_empty() {
            return Ok(fates);
        }
        let numbers = asked
            .iter()
            .map(|(_, client, sequence)| (*client, *sequence));
        let seen = self.writer.find_all(numbers)?;
        for ((place, ..), seen) in asked.into_iter().zip(seen) {
            fates[place] = match seen {
                Seen::New => None,
                Seen::Known(remembered) => Some(Fate::Answered(Ok(Written {
                    outcome: outcome_of(remembered),
                    token: self.token(),
                    repeated: true,
                }))),
                Seen::Expired => Some(Fate::Answered(Err(WriteError::Forgotten))),
            };
        }
        Ok(fates)
    }

    /// Lets the connection note what a write wants noted; one that does is alone.
    fn watch(&mut self, watching: &Watching) -> Result<(), StoreError> {
        match watching {
            Watching::Any => Ok(()),
            Watching::Nothing => self.writer.watch(None),
            Watching::These(script) => self.writer.watch(Some(script)),
        }
    }

    fn execute(
        &mut self,
        writes: &mut [&mut Write],
        chosen: &[usize],
    ) -> Result<(Captured<Vec<u8>>, bool), StoreError> {
        let mut chosen = chosen.iter().copied().peekable();
        let mut members: Vec<_> = writes
            .iter_mut()
            .enumerate()
            .filter(|(write, _)| chosen.next_if_eq(write).is_some())
            .map(|(_, write)| |member: &mut Member<'_>| write.run(member))
            .collect();
        let captured = self.writer.execute_batch(&mut members)?;
        let results = captured.executed.iter();
        let outcomes = results.filter_map(|executed| executed.result.as_ref().ok());
        let bytes = captured.changes.as_bytes().len() + outcomes.map(Vec::len).sum::<usize>();
        let is_too_large = bytes > CHANGES_MAX;
        Ok((captured, is_too_large))
    }

    /// Notes what became of the chosen writes, and lets the transaction wait for its record if any of them succeeded.
    fn keep_open(
        &mut self,
        captured: Captured<Vec<u8>>,
        writes: &[&mut Write],
        chosen: &[usize],
        fates: &mut [Option<Fate>],
    ) -> Result<Option<Entry>, StoreError> {
        let mut members = Vec::new();
        let mut is_empty = true;
        for alone in captured.alone {
            fates[chosen[alone]] = Some(Fate::Alone);
        }
        for Executed { member, result } in captured.executed {
            let write = chosen[member];
            fates[write] = Some(match result {
                Err(error) => Fate::Refused(WriteError::Refused(Arc::new(error))),
                Ok(outcome) => {
                    is_empty = false;
                    members.extend(batch_member(writes[write], &outcome));
                    Fate::Ran(outcome)
                }
            });
        }
        if is_empty {
            self.writer.rollback()?;
            return Ok(None);
        }
        let payload = captured.changes.into_bytes();
        Ok(Some(self.wait_for(Kind::Batch, payload, members, true)))
    }

    fn token(&self) -> Token {
        Token {
            epoch: self.applied.epoch,
            lsn: self.applied.lsn,
        }
    }
}

/// Returns the write that is to be kept as a part, which is alone, and its outcome; `None` if what ran is to happen.
fn prepared(
    writes: &mut [&mut Write],
    chosen: &[usize],
    captured: &Captured<Vec<u8>>,
) -> Option<(usize, Preparation, Vec<u8>)> {
    let ([write], [executed]) = (chosen, &captured.executed[..]) else {
        return None;
    };
    let outcome = executed.result.as_ref().ok()?;
    let preparation = writes[*write].transaction.preparation()?;
    Some((*write, preparation, outcome.clone()))
}

/// Returns what the one member of a batch has done.
fn only<T>(executed: Vec<Executed<T>>) -> Result<T, StoreError> {
    let executed = executed.into_iter().next();
    executed.map_or(Err(StoreError::Interrupted), |executed| executed.result)
}

fn batch_member(write: &Write, outcome: &[u8]) -> Option<BatchMember> {
    let Identity { client, sequence } = write.identity?;
    Some(BatchMember {
        client,
        sequence,
        positions: write.positions.clone(),
        outcome: remember(&write.positions, outcome),
    })
}

#[cfg(test)]
mod tests {
    use shardwright_coordinator::{rebalancer::PartitionId, topology::ShardId};
    use shardwright_store::Config;

    use super::*;

    #[test]
    fn writes_with_large_outcomes_are_records_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let shard = PartitionId::from(ShardId::numbered(0));
        let mut file = LoggedFile::open(directory.path(), &shard, Config::default()).unwrap();
        let [mut one, mut two] = [1, 2].map(|_| {
            Write::new(|member: &mut Member<'_>| {
                member.execute("SELECT 1", ())?;
                Ok(vec![0; CHANGES_MAX / 2 + 1])
            })
        });
        let ran = file.run(&mut [&mut one, &mut two]).unwrap();
        assert!(matches!(ran.fates[..], [Fate::Ran(_), Fate::Again]));
    }

    #[test]
    fn a_definition_among_others_is_left_for_a_batch_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let shard = PartitionId::from(ShardId::numbered(0));
        let mut file = LoggedFile::open(directory.path(), &shard, Config::default()).unwrap();
        let sql = ["CREATE TABLE t (a)", "SELECT 1"];
        let mut writes = sql.map(|sql| {
            Write::new(move |member: &mut Member<'_>| {
                member.execute(sql, ())?;
                Ok(Vec::new())
            })
        });
        let [create, select] = &mut writes;
        let ran = file.run(&mut [create, select]).unwrap();
        assert!(matches!(ran.fates[..], [Fate::Alone, Fate::Ran(_)]));
        let [create, _] = &mut writes;
        let ran = file.run(&mut [create]).unwrap();
        assert!(matches!(ran.fates[..], [Fate::Ran(_)]) && ran.entry.is_some());
    }
}
