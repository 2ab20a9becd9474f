//! The nodes of the scenario: a licence each.

use shardwright_failover::{Licence, LicenceAction, LicenceEvent, StepDownReason, Written};
use shardwright_registry::{Key, Stored, node_lease};
use shardwright_testkit::sim::{Outcome, Pid, Sim, Write};
use shardwright_topology::{Primary, ShardRecord};

use super::{Library, Token, Value, config, lease_outcome, node_id, node_timing, process, written};

impl Library {
    pub(super) fn start_node(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let me = Primary {
            node: node_id(at),
            incarnation: process(sim, at),
        };
        let timing = config().lease_timing().expect("times that fit");
        let timing = node_timing(timing, self.mutation);
        let seed = sim.dice().bits();
        let licence = Licence::new(node_lease(&me.node), me, timing, seed);
        self.nodes.insert(at, licence);
        self.views.retain(|(of, _), _| *of != at);
        self.start_reports(sim, at);
    }

    pub(super) fn node_sees(&mut self, sim: &mut Sim<Self>, at: Pid, stored: Stored<Value>) {
        let Stored {
            key,
            value,
            revision,
        } = stored;
        match value {
            Value::Lease(value) if key == node_lease(&node_id(at)) => {
                let lease = Stored {
                    key,
                    value,
                    revision,
                };
                self.advance(sim, at, LicenceEvent::Lease(Some(lease)));
            }
            Value::Shard(value) => {
                let view = (at, value.id.clone());
                if self
                    .views
                    .get(&view)
                    .is_none_or(|(seen, _)| *seen < revision)
                {
                    self.views.insert(view, (revision, (*value).clone()));
                }
                let shard = Stored {
                    key,
                    value: *value,
                    revision,
                };
                self.advance(sim, at, LicenceEvent::Shard(shard));
            }
            Value::Lease(_) | Value::Copies(_) => {}
        }
    }

    /// All records were shown: what was not does not exist.
    pub(super) fn listed(&mut self, sim: &mut Sim<Self>, at: Pid) {
        if self.coordinators.contains_key(&at) {
            self.coordinate(sim, at, shardwright_failover::Input::Current);
        } else {
            self.advance(sim, at, LicenceEvent::Lease(None));
        }
    }

    pub(super) fn node_wrote(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        token: Token,
        outcome: Outcome<Value>,
    ) {
        match token {
            Token::OwnLease => {
                let written = lease_outcome(outcome);
                self.advance(sim, at, LicenceEvent::LeaseWritten(written));
            }
            Token::Shard(key, record) => {
                let written = written(&outcome);
                if written == Written::Refused {
                    sim.mark("a claim is refused");
                }
                let event = LicenceEvent::ShardWritten {
                    key,
                    record,
                    written,
                };
                self.advance(sim, at, event);
            }
            Token::Report => self.report_written(sim, at, &outcome),
            Token::Tick | Token::Follow | Token::Lease(_) | Token::Reports | Token::Repair => {}
        }
    }

    /// Feeds one event to a node's licence, and does what it asks for.
    pub(super) fn advance(&mut self, sim: &mut Sim<Self>, at: Pid, event: LicenceEvent) {
        let now = sim.now(at);
        let mut actions = Vec::new();
        if let Some(licence) = self.nodes.get_mut(&at) {
            licence.handle(now, event, &mut actions);
        }
        for action in actions {
            sim.trace(|| format!("{at} -> {action:?}"));
            match action {
                LicenceAction::WriteLease { expected, record } => {
                    let write = Write {
                        key: node_lease(&node_id(at)),
                        expected,
                        value: Some(Value::Lease(record)),
                    };
                    self.write(sim, at, Token::OwnLease, write);
                }
                LicenceAction::WriteShard {
                    key,
                    expected,
                    record,
                } => {
                    sim.mark("a node claims its shard anew");
                    self.write_shard(sim, at, key, expected, record);
                }
                LicenceAction::ReadShard { key } => sim.get(at, Token::Follow, key),
                LicenceAction::Serve { .. } => {}
                LicenceAction::StepDown { reason, .. } => match reason {
                    StepDownReason::Replaced => sim.mark("a primary finds itself replaced"),
                    StepDownReason::LeaseEnded => sim.mark("a lease ends under a primary"),
                    StepDownReason::NewEpoch | StepDownReason::Removed => {}
                },
            }
        }
    }

    pub(super) fn write_shard(
        &self,
        sim: &mut Sim<Self>,
        at: Pid,
        key: Key,
        expected: shardwright_registry::Revision,
        record: Box<ShardRecord>,
    ) {
        let write = Write {
            key: key.clone(),
            expected: Some(expected),
            value: Some(Value::Shard(record.clone())),
        };
        self.write(sim, at, Token::Shard(key, record), write);
    }
}
