//! Notices that a node is down, promotes replicas by epoch, and keeps a node from serving without a lease.
//!
//! Every node holds a lease and serves only while it lasts, by its own clock: that is its [`Licence`]. Any number of coordinators watch the
//! leases; the one that leads is a [`Failover`] that ends the lease of a silent node, and then gives its shards to replicas at their
//! next epochs. A [`Detector`] says who is silent, [`choose`] who takes over. All of these are pure machines;
//! the feature `tokio` has the drivers: `Heartbeat` for a node, `FailoverCoordinator` for a coordinator.
//!
//! ```
//! use shardwright_failover::{
//!     Candidate, Copy, Eligible, choose,
//!     topology::{Epoch, Incarnation, Lsn, NodeId, Primary, ShardId},
//! };
//!
//! let candidate = |node: &str, position, in_sync| Candidate {
//!     primary: Primary { node: NodeId::new(node).unwrap(), incarnation: Incarnation(1) },
//!     copy: Some(Copy { epoch: Epoch(3), position: Lsn(position), in_sync }),
//! };
//! let candidates = [candidate("node-2", 90, false), candidate("node-3", 85, true)];
//!
//! let chosen = choose(&ShardId::numbered(0), Epoch(3), &candidates, Eligible::Reported)?;
//! assert_eq!(chosen.primary.node.as_str(), "node-3", "it has every acknowledged write");
//! # Ok::<_, shardwright_failover::PromotionRefused>(())
//! ```
//!
//! Shards that commit on several members by a log of their own are looked after by [`replication`]: another pure machine, which begins
//! the attempts that the logs decide about, and sees to it that there are as many copies as there should be.
//!
//! # Guarantees
//!
//! - No two processes may serve a shard at once, as long as the rates of their clocks differ by less than a tenth of the time-out, and
//!   shards of a node that is alive are not assigned elsewhere behind its back.
//! - An epoch has one owner; epochs only grow. Both hold whatever clocks do.
//! - A process that was paused or cut off serves nothing by what it knew before: it claims its shards at new epochs, or finds
//!   that they are gone.
//! - A shard without anybody to take over is told of, not passed over.
//! - A shard that commits on several members gets a new primary only while every acknowledged write is on a copy that can be reached, or
//!   an operator accepts the loss by name.
//!
//! # What this crate does not do
//!
//! It moves no data. Of a shard that commits on several members it proposes the primary; the log of the shard decides. Requests are fenced
//! by the epoch that they carry, where they arrive. A clock that stands still while its machine is suspended does not notice
//! that: there the epochs are all that protects.
//!
//! # Features
//!
//! - `tokio`: the drivers, and the metric `shardwright_failover_events_total{shard,from,to}`.

mod action;
#[cfg(feature = "tokio")]
mod calls;
mod config;
#[cfg(feature = "tokio")]
mod coordinator;
mod copies;
mod detector;
#[cfg(feature = "tokio")]
mod drive;
mod event;
mod failover;
#[cfg(feature = "tokio")]
mod handlers;
#[cfg(feature = "tokio")]
mod heartbeat;
mod licence;
mod promotion;
pub mod replication;
mod written;

/// The vocabulary that promotions are written in.
pub use shardwright_topology as topology;

#[cfg(feature = "tokio")]
pub use crate::{
    coordinator::FailoverCoordinator,
    heartbeat::{Heartbeat, HeartbeatError},
};

pub use crate::{
    action::{Action, Input, PromotionError},
    config::{Config, ConfigError, Eligible, HEARTBEAT_TIMEOUT_MIN, Mode},
    copies::{Copies, Copy, Reports},
    detector::{Detector, Observation, Verdict},
    event::Event,
    failover::{Failover, failover_lease},
    licence::{Licence, LicenceAction, LicenceEvent, StepDownReason},
    promotion::{Candidate, PromotionRefused, choose, is_in_sync, promoted, reclaimed},
    written::Written,
};
