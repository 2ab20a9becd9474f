//! What nodes report of their copies, and which writes they really have.
//!
//! A primary acknowledges a write when every replica for which it waits has it. A replica is waited for from before it reports to be in
//! sync until a report that says otherwise is stored. A process that starts has an empty disk.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_failover::{Copies, Copy, Input, Reports};
use shardwright_registry::{Key, Prefix, Revision, Stored};
use shardwright_testkit::sim::{Outcome, Pid, Sim, Write};
use shardwright_topology::{Epoch, Incarnation, Lsn, NodeId, ShardId, ShardRecord};

use super::{COORDINATORS, Library, Missing, NODES, SHARDS, Token, Value, node_id, process};

/// Who has which writes, and what is said of it.
#[derive(Default)]
pub(super) struct Writes {
    nodes: BTreeMap<Pid, Reporting>,
    /// The replicas for which the primary of a shard waits.
    awaited: BTreeSet<(ShardId, Pid)>,
    /// The processes that lack a write that was acknowledged.
    behind: BTreeSet<(ShardId, NodeId, Incarnation)>,
    /// The primary of each shard, and how often it may have lost writes.
    primaries: BTreeMap<ShardId, (NodeId, u64)>,
    /// What a coordinator read when it started.
    first_read: BTreeMap<Pid, Reports>,
}

/// The report of one node.
#[derive(Default)]
struct Reporting {
    says: BTreeMap<ShardId, Copy>,
    /// Whether a call to the store is under way, and whether the store has what it says.
    is_calling: bool,
    is_stored: bool,
}

fn shards() -> impl Iterator<Item = ShardId> {
    (0..SHARDS).map(ShardId::numbered)
}

fn report_key(at: Pid) -> Key {
    Key::new(format!("copy/main/{}", node_id(at))).expect("a key")
}

fn reports_prefix() -> Prefix {
    Prefix::new("copy/main/").expect("a prefix")
}

fn read(entries: Vec<Stored<Value>>, revision: Revision) -> Reports {
    let copies = entries.into_iter().filter_map(|stored| match stored.value {
        Value::Copies(copies) => Some((copies.node.clone(), copies)),
        Value::Lease(_) | Value::Shard(_) => None,
    });
    Reports {
        copies: copies.collect(),
        revision,
    }
}

impl Library {
    /// A process begins with an empty disk, and takes back what the one before it reported.
    pub(super) fn start_reports(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let copy = |shard: ShardId| {
            let copy = Copy {
                epoch: Epoch(1),
                position: Lsn(at.0 as u64),
                in_sync: false,
            };
            (shard, copy)
        };
        let reporting = Reporting {
            says: shards().map(copy).collect(),
            ..Reporting::default()
        };
        self.writes.nodes.insert(at, reporting);
        let me = (node_id(at), process(sim, at));
        for shard in shards().filter(|_| 1 < sim.life(at)) {
            self.writes.behind.insert((shard, me.0.clone(), me.1));
        }
        self.report(sim, at);
    }

    /// Stores what a node says, if the store has not got it.
    fn report(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let Some(reporting) = self.writes.nodes.get_mut(&at) else {
            return;
        };
        if !reporting.is_calling && !reporting.is_stored {
            reporting.is_calling = true;
            sim.get(at, Token::Report, report_key(at));
        }
    }

    pub(super) fn report_found(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        found: Option<Option<Stored<Value>>>,
    ) {
        let me = process(sim, at);
        let keeps = self.mutation == Some(Missing::ReportsOfOneProcess);
        let Some(reporting) = self.writes.nodes.get_mut(&at) else {
            return;
        };
        reporting.is_calling = false;
        let Some(found) = found else {
            return;
        };
        if let Some(Value::Copies(before)) = found.as_ref().map(|stored| &stored.value)
            && before.incarnation < me
            && keeps
        {
            reporting.says = before.copies.clone();
        }
        reporting.is_calling = true;
        let copies = Copies {
            node: node_id(at),
            incarnation: me,
            copies: reporting.says.clone(),
        };
        let write = Write {
            key: report_key(at),
            expected: found.map(|stored| stored.revision),
            value: Some(Value::Copies(copies)),
        };
        self.write(sim, at, Token::Report, write);
    }

    pub(super) fn report_written(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        outcome: &Outcome<Value>,
    ) {
        let Some(reporting) = self.writes.nodes.get_mut(&at) else {
            return;
        };
        reporting.is_calling = false;
        if !matches!(outcome, Outcome::Done(_)) {
            return self.report(sim, at);
        }
        reporting.is_stored = true;
        for (shard, copy) in &reporting.says {
            if !copy.in_sync {
                self.writes.awaited.remove(&(shard.clone(), at));
            }
        }
    }

    /// A node acknowledges writes of the shards that it serves, and now and then begins or ceases to be in sync.
    pub(super) fn use_shards(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let me = (node_id(at), process(sim, at));
        for shard in shards() {
            if self.serves(sim, at, &shard).is_none() {
                continue;
            }
            let mine = (shard.clone(), me.0.clone(), me.1);
            self.writes.behind.remove(&mine);
            for other in (COORDINATORS..COORDINATORS + NODES).map(Pid) {
                if other != at && !self.writes.awaited.contains(&(shard.clone(), other)) {
                    let theirs = (shard.clone(), node_id(other), process(sim, other));
                    self.writes.behind.insert(theirs);
                }
            }
        }
        if sim.is_faulty() && sim.dice().index(10) == 0 {
            self.change_mind(sim, at, &me);
        }
        self.report(sim, at);
    }

    fn change_mind(&mut self, sim: &mut Sim<Self>, at: Pid, me: &(NodeId, Incarnation)) {
        let number = sim.dice().index(SHARDS as usize);
        let shard = ShardId::numbered(u32::try_from(number).expect("few shards"));
        let view = self.views.get(&(at, shard.clone()));
        let Some(epoch) = view.map(|(_, record)| record.active_epoch()) else {
            return;
        };
        let reporting = self.writes.nodes.get_mut(&at);
        let Some(reporting) = reporting.filter(|reporting| reporting.is_stored) else {
            return;
        };
        let Some(copy) = reporting.says.get_mut(&shard) else {
            return;
        };
        let in_sync = !(copy.in_sync && copy.epoch == epoch);
        (copy.epoch, copy.in_sync) = (epoch, in_sync);
        reporting.is_stored = false;
        if in_sync {
            // The primary waits for it from now on, so that it catches up for good.
            let mine = (shard.clone(), me.0.clone(), me.1);
            self.writes.behind.remove(&mine);
            self.writes.awaited.insert((shard, at));
        }
    }

    pub(super) fn start_reading(&mut self, sim: &mut Sim<Self>, at: Pid) {
        self.writes.first_read.remove(&at);
        if self.mutation == Some(Missing::ReportsAfterFence) {
            sim.list(at, Token::Reports, reports_prefix());
        }
    }

    /// Reads the reports for a coordinator.
    pub(super) fn read_reports(&mut self, sim: &mut Sim<Self>, at: Pid) {
        match self.writes.first_read.get(&at) {
            Some(read) => {
                let revision = sim.store().revision();
                let read = Reports {
                    revision,
                    ..read.clone()
                };
                self.coordinate(sim, at, Input::Reports(Some(read)));
            }
            None => sim.list(at, Token::Reports, reports_prefix()),
        }
    }

    pub(super) fn reports_found(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        found: Option<(Vec<Stored<Value>>, Revision)>,
    ) {
        let mut reports = found.map(|(entries, revision)| read(entries, revision));
        match (self.mutation, &mut reports) {
            (Some(Missing::ReportsAfterFence), Some(reports)) => {
                let reports = reports.clone();
                self.writes.first_read.entry(at).or_insert(reports);
            }
            (Some(Missing::ReportsOfOneProcess), Some(reports)) => {
                for other in (COORDINATORS..COORDINATORS + NODES).map(Pid) {
                    if let Some(copies) = reports.copies.get_mut(&node_id(other)) {
                        copies.incarnation = process(sim, other);
                    }
                }
            }
            _ => {}
        }
        self.coordinate(sim, at, Input::Reports(reports));
    }

    /// Who takes over without a loss has every write that was acknowledged.
    pub(super) fn check_loss(&mut self, record: &ShardRecord) -> Result<(), String> {
        let Some(active) = &record.active else {
            return Ok(());
        };
        let (shard, primary) = (&record.id, &active.primary);
        let now = (primary.node.clone(), record.data_loss_generation);
        let before = self.writes.primaries.insert(shard.clone(), now);
        let process = (shard.clone(), primary.node.clone(), primary.incarnation);
        match before {
            Some((node, losses))
                if node != primary.node
                    && losses == record.data_loss_generation
                    && self.writes.behind.contains(&process) =>
            {
                Err(format!(
                    "{} takes over {shard} without a loss, and lacks writes",
                    primary.node
                ))
            }
            _ => Ok(()),
        }
    }
}
