//! The replicated shards of one keyspace, which commit on several members by their own logs, as one coordinator sees them.
//!
//! ```text
//! records of shards and nodes, registered copies -->  Replication  --> write a shard's record (compare-and-set)
//! verdicts of the detector, reports of copies    -->               --> instruct nodes: create, follow, drop a copy
//! commands of operators, time                    -->               --> events, answers
//!
//! unassigned --first--> changing --activated--> served --primary gone--> without primary --failover--> changing ...
//!                          |  ^                   |                            |
//!                          '--' patience is over  '-- members, hand-over --> changing
//!                       (another attempt)                                      '-- no recovery quorum: waits, or is forced by name
//! ```
//!
//! ```
//! use shardwright_failover::{
//!     replication::{Action, Command, Input, Refused, Replication, Settings},
//!     topology::{KeyspaceName, NodeId, ShardId, Timestamp},
//! };
//!
//! let mut replication = Replication::new(Settings::default(), KeyspaceName::main(), 7)?;
//! let (mut actions, now) = (Vec::new(), Timestamp::default());
//! let (shard, to) = (ShardId::numbered(0), NodeId::new("node-2").unwrap());
//! let command = Command::HandOver { shard, to };
//! replication.handle(now, Input::Command { ticket: 1, command }, &mut actions);
//! assert_eq!(actions, [Action::Answer { ticket: 1, answer: Err(Refused::NotLeading) }]);
//! # Ok::<_, shardwright_failover::replication::InvalidSettings>(())
//! ```
//!
//! Nothing here has to be trusted: an attempt is begun by compare-and-set, the log of the shard decides whether it succeeds, and its primary
//! activates it. Two coordinators that act at once disturb each other, and lose nothing.
//!
//! What it goes by, in this order, for a shard that is served: a primary whose node is drained hands over, some of a node's at once and the
//! others in turn; members that are lost, drained, or away for longer than the grace are replaced by copies that have caught up, in one change;
//! a shard that cannot commit goes on with fewer members, if so many are enough; copies that nobody needs are deleted. A member that is to
//! [move](Move) stays until the copy on the node named has caught up, and then goes as if its node were drained, with that copy in its place.
//! All times count from the beginning of its leadership, and anew after a pause of its own process.
//!
//! A new shard that its record puts [beside](shardwright_topology::ShardRecord::beside) another one has its first copies on the nodes of that
//! one's members, as many as those are, and its first primary where that one's is.
//!
//! Deleting the copies of retired shards is not its task.

mod action;
mod attempt;
mod command;
mod copies;
mod deletion;
mod event;
mod join;
mod leaving;
mod members;
mod moving;
mod nodes;
mod recover;
mod refusal;
mod report;
mod settings;
mod shard;

use std::collections::BTreeMap;

use rand::{SeedableRng, rngs::StdRng};
use shardwright_registry::Stored;
/// The copies that a node vouches for.
pub use shardwright_topology::RegisteredCopies as Registered;
use shardwright_topology::{KeyspaceName, NodeId, ShardId, ShardRecord, ShardState, Timestamp};

pub use self::{
    action::{Action, Command, Input, Instruction},
    deletion::Kept,
    event::{Condition, Event, Purpose},
    moving::{Move, Stage, Standing},
    refusal::Refused,
    report::{CopyReport, Health, Lead},
    settings::{InvalidSettings, Settings, Width},
};
use self::{
    attempt::{Shape, answer_own, settle},
    leaving::Turns,
    nodes::Nodes,
    shard::{Own, Shard, Writing},
};
use crate::Written;

/// The replicated shards of one keyspace, as one coordinator sees them.
#[derive(Debug)]
pub struct Replication {
    settings: Settings,
    keyspace: KeyspaceName,
    is_leading: bool,
    nodes: Nodes,
    shards: BTreeMap<ShardId, Shard>,
    /// How many shards each node is the primary of.
    primaries: BTreeMap<NodeId, usize>,
    /// How many copies are being filled on each node.
    filling: BTreeMap<NodeId, usize>,
    turns: Turns,
    ticked_at: Timestamp,
    rng: StdRng,
}

impl Replication {
    /// Returns a coordinator that knows nothing yet. `seed` draws ids, and is never used twice.
    ///
    /// # Errors
    /// [`InvalidSettings`] if the settings contradict each other.
    pub fn new(
        settings: Settings,
        keyspace: KeyspaceName,
        seed: u64,
    ) -> Result<Self, InvalidSettings> {
        settings.check()?;
        Ok(Self {
            settings,
            keyspace,
            is_leading: false,
            nodes: Nodes::default(),
            shards: BTreeMap::new(),
            primaries: BTreeMap::new(),
            filling: BTreeMap::new(),
            turns: Turns::default(),
            ticked_at: Timestamp::default(),
            rng: StdRng::seed_from_u64(seed),
        })
    }

    /// Returns how a shard stands; only whoever leads finds it out.
    #[must_use]
    pub fn condition(&self, shard: &ShardId) -> Option<Condition> {
        self.shards.get(shard).map(|known| known.condition)
    }

    /// Returns by how many records a copy of a shard is behind its primary; `None` if that is not known.
    #[must_use]
    pub fn lag(&self, shard: &ShardId, node: &NodeId) -> Option<u64> {
        let known = self.shards.get(shard)?;
        let active = known.stored.value.active.as_ref()?;
        let lead = known.lead(&self.nodes, active)?;
        if active.primary.node == *node {
            return Some(0);
        }
        lead.lag(self.nodes.report_of(shard, node)?.replica_id)
    }

    /// Advances on `input`, appending to `actions` what must be done next.
    ///
    /// [`Input::Leading`] comes after all records have been shown once: a copy that was not seen registered is taken for lost. Ticks come
    /// more often than any time of the settings.
    pub fn handle(&mut self, now: Timestamp, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Leading(is_leading) => self.lead(now, is_leading, actions),
            Input::Shard(stored) => self.shard_seen(now, stored, actions),
            Input::ShardGone(id) => self.shard_gone(&id),
            Input::Node(record) => {
                if self.nodes.see(record) {
                    self.attend_all(now, actions);
                }
            }
            Input::NodeGone(id) => {
                self.nodes.forget(&id);
                self.attend_all(now, actions);
            }
            Input::Registered(registered) => {
                let changed = self.nodes.register(registered);
                self.attend(now, changed, actions);
            }
            Input::Verdict(verdict) => {
                self.nodes.judge(verdict);
                self.attend_all(now, actions);
            }
            Input::Copies {
                node,
                incarnation,
                copies,
            } => {
                let shards: Vec<_> = copies.keys().cloned().collect();
                self.nodes.report(&node, incarnation, copies);
                self.attend(now, shards, actions);
            }
            Input::Heir { node, heir } => {
                self.nodes.bequeath(node, heir);
                self.attend_all(now, actions);
            }
            Input::Move { shard, moving } => {
                self.set_moving(&shard, moving);
                self.attend(now, [shard], actions);
            }
            Input::Written { shard, written } => self.written(now, &shard, written, actions),
            Input::Command { ticket, command } => self.command(now, ticket, command, actions),
            Input::Tick => self.tick(now, actions),
        }
    }

    fn lead(&mut self, now: Timestamp, is_leading: bool, actions: &mut Vec<Action>) {
        if self.is_leading == is_leading {
            return;
        }
        (self.is_leading, self.ticked_at) = (is_leading, now);
        self.restart(now);
        if !is_leading {
            for shard in self.shards.values_mut() {
                (shard.condition, shard.moving) = (Condition::Unknown, None);
                answer_own(shard, &Refused::NotLeading, actions);
            }
        }
        self.attend_all(now, actions);
    }

    fn restart(&mut self, now: Timestamp) {
        for shard in self.shards.values_mut() {
            shard.restart(now);
        }
    }

    fn tick(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.settings.patience < now.since(self.ticked_at) {
            // This coordinator was stopped for a while: what it did not hear then says nothing.
            self.restart(now);
        }
        self.ticked_at = now;
        self.attend_all(now, actions);
    }

    fn shard_seen(
        &mut self,
        now: Timestamp,
        stored: Stored<ShardRecord>,
        actions: &mut Vec<Action>,
    ) {
        if stored.value.keyspace != self.keyspace {
            return;
        }
        let id = stored.value.id.clone();
        let Some(shard) = self.shards.get_mut(&id) else {
            self.count_primary(primary_of(&stored.value), 1);
            self.shards.insert(id.clone(), Shard::new(stored, now));
            return self.attend(now, [id], actions);
        };
        if stored.revision < shard.stored.revision {
            return;
        }
        if stored.revision == shard.stored.revision {
            // What was asked for has not happened, and no longer may: the next write takes its place.
            let is_unknown = |own: &Own| matches!(own.writing, Writing::Unknown(_));
            if shard.own.as_ref().is_some_and(is_unknown) {
                answer_own(shard, &Refused::Unavailable { shard: id.clone() }, actions);
            }
            return self.attend(now, [id], actions);
        }
        let before = std::mem::replace(&mut shard.stored, stored);
        let record = shard.stored.value.clone();
        let is_other = |before: &ShardRecord| {
            before.pending != record.pending || before.active != record.active
        };
        if is_other(&before.value) {
            (shard.unserved_since, shard.stuck_since) = (None, None);
            shard.changed_at = now;
        }
        if before.value.active != record.active {
            shard.succeeds();
        }
        settle(shard, self.is_leading, actions);
        if self.is_leading
            && before.value.active != record.active
            && let Some(active) = record.active.as_ref().filter(|_| record.pending.is_none())
        {
            actions.push(Action::Emit(Event::Activated {
                shard: id.clone(),
                epoch: active.epoch,
                from: before.value.primary().cloned(),
                primary: active.primary.node.clone(),
                members: active.members.clone(),
                w: active.w,
            }));
        }
        self.count_primary(primary_of(&before.value), -1);
        self.count_primary(primary_of(&record), 1);
        self.attend(now, [id], actions);
    }

    fn count_primary(&mut self, node: Option<NodeId>, by: isize) {
        if let Some(node) = node {
            let count = self.primaries.entry(node).or_default();
            *count = count.saturating_add_signed(by);
        }
    }

    fn shard_gone(&mut self, id: &ShardId) {
        if let Some(mut shard) = self.shards.remove(id) {
            self.keep_joins(&mut shard, |_| false);
            self.count_primary(primary_of(&shard.stored.value), -1);
            self.turns.forget(id);
        }
    }

    fn written(
        &mut self,
        now: Timestamp,
        id: &ShardId,
        written: Written,
        actions: &mut Vec<Action>,
    ) {
        let Some(shard) = self.shards.get_mut(id) else {
            return;
        };
        let Some(own) = &mut shard.own else {
            return;
        };
        let shard_id = id.clone();
        match written {
            Written::Done(revision) => {
                let (key, value) = (shard.stored.key.clone(), own.record.clone());
                let stored = Stored {
                    key,
                    value,
                    revision,
                };
                return self.shard_seen(now, stored, actions);
            }
            Written::Unknown => own.writing = Writing::Unknown(now + self.settings.resend),
            Written::Refused => {
                answer_own(shard, &Refused::Overtaken { shard: shard_id }, actions);
            }
            Written::Failed => {
                answer_own(shard, &Refused::Unavailable { shard: shard_id }, actions);
            }
        }
        actions.push(Action::Read { shard: id.clone() });
    }

    fn attend_all(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.is_leading {
            let all: Vec<_> = self.shards.keys().cloned().collect();
            self.attend(now, all, actions);
        }
    }

    /// Looks after some shards.
    fn attend(
        &mut self,
        now: Timestamp,
        shards: impl IntoIterator<Item = ShardId>,
        actions: &mut Vec<Action>,
    ) {
        if !self.is_leading {
            return;
        }
        for id in shards {
            let mut next = Some(id);
            while let Some(id) = next.take() {
                if let Some(mut shard) = self.shards.remove(&id) {
                    next = self.next_turn(&shard);
                    self.look_after(now, &mut shard, actions);
                    self.shards.insert(id, shard);
                }
            }
        }
    }

    /// Returns whose turn it is to be handed over after this shard, whose hand-over is over.
    fn next_turn(&mut self, shard: &Shard) -> Option<ShardId> {
        let is_over = shard.own.is_none() && shard.stored.value.pending.is_none();
        is_over.then(|| self.turns.end(shard.id())).flatten()
    }

    fn look_after(&mut self, now: Timestamp, shard: &mut Shard, actions: &mut Vec<Action>) {
        let record = shard.stored.value.clone();
        if record.state == ShardState::Retired {
            return self.keep_joins(shard, |_| false);
        }
        if self.is_writing(now, shard, actions) {
            return;
        }
        if let Some(config) = record.active.as_ref().or(record.pending.as_ref()) {
            shard.observe(now, &self.nodes, config);
            if self.nodes.saw_registry_go_back(&record.id, config) {
                return shard.set_condition(Condition::Frozen, actions);
            }
        }
        match (&record.active, &record.pending) {
            (active, Some(pending)) => {
                if !self.is_hopeless(now, shard, pending) {
                    let epoch = pending.epoch;
                    return shard.set_condition(Condition::Changing { epoch }, actions);
                }
                shard.fails(now, pending);
                match active {
                    Some(active) => self.recover(now, shard, active, actions),
                    None => self.begin_first(now, shard, actions),
                }
            }
            (None, None) => self.begin_first(now, shard, actions),
            (Some(active), None) => match shard.lead(&self.nodes, active).cloned() {
                Some(lead) => {
                    shard.is_served(now, &self.nodes, &lead, &self.settings);
                    self.maintain(now, shard, active, &lead, actions);
                }
                None if self.has_failed(now, shard, active) => {
                    self.recover(now, shard, active, actions);
                }
                None => {
                    if !matches!(shard.condition, Condition::Changing { .. }) {
                        shard.set_condition(Condition::WithoutPrimary, actions);
                    }
                }
            },
        }
    }

    /// Whether it is not known yet what became of a write.
    fn is_writing(&self, now: Timestamp, shard: &mut Shard, actions: &mut Vec<Action>) -> bool {
        let id = shard.id().clone();
        match shard.own.as_mut().map(|own| &mut own.writing) {
            None | Some(Writing::Done) => false,
            Some(Writing::UnderWay) => true,
            Some(Writing::Unknown(until)) => {
                if *until <= now {
                    *until = now + self.settings.resend;
                    actions.push(Action::Read { shard: id });
                }
                true
            }
        }
    }
}

/// The node that has to do with a shard as its primary; nobody has with one that is retired.
fn primary_of(record: &ShardRecord) -> Option<NodeId> {
    let primary = record
        .primary()
        .filter(|_| record.state != ShardState::Retired);
    primary.cloned()
}

#[cfg(test)]
mod tests;
