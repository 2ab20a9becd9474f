//! Cuts: where a shard is divided.

use serde::{Deserialize, Serialize};
use shardwright_topology::Position;

use super::span::hex;

/// Where an extent is divided: what it names is the first of the second part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Cut {
    /// At a position of the hash space.
    Position {
        /// The position.
        #[serde(with = "position")]
        at: Position,
    },
    /// At a key, in the order of the bytes.
    Key {
        /// The key.
        #[serde(with = "hex")]
        at: Vec<u8>,
    },
}

/// Positions as texts, because many readers of JSON lose the last bits of a large integer.
mod position {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use shardwright_topology::Position;

    pub(super) fn serialize<S: Serializer>(at: &Position, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Position, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
