//! A participant: one shard's part in all commits that reach it.

mod decided;
mod holder;
mod requests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_topology::Timestamp;

use self::{
    decided::Decided,
    holder::{Holder, Stage},
};
use super::{Answer, CommitId, Message, Party, Refusal, Ticket, Timing, Verdict};

/// One shard's part in all commits that reach it.
#[derive(Debug)]
pub struct Participant {
    me: Party,
    /// The term of its tickets.
    term: u64,
    /// How many it has granted.
    granted: u64,
    /// Of the shard map that it is a part of.
    revision: u64,
    timing: Timing,
    /// Who has the writer.
    holder: Option<Holder>,
    /// Who waits for it, and until when; the oldest goes first.
    waiting: BTreeMap<CommitId, Timestamp>,
    /// What it has decided as the first participant, and not forgotten.
    decided: BTreeMap<CommitId, Decided>,
    /// Whether it is about to be replaced by others.
    sealed: bool,
}

/// A part that is lasting and not visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The commit.
    pub id: CommitId,
    /// Who decides.
    pub first: Party,
    /// That one's ticket, by which it is asked.
    pub first_ticket: Ticket,
    /// All participants, the first one included.
    pub participants: Vec<Party>,
}

/// What a participant keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The part is lasting: with it goes what the open transaction of the commit has changed. Nothing of that is visible.
    Prepared(Prepared),
    /// The commit is decided: with it the open transaction of the commit takes effect here.
    Decided {
        /// The commit.
        id: CommitId,
        /// All participants, this one included.
        participants: Vec<Party>,
    },
    /// A prepared part takes effect, or is dropped; it replaces the record of the preparation.
    Resolved {
        /// The commit.
        id: CommitId,
        /// What was decided.
        verdict: Verdict,
    },
    /// A decision is needed no more; its record can go. It need not be durable soon.
    Forgotten {
        /// The commit.
        id: CommitId,
    },
}

/// What happens to a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody says something.
    Message(Message),
    /// A record is durable.
    Stored(Record),
    /// A record is not stored and never will be. For [`Record::Prepared`] and [`Record::Decided`]: the transaction is undone,
    /// and the writer free. The others are asked for again.
    NotStored(Record),
    /// The transaction of a commit has ended without being asked to, before anything of it was to be stored.
    Lost(CommitId),
    /// The shard map has this revision now.
    Revision(u64),
    /// The shard is about to be replaced by others: no commit begins. [`Participant::unresolved`] says when it can be.
    Seal,
    /// It stays after all.
    Unseal,
    /// Time has passed.
    Tick,
}

/// What a participant asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin the transaction of a commit, which has the writer under that ticket.
    Open(CommitId, Ticket),
    /// Undo the open transaction of a commit, and free the writer.
    Undo(CommitId),
    /// Make a record durable, and say so.
    Store(Record),
    /// Say this to the caller of a commit.
    Answer(CommitId, Answer),
    /// Say this to another participant.
    Send(Party, Message),
}

impl Participant {
    /// A participant that nothing was stored of. The `term` was never used by it before.
    #[must_use]
    pub fn new(me: Party, term: u64, revision: u64, timing: Timing) -> Self {
        Self {
            me,
            term,
            granted: 0,
            revision,
            timing,
            holder: None,
            waiting: BTreeMap::new(),
            decided: BTreeMap::new(),
            sealed: false,
        }
    }

    /// A participant after a crash, or on another node, from what was stored: the parts that are prepared and not
    /// resolved, of which there is one at most, and the decisions that are not forgotten.
    ///
    /// The prepared part has the writer at once. It asks for the outcome at the first tick.
    #[must_use]
    pub fn recovered(
        self,
        now: Timestamp,
        prepared: Option<Prepared>,
        decided: impl IntoIterator<Item = (CommitId, Vec<Party>)>,
    ) -> Self {
        let me = self.me.clone();
        let decided = decided.into_iter();
        Self {
            holder: prepared.map(|part| Holder::recovered(part, self.term, now)),
            decided: decided
                .map(|(id, participants)| (id, Decided::new(&me, participants, now)))
                .collect(),
            ..self
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Party {
        &self.me
    }

    /// The part that is prepared and not resolved.
    #[must_use]
    pub fn prepared(&self) -> Option<&Prepared> {
        self.holder.as_ref().and_then(Holder::prepared)
    }

    /// The decisions that other participants may still have to hear of, and who has not acknowledged them.
    pub fn undelivered(&self) -> impl Iterator<Item = (CommitId, impl Iterator<Item = &Party>)> {
        let open = self
            .decided
            .iter()
            .filter(|(_, each)| each.is_undelivered());
        open.map(|(id, each)| (*id, each.missing()))
    }

    /// How many commits keep the shard from being replaced: a part of it that is not resolved, and decisions that others, or
    /// their callers, may ask for.
    #[must_use]
    pub fn unresolved(&self) -> usize {
        let held = self.holder.iter().filter(|holder| !holder.is_loose());
        held.count() + self.decided.len()
    }

    /// Who has the writer, and since when.
    #[must_use]
    pub fn held(&self) -> Option<(CommitId, Timestamp)> {
        self.holder.as_ref().map(|holder| (holder.id, holder.since))
    }

    /// When it wants a [tick](Event::Tick).
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        let holder = self.holder.iter().filter_map(|holder| holder.due);
        let waiting = self.waiting.values().copied();
        let decided = self.decided.values().map(|each| each.due(&self.timing));
        holder.chain(waiting).chain(decided).min()
    }

    /// Advances on `event`, appending to `actions` what the driver must do next.
    pub fn handle(&mut self, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Message(message) => self.hear(now, message, actions),
            Event::Stored(record) => self.stored(now, record, actions),
            Event::NotStored(record) => self.not_stored(now, record, actions),
            Event::Lost(id) => self.lost(now, id, actions),
            Event::Revision(revision) => self.revision = self.revision.max(revision),
            Event::Seal => self.seal(actions),
            Event::Unseal => self.sealed = false,
            Event::Tick => self.tick(now, actions),
        }
        debug_assert!(self.check_invariants().is_ok());
    }

    /// What always holds.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn check_invariants(&self) -> Result<(), String> {
        if self.holder.is_none() && !self.waiting.is_empty() {
            return Err(format!("{} is free and somebody waits for it", self.me));
        }
        let Some(holder) = &self.holder else {
            return Ok(());
        };
        if self.decided.contains_key(&holder.id) || self.waiting.contains_key(&holder.id) {
            return Err(format!("{} is at {} twice", holder.id, self.me));
        }
        if let Some(older) = self.waiting.keys().next()
            && *older < holder.id
            && holder.is_loose()
        {
            return Err(format!("{older} waits for the younger {}", holder.id));
        }
        Ok(())
    }

    fn hear(&mut self, now: Timestamp, message: Message, actions: &mut Vec<Action>) {
        match message {
            Message::Enlist { id, revision } => self.enlist(now, id, revision, actions),
            Message::Prepare {
                id,
                ticket,
                first,
                first_ticket,
                participants,
                revision,
            } => {
                let part = Prepared {
                    id,
                    first,
                    first_ticket,
                    participants,
                };
                self.prepare(now, ticket, part, revision, actions);
            }
            Message::Decide {
                id,
                ticket,
                participants,
                revision,
            } => self.decide(now, (id, ticket), participants, revision, actions),
            Message::Abandon { id } => self.resolve(now, id, Verdict::Abort, None, actions),
            Message::Release { id } => self.release(now, id, actions),
            Message::Heard { id } => self.heard(id, actions),
            Message::Inquire { id, ticket, from } => self.inquire(now, id, ticket, from, actions),
            Message::Resolve { id, verdict, from } => {
                self.resolve(now, id, verdict, Some(from), actions);
            }
            Message::Acknowledge { id, from } => self.acknowledge(id, &from, actions),
        }
    }

    fn tick(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.tick_waiting(now, actions);
        self.tick_holder(now, actions);
        self.tick_decided(now, actions);
    }

    fn tick_waiting(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.waiting.retain(|id, until| {
            let waits = now < *until;
            if !waits {
                actions.push(refused(*id, None, Refusal::Busy));
            }
            waits
        });
    }

    fn tick_holder(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(holder) = &mut self.holder else {
            return;
        };
        if holder.due.is_none_or(|due| now < due) {
            return;
        }
        match &holder.stage {
            Stage::Enlisted => self.drop_holder(now, Refusal::Expired, actions),
            Stage::Prepared(part) => {
                let inquire = Message::Inquire {
                    id: part.id,
                    ticket: part.first_ticket,
                    from: self.me.clone(),
                };
                actions.push(Action::Send(part.first.clone(), inquire));
                holder.due = Some(now + self.timing.retry);
            }
            Stage::Preparing(_) | Stage::Deciding | Stage::Resolving(_) => holder.due = None,
        }
    }

    /// Takes the writer from a commit that has not prepared.
    fn drop_holder(&mut self, now: Timestamp, refusal: Refusal, actions: &mut Vec<Action>) {
        if let Some(holder) = self.holder.take_if(|holder| holder.is_loose()) {
            actions.push(Action::Undo(holder.id));
            actions.push(refused(holder.id, Some(holder.ticket), refusal));
            self.lend(now, actions);
        }
    }

    /// Lends the writer to the oldest that waits.
    fn lend(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.holder.is_some() {
            return;
        }
        if let Some((id, _)) = self.waiting.pop_first() {
            self.granted += 1;
            let ticket = Ticket {
                term: self.term,
                number: self.granted,
            };
            self.holder = Some(Holder::enlisted(id, ticket, now, now + self.timing.hold));
            actions.push(Action::Open(id, ticket));
            actions.push(Action::Answer(id, Answer::Enlisted(ticket)));
        }
    }

    fn seal(&mut self, actions: &mut Vec<Action>) {
        self.sealed = true;
        for (id, _) in std::mem::take(&mut self.waiting) {
            actions.push(refused(id, None, Refusal::Sealed));
        }
        if let Some(holder) = self.holder.take_if(|holder| holder.is_loose()) {
            actions.push(Action::Undo(holder.id));
            actions.push(refused(holder.id, Some(holder.ticket), Refusal::Sealed));
        }
    }
}

fn refused(id: CommitId, ticket: Option<Ticket>, refusal: Refusal) -> Action {
    Action::Answer(id, Answer::Refused { ticket, refusal })
}
