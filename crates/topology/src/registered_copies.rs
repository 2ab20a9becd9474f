//! The copies of shards that a node vouches for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Incarnation, NodeId, ReplicaId, ShardId};

/// The copies of one keyspace that a node vouches for: `replica/<keyspace>/<node>`.
///
/// A node adds a copy once it is made durable, with a new id whenever the copy is created, wiped, restored or found damaged, and removes it
/// before it deletes anything. Only registered copies become members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredCopies {
    /// The node.
    pub node: NodeId,
    /// The number of the last opening of any of them. Each opening takes the next one, so that none has a number that was there before.
    pub opened: Incarnation,
    /// Its copies, one of a shard at most.
    pub copies: BTreeMap<ShardId, ReplicaId>,
}

impl RegisteredCopies {
    /// Returns those of a node that has none yet.
    #[must_use]
    pub fn none(node: NodeId) -> Self {
        Self {
            node,
            opened: Incarnation(0),
            copies: BTreeMap::new(),
        }
    }

    /// Returns those of the node once it has opened this copy of the shard, which takes the place of another one.
    #[must_use]
    pub fn with_opened(&self, shard: ShardId, copy: ReplicaId) -> Self {
        let mut next = self.clone();
        next.opened = self.opened.next();
        next.copies.insert(shard, copy);
        next
    }

    /// Returns those of the node without a copy that it is about to delete. Another copy of the shard stays.
    #[must_use]
    pub fn without(&self, shard: &ShardId, copy: ReplicaId) -> Self {
        let mut next = self.clone();
        next.copies
            .retain(|of, known| of != shard || *known != copy);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_opening_has_a_number_of_its_own() {
        let (shard, other) = (ShardId::numbered(0), ShardId::numbered(1));
        let ids = [1, 2].map(ReplicaId::from_bits);
        let none = RegisteredCopies::none(NodeId::new("a").unwrap());
        let one = none.with_opened(shard.clone(), ids[0]);
        let again = one.with_opened(shard.clone(), ids[0]);
        assert_eq!((one.opened.0, again.opened.0), (1, 2));
        assert_eq!(one.copies, again.copies);
        let both = again.with_opened(other.clone(), ids[1]);
        assert_eq!(both.without(&shard, ids[1]), both, "it is another copy");
        let left = both.without(&shard, ids[0]);
        assert_eq!(left.copies, BTreeMap::from([(other, ids[1])]));
        assert_eq!(left.opened, both.opened, "numbers never come again");
    }
}
