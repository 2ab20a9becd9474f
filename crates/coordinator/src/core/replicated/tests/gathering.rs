//! Shards whose members are brought together, because they are to become one.

use std::collections::BTreeSet;

use shardwright_rebalancer::PartitionId;
use shardwright_topology::{
    Config, Member, Operation, OperationId, Phase, Primary, ReplicaId, ShardId, ShardRecord,
};

use super::desk::{Desk, id, settings, shard};
use crate::core::{Command, Done, Refusal, Value};

fn merge() -> OperationId {
    OperationId::new("merge").unwrap()
}

fn moving(number: u32) -> OperationId {
    OperationId::new(format!("merge-move-{number}")).unwrap()
}

fn gather(shards: u32) -> Command {
    let shards = (0..shards).map(|number| PartitionId::from(ShardId::numbered(number)));
    Command::Gather {
        operation: Some(merge()),
        shards: shards.collect(),
        pinned: BTreeSet::new(),
    }
}

/// Shards of which none but the first has a member on the node of its primary.
fn apart(shards: u32) -> Desk {
    let mut desk = Desk::new(settings(), &["n1", "n2", "n3"]);
    desk.until_whole();
    desk.add_node("n4", true);
    for _ in 0..20 {
        desk.step();
    }
    let primary = desk.primary();
    let mut nodes = vec!["n1", "n2", "n3", "n4"];
    nodes.retain(|name| *name != primary);
    for number in 1..shards {
        desk.show_shard(number, &nodes);
    }
    desk.step();
    desk
}

impl Desk {
    /// Shows a shard that has its members on these nodes.
    fn show_shard(&mut self, number: u32, nodes: &[&str]) {
        let first = self.record(&shard());
        let members = nodes.iter().map(|name| Member {
            node: id(name),
            replica_id: ReplicaId::from_bits(u128::from(number)),
        });
        let active = first.active.expect("it has members");
        let record = ShardRecord {
            id: ShardId::numbered(number),
            active: Some(Config {
                primary: Primary {
                    node: id(nodes[0]),
                    ..active.primary
                },
                members: members.collect(),
                ..active
            }),
            ..first
        };
        let key = format!("shard/main/shard-{number}");
        self.put(&key, Value::Shard(record));
    }

    /// Ends the move of a shard, as whoever carries it out does.
    fn end(&mut self, moved: &OperationId, shard: u32) {
        let operation = Operation {
            phase: Phase::Done,
            ..self.operation(moved)
        };
        self.put(&format!("op/{moved}"), Value::Operation(operation));
        self.show_shard(shard, &["n1", "n2", "n3"]);
        self.step();
    }
}

#[test]
fn a_move_that_was_not_written_down_is_begun_although_that_of_another_shard_is_over() {
    let mut desk = apart(3);
    desk.operation_writes_lost = 1;
    let begun = desk.command(gather(3)).expect("they may move");
    assert_eq!(begun.changes, 2);
    desk.end(&moving(2), 2);
    let begun = desk.command(gather(3)).expect("it may move");
    assert_eq!((begun.changes, begun.operation), (1, Some(moving(1))));
    let sources = desk.operation(&moving(1)).sources;
    assert_eq!(sources, [ShardId::numbered(1)]);
    desk.end(&moving(1), 1);
    assert_eq!(
        desk.command(gather(3)).map(|done: Done| done.operation),
        Ok(None)
    );
}

#[test]
fn whoever_has_just_begun_to_lead_hears_of_the_nodes_before_it_says_that_shards_stay_apart() {
    let mut desk = apart(2);
    let primary = desk.primary();
    desk.kill(&primary);
    desk.restart_with(settings());
    desk.until("leader", |desk| desk.core.is_leading(desk.now));
    let early = desk.command(gather(2)).unwrap_err();
    assert_eq!(early, Refusal::NotTakenUp);
    assert!(early.is_retryable());
    desk.nodes.get_mut(&id(&primary)).unwrap().is_up = true;
    for _ in 0..20 {
        desk.step();
    }
    desk.command(gather(2)).expect("it has heard of all nodes");
}
