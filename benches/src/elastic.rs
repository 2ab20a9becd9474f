//! `elastic`: splits, merges and the analysis of shards in memory, in absolute times; and splits of SQLite shards.

mod cluster;
mod sqlite;

use std::{hint::black_box, sync::Arc};

use shardwright_elastic::{
    BalancePolicy, ElasticShardManager, Extent, MemoryShardStore, Part, Settings, ShardConfig,
    ShardMetrics, ShardStrategy, Situation, plan,
    topology::{KeyRange, NodeId, ShardId},
};

use crate::harness::{Better, Suite, milliseconds};

/// How many keys the shards have, of 100 bytes each.
const KEYS: usize = 10_000;

/// What a split or a merge of them may take, in milliseconds.
const OPERATION_MS: f64 = 5.0;

/// How many shards are analysed.
const SHARDS: u32 = 100;

/// What that may take, in milliseconds.
const ANALYSIS_MS: f64 = 0.1;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let lower = (Some(1.0), Better::Lower);
    if suite.wants("split_memory") {
        let split = suite.median_of(|| {
            let manager = runtime.block_on(filled(1)).expect("a manager");
            milliseconds(|| {
                runtime
                    .block_on(manager.split_shard("shard-0"))
                    .expect("a split")
            })
        });
        suite.figure("split_memory", "ms", lower, split, OPERATION_MS);
    }
    if suite.wants("merge_memory") {
        let merge = suite.median_of(|| {
            let manager = runtime.block_on(filled(3)).expect("a manager");
            let shards = ["shard-0", "shard-1"];
            milliseconds(|| {
                runtime
                    .block_on(manager.merge_shards(&shards))
                    .expect("a merge")
            })
        });
        suite.figure("merge_memory", "ms", lower, merge, OPERATION_MS);
    }
    if suite.wants("analyse_100") {
        let (situation, policy) = (situation()?, BalancePolicy::default());
        let analysis = suite.median_of(|| milliseconds(|| plan(black_box(&situation), &policy)));
        suite.figure("analyse_100", "ms", lower, analysis, ANALYSIS_MS);
    }
    sqlite::run(suite, &runtime)
}

/// A manager of so many shards, the first two of which have the keys between them, or the first one all.
async fn filled(shards: usize) -> anyhow::Result<ElasticShardManager> {
    let store = MemoryShardStore::new();
    let config = ShardConfig {
        initial_shards: shards,
        strategy: ShardStrategy::HashRanges,
        ..ShardConfig::default()
    };
    let manager = ElasticShardManager::builder(config)
        .store(NodeId::new("node-1")?, Arc::new(store.clone()))
        .settings(Settings::local())
        .build()
        .await?;
    store.add_parts(manager.layout().parts());
    let last = ShardId::numbered(2);
    let mut left = KEYS;
    for key in (0..).map(|user| format!("user:{user}")) {
        if left == 0 {
            break;
        }
        let shard = manager.shard_for_key(&key)?;
        if shard != last {
            store.put(&shard, key.as_bytes(), &[7; 100])?;
            left -= 1;
        }
    }
    Ok(manager)
}

/// Shards of which some are hot and most are cold, on ten nodes.
fn situation() -> anyhow::Result<Situation> {
    let mut situation = Situation::default();
    for node in 0..10 {
        situation.nodes.push(NodeId::new(format!("node-{node}"))?);
    }
    for (number, range) in (0..SHARDS).zip(KeyRange::even(SHARDS)) {
        let shard = ShardId::numbered(number);
        let hot = if number.is_multiple_of(10) { 0.9 } else { 0.05 };
        let metrics = ShardMetrics {
            cpu_usage: hot,
            memory_usage: 0.05,
            storage_bytes: u64::from(number % 7 + 1) << 24,
            request_rate: 10.0,
            key_count: 5_000,
            ..ShardMetrics::default()
        };
        situation.metrics.insert(shard.clone(), metrics);
        situation.parts.push(Part {
            shard,
            node: situation.nodes[(number % 10) as usize].clone(),
            extent: Extent::range(range),
        });
    }
    Ok(situation)
}
