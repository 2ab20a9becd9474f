//! A worker's driver, in the simulation.

use std::{collections::BTreeMap, time::Duration};

use shardwright_coordinator::{
    protocol::{Fence, Leave, Ping, Pong, Register, ReportedState, VERSION},
    worker::machine::{Action, Event, Machine, PingRefused},
};
use shardwright_rebalancer::PartitionId;
use shardwright_testkit::sim::{Input, InputOf, Pid, Sim};
use shardwright_topology::{Epoch, Location, NodeRecord, Timestamp};

use super::{COORDINATORS, Control, DOUBLE, Message, TICK, TIMEOUT, Token, rules, situations};

/// One process of a worker, from its start to its crash.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) machine: Machine,
    /// The registration that is waited for.
    registering: Option<u64>,
    /// It leaves by then, handed over or not.
    pub(super) leaves_at: Option<Timestamp>,
    held_lease: bool,
    /// The highest term that it followed.
    term: u64,
    /// The highest epoch of each shard of which this process has said that it let go.
    pub(super) released: BTreeMap<PartitionId, Epoch>,
    /// Whether this process had a session before.
    had_session: bool,
    /// When each answer was sent, and what releases were kept from the machine, for rules that are left out.
    pub(super) sent: BTreeMap<u64, Timestamp>,
    pub(super) withheld: Vec<Fence>,
}

impl Worker {
    pub(super) fn new(at: Pid) -> Self {
        Self {
            machine: Machine::new(Control::node(at)),
            registering: None,
            leaves_at: None,
            held_lease: false,
            term: 0,
            released: BTreeMap::new(),
            had_session: false,
            sent: BTreeMap::new(),
            withheld: Vec::new(),
        }
    }

    fn note_released(&mut self, pong: &Pong) {
        let over = [ReportedState::Released, ReportedState::Failed];
        for report in pong.shards.iter().filter(|each| over.contains(&each.state)) {
            let known = self.released.entry(report.partition.clone()).or_default();
            *known = report.epoch.max(*known);
        }
    }
}

/// How long handing over may take.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(3);

/// How long a coordinator may take to register a worker.
const REGISTER_LIMIT: Duration = Duration::from_millis(300);

impl Control {
    fn worker(&mut self, at: Pid) -> &mut Worker {
        self.workers.get_mut(&at).expect("a worker")
    }

    pub(super) fn worker_input(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
        match input {
            Input::Start => {
                self.workers.insert(at, Worker::new(at));
                self.register(sim, at);
                let next = sim.now(at) + TICK;
                sim.wake(at, next, Token::Tick);
            }
            Input::Message { from, message } => self.worker_hears(sim, at, from, message),
            Input::Timer(Token::Tick) => {
                let next = sim.now(at) + TICK;
                sim.wake(at, next, Token::Tick);
                // As its driver does: the machine says when it wants to know that time has passed.
                let wake_at = self.worker(at).machine.wake_at();
                if wake_at.is_some_and(|wake_at| wake_at <= sim.now(at)) {
                    self.tell_worker(sim, at, Event::Tick);
                }
                self.go_on_leaving(sim, at);
                if at == DOUBLE && self.is_doubled && !sim.is_faulty() {
                    self.end_double(sim);
                }
            }
            Input::Timer(Token::RegisterLimit(number)) => {
                if self.worker(at).registering == Some(number) {
                    self.worker(at).registering = None;
                    self.register(sim, at);
                }
            }
            Input::Timer(Token::Callback { partition, call }) => {
                let failed = sim.is_faulty() && sim.dice().chance(4);
                let result = if failed {
                    Err("a bad day".to_owned())
                } else {
                    Ok(())
                };
                let event = Event::Finished {
                    partition,
                    call,
                    result,
                };
                self.tell_worker(sim, at, event);
            }
            other => unreachable!("a worker does not expect {other:?}"),
        }
    }

    /// Whether another process of the same node has a lease.
    fn has_rival(&self, sim: &Sim<Self>, at: Pid) -> bool {
        let mut others = self
            .workers
            .iter()
            .filter(|(other, _)| **other != at && Self::node(**other) == Self::node(at));
        others.any(|(other, worker)| rules::holds(sim, *other, worker))
    }

    /// Somebody starts a second process of a worker.
    pub(super) fn begin_double(&mut self, sim: &mut Sim<Self>) {
        self.is_doubled = true;
        if sim.is_up(DOUBLE) {
            self.register(sim, DOUBLE);
        }
    }

    /// Somebody ends the second process, and starts the first one anew.
    pub(super) fn end_double(&mut self, sim: &mut Sim<Self>) {
        self.is_doubled = false;
        self.rules.put_off_rest();
        for at in [DOUBLE, Pid(COORDINATORS)] {
            sim.crash(at);
            sim.restart(at);
        }
    }

    fn worker_term(&self, at: Pid) -> u64 {
        self.workers[&at].term
    }

    fn register(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let takes_part = at != DOUBLE || self.is_doubled;
        let worker = self.worker(at);
        if !takes_part || worker.registering.is_some() || worker.leaves_at.is_some() {
            return;
        }
        let number = self.number();
        self.worker(at).registering = Some(number);
        let limit = sim.now(at) + REGISTER_LIMIT;
        sim.wake(at, limit, Token::RegisterLimit(number));
        let register = Register {
            version: VERSION,
            id: Self::node(at),
            address: at.to_string(),
            location: Location::default(),
            weight: NodeRecord::WEIGHT,
        };
        let any = Pid(sim.dice().index(COORDINATORS));
        sim.send(at, any, Message::Register { number, register });
    }

    fn worker_hears(&mut self, sim: &mut Sim<Self>, at: Pid, from: Pid, message: Message) {
        match message {
            Message::Registered {
                number,
                incarnation,
            } => {
                if self.worker(at).registering == Some(number) {
                    self.worker(at).registering = None;
                    // Another session may follow a registry that began anew.
                    self.worker(at).term = 0;
                    if std::mem::replace(&mut self.worker(at).had_session, true) {
                        sim.mark(situations::CAME_BACK);
                    }
                    if self.has_rival(sim, at) {
                        sim.mark(situations::DOUBLED);
                    }
                    self.tell_worker(sim, at, registered(incarnation));
                }
            }
            Message::Ping { number, ping } => {
                let term = ping.term;
                let ping = self.tamper_with_ping(sim, at, ping);
                let answer = self.tell_worker(sim, at, Event::Ping(ping));
                let answer = answer.expect("a ping is answered");
                if answer.is_ok() {
                    self.rules.followed(at, self.worker_term(at), term);
                    self.worker(at).term = term;
                }
                if matches!(answer, Err(PingRefused::OldTerm { .. })) {
                    sim.mark(situations::OLD_LEADER);
                }
                let pong = self.tamper_with_pong(sim, at, answer.ok());
                if let Some(pong) = &pong {
                    self.worker(at).note_released(pong);
                }
                sim.send(at, from, Message::Pong { number, pong });
            }
            Message::Register { .. } | Message::Leave(_) | Message::Pong { .. } => {
                unreachable!("no coordinator says {message:?}")
            }
        }
    }

    /// Tells the machine something, does what it wants done, and returns its answer to a ping.
    fn tell_worker(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        event: Event,
    ) -> Option<Result<Pong, PingRefused>> {
        let now = sim.now(at);
        let mut actions = Vec::new();
        let worker = self.worker(at);
        worker.machine.handle(now, event, &mut actions);
        let holds = worker.machine.lease_ends_at().is_some_and(|end| now < end);
        if worker.held_lease && !holds {
            sim.mark(situations::FENCED_ITSELF);
        }
        worker.held_lease = holds;
        let mut answer = None;
        for action in actions {
            match action {
                Action::Answer(result) => answer = Some(result),
                Action::Run { assignment, call } => {
                    let partition = assignment.partition;
                    let longest = if sim.is_faulty() && sim.dice().chance(5) {
                        TIMEOUT
                    } else {
                        TIMEOUT / 30
                    };
                    let after = sim.dice().time(&(Duration::ZERO..=longest));
                    sim.wake(at, now + after, Token::Callback { partition, call });
                }
                Action::Register => self.register(sim, at),
                Action::Instruct(_) => unreachable!("no shard commits on several members"),
                Action::Drained => {
                    sim.mark(situations::HANDED_OVER);
                    self.stop_worker(sim, at);
                }
            }
        }
        answer
    }

    /// A worker's process is asked to end: it hands over first.
    pub(super) fn leave(&mut self, sim: &mut Sim<Self>, at: Pid) {
        if sim.is_up(at) && self.worker(at).machine.incarnation().is_some() {
            self.worker(at).leaves_at = Some(sim.now(at) + LEAVE_LIMIT);
            self.tell_worker(sim, at, Event::Leave);
            self.say_goodbye(sim, at, false);
        }
    }

    fn say_goodbye(&mut self, sim: &mut Sim<Self>, at: Pid, gone: bool) {
        let Some(incarnation) = self.worker(at).machine.incarnation() else {
            return;
        };
        let leave = Leave {
            version: VERSION,
            id: Self::node(at),
            incarnation,
            gone,
        };
        for other in (0..COORDINATORS).map(Pid) {
            sim.send(at, other, Message::Leave(leave.clone()));
        }
    }

    fn stop_worker(&mut self, sim: &mut Sim<Self>, at: Pid) {
        if self.worker(at).leaves_at.is_some() {
            self.tell_worker(sim, at, Event::Stop);
        }
    }

    /// A worker that leaves and holds nothing any more ends, and another process of its node starts some time later.
    fn go_on_leaving(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let now = sim.now(at);
        if self.worker(at).leaves_at.is_some_and(|end| end <= now) {
            self.tell_worker(sim, at, Event::Stop);
        }
        let worker = self.worker(at);
        if worker.machine.is_stopped() && worker.machine.is_idle() {
            sim.mark(situations::LEFT);
            self.rules.put_off_rest();
            self.say_goodbye(sim, at, true);
            sim.crash(at);
            sim.restart(at);
        }
    }

    /// A ping as it arrives, with a rule left out.
    fn tamper_with_ping(&mut self, sim: &Sim<Self>, at: Pid, ping: Ping) -> Ping {
        match self.missing {
            Some(missing) => missing.ping(sim.now(at), self.worker(at), ping),
            None => ping,
        }
    }

    fn tamper_with_pong(&mut self, sim: &Sim<Self>, at: Pid, pong: Option<Pong>) -> Option<Pong> {
        match self.missing {
            Some(missing) => missing.pong(sim.now(at), self.worker(at), pong?).into(),
            None => pong,
        }
    }
}

fn registered(incarnation: shardwright_topology::Incarnation) -> Event {
    Event::Registered {
        incarnation,
        patience: TIMEOUT * 2,
    }
}
