//! Pins: where people have put shards that plans are to leave there.

use serde::{Deserialize, Serialize};
use shardwright_topology::{KeyspaceName, NodeId, ShardId};

use crate::{Key, Record};

/// That somebody has put a shard on a node, as it is stored: in `pin/<keyspace>/<shard>`.
///
/// It is about the shard as long as that node is its primary, and says nothing of any other node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinRecord {
    /// The node.
    pub node: NodeId,
}

impl Record for PinRecord {
    const KIND: &'static str = "pin";
    const VERSION: u64 = 1;
}

impl PinRecord {
    /// Returns the key of the pin of a shard.
    #[must_use]
    pub fn key(keyspace: &KeyspaceName, shard: &ShardId) -> Key {
        Key::new(format!("pin/{keyspace}/{shard}")).expect("names make a valid key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode};

    #[test]
    fn a_pin_is_stored_with_the_version_of_its_format() {
        let pin = PinRecord {
            node: NodeId::new("n1").expect("a name"),
        };
        let stored = encode(&pin).expect("it is an object");
        let json: serde_json::Value = serde_json::from_slice(&stored).expect("JSON");
        assert_eq!(json, serde_json::json!({ "v": 1, "node": "n1" }));
        assert_eq!(decode::<PinRecord>(&stored).ok(), Some(pin));
        for refused in [r#"{"v":2,"node":"n1"}"#, r#"{"node":"n1"}"#, r#"{"v":1}"#] {
            assert!(
                decode::<PinRecord>(refused.as_bytes()).is_err(),
                "{refused}"
            );
        }
        let key = PinRecord::key(&KeyspaceName::main(), &ShardId::numbered(3));
        assert_eq!(key.as_str(), "pin/main/shard-3");
    }
}
