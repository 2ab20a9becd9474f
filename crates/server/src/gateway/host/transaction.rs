//! Transactions that a gateway holds open.

use std::sync::{Arc, OnceLock};

use shardwright_sql::{
    commit,
    shards::{Fault, FaultKind, Fragment, Ran},
};
use shardwright_store::Member;
use tokio::sync::Mutex;

use super::{
    Reason, fault, known, refusal,
    returned::{Room, run_one, too_much_read, too_much_returned},
    sessions::{Session, Sessions},
};
use crate::{
    gateway::wire::{self, Answer, Basis, Refusal, Said, Step},
    shard::{Begin, Begun, Ended, Interactive, Shard, StatementError},
};

/// A transaction, and what its statements did: a retry is told the same.
#[derive(Debug)]
pub(in crate::gateway) struct Transaction {
    state: Mutex<Option<State>>,
    over: OnceLock<()>,
    /// Why it was taken away from the commit over several shards that it was a part of.
    refusal: OnceLock<commit::Refusal>,
}

#[derive(Debug)]
struct State {
    shard: Shard,
    interactive: Interactive,
    ran: Vec<Ran>,
    room: Room,
}

impl State {
    /// Runs a statement whose rows are kept; `None` if it returns more than there is room for.
    async fn run(&mut self, fragment: Fragment) -> Result<Option<Ran>, Refusal> {
        let (ran, room) = self.run_within(self.room, fragment).await?;
        self.room = room;
        Ok(ran)
    }

    /// Runs a statement whose rows may take so much, and returns what of that is left.
    async fn run_within(
        &self,
        mut room: Room,
        fragment: Fragment,
    ) -> Result<(Option<Ran>, Room), Refusal> {
        self.shard.meter().wrote();
        let run = move |member: &mut Member<'_>| {
            let ran = run_one(member, &fragment, &mut room)?;
            Ok((ran, room))
        };
        let ran = self.interactive.execute(run).await;
        ran.map_err(|error| not_run(&self.interactive, error))
    }
}

impl Transaction {
    pub(super) fn new(shard: Shard, interactive: Interactive) -> Self {
        let state = State {
            shard,
            interactive,
            ran: Vec::new(),
            room: Room::default(),
        };
        Self {
            state: Mutex::new(Some(state)),
            over: OnceLock::new(),
            refusal: OnceLock::new(),
        }
    }

    /// Takes what is open, and what its statements did, once none of them runs; `None` if it has ended.
    pub(super) async fn take(&self) -> Option<(Interactive, Vec<Ran>)> {
        let State {
            interactive, ran, ..
        } = self.state.lock().await.take()?;
        let _first = self.over.set(());
        Some((interactive, ran))
    }

    /// Says why it is taken away.
    pub(super) fn refuse(&self, refusal: commit::Refusal) {
        let _first = self.refusal.set(refusal);
    }

    fn gone(&self) -> Refusal {
        let refusal = self.refusal.get().copied();
        refusal.map_or(Refusal::NoSession, Refusal::Aborted)
    }

    /// Whether it has ended, by itself too.
    pub(super) fn is_over(&self) -> bool {
        let ended = |state: &Option<State>| {
            let state = state.as_ref();
            state.is_none_or(|state| state.interactive.ended().is_some())
        };
        self.over.get().is_some() || self.state.try_lock().is_ok_and(|state| ended(&state))
    }
}

/// A transaction that was to begin.
pub(super) enum Opened {
    Begun(Arc<Transaction>),
    /// It has happened before.
    Known(Said),
}

/// Begins a transaction, unless it has happened before.
pub(super) async fn begin(
    sessions: &Sessions,
    shard: &Shard,
    begin: Begin,
    basis: Basis,
) -> Answer {
    match open(shard, begin, basis).await? {
        Opened::Begun(transaction) => {
            let session = sessions.insert(Session::Transaction(transaction));
            Ok(Said::Begun { session })
        }
        Opened::Known(said) => Ok(said),
    }
}

/// Begins a transaction that is no session yet, unless it has happened before.
pub(super) async fn open(shard: &Shard, begin: Begin, basis: Basis) -> Result<Opened, Refusal> {
    let reason = Reason::default();
    let begun = shard.begin(begin).await;
    let interactive = match begun.map_err(|error| refusal(error, &reason))? {
        Begun::Open(interactive) => interactive,
        Begun::Known(written) => return known(&written).map(Opened::Known),
    };
    let noted = Arc::clone(&reason);
    let checked = interactive.execute(move |member| basis.check(member, &noted));
    if let Err(error) = checked.await {
        let noted = reason.lock().ok().and_then(|mut reason| reason.take());
        return Err(noted.unwrap_or_else(|| not_run(&interactive, error)));
    }
    let transaction = Transaction::new(shard.clone(), interactive);
    Ok(Opened::Begun(Arc::new(transaction)))
}

/// Lets a transaction go on.
pub(super) async fn go_on(
    sessions: &Sessions,
    number: u64,
    transaction: &Transaction,
    step: Step,
) -> Answer {
    let mut state = transaction.state.lock().await;
    match step {
        Step::Run(fragment) => {
            let open = state.as_mut().ok_or_else(|| transaction.gone())?;
            match open.run(fragment).await? {
                Some(ran) => {
                    open.ran.push(ran.clone());
                    Ok(Said::Ran(ran))
                }
                None => {
                    // What it wrote is undone with the transaction.
                    *state = None;
                    sessions.remove(number);
                    Err(too_much_returned())
                }
            }
        }
        Step::Aside(fragment) => {
            let open = state.as_ref().ok_or_else(|| transaction.gone())?;
            // Nothing of it is kept for a retry.
            let (ran, _) = open.run_within(Room::default(), fragment).await?;
            ran.map(Said::Ran).ok_or_else(too_much_read)
        }
        Step::Stay => {
            let open = state.as_ref().ok_or_else(|| transaction.gone())?;
            let stayed = open.interactive.execute(|_| Ok(())).await;
            stayed.map_err(|error| not_run(&open.interactive, error))?;
            Ok(Said::Done)
        }
        Step::Commit => {
            let State {
                interactive, ran, ..
            } = state.take().ok_or_else(|| transaction.gone())?;
            let committed = interactive.commit(wire::encode(&ran)).await;
            // It is over, whatever has become of it.
            let _first = transaction.over.set(());
            sessions.remove(number);
            match committed {
                Ok(written) => Ok(Said::Wrote {
                    ran: Vec::new(),
                    at: written.token.into(),
                }),
                Err(error) => Err(refusal(error, &Reason::default())),
            }
        }
        Step::Open(_) | Step::More(_) | Step::End | Step::Detach | Step::Bytes(_) => {
            Err(Refusal::NoSession)
        }
    }
}

/// Returns what the end of a transaction by itself means for whoever asked.
pub(super) fn ended_fault(ended: Ended) -> Fault {
    let kind = match ended {
        Ended::TooLong => FaultKind::OutOfTime,
        _ => FaultKind::Interrupted,
    };
    Fault::new(kind, ended.to_string())
}

pub(super) fn not_run(interactive: &Interactive, error: StatementError) -> Refusal {
    let ended = interactive.ended();
    match error {
        StatementError::Refused(error) => match fault(&error, ended.is_some()) {
            // Only the statement could be tried again, not what was said before it.
            Refusal::Later => Refusal::Fault {
                fault: Fault::from(&error),
                ended: true,
            },
            refusal => refusal,
        },
        StatementError::Ended(Ended::NotPrimary) => Refusal::NoSession,
        StatementError::Ended(ended) => Refusal::Fault {
            fault: ended_fault(ended),
            ended: true,
        },
    }
}
