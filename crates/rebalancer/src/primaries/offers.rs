//! Which primaries each node could hand to which other one, in the order of what they cost.

use std::collections::{BTreeMap, BTreeSet};

/// The hand-overs that are possible. Nodes and primaries go by their places.
///
/// Of all that one node could hand to another, the best leaves the two as even as can be: it costs just less, or just more, than what would make
/// them even. So two look-ups find it, however many there are.
#[derive(Debug)]
pub(super) struct Offers {
    /// Of each node, by who could take over: the costs and the places of its primaries.
    gives: Vec<BTreeMap<usize, BTreeSet<(u128, usize)>>>,
    /// Of each node, who has primaries that it could take over.
    takes: Vec<BTreeSet<usize>>,
}

impl Offers {
    /// Returns one of so many nodes that have nothing.
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            gives: vec![BTreeMap::new(); nodes],
            takes: vec![BTreeSet::new(); nodes],
        }
    }

    /// Takes in that a node has a primary that others could take over.
    pub(super) fn add(&mut self, from: usize, holders: &[usize], cost: u128, primary: usize) {
        for to in holders.iter().copied().filter(|to| *to != from) {
            let all = self.gives[from].entry(to).or_default();
            all.insert((cost, primary));
            self.takes[to].insert(from);
        }
    }

    /// Takes in that a node has it no more.
    pub(super) fn remove(&mut self, from: usize, holders: &[usize], cost: u128, primary: usize) {
        for to in holders.iter().copied().filter(|to| *to != from) {
            let Some(all) = self.gives[from].get_mut(&to) else {
                continue;
            };
            all.remove(&(cost, primary));
            if all.is_empty() {
                self.gives[from].remove(&to);
                self.takes[to].remove(&from);
            }
        }
    }

    /// Who could take something over from a node.
    pub(super) fn takers(&self, from: usize) -> impl Iterator<Item = usize> {
        self.gives[from].keys().copied()
    }

    /// From whom a node could take something over.
    pub(super) fn givers(&self, to: usize) -> impl Iterator<Item = usize> {
        self.takes[to].iter().copied()
    }

    /// Returns the dearest primary that costs no more than `even`, and the cheapest that costs more, each the first of those that cost the same.
    pub(super) fn nearest(
        &self,
        from: usize,
        to: usize,
        even: u128,
    ) -> impl Iterator<Item = (u128, usize)> {
        let all = self.gives[from].get(&to);
        let cheaper = all.and_then(|all| {
            let (cost, _) = all.range(..=(even, usize::MAX)).next_back()?;
            all.range((*cost, 0)..).next()
        });
        let dearer = all.and_then(|all| all.range((even + 1, 0)..).next());
        cheaper.into_iter().chain(dearer).copied()
    }
}
