//! Runs a licence on a clock and a store.

use std::sync::Arc;

use rand::RngCore;
use shardwright_registry::{Key, LeaseRecord, Seen, Stored, WriteOutcome, node_lease, watch_below};
use shardwright_topology::{NodeRecord, Primary, ShardRecord};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::Shared;
use crate::{
    Event, LicenceAction, LicenceEvent, Written,
    calls::follow,
    drive::{self, Driver as _, Pace, drive},
    handlers::Turns,
};

/// What the driver's own tasks tell it.
#[derive(Debug)]
pub(super) enum Heard {
    Shard(Box<Seen>),
    Lease(Option<Stored<LeaseRecord>>),
    Node(Box<NodeRecord>),
    LeaseWritten(WriteOutcome),
    ShardWritten {
        key: Key,
        record: Box<ShardRecord>,
        written: Written,
    },
}

struct Driver {
    shared: Arc<Shared>,
    me: Primary,
    heard: mpsc::UnboundedSender<Heard>,
    turns: Turns,
}

/// Starts the driver of a process, and returns it and the task that calls handlers, which ends after it.
pub(super) fn start(shared: Arc<Shared>, me: Primary) -> (JoinHandle<()>, JoinHandle<()>) {
    let (heard, inbox) = mpsc::unbounded_channel();
    let (turns, calling) = shared.caller.clone().start();
    let driver = Driver {
        shared,
        me,
        heard,
        turns,
    };
    (tokio::spawn(driver.run(inbox)), calling)
}

/// Reads the node's own lease and record again and again: as often as it writes the lease, and more often while that is another's.
fn look(shared: Arc<Shared>, me: Primary, heard: mpsc::UnboundedSender<Heard>) -> JoinHandle<()> {
    let every = shared.calls.timing().renew_every();
    tokio::spawn(async move {
        loop {
            let (lease, node) = tokio::join!(
                shared.calls.read_lease(node_lease(&me.node)),
                shared.calls.read_node(&me.node),
            );
            let is_answered = lease.is_some() && node.is_some();
            let lease = lease.map(Heard::Lease);
            let node = node.map(|node| Heard::Node(Box::new(node)));
            for seen in lease.into_iter().chain(node) {
                if heard.send(seen).is_err() {
                    return;
                }
            }
            let is_settled = is_answered && shared.holds();
            let pause = if is_settled { every } else { every / 10 };
            tokio::time::sleep(pause).await;
        }
    })
}

impl Driver {
    async fn run(mut self, inbox: mpsc::UnboundedReceiver<Heard>) {
        let shared = self.shared.clone();
        let timing = shared.calls.timing();
        let shards = shared.registry.shards().prefix().clone();
        let records = watch_below(shared.registry.store().clone(), shards);
        let (seed, heard) = (rand::rng().next_u64(), self.heard.clone());
        let watch = follow(records, timing.timeout(), seed, heard, |seen| {
            Heard::Shard(Box::new(seen))
        });
        let look = look(shared.clone(), self.me.clone(), self.heard.clone());
        let pace = Pace {
            tick: timing.renew_every() / 3,
            farewell: timing.hold(),
        };
        drive(&mut self, inbox, &shared.stop, pace).await;
        watch.abort();
        look.abort();
    }

    fn see_node(&mut self, node: &NodeRecord) {
        if self.me.incarnation < node.incarnation {
            tracing::warn!(node = %node.id, "another process runs under this name, this one ends");
            self.handle(LicenceEvent::Superseded);
        }
    }
}

impl drive::Driver for Driver {
    type Heard = Heard;
    type Input = LicenceEvent;
    type Action = LicenceAction;

    const TICK: LicenceEvent = LicenceEvent::Tick;
    const RESIGN: LicenceEvent = LicenceEvent::Resign;

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Shard(seen) => match *seen {
                Seen::Shard(stored) => self.handle(LicenceEvent::Shard(stored)),
                Seen::Deleted { key, .. } => self.handle(LicenceEvent::ShardGone(key)),
                _ => {}
            },
            Heard::Lease(lease) => self.handle(LicenceEvent::Lease(lease)),
            Heard::Node(node) => self.see_node(&node),
            Heard::LeaseWritten(outcome) => self.handle(LicenceEvent::LeaseWritten(outcome)),
            Heard::ShardWritten {
                key,
                record,
                written,
            } => self.handle(LicenceEvent::ShardWritten {
                key,
                record,
                written,
            }),
        }
    }

    fn advance(&mut self, event: LicenceEvent) -> Vec<LicenceAction> {
        let mut actions = Vec::new();
        let now = self.shared.clock.now();
        if let Some(licence) = self.shared.licence().as_mut() {
            licence.handle(now, event, &mut actions);
        }
        actions
    }

    fn is_over(&self) -> bool {
        let licence = self.shared.licence();
        licence.as_ref().is_none_or(crate::Licence::is_over)
    }

    fn changes(&self) -> &watch::Sender<()> {
        &self.shared.changes
    }

    fn perform(&mut self, action: LicenceAction) {
        let (calls, heard) = (self.shared.calls.clone(), self.heard.clone());
        // A driver that has ended hears no answers, and needs none.
        match action {
            LicenceAction::WriteLease { expected, record } => {
                let key = node_lease(&self.me.node);
                tokio::spawn(async move {
                    let outcome = calls.write_lease(key, expected, record).await;
                    let _heard = heard.send(Heard::LeaseWritten(outcome));
                });
            }
            LicenceAction::WriteShard {
                key,
                expected,
                record,
            } => {
                tokio::spawn(async move {
                    let write = calls.write_shard(key.clone(), expected, (*record).clone());
                    let written = write.await;
                    let _heard = heard.send(Heard::ShardWritten {
                        key,
                        record,
                        written,
                    });
                });
            }
            LicenceAction::ReadShard { key } => {
                tokio::spawn(async move {
                    if let Some(seen) = calls.read(key).await {
                        let _heard = heard.send(Heard::Shard(Box::new(seen)));
                    }
                });
            }
            LicenceAction::Serve { shard, epoch } => {
                let shared = self.shared.clone();
                self.turns.add(async move {
                    let handler = shared.handlers().serve.clone();
                    if let Some(handler) = handler {
                        handler(shard, epoch).await;
                    }
                });
            }
            LicenceAction::StepDown {
                shard,
                epoch,
                reason,
            } => {
                tracing::info!(%shard, %epoch, ?reason, "stepped down");
                // Nobody need listen.
                let _heard = self.shared.events.send(Event::SteppedDown {
                    shard: shard.clone(),
                    epoch,
                    reason,
                });
                let shared = self.shared.clone();
                self.turns.add(async move {
                    let handler = shared.handlers().step_down.clone();
                    if let Some(handler) = handler {
                        handler(shard, epoch, reason).await;
                    }
                });
            }
        }
    }
}
