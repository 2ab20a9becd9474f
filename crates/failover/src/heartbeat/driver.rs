//! Runs a licence on a clock and a store.

use std::sync::Arc;

use rand::RngCore;
use shardwright_registry::{Key, Seen, Stored, WriteOutcome};
use shardwright_topology::{Epoch, ShardId, ShardRecord};
use tokio::{sync::mpsc, task::JoinHandle, time::MissedTickBehavior};

use super::Shared;
use crate::{
    Event, LicenceAction, LicenceEvent, StepDownReason, Written, calls::follow, node_lease,
};

/// What the driver's own tasks tell it.
#[derive(Debug)]
pub(super) enum Heard {
    Seen(Box<Seen>),
    LeaseWritten(WriteOutcome),
    ShardWritten {
        key: Key,
        record: Box<ShardRecord>,
        written: Written,
    },
    Stop,
}

/// A handler that is due.
#[derive(Debug)]
enum Due {
    Serve(ShardId, Epoch),
    StepDown(ShardId, Epoch, StepDownReason),
}

struct Driver {
    shared: Arc<Shared>,
    heard: mpsc::UnboundedSender<Heard>,
    due: mpsc::UnboundedSender<Due>,
    lease: Key,
    shards: String,
}

/// Starts the driver, and returns where to stop it.
pub(super) fn start(shared: Arc<Shared>) -> (mpsc::UnboundedSender<Heard>, JoinHandle<()>) {
    let (heard, inbox) = mpsc::unbounded_channel();
    let (due, handlers) = mpsc::unbounded_channel();
    let driver = Driver {
        lease: node_lease(&shared.registration.id),
        shards: shared.registry.shards().prefix().to_string(),
        heard: heard.clone(),
        due,
        shared: shared.clone(),
    };
    let handling = tokio::spawn(call_handlers(shared, handlers));
    let task = tokio::spawn(async move {
        driver.run(inbox).await;
        // The driver's end of the channel is gone, so this ends when the last handler has.
        let _ended = handling.await;
    });
    (heard, task)
}

async fn call_handlers(shared: Arc<Shared>, mut due: mpsc::UnboundedReceiver<Due>) {
    while let Some(due) = due.recv().await {
        let handlers = shared.handlers().clone();
        match due {
            Due::Serve(shard, epoch) => {
                if let Some(handler) = handlers.serve {
                    handler(shard, epoch).await;
                }
            }
            Due::StepDown(shard, epoch, reason) => {
                if let Some(handler) = handlers.step_down {
                    handler(shard, epoch, reason).await;
                }
            }
        }
    }
}

impl Driver {
    async fn run(self, mut inbox: mpsc::UnboundedReceiver<Heard>) {
        let timing = self.shared.calls.timing();
        let store = self.shared.registry.store().clone();
        let seed = rand::rng().next_u64();
        let watch = follow(store, timing.timeout(), seed, self.heard.clone(), |seen| {
            Heard::Seen(Box::new(seen))
        });
        let mut ticks = tokio::time::interval(timing.renew_every() / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = inbox.recv() => match heard {
                    None | Some(Heard::Stop) => break,
                    Some(heard) => self.hear(heard),
                },
                _ = ticks.tick() => self.advance(LicenceEvent::Tick),
            }
        }
        self.advance(LicenceEvent::Resign);
        // A lease that is not given back ends by itself.
        let _given_back = tokio::time::timeout(timing.hold(), async {
            while !self.is_over() {
                tokio::select! {
                    Some(heard) = inbox.recv() => self.hear(heard),
                    _ = ticks.tick() => self.advance(LicenceEvent::Tick),
                }
            }
        })
        .await;
        watch.abort();
    }

    fn is_over(&self) -> bool {
        let licence = self.shared.licence();
        licence.as_ref().is_none_or(crate::Licence::is_over)
    }

    fn hear(&self, heard: Heard) {
        match heard {
            Heard::Seen(seen) => self.see(*seen),
            Heard::LeaseWritten(outcome) => self.advance(LicenceEvent::LeaseWritten(outcome)),
            Heard::ShardWritten {
                key,
                record,
                written,
            } => self.advance(LicenceEvent::ShardWritten {
                key,
                record,
                written,
            }),
            Heard::Stop => {}
        }
    }

    fn see(&self, seen: Seen) {
        match seen {
            Seen::Lease(lease) if lease.key == self.lease => {
                self.advance(LicenceEvent::Lease(Some(lease)));
            }
            Seen::Shard(stored) if stored.key.as_str().starts_with(&self.shards) => {
                self.advance(LicenceEvent::Shard(stored));
            }
            Seen::Deleted { key, .. } if key.as_str().starts_with(&self.shards) => {
                self.advance(LicenceEvent::ShardGone(key));
            }
            Seen::Listed(_) => self.advance(LicenceEvent::Lease(None)),
            Seen::Node(Stored { value: node, .. }) => {
                let licence = self.shared.licence();
                let me = licence.as_ref().map(|licence| licence.primary().clone());
                drop(licence);
                let later =
                    me.is_some_and(|me| me.node == node.id && me.incarnation < node.incarnation);
                if later {
                    tracing::warn!(node = %node.id, "another process runs under this name, this one ends");
                    self.advance(LicenceEvent::Superseded);
                }
            }
            Seen::Lease(_)
            | Seen::Shard(_)
            | Seen::Deleted { .. }
            | Seen::Keyspace(_)
            | Seen::Operation(_) => {}
        }
    }

    /// Feeds one event to the licence, and does what it asks for.
    fn advance(&self, event: LicenceEvent) {
        let mut actions = Vec::new();
        let now = self.shared.clock.now();
        if let Some(licence) = self.shared.licence().as_mut() {
            licence.handle(now, event, &mut actions);
        }
        for action in actions {
            self.perform(action);
        }
        self.shared.changes.send_replace(());
    }

    fn perform(&self, action: LicenceAction) {
        let (calls, heard) = (self.shared.calls.clone(), self.heard.clone());
        // A driver that has ended hears no answers, and needs none.
        match action {
            LicenceAction::WriteLease { expected, record } => {
                let key = self.lease.clone();
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
                        let _heard = heard.send(Heard::Seen(Box::new(seen)));
                    }
                });
            }
            LicenceAction::Serve { shard, epoch } => {
                let _handled = self.due.send(Due::Serve(shard, epoch));
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
                let _handled = self.due.send(Due::StepDown(shard, epoch, reason));
            }
        }
    }
}
