//! A coordinator's driver, in the simulation.

use std::collections::BTreeMap;

use rand::{SeedableRng, rngs::StdRng};
use shardwright_coordinator::{
    core::{
        self, Action, Command, CommandId, Core, Event, Notice, Settings, Value, WriteId,
        WriteOutcome,
    },
    protocol::{Leave, Ping},
};
use shardwright_rebalancer::{PartitionId, ReplicaPolicy};
use shardwright_registry::{Key, Prefix, Revision, Seen, Stored, node_of_lease};
use shardwright_testkit::sim::{Change, Outcome, Pid, Sim, Unavailable, Write};
use shardwright_topology::{Incarnation, NodeId};

use super::{CHECK_INTERVAL, Control, Message, Missing, TICK, Token, situations};

/// One process of a coordinator, from its start to its crash.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) core: Core,
    /// The keys that were shown as present.
    known: BTreeMap<Key, Revision>,
    reached: Revision,
    /// The pings that are not answered yet.
    asked: BTreeMap<u64, (NodeId, Incarnation)>,
    /// What each write under way is to change.
    writing: BTreeMap<WriteId, core::Change>,
    term: u64,
    /// Whose callback failed for each shard.
    failed: BTreeMap<PartitionId, NodeId>,
}

impl Coordinator {
    pub(super) fn new(sim: &mut Sim<Control>, at: Pid, missing: Option<Missing>) -> Self {
        let incarnation = Incarnation(u64::from(sim.life(at)));
        let timing = missing.map_or_else(Control::timing, |missing| missing.timing_of(at));
        let settings = Settings {
            check_interval: CHECK_INTERVAL,
            timing,
            replicas: 1,
            replication_factor: 2,
            moves_max: 4,
            ..Settings::new(Control::node(at), incarnation)
        };
        let rng = StdRng::seed_from_u64(sim.dice().bits());
        Self {
            core: Core::new(settings, Box::new(ReplicaPolicy::default()), Box::new(rng)),
            known: BTreeMap::new(),
            reached: Revision(0),
            asked: BTreeMap::new(),
            writing: BTreeMap::new(),
            term: 0,
            failed: BTreeMap::new(),
        }
    }
}

impl Control {
    fn of(&mut self, at: Pid) -> &mut Coordinator {
        self.coordinators.get_mut(&at).expect("a coordinator")
    }

    pub(super) fn start_coordinator(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let coordinator = Coordinator::new(sim, at, self.missing);
        self.coordinators.insert(at, coordinator);
        self.follow(sim, at);
        let next = sim.now(at) + TICK;
        sim.wake(at, next, Token::Tick);
        if sim.life(at) == 1 && at == Pid(0) {
            for id in Self::partitions() {
                self.want(sim, at, id, true);
            }
        }
    }

    pub(super) fn follow(&mut self, sim: &mut Sim<Self>, at: Pid) {
        sim.list(at, Token::Follow, Prefix::all());
    }

    /// Tells the machine something, and does what it wants done.
    pub(super) fn tell(&mut self, sim: &mut Sim<Self>, at: Pid, event: Event) {
        let now = sim.now(at);
        let mut actions = Vec::new();
        self.of(at).core.handle(now, event, &mut actions);
        for action in actions {
            self.act(sim, at, action);
        }
    }

    fn act(&mut self, sim: &mut Sim<Self>, at: Pid, action: Action) {
        match action {
            Action::Write { write, change } => self.write(sim, at, write, change),
            Action::Read { .. } => unreachable!("no shard commits on several members"),
            Action::Ping { address, ping } => self.ping(sim, at, &address, ping),
            Action::Notify(notice) => self.notice(sim, at, &notice),
            Action::Answer { result, .. } => sim.trace(|| format!("{at} answers {result:?}")),
            Action::Bootstrap { .. } => unreachable!("the settings ask for no shards"),
        }
    }

    fn write(&mut self, sim: &mut Sim<Self>, at: Pid, write: WriteId, change: core::Change) {
        self.of(at).writing.insert(write, change.clone());
        let blind = self.missing == Some(Missing::CompareAndSet);
        let expected = if blind {
            sim.store().get(&change.key).map(|found| found.revision)
        } else {
            change.expected
        };
        let found = sim.store().get(&change.key).map(|found| &found.value);
        let value = match self.missing {
            Some(missing) => change.value.map(|value| missing.value(found, value)),
            None => change.value,
        };
        let write_now = Write {
            key: change.key,
            expected,
            value,
        };
        sim.write(at, Token::Write(write), write_now);
    }

    fn ping(&mut self, sim: &mut Sim<Self>, at: Pid, address: &str, ping: Ping) {
        let number = self.number();
        let meant = (ping.node.clone(), ping.incarnation);
        self.of(at).asked.insert(number, meant);
        let limit = sim.now(at) + CHECK_INTERVAL * 4 / 5;
        sim.wake(at, limit, Token::PingLimit(number));
        sim.send(at, Self::pid(address), Message::Ping { number, ping });
    }

    fn notice(&mut self, sim: &mut Sim<Self>, at: Pid, notice: &Notice) {
        sim.trace(|| format!("{at} notes {notice:?}"));
        match notice {
            Notice::Leading { term, .. } => {
                if *term > 1 {
                    sim.mark(situations::TAKEOVER);
                }
                self.of(at).term = *term;
                if self.is_let_go_by_its_owner(sim) {
                    sim.mark(situations::FOUND_LET_GO);
                }
            }
            Notice::NodeDown { node, .. } => mark_down(sim, Self::pid(node.as_str())),
            Notice::Assigned {
                partition,
                from,
                to,
                is_failover,
                ..
            } => {
                if *is_failover {
                    sim.mark(situations::FAILOVER);
                }
                let failed = self.of(at).failed.remove(partition);
                if failed.is_some_and(|failed| from.as_ref() == Some(&failed) && *to != failed) {
                    sim.mark(situations::ELSEWHERE);
                }
            }
            Notice::CallbackFailed {
                node, partition, ..
            } => {
                sim.mark(situations::CALLBACK_FAILED);
                let failed = &mut self.of(at).failed;
                failed.insert(partition.clone(), node.clone());
            }
            Notice::SteppedDown { .. }
            | Notice::RebalanceDecided { .. }
            | Notice::RebalanceBegun { .. }
            | Notice::RebalanceRefused { .. }
            | Notice::RebalanceEnded { .. }
            | Notice::Automatic { .. }
            | Notice::NodeUp { .. }
            | Notice::UnderReplicated { .. }
            | Notice::NoReplica { .. }
            | Notice::ShardCondition { .. }
            | Notice::Attempt { .. }
            | Notice::Activated { .. }
            | Notice::LossAccepted { .. }
            | Notice::CopyOrdered { .. }
            | Notice::CopyGivenUp { .. }
            | Notice::CopyFailed { .. }
            | Notice::CopyBack { .. }
            | Notice::OperationBegun { .. }
            | Notice::OperationPhase { .. }
            | Notice::OperationRetried { .. }
            | Notice::OperationAborting { .. }
            | Notice::WritersHeldBack { .. }
            | Notice::OperationCollected { .. } => {}
        }
    }

    /// Whether a worker has let go of a shard that the registry still gives to it.
    fn is_let_go_by_its_owner(&self, sim: &Sim<Self>) -> bool {
        let shards = sim
            .store()
            .entries()
            .filter_map(|stored| match &stored.value {
                Value::Shard(record) => Some((record, record.active.as_ref()?)),
                Value::Node(_) | Value::Lease(_) | Value::Operation(_) | Value::Pin(_) => None,
            });
        let mut shards = shards.filter(|(record, active)| {
            let id = PartitionId::new(record.keyspace.clone(), record.id.clone());
            let at = Self::pid(active.primary.node.as_str());
            let released = self.workers[&at].released.get(&id);
            sim.is_up(at) && released.is_some_and(|released| active.epoch <= *released)
        });
        shards.next().is_some()
    }

    pub(super) fn coordinator_timer(&mut self, sim: &mut Sim<Self>, at: Pid, token: Token) {
        match token {
            Token::Tick => {
                let next = sim.now(at) + TICK;
                sim.wake(at, next, Token::Tick);
                self.tell(sim, at, Event::Tick);
            }
            Token::Follow => self.follow(sim, at),
            Token::PingLimit(number) => {
                if let Some((node, incarnation)) = self.of(at).asked.remove(&number) {
                    self.tell(sim, at, Event::Silence { node, incarnation });
                }
            }
            other => unreachable!("a coordinator sets no timer for {other:?}"),
        }
    }

    pub(super) fn coordinator_hears(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        from: Pid,
        message: Message,
    ) {
        match message {
            Message::Register { number, register } => {
                let key = node_key(&register.id);
                let token = Token::Enrol {
                    from,
                    number,
                    register,
                    incarnation: Incarnation(0),
                };
                sim.get(at, token, key);
            }
            Message::Leave(Leave {
                id,
                incarnation,
                gone,
                ..
            }) => {
                let node = id;
                let command = Command::Leave {
                    node,
                    incarnation,
                    gone,
                };
                self.command(sim, at, command);
            }
            Message::Pong { number, pong } => {
                let Some((node, incarnation)) = self.of(at).asked.remove(&number) else {
                    return;
                };
                let pong = pong.filter(|pong| pong.node == node && pong.incarnation == incarnation);
                let event = match pong {
                    Some(pong) => Event::Pong(pong),
                    None => Event::Silence { node, incarnation },
                };
                self.tell(sim, at, event);
            }
            Message::Registered { .. } | Message::Ping { .. } => {
                unreachable!("no worker says {message:?}")
            }
        }
    }

    pub(super) fn command(&mut self, sim: &mut Sim<Self>, at: Pid, command: Command) {
        sim.trace(|| format!("{at} is asked to {command:?}"));
        let id = CommandId(self.number());
        self.tell(sim, at, Event::Command { id, command });
    }

    pub(super) fn written(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        token: Token,
        outcome: Outcome<Value>,
    ) {
        match token {
            Token::Write(write) => self.wrote(sim, at, write, outcome),
            Token::Enrol { .. } => self.enrolled(sim, at, token, outcome),
            // Whoever asked may ask again.
            Token::Partition { .. } => {}
            other => unreachable!("no write is for {other:?}"),
        }
    }

    fn wrote(&mut self, sim: &mut Sim<Self>, at: Pid, write: WriteId, outcome: Outcome<Value>) {
        let change = self.of(at).writing.remove(&write);
        let value = change.and_then(|change| change.value);
        let is_of_shard = matches!(value, Some(Value::Shard(_)));
        let is_late = is_of_shard && !self.of(at).core.is_leading(sim.now(at));
        let outcome = match outcome {
            Outcome::Done(revision) => {
                if is_late {
                    sim.mark(situations::LATE_CHANGE);
                }
                WriteOutcome::Done(revision)
            }
            Outcome::Conflict(found) => {
                if is_of_shard {
                    sim.mark(situations::CONFLICT);
                }
                if let Some(found) = found {
                    self.tell(sim, at, Event::Found(seen(found)));
                }
                WriteOutcome::Conflict
            }
            Outcome::Unknown | Outcome::Unavailable => WriteOutcome::Unknown,
        };
        self.tell(sim, at, Event::Wrote { write, outcome });
    }

    pub(super) fn got(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        token: Token,
        found: Result<Option<Stored<Value>>, Unavailable>,
    ) {
        let Ok(found) = found else {
            return;
        };
        match token {
            Token::Enrol {
                from,
                number,
                register,
                ..
            } => self.enrol(sim, at, (from, number), register, found),
            Token::Partition { id, is_wanted } => {
                self.write_partition(sim, at, id, is_wanted, found);
            }
            other => unreachable!("no read is for {other:?}"),
        }
    }

    /// Shows what is new in a listing and what is gone, and follows from there, as `watch_records` does.
    pub(super) fn listed(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        found: Result<(Vec<Stored<Value>>, Revision), Unavailable>,
    ) {
        let Ok((entries, revision)) = found else {
            let next = sim.now(at) + CHECK_INTERVAL / 4;
            return sim.wake(at, next, Token::Follow);
        };
        let mut gone = self.of(at).known.clone();
        for stored in entries {
            gone.remove(&stored.key);
            self.see(
                sim,
                at,
                stored.key.clone(),
                stored.revision,
                Some(stored.value),
            );
        }
        for (key, _) in gone.into_iter().filter(|(_, shown)| *shown <= revision) {
            self.see(sim, at, key, revision, None);
        }
        let coordinator = self.of(at);
        coordinator.reached = coordinator.reached.max(revision);
        let reached = coordinator.reached;
        self.tell(sim, at, Event::Seen(Seen::Listed(reached)));
        sim.watch(at, Token::Follow, Prefix::all(), revision);
    }

    pub(super) fn changed(&mut self, sim: &mut Sim<Self>, at: Pid, change: Change<Value>) {
        let revision = change.revision;
        self.see(sim, at, change.key, revision, change.value);
        let coordinator = self.of(at);
        coordinator.reached = coordinator.reached.max(revision);
    }

    fn see(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        key: Key,
        revision: Revision,
        value: Option<Value>,
    ) {
        let coordinator = self.of(at);
        if revision <= coordinator.reached {
            return;
        }
        let seen = match value {
            Some(value) => {
                coordinator.known.insert(key.clone(), revision);
                value.seen(key, revision)
            }
            None => {
                coordinator.known.remove(&key);
                Seen::Deleted { key, revision }
            }
        };
        self.tell(sim, at, Event::Seen(seen));
    }
}

fn seen(stored: Stored<Value>) -> Seen {
    stored.value.seen(stored.key, stored.revision)
}

pub(super) fn node_key(node: &NodeId) -> Key {
    Key::new(format!("node/{node}")).expect("a key")
}

/// Marks how the process of a node went that is held to be down.
fn mark_down(sim: &mut Sim<Control>, node: Pid) {
    sim.mark(situations::EXPIRED);
    if sim.is_paused(node) {
        sim.mark(situations::STOOD_STILL);
    }
    if is_nobody_left(sim) {
        sim.mark(situations::NOBODY_LEFT);
    }
    let coordinators = (0..super::COORDINATORS).map(Pid);
    if !sim.is_up(node) && coordinators.filter(|other| !sim.is_up(*other)).count() > 0 {
        sim.mark(situations::DIED_TOGETHER);
    }
}

/// Whether no worker holds a lease.
fn is_nobody_left(sim: &Sim<Control>) -> bool {
    let mut leases = sim.store().entries().filter(|stored| {
        node_of_lease(&stored.key).is_some()
            && matches!(&stored.value, Value::Lease(lease) if lease.holder.is_some())
    });
    leases.next().is_none()
}
