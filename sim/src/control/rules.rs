//! What always holds of the control plane, and what holds once it had time to recover.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shardwright_coordinator::{core::Value, protocol::Assignment};
use shardwright_rebalancer::PartitionId;
use shardwright_registry::{Holder, Key, LeaseRecord, node_of_lease};
use shardwright_testkit::sim::{Change, Pid, Sim};
use shardwright_topology::{
    Epoch, Incarnation, NodeId, NodeState, Primary, Role, ShardRecord, ShardState,
};

use super::{
    CHECK_INTERVAL, Control, TIMEOUT, coordinator::Coordinator, desk::shard_key, worker::Worker,
};

/// How long after the last fault everything must be served again: a time-out and two check intervals, on clocks that are not exact.
pub(super) const BOUND: Duration = TIMEOUT
    .saturating_add(CHECK_INTERVAL)
    .saturating_add(CHECK_INTERVAL)
    .saturating_add(TIMEOUT.checked_div(25).unwrap());

/// How long after that copies may still move to workers that came back.
pub(super) const SETTLE: Duration = TIMEOUT;

/// For how long nothing may change afterwards.
pub(super) const REST: Duration = TIMEOUT.saturating_mul(2);

#[derive(Debug, Default)]
pub(super) struct Rules {
    /// The process that was the primary at each epoch.
    primaries: BTreeMap<(PartitionId, Epoch), Primary>,
    epochs: BTreeMap<PartitionId, Epoch>,
    /// Whose session holds each worker's lease.
    sessions: BTreeMap<NodeId, Holder>,
    /// Sessions whose lease was ended.
    ended: BTreeSet<(NodeId, Incarnation)>,
    /// Who was seen to serve at each epoch.
    served: BTreeMap<(PartitionId, Epoch), (NodeId, Option<Incarnation>)>,
    /// What workers have not let go of although their lease was over.
    lapsed: BTreeSet<(Pid, PartitionId)>,
    /// A worker that followed an old leader.
    misled: Option<String>,
    calm_since: Option<Duration>,
    /// What was served since then.
    served_since: BTreeSet<PartitionId>,
    is_recovered: bool,
    at_rest: bool,
}

impl Rules {
    /// One owner at each epoch, epochs only grow, and no change but renewals when nothing happens.
    pub(super) fn committed(
        &mut self,
        sim: &Sim<Control>,
        change: &Change<Value>,
    ) -> Result<(), String> {
        let is_renewal = matches!(&change.value, Some(Value::Lease(lease)) if lease.counter > 0);
        if self.at_rest && !is_renewal {
            return Err(format!("a change at rest: {change:?}"));
        }
        let record = match &change.value {
            Some(Value::Shard(record)) => record,
            Some(Value::Lease(lease)) => return self.note_lease(&change.key, lease),
            _ => return Ok(()),
        };
        let id = PartitionId::new(record.keyspace.clone(), record.id.clone());
        record
            .check_invariants()
            .map_err(|error| format!("{id}: {error}"))?;
        let epoch = self.epochs.insert(id.clone(), record.epoch);
        if epoch.is_some_and(|epoch| record.epoch < epoch) {
            return Err(format!(
                "the epoch of {id} fell from {epoch:?} to {}",
                record.epoch
            ));
        }
        let Some(active) = &record.active else {
            return Ok(());
        };
        let key = (id, active.epoch);
        match self.primaries.get(&key) {
            Some(primary) if *primary != active.primary => Err(format!(
                "{} has two owners at {}: {primary:?} and {:?}, at {:?}",
                key.0,
                key.1,
                active.primary,
                sim.true_time()
            )),
            Some(_) => Ok(()),
            None => {
                self.primaries.insert(key, active.primary.clone());
                Ok(())
            }
        }
    }

    /// A worker followed a leader of `term`, after one of `latest`.
    pub(super) fn followed(&mut self, at: Pid, latest: u64, term: u64) {
        if term < latest {
            self.misled = Some(format!("{at} followed term {term} after term {latest}"));
        }
    }

    /// A session whose lease was ended never gets one again.
    fn note_lease(&mut self, key: &Key, lease: &LeaseRecord) -> Result<(), String> {
        let Some(node) = node_of_lease(key) else {
            return Ok(());
        };
        let before = match &lease.holder {
            Some(holder) => self.sessions.insert(node.clone(), holder.clone()),
            None => self.sessions.remove(&node),
        };
        if let Some(before) = before.filter(|before| lease.holder.as_ref() != Some(before)) {
            self.ended.insert((before.node, before.incarnation));
        }
        let holder = lease.holder.iter();
        let mut again = holder.filter(|holder| {
            let session = (holder.node.clone(), holder.incarnation);
            self.ended.contains(&session)
        });
        match again.next() {
            Some(holder) => Err(format!("an ended session holds a lease again: {holder:?}")),
            None => Ok(()),
        }
    }

    /// At every moment: one leader, and one primary of each shard.
    pub(super) fn check(
        &mut self,
        sim: &Sim<Control>,
        coordinators: &BTreeMap<Pid, Coordinator>,
        workers: &BTreeMap<Pid, Worker>,
    ) -> Result<(), String> {
        if let Some(misled) = self.misled.take() {
            return Err(misled);
        }
        let leaders: Vec<_> = coordinators
            .iter()
            .filter(|(at, each)| sim.is_up(**at) && each.core.is_leading(sim.now(**at)))
            .map(|(at, _)| *at)
            .collect();
        if leaders.len() > 1 {
            return Err(format!("two leaders at once: {leaders:?}"));
        }
        let mut serving: BTreeMap<&PartitionId, Pid> = BTreeMap::new();
        for (at, worker) in workers {
            for each in primaries_of(sim, *at, worker) {
                if let Some(other) = serving.insert(&each.partition, *at) {
                    return Err(format!("{} is served by {other} and {at}", each.partition));
                }
                self.note_served(*at, worker, each)?;
            }
        }
        self.check_release(sim, workers, &serving)?;
        self.judge_rest(sim, coordinators, workers)
    }

    /// Nobody serves what another one has not let go of, as long as that one's lease has held all the time.
    fn check_release(
        &mut self,
        sim: &Sim<Control>,
        workers: &BTreeMap<Pid, Worker>,
        serving: &BTreeMap<&PartitionId, Pid>,
    ) -> Result<(), String> {
        for (at, worker) in workers {
            let holds = holds(sim, *at, worker);
            for each in worker
                .machine
                .held()
                .filter(|each| each.role == Role::Primary)
            {
                let key = (*at, each.partition.clone());
                let other = serving.get(&each.partition).filter(|other| *other != at);
                match other {
                    _ if !holds => drop(self.lapsed.insert(key)),
                    Some(other) if !self.lapsed.contains(&key) => {
                        let partition = &each.partition;
                        return Err(format!(
                            "{other} serves {partition} and {at} holds it still"
                        ));
                    }
                    Some(_) | None => {}
                }
            }
        }
        self.lapsed.retain(|(at, partition)| {
            let mut held = workers[at].machine.held();
            held.any(|each| each.partition == *partition)
        });
        Ok(())
    }

    /// Somebody came or went: there has to be rest from now on.
    pub(super) fn put_off_rest(&mut self) {
        self.calm_since = None;
        self.served_since.clear();
    }

    fn note_served(&mut self, at: Pid, worker: &Worker, each: &Assignment) -> Result<(), String> {
        let released = worker.released.get(&each.partition);
        if released.is_some_and(|released| each.epoch <= *released) {
            return Err(format!(
                "{at} serves {each:?} and has let go of {released:?}"
            ));
        }
        let key = (each.partition.clone(), each.epoch);
        let who = (Control::node(at), worker.machine.incarnation());
        let known = self.served.entry(key).or_insert_with(|| who.clone());
        if *known == who {
            Ok(())
        } else {
            let (partition, epoch) = (&each.partition, each.epoch);
            Err(format!(
                "{known:?} and {who:?} served {partition} at {epoch}"
            ))
        }
    }

    /// Some time after the last fault everything is served, and from then on nothing changes.
    fn judge_rest(
        &mut self,
        sim: &Sim<Control>,
        coordinators: &BTreeMap<Pid, Coordinator>,
        workers: &BTreeMap<Pid, Worker>,
    ) -> Result<(), String> {
        if sim.is_faulty() {
            return Ok(());
        }
        if workers.values().any(|worker| worker.leaves_at.is_some()) {
            self.put_off_rest();
        }
        let since = *self.calm_since.get_or_insert(sim.true_time());
        for (at, worker) in workers {
            let serving = primaries_of(sim, *at, worker);
            self.served_since
                .extend(serving.map(|each| each.partition.clone()));
        }
        if !self.is_recovered && since + BOUND <= sim.true_time() {
            self.all_served(sim)?;
            self.is_recovered = true;
        }
        if !self.at_rest && since + BOUND + SETTLE <= sim.true_time() {
            converged(sim, coordinators, workers)?;
            self.at_rest = true;
        }
        Ok(())
    }

    /// Everything that has an owner was served again since the last fault.
    fn all_served(&self, sim: &Sim<Control>) -> Result<(), String> {
        let wanted = Control::partitions().filter(|id| match sim.store().get(&shard_key(id)) {
            Some(stored) => matches!(
                &stored.value,
                Value::Shard(record) if record.state == ShardState::Serving
            ),
            None => false,
        });
        let mut missed = wanted.filter(|id| !self.served_since.contains(id));
        match missed.next() {
            Some(id) => Err(format!("{id} was not served in time after the last fault")),
            None => Ok(()),
        }
    }
}

/// Whether a worker's process lives, and its lease holds by its own clock.
pub(super) fn holds(sim: &Sim<Control>, at: Pid, worker: &Worker) -> bool {
    let end = worker.machine.lease_ends_at();
    sim.is_up(at) && end.is_some_and(|end| sim.now(at) < end)
}

fn primaries_of<'a>(
    sim: &Sim<Control>,
    at: Pid,
    worker: &'a Worker,
) -> impl Iterator<Item = &'a Assignment> {
    let holds = holds(sim, at, worker);
    let serving = worker.machine.serving().filter(move |_| holds);
    serving.filter(|each| each.role == Role::Primary)
}

/// Everything is served by those that the registry names, as far as there are nodes.
pub(super) fn converged(
    sim: &Sim<Control>,
    coordinators: &BTreeMap<Pid, Coordinator>,
    workers: &BTreeMap<Pid, Worker>,
) -> Result<(), String> {
    let mut leaders = coordinators.iter();
    if !leaders.any(|(at, each)| each.core.is_leading(sim.now(*at))) {
        return Err("nobody leads".to_owned());
    }
    let accepting = sim.store().entries().filter(
        |stored| matches!(&stored.value, Value::Node(record) if record.state == NodeState::Up),
    );
    let accepting = accepting.count();
    for id in Control::partitions() {
        let stored = sim.store().get(&shard_key(&id));
        match stored.map(|stored| &stored.value) {
            None => {}
            Some(Value::Shard(record)) => {
                is_served(sim, workers, &id, record, accepting)
                    .map_err(|error| format!("{id}: {error}"))?;
            }
            Some(other) => unreachable!("{other:?} is no shard"),
        }
    }
    Ok(())
}

fn is_served(
    sim: &Sim<Control>,
    workers: &BTreeMap<Pid, Worker>,
    id: &PartitionId,
    record: &ShardRecord,
    accepting: usize,
) -> Result<(), String> {
    let holders: Vec<Pid> = workers
        .iter()
        .filter(|(at, worker)| {
            let mut serving = worker.machine.serving();
            holds(sim, **at, worker) && serving.any(|each| each.partition == *id)
        })
        .map(|(at, _)| *at)
        .collect();
    if record.state == ShardState::Retired {
        return match holders.first() {
            Some(at) => Err(format!("{at} serves it although it was removed")),
            None => Ok(()),
        };
    }
    let Some(active) = &record.active else {
        return match accepting {
            0 => Ok(()),
            _ => Err("nobody owns it".to_owned()),
        };
    };
    let primary = Control::pid(active.primary.node.as_str());
    let is_primary =
        primaries_of(sim, primary, &workers[&primary]).any(|each| each.partition == *id);
    if !is_primary {
        return Err(format!(
            "its owner {primary} does not serve it; {holders:?} do"
        ));
    }
    let copies = if id.keyspace.as_str() == "main" { 2 } else { 1 };
    if holders.len() < accepting.min(copies) || holders.len() > copies {
        return Err(format!("{} copies are served, of {copies}", holders.len()));
    }
    Ok(())
}
