//! The member of a shard's log, as a pure machine: it promises, takes records, and answers once that is durable.

use std::collections::VecDeque;

use shardwright_topology::{Epoch, Lsn, ReplicaId, Timestamp};

use super::{Answer, Append, Ask, Ballot, FenceAck, Log, Record, Reply, Request};

/// Numbers the writes of a member; they become durable in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// What a copy keeps across restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// The copy. A copy that may have lost something has a new id.
    pub replica_id: ReplicaId,
    /// The highest ballot promised.
    pub promised: Option<Ballot>,
    /// The records.
    pub log: Log,
    /// The highest record known to be committed.
    pub known_commit: Lsn,
}

/// A change to what is kept: atomic in effect, the fields in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The promise to keep.
    pub promised: Option<Ballot>,
    /// Drop the records after this one first.
    pub truncate_after: Option<Lsn>,
    /// Append these.
    pub records: Vec<Record>,
    /// The highest record known to be committed before this write: a hint, which may lag.
    pub known_commit: Lsn,
}

/// What happens to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something is asked; `call` comes back with the answer.
    Request {
        /// Names the request to the driver.
        call: u64,
        /// What is asked.
        request: Request,
    },
    /// All writes up to this one are durable.
    Persisted(Ticket),
    /// A write failed: what is durable is unknown. It is never retried.
    PersistFailed,
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make this durable, in the order of the tickets, and report it.
    Persist(Ticket, Write),
    /// Answer a request.
    Reply(u64, Reply),
    /// Apply the records up to and with this one.
    Apply(Lsn),
}

/// The machine of a member.
#[derive(Debug, Clone)]
pub struct Replica {
    durable: Durable,
    issued: Ticket,
    persisted: Ticket,
    /// What may be done once a write is durable.
    waiting: VecDeque<(Ticket, Action)>,
    is_faulty: bool,
}

impl Replica {
    /// Returns the member that has read back what it kept.
    #[must_use]
    pub fn new(durable: Durable) -> Self {
        Self {
            durable,
            issued: Ticket::default(),
            persisted: Ticket::default(),
            waiting: VecDeque::new(),
            is_faulty: false,
        }
    }

    /// Takes in an event.
    pub fn handle(&mut self, _now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Request { call, request } => {
                let epoch = request.ballot.epoch;
                let before = self.durable.known_commit;
                let answer = self.answer(request, actions);
                let replica_id = self.durable.replica_id;
                let reply = Reply {
                    epoch,
                    replica_id,
                    answer,
                };
                self.later(Action::Reply(call, reply));
                if self.durable.known_commit > before {
                    self.later(Action::Apply(self.durable.known_commit));
                }
            }
            Event::Persisted(ticket) => self.persisted = self.persisted.max(ticket),
            Event::PersistFailed => self.fail(),
        }
        let is_due = |(at, _): &&(Ticket, Action)| *at <= self.persisted;
        let due = self.waiting.iter().take_while(is_due).count();
        actions.extend(self.waiting.drain(..due).map(|(_, action)| action));
    }

    /// Returns whether the copy is set aside.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        self.is_faulty
    }

    /// Nothing is done before all that came earlier is durable: an answer may show it.
    fn later(&mut self, action: Action) {
        self.waiting.push_back((self.issued, action));
    }

    fn fail(&mut self) {
        self.is_faulty = true;
        self.persisted = self.issued;
        self.waiting
            .retain(|(_, action)| matches!(action, Action::Reply(..)));
        for (_, action) in &mut self.waiting {
            if let Action::Reply(_, reply) = action {
                reply.answer = Answer::Faulty;
            }
        }
    }

    fn answer(&mut self, request: Request, actions: &mut Vec<Action>) -> Answer {
        let ballot = request.ballot;
        if self.is_faulty {
            return Answer::Faulty;
        }
        match self.durable.promised {
            Some(promised) if ballot.epoch < promised.epoch => {
                return Answer::StaleEpoch(promised.epoch);
            }
            Some(promised) if ballot.epoch == promised.epoch => {
                if ballot.config_id != promised.config_id {
                    return Answer::OtherConfig(promised.config_id);
                }
            }
            _ => {
                self.durable.promised = Some(ballot);
                self.persist(Some(ballot), None, Vec::new(), actions);
            }
        }
        match request.ask {
            Ask::Fence => Answer::Fenced(self.fence_ack()),
            Ask::Append(append) => self.append(ballot.epoch, append, actions),
            Ask::Ping(number) => Answer::Pong(number),
        }
    }

    fn persist(
        &mut self,
        promised: Option<Ballot>,
        truncate_after: Option<Lsn>,
        records: Vec<Record>,
        actions: &mut Vec<Action>,
    ) {
        self.issued.0 += 1;
        let write = Write {
            promised,
            truncate_after,
            records,
            known_commit: self.durable.known_commit,
        };
        actions.push(Action::Persist(self.issued, write));
    }

    fn fence_ack(&self) -> FenceAck {
        let Durable {
            log, known_commit, ..
        } = &self.durable;
        let committed = log.point(*known_commit).unwrap_or(log.base());
        FenceAck {
            last: log.last(),
            epoch_table: log.epoch_table(),
            known_commit: *known_commit,
            highest_active_epoch_seen: committed.epoch,
        }
    }

    fn append(&mut self, epoch: Epoch, append: Append, actions: &mut Vec<Action>) -> Answer {
        let log = &self.durable.log;
        let diverged = Answer::Diverged {
            epoch_table: log.epoch_table(),
            last: log.last(),
        };
        let mut sent = Log::from_base(append.prev);
        let whole = sent.extend(append.records.iter().cloned()).is_ok();
        if log.point(append.prev.lsn) != Some(append.prev) || !whole || sent.last().epoch > epoch {
            return diverged;
        }
        let held = |record: &&Record| log.point(record.lsn) == Some(record.point());
        let known = append.records.iter().take_while(held).count();
        let mut records = append.records;
        let fresh = records.split_off(known);
        if let Some(first) = fresh.first() {
            let agreed = Lsn(first.lsn.0 - 1);
            let truncates = log.last().lsn > agreed;
            // One primary writes an epoch: it never takes back what it sent, and nobody takes back what is committed.
            let taken_back = log.last().epoch == epoch || agreed < self.durable.known_commit;
            if truncates && taken_back {
                self.fail();
                return Answer::Faulty;
            }
            self.durable.log.truncate_after(agreed);
            if self.durable.log.extend(fresh.iter().cloned()).is_err() {
                self.fail();
                return Answer::Faulty;
            }
            self.persist(None, truncates.then_some(agreed), fresh, actions);
        }
        // Only what was verified counts: more may be held here that the primary does not have.
        let verified = sent.last().lsn;
        let commit = append.commit.min(verified);
        self.durable.known_commit = self.durable.known_commit.max(commit);
        Answer::Appended(verified)
    }
}

#[cfg(test)]
mod tests;
