//! A shard: the participant of production, a simulated file under it, and what is being written to that.

use std::collections::BTreeMap;

use shardwright_sql::commit::{
    Action, Answer, CommitId, Event, Message, Participant, Record, Ticket,
};
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::Timestamp;

use super::{
    Commits, HOLD, Missing, Said, TIMING, Token,
    file::{Entry, File},
    party, pid,
};

/// A shard.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) file: File,
    pub(super) machine: Participant,
    /// The open transaction.
    open: Option<Open>,
    /// What is being written, in its order, and whether the machine waits for it.
    writing: BTreeMap<u64, (Entry, bool)>,
    written: u64,
    wake_at: Option<Timestamp>,
    /// The revision of the shard map that its node knows.
    revision: u64,
    pub(super) sealing: bool,
    terms: u64,
}

#[derive(Debug)]
struct Open {
    id: CommitId,
    ticket: Ticket,
    balance: Option<i64>,
}

impl Shard {
    pub(super) fn new(at: Pid, balance: i64) -> Self {
        Self {
            file: File::new(balance),
            machine: Participant::new(party(at), 0, 0, TIMING),
            open: None,
            writing: BTreeMap::new(),
            written: 0,
            wake_at: None,
            revision: 0,
            sealing: false,
            terms: 0,
        }
    }
}

impl Commits {
    /// A shard starts, for the first time or again: of what was being written, some was.
    pub(super) fn start_shard(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let shard = &mut self.shards[at.0];
        let writing = std::mem::take(&mut shard.writing);
        let survives = sim.dice().count(0..=writing.len());
        for (entry, _) in writing.into_values().take(survives) {
            self.write(sim, at, entry);
        }
        self.restart_shard(sim, at);
    }

    /// Gives a shard a fresh machine, from what its file says.
    fn restart_shard(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let (now, missing) = (sim.now(at), self.missing);
        let shard = &mut self.shards[at.0];
        if missing == Some(Missing::PreparedIsFound) {
            shard.file.prepared = None;
        }
        if missing == Some(Missing::DecidedIsFound) {
            shard.file.decided.clear();
        }
        (shard.open, shard.wake_at, shard.sealing) = (None, None, false);
        shard.writing.clear();
        shard.terms += 1;
        let prepared = shard.file.prepared.as_ref().map(|(part, _)| part.clone());
        let decided = shard.file.decided.clone();
        if prepared.is_some() {
            sim.mark("a shard starts with a prepared part");
        }
        if !decided.is_empty() {
            sim.mark("a shard starts with a decision");
        }
        let machine = Participant::new(party(at), shard.terms, shard.revision, TIMING);
        shard.machine = machine.recovered(now, prepared, decided);
        self.feed(sim, at, Event::Tick);
    }

    pub(super) fn said_to_shard(&mut self, sim: &mut Sim<Self>, at: Pid, from: Pid, said: Said) {
        match said {
            Said::Request(message) => self.request(sim, at, message),
            Said::Run { id, ticket, amount } => {
                let is_done = self.run(at, id, ticket, amount);
                let shard = party(at);
                sim.send(at, from, Said::Ran { id, shard, is_done });
            }
            Said::Count { read } => {
                let (shard, count) = (party(at), self.shards[at.0].file.count());
                sim.send(at, from, Said::Counted { read, shard, count });
            }
            Said::Look { read } => {
                let file = &self.shards[at.0].file;
                let looked = Said::Looked {
                    read,
                    shard: party(at),
                    listing: file.listing(),
                    balance: file.balance,
                };
                sim.send(at, from, looked);
            }
            Said::Answer { .. } | Said::Ran { .. } | Said::Counted { .. } | Said::Looked { .. } => {
            }
        }
    }

    fn request(&mut self, sim: &mut Sim<Self>, at: Pid, message: Message) {
        if let (Message::Inquire { id, from, .. }, Some(Missing::QuestionEndsTicket)) =
            (&message, self.missing)
            && !self.shards[at.0].file.decided.contains_key(id)
        {
            let told = Message::Resolve {
                id: *id,
                verdict: shardwright_sql::commit::Verdict::Abort,
                from: party(at),
            };
            return sim.send(at, pid(from), Said::Request(told));
        }
        self.feed(sim, at, Event::Message(message));
    }

    /// Runs a statement: the account changes by an amount, and must not fall below zero.
    fn run(&mut self, at: Pid, id: CommitId, ticket: Ticket, amount: i64) -> bool {
        let shard = &mut self.shards[at.0];
        let balance = shard.file.balance + amount;
        match &mut shard.open {
            Some(open) if open.id == id && open.ticket == ticket && balance >= 0 => {
                open.balance = Some(balance);
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn feed(&mut self, sim: &mut Sim<Self>, at: Pid, event: Event) {
        let now = sim.now(at);
        let mut actions = Vec::new();
        self.shards[at.0].machine.handle(now, event, &mut actions);
        for action in actions {
            sim.trace(|| format!("{at} -> {action:?}"));
            self.carry_out(sim, at, action);
        }
        self.sleep(sim, at);
        self.maybe_replace(sim, at);
        if sim.is_faulty() && sim.dice().rarely(8) && sim.is_up(at) {
            sim.crash(at);
            sim.plan(HOLD / 3, Token::Restart(at));
        }
    }

    fn carry_out(&mut self, sim: &mut Sim<Self>, at: Pid, action: Action) {
        let shard = &mut self.shards[at.0];
        match action {
            Action::Open(id, ticket) => {
                shard.open = Some(Open {
                    id,
                    ticket,
                    balance: None,
                });
            }
            Action::Undo(id) => drop(shard.open.take_if(|open| open.id == id)),
            Action::Store(record) => self.store(sim, at, record),
            Action::Answer(id, answer) => {
                note_answer(sim, answer);
                let caller = super::author(id);
                let shard = party(at);
                sim.send(at, caller, Said::Answer { id, shard, answer });
            }
            Action::Send(to, message) => {
                if matches!(message, Message::Inquire { .. }) {
                    sim.mark("a participant asks for the outcome");
                    if self.missing == Some(Missing::Ask) {
                        return;
                    }
                }
                sim.send(at, pid(&to), Said::Request(message));
            }
        }
    }

    /// Begins to write a record.
    fn store(&mut self, sim: &mut Sim<Self>, at: Pid, record: Record) {
        let shard = &mut self.shards[at.0];
        let balance = match &record {
            Record::Prepared(_) | Record::Decided { .. } => {
                let open = shard.open.take();
                open.and_then(|open| open.balance)
                    .unwrap_or(shard.file.balance)
            }
            Record::Resolved { .. } | Record::Forgotten { .. } => 0,
        };
        let is_early = matches!(
            (&record, self.missing),
            (Record::Prepared(_), Some(Missing::PreparedIsDurable))
                | (Record::Decided { .. }, Some(Missing::DecidedIsDurable))
                | (Record::Resolved { .. }, Some(Missing::ResolvedIsDurable))
        );
        shard.written += 1;
        let number = shard.written;
        let entry = Entry {
            record: record.clone(),
            balance,
        };
        shard.writing.insert(number, (entry, !is_early));
        let delay = sim.dice().time(&(HOLD / 200..=HOLD / 20));
        sim.wake(at, sim.now(at) + delay, Token::Written(number));
        if is_early {
            self.feed(sim, at, Event::Stored(record));
        }
    }

    /// A write has ended, and with it all that were begun before.
    pub(super) fn written(&mut self, sim: &mut Sim<Self>, at: Pid, number: u64) {
        let shard = &mut self.shards[at.0];
        let later = shard.writing.split_off(&(number + 1));
        for (entry, is_awaited) in std::mem::replace(&mut shard.writing, later).into_values() {
            let record = entry.record.clone();
            if is_awaited && sim.is_faulty() && sim.dice().rarely(50) {
                sim.mark("a record is not stored");
                self.feed(sim, at, Event::NotStored(record));
                continue;
            }
            self.write(sim, at, entry);
            if is_awaited {
                self.feed(sim, at, Event::Stored(record.clone()));
                self.forget_early(sim, at, record);
            }
        }
    }

    /// Says of a decision that it is needed no more, where a rule is left out.
    fn forget_early(&mut self, sim: &mut Sim<Self>, at: Pid, record: Record) {
        let Record::Decided { id, participants } = record else {
            return;
        };
        match self.missing {
            Some(Missing::KeptForParticipants) => {
                for from in participants {
                    let acknowledged = Message::Acknowledge { id, from };
                    self.feed(sim, at, Event::Message(acknowledged));
                }
            }
            Some(Missing::KeptForCaller) => {
                self.feed(sim, at, Event::Message(Message::Heard { id }));
            }
            _ => {}
        }
    }

    fn write(&mut self, sim: &mut Sim<Self>, at: Pid, entry: Entry) {
        if matches!(entry.record, Record::Forgotten { .. }) {
            sim.mark("a decision is forgotten");
        }
        let me = party(at);
        if let Some(shown) = self.shards[at.0].file.write(&me, entry) {
            self.history.shown(sim, &me, shown);
        }
    }

    /// Sets the next timer, if it is earlier than the one that is set.
    fn sleep(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let shard = &mut self.shards[at.0];
        if let Some(due) = shard.machine.next_wake()
            && shard.wake_at.is_none_or(|set| due < set)
        {
            shard.wake_at = Some(due);
            sim.wake(at, due, Token::Tick);
        }
    }

    pub(super) fn tick_shard(&mut self, sim: &mut Sim<Self>, at: Pid) {
        self.shards[at.0].wake_at = None;
        self.feed(sim, at, Event::Tick);
        let machine = &self.shards[at.0].machine;
        if let Some((id, since)) = machine.held()
            && machine.unresolved() == machine.undelivered().count()
            && since + HOLD < sim.now(at)
        {
            self.history
                .breaks(format!("{id} has the writer of {at} since {since}"));
        }
    }

    /// A shard is to be replaced by another one over the same range.
    pub(super) fn seal(&mut self, sim: &mut Sim<Self>, at: Pid) {
        if sim.is_up(at) && !sim.is_paused(at) {
            self.shards[at.0].sealing = true;
            self.feed(sim, at, Event::Seal);
            if self.shards[at.0].sealing {
                sim.mark("a seal waits for what is unresolved");
            }
        }
    }

    /// Replaces a sealed shard, when nothing of it is unresolved: the rows and their history go over, open commits do not.
    fn maybe_replace(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let shard = &mut self.shards[at.0];
        let is_free = shard.machine.unresolved() == 0 || self.missing == Some(Missing::SealWaits);
        if !shard.sealing || !is_free {
            return;
        }
        sim.mark("a shard is replaced");
        shard.sealing = false;
        shard.file.prepared = None;
        shard.file.decided.clear();
        self.revision += 1;
        shard.revision = self.revision;
        self.restart_shard(sim, at);
    }
}

fn note_answer(sim: &mut Sim<Commits>, answer: Answer) {
    use shardwright_sql::commit::Refusal;
    match answer {
        Answer::Refused {
            refusal: Refusal::Wounded,
            ..
        } => sim.mark("an older commit wounds a younger one"),
        Answer::Refused {
            refusal: Refusal::Recovered,
            ..
        } => sim.mark("a question ends a ticket"),
        Answer::Refused {
            refusal: Refusal::Stale,
            ..
        } => sim.mark("a commit was planned for another map"),
        Answer::Refused {
            refusal: Refusal::Expired,
            ..
        } => sim.mark("a commit holds a writer for too long"),
        Answer::Refused {
            refusal: Refusal::Gone,
            ..
        } => sim.mark("a ticket is gone"),
        Answer::Enlisted(_) | Answer::Prepared | Answer::Committed | Answer::Refused { .. } => {}
    }
}
