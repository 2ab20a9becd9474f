//! The worker as a pure machine.

use std::{collections::BTreeMap, time::Duration};

use shardwright_rebalancer::PartitionId;
use shardwright_topology::{Epoch, Incarnation, NodeId, Timestamp};

pub use super::event::{Action, Call, Event, PingRefused};
use super::session::Session;
use crate::protocol::{Assignment, Assignments, Ping, Pong, Report, ReportedState, VERSION};

/// How long to wait before something is tried again, at the most.
const RETRY_MAX: Duration = Duration::from_millis(500);

/// How long to wait at the least, however little time a coordinator gives.
const RETRY_MIN: Duration = Duration::from_millis(10);

/// The state of a worker between two events.
#[derive(Debug, Clone)]
pub struct Machine {
    node: NodeId,
    session: Option<Session>,
    /// The session before.
    former: Option<Incarnation>,
    held: BTreeMap<PartitionId, Held>,
    /// The highest epoch of each shard that this process will never serve again.
    fences: BTreeMap<PartitionId, Epoch>,
    /// When to ask for a session, unless a coordinator pings before.
    register_at: Option<Timestamp>,
    is_leaving: bool,
    is_stopped: bool,
    /// How long to wait before something is tried again.
    retry: Duration,
}

/// A shard that a callback has begun to serve.
#[derive(Debug, Clone)]
struct Held {
    assignment: Assignment,
    state: State,
    error: Option<String>,
    position: Option<u64>,
    in_sync: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Serving,
    Stopping,
    /// The callback that stops has failed and is tried again.
    StopAgain {
        at: Timestamp,
    },
    /// Not served at this epoch, because the callback that begins has failed.
    Failed,
}

impl Machine {
    /// Returns the machine of a worker that has no session yet.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            session: None,
            former: None,
            held: BTreeMap::new(),
            fences: BTreeMap::new(),
            register_at: None,
            is_leaving: false,
            is_stopped: false,
            retry: RETRY_MAX,
        }
    }

    /// Takes in an event.
    pub fn handle(&mut self, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Registered {
                incarnation,
                patience,
            } => self.begin(now, incarnation, patience),
            Event::Ping(ping) => {
                let answer = self.ping(now, ping, actions);
                actions.push(Action::Answer(answer));
            }
            Event::Finished {
                partition,
                call,
                result,
            } => self.finished(now, &partition, call, result),
            Event::Progress {
                partition,
                position,
                in_sync,
            } => self.progress(&partition, position, in_sync),
            Event::Leave => self.is_leaving = true,
            Event::Stop => self.stop(),
            Event::Tick => {}
        }
        self.advance(now, actions);
    }

    /// Returns the epoch at which the worker may serve a shard at this moment.
    #[must_use]
    pub fn is_serving(&self, now: Timestamp, partition: &PartitionId) -> Option<Epoch> {
        self.session
            .as_ref()
            .filter(|session| session.holds_at(now))?;
        let held = self.held.get(partition)?;
        (held.state == State::Serving).then_some(held.assignment.epoch)
    }

    /// Returns what the worker serves while its lease holds.
    pub fn serving(&self) -> impl Iterator<Item = &Assignment> {
        let serving = self
            .held
            .values()
            .filter(|held| held.state == State::Serving);
        serving.map(|held| &held.assignment)
    }

    /// Returns what a callback has begun to serve, and none has ceased to.
    pub fn held(&self) -> impl Iterator<Item = &Assignment> {
        let held = self.held.values();
        let begun = held.filter(|held| held.state != State::Failed);
        begun.map(|held| &held.assignment)
    }

    /// Returns until when the worker may serve what it serves.
    #[must_use]
    pub fn lease_ends_at(&self) -> Option<Timestamp> {
        self.session.as_ref()?.ends_at
    }

    /// Returns the session.
    #[must_use]
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.session.as_ref().map(|session| session.incarnation)
    }

    /// Returns whether nothing is served, and no callback runs or has to run.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.held.values().all(|held| held.state == State::Failed)
    }

    /// Returns the highest term that was seen in this session, and the list of it that holds.
    #[must_use]
    pub fn latest(&self) -> (u64, u64) {
        let session = self.session.as_ref();
        session.map_or((0, 0), |session| (session.term, session.list))
    }

    /// Returns whether everything was stopped for good.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Returns when the machine wants to be told that time has passed. Until then that changes nothing.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        let retries = self.held.values().filter_map(|held| match held.state {
            State::StopAgain { at } => Some(at),
            State::Starting | State::Serving | State::Stopping | State::Failed => None,
        });
        let serves = self.serving().next().is_some();
        let lease_end = self.lease_ends_at().filter(|_| serves);
        retries.chain(lease_end).chain(self.register_at).min()
    }

    fn begin(&mut self, now: Timestamp, incarnation: Incarnation, patience: Duration) {
        let is_newer = self.incarnation().is_none_or(|known| known < incarnation);
        if is_newer && !self.is_stopped {
            self.former = self.incarnation().or(self.former);
            self.session = Some(Session::new(incarnation, patience));
            self.retry = (patience / 8).clamp(RETRY_MIN, RETRY_MAX);
            self.register_at = Some(now + patience);
        }
    }

    /// Holds nothing from now on, whatever a coordinator says.
    fn stop(&mut self) {
        self.is_stopped = true;
        self.register_at = None;
        if let Some(session) = &mut self.session {
            session.wanted.clear();
        }
    }

    fn progress(&mut self, partition: &PartitionId, position: Option<u64>, in_sync: Option<bool>) {
        if let Some(held) = self.held.get_mut(partition) {
            (held.position, held.in_sync) = (position, in_sync);
        }
    }

    fn ping(
        &mut self,
        now: Timestamp,
        ping: Ping,
        actions: &mut Vec<Action>,
    ) -> Result<Pong, PingRefused> {
        if ping.version != VERSION {
            let found = ping.version;
            return Err(PingRefused::Version { found });
        }
        let wrong_session = PingRefused::WrongSession {
            node: self.node.clone(),
            meant: ping.incarnation,
            found: self.incarnation(),
        };
        let session = self
            .session
            .as_mut()
            .filter(|session| ping.node == self.node && ping.incarnation == session.incarnation);
        let Some(session) = session else {
            self.is_superseded(now, &ping);
            return Err(wrong_session);
        };
        if ping.term < session.term {
            return Err(PingRefused::OldTerm { seen: session.term });
        }
        if ping.expired {
            self.former = self.incarnation();
            self.session = None;
            self.register_at = Some(now).filter(|_| !self.is_stopped);
            return Err(wrong_session);
        }
        self.register_at = Some(now + session.patience).filter(|_| !self.is_stopped);
        let is_newer = (ping.term, ping.list) > (session.term, session.list);
        if let Some(assignments) = ping.assignments.filter(|_| is_newer) {
            (session.term, session.list) = (ping.term, ping.list);
            self.follow(assignments);
        }
        let Some(session) = &mut self.session else {
            return Err(wrong_session);
        };
        // Time is granted to those who know what they may do with it.
        if (ping.term, ping.list) == (session.term, session.list) {
            if let Some(number) = ping.granted {
                session.grant(number, Duration::from_millis(ping.hold_ms));
            }
            if ping.drained {
                actions.push(Action::Drained);
            }
        }
        if !ping.instructions.is_empty() {
            actions.push(Action::Instruct(ping.instructions));
        }
        self.advance(now, actions);
        Ok(self.pong(now))
    }

    /// A later session reached this process's address, and this process does not know of it: the answer to an earlier registration of
    /// its own was lost. It registers anew, unless the answer is just late.
    fn is_superseded(&mut self, now: Timestamp, ping: &Ping) {
        let is_later = self
            .incarnation()
            .is_none_or(|known| known < ping.incarnation);
        if ping.node == self.node && is_later && !self.is_stopped {
            let soon = now + self.retry;
            self.register_at = Some(self.register_at.map_or(soon, |at| at.min(soon)));
        }
    }

    /// Takes over a list: what it asks to release is fenced before anything else.
    fn follow(&mut self, assignments: Assignments) {
        let Some(session) = &mut self.session else {
            return;
        };
        for fence in &assignments.release {
            let known = self.fences.entry(fence.partition.clone()).or_default();
            *known = (*known).max(fence.epoch);
        }
        session.released = assignments
            .release
            .into_iter()
            .map(|fence| fence.partition)
            .collect();
        let serve = assignments.serve.into_iter().filter(|_| !self.is_stopped);
        session.wanted = serve
            .map(|assignment| (assignment.partition.clone(), assignment))
            .collect();
    }

    fn pong(&mut self, now: Timestamp) -> Pong {
        let shards = self.reports();
        let node = self.node.clone();
        let left = self.former.filter(|_| self.is_idle());
        let session = self.session.as_mut().expect("a ping was for this session");
        let number = session.number_pong(now);
        Pong {
            version: VERSION,
            node,
            incarnation: session.incarnation,
            left,
            leaves: self.is_leaving,
            number,
            term: session.term,
            list: session.list,
            shards,
            copies: None,
            troubles: Vec::new(),
        }
    }

    fn reports(&self) -> Vec<Report> {
        let held = self.held.iter().map(|(partition, held)| {
            let state = match held.state {
                State::Starting => ReportedState::Starting,
                State::Serving => ReportedState::Serving,
                State::Stopping | State::StopAgain { .. } => ReportedState::Stopping,
                State::Failed => ReportedState::Failed,
            };
            Report {
                partition: partition.clone(),
                epoch: held.assignment.epoch,
                state,
                error: held.error.clone(),
                position: held.position,
                in_sync: held.in_sync,
            }
        });
        let session = self.session.as_ref();
        let released = session.into_iter().flat_map(|session| {
            let wanted = session.wanted.values().filter(|each| self.is_fenced(each));
            let wanted = wanted.map(|each| &each.partition);
            session.released.iter().chain(wanted)
        });
        let released = released
            .filter(|partition| !self.held.contains_key(*partition))
            .map(|partition| {
                Report::new(
                    partition.clone(),
                    self.fence(partition),
                    ReportedState::Released,
                )
            });
        held.chain(released).collect()
    }

    fn fence(&self, partition: &PartitionId) -> Epoch {
        self.fences.get(partition).copied().unwrap_or_default()
    }

    fn is_fenced(&self, assignment: &Assignment) -> bool {
        assignment.epoch <= self.fence(&assignment.partition)
    }

    fn finished(
        &mut self,
        now: Timestamp,
        partition: &PartitionId,
        call: Call,
        result: Result<(), String>,
    ) {
        let Some(held) = self.held.get_mut(partition) else {
            return;
        };
        match (call, result) {
            (Call::Serve, Ok(())) => {
                held.state = State::Serving;
                held.error = None;
            }
            (Call::Serve, Err(error)) => {
                held.state = State::Failed;
                held.error = Some(error);
                let epoch = held.assignment.epoch;
                let fence = self.fences.entry(partition.clone()).or_default();
                *fence = (*fence).max(epoch);
            }
            (Call::Delete, Ok(())) => {
                self.held.remove(partition);
            }
            (Call::Delete, Err(error)) => {
                held.state = State::StopAgain {
                    at: now + self.retry,
                };
                held.error = Some(error);
            }
        }
    }

    /// Begins whatever follows from what is wanted, what is held and what the lease allows.
    fn advance(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.register_at.is_some_and(|at| at <= now) {
            self.register_at = Some(now + self.retry);
            actions.push(Action::Register);
        }
        let holds = self
            .session
            .as_ref()
            .is_some_and(|session| session.holds_at(now));
        self.stop_what_is_over(now, holds, actions);
        if holds {
            self.start_what_is_wanted(actions);
        }
    }

    fn stop_what_is_over(&mut self, now: Timestamp, holds: bool, actions: &mut Vec<Action>) {
        let wanted = self.session.as_ref().map(|session| &session.wanted);
        let mut gone = Vec::new();
        for (partition, held) in &mut self.held {
            let listed = wanted.and_then(|wanted| wanted.get(partition));
            let want = listed.filter(|want| {
                let fence = self.fences.get(partition);
                fence.is_none_or(|fence| *fence < want.epoch)
            });
            let again = matches!(held.state, State::StopAgain { at } if at <= now);
            match (held.state, want) {
                // The same copy in the same role goes on at a later epoch.
                (State::Serving, Some(want)) if holds && goes_on(&held.assignment, want) => {
                    held.assignment.epoch = held.assignment.epoch.max(want.epoch);
                }
                (State::Serving, _) => {
                    held.state = State::Stopping;
                    actions.push(run(&held.assignment, Call::Delete));
                }
                (State::StopAgain { .. }, _) if again => {
                    held.state = State::Stopping;
                    actions.push(run(&held.assignment, Call::Delete));
                }
                // The failure is reported for as long as the coordinator wants what failed.
                (State::Failed, _) => {
                    if listed.is_none_or(|want| held.assignment.epoch < want.epoch) {
                        gone.push(partition.clone());
                    }
                }
                (State::Starting | State::Stopping | State::StopAgain { .. }, _) => {}
            }
        }
        for partition in gone {
            self.held.remove(&partition);
        }
    }

    fn start_what_is_wanted(&mut self, actions: &mut Vec<Action>) {
        let Some(session) = &self.session else {
            return;
        };
        for (partition, want) in &session.wanted {
            if self.held.contains_key(partition) || self.is_fenced(want) {
                continue;
            }
            actions.push(run(want, Call::Serve));
            let held = Held {
                assignment: want.clone(),
                state: State::Starting,
                error: None,
                position: None,
                in_sync: None,
            };
            self.held.insert(partition.clone(), held);
        }
    }
}

fn goes_on(held: &Assignment, want: &Assignment) -> bool {
    held.role == want.role && held.replica == want.replica
}

fn run(assignment: &Assignment, call: Call) -> Action {
    Action::Run {
        assignment: assignment.clone(),
        call,
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::{ReplicaId, Role, ShardId};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tell(machine: &mut Machine, second: u32, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        machine.handle(Timestamp(SECOND * second), event, &mut actions);
        actions
    }

    fn ping(granted: Option<u64>, serve: Option<&Assignment>) -> Event {
        Event::Ping(Ping {
            version: VERSION,
            coordinator: NodeId::new("c").unwrap(),
            node: NodeId::new("w").unwrap(),
            incarnation: Incarnation(1),
            term: 1,
            list: 1,
            assignments: serve.map(|assignment| Assignments {
                serve: vec![assignment.clone()],
                ..Assignments::default()
            }),
            granted,
            hold_ms: 5_000,
            expired: false,
            drained: false,
            instructions: Vec::new(),
        })
    }

    #[test]
    fn the_end_of_the_lease_is_the_time_to_wake_while_something_is_served() {
        let mut machine = Machine::new(NodeId::new("w").unwrap());
        let assignment = Assignment {
            partition: PartitionId::from(ShardId::numbered(1)),
            role: Role::Primary,
            replica: ReplicaId::from_bits(1),
            epoch: Epoch(1),
        };
        let registered = Event::Registered {
            incarnation: Incarnation(1),
            patience: SECOND * 20,
        };
        tell(&mut machine, 0, registered);
        assert_eq!(machine.wake_at(), Some(Timestamp(SECOND * 20)));
        tell(&mut machine, 1, ping(None, Some(&assignment)));
        let begun = tell(&mut machine, 2, ping(Some(1), None));
        assert!(begun.contains(&run(&assignment, Call::Serve)), "{begun:?}");
        assert_eq!(machine.wake_at(), Some(Timestamp(SECOND * 22)));
        let served = Event::Finished {
            partition: assignment.partition.clone(),
            call: Call::Serve,
            result: Ok(()),
        };
        tell(&mut machine, 3, served);
        // Granted is the answer that was sent after one second, for five.
        assert_eq!(machine.wake_at(), Some(Timestamp(SECOND * 6)));
        assert_eq!(tell(&mut machine, 5, Event::Tick), []);
        let ended = tell(&mut machine, 6, Event::Tick);
        assert_eq!(ended, [run(&assignment, Call::Delete)]);
        assert_eq!(machine.wake_at(), Some(Timestamp(SECOND * 22)));
    }

    #[test]
    fn each_answer_says_that_the_worker_leaves_in_a_later_session_too() {
        let mut machine = Machine::new(NodeId::new("w").unwrap());
        let leaves = |machine: &mut Machine, session: u64| {
            let Event::Ping(mut ping) = ping(None, None) else {
                unreachable!("it is one");
            };
            ping.incarnation = Incarnation(session);
            let answered = tell(machine, 1, Event::Ping(ping));
            let Some(Action::Answer(Ok(pong))) = answered.last() else {
                panic!("{answered:?}");
            };
            pong.leaves
        };
        for session in 1..=2 {
            let registered = Event::Registered {
                incarnation: Incarnation(session),
                patience: SECOND * 20,
            };
            tell(&mut machine, 0, registered);
            assert_eq!(leaves(&mut machine, session), session == 2);
            tell(&mut machine, 1, Event::Leave);
            assert!(leaves(&mut machine, session));
        }
    }
}
