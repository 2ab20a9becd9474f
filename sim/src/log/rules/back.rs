//! What must hold once the registry has lost its latest writes: whatever it hands out from then on comes to nothing, until somebody has
//! brought it forward (I21).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shardwright_quorum::log::{Durable, Report, Write};
use shardwright_testkit::sim::Pid;
use shardwright_topology::{Config, ConfigId, Epoch, Incarnation, ShardRecord};

use super::Rules;
use crate::log::{Node, pid};

/// How many of its latest writes the registry loses, at most.
const LOST_MAX: usize = 12;

/// By how much an operator raises the epoch: above all that the registry may have handed out in writes that it lost.
const RAISE: u64 = 100;

/// What is known of a registry that went back.
#[derive(Default)]
pub(super) struct Back {
    /// What it said, the latest last.
    history: VecDeque<ShardRecord>,
    /// The epoch of the configuration that it named as the active one once it had gone back.
    to: Option<Epoch>,
    /// The epoch at which an operator brought it forward.
    forward: Option<Epoch>,
    /// What it handed out meanwhile.
    void: BTreeSet<ConfigId>,
}

impl Back {
    /// Notes what the registry says.
    pub(super) fn says(&mut self, record: &ShardRecord) {
        self.history.push_back(record.clone());
        if self.history.len() > LOST_MAX + 1 {
            self.history.pop_front();
        }
    }

    /// Notes that a configuration is handed out. Returns whether it must come to nothing.
    pub(super) fn is_void(&mut self, config: &Config, is_back: bool) -> bool {
        if is_back {
            self.void.insert(config.config_id);
        }
        self.void.contains(&config.config_id)
    }
}

impl Rules {
    /// The earlier states of the registry that the copies must notice, if it goes back to one of them.
    ///
    /// They cannot notice each: a copy tells what it has kept, and a primary that goes on in another configuration asks nobody. So enough
    /// members of the configuration that was active then have to know of a later one, durably, and whoever was to be the primary then has
    /// to have heard of a later attempt. One who accepts a loss asks nobody either.
    pub(in crate::log) fn earlier(&self, nodes: &BTreeMap<Pid, Node>) -> Vec<ShardRecord> {
        let is_known = |record: &&ShardRecord| self.is_noticed(nodes, record);
        let is_possible = self.loss.accepted.is_empty() && self.back.to.is_none();
        let history = self.back.history.iter().filter(|_| is_possible);
        history.filter(is_known).cloned().collect()
    }

    fn is_noticed(&self, nodes: &BTreeMap<Pid, Node>, record: &ShardRecord) -> bool {
        let (Some(before), Some(active)) = (&record.active, &self.active) else {
            return false;
        };
        let is_over = |config: &Config| {
            let node = &nodes[&pid(&config.primary.node)];
            let machine = node.machine.as_ref();
            let promised = machine.and_then(|machine| machine.replica().promised());
            config.primary.incarnation != Incarnation(node.life.into())
                || promised.is_some_and(|promised| promised.epoch > config.epoch)
        };
        let members = before.members.iter();
        let listed = members.filter_map(|member| {
            let node = &nodes[&pid(&member.node)];
            (node.replica_id == member.replica_id).then_some(node)
        });
        let knows = |node: &&Node| known_active(&node.synced) > before.epoch;
        let (aware, unaware): (Vec<&Node>, Vec<&Node>) = listed.partition(knows);
        let whole = aware.iter().chain(&unaware);
        let whole = whole.filter(|node| node.is_whole() && !self.is_lost(node.replica_id));
        let whole = whole.count();
        let quorum = before.recovery_quorum();
        before.epoch < active.epoch
            && unaware.len() < quorum
            && whole >= quorum
            && record.active.iter().chain(&record.pending).all(is_over)
    }

    /// Notes that the registry goes back.
    pub(in crate::log) fn goes_back(&mut self, record: &ShardRecord) {
        self.back.to = Some(record.active_epoch());
    }

    /// Whether the registry has gone back, and nobody has brought it forward yet.
    pub(in crate::log) fn is_back(&self) -> bool {
        self.back.to.is_some() && self.back.forward.is_none()
    }

    /// What the registry has to say to be forward again: the configuration that was activated last, which the events tell, and an epoch well
    /// above all that the copies have promised.
    pub(in crate::log) fn comes_forward(
        &mut self,
        nodes: &BTreeMap<Pid, Node>,
        record: &ShardRecord,
    ) -> ShardRecord {
        let promised = nodes.values().flat_map(|node| {
            let machine = node.machine.as_ref();
            let issued = machine.and_then(|machine| machine.replica().promised());
            issued.into_iter().chain(node.synced.promised)
        });
        let highest = promised.map(|promised| promised.epoch).max();
        let highest = highest.unwrap_or_default().max(record.epoch);
        let epoch = Epoch(highest.0 + RAISE);
        self.back.forward = Some(epoch);
        ShardRecord {
            epoch,
            active: self.active.clone(),
            pending: None,
            ..record.clone()
        }
    }

    /// Whether a report is about the writes that the registry lost.
    pub(in crate::log) fn is_of_lost_writes(&self, report: &Report) -> bool {
        let back = &self.back;
        match report {
            Report::RegistryWentBack { registry, .. } => back.to == Some(*registry),
            Report::TwoConfigs(epoch) => {
                back.to.is_some() && back.forward.is_none_or(|forward| *epoch < forward)
            }
            _ => false,
        }
    }

    /// Looks at records that a copy writes: none of them begins what the registry handed out after it went back.
    pub(super) fn begins_nothing_void(&mut self, node: &Node, at: Pid, write: &Write) {
        let machine = node.machine.as_ref();
        let promised = machine.and_then(|machine| machine.replica().promised());
        let Some(promised) = promised.filter(|it| self.back.void.contains(&it.config_id)) else {
            return;
        };
        if write.records.iter().any(|it| it.epoch == promised.epoch) {
            let epoch = promised.epoch;
            self.breaks(|| format!("{at} begins {epoch} after the registry went back (I21)"));
        }
    }
}

/// The last epoch of which a copy knows for ever that it was active.
fn known_active(copy: &Durable) -> Epoch {
    let committed = copy.log.point(copy.known_commit);
    committed.unwrap_or(copy.log.base()).epoch
}
