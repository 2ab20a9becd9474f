//! The keys of nodes' leases.

use shardwright_topology::NodeId;

use crate::Key;

const NODE: &str = "lease/node.";

/// Returns the key of a node's lease: `lease/node.<node>`.
///
/// # Panics
/// Never: a node's name makes a valid key.
#[must_use]
pub fn node_lease(node: &NodeId) -> Key {
    Key::new(format!("{NODE}{node}")).expect("a node's name makes a valid key")
}

/// Returns the node whose lease has a key.
#[must_use]
pub fn node_of_lease(key: &Key) -> Option<NodeId> {
    NodeId::new(key.as_str().strip_prefix(NODE)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_lease_is_told_from_other_leases() {
        let node = NodeId::new("node-1").expect("a name");
        assert_eq!(node_lease(&node).as_str(), "lease/node.node-1");
        assert_eq!(node_of_lease(&node_lease(&node)), Some(node));
        for other in ["lease/coordinator", "lease/failover.main", "node/node.a"] {
            let key = Key::new(other).expect("a key");
            assert_eq!(node_of_lease(&key), None);
        }
    }
}
