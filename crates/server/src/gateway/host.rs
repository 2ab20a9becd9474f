//! The node's side: it answers what gateways ask of the copies that it has.

mod basis;
mod commits;
mod detached;
mod returned;
mod seats;
mod sessions;
mod snapshot;
mod transaction;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shardwright_sql::shards::{Fault, FaultKind, Fragment, Ran};
use shardwright_store::{Error as StoreError, Member};
use tokio::{sync::mpsc::UnboundedReceiver, task::spawn_blocking};

pub(super) use self::basis::WRITER;
pub use self::basis::{is_sealed, shows_seal};
pub(super) use self::commits::Letter;
pub(crate) use self::returned::{outcome_elsewhere, outcome_of_both};
use self::{
    commits::{Asked, Commits},
    returned::{Room, run_one, too_much_returned},
    seats::Seats,
    sessions::{Session, Sessions},
    snapshot::Read,
};
use super::wire::{
    Answer, Ask, Basis, CommitLevel, Freshness, Notes, Number, Refusal, Request, Said, Step,
};
use crate::{
    node::Copies,
    shard::{
        Begin, Fresh, Limits, ReadError, ReadLevel, Shard, Watching, Write, WriteError, Written,
    },
};

/// Answers for the copies of a node. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Host {
    copies: Copies,
    sessions: Arc<Sessions>,
    seats: Seats,
    commits: Commits,
}

impl Host {
    /// Returns the host, and what its shards say to others.
    pub(super) fn new(copies: Copies) -> (Self, UnboundedReceiver<Letter>) {
        let sessions = Arc::default();
        let (commits, letters) = Commits::new(copies.clone(), Arc::clone(&sessions));
        let host = Self {
            copies,
            sessions,
            seats: Seats::default(),
            commits,
        };
        (host, letters)
    }

    /// Looks after the parts that its shards have in commits over several shards, until this is dropped or the node stops.
    pub(super) async fn keep_commits(self) {
        self.commits.keep().await;
    }

    /// Returns the copies that it answers for.
    pub(super) fn copies(&self) -> &Copies {
        &self.copies
    }

    /// Ends what goes on from request to request.
    pub(super) fn stop(&self) {
        self.sessions.clear();
    }

    pub(super) async fn answer(&self, request: Request) -> Answer {
        let Request {
            shard,
            within_ms,
            ask,
        } = request;
        let within = Duration::from_millis(within_ms);
        let id = shard;
        let Some(shard) = self.copies.shard(&id) else {
            return Err(Refusal::NotPrimary { hint: None });
        };
        if ask.needs_primary() {
            shard.until_led(within).await;
        }
        match ask {
            Ask::Read {
                basis,
                freshness,
                fragment,
                keep,
                lasts_ms,
            } => {
                let lasts = Duration::from_millis(lasts_ms);
                let read = (basis, fragment, lasts);
                self.read(shard, read, freshness, keep, within).await
            }
            Ask::Write {
                basis,
                number,
                unit,
                level,
            } => {
                shard.meter().wrote();
                write(&shard, basis, number, unit, level, within).await
            }
            Ask::Recall { number } => recall(&shard, number, within).await,
            Ask::Begin {
                basis,
                number,
                notes,
                level,
            } => {
                let begin = begin(number, notes, level, limits(within));
                transaction::begin(&self.sessions, &shard, begin, basis).await
            }
            Ask::Size => size(&shard, within).await,
            Ask::Enlist {
                id: commit,
                basis,
                number,
                notes,
                level,
            } => {
                let asked = Asked {
                    basis,
                    number,
                    notes,
                    level,
                };
                let here = (&id, &shard);
                self.commits.enlist(here, commit, asked, within).await
            }
            Ask::Commit(message) => self.commits.hear((&id, &shard), message, within).await,
            Ask::Commits => self.commits.list((&id, &shard), within).await,
            Ask::Session { session, step } => self.go_on(session, step, within).await,
        }
    }

    async fn read(
        &self,
        shard: Shard,
        (basis, fragment, lasts): (Basis, Fragment, Duration),
        freshness: Freshness,
        keep: Option<u64>,
        within: Duration,
    ) -> Answer {
        shard.meter().read();
        let fresh = fresh(&shard, freshness, within).await?;
        let seat = self.seats.take(keep, self.copies.count());
        let seat = tokio::time::timeout(within, seat).await;
        let read = Read {
            shard,
            fresh,
            basis,
            fragment,
            is_kept: keep.is_some(),
            lasts,
        };
        snapshot::read(&self.sessions, read, seat.map_err(|_| Refusal::Later)?).await
    }

    async fn go_on(&self, number: u64, step: Step, within: Duration) -> Answer {
        if matches!(step, Step::End) {
            self.sessions.remove(number);
            return Ok(Said::Done);
        }
        match self.sessions.get(number) {
            Some(Session::Transaction(transaction)) => {
                transaction::go_on(&self.sessions, number, &transaction, step).await
            }
            Some(Session::Snapshot(reader)) => snapshot::go_on(&reader, step, within).await,
            None => Err(Refusal::NoSession),
        }
    }
}

/// Returns how a transaction begins.
fn begin(number: Number, notes: Notes, level: CommitLevel, limits: Limits) -> Begin {
    Begin {
        limits,
        identity: Some((number.identity(), number.positions())),
        watching: notes.into(),
        level: level.into(),
    }
}

/// Returns how long a transaction may take whose statement is over after `within`.
fn limits(within: Duration) -> Limits {
    let usual = Limits::default();
    Limits {
        begin: within,
        total: within.min(usual.total),
        ..usual
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
        let mut room = Room::default();
        let mut ran = Vec::with_capacity(unit.len());
        for fragment in &unit {
            let one = run_one(member, fragment, &mut room)?;
            ran.push(one.ok_or_else(|| {
                note(&noted, too_much_returned());
                StoreError::Interrupted
            })?);
        }
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
    let run = move |member: &mut Member<'_>| {
        Basis::default().check(member, &noted)?;
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
        WriteError::Ended(ended) => Refusal::Fault {
            fault: transaction::ended_fault(ended),
            ended: true,
        },
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
