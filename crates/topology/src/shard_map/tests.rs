//! Maps from records and operations, and their changes.

use proptest::prelude::*;

use super::*;
use crate::{Hold, OperationKind, Phase, Side};

fn id(name: &str) -> ShardId {
    ShardId::new(name).expect("a valid name")
}

fn operation_id() -> OperationId {
    OperationId::new("op-1").expect("a valid name")
}

fn record(name: &str, range: KeyRange) -> ShardRecord {
    ShardRecord::new(KeyspaceName::main(), id(name), Some(range))
}

fn build(records: Vec<ShardRecord>, operations: Vec<Operation>) -> Result<ShardMap, InvalidMap> {
    ShardMap::new(KeyspaceName::main(), 1, records, operations)
}

/// The shards of a map in range order, as text.
fn owners(map: &ShardMap) -> String {
    let names: Vec<_> = map
        .shards()
        .iter()
        .map(|shard| shard.id().as_str())
        .collect();
    names.join(" ")
}

/// A split of `whole` into `left` and `right`, in a phase, with its pointers as they are in the registry.
fn split(phase: Phase) -> (Vec<ShardRecord>, Operation) {
    let (left, right) = KeyRange::ALL.halve().expect("wide enough");
    let target =
        |name, range| ShardRecord::target_of(operation_id(), KeyspaceName::main(), id(name), range);
    let source = record("whole", KeyRange::ALL)
        .hold_by(&operation_id())
        .expect("free");
    let operation = Operation {
        id: operation_id(),
        keyspace: KeyspaceName::main(),
        kind: OperationKind::Split,
        sources: vec![id("whole")],
        targets: vec![id("left"), id("right")],
        phase,
        error: None,
        paused: false,
        members: None,
    };
    (
        vec![source, target("left", left), target("right", right)],
        operation,
    )
}

#[test]
fn an_even_map_finds_the_owner_of_every_edge() {
    let map = ShardMap::even(3);
    assert_eq!(owners(&map), "shard-0 shard-1 shard-2");
    for shard in map.shards() {
        assert_eq!(map.at(shard.range().start()).id(), shard.id());
        assert_eq!(map.at(shard.range().last()).id(), shard.id());
        assert_eq!(map.shard(shard.id()), Some(shard));
    }
    assert_eq!(map.shard(&id("shard-3")), None);
}

#[test]
fn records_that_do_not_tile_the_space_are_refused() {
    let (left, right) = KeyRange::ALL.halve().expect("wide enough");
    assert_eq!(build(vec![], vec![]), Err(InvalidMap::Empty));
    assert_eq!(
        build(vec![record("a", left)], vec![]),
        Err(InvalidMap::Gap { range: right })
    );
    assert_eq!(
        build(vec![record("b", right)], vec![]),
        Err(InvalidMap::Gap { range: left })
    );
    let overlap = InvalidMap::Overlap {
        first: id("a"),
        second: id("b"),
        range: right,
    };
    let both = vec![record("a", KeyRange::ALL), record("b", right)];
    assert_eq!(build(both, vec![]), Err(overlap));
    let twice = vec![record("a", left), record("a", right)];
    assert_eq!(
        build(twice, vec![]),
        Err(InvalidMap::Twice { shard: id("a") })
    );
}

#[test]
fn a_record_of_another_keyspace_is_refused() {
    let other = KeyspaceName::new("other").expect("a valid name");
    let stray = ShardRecord {
        keyspace: other.clone(),
        ..record("a", KeyRange::ALL)
    };
    let refused = InvalidMap::Keyspace {
        shard: id("a"),
        expected: KeyspaceName::main(),
        found: other,
    };
    assert_eq!(build(vec![stray], vec![]), Err(refused));
}

#[test]
fn the_catalog_shard_is_beside_the_ranges() {
    let catalog = ShardRecord::new(KeyspaceName::main(), ShardId::catalog(), None);
    let map = build(vec![record("a", KeyRange::ALL), catalog.clone()], vec![]).expect("a map");
    assert_eq!(map.len(), 1);
    assert_eq!(map.catalog().map(Shard::id), Some(&ShardId::catalog()));
    assert_eq!(map.shard(&ShardId::catalog()), map.catalog());
    let second = ShardRecord {
        id: id("other"),
        ..catalog.clone()
    };
    let refused = build(vec![record("a", KeyRange::ALL), catalog, second], vec![]);
    assert!(
        matches!(refused, Err(InvalidMap::TwoCatalogs { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_map_shows_one_side_of_an_operation_in_every_phase() {
    for phase in Phase::ALL {
        let (records, operation) = split(phase);
        let expect = match phase.decision() {
            crate::Decision::Commit => "left right",
            crate::Decision::Open | crate::Decision::Abort => "whole",
        };
        let map = build(records, vec![operation]).expect("a map");
        assert_eq!(owners(&map), expect, "{phase}");
    }
}

#[test]
fn a_map_stays_the_same_while_the_clean_up_resolves_the_pointers_one_by_one() {
    for phase in [Phase::CleaningUp, Phase::Aborting] {
        let (mut records, operation) = split(phase);
        let before = owners(&build(records.clone(), vec![operation.clone()]).expect("a map"));
        for at in [1, 0, 2] {
            records[at] = records[at].resolve(&operation).expect("decided");
            let map = build(records.clone(), vec![operation.clone()]).expect("a map");
            assert_eq!(owners(&map), before, "{phase}");
        }
        let without = build(records, vec![]).expect("nothing points at the operation any more");
        assert_eq!(owners(&without), before);
    }
}

#[test]
fn a_sealed_source_still_owns_its_range() {
    let (mut records, operation) = split(Phase::Sealing);
    records[0] = records[0].seal_by(&operation_id()).expect("held");
    let map = build(records.clone(), vec![operation]).expect("a map");
    assert_eq!(map.at(Position::MIN).state(), ShardState::Sealed);
    let (_, aborted) = split(Phase::Aborting);
    let map = build(records, vec![aborted]).expect("a map");
    assert_eq!(map.at(Position::MIN).state(), ShardState::Serving);
}

#[test]
fn a_pointer_to_a_missing_operation_is_refused() {
    let (records, _) = split(Phase::Copying);
    let refused = InvalidMap::MissingOperation {
        shard: id("whole"),
        operation: operation_id(),
    };
    assert_eq!(build(records, vec![]), Err(refused));
}

#[test]
fn a_migration_in_place_never_takes_the_range_away() {
    for phase in Phase::ALL {
        let (records, operation) = split(phase);
        let operation = Operation {
            kind: OperationKind::Migrate,
            targets: vec![id("whole")],
            ..operation
        };
        let map = build(vec![records[0].clone()], vec![operation]).expect("a map");
        assert_eq!(owners(&map), "whole", "{phase}");
    }
}

#[test]
fn a_change_names_the_rule_that_it_breaks() {
    let map = ShardMap::even(2);
    let (left, right) = map.shards()[0].range().halve().expect("wide enough");
    let change = |source: &str, targets| ShardMapChange::Split {
        source: id(source),
        targets,
    };
    let check = |change, expect: ChangeRefused| assert_eq!(map.apply(change), Err(expect));

    let unknown = change("gone", vec![record("a", left), record("b", right)]);
    check(unknown, ChangeRefused::UnknownShard { shard: id("gone") });
    let half = change("shard-0", vec![record("a", left), record("b", left)]);
    check(half, ChangeRefused::Ranges);
    let taken = change("shard-0", vec![record("a", left), record("shard-1", right)]);
    check(
        taken,
        ChangeRefused::NameTaken {
            shard: id("shard-1"),
        },
    );
    let one = change("shard-0", vec![record("a", map.shards()[0].range())]);
    check(
        one,
        ChangeRefused::Shape {
            sources: 1,
            targets: 1,
        },
    );
    let held = Hold {
        operation: operation_id(),
        side: Side::Source,
    };
    let held = ShardRecord {
        hold: Some(held),
        ..record("b", right)
    };
    let held = change("shard-0", vec![record("a", left), held]);
    check(
        held,
        ChangeRefused::Held {
            shard: id("b"),
            operation: operation_id(),
        },
    );
    let retired = ShardRecord {
        state: ShardState::Retired,
        ..record("b", right)
    };
    let retired = change("shard-0", vec![record("a", left), retired]);
    check(
        retired,
        ChangeRefused::NotOwner {
            shard: id("b"),
            state: ShardState::Retired,
        },
    );
}

#[test]
fn shards_that_are_no_neighbours_do_not_merge() {
    let map = ShardMap::even(3);
    let merge = ShardMapChange::Merge {
        sources: vec![id("shard-0"), id("shard-2")],
        target: record("both", map.shards()[0].range()),
    };
    assert_eq!(map.apply(merge), Err(ChangeRefused::Ranges));
}

#[test]
fn an_update_to_an_earlier_epoch_is_refused() {
    let map = ShardMap::even(2);
    let at = |epoch| ShardRecord {
        epoch: Epoch(epoch),
        ..map.shards()[0].record().clone()
    };
    let later = map
        .apply(ShardMapChange::Update { record: at(3) })
        .expect("a later epoch");
    assert_eq!(later.revision(), map.revision() + 1);
    let refused = ChangeRefused::StaleEpoch {
        shard: id("shard-0"),
        current: Epoch(3),
        presented: Epoch(2),
    };
    assert_eq!(
        later.apply(ShardMapChange::Update { record: at(2) }),
        Err(refused)
    );
}

/// One random edit: at which shard, and whether to cut it or to join it with the next.
#[derive(Debug, Clone)]
struct Edit {
    at: Position,
    cut: bool,
}

#[test]
fn an_update_shares_what_it_does_not_change() {
    let map = ShardMap::even(1_000);
    let other = ShardMap::even(1_000);
    assert!(map.changed_since(&other).is_none(), "not known to be alike");
    let updated = ShardRecord {
        epoch: Epoch(3),
        ..map.shards()[700].record().clone()
    };
    let update = ShardMapChange::Update { record: updated };
    let next = map.apply(update).expect("a valid change");
    let changed: Vec<_> = next.changed_since(&map).expect("one layout").collect();
    assert_eq!(changed, [&next.shards()[700]]);
    assert_eq!(map.shards()[700].record().epoch, Epoch::UNASSIGNED);
    assert_eq!(next.shards().iter().count(), 1_000);
    assert_eq!(next.shards().get(1_000), None);
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = (any::<u64>(), any::<bool>()).prop_map(|(at, cut)| Edit {
        at: Position(at),
        cut,
    });
    prop::collection::vec(edit, 0..60)
}

fn change(map: &ShardMap, edit: &Edit, number: usize) -> Option<ShardMapChange> {
    let place = map.index_at(edit.at);
    let shard = &map.shards()[place];
    if edit.cut {
        let (left, right) = shard.range().split_at(edit.at)?;
        let targets = vec![
            record(&format!("left-{number}"), left),
            record(&format!("right-{number}"), right),
        ];
        return Some(ShardMapChange::Split {
            source: shard.id().clone(),
            targets,
        });
    }
    let next = map.shards().get(place + 1)?;
    let union = shard.range().join(&next.range())?;
    let sources = vec![next.id().clone(), shard.id().clone()];
    Some(ShardMapChange::Merge {
        sources,
        target: record(&format!("merged-{number}"), union),
    })
}

proptest! {
    #[test]
    fn ranges_tile_the_space_after_any_sequence_of_splits_and_merges(
        shards in 1_u32..20,
        edits in edits(),
        positions in prop::collection::vec(any::<u64>(), 30),
    ) {
        let mut map = ShardMap::even(shards);
        for (number, edit) in edits.iter().enumerate() {
            let Some(change) = change(&map, edit, number) else { continue };
            let before = map.revision();
            map = map.apply(change).expect("a valid change");
            prop_assert_eq!(map.revision(), before + 1);
            let tiles = union_of(&map);
            prop_assert_eq!(tiles, Some(KeyRange::ALL));
        }
        for position in positions.into_iter().map(Position) {
            let owner = map.at(position);
            prop_assert!(owner.range().contains(position));
            prop_assert_eq!(map.shard(owner.id()), Some(owner));
        }
    }
}

fn union_of(map: &ShardMap) -> Option<KeyRange> {
    let mut ranges = map.shards().iter().map(Shard::range);
    let first = ranges.next()?;
    ranges.try_fold(first, |joined, next| joined.join(&next))
}
