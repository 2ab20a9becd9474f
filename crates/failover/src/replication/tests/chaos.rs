//! Anything may happen to the nodes, under two coordinators that both act: no acknowledged record is lost, and all is well in the end.

use proptest::prelude::*;
use shardwright_topology::NodeState;

use super::{
    moving::moving,
    world::{World, settings},
};
use crate::replication::{Condition, Settings, Stage, Width};

#[derive(Debug, Clone)]
enum Fault {
    Crash(usize),
    Restart(usize),
    Reopen(usize),
    Stall(usize),
    Wipe(usize),
    Drain(usize),
    Move(usize, usize, Stage),
    TakeBack,
    Run(u64),
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let node = 1..6_usize;
    let stage = prop::sample::select(vec![Stage::Fill, Stage::Swap, Stage::Swap, Stage::Undo]);
    let fault = prop_oneof![
        3 => node.clone().prop_map(Fault::Crash),
        3 => node.clone().prop_map(Fault::Restart),
        1 => node.clone().prop_map(Fault::Reopen),
        1 => node.clone().prop_map(Fault::Stall),
        1 => node.clone().prop_map(Fault::Wipe),
        1 => node.clone().prop_map(Fault::Drain),
        2 => (node.clone(), node, stage).prop_map(|(from, to, stage)| Fault::Move(from, to, stage)),
        1 => Just(Fault::TakeBack),
        6 => (0..20_u64).prop_map(Fault::Run),
    ];
    prop::collection::vec(fault, 1..30)
}

/// Whether a copy may be wiped: no more at a time than a commit is made for.
fn may_wipe(world: &World, name: &str) -> bool {
    let record = &world.stored.value;
    let mut configs = record.active.iter().chain(&record.pending);
    let is_safe = configs.all(|config| {
        let is_whole = config.members.iter().all(|member| {
            let copy = world.nodes[&member.node].copy.as_ref();
            copy.is_some_and(|copy| copy.replica_id == member.replica_id)
        });
        let is_member = config.members.iter().any(|each| each.node.as_str() == name);
        !is_member || is_whole && config.w >= 2
    });
    is_safe && record.active.is_some()
}

fn inflict(world: &mut World, fault: Fault) {
    match fault {
        Fault::Crash(number) => world.crash(&format!("n{number}")),
        Fault::Restart(number) => world.restart(&format!("n{number}")),
        Fault::Reopen(number) => world.reopen(&format!("n{number}")),
        Fault::Stall(number) => world.node(&format!("n{number}")).is_stalled = true,
        Fault::Wipe(number) => {
            let name = format!("n{number}");
            if may_wipe(world, &name) {
                world.crash(&name);
                world.wipe(&name);
            }
        }
        Fault::Drain(number) => {
            let draining = world.nodes.values();
            let draining = draining.filter(|node| node.record.state == NodeState::Draining);
            if draining.count() < 2 {
                world.drain(&format!("n{number}"));
            }
        }
        Fault::Move(from, to, stage) => {
            let (from, to) = (format!("n{from}"), format!("n{to}"));
            world.moves(moving(&from, &to, stage));
        }
        Fault::TakeBack => world.moves(None),
        Fault::Run(seconds) => world.run(seconds),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_nodes_no_acknowledged_record_is_lost_and_the_shard_is_whole_again(
        faults in faults(),
        coordinators in 1..3_u64,
        lost_percent in prop::sample::select(vec![0, 0, 20, 50]),
        all in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let settings = Settings { width: if all { Width::All } else { Width::Majority }, ..settings() };
        let mut world = World::new(5, 3, &settings, coordinators).seeded(seed);
        world.lost_percent = lost_percent;
        for fault in faults {
            inflict(&mut world, fault);
        }
        (world.lost_percent, world.leaders) = (0, 1);
        world.moves(None);
        for number in 1..6 {
            let name = format!("n{number}");
            if !world.node(&name).is_up || world.node(&name).is_stalled {
                world.restart(&name);
            }
        }
        world.run(60);
        prop_assert_eq!(world.condition(), Condition::Whole, "{:?}", world.stored.value);
        prop_assert_eq!(world.active().members.len(), 3);
        prop_assert_eq!(world.stored.value.data_loss_generation, 0);
        let leaving = world.active().members.iter().any(|member| {
            world.nodes[&member.node].record.state == NodeState::Draining
        });
        prop_assert!(!leaving, "{:?}", world.stored.value);
        let writes = world.writes;
        world.run(30);
        prop_assert_eq!(world.writes, writes, "what is well is left alone");
        let copies = world.nodes.values().filter(|node| node.copy.is_some()).count();
        prop_assert_eq!(copies, 3, "what nobody needs is dropped");
    }
}
