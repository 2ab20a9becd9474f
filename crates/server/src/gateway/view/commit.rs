//! A commit over several shards, from the gateway's side: the caller of [`commit`](shardwright_sql::commit), driven by one thread that may
//! wait.
//!
//! It is answered once every shard shows it: all of them but the first are told by this gateway what was decided, and by the first, whichever
//! comes first. If the gateway is lost, the first tells them alone.

use std::collections::{BTreeMap, VecDeque};

use futures_util::future::join_all;
use shardwright_sql::{
    Error,
    commit::{
        Answer, Caller, CallerAction, CallerEvent, CommitId, Message, Outcome, Party, Refusal,
        Ticket, Timing, Verdict,
    },
    shards::{
        Enlisted, Fault, FaultKind, JointTransaction, Place, PlaceTransaction, Places, Watching,
    },
};

use super::{ClusterTransaction, View};
use crate::{
    gateway::{
        cluster::{Heard, Unanswered},
        fault::{indeterminate, refused, unexpected},
        wire::{Ask, CommitLevel, Said},
    },
    shard::CopyGap,
};

/// A commit over several shards. Dropping it undoes it.
#[derive(Debug)]
pub(super) struct ClusterCommit {
    view: View,
    caller: Caller,
    parts: BTreeMap<Place, Part>,
    /// Why a shard does not go on, as it said itself.
    failure: Option<Error>,
    is_over: bool,
}

/// What a commit has at one shard.
#[derive(Debug)]
struct Part {
    ticket: Ticket,
    transaction: Box<ClusterTransaction>,
}

impl ClusterCommit {
    /// A commit without shards.
    pub(super) fn new(view: View, started: u64) -> Self {
        let id = CommitId {
            started,
            author: rand::random(),
        };
        Self {
            view,
            caller: Caller::new(id, 0, Timing::default()),
            parts: BTreeMap::new(),
            failure: None,
            is_over: false,
        }
    }

    fn party(&self, place: Place) -> Party {
        Party::new(self.view.name(place))
    }

    fn place(&self, party: &Party) -> Option<Place> {
        (&self.view as &dyn Places).named(party.as_str())
    }

    /// Tells the caller something, and does all that follows. Returns how the commit has ended, if it has.
    fn drive(&mut self, event: CallerEvent) -> Option<Outcome> {
        let mut events = VecDeque::from([event]);
        let mut ended = None;
        while let Some(event) = events.pop_front() {
            let (mut actions, mut asked) = (Vec::new(), Vec::new());
            let now = self.view.cluster.clock.now();
            self.caller.handle(now, event, &mut actions);
            for action in actions {
                match action {
                    CallerAction::Send(
                        to,
                        message @ (Message::Prepare { .. } | Message::Decide { .. }),
                    ) => asked.push((to, message)),
                    // Whoever enlists asks.
                    CallerAction::Send(_, Message::Enlist { .. }) | CallerAction::Ready(..) => {}
                    CallerAction::Send(to, message) => self.say(&to, message),
                    CallerAction::End(outcome) => ended = Some(outcome),
                }
            }
            let is_decision =
                |(_, message): &(Party, Message)| matches!(message, Message::Decide { .. });
            if asked.iter().any(is_decision) {
                self.view.cluster.host.copies().reached(CopyGap::Undecided);
            }
            for (from, message, answer) in self.ask(asked) {
                match self.heard(&from, &message, answer) {
                    Some(answer) => events.push_back(CallerEvent::Answer(from, answer)),
                    // Nobody knows what was decided.
                    None if matches!(message, Message::Decide { .. }) => {
                        return Some(Outcome::Unknown);
                    }
                    None => events.push_back(CallerEvent::Abandon),
                }
            }
        }
        ended
    }

    /// Asks shards at once, and waits for all of them.
    fn ask(
        &self,
        asked: Vec<(Party, Message)>,
    ) -> Vec<(Party, Message, Result<Heard, Unanswered>)> {
        if asked.is_empty() {
            // Whoever only says something need not wait, wherever that is: one that is dropped may be where no thread can.
            return Vec::new();
        }
        let (cluster, deadline) = (&self.view.cluster, self.view.deadline());
        let asking = asked.into_iter().map(|(to, message)| async move {
            let ask = Ask::Commit(message.clone());
            let answer = match self.place(&to) {
                Some(place) => cluster.ask(self.view.shard(place), &ask, deadline).await,
                None => Err(indeterminate().into()),
            };
            (to, message, answer)
        });
        let asking = async { Ok::<_, ()>(join_all(asking).await) };
        // Once the gateway is over, nobody waits any more.
        cluster.block_on(asking, || ()).unwrap_or_default()
    }

    /// Returns what a shard has answered; `None` if it has not, or has said why it does not go on.
    fn heard(
        &mut self,
        from: &Party,
        message: &Message,
        answer: Result<Heard, Unanswered>,
    ) -> Option<Answer> {
        let fault = match answer {
            Ok(Heard { said, .. }) => match said {
                Said::Prepared => return Some(Answer::Prepared),
                Said::Decided { at } => {
                    if let Some(first) = self.place(from) {
                        self.view.notes.reach(self.view.shard(first), at, 0);
                    }
                    return Some(Answer::Committed);
                }
                Said::Refused { ticket, refusal } => {
                    return Some(Answer::Refused { ticket, refusal });
                }
                said => unexpected(&said),
            },
            Err(unanswered) => unanswered.fault,
        };
        let is_open = matches!(
            fault.kind,
            FaultKind::Unreachable
                | FaultKind::LayoutChanged
                | FaultKind::Indeterminate
                | FaultKind::Other
        );
        let told = match message {
            // It has said why the decision is not stored, and that it never will be.
            Message::Decide { ticket, .. } if !is_open => Some(Answer::Refused {
                ticket: Some(*ticket),
                refusal: Refusal::Failed,
            }),
            _ => None,
        };
        let place = self.place(from).unwrap_or(Place::Catalog);
        let failure = self.view.error(place, fault);
        self.failure.get_or_insert(failure);
        told
    }

    /// Says something that needs no answer.
    fn say(&self, to: &Party, message: Message) {
        let Some(place) = self.place(to) else {
            return;
        };
        let cluster = std::sync::Arc::clone(&self.view.cluster);
        let shard = self.view.shard(place).clone();
        self.view.cluster.runtime.spawn(async move {
            let deadline = cluster.deadline(Timing::default().retry * 4);
            let ask = Ask::Commit(message);
            // What is not heard the shards find out by themselves.
            cluster.ask(&shard, &ask, deadline).await.is_ok()
        });
    }

    fn abandon(&mut self) {
        if !self.is_over {
            self.is_over = true;
            let _ended = self.drive(CallerEvent::Abandon);
        }
    }

    fn aborted(&self, by: Option<&Party>, refusal: Refusal) -> Error {
        let place = by.and_then(|by| self.place(by));
        let fault = refused(refusal);
        match fault.kind {
            FaultKind::LayoutChanged | FaultKind::Busy => {
                self.view.error(place.unwrap_or(Place::Catalog), fault)
            }
            _ => Error::Aborted {
                place: by.map_or_else(|| "gateway".to_owned(), Party::to_string),
                refusal,
                started: self.caller.id().started,
            },
        }
    }

    /// Commits at the one shard that there is, as any transaction there.
    fn commit_alone(&mut self, place: Place) -> Result<(), Error> {
        let done = match self.parts.get_mut(&place) {
            Some(part) => part.transaction.commit(),
            None => Ok(()),
        };
        self.is_over = true;
        if done.is_ok() {
            self.view.numbering.made_part(place);
        }
        let id = self.caller.id();
        self.say(&self.party(place), Message::Release { id });
        done
    }

    /// Has every other shard show what was decided. They do so by themselves; the client waits for it, so that it sees what it has written.
    fn show(&self) -> Result<(), Error> {
        let Some(first) = self.caller.first() else {
            return Ok(());
        };
        let others = self.parts.keys().map(|place| self.party(*place));
        let resolve = Message::Resolve {
            id: self.caller.id(),
            verdict: Verdict::Commit,
            from: first.clone(),
        };
        let asked = others
            .filter(|party| party != first)
            .map(|party| (party, resolve.clone()));
        let mut unseen = None;
        for (from, _, answer) in self.ask(asked.collect()) {
            let Some(place) = self.place(&from) else {
                continue;
            };
            match answer {
                Ok(Heard {
                    said: Said::Resolved { at },
                    ..
                }) => self.view.notes.reach(self.view.shard(place), at, 0),
                Ok(Heard { said, .. }) => unseen = Some(self.view.error(place, unexpected(&said))),
                // It was replaced by others, which it had to be resolved for.
                Err(Unanswered { fault, .. }) if fault.kind == FaultKind::LayoutChanged => {}
                Err(Unanswered { fault, .. }) => unseen = Some(self.view.error(place, fault)),
            }
        }
        match unseen {
            None => Ok(()),
            Some(source) => Err(Error::Unfinished {
                source: Box::new(source),
            }),
        }
    }
}

impl JointTransaction for ClusterCommit {
    fn enlist(&mut self, place: Place, watching: Watching<'_>) -> Result<Enlisted, Error> {
        let party = self.party(place);
        let _asked = self.drive(CallerEvent::Enlist(party.clone()));
        let number = self.view.numbering.of_part(place);
        let ask = Ask::Enlist {
            id: self.caller.id(),
            basis: self.view.basis(),
            number,
            notes: watching.into(),
            level: match self.view.level {
                // What all shards have or none must not be lost with one copy.
                CommitLevel::One => CommitLevel::Quorum,
                level => level,
            },
        };
        let Heard { said, way } = match self.view.ask(place, &ask) {
            Ok(heard) => heard,
            Err(error) => {
                self.abandon();
                return Err(error);
            }
        };
        match said {
            Said::Enlisted { ticket, session } => {
                let said = Said::Begun { session };
                let heard = Heard { said, way };
                let transaction = ClusterTransaction::of(&self.view, place, number, heard)?;
                let part = Part {
                    ticket,
                    transaction,
                };
                self.parts.insert(place, part);
                let enlisted = Answer::Enlisted(ticket);
                let _ready = self.drive(CallerEvent::Answer(party, enlisted));
                Ok(Enlisted::Open)
            }
            Said::Known { at, .. } => {
                self.view.notes.reach(self.view.shard(place), at, 0);
                self.abandon();
                Ok(Enlisted::Known)
            }
            Said::Refused { ticket, refusal } => {
                let answer = Answer::Refused { ticket, refusal };
                let _ended = self.drive(CallerEvent::Answer(party.clone(), answer));
                self.abandon();
                Err(self.aborted(Some(&party), refusal))
            }
            said => {
                self.abandon();
                Err(self.view.error(place, unexpected(&said)))
            }
        }
    }

    fn at(&mut self, place: Place) -> Option<&mut dyn PlaceTransaction> {
        if self.is_over {
            return None;
        }
        let part = self.parts.get_mut(&place)?;
        Some(&mut *part.transaction)
    }

    fn lost(&mut self, place: Place) -> Error {
        let party = self.party(place);
        let part = self.parts.get(&place);
        let ticket = part.map(|part| part.ticket);
        let refusal = part.and_then(|part| part.transaction.refusal());
        let refusal = refusal.unwrap_or(Refusal::Gone);
        let answer = Answer::Refused { ticket, refusal };
        let _ended = self.drive(CallerEvent::Answer(party.clone(), answer));
        self.abandon();
        self.aborted(Some(&party), refusal)
    }

    fn is_open(&self) -> bool {
        !self.is_over && self.caller.outcome().is_none()
    }

    fn commit(&mut self) -> Result<(), Error> {
        if self.is_over {
            return Err(self.aborted(None, Refusal::GivenUp));
        }
        let mut places = self.parts.keys().copied();
        match (places.next(), places.next()) {
            (None, _) => return Ok(()),
            (Some(place), None) => return self.commit_alone(place),
            (Some(_), Some(_)) => {}
        }
        let outcome = self.drive(CallerEvent::Commit);
        self.is_over = true;
        match outcome {
            Some(Outcome::Committed) => {
                for place in self.parts.keys() {
                    self.view.numbering.made_part(*place);
                }
                self.show()
            }
            Some(Outcome::Aborted { by, refusal }) => {
                let failure = self.failure.take();
                Err(failure.unwrap_or_else(|| self.aborted(by.as_ref(), refusal)))
            }
            Some(Outcome::Unknown) | None => {
                let first = self.caller.first().and_then(|first| self.place(first));
                let unknown: Fault = indeterminate();
                Err(self.view.error(first.unwrap_or(Place::Catalog), unknown))
            }
        }
    }
}

impl Drop for ClusterCommit {
    fn drop(&mut self) {
        self.abandon();
    }
}
