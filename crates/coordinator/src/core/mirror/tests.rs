//! What operations make of shards, as a coordinator sees it.

use rand::{SeedableRng, rngs::StdRng};
use shardwright_rebalancer::{PartitionId, ReplicaPolicy};
use shardwright_registry::{Key, Revision, Seen, Stored};
use shardwright_topology::{
    Config, ConfigId, Epoch, Incarnation, KeyRange, KeyspaceName, Member, NodeId, Operation,
    OperationId, OperationKind, Phase, Primary, ReplicaId, ShardId, ShardRecord, ShardState,
    Timestamp,
};

use crate::core::{Core, Event, Settings, View};

/// A split of `shard-0`, as a coordinator is shown it.
struct Scene {
    core: Core,
    revision: u64,
}

fn operation(phase: Phase) -> Operation {
    Operation {
        id: OperationId::new("op-1").unwrap(),
        keyspace: KeyspaceName::main(),
        kind: OperationKind::Split,
        sources: vec![ShardId::numbered(0)],
        targets: vec![ShardId::numbered(1), ShardId::numbered(2)],
        phase,
        error: None,
        paused: false,
        members: None,
    }
}

fn partition(number: u32) -> PartitionId {
    PartitionId::from(ShardId::numbered(number))
}

/// A shard that the operation holds, on a node.
fn held(number: u32, replicated: bool) -> ShardRecord {
    let (id, keyspace) = (ShardId::numbered(number), KeyspaceName::main());
    let operation = operation(Phase::Planned).id;
    let record = match number {
        0 => ShardRecord::new(keyspace, id, Some(KeyRange::ALL))
            .hold_by(&operation)
            .unwrap(),
        _ => {
            let mut halves = KeyRange::even(2);
            let range = halves.nth(number as usize - 1).unwrap();
            ShardRecord::target_of(operation, keyspace, id, range)
        }
    };
    let node = NodeId::new("n1").unwrap();
    let config = Config {
        epoch: Epoch(1),
        config_id: ConfigId::from_bits(1),
        primary: Primary {
            node: node.clone(),
            incarnation: Incarnation(1),
        },
        members: [Member {
            node,
            replica_id: ReplicaId::from_bits(1),
        }]
        .into(),
        w: 1,
        zones: 1,
    };
    ShardRecord {
        replicated,
        epoch: Epoch(1),
        active: Some(config),
        ..record
    }
}

impl Scene {
    fn new(replicated: bool) -> Self {
        let settings = Settings::new(NodeId::new("c").unwrap(), Incarnation(1));
        let rng = Box::new(StdRng::seed_from_u64(1));
        let mut scene = Self {
            core: Core::new(settings, Box::new(ReplicaPolicy::default()), rng),
            revision: 0,
        };
        for number in 0..3 {
            scene.show(held(number, replicated));
        }
        scene.operation(Phase::Sealed);
        scene.tell(Seen::Listed(Revision(scene.revision)));
        scene
    }

    fn tell(&mut self, seen: Seen) {
        let mut actions = Vec::new();
        let (now, event) = (Timestamp::default(), Event::Seen(seen));
        self.core.handle(now, event, &mut actions);
    }

    fn stored<T>(&mut self, key: &str, value: T) -> Stored<T> {
        self.revision += 1;
        Stored {
            key: Key::new(key).unwrap(),
            value,
            revision: Revision(self.revision),
        }
    }

    fn show(&mut self, record: ShardRecord) {
        let stored = self.stored(&format!("shard/main/{}", record.id), record);
        self.tell(Seen::Shard(stored));
    }

    fn operation(&mut self, phase: Phase) {
        let stored = self.stored("op/op-1", operation(phase));
        self.tell(Seen::Operation(stored));
    }

    fn view(&self) -> View {
        self.core.view(Timestamp::default())
    }

    /// The shards, and what they are.
    fn shards(&self) -> Vec<(String, ShardState)> {
        let view = self.view();
        let shards = view.shards.iter();
        shards
            .map(|shard| (shard.id.to_string(), shard.state))
            .collect()
    }

    /// The shards that are planned for, and whether they stay where they are.
    fn planned(&self) -> Vec<(PartitionId, bool)> {
        let all = (0..3).map(partition);
        let known = all.filter_map(|id| Some((self.core.cluster.partition(&id)?.pinned, id)));
        known.map(|(pinned, id)| (id, pinned)).collect()
    }
}

#[test]
fn the_decision_of_an_operation_counts_before_it_is_written_into_its_shards() {
    use ShardState::{Importing, Serving};
    let named = |number: u32, state| (format!("shard-{number}"), state);
    let mut scene = Scene::new(true);
    let open = [named(0, Serving), named(1, Importing), named(2, Importing)];
    assert_eq!(scene.shards(), open);
    assert_eq!(scene.view().settled().count(), 1);
    scene.operation(Phase::Committed);
    assert_eq!(scene.shards(), [named(1, Serving), named(2, Serving)]);
    let view = scene.view();
    assert_eq!(view.operations[0].phase, Phase::Committed);
    assert!(view.shards.iter().all(|shard| shard.hold.is_none()));

    let mut scene = Scene::new(true);
    scene.operation(Phase::Aborting);
    assert_eq!(scene.shards(), [named(0, Serving)]);
}

#[test]
fn the_planner_leaves_what_an_operation_holds_where_it_is() {
    let mut scene = Scene::new(false);
    assert_eq!(scene.planned(), [(partition(0), true)]);
    let held = scene.core.cluster.partition(&partition(0));
    assert_eq!(held.map(|held| held.copies), Some(1), "and adds no copy");
    scene.operation(Phase::Committed);
    assert_eq!(
        scene.planned(),
        [(partition(1), false), (partition(2), false)]
    );
    assert_eq!(Scene::new(true).planned(), [], "others look after these");
}

#[test]
fn nobody_holds_a_replicated_shard_that_is_retired() {
    let node = NodeId::new("n1").unwrap();
    let mut scene = Scene::new(true);
    assert_eq!(scene.core.mirror.holdings(&node).count(), 3);
    let committed = operation(Phase::Committed);
    scene.operation(Phase::Committed);
    for number in 0..3 {
        scene.show(held(number, true).resolve(&committed).unwrap());
    }
    assert_eq!(scene.core.mirror.holdings(&node).count(), 2);
    let key = Key::new("op/op-1").unwrap();
    let revision = Revision(scene.revision + 1);
    scene.tell(Seen::Deleted { key, revision });
    assert_eq!(scene.shards().len(), 2);
    assert!(scene.view().operations.is_empty());
}
