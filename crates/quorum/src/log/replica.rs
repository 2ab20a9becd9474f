//! The member of a shard's log: it promises, takes records, and answers once that is durable.

mod durable;
mod showing;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use shardwright_topology::{ConfigId, Epoch, Lsn, NodeId, ReplicaId, Timestamp};

pub use self::durable::{Durable, Ticket, Unclean, Write};
use super::{Action, Answer, Append, Ask, Ballot, Log, Point, Record, Reply, Request};

/// Why a copy is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A write failed: what is durable is unknown.
    Storage,
    /// A primary takes back what is committed, or what it wrote itself: a bug, or a damaged registry.
    Diverged(Lsn),
}

/// How many bytes of payload one message carries, unless a single record has more.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// One copy.
#[derive(Debug, Clone)]
pub struct Replica {
    durable: Durable,
    lease_max: Duration,
    /// Until when higher fences are refused.
    held_until: Timestamp,
    /// The epoch of a fence that was refused, and until when no lower one gets more promises: the refused one is to get through.
    wanted: (Epoch, Timestamp),
    /// What this copy led until it gave its promise.
    gave_way: Option<ConfigId>,
    /// The highest epoch of a configuration that the registry has shown as the active one.
    seen_active: Epoch,
    /// What has been applied, durably: nobody needs it from the log after a restart.
    applied: Lsn,
    /// Up to where the driver was told to apply.
    told: Lsn,
    issued: Ticket,
    persisted: Ticket,
    /// Up to where the log goes once a write is durable.
    appends: VecDeque<(Ticket, Lsn)>,
    durable_lsn: Lsn,
    /// What may be done once a write is durable.
    waiting: VecDeque<(Ticket, Action)>,
    fault: Option<Fault>,
}

impl Replica {
    /// Returns the member that has read back what it kept; `applied` is what its data has applied, durably.
    ///
    /// # Errors
    /// [`Unclean`] if something is missing.
    pub(super) fn open(
        now: Timestamp,
        mut durable: Durable,
        applied: Point,
        lease_max: Duration,
    ) -> Result<Self, Unclean> {
        durable.reconcile(applied)?;
        // Without a promise it has answered nobody yet. Else it may have promised something as long as promises ever are.
        let is_new = durable.promised.is_none();
        let held_until = if is_new { now } else { now + lease_max };
        Ok(Self {
            lease_max,
            held_until,
            wanted: (Epoch::UNASSIGNED, now),
            gave_way: None,
            seen_active: Epoch::UNASSIGNED,
            applied: applied.lsn.min(durable.known_commit),
            told: applied.lsn,
            issued: Ticket::default(),
            persisted: Ticket::default(),
            appends: VecDeque::new(),
            durable_lsn: durable.log.last().lsn,
            waiting: VecDeque::new(),
            fault: None,
            durable,
        })
    }

    /// Returns which copy it is.
    #[must_use]
    pub fn replica_id(&self) -> ReplicaId {
        self.durable.replica_id
    }

    /// Returns whether all that was ever made durable is here.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.durable.clean
    }

    /// Returns the log, as it will be once all writes are durable.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.durable.log
    }

    /// Returns the highest ballot promised, as it will be once all writes are durable.
    #[must_use]
    pub fn promised(&self) -> Option<Ballot> {
        self.durable.promised
    }

    /// Returns the highest record known to be committed.
    #[must_use]
    pub fn known_commit(&self) -> Lsn {
        self.durable.known_commit
    }

    /// Returns the last record that is durable here.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        self.durable_lsn
    }

    /// Returns why the copy is set aside, if it is.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Notes that the registry has shown a configuration as the active one: a registry that later names an earlier one went back.
    pub(super) fn saw_active(&mut self, epoch: Epoch) {
        self.seen_active = epoch.max(self.seen_active);
    }

    /// Returns whether the log begins with a snapshot that has not been applied yet.
    #[must_use]
    pub fn installs(&self) -> bool {
        self.applied() < self.log().base().lsn
    }

    pub(super) fn applied(&self) -> Lsn {
        self.applied
    }

    pub(super) fn issued(&self) -> Ticket {
        self.issued
    }

    pub(super) fn has_persisted(&self, ticket: Ticket) -> bool {
        self.fault.is_none() && self.persisted >= ticket
    }

    /// Returns how long higher fences are refused yet.
    pub(super) fn held_for(&self, now: Timestamp) -> Option<Duration> {
        let left = self.held_until.since(now);
        (left > Duration::ZERO).then_some(left)
    }

    /// Notes that a fence had to be refused: no more is promised to lower epochs, so that it gets through soon,
    /// unless nobody asks for it any more.
    pub(super) fn want(&mut self, now: Timestamp, epoch: Epoch) {
        self.wanted = (epoch.max(self.wanted.0), now + self.lease_max * 2);
    }

    /// Takes in a request, which is answered once all that the answer shows is durable.
    pub(super) fn request(
        &mut self,
        now: Timestamp,
        from: &NodeId,
        call: u64,
        request: Request,
        actions: &mut Vec<Action>,
    ) {
        let (ballot, stamp) = (request.ballot, request.stamp);
        let (asked, is_lease) = (
            request.lease.min(self.lease_max),
            !matches!(request.ask, Ask::Fence | Ask::Fetch(_)),
        );
        let answer = self.answer(now, from, request, actions);
        let mut lease = Duration::ZERO;
        let (wanted, until) = self.wanted;
        let is_last = wanted > ballot.epoch && now < until;
        if is_lease && answer.is_obedient() {
            if asked.is_zero() {
                // The one who is obeyed gives up what was promised. Those before it count on nothing: it has fenced enough others.
                self.release(now);
            } else if !is_last {
                lease = asked;
                self.held_until = self.held_until.max(now + lease);
            }
        }
        let reply = Reply {
            ballot,
            stamp,
            lease,
            replica_id: self.durable.replica_id,
            answer,
        };
        self.later(Action::Reply(call, reply));
    }

    /// Emits what has become due.
    pub(super) fn flush(&mut self, actions: &mut Vec<Action>) {
        let is_due = |(at, _): &&(Ticket, Action)| *at <= self.persisted;
        let due = self.waiting.iter().take_while(is_due).count();
        actions.extend(self.waiting.drain(..due).map(|(_, action)| action));
        if let Some(due) = self.to_apply() {
            self.told = due;
            actions.push(Action::Apply(due));
        }
    }

    /// Returns up to where records are to be applied, if that was not said: so after it was opened.
    pub(super) fn to_apply(&self) -> Option<Lsn> {
        let due = self.durable.known_commit.min(self.durable_lsn);
        (due > self.told && self.fault.is_none()).then_some(due)
    }

    pub(super) fn persisted(&mut self, ticket: Ticket) {
        if self.fault.is_some() {
            return;
        }
        self.persisted = self.persisted.max(ticket);
        while let Some((at, lsn)) = self.appends.front().copied() {
            if at > self.persisted {
                break;
            }
            self.durable_lsn = lsn;
            self.appends.pop_front();
        }
    }

    /// Sets the copy aside: from now on it says no more than that.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.fault = self.fault.or(Some(fault));
        self.persisted = self.issued;
        self.waiting
            .retain(|(_, action)| matches!(action, Action::Reply(..)));
        for (_, action) in &mut self.waiting {
            if let Action::Reply(_, reply) = action {
                reply.answer = Answer::Faulty;
                reply.lease = Duration::ZERO;
            }
        }
    }

    /// Promises the ballot of a fence as the primary that leads a configuration, which nobody leads any more from then on.
    ///
    /// It is answered before that is durable: a process never leads again what it has ceased to lead, whatever its disk forgets.
    pub(super) fn give_way(
        &mut self,
        leads: ConfigId,
        call: u64,
        fence: &Request,
        actions: &mut Vec<Action>,
    ) {
        self.promise(fence.ballot, actions);
        self.gave_way = Some(leads);
        let reply = Reply {
            ballot: fence.ballot,
            stamp: fence.stamp,
            lease: Duration::ZERO,
            replica_id: self.durable.replica_id,
            answer: Answer::Fenced(self.fence_ack()),
        };
        actions.push(Action::Reply(call, reply));
    }

    /// Keeps no promise of a lease any more: its holder has said that it does not count on it.
    pub(super) fn release(&mut self, now: Timestamp) {
        self.held_until = self.held_until.min(now);
    }

    /// Promises a ballot to itself, as a primary to be. It must be higher than any other.
    pub(super) fn promise(&mut self, ballot: Ballot, actions: &mut Vec<Action>) {
        self.durable.promised = Some(ballot);
        self.gave_way = None;
        let promised = Some(ballot);
        let write = Write {
            promised,
            ..Write::default()
        };
        self.persist(write, actions);
    }

    /// Appends what this process created as a primary.
    pub(super) fn append_own(&mut self, records: Vec<Arc<Record>>, actions: &mut Vec<Action>) {
        self.durable.log.extend_verified(&records);
        let write = Write {
            records,
            ..Write::default()
        };
        self.persist(write, actions);
    }

    /// Takes in records that follow a place that is held, truncating what differs (R2). `false` if the copy had to be set aside.
    pub(super) fn take(
        &mut self,
        epoch: Epoch,
        mut records: Vec<Arc<Record>>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let log = &self.durable.log;
        let held = |record: &&Arc<Record>| log.point(record.lsn) == Some(record.point());
        let known = records.iter().take_while(held).count();
        let fresh = records.split_off(known);
        let Some(first) = fresh.first() else {
            return true;
        };
        let agreed = Lsn(first.lsn.0 - 1);
        let truncates = log.last().lsn > agreed;
        if truncates && !self.truncate(epoch, agreed) {
            return false;
        }
        self.durable.log.extend_verified(&fresh);
        let write = Write {
            truncate_after: truncates.then_some(agreed),
            records: fresh,
            ..Write::default()
        };
        self.persist(write, actions);
        true
    }

    /// Drops what follows a place that is held: a new primary adopts a log whole. `false` if the copy had to be set aside.
    pub(super) fn cut(&mut self, epoch: Epoch, agreed: Lsn, actions: &mut Vec<Action>) -> bool {
        if self.durable.log.last().lsn <= agreed {
            return true;
        }
        if !self.truncate(epoch, agreed) {
            return false;
        }
        let truncate_after = Some(agreed);
        let write = Write {
            truncate_after,
            ..Write::default()
        };
        self.persist(write, actions);
        true
    }

    /// Learns that records are committed, which this copy holds.
    pub(super) fn commit(&mut self, lsn: Lsn) {
        self.durable.known_commit = self.durable.known_commit.max(lsn);
    }

    /// Learns that records have been applied, durably, and drops those that nobody needs.
    pub(super) fn applied_up_to(&mut self, lsn: Lsn) {
        self.applied = self.applied.max(lsn.min(self.told));
    }

    /// Drops the records up to `lsn` for their room, as far as they are applied.
    pub(super) fn trim(&mut self, lsn: Lsn, actions: &mut Vec<Action>) {
        let lsn = lsn.min(self.applied).min(self.durable_lsn);
        if lsn > self.durable.log.base().lsn && self.fault.is_none() {
            self.durable.log.trim(lsn);
            let trim = Some(lsn);
            let write = Write {
                trim,
                ..Write::default()
            };
            self.persist(write, actions);
        }
    }

    /// Begins the log anew after a snapshot that is stored aside, unless the log reaches it.
    pub(super) fn install(&mut self, base: Point, actions: &mut Vec<Action>) {
        let log = &self.durable.log;
        let is_older = base.lsn <= self.durable.known_commit;
        if self.fault.is_some() || is_older || log.point(base.lsn) == Some(base) {
            return;
        }
        self.durable.log = Log::from_base(base);
        self.durable.known_commit = base.lsn;
        self.durable_lsn = Lsn(0);
        self.appends.clear();
        let write = Write {
            base: Some(base),
            ..Write::default()
        };
        self.persist(write, actions);
        (self.told, self.applied) = (base.lsn, base.lsn);
        self.later(Action::Install(base));
    }

    /// Nothing is done before all that came earlier is durable: an answer may show it.
    fn later(&mut self, action: Action) {
        self.waiting.push_back((self.issued, action));
    }

    fn persist(&mut self, mut write: Write, actions: &mut Vec<Action>) {
        self.issued.0 += 1;
        write.known_commit = self.durable.known_commit;
        self.appends
            .push_back((self.issued, self.durable.log.last().lsn));
        actions.push(Action::Persist(self.issued, write));
    }

    fn answer(
        &mut self,
        now: Timestamp,
        from: &NodeId,
        request: Request,
        actions: &mut Vec<Action>,
    ) -> Answer {
        let ballot = request.ballot;
        let is_fence = matches!(request.ask, Ask::Fence | Ask::Fetch(_));
        if self.fault.is_some() || (!self.durable.clean && !is_fence) {
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
                // A lease holds against fences alone: whoever sends anything else has fenced enough others, or is the holder.
                if let Some(left) = self.held_for(now).filter(|_| is_fence) {
                    self.want(now, ballot.epoch);
                    return Answer::Held(left);
                }
                self.promise(ballot, actions);
            }
        }
        match request.ask {
            Ask::Fence => Answer::Fenced(self.fence_ack()),
            Ask::Fetch(after) => self.fetch(after),
            Ask::Append(append) => self.append(ballot.epoch, append, actions),
            Ask::Snapshot(base) => self.offered(from, base, actions),
            Ask::Ping => Answer::Pong,
        }
    }

    fn offered(&mut self, from: &NodeId, base: Point, actions: &mut Vec<Action>) -> Answer {
        let held = self.durable.log.point(base.lsn);
        if held == Some(base) {
            return Answer::Appended(base.lsn);
        }
        if base.lsn <= self.durable.known_commit {
            return self.differs([base]);
        }
        let from = from.clone();
        actions.push(Action::FetchSnapshot { from });
        Answer::Installing
    }

    fn append(&mut self, epoch: Epoch, append: Append, actions: &mut Vec<Action>) -> Answer {
        let holds_prev = self.durable.log.point(append.prev.lsn) == Some(append.prev);
        let verified = match Log::verify(append.prev, &append.records) {
            Ok(end) if holds_prev && end.epoch <= epoch => end.lsn,
            Ok(_) => {
                let records = append.records.iter().map(|record| record.point());
                return self.differs(records.chain([append.prev]));
            }
            Err(_) => return self.diverged(),
        };
        if !self.take(epoch, append.records, actions) {
            return Answer::Faulty;
        }
        // Only what was verified counts: more may be held here that the primary does not have.
        self.commit(append.commit.min(verified));
        self.trim(append.trim, actions);
        Answer::Appended(verified)
    }

    /// Truncates, unless that takes back what must stay.
    fn truncate(&mut self, epoch: Epoch, agreed: Lsn) -> bool {
        let log = &self.durable.log;
        // One primary writes an epoch: it never takes back what it sent, and nobody takes back what is committed.
        if log.last().epoch == epoch || agreed < self.durable.known_commit {
            self.fail(Fault::Diverged(agreed));
            return false;
        }
        self.durable.log.truncate_after(agreed);
        self.durable_lsn = self.durable_lsn.min(agreed);
        for (_, lsn) in &mut self.appends {
            *lsn = agreed.min(*lsn);
        }
        true
    }
}

/// Returns records of a log after a place, so many as one message carries.
pub(super) fn some_after(log: &Log, lsn: Lsn) -> Vec<Arc<Record>> {
    let mut bytes = 0;
    let fits = |record: &&Arc<Record>| {
        let before = bytes;
        bytes += record.size();
        before == 0 || bytes <= BYTES_MAX
    };
    let records = log.after(lsn).into_iter().flatten();
    records.take_while(fits).cloned().collect()
}

#[cfg(test)]
mod tests;
