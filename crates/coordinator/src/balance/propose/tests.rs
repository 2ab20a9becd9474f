//! What is planned of which picture.

use std::sync::Arc;

use shardwright_failover::replication::Condition;
use shardwright_rebalancer::{PartitionId, Reason, Spread};
use shardwright_registry::Revision;
use shardwright_topology::{
    Config, ConfigId, Epoch, Incarnation, KeyspaceName, Location, Member, NodeRecord, NodeState,
    Primary, ReplicaId, ShardRecord, ShardState,
};

use super::*;
use crate::core::{NodeView, ReplicatedView};

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn up(name: &str, zone: &str) -> NodeView {
    let record = NodeRecord {
        state: NodeState::Up,
        location: Location {
            region: None,
            zone: Some(zone.to_owned()),
        },
        ..NodeRecord::new(node(name), "http://127.0.0.1:1")
    };
    NodeView {
        record,
        leased: true,
        shards: 0,
    }
}

/// A shard whose copies are on these nodes, the primary on the first of them.
fn shard(record: ShardRecord, nodes: &[&str]) -> Arc<ShardRecord> {
    let members = nodes.iter().zip(1..).map(|(name, bits)| Member {
        node: node(name),
        replica_id: ReplicaId::from_bits(bits),
    });
    let config = Config {
        epoch: Epoch(1),
        config_id: ConfigId::from_bits(1),
        primary: Primary {
            node: node(nodes[0]),
            incarnation: Incarnation(1),
        },
        members: members.collect(),
        w: 2,
        zones: 1,
    };
    Arc::new(ShardRecord {
        epoch: Epoch(1),
        active: Some(config),
        state: ShardState::Serving,
        ..record.replicated()
    })
}

/// Nodes, each in a zone, and shards on nodes, all of which are as they should be.
fn view(nodes: &[(&str, &str)], shards: &[&[&str]]) -> View {
    let count = u32::try_from(shards.len()).unwrap();
    let records = ShardRecord::even(&KeyspaceName::main(), count);
    let shards: Vec<_> = records
        .zip(shards)
        .map(|(record, on)| shard(record, on))
        .collect();
    let replicated = shards.iter().map(|record| {
        let id = PartitionId::new(record.keyspace.clone(), record.id.clone());
        let known = ReplicatedView {
            condition: Condition::Whole,
            lags: BTreeMap::new(),
            lag_max: 100,
        };
        (id, known)
    });
    View {
        replicated: Arc::new(replicated.collect()),
        nodes: Arc::new(nodes.iter().map(|(name, zone)| up(name, zone)).collect()),
        keepers: Arc::new(nodes.iter().map(|(name, _)| node(name)).collect()),
        shards: Arc::new(shards),
        shards_revision: Revision(7),
        is_leading: true,
        is_complete: true,
        ..View::default()
    }
}

/// So many bytes and requests for each shard.
fn measured(loads: &[(u64, f64)]) -> BTreeMap<ShardId, ShardMetrics> {
    let metrics = (0..).zip(loads).map(|(number, (bytes, requests))| {
        let metrics = ShardMetrics {
            storage_bytes: *bytes,
            request_rate: *requests,
            ..ShardMetrics::default()
        };
        (ShardId::numbered(number), metrics)
    });
    metrics.collect()
}

fn plan(view: &View, loads: &[(u64, f64)], options: &Options) -> Result<Proposed, Refused> {
    let (metrics, pins) = (measured(loads), BTreeSet::new());
    propose(view, &metrics, options, &pins, &Settings::default())
}

const THREE: [(&str, &str); 3] = [("n1", "a"), ("n2", "b"), ("n3", "c")];
const ALL: &[&str] = &["n1", "n2", "n3"];
const FIRST: &[&str] = &["n1"];

#[test]
fn primaries_are_handed_over_and_nothing_is_copied() {
    let view = view(&THREE, &[ALL; 6]);
    let proposed = plan(&view, &[(1 << 20, 100.0); 6], &Options::default()).unwrap();
    assert_eq!(proposed.proposal.revision, MapRevision(7));
    let impact = proposed.impact;
    assert_eq!((impact.hand_overs, impact.copies), (4, 0));
    assert_eq!(
        (impact.data_movement_bytes, impact.estimated_duration_secs),
        (0, 0)
    );
    assert_eq!(impact.shards_affected, 4);
    // From all primaries and a third of the copies to a third of both.
    assert_eq!(impact.nodes[0].percent_before, 200);
    assert!(
        (0.49..=0.5).contains(&impact.load_improvement),
        "{impact:?}"
    );
}

#[test]
fn what_is_not_measured_shows_unless_the_shard_lacks_copies() {
    let mut view = view(&THREE, &[ALL; 3]);
    let loads = |count| measured(&vec![(1 << 20, 100.0); count]);
    assert!(picture::is_measured(&view, &loads(3)));
    assert!(!picture::is_measured(&view, &loads(2)));
    let mut replicated = BTreeMap::clone(&view.replicated);
    replicated.pop_last();
    view.replicated = Arc::new(replicated);
    assert!(picture::is_measured(&view, &loads(2)));
    assert!(!picture::is_measured(&view, &loads(1)));
}

#[test]
fn a_shard_that_takes_no_writes_for_a_moment_is_still_there() {
    let mut view = view(&THREE, &[ALL; 3]);
    let mut shards = Vec::clone(&view.shards);
    Arc::make_mut(&mut shards[1]).state = ShardState::Sealed;
    Arc::make_mut(&mut shards[2]).state = ShardState::Importing;
    view.shards = Arc::new(shards);
    let exist = (0..4).filter(|number| picture::exists(&view, &ShardId::numbered(*number)));
    assert_eq!(exist.collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn the_role_goes_with_the_copy_that_had_it_as_a_step_of_its_own() {
    let view = view(&THREE, &[FIRST, &["n2", "n1"], FIRST]);
    let cluster = picture::cluster(&view, &measured(&[]), &Options::default(), &[].into());
    let moved = |shard, step| Move {
        partition: PartitionId::from(ShardId::numbered(shard)),
        step,
        reason: Reason::Overloaded,
    };
    let copy = |shard, from, to| {
        let (from, to) = (node(from), node(to));
        moved(shard, Step::Move { from, to })
    };
    let role = |shard, to| moved(shard, Step::Promote { to: node(to) });
    let moves = vec![
        copy(0, "n1", "n2"),
        copy(1, "n1", "n3"),
        copy(0, "n2", "n3"),
        copy(2, "n1", "n2"),
        role(2, "n2"),
    ];
    let mut steps = moves.clone();
    steps.insert(3, role(0, "n3"));
    assert_eq!(with_roles(moves, &cluster), steps);
}

#[test]
fn what_is_next_to_idle_moves_nothing() {
    let view = view(&THREE, &[ALL, &["n2", "n3", "n1"], &["n3", "n1", "n2"]]);
    let idle = [(1 << 20, 9.0), (1 << 20, 0.0), (1 << 20, 0.0)];
    assert_eq!(
        plan(&view, &idle, &Options::default())
            .unwrap()
            .proposal
            .plan
            .moves,
        []
    );
}

#[test]
fn a_node_that_has_come_gets_copies_within_the_budget() {
    let nodes = [("n1", "a"), ("n2", "b"), ("n3", "c"), ("n4", "c")];
    let view = view(&nodes, &[ALL; 8]);
    let loads = [(100, 50.0); 8];
    let all = plan(&view, &loads, &Options::default()).unwrap();
    assert_eq!(all.impact.copies, 2, "{:?}", all.impact);
    // Two copies are not put into one zone where there are three: what goes to n4 comes from n3.
    let from_n3 = |planned: &Move| match &planned.step {
        Step::Move { from, to } => (from.as_str(), to.as_str()) == ("n3", "n4"),
        _ => true,
    };
    assert!(
        all.proposal.plan.moves.iter().all(from_n3),
        "{:?}",
        all.proposal.plan
    );
    let anywhere = Options {
        spread: Some(Spread::Nodes),
        ..Options::default()
    };
    let anywhere = plan(&view, &loads, &anywhere).unwrap();
    assert!(!anywhere.proposal.plan.moves.iter().all(from_n3));
    assert!(anywhere.impact.copies >= 5, "{:?}", anywhere.impact);
    let few = Options {
        spread: Some(Spread::Nodes),
        bytes_max: Some(250),
        ..Options::default()
    };
    let few = plan(&view, &loads, &few).unwrap();
    assert_eq!(
        (few.impact.copies, few.impact.data_movement_bytes),
        (2, 200)
    );
    assert!(few.proposal.deferred >= 3);
    let one = Options {
        moves_max: Some(1),
        ..Options::default()
    };
    let one = plan(&view, &loads, &one).unwrap();
    assert_eq!(one.proposal.plan.moves, all.proposal.plan.moves[..1]);
    assert_eq!(one.proposal.deferred, all.proposal.plan.moves.len() - 1);
}

#[test]
fn what_is_asked_for_binds() {
    let view = view(&THREE, &[FIRST; 4]);
    let options = |json: &str| serde_json::from_str::<Options>(json).unwrap();
    let loads = [(100, 0.0); 4];
    let steps = |json: &str| {
        let proposed = plan(&view, &loads, &options(json)).unwrap();
        let moves = proposed.proposal.plan.moves.into_iter();
        moves
            .map(|planned| {
                (
                    planned.partition.shard.to_string(),
                    planned.step,
                    planned.reason,
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(steps("{}").len(), 2);
    let all = r#"{"pins": ["shard-0", "shard-1", "shard-2", "shard-3"]}"#;
    assert_eq!(steps(all), []);
    let heavy = r#"{"weights": {"n1": 9000}}"#;
    assert_eq!(steps(heavy), []);
    let emptied = steps(r#"{"weights": {"n1": 0}}"#);
    assert!(emptied.len() == 4 && emptied.iter().all(|(_, _, why)| *why == Reason::Draining));
    let apart = r#"{"weights": {"n1": 9000}, "apart": [["shard-0", "shard-3"]]}"#;
    let apart = steps(apart);
    assert_eq!(apart.len(), 1);
    assert_eq!(apart[0].2, Reason::Apart);
}

#[test]
fn what_cannot_be_is_refused() {
    let view = view(&THREE, &[FIRST; 4]);
    let refused = |json: &str| {
        let options = serde_json::from_str::<Options>(json).unwrap();
        plan(&view, &[], &options).unwrap_err().code()
    };
    assert_eq!(refused(r#"{"weights": {"n9": 1}}"#), "UNKNOWN_NODE");
    assert_eq!(refused(r#"{"pins": ["shard-9"]}"#), "SHARD_NOT_FOUND");
    assert_eq!(
        refused(r#"{"apart": [["shard-0", "shard-9"]]}"#),
        "SHARD_NOT_FOUND"
    );
    assert_eq!(
        refused(r#"{"weights": {"n1": 0, "n2": 0, "n3": 0}}"#),
        "NO_CAPACITY"
    );
}

#[test]
fn what_others_are_at_work_on_stays() {
    let mut changed = view(&THREE, &[FIRST; 4]);
    for known in Arc::make_mut(&mut changed.replicated).values_mut() {
        known.condition = Condition::WithoutPrimary;
    }
    let loads = [(100, 0.0); 4];
    let moves = |view: &View| {
        plan(view, &loads, &Options::default())
            .unwrap()
            .proposal
            .plan
            .moves
    };
    assert_eq!(moves(&changed), []);
    let mut leaving = view(&THREE, &[FIRST; 4]);
    Arc::make_mut(&mut leaving.nodes)[0].record.state = NodeState::Draining;
    assert_eq!(moves(&leaving), [], "it hands over by itself");
}
