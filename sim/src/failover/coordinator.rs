//! The coordinators of the scenario.

use shardwright_failover::{Action, Config, Event, Failover, Input, Written, failover_lease};
use shardwright_registry::Stored;
use shardwright_testkit::sim::{Outcome, Pid, Sim, Write};
use shardwright_topology::KeyspaceName;

use super::{
    Library, Missing, TIMEOUT, Token, Value, config, lease_outcome, node_id, process, written,
};

impl Library {
    pub(super) fn start_coordinator(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let seed = sim.dice().bits();
        let config = match self.mutation {
            Some(Missing::Patience) => Config {
                check_interval: TIMEOUT / 12,
                heartbeat_timeout: TIMEOUT / 4,
                ..config()
            },
            _ => config(),
        };
        let keyspace = KeyspaceName::main();
        let machine = Failover::new(config, &keyspace, node_id(at), process(sim, at), seed);
        self.coordinators
            .insert(at, machine.expect("times that fit"));
        self.start_reading(sim, at);
    }

    pub(super) fn coordinator_sees(&mut self, sim: &mut Sim<Self>, at: Pid, stored: Stored<Value>) {
        let Stored {
            key,
            value,
            revision,
        } = stored;
        let input = match value {
            Value::Lease(value) => Input::Lease(Stored {
                key,
                value,
                revision,
            }),
            Value::Shard(value) => Input::Shard(Stored {
                key,
                value: *value,
                revision,
            }),
            Value::Copies(_) => return,
        };
        self.coordinate(sim, at, input);
    }

    pub(super) fn coordinator_wrote(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        token: Token,
        outcome: Outcome<Value>,
    ) {
        let input = match token {
            Token::OwnLease => Input::OwnLeaseWritten(lease_outcome(outcome)),
            Token::Lease(key) | Token::Shard(key, _) => {
                let written = written(&outcome);
                Input::Written { key, written }
            }
            Token::Tick | Token::Follow | Token::Repair | Token::Report | Token::Reports => return,
        };
        self.coordinate(sim, at, input);
    }

    /// Feeds one input to a coordinator, and does what it asks for.
    pub(super) fn coordinate(&mut self, sim: &mut Sim<Self>, at: Pid, input: Input) {
        let now = sim.now(at);
        let mut actions = Vec::new();
        let Some(machine) = self.coordinators.get_mut(&at) else {
            return;
        };
        machine.handle(now, input, &mut actions);
        let leads = machine.leads_at(now);
        for action in actions {
            sim.trace(|| format!("{at} -> {action:?}"));
            match action {
                Action::WriteOwnLease { expected, record } => {
                    let write = Write {
                        key: failover_lease(&KeyspaceName::main()),
                        expected,
                        value: Some(Value::Lease(record)),
                    };
                    self.write(sim, at, Token::OwnLease, write);
                }
                Action::WriteLease {
                    key,
                    expected,
                    record,
                } => {
                    assert!(leads, "{at} fences without leading");
                    if self.mutation == Some(Missing::Fence) {
                        let revision = sim.store().revision();
                        let written = Written::Done(revision);
                        self.coordinate(sim, at, Input::Written { key, written });
                        continue;
                    }
                    let write = Write {
                        key: key.clone(),
                        expected,
                        value: Some(Value::Lease(record)),
                    };
                    self.write(sim, at, Token::Lease(key), write);
                }
                Action::WriteShard {
                    key,
                    expected,
                    record,
                } => {
                    assert!(leads, "{at} promotes without leading");
                    self.write_shard(sim, at, key, expected, record);
                }
                Action::Read { key } => sim.get(at, Token::Follow, key),
                Action::ReadReports => self.read_reports(sim, at),
                Action::Emit(event) => note(sim, &event),
                Action::Answer { .. } => {}
            }
        }
    }
}

fn note(sim: &mut Sim<Library>, event: &Event) {
    match event {
        Event::Leading { term } if *term > 1 => sim.mark("a later leader"),
        Event::Deposed { .. } => sim.mark("a leader is deposed"),
        Event::NodeDown { .. } => sim.mark("a node is fenced"),
        Event::NodeUp { .. } => sim.mark("a node is back"),
        Event::Promoted { lossless, .. } => {
            sim.mark("a promotion");
            if *lossless {
                sim.mark("a replica in sync takes over");
            }
        }
        Event::NoReplica { .. } => sim.mark("nobody to take over"),
        _ => {}
    }
}
