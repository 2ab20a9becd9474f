//! The control plane: coordinators that elect a leader and assign shards to workers, on a store that fails.
//!
//! The machines are those of production. What their drivers do, carrying calls to the store and over the network, is done here by the
//! simulator. Whoever is asked to serve answers by its own clock, paused or not.

mod coordinator;
mod desk;
mod missing;
mod rules;
mod worker;

use std::{collections::BTreeMap, time::Duration};

use shardwright_coordinator::{
    core::{Value, WriteId},
    protocol::{Leave, Ping, Pong, Register},
    worker::machine::Call,
};
use shardwright_rebalancer::PartitionId;
use shardwright_registry::LeaseTiming;
use shardwright_testkit::sim::{Change, Faults, Input, InputOf, Pid, Scenario, Sim, marks};
use shardwright_topology::{Incarnation, KeyspaceName, NodeId, ShardId};

pub(crate) use self::missing::Missing;
use self::{coordinator::Coordinator, rules::Rules, worker::Worker};

/// What processes say to each other. The number of a question is that of its answer, as a connection would see to.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Register {
        number: u64,
        register: Register,
    },
    Registered {
        number: u64,
        incarnation: Incarnation,
    },
    Leave(Leave),
    Ping {
        number: u64,
        ping: Ping,
    },
    Pong {
        number: u64,
        pong: Option<Pong>,
    },
}

/// What comes back to a process, or is planned.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    /// The machine is told that time has passed.
    Tick,
    /// The listing and the watch of everything.
    Follow,
    Write(WriteId),
    /// The answer to a ping is waited for no longer.
    PingLimit(u64),
    /// A worker's node record is read or written.
    Enrol {
        from: Pid,
        number: u64,
        register: Register,
        incarnation: Incarnation,
    },
    /// A worker asks another coordinator to register it.
    RegisterLimit(u64),
    Callback {
        partition: PartitionId,
        call: Call,
    },
    /// A shard is created, removed or brought back.
    Partition {
        id: PartitionId,
        is_wanted: bool,
    },
    /// Somebody asks for something.
    Disturb,
}

/// The time-out of every lease.
const TIMEOUT: Duration = Duration::from_millis(1500);
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
const COORDINATORS: usize = 3;
const WORKERS: usize = 4;
/// A process that at times goes by the name of the first worker, whose own process may live.
const DOUBLE: Pid = Pid(COORDINATORS + WORKERS);

/// What the machines are driven with.
const TICK: Duration = Duration::from_millis(50);

pub(crate) struct Control {
    coordinators: BTreeMap<Pid, Coordinator>,
    workers: BTreeMap<Pid, Worker>,
    rules: Rules,
    missing: Option<Missing>,
    /// Whether the double takes part.
    is_doubled: bool,
    /// Counts questions.
    numbers: u64,
}

/// Situations that only this scenario knows.
mod situations {
    pub(super) const TAKEOVER: &str = "a leader in place of another one";
    pub(super) const EXPIRED: &str = "a worker whose lease was ended";
    pub(super) const FAILOVER: &str = "a shard that went on elsewhere because its node was down";
    pub(super) const DIED_TOGETHER: &str = "a leader and a worker that were down together";
    pub(super) const FENCED_ITSELF: &str = "a worker that found its lease over";
    pub(super) const OLD_LEADER: &str = "a command of an older term";
    pub(super) const CALLBACK_FAILED: &str = "a callback that failed";
    pub(super) const LEFT: &str = "a worker that left";
    pub(super) const DRAINED: &str = "a worker that was drained";
    pub(super) const RETIRED: &str = "a shard that was removed";
    pub(super) const PROMOTED: &str = "a replica that was promoted by command";
    pub(super) const CONFLICT: &str = "a change of a shard that came too late";
    pub(super) const STOOD_STILL: &str = "a worker that stood still while its lease was ended";
    pub(super) const CAME_BACK: &str = "a process of a worker that registered anew";
    pub(super) const LATE_CHANGE: &str = "a change of a shard that landed after its leader's time";
    pub(super) const FOUND_LET_GO: &str = "a leader that found a shard let go and given to nobody";
    pub(super) const ELSEWHERE: &str = "a shard that another worker took after a callback failed";
    pub(super) const HANDED_OVER: &str = "a worker that had handed over everything";
    pub(super) const DOUBLED: &str = "a second process of a worker whose lease holds";
    pub(super) const NOBODY_LEFT: &str = "the last worker that went away";

    pub(super) const ALL: &[&str] = &[
        TAKEOVER,
        EXPIRED,
        FAILOVER,
        DIED_TOGETHER,
        FENCED_ITSELF,
        OLD_LEADER,
        CALLBACK_FAILED,
        LEFT,
        DRAINED,
        RETIRED,
        PROMOTED,
        CONFLICT,
        STOOD_STILL,
        CAME_BACK,
        LATE_CHANGE,
        FOUND_LET_GO,
        ELSEWHERE,
        HANDED_OVER,
        DOUBLED,
        NOBODY_LEFT,
    ];
}

impl Control {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn node(at: Pid) -> NodeId {
        let at = if at == DOUBLE { Pid(COORDINATORS) } else { at };
        NodeId::new(at.to_string()).expect("a process has a name like p3")
    }

    fn pid(node: &str) -> Pid {
        let number = node
            .strip_prefix('p')
            .and_then(|number| number.parse().ok());
        Pid(number.expect("a node of this scenario"))
    }

    fn partitions() -> impl Iterator<Item = PartitionId> {
        let named = KeyspaceName::new("partitions").expect("a name");
        let named = ["a", "b", "c", "d", "e", "f", "g", "h"]
            .map(|name| PartitionId::new(named.clone(), ShardId::new(name).expect("a name")));
        let ranged = (0..4).map(|number| PartitionId::from(ShardId::numbered(number)));
        named.into_iter().chain(ranged)
    }

    fn timing() -> LeaseTiming {
        LeaseTiming::new(TIMEOUT, TIMEOUT * 9 / 10).expect("it ends before others act")
    }
}

impl Scenario for Control {
    type Message = Message;
    type Token = Token;
    type Value = Value;
    type Mutation = Missing;

    const NAME: &'static str = "control";
    const MARKS: &'static [&'static [&'static str]] =
        &[marks::STORE, marks::MESSAGES, situations::ALL];
    const MUTATIONS: &'static [Missing] = Missing::ALL;

    fn faults(_: Option<Missing>) -> Faults {
        Faults {
            slow: 300,
            // The fastest and the slowest clock are 5 % apart, half of what the timing allows for.
            drift_ppm: 25_000,
            events: 6_000,
            ..Faults::around(TIMEOUT)
        }
    }

    fn new(sim: &mut Sim<Self>, missing: Option<Missing>) -> Self {
        let mut scenario = Self {
            coordinators: BTreeMap::new(),
            workers: BTreeMap::new(),
            rules: Rules::default(),
            missing,
            is_doubled: false,
            numbers: 0,
        };
        for _ in 0..COORDINATORS {
            let at = sim.spawn();
            let coordinator = Coordinator::new(sim, at, missing);
            scenario.coordinators.insert(at, coordinator);
        }
        for _ in 0..=WORKERS {
            let at = sim.spawn();
            scenario.workers.insert(at, Worker::new(at));
        }
        sim.plan(TIMEOUT, Token::Disturb);
        scenario
    }

    fn handle(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
        if self.coordinators.contains_key(&at) {
            self.coordinator_input(sim, at, input);
        } else {
            self.worker_input(sim, at, input);
        }
    }

    fn planned(&mut self, sim: &mut Sim<Self>, _: Token) {
        if sim.is_faulty() {
            self.disturb(sim);
            let next = sim.dice().time(&(TIMEOUT / 4..=TIMEOUT * 2));
            sim.plan(next, Token::Disturb);
        }
    }

    fn committed(&mut self, sim: &Sim<Self>, change: &Change<Value>) -> Result<(), String> {
        self.rules.committed(sim, change)
    }

    fn check(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        let Self {
            coordinators,
            workers,
            rules,
            ..
        } = self;
        rules.check(sim, coordinators, workers)
    }

    fn recovered(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        rules::converged(sim, &self.coordinators, &self.workers)
    }

    fn recovery_time(&self) -> Duration {
        worker::LEAVE_LIMIT + rules::BOUND + rules::SETTLE + rules::REST
    }
}

impl Control {
    fn coordinator_input(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
        match input {
            Input::Start => self.start_coordinator(sim, at),
            Input::Message { from, message } => self.coordinator_hears(sim, at, from, message),
            Input::Timer(token) => self.coordinator_timer(sim, at, token),
            Input::Written { token, outcome } => self.written(sim, at, token, outcome),
            Input::Got { token, found } => self.got(sim, at, token, found),
            Input::Listed { found, .. } => self.listed(sim, at, found),
            Input::Changed { change, .. } => self.changed(sim, at, change),
            Input::Ended { .. } => self.follow(sim, at),
        }
    }
}
