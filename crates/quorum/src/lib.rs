//! Stores an event on several nodes, spread over zones and regions.
//!
//! A node knows its [`Peers`], each at a [`Place`] as seen from the node: in its own zone, in another zone, or in another
//! region. A [`ReplicationStrategy`] says how many copies go to other zones and other regions; chance, from a seed, says which
//! peers get them.
//!
//! ```
//! use shardwright_quorum::{PeerId, Peers, Place, Random, ReplicationStrategy};
//!
//! let mut peers = Peers::default();
//! for (id, place) in [
//!     ("b", Place::SameZone),
//!     ("c", Place::OtherZone("zone-2".to_owned())),
//!     ("d", Place::OtherRegion("eu-west".to_owned())),
//! ] {
//!     peers.add(PeerId::new(id), format!("{id}.internal"), place);
//! }
//!
//! let strategy = ReplicationStrategy { other_zone_replicas: 1, other_region_replicas: 1 };
//! let chosen = peers.choose(3, &strategy, &mut Random::new(7));
//! let ids: Vec<&str> = chosen.iter().map(|index| peers.at(*index).id().as_str()).collect();
//! assert_eq!(ids, ["c", "d"]);
//! ```

mod clock;
mod contract;
mod coordinator;
mod error;
mod level;
mod peer;
mod placement;
pub mod put;
mod settings;

pub use shardwright_hashing::allocation::Random;
/// The vocabulary that nodes and their locations are written in.
pub use shardwright_topology as topology;

pub use crate::{
    contract::{PeerClient, Storage},
    coordinator::{Coordinator, Receipt, UnderReplicated},
    error::{CopyError, CopyFailure, Error, InvalidSettings},
    level::{CommitLevel, UnknownLevel},
    peer::{Peer, PeerId, Place},
    placement::{PeerIndex, Peers, ReplicationStrategy},
    settings::Settings,
};

/// Any error of a storage or of a peer client.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
