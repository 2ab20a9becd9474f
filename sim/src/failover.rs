//! Failover as a library: nodes with leases of their own, and several coordinators, over one store.
//!
//! What must hold: no two processes may serve a shard at the same true time; an epoch has one owner; epochs only grow; one coordinator
//! leads at a time, and only a leader writes; who takes over without a loss has every write that was acknowledged. After the faults every shard is served, and then nothing changes any more.

mod coordinator;
mod node;
mod report;

use std::{collections::BTreeMap, time::Duration};

use rand::{SeedableRng, rngs::StdRng};
use shardwright_failover::{Config, Copies, Failover, Licence};
use shardwright_registry::{
    Key, LeaseRecord, LeaseTiming, Prefix, Revision, Stored, WriteOutcome, assign,
};
use shardwright_testkit::sim::{
    Change, Faults, Input, InputOf, Outcome, Pid, Scenario, Sim, Write, marks,
};
use shardwright_topology::{
    Epoch, Incarnation, KeyspaceName, NodeId, NodeRecord, ShardId, ShardRecord,
};

use self::report::Writes;

/// The state of all processes.
pub(crate) struct Library {
    mutation: Option<Missing>,
    nodes: BTreeMap<Pid, Licence>,
    /// The newest record of each shard that a node saw.
    views: BTreeMap<(Pid, ShardId), (Revision, ShardRecord)>,
    coordinators: BTreeMap<Pid, Failover>,
    /// Which process of which node served a shard at an epoch.
    owners: BTreeMap<(ShardId, Epoch), (Pid, u32)>,
    epochs: BTreeMap<ShardId, Epoch>,
    writes: Writes,
    rng: StdRng,
}

/// A rule that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A node stops before the coordinators lose patience.
    HoldBelowTimeout,
    /// A node serves by records that are younger than its lease only.
    RecordsYoungerThanLease,
    /// A node's lease is ended before its shards are given away.
    Fence,
    /// Coordinators are as patient as was agreed.
    Patience,
    /// A write names the revision that it was decided on.
    CompareAndSet,
    /// Who takes over is chosen by what replicas say after the fence.
    ReportsAfterFence,
    /// A report says nothing of later processes of its node.
    ReportsOfOneProcess,
}

/// What the store holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Lease(LeaseRecord),
    Shard(Box<ShardRecord>),
    Copies(Copies),
}

/// What comes back to a process, or is planned.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    Tick,
    Follow,
    OwnLease,
    Lease(Key),
    Shard(Key, Box<ShardRecord>),
    /// A node's report of its copies.
    Report,
    /// The reports of all nodes.
    Reports,
    /// An operator adds the replicas that promotions have used up.
    Repair,
}

const COORDINATORS: usize = 3;
const NODES: usize = 4;
const SHARDS: u32 = 4;
const REPLICAS: usize = 3;
const CHECK: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_millis(300);

fn node_id(at: Pid) -> NodeId {
    NodeId::new(format!("{at}")).expect("a name")
}

fn shard_key(shard: &ShardId) -> Key {
    Key::new(format!("shard/main/{shard}")).expect("a key")
}

fn config() -> Config {
    Config {
        check_interval: CHECK,
        heartbeat_timeout: TIMEOUT,
        ..Config::default()
    }
}

/// The answer of the store about a lease.
fn lease_outcome(outcome: Outcome<Value>) -> WriteOutcome {
    match outcome {
        Outcome::Done(revision) => WriteOutcome::Written(revision),
        Outcome::Conflict(found) => WriteOutcome::Conflict(found.and_then(lease)),
        Outcome::Unknown | Outcome::Unavailable => WriteOutcome::Failed,
    }
}

fn written(outcome: &Outcome<Value>) -> shardwright_failover::Written {
    use shardwright_failover::Written;
    match outcome {
        Outcome::Done(revision) => Written::Done(*revision),
        Outcome::Conflict(_) => Written::Refused,
        Outcome::Unknown => Written::Unknown,
        Outcome::Unavailable => Written::Failed,
    }
}

fn lease(stored: Stored<Value>) -> Option<Stored<LeaseRecord>> {
    let Stored {
        key,
        value,
        revision,
    } = stored;
    match value {
        Value::Lease(value) => Some(Stored {
            key,
            value,
            revision,
        }),
        Value::Shard(_) | Value::Copies(_) => None,
    }
}

impl Library {
    fn bootstrap(&mut self, sim: &mut Sim<Self>) {
        for number in 0..SHARDS {
            let shard = ShardRecord::new(KeyspaceName::main(), ShardId::numbered(number), None);
            let first = COORDINATORS + number as usize % NODES;
            let node = NodeRecord::new(node_id(Pid(first)), "nowhere");
            let mut record = assign::assigned(&shard, &node, &mut self.rng).expect("assigned");
            for next in 1..REPLICAS {
                let at = Pid(COORDINATORS + (first - COORDINATORS + next) % NODES);
                record = assign::with_replica(&record, &node_id(at), &mut self.rng).expect("held");
            }
            sim.put(Write {
                key: shard_key(&record.id),
                expected: None,
                value: Some(Value::Shard(Box::new(record))),
            });
        }
    }

    /// Gives a shard one replica that it lacks, whoever its primary is and whatever it does.
    fn repair(&mut self, sim: &mut Sim<Self>) {
        let key = shard_key(&ShardId::numbered(
            u32::try_from(sim.dice().index(SHARDS as usize)).expect("few shards"),
        ));
        let at = Pid(COORDINATORS + sim.dice().index(NODES));
        let Some(Stored {
            value: Value::Shard(record),
            revision,
            ..
        }) = sim.store().get(&key).cloned()
        else {
            return;
        };
        let members = record
            .active
            .as_ref()
            .map_or(0, |config| config.members.len());
        let next = assign::with_replica(&record, &node_id(at), &mut self.rng);
        if let Some(next) = next
            .ok()
            .filter(|next| members < REPLICAS && *next != *record)
        {
            sim.mark("a replica is added");
            sim.put(Write {
                key,
                expected: Some(revision),
                value: Some(Value::Shard(Box::new(next))),
            });
        }
    }

    fn start(&mut self, sim: &mut Sim<Self>, at: Pid) {
        if at.0 < COORDINATORS {
            self.start_coordinator(sim, at);
        } else {
            self.start_node(sim, at);
        }
        sim.list(at, Token::Follow, Prefix::all());
        self.wake(sim, at);
    }

    fn wake(&self, sim: &mut Sim<Self>, at: Pid) {
        let every = if at.0 < COORDINATORS {
            CHECK / 2
        } else {
            TIMEOUT / 10
        };
        let next = sim.now(at) + every;
        sim.wake(at, next, Token::Tick);
    }

    fn see(&mut self, sim: &mut Sim<Self>, at: Pid, stored: Stored<Value>) {
        if at.0 < COORDINATORS {
            self.coordinator_sees(sim, at, stored);
        } else {
            self.node_sees(sim, at, stored);
        }
    }

    /// Writes what a machine asks for, at the revision that it names.
    fn write(&self, sim: &mut Sim<Self>, at: Pid, token: Token, mut write: Write<Value>) {
        if self.mutation == Some(Missing::CompareAndSet) {
            write.expected = sim.store().get(&write.key).map(|found| found.revision);
        }
        sim.write(at, token, write);
    }

    /// Whether a process believes that it may serve a shard now.
    fn serves(&self, sim: &Sim<Self>, at: Pid, shard: &ShardId) -> Option<Epoch> {
        let licence = self.nodes.get(&at).filter(|_| sim.is_up(at))?;
        let now = sim.now(at);
        if self.mutation == Some(Missing::RecordsYoungerThanLease) {
            let (_, record) = self.views.get(&(at, shard.clone()))?;
            let active = record.active.as_ref()?;
            let mine = active.primary == *licence.primary() && licence.holds_at(now);
            return mine.then_some(active.epoch);
        }
        licence.may_serve(now, shard)
    }
}

impl Scenario for Library {
    type Message = ();
    type Token = Token;
    type Value = Value;
    type Mutation = Missing;

    const NAME: &'static str = "failover";
    const MARKS: &'static [&'static [&'static str]] = &[
        marks::STORE,
        &[
            "a replica is added",
            "a node is fenced",
            "a promotion",
            "a replica in sync takes over",
            "nobody to take over",
            "a node is back",
            "a node claims its shard anew",
            "a claim is refused",
            "a primary finds itself replaced",
            "a lease ends under a primary",
            "a later leader",
            "a leader is deposed",
        ],
    ];
    const MUTATIONS: &'static [Missing] = &[
        Missing::HoldBelowTimeout,
        Missing::RecordsYoungerThanLease,
        Missing::Fence,
        Missing::Patience,
        Missing::CompareAndSet,
        Missing::ReportsAfterFence,
        Missing::ReportsOfOneProcess,
    ];

    fn faults(_: Option<Missing>) -> Faults {
        Faults {
            events: 3_000,
            ..Faults::around(TIMEOUT)
        }
    }

    fn new(sim: &mut Sim<Self>, mutation: Option<Missing>) -> Self {
        let seed = sim.dice().bits();
        let mut scenario = Self {
            mutation,
            nodes: BTreeMap::new(),
            views: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            owners: BTreeMap::new(),
            epochs: BTreeMap::new(),
            writes: Writes::default(),
            rng: StdRng::seed_from_u64(seed),
        };
        for _ in 0..COORDINATORS + NODES {
            sim.spawn();
        }
        scenario.bootstrap(sim);
        sim.plan(TIMEOUT, Token::Repair);
        scenario
    }

    fn handle(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
        match input {
            Input::Start => self.start(sim, at),
            Input::Timer(Token::Follow) => sim.list(at, Token::Follow, Prefix::all()),
            Input::Timer(_) => {
                self.wake(sim, at);
                if at.0 < COORDINATORS {
                    self.coordinate(sim, at, shardwright_failover::Input::Tick);
                } else {
                    self.advance(sim, at, shardwright_failover::LicenceEvent::Tick);
                    self.use_shards(sim, at);
                }
            }
            Input::Listed {
                token: Token::Reports,
                found,
            } => self.reports_found(sim, at, found.ok()),
            Input::Listed { found, .. } => match found {
                Ok((entries, revision)) => {
                    for stored in entries {
                        self.see(sim, at, stored);
                    }
                    self.listed(sim, at);
                    sim.watch(at, Token::Follow, Prefix::all(), revision);
                }
                Err(_) => {
                    let next = sim.now(at) + CHECK / 2;
                    sim.wake(at, next, Token::Follow);
                }
            },
            Input::Ended { .. } => sim.list(at, Token::Follow, Prefix::all()),
            Input::Changed { change, .. } => {
                if let Some(stored) = change.into_stored() {
                    self.see(sim, at, stored);
                }
            }
            Input::Got {
                token: Token::Report,
                found,
            } => self.report_found(sim, at, found.ok()),
            Input::Got { found, .. } => {
                if let Ok(Some(stored)) = found {
                    self.see(sim, at, stored);
                }
            }
            Input::Written { token, outcome } => {
                if at.0 < COORDINATORS {
                    self.coordinator_wrote(sim, at, token, outcome);
                } else {
                    self.node_wrote(sim, at, token, outcome);
                }
            }
            Input::Message { .. } => {}
        }
    }

    fn planned(&mut self, sim: &mut Sim<Self>, _: Token) {
        if sim.is_faulty() {
            self.repair(sim);
            sim.plan(TIMEOUT / 3, Token::Repair);
        }
    }

    fn committed(&mut self, sim: &Sim<Self>, change: &Change<Value>) -> Result<(), String> {
        let Some(Value::Shard(record)) = &change.value else {
            return Ok(());
        };
        record
            .check_invariants()
            .map_err(|broken| broken.to_string())?;
        self.check_loss(record)?;
        let before = self.epochs.insert(record.id.clone(), record.epoch);
        if before.is_some_and(|before| record.epoch <= before) {
            return Err(format!(
                "{} went from {before:?} to {}",
                record.id, record.epoch
            ));
        }
        let at_rest = sim
            .quiet_for()
            .is_some_and(|quiet| self.recovery_time() / 2 < quiet);
        if at_rest {
            return Err(format!("{} changes {} at rest", change.author, record.id));
        }
        Ok(())
    }

    fn check(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        for shard in (0..SHARDS).map(ShardId::numbered) {
            let mut serving = None;
            for at in self.nodes.keys() {
                let Some(epoch) = self.serves(sim, *at, &shard) else {
                    continue;
                };
                if let Some((other, _)) = serving.replace((*at, epoch)) {
                    return Err(format!("{other} and {at} both serve {shard}"));
                }
                let me = (*at, sim.life(*at));
                let owner = *self.owners.entry((shard.clone(), epoch)).or_insert(me);
                if owner != me {
                    return Err(format!("{shard} {epoch} is served by {me:?} and {owner:?}"));
                }
            }
        }
        let leads =
            |(at, machine): &(&Pid, &Failover)| sim.is_up(**at) && machine.leads_at(sim.now(**at));
        let leaders: Vec<&Pid> = self
            .coordinators
            .iter()
            .filter(leads)
            .map(|(at, _)| at)
            .collect();
        if leaders.len() > 1 {
            return Err(format!("{leaders:?} lead at once"));
        }
        Ok(())
    }

    fn recovered(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        let leaders = self.coordinators.iter();
        let leaders = leaders.filter(|(at, machine)| machine.leads_at(sim.now(**at)));
        if leaders.count() != 1 {
            return Err("nobody leads".to_owned());
        }
        for shard in (0..SHARDS).map(ShardId::numbered) {
            let serving = self
                .nodes
                .keys()
                .find_map(|at| self.serves(sim, *at, &shard));
            if serving.is_none() {
                return Err(format!("nobody serves {shard}"));
            }
        }
        Ok(())
    }

    fn recovery_time(&self) -> Duration {
        TIMEOUT * 6
    }
}

/// The timing of the leases, as `timing` says or far too long.
fn node_timing(timing: LeaseTiming, mutation: Option<Missing>) -> LeaseTiming {
    if mutation == Some(Missing::HoldBelowTimeout) {
        let longer = LeaseTiming::new(timing.timeout() * 4, timing.timeout() * 3);
        return longer.expect("the hold is shorter");
    }
    timing
}

/// A process that is told from every other one by its name and its start.
fn process(sim: &Sim<Library>, at: Pid) -> Incarnation {
    Incarnation(u64::from(sim.life(at)))
}
