//! The policy of the hash ring: who holds a partition follows from the names of the nodes alone.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use shardwright_hashing::{
    Position, Ring, Weight,
    ring::{DEFAULT_VIRTUAL_NODES, Placement as Tokens},
};
use shardwright_topology::NodeRecord;

use crate::{
    Cluster, Node, Plan, Policy, Spread, Standing,
    placement::{Placement, spot},
    replica,
};

/// Gives each partition to the nodes that come first from its position on a hash ring.
///
/// Whatever happened before, equal nodes and partitions lead to equal holders and primaries, which anybody can compute. A node that
/// comes or goes moves only what it gets or had. Loads are even to about a seventh, as [`Ring`] says, and loads of partitions are
/// not looked at.
///
/// Where a node keeps what it has without accepting more, its copies stay, and the ring places only the others. A pinned partition
/// stays, and its missing copies go to the least loaded nodes. A ring knows nothing of groups that are kept
/// [apart](crate::Partition::apart); where one shares a node, that is reported.
#[doc(alias = "RingSharder")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RingPolicy {
    /// How many virtual nodes a node of weight 100 has. Default [`DEFAULT_VIRTUAL_NODES`]. A node has them in proportion to its
    /// weight, up to a weight of [`RingPolicy::WEIGHT_MAX`].
    pub virtual_nodes: NonZeroU32,
    /// How far apart copies of one partition are kept. Default: on different nodes.
    pub spread: Spread,
}

impl RingPolicy {
    /// The weight above which a node gets no more: its virtual nodes take memory.
    pub const WEIGHT_MAX: u32 = 100 * NodeRecord::WEIGHT;
}

impl Default for RingPolicy {
    fn default() -> Self {
        Self {
            virtual_nodes: NonZeroU32::new(DEFAULT_VIRTUAL_NODES).unwrap_or(NonZeroU32::MIN),
            spread: Spread::default(),
        }
    }
}

impl Policy for RingPolicy {
    fn plan(&self, cluster: &Cluster) -> Plan {
        let ring = self.ring(cluster);
        let mut placement = Placement::new(cluster, self.spread, |node| node.weight, |_| 1);
        for item in placement.numbers() {
            let entry = &placement.items[item as usize];
            if entry.partition.pinned {
                continue;
            }
            let kept =
                |holder: &&u32| placement.seats.seat(**holder).node.standing == Standing::Keeping;
            let kept = entry.holders.iter().filter(kept).count();
            let copies = (entry.partition.copies as usize).saturating_sub(kept);
            let wanted = self.choose(&placement, &ring, Position(spot(entry.id)), copies);
            placement.wish(item, wanted);
        }
        replica::fill_pinned(&mut placement);
        placement.into_ordered_plan()
    }
}

impl RingPolicy {
    fn ring<'a>(&self, cluster: &'a Cluster) -> Ring<&'a str> {
        let mut ring = Ring::new(Tokens::Hashed, self.virtual_nodes.get());
        let accepting = cluster.nodes().filter(|node| node.accepts());
        let weighted = accepting.map(|node: &Node| (node.id.as_str(), weight(node)));
        ring.add_all(weighted)
            .expect("the nodes of a cluster have different names");
        ring
    }

    /// Returns the first nodes from a position that are in different places, and then the first others.
    fn choose(
        &self,
        placement: &Placement<'_>,
        ring: &Ring<&str>,
        position: Position,
        copies: usize,
    ) -> Vec<u32> {
        let numbers = || {
            let names = ring.shards_from(position);
            names.filter_map(|name| placement.seats.number_of_name(name))
        };
        if !placement.seats.has_places() {
            return numbers().take(copies).collect();
        }
        let (mut chosen, mut places) = (Vec::with_capacity(copies), Vec::new());
        let mut passed_over = Vec::new();
        for number in numbers() {
            if chosen.len() == copies {
                return chosen;
            }
            let place = placement.seats.seat(number).place;
            if places.contains(&place) {
                passed_over.push(number);
            } else {
                places.push(place);
                chosen.push(number);
            }
        }
        let missing = copies.saturating_sub(chosen.len());
        chosen.extend(passed_over.into_iter().take(missing));
        chosen
    }
}

fn weight(node: &Node) -> Weight {
    debug_assert_eq!(
        node.standing,
        Standing::Accepting,
        "others are not on the ring"
    );
    let weight = node.weight.clamp(1, RingPolicy::WEIGHT_MAX);
    let relative = f64::from(weight) / f64::from(NodeRecord::WEIGHT);
    Weight::new(relative).expect("a hundredth to a hundred is a weight")
}
