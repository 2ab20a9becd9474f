//! Shards that are split, handed over and moved by what is measured of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use shardwright_coordinator::{
    balance::{Asked, Automatic, Options, Settings},
    core::{Notice, View},
    elastic::{BalancePolicy, MergeCriteria, SplitCriteria},
    failover::replication::Condition,
    rebalancer::{Patience, Step},
};
use shardwright_topology::{ShardId, ShardRecord, ShardState};
use tokio::task::JoinHandle;

use crate::{
    cluster::{Cluster, node_id, wait},
    split::insist,
    sql::Asking,
};

/// Splits whatever is used at all, once, and moves soon.
fn eager() -> Settings {
    let ms = Duration::from_millis;
    Settings {
        interval: ms(100),
        shards: BalancePolicy {
            split: SplitCriteria {
                request_rate_threshold: 5.0,
                min_keys: 20,
                ..SplitCriteria::default()
            },
            merge: MergeCriteria {
                min_total_shards: 1_000,
                request_rate_threshold: 1.0,
                ..MergeCriteria::default()
            },
            lasting: ms(200),
            cool_down: Duration::from_secs(3_600),
            ..BalancePolicy::default()
        },
        patience: Patience {
            calm: ms(200),
            rest: ms(500),
        },
        requests_min: 2,
        ..Settings::default()
    }
}

/// Those that own ranges.
fn serving(view: &View) -> Vec<Arc<ShardRecord>> {
    let shards = view.shards.iter();
    let shards =
        shards.filter(|record| record.range.is_some() && record.state == ShardState::Serving);
    shards.cloned().collect()
}

/// Writers that count what was acknowledged.
struct Writing {
    written: Arc<AtomicU64>,
    stops: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writing {
    fn start(asking: &Asking) -> Self {
        let (written, stops) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let tasks = ["n1", "n2", "n3"].map(|node| {
            let (asking, written, stops) =
                (asking.clone(), Arc::clone(&written), Arc::clone(&stops));
            tokio::spawn(async move {
                let mut number = 0;
                while !stops.load(Ordering::Relaxed) {
                    number += 1;
                    let insert = json!({
                        "sql": "INSERT INTO users VALUES (?1, 1)", "args": [format!("{node}-{number}")],
                        "client": format!("writer {node}"), "seq": number,
                    });
                    insist(&asking, node, &insert).await;
                    written.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self {
            written,
            stops,
            tasks: tasks.into(),
        }
    }

    async fn stop(self) -> u64 {
        self.stops.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no write fails");
        }
        self.written.load(Ordering::Relaxed)
    }
}

fn decided(cluster: &Cluster, wanted: impl Fn(&str, &str) -> bool) -> bool {
    let events = cluster.events();
    let mut decided = events.iter().filter_map(|event| match event {
        Notice::RebalanceDecided { step, reason, .. } => Some((step, reason)),
        _ => None,
    });
    decided.any(|(step, reason)| wanted(step, reason))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_shard_is_split_and_one_half_is_handed_over() {
    let asking = Asking::start(3, 1).await;
    let cluster = asking.cluster.clone();
    asking
        .run("n1", "CREATE TABLE users(id TEXT PRIMARY KEY, n INTEGER)")
        .await;
    cluster.balance(3, 1, eager()).await;
    let handle = cluster.handle();
    let balance = handle.balance().expect("it balances");
    let writing = Writing::start(&asking);
    balance
        .set_automatic(Automatic::On)
        .await
        .expect("the store answers");
    wait("two shards on two nodes", async || {
        let shards = serving(&handle.view());
        let primaries: BTreeSet<_> = shards.iter().filter_map(|shard| shard.primary()).collect();
        let is_split =
            shards.len() == 2 && shards.iter().all(|shard| shard.id != ShardId::numbered(0));
        (is_split && primaries.len() == 2).then_some(())
    })
    .await;
    wait("the rates of the shards", async || {
        let measured = handle.operations().current()?.measured().await;
        let is_used = measured.values().any(|metrics| metrics.write_rate > 1.0);
        is_used.then_some(())
    })
    .await;
    let written = writing.stop().await;
    let split = |step: &str, reason: &str| {
        step == "split shard-0" && reason.starts_with("request rate is ")
    };
    assert!(decided(&cluster, split), "{:?}", cluster.events());
    let handed_over = |step: &str, _: &str| step.starts_with("hand ");
    assert!(decided(&cluster, handed_over), "{:?}", cluster.events());
    let count = asking.run("n2", "SELECT count(*) FROM users").await;
    assert_eq!(count["rows"], json!([[written]]), "{count}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let asking = Asking::start(3, 1).await;
    let cluster = asking.cluster.clone();
    asking
        .run("n1", "CREATE TABLE users(id TEXT PRIMARY KEY, n INTEGER)")
        .await;
    cluster.balance(3, 1, eager()).await;
    let handle = cluster.handle();
    let balance = handle.balance().expect("it balances");
    let set = balance.set_automatic(Automatic::DryRun).await;
    set.expect("the store answers");
    let writing = Writing::start(&asking);
    wait("a decision", async || {
        decided(&cluster, |step, _| step == "split shard-0").then_some(())
    })
    .await;
    writing.stop().await;
    assert_eq!(serving(&handle.view()).len(), 1);
    assert_eq!(handle.view().open_operations(), 0);
    cluster.stop().await;
}

/// Waits until all shards have their copies, and a node may be given some.
async fn until_settled(cluster: &Cluster, nodes: usize) -> Arc<View> {
    wait("whole shards", async || {
        let view = cluster.handle().view();
        let shards = view.replicated.values();
        let is_whole = shards.len() == 4
            && shards
                .into_iter()
                .all(|known| known.condition == Condition::Whole);
        let up = view.nodes.iter().filter(|node| node.leased).count();
        (is_whole && view.keepers.len() == nodes && up == nodes).then_some(view)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_gets_its_share_whoever_leads() {
    let cluster = Cluster::of_shards(3, 3).await;
    until_settled(&cluster, 3).await;
    cluster.add("n4").await;
    let view = until_settled(&cluster, 4).await;
    let handle = cluster.handle();
    let balance = handle.balance().expect("it balances");
    let (nothing, options) = (BTreeMap::new(), Options::default());
    let proposed = balance.propose(&view, &nothing, &options).await;
    let proposed = proposed.expect("there is room");
    assert!(proposed.impact.copies > 0, "{proposed:?}");
    let plan = (proposed.proposal.revision, proposed.proposal.plan.moves);
    let is_to_n4 = |step: &Step| step.to() == Some(&node_id("n4"));
    assert!(
        plan.1.iter().any(|planned| is_to_n4(&planned.step)),
        "{plan:?}"
    );
    let begun = balance
        .apply(&view, &nothing, plan.clone(), Asked::ByHand)
        .await;
    let begun = begun
        .expect("nothing has changed")
        .expect("there is something to do");
    let again = balance.apply(&view, &nothing, plan, Asked::ByHand).await;
    assert_eq!(again.expect_err("one at a time").code(), "IN_PROGRESS");

    cluster.replace_coordinator(3).await;
    let handle = cluster.handle();
    let balance = handle.balance().expect("it balances");
    let ended = wait("the end of the plan", async || {
        let status = balance
            .status(&handle.view())
            .await
            .expect("the store answers");
        let carried = status.execution.expect("it is kept");
        assert_eq!(carried.id, begun.id);
        carried.execution.is_finished().then_some(carried)
    })
    .await;
    let given_up: Vec<_> = ended.execution.given_up().collect();
    assert_eq!(given_up, [], "{:?}", cluster.events());
    let (done, begun) = (ended.execution.progress(), begun.execution.progress());
    assert_eq!(done.ended, begun.moves);
    let view = until_settled(&cluster, 4).await;
    let planned = balance.propose(&view, &nothing, &options).await;
    assert_eq!(planned.expect("there is room").impact.copies, 0);
    cluster.stop().await;
}
