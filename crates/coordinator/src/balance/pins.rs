//! Pins: which shards stay where they are, and what becomes of that when these are split or merged.

use std::collections::BTreeSet;

use shardwright_topology::{Decision, KeyspaceName, Operation, ShardId};

/// Passes pins on along operations that have committed: what is made of shards that are all pinned is pinned, and they are no more. So both parts of
/// a split stay where the whole was to stay, and what a merge makes stays if all of its parts were to. Done again, it changes nothing.
///
/// A pin is passed on once, with the shard that had it: whoever lets a part go does not find it pinned again.
pub(super) fn pass_on(pins: &mut BTreeSet<ShardId>, operations: &[Operation]) {
    if pins.is_empty() {
        return;
    }
    let main = KeyspaceName::main();
    let changed = operations.iter().filter(|operation| {
        // A shard whose members move keeps its name.
        let has_new_names = operation.members.is_none() && operation.keyspace == main;
        has_new_names && operation.phase.decision() == Decision::Commit
    });
    let changed: Vec<_> = changed.collect();
    // One may have gone on with what another one has made, in whatever order they are listed.
    while let Some(operation) = changed.iter().find(|operation| {
        let mut sources = operation.sources.iter();
        !operation.sources.is_empty() && sources.all(|shard| pins.contains(shard))
    }) {
        for shard in &operation.sources {
            pins.remove(shard);
        }
        pins.extend(operation.targets.iter().cloned());
    }
    for shard in changed.iter().flat_map(|operation| &operation.sources) {
        pins.remove(shard);
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::{MemberChange, NodeId, OperationId, OperationKind, Phase};

    use super::*;

    fn shards(names: &str) -> Vec<ShardId> {
        let names = names.split_whitespace();
        names.map(|name| ShardId::new(name).unwrap()).collect()
    }

    /// Operations as `phase: sources > targets`.
    fn operations(texts: &[&str]) -> Vec<Operation> {
        let operation = |(number, text): (usize, &&str)| {
            let (phase, shards_of) = text.split_once(": ").unwrap();
            let (sources, targets) = shards_of.split_once(" > ").unwrap();
            Operation {
                id: OperationId::new(format!("op-{number}")).unwrap(),
                keyspace: KeyspaceName::main(),
                kind: match shards(sources).len() {
                    1 => OperationKind::Split,
                    _ => OperationKind::Merge,
                },
                sources: shards(sources),
                targets: shards(targets),
                phase: match phase {
                    "done" => Phase::Done,
                    "committed" => Phase::Committed,
                    "aborted" => Phase::Aborted,
                    _ => Phase::Sealed,
                },
                error: None,
                paused: false,
                members: None,
            }
        };
        texts.iter().enumerate().map(operation).collect()
    }

    #[track_caller]
    fn check(pinned: &str, texts: &[&str], expected: &str) {
        let operations = operations(texts);
        let mut pins: BTreeSet<_> = shards(pinned).into_iter().collect();
        for _ in 0..2 {
            pass_on(&mut pins, &operations);
            assert_eq!(pins, shards(expected).into_iter().collect(), "{texts:?}");
        }
    }

    #[test]
    fn the_parts_of_a_pinned_shard_are_pinned() {
        check("a z", &["committed: a > b c"], "b c z");
        check("a z", &["done: y > b c"], "a z");
        check("a z", &["sealed: a > b c", "aborted: z > d e"], "a z");
    }

    #[test]
    fn what_is_made_of_pinned_shards_is_pinned_and_what_is_made_of_others_is_not() {
        check("a b", &["done: a b > c"], "c");
        check("a", &["done: a b > c"], "");
    }

    #[test]
    fn pins_are_passed_on_through_several_operations_in_any_order() {
        check("a", &["done: b > d e", "done: a > b c"], "c d e");
        check(
            "a",
            &["done: c d e > f", "done: b > d e", "done: a > b c"],
            "f",
        );
        check("a", &["done: c x > f", "done: a > b c"], "b");
    }

    #[test]
    fn a_shard_whose_members_move_is_as_pinned_as_before() {
        let mut moved = operations(&["done: a > a"]);
        let node = |name: &str| NodeId::new(name).unwrap();
        moved[0].kind = OperationKind::Migrate;
        moved[0].members = Some(MemberChange {
            from: node("n1"),
            to: node("n2"),
        });
        let mut pins: BTreeSet<_> = shards("a").into_iter().collect();
        pass_on(&mut pins, &moved);
        assert_eq!(pins, shards("a").into_iter().collect());
    }
}
