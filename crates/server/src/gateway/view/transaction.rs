//! A transaction at one place, from the gateway's side.

use std::{collections::VecDeque, time::Duration};

use shardwright_sql::{
    Error, commit,
    shards::{Call, Fault, FaultKind, Fragment, Place, PlaceTransaction, Ran},
};

use tokio::task::AbortHandle;

use super::View;
use crate::gateway::{
    cluster::{Heard, milliseconds},
    fault::{fault, indeterminate, unexpected},
    way::Way,
    wire::{Ask, Number, Point, Refusal, Request, Said, Step},
};

/// How often a node is told that a transaction goes on, although no statement runs in it: several times before it would end it.
const STAY: Duration = Duration::from_millis(1_500);

/// A transaction, or the memory of one that happened before: a retry of its client is answered with that.
#[derive(Debug)]
pub(super) struct ClusterTransaction {
    view: View,
    place: Place,
    number: Number,
    state: State,
    /// Why it was taken away from the commit over several shards that it is a part of.
    refusal: Option<commit::Refusal>,
}

#[derive(Debug)]
enum State {
    Open {
        way: Way,
        session: u64,
        _stays: Staying,
    },
    Remembered {
        ran: VecDeque<Ran>,
        at: Point,
    },
    Over,
}

/// Keeps a transaction from being taken for one that its gateway has forgotten, as long as this is held.
#[derive(Debug)]
struct Staying(AbortHandle);

impl Staying {
    fn begin(view: &View, place: Place, way: &Way, session: u64) -> Self {
        let request = Request {
            shard: view.shard(place).clone(),
            within_ms: milliseconds(STAY),
            ask: Ask::Session {
                session,
                step: Step::Stay,
            },
        };
        let way = way.clone();
        let stays = view.cluster.runtime.spawn(async move {
            loop {
                tokio::time::sleep(STAY).await;
                if let Ok(Err(_)) = way.ask(request.clone()).await {
                    // It has ended, which the next step is told.
                    return;
                }
            }
        });
        Self(stays.abort_handle())
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ClusterTransaction {
    pub(super) fn of(
        view: &View,
        place: Place,
        number: Number,
        heard: Heard,
    ) -> Result<Box<Self>, Error> {
        let state = match heard.said {
            Said::Begun { session } => State::Open {
                _stays: Staying::begin(view, place, &heard.way, session),
                way: heard.way,
                session,
            },
            Said::Known { ran, at } => State::Remembered {
                ran: ran.into(),
                at,
            },
            said => return Err(view.error(place, unexpected(&said))),
        };
        Ok(Box::new(Self {
            view: view.clone(),
            place,
            number,
            state,
            refusal: None,
        }))
    }

    /// Returns why it was taken away from the commit that it is a part of, if its shard has said so.
    pub(super) fn refusal(&self) -> Option<commit::Refusal> {
        self.refusal
    }

    fn error(&self, fault: Fault) -> Error {
        self.view.error(self.place, fault)
    }

    fn over(&self) -> Error {
        let message = "the transaction has ended, and nothing of it has happened";
        self.error(Fault::new(FaultKind::Interrupted, message))
    }

    fn reach(&self, at: Point) {
        let shard = self.view.shard(self.place);
        self.view.notes.reach(shard, at, 0);
    }

    /// Asks what has become of a commit whose answer was lost.
    fn recall(&self) -> Result<(), Error> {
        let ask = Ask::Recall {
            number: self.number,
        };
        let asking = self
            .view
            .cluster
            .ask(self.view.shard(self.place), &ask, self.view.deadline());
        match (self.view.cluster).block_on(asking, || indeterminate().into()) {
            Ok(Heard {
                said: Said::Known { at, .. },
                ..
            }) => {
                self.reach(at);
                Ok(())
            }
            Ok(_) => Err(self.error(fault(Refusal::NoSession, false))),
            // Those that replace the shard know it, or the shard itself once it is open again.
            Err(unanswered) if unanswered.fault.kind == FaultKind::LayoutChanged => {
                self.view.notes.lose();
                Err(self.error(unanswered.fault))
            }
            Err(_) => Err(self.error(indeterminate())),
        }
    }

    /// Runs a statement, or finds that this is over.
    fn step(&mut self, step: Step) -> Result<Ran, Error> {
        let State::Open { way, session, .. } = &self.state else {
            return Err(self.over());
        };
        let session = *session;
        match self.view.go_on(self.place, way, session, step) {
            Ok(Said::Ran(ran)) => Ok(ran),
            Ok(said) => Err(self.error(unexpected(&said))),
            Err(Ok(refusal)) => {
                if let Refusal::Aborted(why) = &refusal {
                    self.refusal = Some(*why);
                }
                if !matches!(&refusal, Refusal::Fault { ended: false, .. }) {
                    self.state = State::Over;
                }
                Err(self.error(fault(refusal, false)))
            }
            Err(Err(_)) => {
                self.rollback()?;
                Err(self.error(fault(Refusal::NoSession, false)))
            }
        }
    }
}

impl PlaceTransaction for ClusterTransaction {
    fn execute(&mut self, call: Call<'_>) -> Result<Ran, Error> {
        if let State::Remembered { ran, .. } = &mut self.state {
            let next = ran.pop_front();
            return next.ok_or_else(|| {
                let message = "the client gave this number to another statement before";
                self.error(Fault::new(FaultKind::Other, message))
            });
        }
        self.step(Step::Run(Fragment::from(call)))
    }

    fn aside(&mut self, call: Call<'_>) -> Result<Ran, Error> {
        if self.is_remembered() {
            return Ok(Ran::default());
        }
        self.step(Step::Aside(Fragment::from(call)))
    }

    fn is_remembered(&self) -> bool {
        matches!(self.state, State::Remembered { .. })
    }

    fn remembered(&mut self) -> Vec<Ran> {
        match &mut self.state {
            State::Remembered { ran, .. } => std::mem::take(ran).into(),
            State::Open { .. } | State::Over => Vec::new(),
        }
    }

    fn is_open(&self) -> bool {
        !matches!(self.state, State::Over)
    }

    fn commit(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Open { way, session, .. } => {
                match self.view.go_on(self.place, &way, session, Step::Commit) {
                    Ok(Said::Wrote { at, .. }) => {
                        self.reach(at);
                        Ok(())
                    }
                    Ok(said) => Err(self.error(unexpected(&said))),
                    Err(Ok(refusal @ (Refusal::Fault { .. } | Refusal::NotPrimary { .. }))) => {
                        Err(self.error(fault(refusal, false)))
                    }
                    Err(Ok(_) | Err(_)) => self.recall(),
                }
            }
            State::Remembered { at, .. } => {
                self.reach(at);
                Ok(())
            }
            State::Over => Err(self.over()),
        }
    }

    fn rollback(&mut self) -> Result<(), Error> {
        if let State::Open { way, session, .. } = std::mem::replace(&mut self.state, State::Over) {
            self.view.end(self.place, &way, session);
        }
        Ok(())
    }
}

impl Drop for ClusterTransaction {
    fn drop(&mut self) {
        // It only sends a message.
        let _undone = self.rollback();
    }
}
