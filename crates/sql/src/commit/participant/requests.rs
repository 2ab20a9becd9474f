//! What callers ask of a participant, and what follows from what was stored.

use shardwright_topology::Timestamp;

use super::{Action, Decided, Holder, Participant, Prepared, Record, Stage, refused};
use crate::commit::{Answer, CommitId, Message, Party, Refusal, Ticket, Verdict};

impl Participant {
    pub(super) fn enlist(
        &mut self,
        now: Timestamp,
        id: CommitId,
        revision: u64,
        actions: &mut Vec<Action>,
    ) {
        if self.decided.contains_key(&id) {
            return;
        }
        if let Some(holder) = self.holder.as_ref().filter(|holder| holder.id == id) {
            if holder.is_loose() {
                actions.push(Action::Answer(id, Answer::Enlisted(holder.ticket)));
            }
            return;
        }
        if let Some(refusal) = self.refusal(revision) {
            return actions.push(refused(id, None, refusal));
        }
        self.waiting.entry(id).or_insert(now + self.timing.wait);
        match &self.holder {
            Some(holder) if holder.is_loose() && id < holder.id => {
                self.drop_holder(now, Refusal::Wounded, actions);
            }
            Some(_) => {}
            None => self.lend(now, actions),
        }
    }

    /// Why nothing of that revision may begin or go on.
    fn refusal(&self, revision: u64) -> Option<Refusal> {
        if self.sealed {
            Some(Refusal::Sealed)
        } else {
            (revision < self.revision).then_some(Refusal::Stale)
        }
    }

    pub(super) fn prepare(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        part: Prepared,
        revision: u64,
        actions: &mut Vec<Action>,
    ) {
        let refusal = self.refusal(revision);
        let id = part.id;
        match &mut self.holder {
            Some(holder) if holder.runs(id, ticket) => match refusal {
                Some(refusal) => self.drop_holder(now, refusal, actions),
                None => {
                    holder.stage = Stage::Preparing(None);
                    actions.push(Action::Store(Record::Prepared(part)));
                }
            },
            Some(holder) if holder.id == id && holder.ticket == ticket => match &holder.stage {
                Stage::Prepared(_) => actions.push(Action::Answer(id, Answer::Prepared)),
                // It is being stored or resolved.
                Stage::Enlisted | Stage::Preparing(_) | Stage::Deciding | Stage::Resolving(_) => {}
            },
            Some(_) | None => {
                actions.push(refused(id, Some(ticket), Refusal::Gone));
            }
        }
    }

    pub(super) fn decide(
        &mut self,
        now: Timestamp,
        (id, ticket): (CommitId, Ticket),
        participants: Vec<Party>,
        revision: u64,
        actions: &mut Vec<Action>,
    ) {
        let refusal = self.refusal(revision);
        match &mut self.holder {
            _ if self.decided.contains_key(&id) => {
                actions.push(Action::Answer(id, Answer::Committed));
            }
            // With a refusal the ticket ends, so that the same request cannot succeed when it comes again.
            Some(holder) if holder.runs(id, ticket) => match refusal {
                Some(refusal) => self.drop_holder(now, refusal, actions),
                None => {
                    holder.stage = Stage::Deciding;
                    actions.push(Action::Store(Record::Decided { id, participants }));
                }
            },
            Some(holder) if holder.id == id && matches!(holder.stage, Stage::Deciding) => {}
            Some(_) | None => {
                actions.push(refused(id, Some(ticket), Refusal::Gone));
            }
        }
    }

    /// Ends the part of a commit here. `from` is the first participant, or nobody if the caller gives up.
    pub(super) fn resolve(
        &mut self,
        now: Timestamp,
        id: CommitId,
        verdict: Verdict,
        from: Option<Party>,
        actions: &mut Vec<Action>,
    ) {
        if self.waiting.remove(&id).is_some() && verdict == Verdict::Abort {
            return;
        }
        if let Some(holder) = self.holder.as_mut().filter(|holder| holder.id == id) {
            match &mut holder.stage {
                // A part that was prepared is never unprepared, so what is told to commit has been here before, and this
                // is a late request of the same commit.
                Stage::Enlisted => {
                    self.holder = None;
                    actions.push(Action::Undo(id));
                    self.lend(now, actions);
                }
                Stage::Preparing(told) => {
                    *told = Some(verdict);
                    return;
                }
                Stage::Prepared(part) => {
                    let part = part.clone();
                    holder.stage = Stage::Resolving(part);
                    holder.due = None;
                    return actions.push(Action::Store(Record::Resolved { id, verdict }));
                }
                // The decision is this participant's own.
                Stage::Deciding | Stage::Resolving(_) => return,
            }
        }
        // Nothing of it is left here: it was resolved before, and the acknowledgement was lost.
        if let (Some(from), Verdict::Commit) = (from, verdict) {
            actions.push(self.acknowledgement(id, from));
        }
    }

    /// Ends what a commit has begun here, unless it has prepared.
    pub(super) fn release(&mut self, now: Timestamp, id: CommitId, actions: &mut Vec<Action>) {
        self.waiting.remove(&id);
        if self
            .holder
            .take_if(|holder| holder.id == id && holder.is_loose())
            .is_some()
        {
            actions.push(Action::Undo(id));
            self.lend(now, actions);
        }
    }

    fn acknowledgement(&self, id: CommitId, to: Party) -> Action {
        let from = self.me.clone();
        Action::Send(to, Message::Acknowledge { id, from })
    }

    /// Answers a prepared participant. Without a decision, there will be none.
    pub(super) fn inquire(
        &mut self,
        now: Timestamp,
        id: CommitId,
        ticket: Ticket,
        from: Party,
        actions: &mut Vec<Action>,
    ) {
        let verdict = if self.decided.contains_key(&id) {
            Verdict::Commit
        } else {
            match &self.holder {
                // It asks again.
                Some(holder) if holder.id == id && matches!(holder.stage, Stage::Deciding) => {
                    return;
                }
                Some(holder) if holder.runs(id, ticket) => {
                    self.drop_holder(now, Refusal::Recovered, actions);
                }
                Some(_) | None => {}
            }
            Verdict::Abort
        };
        let told = Message::Resolve {
            id,
            verdict,
            from: self.me.clone(),
        };
        actions.push(Action::Send(from, told));
    }

    pub(super) fn stored(&mut self, now: Timestamp, record: Record, actions: &mut Vec<Action>) {
        match record {
            Record::Prepared(part) => self.stored_part(now, part, actions),
            Record::Decided { id, participants } => {
                if self.ends(id) {
                    self.holder = None;
                    let decided = Decided::new(&self.me, participants, now);
                    decided.tell(id, &self.me, actions);
                    self.decided.insert(id, decided);
                    actions.push(Action::Answer(id, Answer::Committed));
                    self.lend(now, actions);
                }
            }
            Record::Resolved { id, verdict } => {
                let Some(holder) = self.holder.take_if(|holder| holder.id == id) else {
                    return;
                };
                if let (Stage::Resolving(part), Verdict::Commit) = (holder.stage, verdict) {
                    actions.push(self.acknowledgement(id, part.first));
                }
                self.lend(now, actions);
            }
            Record::Forgotten { id } => {
                self.decided.remove(&id);
            }
        }
    }

    fn stored_part(&mut self, now: Timestamp, part: Prepared, actions: &mut Vec<Action>) {
        let until = |since: Timestamp| since + self.timing.hold;
        let Some(holder) = self.holder.as_mut().filter(|holder| holder.id == part.id) else {
            return;
        };
        let Stage::Preparing(told) = &holder.stage else {
            return;
        };
        let (id, told) = (part.id, *told);
        // What has held the writer for its time already asks at once.
        holder.due = Some(until(holder.since).min(now + self.timing.ask).max(now));
        holder.stage = Stage::Prepared(part);
        match told {
            Some(verdict) => self.resolve(now, id, verdict, None, actions),
            None => actions.push(Action::Answer(id, Answer::Prepared)),
        }
    }

    pub(super) fn not_stored(&mut self, now: Timestamp, record: Record, actions: &mut Vec<Action>) {
        match record {
            Record::Prepared(Prepared { id, .. }) | Record::Decided { id, .. } => {
                if self.ends(id)
                    && let Some(holder) = self.holder.take()
                {
                    actions.push(refused(id, Some(holder.ticket), Refusal::Failed));
                    self.lend(now, actions);
                }
            }
            Record::Resolved { id, .. } => {
                let retry = now + self.timing.retry;
                if let Some(holder) = self.holder.as_mut().filter(|holder| holder.id == id)
                    && let Stage::Resolving(part) = &holder.stage
                {
                    holder.stage = Stage::Prepared(part.clone());
                    holder.due = Some(retry);
                }
            }
            Record::Forgotten { id } => {
                if let Some(decided) = self.decided.get_mut(&id) {
                    decided.keep(now);
                }
            }
        }
    }

    /// Whether that commit has the writer and something of it is being stored.
    fn ends(&self, id: CommitId) -> bool {
        let holder = self.holder.as_ref();
        holder.is_some_and(|holder| {
            let is_storing = matches!(holder.stage, Stage::Preparing(_) | Stage::Deciding);
            holder.id == id && is_storing
        })
    }

    pub(super) fn lost(&mut self, now: Timestamp, id: CommitId, actions: &mut Vec<Action>) {
        let lost = |holder: &mut Holder| holder.id == id && holder.is_loose();
        if let Some(holder) = self.holder.take_if(lost) {
            actions.push(refused(id, Some(holder.ticket), Refusal::Failed));
            self.lend(now, actions);
        }
    }
}
