//! Operations that run at the same time, and readers that see them late.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_executor::block_on;
use futures_util::{FutureExt, StreamExt, task::noop_waker};
use proptest::prelude::*;
use shardwright_registry::{Error, Event, Key, Partitioning, Prefix, Record, Revision, decode};
use shardwright_topology::{
    KeyRange, Operation, OperationKind, Phase, Position, ShardMap, ShardRecord,
};

use super::*;

/// An operation to try: where, what, and how it is to end.
#[derive(Debug, Clone)]
struct Attempt {
    at: u64,
    kind: OperationKind,
    commit: bool,
}

/// Lets the others go on.
async fn turn() {
    let mut waited = false;
    poll_fn(|_| {
        if std::mem::replace(&mut waited, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Sources and the ranges of targets, as the map shows them now.
fn choose(map: &ShardMap, attempt: &Attempt) -> Option<(Vec<ShardId>, Vec<KeyRange>)> {
    let place = map.index_at(Position(attempt.at));
    let source = &map.shards()[place];
    match attempt.kind {
        OperationKind::Split => {
            let (left, right) = source.range().halve()?;
            Some((vec![source.id().clone()], vec![left, right]))
        }
        OperationKind::Merge => {
            let next = map.shards().get(place + 1)?;
            let union = source.range().join(&next.range())?;
            Some((vec![source.id().clone(), next.id().clone()], vec![union]))
        }
        OperationKind::Migrate => Some((vec![source.id().clone()], vec![source.range()])),
    }
}

/// Runs an operation from the plan to the end, with a turn of the others after every write.
async fn operate(registry: Registry, number: usize, attempt: Attempt) -> Result<(), Error> {
    let id = operation(&format!("op-{number}"));
    let Some((sources, ranges)) = choose(&registry.map().await?, &attempt) else {
        return Ok(());
    };
    let names = (0..ranges.len()).map(|each| format!("shard-{number}-{each}"));
    let targets: Vec<_> = names
        .map(|name| ShardId::new(name).expect("a valid name"))
        .collect();
    let planned = Operation {
        id: id.clone(),
        keyspace: KeyspaceName::main(),
        kind: attempt.kind,
        sources: sources.clone(),
        targets: targets.clone(),
        phase: Phase::Planned,
        error: None,
        paused: false,
        members: None,
    };
    registry.operations().create(&id, planned).await?;
    turn().await;
    for (target, range) in targets.iter().zip(ranges) {
        let keyspace = KeyspaceName::main();
        let record = ShardRecord::target_of(id.clone(), keyspace, target.clone(), range);
        registry.create_shard(record).await?;
        turn().await;
    }
    let held = hold_and_seal(&registry, &id, &sources).await?;
    let decision = if held && attempt.commit {
        Phase::Committed
    } else {
        Phase::Aborting
    };
    let decided = registry
        .update_operation(&id, |operation| Ok(operation.advance(decision)?))
        .await?;
    turn().await;
    for shard in targets.iter().chain(&sources) {
        registry
            .update_shard(shard, |record| Ok(record.resolve(&decided.value)?))
            .await?;
        turn().await;
    }
    registry.operations().delete(&decided).await
}

/// Takes the sources and brings the operation up to its decision. Returns whether no other operation was faster.
async fn hold_and_seal(
    registry: &Registry,
    id: &OperationId,
    sources: &[ShardId],
) -> Result<bool, Error> {
    let mut held = true;
    for source in sources {
        let outcome = registry
            .update_shard(source, |record| Ok(record.hold_by(id)?))
            .await;
        // Another operation was faster.
        held &= outcome.is_ok();
        turn().await;
    }
    if !held {
        return Ok(false);
    }
    let advance = async |phase| {
        registry
            .update_operation(id, |operation| Ok(operation.advance(phase)?))
            .await?;
        turn().await;
        Ok::<_, Error>(())
    };
    for phase in [
        Phase::Created,
        Phase::Copying,
        Phase::CatchingUp,
        Phase::Verified,
        Phase::Sealing,
    ] {
        advance(phase).await?;
    }
    for source in sources {
        registry
            .update_shard(source, |record| Ok(record.seal_by(id)?))
            .await?;
        turn().await;
    }
    advance(Phase::Sealed).await?;
    Ok(true)
}

type Running = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// Runs all operations, one write at a time, in the order of `schedule` and then to their ends.
fn run(registry: &Registry, attempts: Vec<Attempt>, schedule: &[usize]) {
    let waker = noop_waker();
    let mut context = Context::from_waker(&waker);
    let mut running: Vec<Option<Running>> = Vec::new();
    for (number, attempt) in attempts.into_iter().enumerate() {
        running.push(Some(
            operate(registry.clone(), number, attempt).boxed_local(),
        ));
    }
    let all = 0..running.len();
    let to_the_end = all.flat_map(|each| std::iter::repeat_n(each, 40));
    for pick in schedule.iter().copied().chain(to_the_end) {
        let place = pick % running.len();
        if let Some(operation) = &mut running[place]
            && let Poll::Ready(outcome) = operation.poll_unpin(&mut context)
        {
            outcome.expect("an operation that loses a race aborts");
            running[place] = None;
            block_on(registry.map()).expect("the shards tile the space after every write");
        }
    }
    assert!(running.iter().all(Option::is_none), "every operation ended");
}

/// Every change since the store was empty.
fn history(registry: &Registry) -> Vec<Event> {
    let mut watch = block_on(registry.store().watch(&Prefix::all(), Revision(0))).expect("kept");
    std::iter::from_fn(|| watch.next().now_or_never().flatten())
        .map(|event| event.expect("no error"))
        .collect()
}

/// What became of the records of one kind: each change, with its revision.
struct Past<T>(Vec<(Revision, Key, Option<T>)>);

impl<T: Record + Clone> Past<T> {
    fn below(prefix: &str, history: &[Event]) -> Self {
        let prefix = Prefix::new(prefix).expect("a prefix");
        let changes = history
            .iter()
            .filter(|event| prefix.holds(&event.key))
            .map(|event| {
                let record = event
                    .value
                    .as_ref()
                    .map(|value| decode(value).expect("as written"));
                (event.revision, event.key.clone(), record)
            });
        Self(changes.collect())
    }

    /// The records as they were at a revision.
    fn at(&self, at: u64) -> Vec<T> {
        let mut records = BTreeMap::new();
        for (_, key, record) in self.0.iter().take_while(|(revision, ..)| revision.0 <= at) {
            match record {
                Some(record) => records.insert(key, record),
                None => records.remove(key),
            };
        }
        records.into_values().cloned().collect()
    }
}

/// The owners that a reader finds who has seen the shards up to one revision and the operations up to another.
fn owners(shards: Vec<ShardRecord>, operations: Vec<Operation>) -> Option<BTreeSet<ShardId>> {
    let map = ShardMap::new(KeyspaceName::main(), 1, shards, operations).ok()?;
    Some(
        map.shards()
            .iter()
            .map(|shard| shard.id().clone())
            .collect(),
    )
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    use OperationKind::{Merge, Migrate, Split};
    let kind = prop::sample::select(vec![Split, Merge, Migrate]);
    let attempt = (any::<u64>(), kind, prop::bool::weighted(0.8));
    let attempt = attempt.prop_map(|(at, kind, commit)| Attempt { at, kind, commit });
    prop::collection::vec(attempt, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Operations on different shards may be seen in another order than they were decided in, but each is seen on one side.
    #[test]
    fn a_reader_who_sees_shards_and_operations_at_different_moments_shows_only_what_was_so(
        attempts in attempts(),
        schedule in prop::collection::vec(0_usize..5, 0..100),
        lags in prop::collection::vec((0_u64..300, 0_u64..40), 40),
    ) {
        let registry = registry();
        block_on(registry.bootstrap(Partitioning::Ranges, 3)).expect("new");
        run(&registry, attempts, &schedule);
        let history = history(&registry);
        let last = history.last().expect("changes").revision.0;
        let shards: Past<ShardRecord> = Past::below("shard/main/", &history);
        let operations: Past<Operation> = Past::below("op/", &history);
        // The shards and the keyspace came first: from then on there is a map at every revision.
        let first = 4;
        let truth: BTreeMap<u64, _> = (first..=last)
            .map(|at| (at, owners(shards.at(at), operations.at(at)).expect("a map")))
            .collect();
        for (at, lag) in lags {
            let ahead = first + at % (last - first + 1);
            let behind = ahead.saturating_sub(lag).max(first);
            let real: BTreeSet<_> = truth.range(behind..=ahead).flat_map(|(_, owners)| owners).collect();
            for (shards_at, operations_at) in [(ahead, behind), (behind, ahead)] {
                let seen = owners(shards.at(shards_at), operations.at(operations_at));
                for owner in seen.iter().flatten() {
                    prop_assert!(real.contains(owner), "{owner} owned nothing at any of these moments");
                }
            }
        }
    }
}
