//! Stores an event on several nodes, spread over zones and regions, and acknowledges it at the level that was asked for.
//!
//! A [`Coordinator`] puts each event into the [`Storage`] of its own node and, through a [`PeerClient`], on peers. Each peer is at a
//! [`Place`]: in the node's own zone, in another zone, or in another region. A [`CommitLevel`] says when the caller hears of it.
//!
//! ```
//! use shardwright_quorum::{BoxError, Bytes, Coordinator, Keys, PeerClient, Place, Settings, Storage};
//!
//! struct Here;
//! struct There;
//!
//! impl Storage for Here {
//!     async fn put(&self, key: &str, event: Bytes) -> Result<(), BoxError> {
//!         Ok(println!("{key} is {event:?}"))
//!     }
//! }
//!
//! impl PeerClient for There {
//!     type Peer = String;
//!
//!     async fn put(&self, peer: &String, key: &str, _: Bytes) -> Result<(), BoxError> {
//!         Ok(println!("{key} goes to {peer}"))
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let settings = Settings { replication_factor: 3, ..Settings::default() };
//! let coordinator = Coordinator::new(Here, There, settings)?;
//! coordinator.add_peer("b", "b.internal".to_owned(), Place::SameZone);
//! coordinator.add_peer("c", "c.internal".to_owned(), Place::OtherZone("zone-2".to_owned()));
//!
//! let receipt = coordinator.put(Keys::new().generate(), r#"{"total": 12}"#).await?;
//! assert!(receipt.copies >= 2);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - Copies count by the node that holds them: no answer counts twice, and no node stands for two copies.
//! - A put fails only when its level can no longer be reached, and no copy is waited for beyond its deadline.
//! - What is missing after the acknowledgement is made elsewhere, tried again, and reported if that fails: as long as the process lives.
//! - What is under way is limited: a put too many is refused before anything is written.
//! - Equal seeds choose the same peers.
//!
//! # What this crate does not do
//!
//! It finds no peers, and a coordinator reads nothing back. Events are written once; storing one again must be harmless.
//! A put that failed may have left copies.
//!
//! The log of a shard, which is replicated in one order and never loses what it acknowledged, is another thing: the module `log`.
//!
//! # Features
//!
//! - `http`: servers for clients and for peers, and the client of peers.
//! - `log`: the replicated log: its machine, its files, the connections between nodes, and copies that run.
//! - `sqlite`: a store of events in one SQLite file.

mod clock;
mod contract;
mod coordinator;
mod error;
#[cfg(feature = "http")]
pub mod http;
mod keys;
mod level;
#[cfg(feature = "log")]
pub mod log;
mod peer;
mod placement;
pub mod put;
mod settings;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use bytes::Bytes;
pub use shardwright_hashing::allocation::Random;
/// The vocabulary that nodes and their locations are written in.
pub use shardwright_topology as topology;

pub use crate::{
    contract::{PeerClient, Storage},
    coordinator::{Coordinator, Receipt, UnderReplicated},
    error::{CopyError, CopyFailure, Error, InvalidSettings, KeyTaken},
    keys::Keys,
    level::{CommitLevel, UnknownLevel},
    peer::{Peer, PeerId, Place},
    placement::{PeerIndex, Peers, ReplicationStrategy},
    settings::Settings,
};

/// Any error of a storage or of a peer client.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
