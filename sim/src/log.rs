//! The replicated log of one shard: copies on five nodes, whose configurations are changed by anybody at any time.
//!
//! What its records say is a [`Content`]: a number each, of which nothing is kept, or what changes in SQLite files.
//!
//! The machines are those of production. What their drivers do is done here: carrying requests and answers, keeping writes on a disk that
//! loses and damages them, applying what is committed, asking the registry for an activation, and deleting copies.
//!
//! In every second run the coordinator of production, `failover::replication`, is among those who decide, and after the faults it alone does,
//! but for an operator who accepts a loss.
//!
//! By its number, each invariant of the protocol that these machines answer for:
//!
//! | invariant | where |
//! | --- | --- |
//! | I1, I12, I13, I14 | `rules`: each change of the record; I18 is that anybody makes them |
//! | I2, I8 | `disks`: what becomes durable follows from what was |
//! | I3, I5, I7, I8 | `rules`: records before they are written, and who begins an epoch, or leads |
//! | I4, I6, I20 | `rules`: what a primary takes for committed; I11, as copies count by their ids |
//! | I9, I10 | the machine itself, `rules`: what is applied, `carry`: a copy that is to truncate what must stay |
//! | I15 | `rules::deletion`: copies that are deleted by the guard of `failover::replication` |
//! | I16 | `rules`: acknowledgements, at each level, and what reads show |
//! | I17 | `rules::once`: clients that write again look at the data, and their records follow what they have seen |
//! | I19 | no rule of writes asks a clock, and all clocks drift; a lease is judged by what reads show, and by who is active |
//! | I21 | `rules::back`: the registry loses its latest writes, and nothing begins until somebody has brought it forward |
//!
//! I22 is about operations on several shards, which the model explores, and I10's equal hashes are about data: here the last record applied
//! stands for it.

mod carry;
mod content;
mod coordinator;
mod deletion;
mod disks;
mod missing;
mod node;
mod numbers;
mod operator;
mod rules;
mod shard;
mod situations;
mod steward;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shardwright_failover::replication::Instruction;
use shardwright_quorum::log::{Event, Point, Reply, Request, Settings, Ticket};
use shardwright_registry::{Key, Prefix};
use shardwright_testkit::sim::{
    Change, FaultKind, Faults, Input, InputOf, Outcome, Pid, Scenario, Sim, Write,
};
use shardwright_topology::{
    ConfigId, Epoch, Incarnation, Member, NodeId, Primary, Proposal, ReplicaId, ShardRecord,
};

use self::{
    content::{Content, Ending},
    node::Node,
    rules::Rules,
    steward::Steward,
};
pub(crate) use self::{
    missing::Missing,
    numbers::Numbers,
    shard::{
        Sqlite,
        copy::{Copy as CopyOnDisk, Image},
        in_memory,
    },
};

/// What nodes say to each other.
#[derive(Debug, Clone)]
pub(crate) enum Message<I> {
    Request {
        call: u64,
        request: Request,
    },
    Reply(Reply),
    AskSnapshot,
    /// The data with all records up to there.
    Snapshot(Point, I),
}

/// What comes back to a node, or is planned.
#[derive(Debug, Clone)]
pub(crate) enum Token<A> {
    Tick,
    Follow,
    /// A sync of so many entries ends, on the disk that was opened so often.
    Synced(u32, usize, Ticket),
    /// A snapshot is stored aside.
    Stored(Point),
    /// A copy that was set aside begins anew.
    Recreate,
    /// A copy whose disk was full is opened again if there is room.
    Reopen,
    /// A node is told what to do with its copy.
    Told(Instruction),
    /// The record is read, before a copy is deleted.
    Deleting(Instruction),
    /// Somebody asks for something, or is to go on with that.
    Ask(A),
    /// The record is read, or written, to activate a configuration.
    Activate(ConfigId),
    Activating(ConfigId),
    /// Somebody thinks of writing or reading.
    Client,
    /// A coordinator looks at the shard.
    Coordinate,
    /// A medium damages something.
    Damage,
    /// There is room on a disk again.
    MakeRoom(Pid),
    /// Too many copies are damaged.
    Catastrophe,
    /// The registry goes away for long.
    LongOutage,
    /// The registry loses its latest writes.
    GoBack,
    /// Somebody brings it forward again.
    BringForward,
    Restart(Pid),
    /// A process goes on that stands still.
    Resume(Pid),
    /// All who promised a lease start again.
    Forget,
}

pub(crate) struct Logs<C> {
    content: C,
    nodes: BTreeMap<Pid, Node>,
    rules: Rules,
    missing: Option<Missing>,
    key: Key,
    /// Counts whatever needs a name of its own.
    names: u64,
    /// The writes of which nobody knows what became of them.
    unknown: Vec<u64>,
    /// Which copies may become members.
    registered: BTreeMap<Pid, Member>,
    /// When the pending configuration was first seen, and which it was.
    pending_since: Option<(Epoch, Duration)>,
    /// Whether disks damage what they hold in this run.
    has_damage: bool,
    /// Counts the changes of `registered`.
    registrations: u64,
    /// The read that asks for a lease just now.
    leased_read: Option<u64>,
    lease: Duration,
    /// Whether nodes that are no members follow the log.
    has_learners: bool,
    /// In how many of 100 cases a coordinator changes what works.
    restless: u32,
    /// In how many of 100 cases every member must hold what is committed.
    careful: u32,
    /// Since when too few copies are left to go on.
    stuck_since: Option<Duration>,
    /// The epoch of a planned hand-over, and when it was decided.
    hand_over: Option<(Epoch, Duration)>,
    /// When the registry went away for long.
    away_since: Option<Duration>,
    /// Whether the registry loses writes in this run.
    loses_writes: bool,
    /// Whether somebody looks at that, or has.
    is_looked_at: bool,
    /// The coordinator of production; none in every second run.
    steward: Option<Box<Steward>>,
}

const NODES: usize = 5;
const TIMEOUT: Duration = Duration::from_millis(600);
const TICK: Duration = Duration::from_millis(50);
/// How long a sync takes that takes long.
const SLOW_SYNC_MS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(20)..=Duration::from_millis(80);
const LEASE: Duration = Duration::from_millis(400);
/// A lease that lasts as long as most faults, so that it is missed soon.
const LONG_LEASE: Duration = Duration::from_millis(1200);
/// How long it takes at most until a registry is noticed that went back: the attempts that it hands out come to nothing without a word, as
/// long as their epochs are lower than what copies have promised.
const TO_NOTICE: Duration = Duration::from_secs(20);
/// How long it takes until copies have been filled that take the places of others.
const TO_FILL: Duration = Duration::from_secs(5);
/// How long after the faults clients go on.
const CLIENTS_STOP: Duration = Duration::from_secs(3);

/// The time that a sync takes, mostly.
const SYNC_MS: std::ops::RangeInclusive<Duration> =
    Duration::from_micros(200)..=Duration::from_millis(8);

fn node_id(at: Pid) -> NodeId {
    NodeId::new(at.to_string()).expect("a process has a name like p3")
}

fn pid(node: &NodeId) -> Pid {
    let number = node.as_str().strip_prefix('p');
    let number = number.and_then(|number| number.parse().ok());
    Pid(number.expect("a node of this scenario"))
}

fn zones() -> BTreeMap<NodeId, String> {
    let zone = |at: usize| (node_id(Pid(at)), format!("z{}", at % 3));
    (0..NODES).map(zone).collect()
}

fn settings(missing: Option<Missing>, lease: Duration) -> Settings {
    Settings {
        heartbeat: Duration::from_millis(100),
        resend: Duration::from_millis(150),
        lease,
        drift_ppm: if missing == Some(Missing::LeaseMargin) {
            0
        } else {
            50_000
        },
        window: 3,
        waiting_max: 20,
        waiting_bytes: 1 << 13,
        retain: 6,
        retain_max: 40,
        retain_bytes: 1 << 12,
        trim_step: 4,
    }
}

impl<C: Content> Logs<C> {
    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn node(&mut self, at: Pid) -> &mut Node {
        self.nodes.get_mut(&at).expect("a node of this scenario")
    }

    /// The record of the shard, as it truly is.
    fn record<'a>(&self, sim: &'a Sim<Self>) -> Option<&'a ShardRecord> {
        sim.store().get(&self.key).map(|stored| &stored.value)
    }

    /// The shard's first configuration, which is still to be activated.
    fn bootstrap(&mut self, sim: &mut Sim<Self>) {
        let members = (0..3).map(|at| self.registered[&Pid(at)].clone()).collect();
        let config_id = ConfigId::from_bits(self.name().into());
        let primary = Primary {
            node: node_id(Pid(0)),
            incarnation: Incarnation(1),
        };
        let proposal = Proposal {
            config_id,
            primary,
            members,
            w: 2,
            zones: 1,
        };
        let shard = "shard-0".parse().expect("a name");
        let mut record = ShardRecord::new("main".parse().expect("a name"), shard, None);
        let first = proposal.at(Epoch::INITIAL);
        (record.epoch, record.pending) = (first.epoch, Some(first));
        let key = self.key.clone();
        let value = Some(record);
        sim.put(Write {
            key,
            expected: None,
            value,
        });
    }
}

impl<C: Content> Scenario for Logs<C> {
    type Message = Message<C::Image>;
    type Token = Token<C::Ask>;
    type Value = ShardRecord;
    type Mutation = Missing;

    const NAME: &'static str = C::NAME;
    const MARKS: &'static [&'static [&'static str]] = C::MARKS;
    const MUTATIONS: &'static [Missing] = C::MUTATIONS;

    fn faults(missing: Option<Missing>) -> Faults {
        let mut faults = Faults::around(TIMEOUT);
        faults.events = 2_400;
        // What makes a rule matter is made frequent, so that its absence is noticed soon.
        match missing {
            Some(Missing::LeaseMargin) => {
                faults.drift_ppm = 200_000;
                faults.lasting = TIMEOUT..=TIMEOUT * 4;
                faults.kinds = vec![(1, FaultKind::Isolate)];
            }
            Some(Missing::LeaseAfterRestart) => {
                faults.kinds = vec![(1, FaultKind::Crash), (1, FaultKind::Isolate)];
            }
            Some(Missing::LeaseFromSend) => faults.kinds = vec![(1, FaultKind::Pause)],
            Some(Missing::LeaseHolds) => {
                faults.lasting = TIMEOUT..=TIMEOUT * 4;
                faults.kinds = vec![(1, FaultKind::Isolate)];
            }
            Some(Missing::ReadBarrier | Missing::NewestLog) => {
                faults.lasting = TIMEOUT..=TIMEOUT * 4;
                faults.kinds = vec![(3, FaultKind::Isolate), (1, FaultKind::Crash)];
            }
            Some(Missing::EpochOfAnswer) => faults.duplicate = 10_000,
            Some(Missing::RegistryForward) => {
                faults.kinds = vec![(3, FaultKind::Isolate), (2, FaultKind::Crash)];
            }
            _ => {}
        }
        faults
    }

    fn new(sim: &mut Sim<Self>, missing: Option<Missing>) -> Self {
        let mut scenario = Self {
            content: C::new(sim, missing),
            nodes: BTreeMap::new(),
            rules: Rules::default(),
            missing,
            key: Key::new("shard/main/shard-0").expect("a key"),
            names: 0,
            unknown: Vec::new(),
            registered: BTreeMap::new(),
            pending_since: None,
            has_damage: sim.dice().chance(60),
            registrations: 1,
            leased_read: None,
            lease: *sim.dice().pick(&[LEASE, LONG_LEASE]),
            has_learners: sim.dice().chance(60),
            restless: *sim.dice().pick(&[4, 8, 30]),
            careful: *sim.dice().pick(&[20, 80]),
            stuck_since: None,
            hand_over: None,
            away_since: None,
            loses_writes: false,
            is_looked_at: false,
            steward: None,
        };
        // A rule is missed soonest under those who try anything.
        if missing.is_none() && sim.dice().chance(50) {
            let seed = u64::try_from(sim.dice().index(1 << 30)).unwrap_or_default();
            scenario.steward = Some(Box::new(Steward::new(seed)));
            // It says itself which copies are to be followed.
            scenario.has_learners = false;
        }
        if let Some(missing) = missing {
            (scenario.lease, scenario.restless) = (missing.lease(), 30);
            if missing == Missing::LeaseHolds {
                scenario.restless = 60;
            }
            if missing == Missing::LeaseAfterRestart {
                sim.plan(TIMEOUT * 2, Token::Forget);
            }
        }
        for _ in 0..NODES {
            let at = sim.spawn();
            let replica_id = ReplicaId::from_bits(scenario.name().into());
            let node = node_id(at);
            let member = Member { node, replica_id };
            scenario.registered.insert(at, member);
            scenario.nodes.insert(at, Node::new(replica_id));
        }
        scenario.bootstrap(sim);
        sim.plan(TIMEOUT / 4, Token::Client);
        sim.plan(TIMEOUT, Token::Coordinate);
        if scenario.has_damage {
            sim.plan(TIMEOUT * 2, Token::Damage);
        }
        scenario.plan_rarities(sim);
        scenario
    }

    fn handle(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
        match input {
            Input::Start => self.start(sim, at),
            Input::Message { from, message } => self.message(sim, at, from, message),
            Input::Timer(token) => self.timer(sim, at, token),
            Input::Listed { found, .. } => match found {
                Ok((records, revision)) => {
                    for record in records {
                        self.show(sim, at, record.value);
                    }
                    sim.watch(at, Token::Follow, Prefix::all(), revision);
                }
                Err(_) => sim.list(at, Token::Follow, Prefix::all()),
            },
            Input::Changed { change, .. } => {
                if let Some(record) = change.value {
                    self.show(sim, at, record);
                }
            }
            Input::Ended { .. } => sim.list(at, Token::Follow, Prefix::all()),
            Input::Got {
                token,
                found: Ok(Some(found)),
            } => match token {
                Token::Activate(config_id) => self.activate(sim, at, config_id, found),
                Token::Deleting(instruction) => self.may_delete(sim, at, &instruction, &found),
                _ => {}
            },
            Input::Got { .. } => {}
            Input::Written { token, outcome } => {
                let Token::Activating(config_id) = token else {
                    return;
                };
                match outcome {
                    Outcome::Done(_) => self.feed(sim, at, Event::Activated(config_id)),
                    Outcome::Conflict(Some(found)) => self.activate(sim, at, config_id, found),
                    Outcome::Unknown => C::mark(sim, situations::ACTIVATION_UNKNOWN),
                    Outcome::Conflict(None) | Outcome::Unavailable => {}
                }
            }
        }
    }

    fn planned(&mut self, sim: &mut Sim<Self>, token: Token<C::Ask>) {
        match token {
            Token::Client => C::client(self, sim),
            Token::Coordinate => self.coordinate(sim),
            Token::Damage => self.damage(sim),
            Token::Restart(at) => sim.restart(at),
            Token::Resume(at) => sim.resume(at),
            Token::Forget => self.forget(sim),
            Token::MakeRoom(at) => self.node(at).disk.make_room(),
            Token::Catastrophe => self.catastrophe(sim),
            Token::LongOutage => self.long_outage(sim),
            Token::GoBack => self.go_back(sim),
            Token::BringForward => self.bring_forward(sim),
            _ => {}
        }
    }

    fn committed(&mut self, sim: &Sim<Self>, change: &Change<ShardRecord>) -> Result<(), String> {
        let Some(record) = &change.value else {
            return Err("nobody removes the record".to_owned());
        };
        self.rules.recorded(&self.nodes, record)?;
        if C::looks_at_leases(self.missing) {
            self.rules.all_leases(sim, &self.nodes);
        }
        Ok(())
    }

    fn check(&mut self, _: &Sim<Self>) -> Result<(), String> {
        self.rules.broken.take().map_or(Ok(()), Err)
    }

    fn recovered(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        if self.rules.is_back() {
            return Err("the registry went back, and nobody noticed (I21)".to_owned());
        }
        let record = self.record(sim).cloned().ok_or("no record")?;
        self.has_recovered(&record)?;
        self.steward.as_ref().map_or(Ok(()), |it| it.is_content())
    }

    fn recovery_time(&self) -> Duration {
        let mut time = CLIENTS_STOP + TIMEOUT * 8;
        if self.steward.is_some() {
            time += TO_FILL;
        }
        if self.rules.is_back() {
            time += TO_NOTICE;
        }
        time
    }
}

impl<C: Content> Logs<C> {
    /// What the end must look like: one primary, whose members hold and have applied the same.
    fn has_recovered(&mut self, record: &ShardRecord) -> Result<(), String> {
        let active = record.active.as_ref().ok_or("nothing was ever active")?;
        let primary = &self.nodes[&pid(&active.primary.node)];
        let leads = primary.machine.as_ref().and_then(|machine| machine.leads());
        if leads != Some(active) {
            return Err(format!("{} does not lead {active:?}", active.primary.node));
        }
        let last = primary.last();
        let mut held = BTreeSet::new();
        for member in &active.members {
            let node = &self.nodes[&pid(&member.node)];
            if node.replica_id == member.replica_id && node.synced.log.last() == last {
                held.insert(member.replica_id);
                if node.data.applied != last {
                    return Err(format!("{} has not applied all", member.node));
                }
            }
        }
        if held.len() < active.members.len() {
            return Err(format!("only {held:?} of {active:?} hold the log"));
        }
        self.rules.ended(last)?;
        let members = active.members.iter().map(|member| pid(&member.node));
        self.content.judge(&members.collect::<Vec<_>>())
    }
}
