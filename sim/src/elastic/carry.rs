//! Coordinators: what workflows want is carried out.

use shardwright_elastic::{
    Entry, Part, Record, Request, Settings, Version, Workflow,
    workflow::{Action, Call, CallId, Event, Owned, Report, Written},
};
use shardwright_registry::{Key, Revision, Stored};
use shardwright_testkit::sim::{Outcome, Pid, Sim, Write};
use shardwright_topology::{Phase, Timestamp};

use super::{
    COORDINATORS, Elastic, Message, Missing, TIMEOUT, Token, client::Client, node_pid, situations,
};

/// An operation that a coordinator runs.
pub(super) struct Running {
    key: Key,
    session: u64,
    workflow: Workflow,
    wake_at: Option<Timestamp>,
    /// Whether what it writes changes the pause, and not the phase.
    writes_pause: bool,
}

fn entry(stored: Stored<Box<Record>>) -> Box<Entry> {
    Box::new(Entry {
        record: *stored.value,
        version: Version(stored.revision.0),
    })
}

impl Elastic {
    pub(super) fn start(&mut self, sim: &mut Sim<Self>, at: Pid) {
        self.coordinators.remove(&at);
        self.pauses.forget(at);
        if self.nodes.contains_key(&at) {
            return;
        }
        Self::follow(sim, at);
        if at.0 >= COORDINATORS {
            self.clients.insert(at, Client::default());
            let next = sim.now(at) + TIMEOUT / 100;
            sim.wake(at, next, Token::Client);
        }
    }

    pub(super) fn coordinator_sees(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        key: &Key,
        (record, revision): (&Record, u64),
    ) {
        let found = Entry {
            record: record.clone(),
            version: Version(revision),
        };
        match self.coordinators.get(&at) {
            Some(running) if *key < running.key => {}
            Some(running) if *key == running.key => {
                // Often it finds out by itself, late.
                let is_news = running.workflow.version() < found.version;
                if is_news && sim.dice().chance(20) {
                    self.drive(sim, at, Event::Read(Some(Box::new(found))));
                }
            }
            _ if found.record.phase().is_final() => {}
            _ => self.run(sim, at, key, found),
        }
    }

    fn run(&mut self, sim: &mut Sim<Self>, at: Pid, key: &Key, found: Entry) {
        if found.record.phase() != Phase::Planned {
            sim.mark(situations::TAKEN_OVER);
        }
        self.sessions += 1;
        let settings: Settings = self.settings;
        let running = Running {
            key: key.clone(),
            session: self.sessions,
            workflow: Workflow::new(settings, found, sim.now(at)),
            wake_at: None,
            writes_pause: false,
        };
        self.pauses.forget(at);
        self.coordinators.insert(at, running);
        self.drive(sim, at, Event::Admitted);
    }

    /// Tells a coordinator's workflow what happened, and carries out what it wants.
    pub(super) fn drive(&mut self, sim: &mut Sim<Self>, at: Pid, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = sim.now(at);
            let Some(running) = self.coordinators.get_mut(&at) else {
                return;
            };
            self.pauses.told(at, &event);
            let mut actions = Vec::new();
            running.workflow.handle(now, event, &mut actions);
            for action in actions {
                events.extend(self.act(sim, at, action));
            }
        }
    }

    /// Carries out what a workflow wants; what is done at once is returned.
    fn act(&mut self, sim: &mut Sim<Self>, at: Pid, action: Action) -> Option<Event> {
        let running = self.coordinators.get_mut(&at)?;
        let session = running.session;
        match action {
            Action::WakeAt(moment) => {
                if running.wake_at.is_none_or(|wake_at| moment < wake_at) {
                    running.wake_at = Some(moment);
                    sim.wake(at, moment, Token::Wake(session, moment));
                }
            }
            Action::Write {
                call,
                expected,
                record,
            } => {
                let key = running.key.clone();
                let replaced = (running.workflow.record(), expected.0);
                running.writes_pause = self.pauses.writes(at, &key, replaced, &record);
                let expected = match self.missing {
                    Some(Missing::CompareAndSet) => {
                        sim.store().get(&key).map(|found| found.revision)
                    }
                    _ => Some(Revision(expected.0)),
                };
                self.act_early(sim, at, &record);
                self.pause_apart(sim, &key, &record);
                let value = Some(record);
                let write = Write {
                    key,
                    expected,
                    value,
                };
                sim.write(at, Token::Write(session, call), write);
            }
            Action::Read => sim.get(at, Token::Read(session), running.key.clone()),
            Action::Call(call) => Self::send_call(sim, at, session, call),
            // One operation at a time is the rule of whoever begins them.
            Action::Hold { call, .. } | Action::Resolve { call, .. } => {
                let outcome = Owned::Done;
                return Some(Event::Owned { call, outcome });
            }
            Action::Tell(Report::Aborting { reason }) => {
                if reason.contains("differs") {
                    sim.mark(situations::DIFFERS);
                }
            }
            Action::Tell(report) => sim.trace(|| format!("{at}: {report:?}")),
        }
        None
    }

    fn send_call(sim: &mut Sim<Self>, at: Pid, session: u64, call: Call) {
        let message = Message::Call {
            session,
            id: call.id,
            operation: call.operation,
            request: Box::new(call.request),
        };
        sim.send(at, node_pid(&call.node), message);
    }

    pub(super) fn woken(&mut self, sim: &mut Sim<Self>, at: Pid, session: u64, moment: Timestamp) {
        let Some(running) = self.coordinators.get_mut(&at) else {
            return;
        };
        if running.session == session && running.wake_at == Some(moment) {
            running.wake_at = None;
            self.drive(sim, at, Event::Tick);
        }
    }

    fn is_of(&self, at: Pid, session: u64) -> bool {
        let running = self.coordinators.get(&at);
        running.is_some_and(|running| running.session == session)
    }

    pub(super) fn wrote(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        (session, call): (u64, CallId),
        outcome: Outcome<Box<Record>>,
    ) {
        if !self.is_of(at, session) {
            return;
        }
        if let Outcome::Conflict(Some(found)) = &outcome {
            self.note_race(sim, at, &found.value);
        }
        let outcome = match outcome {
            Outcome::Done(revision) => Written::Done(Version(revision.0)),
            Outcome::Conflict(found) => Written::Conflict(found.map(entry)),
            Outcome::Unknown | Outcome::Unavailable => Written::Unknown,
        };
        self.drive(sim, at, Event::Wrote { call, outcome });
    }

    /// Notes who was faster: somebody who wanted a pause, or somebody who went on.
    fn note_race(&self, sim: &mut Sim<Self>, at: Pid, found: &Record) {
        let Some(running) = self.coordinators.get(&at) else {
            return;
        };
        let before = running.workflow.record();
        let is_paused = found.is_paused() && !before.is_paused();
        if is_paused && found.phase() == before.phase() && !running.writes_pause {
            sim.mark(situations::PAUSE_WON);
        }
        if running.writes_pause && found.phase() != before.phase() {
            sim.mark(situations::PAUSE_LOST);
        }
    }

    pub(super) fn got(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        session: u64,
        found: Option<Option<Stored<Box<Record>>>>,
    ) {
        if !self.is_of(at, session) {
            return;
        }
        let event = match found {
            // A read may show a time before the operation was written down.
            Some(Some(found)) => Event::Read(Some(entry(found))),
            Some(None) | None => Event::Unread,
        };
        self.drive(sim, at, event);
    }

    pub(super) fn message(&mut self, sim: &mut Sim<Self>, at: Pid, from: Pid, message: Message) {
        match message {
            Message::Reply {
                session,
                id,
                outcome,
            } => {
                if self.is_of(at, session) {
                    self.drive(sim, at, Event::Replied { call: id, outcome });
                }
            }
            Message::Call {
                session,
                id,
                operation,
                request,
            } => {
                let is_seal = matches!(*request, Request::Seal { .. });
                let outcome = self.node_call(sim, at, &operation, *request);
                if is_seal && sim.is_faulty() && sim.dice().chance(15) {
                    // The worst moment: somebody else may be about to seal.
                    self.cancel(sim);
                }
                sim.trace(|| format!("{at} answers {id:?} of {session}: {outcome:?}"));
                let reply = Message::Reply {
                    session,
                    id,
                    outcome,
                };
                sim.send(at, from, reply);
            }
            Message::Write { shard, key, number } => self.node_write(sim, at, &shard, key, number),
        }
    }

    /// Does what a decision would allow before it is in the journal, if that rule is missing.
    fn act_early(&mut self, sim: &mut Sim<Self>, at: Pid, record: &Record) {
        let (missing, phase) = (self.missing, record.phase());
        let calls: Vec<_> = match (missing, phase) {
            (Some(Missing::CommitFirst), Phase::Committed) => {
                let open = |part: &Part| {
                    let shard = part.shard.clone();
                    (part.node.clone(), Request::Open { shard })
                };
                record.work.targets.iter().map(open).collect()
            }
            (Some(Missing::AbortFirst), Phase::Aborting) => {
                let release = |part: &Part| {
                    let shard = part.shard.clone();
                    (part.node.clone(), Request::Release { shard })
                };
                record.work.sources.iter().map(release).collect()
            }
            _ => Vec::new(),
        };
        for (node, request) in calls {
            let message = Message::Call {
                session: 0,
                id: CallId(0),
                operation: record.id().clone(),
                request: Box::new(request),
            };
            sim.send(at, node_pid(&node), message);
        }
    }
}
