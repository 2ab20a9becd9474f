//! Runs the failover machine on a clock and a store.

use std::{collections::BTreeMap, sync::Arc};

use metrics::counter;
use rand::RngCore;
use shardwright_registry::{Key, Seen, WriteOutcome};
use shardwright_topology::{Epoch, NodeId, ShardId};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::MissedTickBehavior,
};

use super::Shared;
use crate::{
    Action, Event, Input, PromotionError, Reports, Written, calls::follow, failover_lease,
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
    Stop,
}

/// A handler that is due.
#[derive(Debug)]
enum Due {
    Down(NodeId, Vec<ShardId>),
    Up(NodeId),
}

struct Driver {
    shared: Arc<Shared>,
    due: mpsc::UnboundedSender<Due>,
    answers: BTreeMap<u64, Answer>,
    next_ticket: u64,
}

pub(super) fn start(shared: Arc<Shared>, inbox: mpsc::UnboundedReceiver<Heard>) -> JoinHandle<()> {
    let (due, handlers) = mpsc::unbounded_channel();
    let driver = Driver {
        shared: shared.clone(),
        due,
        answers: BTreeMap::new(),
        next_ticket: 0,
    };
    // Handlers may ask this coordinator, so nothing waits for them.
    tokio::spawn(call_handlers(shared, handlers));
    tokio::spawn(driver.run(inbox))
}

async fn call_handlers(shared: Arc<Shared>, mut due: mpsc::UnboundedReceiver<Due>) {
    while let Some(due) = due.recv().await {
        let handlers = shared.handlers().clone();
        match due {
            Due::Down(node, shards) => {
                if let Some(handler) = handlers.node_down {
                    handler(node, shards).await;
                }
            }
            Due::Up(node) => {
                if let Some(handler) = handlers.node_up {
                    handler(node).await;
                }
            }
        }
    }
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Heard>) {
        let shared = self.shared.clone();
        let timing = shared.calls.timing();
        let (store, seed) = (shared.registry.store().clone(), rand::rng().next_u64());
        let heard = shared.heard.clone();
        let watch = follow(store, timing.timeout(), seed, heard, |seen| {
            Heard::Seen(Box::new(seen))
        });
        let tick = shared.config.check_interval.min(timing.timeout() / 10);
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = inbox.recv() => match heard {
                    None | Some(Heard::Stop) => break,
                    Some(heard) => self.hear(heard),
                },
                _ = ticks.tick() => self.handle(Input::Tick),
            }
        }
        let led = shared.machine().leads_at(shared.clock.now());
        self.handle(Input::Resign);
        if led {
            // A lease that is not given back ends by itself.
            let _given_back = tokio::time::timeout(timing.hold(), async {
                while shared.machine().holds_lease() {
                    tokio::select! {
                        Some(heard) = inbox.recv() => self.hear(heard),
                        _ = ticks.tick() => self.handle(Input::Tick),
                    }
                }
            })
            .await;
        }
        watch.abort();
    }

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
            Heard::Stop => {}
        }
    }

    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Lease(lease) => self.handle(Input::Lease(lease)),
            Seen::Shard(shard) => self.handle(Input::Shard(shard)),
            Seen::Deleted { key, .. } => self.handle(Input::Gone(key)),
            Seen::Listed(_) => self.handle(Input::Current),
            Seen::Node(_) | Seen::Keyspace(_) | Seen::Operation(_) => {}
        }
    }

    /// Feeds one input to the machine, and does what it asks for.
    fn handle(&mut self, input: Input) {
        let mut actions = Vec::new();
        let now = self.shared.clock.now();
        self.shared.machine().handle(now, input, &mut actions);
        for action in actions {
            self.perform(action);
        }
        self.shared.changes.send_replace(());
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
            // The task that calls handlers ends after this one.
            Event::NodeDown { node, shards } => {
                let _handled = self.due.send(Due::Down(node.clone(), shards.clone()));
            }
            Event::NodeUp { node } => {
                let _handled = self.due.send(Due::Up(node.clone()));
            }
            _ => {}
        }
        // Nobody need listen.
        let _heard = self.shared.events.send(event);
    }
}
