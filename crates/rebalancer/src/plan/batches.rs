//! Bounded execution: which moves of a plan may run at the same time.

use std::num::NonZeroUsize;

use foldhash::{HashMap, HashMapExt};
use serde::{Deserialize, Serialize};
use shardwright_topology::NodeId;

use super::{Move, Plan};
use crate::PartitionId;

/// How many moves may run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// In all. Default 32.
    pub in_flight_max: NonZeroUsize,
    /// With any one node on either side. Default 4.
    pub per_node_max: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        let some = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self {
            in_flight_max: some(32),
            per_node_max: some(4),
        }
    }
}

impl Plan {
    /// Returns the moves that may start while `running` are not done, in their order.
    ///
    /// A move waits for earlier moves of its partition.
    #[must_use]
    pub fn startable<'a>(
        &'a self,
        limits: Limits,
        running: impl IntoIterator<Item = &'a Move>,
    ) -> Vec<&'a Move> {
        let mut flight = Flight::default();
        let mut waiting = foldhash::HashSet::default();
        for planned in running {
            flight.add(planned);
            waiting.insert(&planned.partition);
        }
        let mut started = Vec::new();
        for planned in &self.moves {
            if flight.moves >= limits.in_flight_max.get() {
                break;
            }
            // Whether it starts or waits, later moves of its partition wait for it.
            if waiting.insert(&planned.partition) && flight.has_room(planned, limits) {
                flight.add(planned);
                started.push(planned);
            }
        }
        started
    }

    /// Divides the moves into batches, to be done one after the other; those of a batch may be done at the same time.
    ///
    /// Each move is in the earliest batch that has room for it after the batches of earlier moves of its partition.
    #[must_use]
    pub fn batches(&self, limits: Limits) -> Vec<Vec<&Move>> {
        let mut flights: Vec<Flight<'_>> = Vec::new();
        let mut batches: Vec<Vec<&Move>> = Vec::new();
        let mut next_of_partition: HashMap<&PartitionId, usize> = HashMap::new();
        // Before these there is no room, in all and with a node.
        let mut open = 0;
        let mut open_of_node: HashMap<&NodeId, usize> = HashMap::new();
        for planned in &self.moves {
            let after = next_of_partition.get(&planned.partition).copied();
            let nodes = || {
                [planned.step.from(), planned.step.to()]
                    .into_iter()
                    .flatten()
            };
            let of_nodes = nodes().filter_map(|node| open_of_node.get(node).copied());
            let mut at = of_nodes.chain(after).fold(open, usize::max);
            while flights
                .get(at)
                .is_some_and(|flight| !flight.has_room(planned, limits))
            {
                at += 1;
            }
            if at == flights.len() {
                flights.push(Flight::default());
                batches.push(Vec::new());
            }
            flights[at].add(planned);
            batches[at].push(planned);
            next_of_partition.insert(&planned.partition, at + 1);
            let full = |flight: &Flight<'_>| flight.moves >= limits.in_flight_max.get();
            while flights.get(open).is_some_and(full) {
                open += 1;
            }
            for node in nodes() {
                let open_here = open_of_node.entry(node).or_insert(0);
                let full = |flight: &Flight<'_>| flight.with(node) >= limits.per_node_max.get();
                while flights.get(*open_here).is_some_and(full) {
                    *open_here += 1;
                }
            }
        }
        batches
    }
}

/// Moves that run at the same time.
#[derive(Debug, Default)]
struct Flight<'a> {
    moves: usize,
    with_node: HashMap<&'a NodeId, usize>,
}

impl<'a> Flight<'a> {
    fn with(&self, node: &NodeId) -> usize {
        self.with_node.get(node).copied().unwrap_or(0)
    }

    fn has_room(&self, planned: &Move, limits: Limits) -> bool {
        let mut nodes = [planned.step.from(), planned.step.to()]
            .into_iter()
            .flatten();
        self.moves < limits.in_flight_max.get()
            && nodes.all(|node| self.with(node) < limits.per_node_max.get())
    }

    fn add(&mut self, planned: &'a Move) {
        self.moves += 1;
        for node in [planned.step.from(), planned.step.to()]
            .into_iter()
            .flatten()
        {
            *self.with_node.entry(node).or_insert(0) += 1;
        }
    }
}
