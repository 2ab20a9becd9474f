//! The caller: one commit, from the first shard that it touches to its outcome.

use std::collections::BTreeMap;

use shardwright_topology::Timestamp;

use super::{Answer, CommitId, Message, Party, Refusal, Ticket, Timing};

/// One commit, as the one who wants it sees it.
///
/// The first participant that is [enlisted](CallerEvent::Enlist) is the one that decides. Nothing of a caller outlives
/// its process: what it leaves behind, the participants end among themselves.
#[derive(Debug)]
pub struct Caller {
    id: CommitId,
    /// Of the shard map that it was planned for.
    revision: u64,
    timing: Timing,
    first: Option<Party>,
    seats: BTreeMap<Party, Seat>,
    phase: Phase,
    /// When to say again what was not answered.
    again_at: Timestamp,
}

/// How far one participant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    Asked,
    Enlisted(Ticket),
    Prepared(Ticket),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Statements run.
    Running,
    /// All participants but the first are asked to prepare.
    Preparing,
    /// The first one was asked to decide.
    Deciding {
        since: Timestamp,
    },
    Ended(Outcome),
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It happened, on all participants.
    Committed,
    /// It did not happen, and will not.
    Aborted {
        /// Who refused it; `None` if the caller gave it up.
        by: Option<Party>,
        /// Why.
        refusal: Refusal,
    },
    /// It has happened, will happen, or not: the first participant did not say in time.
    Unknown,
}

/// What happens to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerEvent {
    /// A statement needs a participant.
    Enlist(Party),
    /// All statements have run.
    Commit,
    /// The commit is given up.
    Abandon,
    /// A participant answers.
    Answer(Party, Answer),
    /// Time has passed.
    Tick,
}

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerAction {
    /// Say this to a participant.
    Send(Party, Message),
    /// The statements for a participant can run there, in the transaction of that ticket.
    Ready(Party, Ticket),
    /// The commit has ended.
    End(Outcome),
}

impl Caller {
    /// A commit that was planned for a revision of the shard map.
    #[must_use]
    pub fn new(id: CommitId, revision: u64, timing: Timing) -> Self {
        Self {
            id,
            revision,
            timing,
            first: None,
            seats: BTreeMap::new(),
            phase: Phase::Running,
            again_at: Timestamp::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> CommitId {
        self.id
    }

    /// The participant that decides, once there is one.
    #[must_use]
    pub fn first(&self) -> Option<&Party> {
        self.first.as_ref()
    }

    /// What became of it, once it has ended.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Ended(outcome) => Some(outcome),
            Phase::Running | Phase::Preparing | Phase::Deciding { .. } => None,
        }
    }

    /// When it wants a [tick](CallerEvent::Tick).
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.outcome().is_none().then_some(self.again_at)
    }

    /// Advances on `event`, appending to `actions` what the driver must do next.
    pub fn handle(&mut self, now: Timestamp, event: CallerEvent, actions: &mut Vec<CallerAction>) {
        match event {
            CallerEvent::Enlist(party) => self.enlist(now, party, actions),
            CallerEvent::Commit => self.commit(now, actions),
            CallerEvent::Abandon => self.abandon(None, Refusal::GivenUp, actions),
            CallerEvent::Answer(from, answer) => self.answer(now, &from, answer, actions),
            CallerEvent::Tick => self.tick(now, actions),
        }
    }

    fn enlist(&mut self, now: Timestamp, party: Party, actions: &mut Vec<CallerAction>) {
        if self.phase != Phase::Running {
            return;
        }
        match self.seats.get(&party) {
            Some(Seat::Asked) => {}
            Some(Seat::Enlisted(ticket) | Seat::Prepared(ticket)) => {
                actions.push(CallerAction::Ready(party, *ticket));
            }
            None => {
                self.first.get_or_insert_with(|| party.clone());
                self.seats.insert(party.clone(), Seat::Asked);
                self.again_at = now + self.timing.retry;
                actions.push(CallerAction::Send(party, self.enlistment()));
            }
        }
    }

    fn enlistment(&self) -> Message {
        Message::Enlist {
            id: self.id,
            revision: self.revision,
        }
    }

    fn commit(&mut self, now: Timestamp, actions: &mut Vec<CallerAction>) {
        if self.phase != Phase::Running {
            return;
        }
        if self.seats.is_empty() {
            return self.end(Outcome::Committed, actions);
        }
        self.phase = Phase::Preparing;
        self.go_on(now, actions);
    }

    /// Prepares whoever is enlisted, and decides when all are.
    fn go_on(&mut self, now: Timestamp, actions: &mut Vec<CallerAction>) {
        self.again_at = now + self.timing.retry;
        let Some((first, first_ticket)) = self.first_ticket() else {
            return;
        };
        let mut others = self.seats.iter().filter(|(party, _)| **party != first);
        if others.all(|(_, seat)| matches!(seat, Seat::Prepared(_))) {
            self.phase = Phase::Deciding { since: now };
            return actions.push(self.decision(first, first_ticket));
        }
        for (party, seat) in &self.seats {
            if let (Seat::Enlisted(ticket), true) = (seat, *party != first) {
                let prepare = Message::Prepare {
                    id: self.id,
                    ticket: *ticket,
                    first: first.clone(),
                    first_ticket,
                    participants: self.participants(),
                    revision: self.revision,
                };
                actions.push(CallerAction::Send(party.clone(), prepare));
            }
        }
    }

    fn decision(&self, first: Party, ticket: Ticket) -> CallerAction {
        let decide = Message::Decide {
            id: self.id,
            ticket,
            participants: self.participants(),
            revision: self.revision,
        };
        CallerAction::Send(first, decide)
    }

    fn participants(&self) -> Vec<Party> {
        self.seats.keys().cloned().collect()
    }

    fn first_ticket(&self) -> Option<(Party, Ticket)> {
        let first = self.first.as_ref()?;
        match self.seats.get(first)? {
            Seat::Enlisted(ticket) | Seat::Prepared(ticket) => Some((first.clone(), *ticket)),
            Seat::Asked => None,
        }
    }

    fn answer(
        &mut self,
        now: Timestamp,
        from: &Party,
        answer: Answer,
        actions: &mut Vec<CallerAction>,
    ) {
        match answer {
            Answer::Enlisted(ticket) => self.enlisted(now, from, ticket, actions),
            Answer::Prepared => self.prepared(now, from, actions),
            Answer::Committed => self.committed(from, actions),
            Answer::Refused { ticket, refusal } if self.concerns(from, ticket) => {
                self.refused(now, from, refusal, actions);
            }
            // It is about another opening of the writer, or comes late.
            Answer::Refused { .. } => {}
        }
    }

    fn enlisted(
        &mut self,
        now: Timestamp,
        from: &Party,
        ticket: Ticket,
        actions: &mut Vec<CallerAction>,
    ) {
        if matches!(self.phase, Phase::Ended(_)) {
            // A request that arrived late may have taken the writer for nothing; or this answer is late, and the part of a
            // commit that was made is prepared there.
            let release = Message::Release { id: self.id };
            return actions.push(CallerAction::Send(from.clone(), release));
        }
        match self.seats.get(from) {
            Some(Seat::Asked) => {
                self.seats.insert(from.clone(), Seat::Enlisted(ticket));
                actions.push(CallerAction::Ready(from.clone(), ticket));
                if self.phase == Phase::Preparing {
                    self.go_on(now, actions);
                }
            }
            Some(Seat::Enlisted(known) | Seat::Prepared(known)) if *known == ticket => {}
            // What ran under the ticket of before is gone.
            Some(_) if self.is_undecided() => {
                self.abandon(Some(from.clone()), Refusal::Gone, actions);
            }
            Some(_) | None => {}
        }
    }

    fn prepared(&mut self, now: Timestamp, from: &Party, actions: &mut Vec<CallerAction>) {
        if self.phase != Phase::Preparing {
            return;
        }
        if let Some(Seat::Enlisted(ticket)) = self.seats.get(from).copied() {
            self.seats.insert(from.clone(), Seat::Prepared(ticket));
            let first = self.first.as_ref();
            let mut others = self.seats.iter().filter(|(party, _)| Some(*party) != first);
            if others.all(|(_, seat)| matches!(seat, Seat::Prepared(_))) {
                self.go_on(now, actions);
            }
        }
    }

    fn committed(&mut self, from: &Party, actions: &mut Vec<CallerAction>) {
        if self.first.as_ref() != Some(from) {
            return;
        }
        let heard = Message::Heard { id: self.id };
        actions.push(CallerAction::Send(from.clone(), heard));
        if matches!(self.phase, Phase::Deciding { .. }) {
            self.end(Outcome::Committed, actions);
        }
    }

    /// Whether a refusal is about what this commit has at a participant.
    fn concerns(&self, from: &Party, ended: Option<Ticket>) -> bool {
        match self.seats.get(from) {
            Some(Seat::Asked) => ended.is_none(),
            Some(Seat::Enlisted(ticket) | Seat::Prepared(ticket)) => ended == Some(*ticket),
            None => false,
        }
    }

    fn refused(
        &mut self,
        now: Timestamp,
        from: &Party,
        refusal: Refusal,
        actions: &mut Vec<CallerAction>,
    ) {
        match self.phase {
            Phase::Running | Phase::Preparing => {
                self.abandon(Some(from.clone()), refusal, actions);
            }
            Phase::Deciding { since } if self.first.as_ref() == Some(from) => {
                // A decision is not forgotten that early, unless the caller has said that it knows it.
                if now.since(since) <= self.timing.patience {
                    self.abandon(Some(from.clone()), refusal, actions);
                } else {
                    self.end(Outcome::Unknown, actions);
                }
            }
            // A participant that has prepared says nothing more.
            Phase::Deciding { .. } | Phase::Ended(_) => {}
        }
    }

    fn tick(&mut self, now: Timestamp, actions: &mut Vec<CallerAction>) {
        if now < self.again_at {
            return;
        }
        self.again_at = now + self.timing.retry;
        match self.phase {
            Phase::Running => self.ask_again(actions),
            Phase::Preparing => {
                self.ask_again(actions);
                self.go_on(now, actions);
            }
            Phase::Deciding { since } if now.since(since) > self.timing.patience => {
                self.end(Outcome::Unknown, actions);
            }
            Phase::Deciding { .. } => {
                if let Some((first, ticket)) = self.first_ticket() {
                    actions.push(self.decision(first, ticket));
                }
            }
            Phase::Ended(_) => {}
        }
    }

    fn ask_again(&self, actions: &mut Vec<CallerAction>) {
        let asked = self.seats.iter().filter(|(_, seat)| **seat == Seat::Asked);
        actions
            .extend(asked.map(|(party, _)| CallerAction::Send(party.clone(), self.enlistment())));
    }

    /// Ends it without a decision. Participants that do not hear of it find out by themselves.
    fn abandon(&mut self, by: Option<Party>, refusal: Refusal, actions: &mut Vec<CallerAction>) {
        // Once the first was asked, only its refusal ends it.
        let is_asked = matches!(self.phase, Phase::Deciding { .. }) && by.is_none();
        if is_asked || matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        for party in self.seats.keys() {
            if Some(party) != by.as_ref() {
                let abandon = Message::Abandon { id: self.id };
                actions.push(CallerAction::Send(party.clone(), abandon));
            }
        }
        self.end(Outcome::Aborted { by, refusal }, actions);
    }

    fn is_undecided(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Preparing)
    }

    fn end(&mut self, outcome: Outcome, actions: &mut Vec<CallerAction>) {
        self.phase = Phase::Ended(outcome.clone());
        actions.push(CallerAction::End(outcome));
    }
}
