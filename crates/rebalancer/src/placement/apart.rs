//! Groups of partitions that are kept apart, and who holds how many of each.

use foldhash::HashMap;

use super::number_of;
use crate::Cluster;

/// The groups of a cluster by number. Most partitions belong to none, and cost nothing here.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    groups_of: HashMap<u32, Vec<u32>>,
    /// How many copies of a group a node holds, by group and node.
    held: HashMap<(u32, u32), u32>,
}

impl Apart {
    /// Numbers the groups of the partitions, which nobody holds yet.
    pub(super) fn new(cluster: &Cluster) -> Self {
        let mut numbers: HashMap<&str, u32> = HashMap::default();
        let mut groups_of = HashMap::default();
        for (item, (_, partition)) in (0..).zip(cluster.partitions()) {
            if partition.apart.is_empty() {
                continue;
            }
            let mut groups = Vec::with_capacity(partition.apart.len());
            for name in &partition.apart {
                let next = number_of(numbers.len());
                groups.push(*numbers.entry(name).or_insert(next));
            }
            groups_of.insert(item, groups);
        }
        Self {
            groups_of,
            held: HashMap::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups_of.is_empty()
    }

    fn groups(&self, item: u32) -> &[u32] {
        if self.is_empty() {
            return &[];
        }
        self.groups_of.get(&item).map_or(&[], Vec::as_slice)
    }

    pub(super) fn hold(&mut self, item: u32, node: u32) {
        if self.is_empty() {
            return;
        }
        for group in self.groups_of.get(&item).into_iter().flatten() {
            *self.held.entry((*group, node)).or_insert(0) += 1;
        }
    }

    pub(super) fn release(&mut self, item: u32, node: u32) {
        if self.is_empty() {
            return;
        }
        for group in self.groups_of.get(&item).into_iter().flatten() {
            if let Some(held) = self.held.get_mut(&(*group, node)) {
                *held -= 1;
            }
        }
    }

    /// Whether a node that does not hold the partition holds another one that it must be kept apart from.
    pub(crate) fn forbids(&self, item: u32, node: u32) -> bool {
        self.holds_more_than(0, item, node)
    }

    /// Whether a node that holds the partition holds another one that it must be kept apart from.
    pub(crate) fn is_violated(&self, item: u32, node: u32) -> bool {
        self.holds_more_than(1, item, node)
    }

    fn holds_more_than(&self, copies: u32, item: u32, node: u32) -> bool {
        let held = |group: &u32| self.held.get(&(*group, node)).copied().unwrap_or(0);
        self.groups(item).iter().any(|group| held(group) > copies)
    }
}
