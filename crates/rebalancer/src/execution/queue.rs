//! What waits, and which of it may run next.
//!
//! Whatever waits for a node that is busy is parked there, and is looked at again only when that node has room: plans have many
//! thousands of moves, and each event looks at few of them.
//!
//! **Invariant:** if a node has room, nothing is parked there, or something of it is among what is ready.

use std::collections::BTreeSet;

use foldhash::HashMap;
use shardwright_topology::NodeId;

use super::{Tracked, event::State, partition_of};
use crate::{Limits, seats::number_of};

#[derive(Debug, Clone)]
pub(super) struct Queue {
    limits: Limits,
    running: usize,
    /// What is first of its partition and not parked.
    ready: BTreeSet<u32>,
    seats: HashMap<NodeId, Seat>,
    /// The next move of the same partition.
    later: HashMap<u32, u32>,
    /// The move before of the same partition.
    earlier: HashMap<u32, u32>,
}

/// What a node has to do.
#[derive(Debug, Clone, Default)]
struct Seat {
    running: usize,
    parked: BTreeSet<u32>,
}

impl Queue {
    pub(super) fn new(moves: &[Tracked], limits: Limits) -> Self {
        let mut queue = Self {
            limits,
            running: 0,
            ready: BTreeSet::new(),
            seats: HashMap::default(),
            later: HashMap::default(),
            earlier: HashMap::default(),
        };
        let mut last_of = HashMap::default();
        for (number, tracked) in (0..).zip(moves) {
            let before = last_of.insert(partition_of(moves, number), number);
            if let Some(before) = before {
                queue.later.insert(before, number);
                queue.earlier.insert(number, before);
            }
            let is_first = before.is_none_or(|before| moves[before as usize].state == State::Ended);
            match tracked.state {
                State::Waiting if is_first => queue.wait(number),
                State::Running { .. } => queue.occupy(tracked),
                State::Waiting | State::Resting | State::Ended | State::GivenUp { .. } => {}
            }
        }
        queue
    }

    /// Returns the next move of the same partition.
    pub(super) fn later(&self, number: u32) -> Option<u32> {
        self.later.get(&number).copied()
    }

    /// Takes note that a move may run as soon as there is room.
    pub(super) fn wait(&mut self, number: u32) {
        self.ready.insert(number);
    }

    /// Takes note that a move never runs.
    pub(super) fn forget(&mut self, moves: &[Tracked], number: u32) {
        self.ready.remove(&number);
        for node in nodes(&moves[number as usize]) {
            if let Some(seat) = self.seats.get_mut(node) {
                seat.parked.remove(&number);
            }
        }
        // It may have been the one that was looked at on behalf of others.
        self.unpark(&moves[number as usize]);
    }

    /// Returns the first move that has room, which runs from now on.
    pub(super) fn next(&mut self, moves: &[Tracked]) -> Option<u32> {
        while self.running < self.limits.in_flight_max.get() {
            let number = self.ready.pop_first()?;
            let tracked = &moves[number as usize];
            let busy = nodes(tracked).find(|node| !self.has_room(node));
            match busy {
                Some(node) => {
                    let seat = self.seats.entry(node.clone()).or_default();
                    seat.parked.insert(number);
                }
                None => self.occupy(tracked),
            }
            self.unpark(tracked);
            if busy.is_none() {
                return Some(number);
            }
        }
        None
    }

    /// Takes note that a move does not run any more.
    pub(super) fn release(&mut self, moves: &[Tracked], number: u32) {
        let tracked = &moves[number as usize];
        self.running -= 1;
        for node in nodes(tracked) {
            if let Some(seat) = self.seats.get_mut(node) {
                seat.running -= 1;
            }
        }
        self.unpark(tracked);
    }

    fn occupy(&mut self, tracked: &Tracked) {
        self.running += 1;
        for node in nodes(tracked) {
            self.seats.entry(node.clone()).or_default().running += 1;
        }
    }

    fn has_room(&self, node: &NodeId) -> bool {
        let most = self.limits.per_node_max.get();
        self.seats.get(node).is_none_or(|seat| seat.running < most)
    }

    /// Looks again at the first of what is parked at the nodes of a move, where there is room.
    fn unpark(&mut self, tracked: &Tracked) {
        for node in nodes(tracked) {
            if !self.has_room(node) {
                continue;
            }
            if let Some(first) = self
                .seats
                .get_mut(node)
                .and_then(|seat| seat.parked.pop_first())
            {
                self.ready.insert(first);
            }
        }
    }

    /// Whether a move was not begun before the earlier one of its partition had ended.
    pub(super) fn is_in_turn(&self, moves: &[Tracked], number: u32) -> bool {
        let before = self.earlier.get(&number);
        before.is_none_or(|before| follows(&moves[number as usize], &moves[*before as usize]))
    }

    /// Checks what the queue says of one move against it.
    pub(super) fn agrees_on(&self, moves: &[Tracked], number: u32) -> bool {
        let tracked = &moves[number as usize];
        let seats = nodes(tracked).filter_map(|node| self.seats.get(node));
        let is_queued =
            self.ready.contains(&number) || seats.clone().any(|seat| seat.parked.contains(&number));
        let is_running = matches!(tracked.state, State::Running { .. });
        (tracked.state == State::Waiting || !is_queued)
            && (!is_running || seats.clone().all(|seat| seat.running > 0))
    }

    /// Returns how many moves run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Checks what the queue says against the moves.
    pub(super) fn agrees_with(&self, moves: &[Tracked]) -> bool {
        let running = || {
            let all = moves.iter();
            all.filter(|tracked| matches!(tracked.state, State::Running { .. }))
        };
        let parked = self.seats.values().flat_map(|seat| &seat.parked);
        let is_waiting = |number: &u32| moves[*number as usize].state == State::Waiting;
        let mut with: HashMap<&NodeId, usize> = HashMap::default();
        for node in running().flat_map(nodes) {
            *with.entry(node).or_insert(0) += 1;
        }
        self.running == running().count()
            && parked.chain(&self.ready).all(is_waiting)
            && self
                .seats
                .iter()
                .all(|(node, seat)| seat.running == with.get(node).copied().unwrap_or(0))
    }
}

/// Returns the nodes that are busy with a move.
fn nodes(tracked: &Tracked) -> impl Iterator<Item = &NodeId> + Clone {
    let step = &tracked.planned.step;
    [step.from(), step.to()].into_iter().flatten()
}

/// Whether no move was begun before the earlier ones of its partition had ended.
pub(super) fn is_in_order(moves: &[Tracked]) -> bool {
    let mut last_of = HashMap::default();
    (0..number_of(moves.len())).all(|number| {
        let before = last_of.insert(partition_of(moves, number), number);
        before.is_none_or(|before| follows(&moves[number as usize], &moves[before as usize]))
    })
}

/// Whether a move was not begun, or the one before had ended.
fn follows(tracked: &Tracked, before: &Tracked) -> bool {
    let is_begun = !matches!(tracked.state, State::Waiting | State::GivenUp { .. });
    !is_begun || before.state == State::Ended
}
