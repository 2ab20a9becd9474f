//! A licence: which shards one process of a node may serve now.
//!
//! ```text
//! lease, shard records seen -->  Licence  --> write the lease, claim a shard anew
//! writes answered, time     -->           --> serve, step down
//! ```
//!
//! A process serves a shard if three things hold at once: its lease has not ended, on its own clock; the last record of the shard that it
//! saw names this very process as primary; and that record is younger than its lease. The last one is what makes an old record harmless:
//! whoever takes a shard away from a silent node ends the node's lease first, so a node that was cut off and has a lease again
//! holds nothing, whatever its view of the records is. It claims what still names it by compare-and-set, at a new epoch,
//! which fails if its view is old.
//!
//! A licence is about the shards of one keyspace.

use std::collections::{BTreeMap, BTreeSet};

use rand::{SeedableRng, rngs::StdRng};
use shardwright_registry::{
    Election, ElectionAction, Holder, Key, LeaseRecord, LeaseTiming, Revision, Stored, WriteOutcome,
};
use shardwright_topology::{ConfigId, Epoch, Primary, ShardId, ShardRecord, Timestamp};

use crate::{Written, promotion::reclaimed};

/// What happens at a node.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "each is moved once and kept nowhere"
)]
pub enum LicenceEvent {
    /// Its lease was seen.
    Lease(Option<Stored<LeaseRecord>>),
    /// Its lease was to be written.
    LeaseWritten(WriteOutcome),
    /// A shard's record was seen.
    Shard(Stored<ShardRecord>),
    /// A shard's record is gone.
    ShardGone(Key),
    /// A shard was to be claimed.
    ShardWritten {
        /// The key of its record.
        key: Key,
        /// The record that was to be written.
        record: Box<ShardRecord>,
        /// What became of it.
        written: Written,
    },
    /// A later process runs under the node's name.
    Superseded,
    /// The process wants to end. It has stopped serving, or does with the next actions.
    Resign,
    /// Time has passed. At least every third of the hold.
    Tick,
}

/// What a node must do.
#[derive(Debug, Clone, PartialEq)]
pub enum LicenceAction {
    /// Write the lease if it is at `expected`.
    WriteLease {
        /// The revision that it must have; `None` if it must have no value.
        expected: Option<Revision>,
        /// The new value.
        record: LeaseRecord,
    },
    /// Write a shard's record if it is at `expected`.
    WriteShard {
        /// The key of the record.
        key: Key,
        /// The revision that it must have.
        expected: Revision,
        /// The new value.
        record: Box<ShardRecord>,
    },
    /// Read a shard's record.
    ReadShard {
        /// Its key.
        key: Key,
    },
    /// Serve a shard from now on, at an epoch, for as long as [`Licence::may_serve`] says so.
    Serve {
        /// The shard.
        shard: ShardId,
        /// The epoch.
        epoch: Epoch,
    },
    /// Serve a shard no more. One that was lost with the lease is told again if another process turns out to have it.
    StepDown {
        /// The shard.
        shard: ShardId,
        /// The epoch that it was served at.
        epoch: Epoch,
        /// Why.
        reason: StepDownReason,
    },
}

/// Why a node serves a shard no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepDownReason {
    /// Its lease ended on its own clock, or somebody ended it, or it gave it back.
    LeaseEnded,
    /// Another process is the primary, at a later epoch.
    Replaced,
    /// The epoch is old; the node serves the shard at the next one.
    NewEpoch,
    /// The shard is gone.
    Removed,
}

/// Which shards one process of a node may serve.
#[derive(Debug, Clone)]
pub struct Licence {
    me: Primary,
    election: Election,
    /// The revision at which its present term of the lease began: a record of a later one was written in this term.
    since: Option<Revision>,
    timing: LeaseTiming,
    shards: BTreeMap<Key, Known>,
    /// Those that name this node as primary.
    mine: BTreeSet<Key>,
    serving: BTreeMap<ShardId, (Key, Epoch)>,
    /// Those that it served when its lease ended, and whose fate is open.
    lapsed: BTreeMap<Key, (ShardId, Epoch)>,
    rng: StdRng,
    over: bool,
}

/// What is known of one shard.
#[derive(Debug, Clone)]
struct Known {
    stored: Stored<ShardRecord>,
    /// Whether a claim of it is under way, and when the next one may be made.
    claiming: bool,
    claim_at: Timestamp,
}

impl Licence {
    /// Returns the licence of a process that may serve nothing yet. `lease` is the key of the node's lease, `seed` draws ids.
    #[must_use]
    pub fn new(lease: Key, me: Primary, timing: LeaseTiming, seed: u64) -> Self {
        let holder = Holder {
            node: me.node.clone(),
            incarnation: me.incarnation,
        };
        Self {
            election: Election::new(lease, holder, timing),
            since: None,
            me,
            timing,
            shards: BTreeMap::new(),
            mine: BTreeSet::new(),
            serving: BTreeMap::new(),
            lapsed: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
            over: false,
        }
    }

    /// Returns whether the process may serve anything: its lease has not ended.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> bool {
        !self.over && self.election.leads(now).is_some()
    }

    /// Returns the moment at which the lease ends if it is not renewed.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.election.leads_until()
    }

    /// Returns the epoch at which the process may serve a shard at this moment.
    #[must_use]
    pub fn may_serve(&self, now: Timestamp, shard: &ShardId) -> Option<Epoch> {
        let epoch = self.serving.get(shard).map(|(_, epoch)| *epoch);
        epoch.filter(|_| self.holds_at(now))
    }

    /// Returns the shards that it serves while its lease lasts.
    pub fn serving(&self) -> impl Iterator<Item = (&ShardId, Epoch)> {
        self.serving
            .iter()
            .map(|(shard, (_, epoch))| (shard, *epoch))
    }

    /// Returns whether it has given its lease back, as far as it knows.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let holder = self
            .election
            .lease()
            .and_then(|lease| lease.value.holder.as_ref());
        let is_mine = |holder: &Holder| {
            holder.node == self.me.node && holder.incarnation == self.me.incarnation
        };
        self.over && !holder.is_some_and(is_mine)
    }

    /// Returns the node and its process.
    #[must_use]
    pub fn primary(&self) -> &Primary {
        &self.me
    }

    /// Advances on `event`, appending to `actions` what must be done next.
    pub fn handle(
        &mut self,
        now: Timestamp,
        event: LicenceEvent,
        actions: &mut Vec<LicenceAction>,
    ) {
        let mut asked = Vec::new();
        match event {
            LicenceEvent::Lease(lease) => self.election.observe(now, lease, &mut asked),
            LicenceEvent::LeaseWritten(written) => self.election.wrote(now, written, &mut asked),
            LicenceEvent::Shard(stored) => self.see(stored, actions),
            LicenceEvent::ShardGone(key) => {
                self.mine.remove(&key);
                self.shards.remove(&key);
            }
            LicenceEvent::ShardWritten {
                key,
                record,
                written,
            } => self.shard_written(now, key, *record, written, actions),
            LicenceEvent::Superseded | LicenceEvent::Resign => {
                self.over = true;
                self.election.resign(now, &mut asked);
            }
            LicenceEvent::Tick => {}
        }
        self.election.tick(now, &mut asked);
        self.step_down(now, actions);
        for action in asked {
            self.lease_action(action, actions);
        }
        // A term that has just begun makes the grants of the one before void.
        self.step_down(now, actions);
        self.take_up(now, actions);
    }

    fn lease_action(&mut self, action: ElectionAction, actions: &mut Vec<LicenceAction>) {
        match action {
            ElectionAction::Write { expected, record } => {
                actions.push(LicenceAction::WriteLease { expected, record });
            }
            ElectionAction::Lead { .. } => {
                self.since = self.election.lease().map(|lease| lease.revision);
            }
            ElectionAction::StepDown { .. } => self.since = None,
        }
    }

    fn see(&mut self, stored: Stored<ShardRecord>, actions: &mut Vec<LicenceAction>) {
        let newer = |known: &Known| known.stored.revision < stored.revision;
        if self.shards.get(&stored.key).is_none_or(newer) {
            if stored.value.primary() == Some(&self.me.node) {
                self.mine.insert(stored.key.clone());
            } else {
                self.mine.remove(&stored.key);
                if let Some((shard, epoch)) = self.lapsed.remove(&stored.key) {
                    actions.push(LicenceAction::StepDown {
                        shard,
                        epoch,
                        reason: StepDownReason::Replaced,
                    });
                }
            }
        }
        match self.shards.get_mut(&stored.key) {
            Some(known) if stored.revision <= known.stored.revision => {}
            Some(known) => known.stored = stored,
            None => {
                let known = Known {
                    stored: stored.clone(),
                    claiming: false,
                    claim_at: Timestamp::default(),
                };
                self.shards.insert(stored.key, known);
            }
        }
    }

    fn shard_written(
        &mut self,
        now: Timestamp,
        key: Key,
        record: ShardRecord,
        written: Written,
        actions: &mut Vec<LicenceAction>,
    ) {
        if let Some(known) = self.shards.get_mut(&key) {
            known.claiming = false;
            known.claim_at = now + self.timing.renew_every() / 4;
        }
        match written {
            Written::Done(revision) => {
                let stored = Stored {
                    key,
                    value: record,
                    revision,
                };
                self.see(stored, actions);
            }
            Written::Refused | Written::Unknown => actions.push(LicenceAction::ReadShard { key }),
            Written::Failed => {}
        }
    }

    /// The epoch at which the last record seen of a shard lets this process serve it.
    fn granted(&self, stored: &Stored<ShardRecord>) -> Option<Epoch> {
        let since = self.since?;
        let active = stored.value.active.as_ref()?;
        (active.primary == self.me && since < stored.revision).then_some(active.epoch)
    }

    fn step_down(&mut self, now: Timestamp, actions: &mut Vec<LicenceAction>) {
        let held = self.holds_at(now);
        let mut over = Vec::new();
        for (shard, (key, epoch)) in &self.serving {
            let known = self.shards.get(key);
            let granted = known.and_then(|known| self.granted(&known.stored));
            let reason = match known {
                _ if !held => StepDownReason::LeaseEnded,
                None => StepDownReason::Removed,
                Some(_) if granted == Some(*epoch) => continue,
                Some(_) if granted.is_some() => StepDownReason::NewEpoch,
                Some(known) if known.stored.value.primary() == Some(&self.me.node) => {
                    StepDownReason::LeaseEnded
                }
                Some(_) => StepDownReason::Replaced,
            };
            over.push((shard.clone(), *epoch, reason));
        }
        for (shard, epoch, reason) in over {
            let removed = self.serving.remove(&shard);
            if let (StepDownReason::LeaseEnded, Some((key, _))) = (reason, removed) {
                self.lapsed.insert(key, (shard.clone(), epoch));
            }
            actions.push(LicenceAction::StepDown {
                shard,
                epoch,
                reason,
            });
        }
    }

    fn take_up(&mut self, now: Timestamp, actions: &mut Vec<LicenceAction>) {
        if !self.holds_at(now) {
            return;
        }
        let (mut fresh, mut stale) = (Vec::new(), Vec::new());
        for key in &self.mine {
            let Some(known) = self.shards.get(key) else {
                continue;
            };
            let shard = &known.stored.value.id;
            match self.granted(&known.stored) {
                Some(_) if self.serving.contains_key(shard) => {}
                Some(epoch) => fresh.push((key.clone(), shard.clone(), epoch)),
                None if self.may_claim(now, known) => stale.push(key.clone()),
                None => {}
            }
        }
        for (key, shard, epoch) in fresh {
            self.lapsed.remove(&key);
            self.serving.insert(shard.clone(), (key, epoch));
            actions.push(LicenceAction::Serve { shard, epoch });
        }
        for key in stale {
            self.claim(&key, actions);
        }
    }

    /// Whether a shard names this node, and not a later process of it, by a record from before its lease.
    fn may_claim(&self, now: Timestamp, known: &Known) -> bool {
        let active = known.stored.value.active.as_ref();
        let named = active.is_some_and(|active| {
            active.primary.node == self.me.node && active.primary.incarnation <= self.me.incarnation
        });
        named && !known.claiming && known.claim_at <= now
    }

    fn claim(&mut self, key: &Key, actions: &mut Vec<LicenceAction>) {
        let config_id = ConfigId::random(&mut self.rng);
        let Some(known) = self.shards.get_mut(key) else {
            return;
        };
        // One whose log decides is not this machine's to claim.
        if let Ok(record) = reclaimed(&known.stored.value, &self.me, config_id) {
            known.claiming = true;
            actions.push(LicenceAction::WriteShard {
                key: key.clone(),
                expected: known.stored.revision,
                record: Box::new(record),
            });
        }
    }
}

#[cfg(test)]
mod tests;
