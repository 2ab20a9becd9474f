//! The hand-overs of nodes that give away what they have: some at once, the others in turn.
//!
//! A hand-over holds up the shard's clients from the moment its primary makes way, and what is done meanwhile on the same nodes and in the
//! same registry makes that longer. So the shards of a node take turns, and each is away for as short as it can be.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shardwright_topology::{NodeId, ShardId, Timestamp};

/// Which part of a node's primaries makes way at once: then a node with many of them does not take as many turns.
const PART: usize = 32;

/// After how long a hand-over holds up no other one: whatever keeps it may take much longer.
const TURN: Duration = Duration::from_millis(250);

/// Whose turn it is on the nodes that give away what they have.
#[derive(Debug, Default)]
pub(super) struct Turns {
    under_way: BTreeMap<ShardId, Turn>,
    waiting: BTreeSet<(NodeId, ShardId)>,
}

#[derive(Debug)]
struct Turn {
    node: NodeId,
    since: Timestamp,
}

impl Turns {
    /// Whether a node with so many primaries may begin to hand over one more now; otherwise the shard waits for its turn.
    pub(super) fn is_free(
        &mut self,
        now: Timestamp,
        node: &NodeId,
        primaries: usize,
        shard: &ShardId,
    ) -> bool {
        let is_counted = |turn: &&Turn| turn.node == *node && now.since(turn.since) < TURN;
        let under_way = self.under_way.values().filter(is_counted).count();
        let is_free = under_way < primaries.div_ceil(PART).max(1);
        let waits = (node.clone(), shard.clone());
        if is_free {
            self.waiting.remove(&waits);
        } else {
            self.waiting.insert(waits);
        }
        is_free
    }

    pub(super) fn begin(&mut self, now: Timestamp, node: &NodeId, shard: &ShardId) {
        let (node, since) = (node.clone(), now);
        self.under_way.insert(shard.clone(), Turn { node, since });
    }

    /// Notes that nothing is under way at a shard. Returns who is next, if it was a hand-over that has ended.
    pub(super) fn end(&mut self, shard: &ShardId) -> Option<ShardId> {
        let node = self.under_way.remove(shard)?.node;
        let is_next = |(of, _): &&(NodeId, ShardId)| *of == node;
        let next = self.waiting.iter().find(is_next).cloned()?;
        self.waiting.remove(&next);
        Some(next.1)
    }

    /// Forgets a shard that is gone.
    pub(super) fn forget(&mut self, shard: &ShardId) -> Option<ShardId> {
        self.waiting.retain(|(_, waits)| waits != shard);
        self.end(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u32) -> ShardId {
        ShardId::numbered(number)
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::default() + Duration::from_millis(ms)
    }

    #[test]
    fn shards_of_a_node_take_turns_and_other_nodes_do_not_wait() {
        let node = |name: &str| NodeId::new(name).expect("a name");
        let (a, b) = (node("a"), node("b"));
        let mut turns = Turns::default();
        assert!(turns.is_free(at(0), &a, 3, &shard(0)));
        turns.begin(at(0), &a, &shard(0));
        assert!(!turns.is_free(at(1), &a, 3, &shard(1)));
        assert!(!turns.is_free(at(1), &a, 3, &shard(2)));
        assert!(turns.is_free(at(1), &b, 3, &shard(3)));
        assert_eq!(turns.end(&shard(3)), None, "nothing was begun");
        assert_eq!(turns.end(&shard(0)), Some(shard(1)));
        assert!(turns.is_free(at(2), &a, 2, &shard(1)));
        turns.begin(at(2), &a, &shard(1));
        assert_eq!(turns.forget(&shard(2)), None);
        assert_eq!(turns.end(&shard(1)), None, "nobody waits");
    }

    #[test]
    fn many_primaries_make_way_several_at_once() {
        let node = NodeId::new("a").expect("a name");
        let mut turns = Turns::default();
        for number in 0..4 {
            assert!(turns.is_free(at(0), &node, 100, &shard(number)));
            turns.begin(at(0), &node, &shard(number));
        }
        assert!(!turns.is_free(at(0), &node, 100, &shard(4)));
    }

    #[test]
    fn a_hand_over_that_gets_stuck_holds_up_no_other_for_long() {
        let node = NodeId::new("a").expect("a name");
        let mut turns = Turns::default();
        turns.begin(at(0), &node, &shard(0));
        assert!(!turns.is_free(at(249), &node, 3, &shard(1)));
        assert!(turns.is_free(at(250), &node, 3, &shard(1)));
    }
}
