//! The node's side: it answers what gateways ask of the copies that it has.

mod basis;
mod sessions;
mod snapshot;
mod transaction;

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shardwright_sql::shards::{Fault, FaultKind, Fragment, Ran};
use shardwright_store::{Error as StoreError, Member};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::spawn_blocking,
};

pub(super) use self::basis::WRITER;
use self::sessions::{Session, Sessions};
use super::wire::{
    Answer, Ask, Basis, CommitLevel, Freshness, Notes, Number, Refusal, Request, Said, Step,
};
use crate::{
    node::Copies,
    shard::{Fresh, Limits, ReadError, ReadLevel, Shard, Watching, Write, WriteError, Written},
};

/// How many snapshots are read at once. Each takes a thread of those that may wait.
const READERS_MAX: usize = 128;

/// Answers for the copies of a node. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Host {
    copies: Copies,
    sessions: Arc<Sessions>,
    readers: Arc<Semaphore>,
}

impl Host {
    pub(super) fn new(copies: Copies) -> Self {
        Self {
            copies,
            sessions: Arc::default(),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
        }
    }

    /// Returns the copies that it answers for.
    pub(super) fn copies(&self) -> &Copies {
        &self.copies
    }

    pub(super) async fn answer(&self, request: Request) -> Answer {
        let Request {
            shard,
            within_ms,
            ask,
        } = request;
        let within = Duration::from_millis(within_ms);
        let Some(shard) = self.copies.shard(&shard) else {
            return Err(Refusal::NotPrimary { hint: None });
        };
        match ask {
            Ask::Read {
                basis,
                freshness,
                fragment,
                keep,
            } => {
                let reading = Arc::clone(&self.readers).acquire_owned();
                let reading = tokio::time::timeout(within, reading).await;
                // It is never closed.
                let Ok(Ok(reading)) = reading else {
                    return Err(Refusal::Later);
                };
                let fresh = fresh(&shard, freshness, within).await?;
                self.read(shard, fresh, basis, fragment, keep, reading)
                    .await
            }
            Ask::Write {
                basis,
                number,
                unit,
                level,
            } => write(&shard, basis, number, unit, level, within).await,
            Ask::Recall { number } => recall(&shard, number, within).await,
            Ask::Begin {
                basis,
                number,
                notes,
            } => self.begin(&shard, basis, number, notes, within).await,
            Ask::Size => size(&shard, within).await,
            Ask::Session { session, step } => self.go_on(session, step).await,
        }
    }

    async fn read(
        &self,
        shard: Shard,
        fresh: Fresh,
        basis: Basis,
        fragment: Fragment,
        keep: bool,
        reading: OwnedSemaphorePermit,
    ) -> Answer {
        let (told, answer) = oneshot::channel();
        let sessions = Arc::clone(&self.sessions);
        spawn_blocking(move || {
            snapshot::read(&sessions, shard, &fresh, basis, &fragment, keep, told);
            drop(reading);
        });
        // Only a panic says nothing.
        answer.await.unwrap_or(Err(Refusal::Later))
    }

    async fn begin(
        &self,
        shard: &Shard,
        basis: Basis,
        number: Number,
        notes: Notes,
        within: Duration,
    ) -> Answer {
        let begin = crate::shard::Begin {
            limits: Limits {
                begin: within,
                ..Limits::default()
            },
            identity: Some((number.identity(), number.positions())),
            watching: notes.into(),
        };
        transaction::begin(&self.sessions, shard, begin, basis).await
    }

    async fn go_on(&self, number: u64, step: Step) -> Answer {
        if matches!(step, Step::End) {
            self.sessions.remove(number);
            return Ok(Said::Done);
        }
        match self.sessions.get(number) {
            Some(Session::Transaction(transaction)) => {
                transaction::go_on(&self.sessions, number, &transaction, step).await
            }
            Some(Session::Snapshot(turns)) => snapshot::go_on(&turns, step).await,
            None => Err(Refusal::NoSession),
        }
    }
}

async fn fresh(shard: &Shard, freshness: Freshness, within: Duration) -> Result<Fresh, Refusal> {
    let level = match freshness {
        Freshness::Leased => ReadLevel::Leased,
        Freshness::Consistent => ReadLevel::Consistent,
        Freshness::Any => ReadLevel::Any,
        Freshness::AtLeast(point) => ReadLevel::AtLeast(point.into()),
    };
    let fresh = shard.fresh(level, within).await;
    fresh.map_err(|error| match error {
        ReadError::NotPrimary { hint } => Refusal::NotPrimary { hint },
        ReadError::Overloaded | ReadError::Late | ReadError::NotRunning => Refusal::Later,
    })
}

/// Where a transaction that runs leaves why it could not, if that is not for SQLite to say.
type Reason = Arc<Mutex<Option<Refusal>>>;

async fn write(
    shard: &Shard,
    basis: Basis,
    number: Number,
    unit: Vec<Fragment>,
    level: CommitLevel,
    within: Duration,
) -> Answer {
    let reason = Reason::default();
    let noted = Arc::clone(&reason);
    let run = move |member: &mut Member<'_>| {
        basis.check(member, &noted)?;
        let ran: Vec<Ran> = unit
            .iter()
            .map(|fragment| run_one(member, fragment))
            .collect::<Result<_, _>>()?;
        Ok(super::wire::encode(&ran))
    };
    let write = Write::new(run)
        .until(level.into(), within)
        .identified(number.identity(), number.positions());
    match shard.write(write).await {
        Ok(written) => wrote(&written),
        Err(error) => Err(refusal(error, &reason)),
    }
}

/// Runs nothing; so what became of the write is said by whether its outcome is remembered.
async fn recall(shard: &Shard, number: Number, within: Duration) -> Answer {
    let reason = Reason::default();
    let noted = Arc::clone(&reason);
    let run = move |_: &mut Member<'_>| {
        note(&noted, Refusal::NoSession);
        Err(StoreError::Interrupted)
    };
    let write = Write::new(run)
        .until(CommitLevel::Quorum.into(), within)
        .identified(number.identity(), number.positions());
    match shard.write(write).await {
        Ok(written) => known(&written),
        Err(error) => match refusal(error, &reason) {
            Refusal::NoSession => Ok(Said::Done),
            refusal => Err(refusal),
        },
    }
}

async fn size(shard: &Shard, within: Duration) -> Answer {
    let fresh = fresh(shard, Freshness::Leased, within).await?;
    let size = spawn_blocking(move || fresh.file.size_bytes()).await;
    match size {
        Ok(Ok(bytes)) => Ok(Said::Size(bytes)),
        Ok(Err(error)) => Err(fault(&error, false)),
        Err(_) => Err(Refusal::Later),
    }
}

/// Runs a statement and keeps its rows.
fn run_one(member: &mut Member<'_>, fragment: &Fragment) -> Result<Ran, StoreError> {
    Ran::of(|keep| {
        let kept = fragment.with_call(|call| {
            member.query(call.sql, call.params, |row| {
                keep(row);
                ControlFlow::<()>::Continue(())
            })
        });
        kept.map(|(outcome, _)| outcome)
    })
}

fn wrote(written: &Written) -> Answer {
    Ok(Said::Wrote {
        ran: outcome_of(written)?,
        at: written.token.into(),
    })
}

fn known(written: &Written) -> Answer {
    Ok(Said::Known {
        ran: outcome_of(written)?,
        at: written.token.into(),
    })
}

fn outcome_of(written: &Written) -> Result<Vec<Ran>, Refusal> {
    super::wire::decode(&written.outcome).ok_or_else(|| {
        let message = "the outcome that is remembered of this write is not one of a statement";
        Refusal::Fault {
            fault: Fault::new(FaultKind::Other, message),
            ended: true,
        }
    })
}

fn note(reason: &Reason, refusal: Refusal) {
    *reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
}

/// Returns why a write was refused.
fn refusal(error: WriteError, reason: &Reason) -> Refusal {
    let noted = reason.lock().unwrap_or_else(PoisonError::into_inner).take();
    let fault_of = |kind, error: &WriteError| Refusal::Fault {
        fault: Fault::new(kind, error.to_string()),
        ended: true,
    };
    match error {
        WriteError::NotPrimary { hint } => Refusal::NotPrimary { hint },
        WriteError::Overloaded | WriteError::Late | WriteError::NotRunning => Refusal::Later,
        WriteError::Indeterminate => Refusal::Indeterminate,
        WriteError::Ended(_) => fault_of(FaultKind::Interrupted, &error),
        WriteError::TooLarge { .. } => fault_of(FaultKind::TooLarge, &error),
        WriteError::Forgotten => fault_of(FaultKind::Forgotten, &error),
        WriteError::Refused(error) => noted.unwrap_or_else(|| fault(&error, true)),
    }
}

/// Returns what a failure of the file means for whoever asked. Where the disk is at fault, another copy goes on.
fn fault(error: &StoreError, ended: bool) -> Refusal {
    let error = match error {
        StoreError::TransactionEnded { source } => source,
        error => error,
    };
    if crate::shard::is_fault_of_disk(error) || matches!(error, StoreError::Busy { .. }) {
        return Refusal::Later;
    }
    Refusal::Fault {
        fault: Fault::from(error),
        ended,
    }
}

impl From<Notes> for Watching {
    fn from(notes: Notes) -> Self {
        match notes {
            Notes::Any => Self::Any,
            Notes::Nothing => Self::Nothing,
            Notes::These(script) => Self::These(script.into()),
        }
    }
}
