//! Executions: their limits, failures, restarts, and that they end.

use std::{collections::BTreeMap, num::NonZeroUsize};

use proptest::prelude::*;
use shardwright_topology::{NodeId, ShardId};

use super::*;
use crate::{Load, Node, Partition, Plan, Reason, Rebalancer, ReplicaPolicy};

const AT: MapRevision = MapRevision(1);
const NOW: Timestamp = Timestamp(Duration::ZERO);

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn shard(number: u32) -> PartitionId {
    PartitionId::from(ShardId::numbered(number))
}

fn pace(in_flight: usize, per_node: usize) -> Pace {
    Pace {
        limits: Limits {
            in_flight_max: NonZeroUsize::new(in_flight).unwrap(),
            per_node_max: NonZeroUsize::new(per_node).unwrap(),
        },
        ..Pace::default()
    }
}

/// Shards of ten bytes, all on `n1`, and moves of them: `0>n2` for shard 0.
fn scene(moves: &[(u32, &str, &str)]) -> (Cluster, Proposal) {
    let mut cluster = Cluster::new();
    for name in ["n1", "n2", "n3", "n4"] {
        cluster.set_node(Node::new(node(name)));
    }
    for (number, ..) in moves {
        let partition = Partition {
            holders: vec![node("n1")],
            measured: Some(Load {
                bytes: 10,
                ..Load::default()
            }),
            ..Partition::new(1)
        };
        cluster.set_partition(shard(*number), partition);
    }
    let moves = moves.iter().map(|(number, from, to)| Move {
        partition: shard(*number),
        step: Step::Move {
            from: node(from),
            to: node(to),
        },
        reason: Reason::Overloaded,
    });
    let plan = Plan {
        moves: moves.collect(),
        ..Plan::default()
    };
    let proposal = Proposal {
        revision: AT,
        plan,
        deferred: 0,
        impact: crate::Impact::default(),
        pins: Vec::new(),
    };
    (cluster, proposal)
}

/// Returns actions as short text.
fn text(actions: &mut Vec<Action>) -> Vec<String> {
    let short = |action: Action| match action {
        Action::Start { id, attempt, .. } => format!("start {} #{attempt}", id.0),
        Action::WakeAt(at) => format!("wake {at}"),
        Action::Notify(Notice::Ended { id }) => format!("ended {}", id.0),
        Action::Notify(Notice::Failed { id, .. }) => format!("failed {}", id.0),
        Action::Notify(Notice::GivenUp { id, why }) => format!("gave up {} {why:?}", id.0),
        Action::Notify(Notice::Finished { progress }) => {
            format!("finished {} of {}", progress.ended, progress.moves)
        }
    };
    actions.drain(..).map(short).collect()
}

struct Driven {
    execution: Execution,
    actions: Vec<Action>,
    cluster: Cluster,
}

fn begin(moves: &[(u32, &str, &str)], pace: Pace) -> Driven {
    let (cluster, proposal) = scene(moves);
    let mut actions = Vec::new();
    let execution = Execution::begin(NOW, &proposal, &cluster, AT, pace, &mut actions);
    Driven {
        execution: execution.unwrap(),
        actions,
        cluster,
    }
}

impl Driven {
    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(text(&mut self.actions), expected);
    }

    #[track_caller]
    fn on(&mut self, now: Timestamp, event: Event, expected: &[&str]) {
        self.execution.handle(now, event, &mut self.actions);
        self.expect(expected);
    }

    #[track_caller]
    fn restart(&mut self, expected: &[&str]) {
        let stored = serde_json::to_string(&self.execution).unwrap();
        self.execution = serde_json::from_str(&stored).unwrap();
        let (execution, cluster) = (&mut self.execution, &self.cluster);
        execution.resume(NOW, cluster, &mut self.actions);
        assert_eq!(self.execution.check_invariants(), Ok(()));
        self.expect(expected);
    }
}

#[test]
fn an_event_is_checked_where_it_has_changed_something() {
    let moves: Vec<_> = (0..2_000).map(|shard| (shard, "n1", "n2")).collect();
    let mut driven = begin(&moves, pace(2, 2));
    let execution = &mut driven.execution;
    execution.handle(NOW, ended(0), &mut driven.actions);
    assert_eq!(execution.touched, [0, 2], "one ended, and one began");
    assert_eq!(execution.check_touched(), Ok(()));

    // The second move of a shard does not begin before the first one has ended, and one that runs has a seat.
    let mut driven = begin(
        &[(0, "n1", "n2"), (0, "n2", "n3"), (1, "n1", "n4")],
        pace(2, 1),
    );
    let running = State::Running { bytes: 0 };
    driven.execution.set(MoveId(1), running);
    let broken = driven.execution.check_touched();
    assert_eq!(broken, Err(InvalidExecution::OutOfOrder));
    let mut driven = begin(&[(0, "n1", "n2"), (1, "n1", "n4")], pace(2, 1));
    driven.execution.set(MoveId(1), running);
    let broken = driven.execution.check_touched();
    assert_eq!(broken, Err(InvalidExecution::Queue));
}

fn ended(number: u32) -> Event {
    Event::Ended { id: MoveId(number) }
}

fn failed(number: u32, fault: Fault) -> Event {
    Event::Failed {
        id: MoveId(number),
        fault,
    }
}

#[test]
fn a_stale_plan_is_not_begun() {
    let (cluster, proposal) = scene(&[(0, "n1", "n2")]);
    let mut actions = Vec::new();
    let current = MapRevision(2);
    let begun = Execution::begin(
        NOW,
        &proposal,
        &cluster,
        current,
        Pace::default(),
        &mut actions,
    );
    let stale = StalePlan {
        planned: AT,
        current,
    };
    assert_eq!(begun.unwrap_err(), stale);
    assert!(actions.is_empty(), "{actions:?}");
}

#[test]
fn no_more_moves_run_than_may_in_all_and_with_a_node() {
    let moves = [
        (0, "n1", "n2"),
        (1, "n1", "n2"),
        (2, "n1", "n3"),
        (3, "n4", "n3"),
        (4, "n4", "n2"),
    ];
    let mut driven = begin(&moves, pace(3, 2));
    driven.expect(&["start 0 #1", "start 1 #1", "start 3 #1"]);
    driven.on(NOW, ended(3), &["ended 3"]);
    driven.on(NOW, ended(0), &["ended 0", "start 2 #1", "start 4 #1"]);
    driven.on(NOW, ended(4), &["ended 4"]);
    driven.on(NOW, ended(4), &[]);
    driven.on(NOW, ended(1), &["ended 1"]);
    driven.on(NOW, ended(2), &["ended 2", "finished 5 of 5"]);
    driven.on(NOW, ended(2), &[]);
}

#[test]
fn moves_of_a_shard_run_one_after_the_other_and_fail_together() {
    let moves = [(0, "n1", "n2"), (0, "n2", "n3"), (1, "n1", "n2")];
    let mut driven = begin(&moves, Pace::default());
    driven.expect(&["start 0 #1", "start 2 #1"]);
    let given_up = ["failed 0", "gave up 0 Refused", "gave up 1 Earlier"];
    driven.on(NOW, failed(0, Fault::Refused), &given_up);
    driven.on(NOW, ended(2), &["ended 2", "finished 1 of 3"]);
    let given_up: Vec<_> = driven.execution.given_up().map(|(_, why)| why).collect();
    assert_eq!(given_up, [GivenUp::Refused, GivenUp::Earlier]);
}

#[test]
fn a_passing_failure_is_tried_again_after_a_rest_and_not_for_ever() {
    let mut driven = begin(&[(0, "n1", "n2"), (1, "n1", "n3")], pace(1, 1));
    driven.expect(&["start 0 #1"]);
    let at = |seconds| Timestamp(Duration::from_secs(seconds));
    let other = ["failed 0", "start 1 #1", "wake 10.000s"];
    driven.on(NOW, failed(0, Fault::Passing), &other);
    driven.on(at(5), Event::Woken, &["wake 10.000s"]);
    driven.on(at(10), Event::Woken, &[]);
    driven.on(at(11), ended(1), &["ended 1", "start 0 #2"]);
    driven.on(
        at(12),
        failed(0, Fault::Passing),
        &["failed 0", "wake 22.000s"],
    );
    driven.on(at(22), Event::Woken, &["start 0 #3"]);
    let last = ["failed 0", "gave up 0 TooOften", "finished 1 of 2"];
    driven.on(at(23), failed(0, Fault::Passing), &last);
}

#[test]
fn progress_is_watched_in_moves_and_bytes() {
    let mut driven = begin(&[(0, "n1", "n2"), (1, "n1", "n3")], pace(1, 1));
    let advanced = |bytes| Event::Advanced {
        id: MoveId(0),
        bytes,
    };
    driven.actions.clear();
    for (bytes, known) in [(4, 4), (2, 4), (99, 10)] {
        driven.on(NOW, advanced(bytes), &[]);
        assert_eq!(driven.execution.progress().bytes_done, known);
    }
    driven.on(NOW, ended(0), &["ended 0", "start 1 #1"]);
    let expected = Progress {
        moves: 2,
        running: 1,
        ended: 1,
        bytes: 20,
        bytes_done: 10,
        ..Progress::default()
    };
    assert_eq!(driven.execution.progress(), expected);
    assert_eq!(driven.execution.running().count(), 1);
}

#[test]
fn a_pause_lets_what_runs_end_and_a_cancellation_ends_the_rest() {
    let moves = [(0, "n1", "n2"), (1, "n1", "n3"), (0, "n2", "n4")];
    let mut driven = begin(&moves, pace(1, 1));
    driven.expect(&["start 0 #1"]);
    driven.on(NOW, Event::Paused, &[]);
    driven.on(NOW, ended(0), &["ended 0"]);
    driven.restart(&[]);
    driven.on(NOW, Event::Continued, &["start 1 #1"]);
    driven.on(NOW, Event::Cancelled, &["gave up 2 Cancelled"]);
    driven.restart(&["start 1 #1"]);
    driven.on(NOW, ended(1), &["ended 1", "finished 2 of 3"]);
}

#[test]
fn what_somebody_does_not_want_any_more_is_not_started_and_the_rest_is() {
    let moves = [(0, "n1", "n2"), (1, "n1", "n3"), (2, "n1", "n4")];
    let mut driven = begin(&moves, pace(1, 1));
    driven.expect(&["start 0 #1"]);
    let waiting: Vec<_> = driven.execution.waiting().map(|(id, _)| id.0).collect();
    assert_eq!(waiting, [1, 2]);
    let unwanted = |id| Event::Unwanted { id: MoveId(id) };
    driven.on(NOW, unwanted(0), &[]);
    driven.on(NOW, unwanted(1), &["gave up 1 Cancelled"]);
    driven.on(NOW, unwanted(9), &[]);
    let failed = Event::Failed {
        id: MoveId(0),
        fault: Fault::Passing,
    };
    driven.execution.handle(NOW, failed, &mut driven.actions);
    driven.actions.clear();
    driven.on(NOW, unwanted(0), &["gave up 0 Cancelled"]);
    driven.on(NOW, ended(2), &["ended 2", "finished 1 of 3"]);
}

#[test]
fn after_a_restart_only_what_is_not_done_is_started() {
    let moves = [
        (0, "n1", "n2"),
        (1, "n1", "n3"),
        (2, "n1", "n4"),
        (3, "n1", "n2"),
    ];
    let mut driven = begin(&moves, pace(3, 3));
    driven.expect(&["start 0 #1", "start 1 #1", "start 2 #1"]);
    // The first is done, and somebody else has taken the third.
    for (number, holder) in [(0, "n2"), (2, "n3")] {
        let known = driven.cluster.partition(&shard(number)).cloned().unwrap();
        let holders = vec![node(holder)];
        driven
            .cluster
            .set_partition(shard(number), Partition { holders, ..known });
    }
    driven.restart(&[
        "ended 0",
        "start 1 #1",
        "gave up 2 DoesNotFit",
        "start 3 #1",
    ]);
    driven.on(NOW, ended(1), &["ended 1"]);
    driven.on(NOW, ended(3), &["ended 3", "finished 3 of 4"]);
    driven.restart(&["finished 3 of 4"]);
}

#[test]
fn what_is_no_execution_is_refused() {
    let mut driven = begin(&[(0, "n1", "n2"), (0, "n2", "n3")], pace(1, 1));
    driven.actions.clear();
    let stored = serde_json::to_value(&driven.execution).unwrap();
    let check = |change: fn(&mut serde_json::Value), expected: &str| {
        let mut changed = stored.clone();
        change(&mut changed);
        let refused = serde_json::from_value::<Execution>(changed).unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
    };
    check(|stored| stored["format"] = 2.into(), "format 2");
    let out_of_order = |stored: &mut serde_json::Value| {
        stored["moves"][0]["state"] = serde_json::json!({"state": "waiting"});
        stored["moves"][1]["state"] = serde_json::json!({"state": "ended"});
    };
    check(out_of_order, "before an earlier one");
}

/// Returns shards with one copy of two.
fn half_placed(nodes: usize, shards: usize) -> Cluster {
    let mut cluster = Cluster::new();
    for number in 0..nodes {
        cluster.set_node(Node::new(node(&format!("n{number}"))));
    }
    for number in 0..shards {
        let holders = vec![node(&format!("n{}", number * number % 3))];
        let partition = Partition {
            holders,
            ..Partition::new(2)
        };
        let number = u32::try_from(number).unwrap();
        cluster.set_partition(shard(number), partition);
    }
    cluster
}

fn check_limits(running: &BTreeMap<MoveId, Move>, limits: Limits) -> Result<(), TestCaseError> {
    prop_assert!(running.len() <= limits.in_flight_max.get());
    let mut with: BTreeMap<&NodeId, usize> = BTreeMap::new();
    for planned in running.values() {
        let nodes = [planned.step.from(), planned.step.to()];
        for node in nodes.into_iter().flatten() {
            *with.entry(node).or_default() += 1;
        }
    }
    let most = limits.per_node_max.get();
    prop_assert!(with.values().all(|moves| *moves <= most));
    Ok(())
}

/// Plays an execution with failures and restarts by the numbers given, and checks the limits at each step.
fn play(mut cluster: Cluster, pace: Pace, choices: &[u8]) -> Result<(), TestCaseError> {
    let proposal = Rebalancer::new(ReplicaPolicy::default()).propose(AT, &cluster);
    let mut actions = Vec::new();
    let mut now = NOW;
    let begun = Execution::begin(now, &proposal, &cluster, AT, pace, &mut actions);
    let mut execution = begun.unwrap();
    let mut choices = choices.iter().copied().cycle();
    let mut running: BTreeMap<MoveId, Move> = BTreeMap::new();
    let mut wake = None;
    for _ in 0..10_000 {
        for action in actions.drain(..) {
            match action {
                Action::Start { id, planned, .. } => drop(running.insert(id, planned)),
                Action::WakeAt(at) => wake = Some(at),
                Action::Notify(_) => {}
            }
        }
        check_limits(&running, pace.limits)?;
        prop_assert_eq!(execution.check_invariants(), Ok(()));
        if execution.is_finished() {
            break;
        }
        let choice = choices.next().unwrap();
        let picked = running
            .keys()
            .nth(usize::from(choice) % running.len().max(1));
        let Some(id) = picked.copied() else {
            now = wake.take().expect("nothing runs, so something rests");
            execution.handle(now, Event::Woken, &mut actions);
            continue;
        };
        let event = match choice % 8 {
            0 => Event::Failed {
                id,
                fault: Fault::Passing,
            },
            _ => Event::Ended { id },
        };
        let planned = running.remove(&id).unwrap();
        if let Event::Ended { .. } = event {
            cluster.apply(&planned).unwrap();
        }
        if choice % 16 == 1 {
            // The driver dies after the move was done and before it could say so.
            let stored = serde_json::to_string(&execution).unwrap();
            execution = serde_json::from_str(&stored).unwrap();
            running.clear();
            execution.resume(now, &cluster, &mut actions);
        } else {
            execution.handle(now, event, &mut actions);
        }
    }
    prop_assert!(execution.is_finished());
    if execution.given_up().count() == 0 {
        let again = Rebalancer::new(ReplicaPolicy::default()).propose(AT, &cluster);
        prop_assert!(again.plan.is_empty(), "{}", again.plan);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_execution_ends_within_its_limits(
        nodes in 3_usize..7,
        shards in 0_usize..30,
        in_flight in 1_usize..8,
        per_node in 1_usize..4,
        choices in prop::collection::vec(any::<u8>(), 1..50),
    ) {
        play(half_placed(nodes, shards), pace(in_flight, per_node), &choices)?;
    }
}
