//! Those who wait for a copy: tasks that want something of it, reads, and whoever waits for its data.

use std::sync::Arc;

use shardwright_quorum::log::{
    Event, Outcome, ReadLevel, Record,
    shard_log::{AppendError, Appended, Entry, ReadError as LogError},
};
use shardwright_server::shard::{ReadError, Write, WriteError, Written};
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::{Lsn, ShardId, Timestamp};

use super::{
    Missing, Reshape,
    executor::{Attempt, Reader, Reading, Who},
    situations,
    tasks::{Got, Of},
};

impl Reshape {
    /// A task wants something of a copy.
    pub(super) fn wanted(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        ticket: u64,
        of: Of,
    ) {
        let (now, name) = (sim.now(at), self.name());
        let runs = self
            .copy(at, shard)
            .is_some_and(|copy| copy.machine.is_some());
        let Some(copy) = self.copy(at, shard).filter(|_| runs) else {
            if matches!(of, Of::Turn)
                && let Some(copy) = self.copy(at, shard)
            {
                copy.executor.taken += 1;
            }
            return self.tasks.answer(ticket, refusal(&of));
        };
        match of {
            Of::Turn => {
                copy.executor.turns.push_back(ticket);
                self.execute(sim, at, shard);
            }
            Of::Release => {}
            Of::Fresh(within) => {
                let reading = Reading {
                    by: Reader::Task(ticket),
                    until: None,
                    deadline: now + within,
                };
                self.begin_read(sim, at, shard, reading);
            }
            Of::Append(entry, within) => {
                copy.executor.appends.insert(name, ticket);
                self.append_of_task(sim, at, shard, (name, entry), now + within);
            }
            Of::Records(after) => {
                let records = self.records_after(at, shard, after);
                if matches!(records, Some(Err(_))) {
                    sim.mark(situations::TOO_LATE);
                }
                self.tasks.answer(ticket, Got::Records(records));
            }
            Of::Keep(after, lasting) => {
                self.feed(sim, at, shard, Event::Hold { after, lasting });
                self.tasks.answer(ticket, Got::Nothing);
            }
            Of::Place(lsn, within) => {
                copy.executor.places.push((ticket, lsn, now + within));
                self.advance(sim, at, shard);
            }
            Of::Write(write) => {
                let deadline = now + write.within;
                self.write_of_task(sim, at, shard, (ticket, write), deadline);
            }
        }
    }

    /// Runs a write of a task, or says so without a word of the log if that rule is missing.
    fn write_of_task(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        (ticket, write): (u64, Write),
        deadline: Timestamp,
    ) {
        let is_early = self.missing == Some(Missing::SealAwaited);
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        if is_early {
            let written = Written {
                outcome: Vec::new(),
                token: copy.place(),
                repeated: false,
            };
            return self.tasks.answer(ticket, Got::Wrote(Ok(written)));
        }
        let who = Who::Task(ticket);
        copy.executor.waiting.push_back(Attempt {
            who,
            write,
            deadline,
        });
        self.execute(sim, at, shard);
    }

    fn append_of_task(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        (name, entry): (u64, Entry),
        deadline: Timestamp,
    ) {
        let twice = self.missing == Some(Missing::TakenOnce) && !entry.members.is_empty();
        let again = twice.then(|| Entry {
            after: None,
            ..entry.clone()
        });
        self.submit(sim, at, shard, (name, entry), deadline);
        if let Some(again) = again {
            let name = self.name();
            self.submit(sim, at, shard, (name, again), deadline);
        }
    }

    /// Returns the committed records of a copy after a place; `None` if there are none yet.
    fn records_after(
        &mut self,
        at: Pid,
        shard: &ShardId,
        after: Lsn,
    ) -> Option<Result<Vec<Arc<Record>>, LogError>> {
        let replica = self.copy(at, shard)?.machine.as_ref()?.replica();
        let (log, last) = (replica.log(), replica.known_commit());
        let Some(found) = log.after(after) else {
            let base = log.base().lsn;
            return Some(Err(LogError::Trimmed { base }));
        };
        let records: Vec<_> = found
            .take_while(|record| record.lsn <= last)
            .cloned()
            .collect();
        (!records.is_empty()).then_some(Ok(records))
    }

    pub(super) fn begin_read(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        reading: Reading,
    ) {
        let read = self.name();
        let level = ReadLevel::Leased;
        if let Some(copy) = self.copy(at, shard) {
            copy.executor.reads.insert(read, reading);
            self.feed(sim, at, shard, Event::Read { read, level });
        }
    }

    /// The log says what a read has to see.
    pub(super) fn read_at(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        read: u64,
        applied: Option<Lsn>,
    ) {
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        match (copy.executor.reads.get_mut(&read), applied) {
            (Some(reading), Some(lsn)) => {
                reading.until = Some(lsn);
                self.advance(sim, at, shard);
            }
            (Some(_), None) => {
                let reading = copy.executor.reads.remove(&read);
                if let Some(reading) = reading {
                    self.read_ends(
                        sim,
                        at,
                        shard,
                        reading,
                        Err(ReadError::NotPrimary { hint: None }),
                    );
                }
            }
            (None, _) => {}
        }
    }

    fn read_ends(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        reading: Reading,
        read: Result<Lsn, ReadError>,
    ) {
        match reading.by {
            Reader::Task(ticket) => self.tasks.answer(ticket, Got::Fresh(read)),
            Reader::Client(name) => self.show_client(sim, at, shard, name, read.is_ok()),
            Reader::Executor => self.confirmed(sim, at, shard, read.is_ok()),
        }
    }

    /// The data has come further, or time has passed.
    pub(super) fn advance(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        let now = sim.now(at);
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let here = copy.applied.lsn;
        let executor = &mut copy.executor;
        let places = executor
            .places
            .extract_if(.., |(_, lsn, until)| *lsn <= here || *until <= now);
        let places: Vec<_> = places.collect();
        let due = |reading: &Reading| {
            reading.until.is_some_and(|lsn| lsn <= here) || reading.deadline <= now
        };
        let names: Vec<u64> = executor
            .reads
            .iter()
            .filter(|(_, it)| due(it))
            .map(|(name, _)| *name)
            .collect();
        let reads: Vec<Reading> = names
            .iter()
            .filter_map(|name| executor.reads.remove(name))
            .collect();
        for (ticket, lsn, _) in places {
            self.tasks
                .answer(ticket, Got::Place((lsn <= here).then_some(here)));
        }
        for reading in reads {
            let is_there = reading.until.is_some_and(|lsn| lsn <= here);
            let read = if is_there {
                Ok(here)
            } else {
                Err(ReadError::Late)
            };
            self.read_ends(sim, at, shard, reading, read);
        }
        self.execute(sim, at, shard);
    }

    /// A copy runs no more: all who wait for it are told, as far as somebody is left to.
    pub(super) fn let_go(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let gone = std::mem::take(&mut copy.executor);
        copy.executor.taken = gone.taken + u32::try_from(gone.turns.len()).unwrap_or_default();
        let running = gone.current.and_then(|current| current.attempt);
        for attempt in running.into_iter().chain(gone.waiting) {
            self.told(sim, at, attempt.who, Err(WriteError::Indeterminate));
        }
        for ticket in gone.appends.into_values() {
            self.tasks
                .answer(ticket, Got::Appended(Err(AppendError::Indeterminate)));
        }
        for ticket in gone.turns {
            self.tasks.answer(ticket, Got::Nothing);
        }
        for (ticket, ..) in gone.places {
            self.tasks.answer(ticket, Got::Place(None));
        }
        for reading in gone.reads.into_values() {
            self.read_ends(sim, at, shard, reading, Err(ReadError::NotRunning));
        }
    }
}

/// What the log says, as it is told.
pub(super) fn answer_of(outcome: Outcome) -> Result<Appended, AppendError> {
    match outcome {
        Outcome::Reached { lsn, epoch, level } => Ok(Appended {
            lsn,
            epoch,
            level,
            data_loss_generation: 0,
        }),
        Outcome::NotPrimary => Err(AppendError::NotPrimary { hint: None }),
        Outcome::Overloaded => Err(AppendError::Overloaded),
        Outcome::Outrun { last } => Err(AppendError::Outrun { last }),
        Outcome::Indeterminate => Err(AppendError::Indeterminate),
    }
}

/// What is answered where no copy runs.
fn refusal(of: &Of) -> Got {
    match of {
        Of::Fresh(_) => Got::Fresh(Err(ReadError::NotPrimary { hint: None })),
        Of::Append(..) => Got::Appended(Err(AppendError::NotRunning)),
        Of::Records(_) => Got::Records(Some(Err(LogError::NotRunning))),
        Of::Place(..) => Got::Place(None),
        Of::Write(_) => Got::Wrote(Err(WriteError::NotRunning)),
        Of::Turn | Of::Release | Of::Keep(..) => Got::Nothing,
    }
}
