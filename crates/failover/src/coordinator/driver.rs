//! Runs the failover machine on a clock and a store.

use std::{collections::BTreeMap, sync::Arc};

use metrics::counter;
use rand::RngCore;
use shardwright_registry::{Key, Seen, WriteOutcome, watch_records};
use shardwright_topology::{Epoch, NodeId, ShardId};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::Shared;
use crate::{
    Action, Event, Input, PromotionError, Reports, Written,
    calls::follow,
    drive::{self, Driver as _, Pace, drive},
    failover_lease,
    handlers::{Caller, Turns},
};

type Answer = oneshot::Sender<Result<Epoch, PromotionError>>;

/// What users and the driver's own tasks tell it.
#[derive(Debug)]
pub(super) enum Heard {
    Seen(Box<Seen>),
    Reports(Option<Reports>),
    OwnLeaseWritten(WriteOutcome),
    Written {
        key: Key,
        written: Written,
    },
    Promote {
        shard: ShardId,
        to: NodeId,
        forced: bool,
        answer: Answer,
    },
}

struct Driver {
    shared: Arc<Shared>,
    turns: Turns,
    answers: BTreeMap<u64, Answer>,
    next_ticket: u64,
}

pub(super) fn start(shared: Arc<Shared>, inbox: mpsc::UnboundedReceiver<Heard>) -> JoinHandle<()> {
    // Handlers may ask this coordinator, so nothing waits for them.
    let (turns, _calling) = Caller::default().start();
    let driver = Driver {
        shared,
        turns,
        answers: BTreeMap::new(),
        next_ticket: 0,
    };
    tokio::spawn(driver.run(inbox))
}

impl Driver {
    async fn run(mut self, inbox: mpsc::UnboundedReceiver<Heard>) {
        let shared = self.shared.clone();
        let timing = shared.calls.timing();
        let records = watch_records(shared.registry.store().clone());
        let (seed, heard) = (rand::rng().next_u64(), shared.heard.clone());
        let watch = follow(records, timing.timeout(), seed, heard, |seen| {
            Heard::Seen(Box::new(seen))
        });
        let pace = Pace {
            tick: shared.config.check_interval.min(timing.timeout() / 10),
            farewell: timing.hold(),
        };
        drive(&mut self, inbox, &shared.stop, pace).await;
        watch.abort();
    }

    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Lease(lease) => self.handle(Input::Lease(lease)),
            Seen::Shard(shard) => self.handle(Input::Shard(shard)),
            Seen::Deleted { key, .. } => self.handle(Input::Gone(key)),
            Seen::Listed(_) => self.handle(Input::Current),
            Seen::Node(_)
            | Seen::Keyspace(_)
            | Seen::Operation(_)
            | Seen::Copies(_)
            | Seen::Pin(_) => {}
        }
    }
}

impl drive::Driver for Driver {
    type Heard = Heard;
    type Input = Input;
    type Action = Action;

    const TICK: Input = Input::Tick;
    const RESIGN: Input = Input::Resign;

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Seen(seen) => self.see(*seen),
            Heard::Reports(reports) => self.handle(Input::Reports(reports)),
            Heard::OwnLeaseWritten(outcome) => self.handle(Input::OwnLeaseWritten(outcome)),
            Heard::Written { key, written } => self.handle(Input::Written { key, written }),
            Heard::Promote {
                shard,
                to,
                forced,
                answer,
            } => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.answers.insert(ticket, answer);
                self.handle(Input::Promote {
                    ticket,
                    shard,
                    to,
                    forced,
                });
            }
        }
    }

    fn advance(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        let now = self.shared.clock.now();
        self.shared.machine().handle(now, input, &mut actions);
        actions
    }

    fn is_over(&self) -> bool {
        !self.shared.machine().holds_lease()
    }

    fn changes(&self) -> &watch::Sender<()> {
        &self.shared.changes
    }

    fn perform(&mut self, action: Action) {
        let (calls, heard) = (self.shared.calls.clone(), self.shared.heard.clone());
        // A driver that has ended hears no answers, and needs none.
        match action {
            Action::WriteOwnLease { expected, record } => {
                let key = failover_lease(self.shared.registry.name());
                tokio::spawn(async move {
                    let outcome = calls.write_lease(key, expected, record).await;
                    let _heard = heard.send(Heard::OwnLeaseWritten(outcome));
                });
            }
            Action::WriteLease {
                key,
                expected,
                record,
            } => {
                tokio::spawn(async move {
                    let written = calls.fence(key.clone(), expected, record).await;
                    let _heard = heard.send(Heard::Written { key, written });
                });
            }
            Action::WriteShard {
                key,
                expected,
                record,
            } => {
                tokio::spawn(async move {
                    let written = calls.write_shard(key.clone(), expected, *record).await;
                    let _heard = heard.send(Heard::Written { key, written });
                });
            }
            Action::Read { key } => {
                tokio::spawn(async move {
                    if let Some(seen) = calls.read(key).await {
                        let _heard = heard.send(Heard::Seen(Box::new(seen)));
                    }
                });
            }
            Action::ReadReports => {
                tokio::spawn(async move {
                    let reports = calls.read_reports().await;
                    let _heard = heard.send(Heard::Reports(reports));
                });
            }
            Action::Emit(event) => self.emit(event),
            Action::Answer { ticket, answer } => {
                if let Some(waiting) = self.answers.remove(&ticket) {
                    // Whoever asked may have gone.
                    let _heard = waiting.send(answer);
                }
            }
        }
    }
}

impl Driver {
    fn emit(&self, event: Event) {
        tracing::info!(?event, "failover");
        match &event {
            Event::Promoted {
                shard, from, to, ..
            } => {
                let labels = [
                    ("shard", shard.to_string()),
                    ("from", from.to_string()),
                    ("to", to.to_string()),
                ];
                counter!("shardwright_failover_events_total", &labels).increment(1);
            }
            Event::NodeDown { node, shards } => {
                let (shared, node, shards) = (self.shared.clone(), node.clone(), shards.clone());
                self.turns.add(async move {
                    let handler = shared.handlers().node_down.clone();
                    if let Some(handler) = handler {
                        handler(node, shards).await;
                    }
                });
            }
            Event::NodeUp { node } => {
                let (shared, node) = (self.shared.clone(), node.clone());
                self.turns.add(async move {
                    let handler = shared.handlers().node_up.clone();
                    if let Some(handler) = handler {
                        handler(node).await;
                    }
                });
            }
            _ => {}
        }
        // Nobody need listen.
        let _heard = self.shared.events.send(event);
    }
}
