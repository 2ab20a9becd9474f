//! Admission: which operations may begin, so that not too many run at once.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::{NodeId, OperationId};

use super::Inner;
use crate::Settings;

/// An operation, as far as the room that it takes is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seat {
    /// Lower for what is older.
    pub(super) age: u64,
    /// The nodes that take part.
    pub(super) nodes: BTreeSet<NodeId>,
    pub(super) want: Want,
}

/// What an operation has of the room, or wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// It runs, and takes room.
    Runs,
    /// It waits for room.
    Waits,
    /// It is paused, over, or has committed and only waits for the time of grace.
    Nothing,
}

impl Inner {
    /// Lets operations begin, the oldest first, as long as there is room for them.
    pub(super) fn admit(&self) {
        let mut running = self.running();
        let seats = running.iter().map(|(id, each)| (id.clone(), each.seat()));
        for id in admitted(self.driver.settings(), seats.collect()) {
            if let Some(each) = running.get_mut(&id) {
                each.admit();
            }
        }
    }
}

/// Returns the operations that may begin.
///
/// One that has to wait for a node keeps its place there: a younger one that the node would have room for could keep it waiting for ever, and so
/// could the one after that.
fn admitted(settings: &Settings, mut seats: Vec<(OperationId, Seat)>) -> Vec<OperationId> {
    seats.sort_by_key(|(_, seat)| seat.age);
    let (most, most_per_node) = (settings.operations_max, settings.operations_per_node_max);
    let mut room = Room::default();
    for (_, seat) in seats.iter().filter(|(_, seat)| seat.want == Want::Runs) {
        room.take(seat);
    }
    let mut begin = Vec::new();
    for (id, seat) in seats.iter().filter(|(_, seat)| seat.want == Want::Waits) {
        if room.taken >= most {
            break;
        }
        if room.has_nodes(seat, most_per_node) {
            room.taken += 1;
            begin.push(id.clone());
        }
        room.take_nodes(seat);
    }
    begin
}

#[derive(Debug, Default)]
struct Room {
    taken: usize,
    per_node: BTreeMap<NodeId, usize>,
}

impl Room {
    fn take(&mut self, seat: &Seat) {
        self.taken += 1;
        self.take_nodes(seat);
    }

    fn take_nodes(&mut self, seat: &Seat) {
        for node in &seat.nodes {
            *self.per_node.entry(node.clone()).or_default() += 1;
        }
    }

    fn has_nodes(&self, seat: &Seat, most: usize) -> bool {
        let has_room = |node| self.per_node.get(node).is_none_or(|taken| *taken < most);
        seat.nodes.iter().all(has_room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations as `name:want:nodes`, from the oldest to the youngest; `r` runs, `w` waits, `p` is paused.
    #[track_caller]
    fn check(operations: &str, expected: &[&str]) {
        let seat = |(age, text): (u64, &str)| {
            let mut fields = text.split(':');
            let mut field = || fields.next().expect("three fields");
            let id = OperationId::new(field()).expect("a name");
            let want = match field() {
                "r" => Want::Runs,
                "w" => Want::Waits,
                _ => Want::Nothing,
            };
            let nodes = field().split(',');
            let nodes = nodes.map(|node| NodeId::new(node).expect("a name"));
            let nodes = nodes.collect();
            (id, Seat { age, nodes, want })
        };
        let mut seats: Vec<_> = (0..).zip(operations.split(' ')).map(seat).collect();
        // Whatever their order is here, it is not that of their age.
        seats.sort_by(|a, b| a.0.cmp(&b.0));
        let settings = Settings {
            operations_max: 3,
            operations_per_node_max: 2,
            ..Settings::default()
        };
        let begin = admitted(&settings, seats);
        let begin: Vec<&str> = begin.iter().map(OperationId::as_str).collect();
        assert_eq!(begin, expected, "{operations}");
    }

    #[test]
    fn the_oldest_begins_first_whatever_it_is_called() {
        check("z:w:n1 m:w:n1 a:w:n1", &["z", "m"]);
        check("z:r:n1 y:r:n2 b:w:n3 a:w:n4", &["b"]);
    }

    #[test]
    fn what_is_paused_keeps_nobody_waiting() {
        check("a:p:n1 b:p:n1 c:p:n1 d:p:n1 e:w:n1", &["e"]);
    }

    #[test]
    fn what_waits_for_a_node_is_not_overtaken_there() {
        check("a:r:n1 b:r:n1 c:w:n1,n2 d:w:n2 e:w:n2", &["d"]);
    }
}
