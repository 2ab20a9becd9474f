//! HeliosDB's elastic shards over a store of one's own: hot shards split, cold ones merged, while a user keeps writing.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use shardwright::elastic::{
    ElasticShardManager, ShardConfig, ShardDataOps, ShardMetrics, SplitError,
};

type Rows = HashMap<String, Vec<u8>>;

#[derive(Default)]
struct MyDataOps(Mutex<BTreeMap<String, Rows>>);

impl MyDataOps {
    fn shards(&self) -> MutexGuard<'_, BTreeMap<String, Rows>> {
        self.0.lock().expect("nobody panics with it")
    }
}

#[async_trait]
impl ShardDataOps for MyDataOps {
    async fn get_keys(&self, shard_id: &str) -> Result<Vec<String>, SplitError> {
        Ok(self.get_data(shard_id).await?.into_keys().collect())
    }

    async fn get_data(&self, shard_id: &str) -> Result<Rows, SplitError> {
        Ok(self.shards().get(shard_id).cloned().unwrap_or_default())
    }

    async fn copy_data(&self, target_shard: &str, data: Rows) -> Result<(), SplitError> {
        let target = target_shard.to_owned();
        self.shards().entry(target).or_default().extend(data);
        Ok(())
    }

    async fn delete_shard(&self, shard_id: &str) -> Result<(), SplitError> {
        self.shards().remove(shard_id);
        Ok(())
    }

    async fn get_metrics(&self, shard_id: &str) -> Result<ShardMetrics, SplitError> {
        let rows = self.get_data(shard_id).await?;
        Ok(ShardMetrics {
            cpu_usage: 0.1,
            storage_bytes: rows.values().map(|value| value.len() as u64).sum(),
            key_count: rows.len(),
            ..ShardMetrics::default()
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = ShardConfig {
        initial_shards: 4,
        virtual_nodes_per_shard: 150,
        split_threshold: 0.8,
        merge_threshold: 0.3,
        auto_rebalance: true,
        ..Default::default()
    };
    let data_ops = Arc::new(MyDataOps::default());
    let manager = ElasticShardManager::new(config, data_ops.clone()).await?;
    for user in 0..10_000 {
        let key = format!("user:{user}");
        // The shard does not change hands while the guard is held.
        let guard = manager.write(&key).await?;
        let rows = HashMap::from([(key, b"profile".to_vec())]);
        data_ops.copy_data(guard.shard().as_str(), rows).await?;
    }

    let shard = manager.get_shard_for_key("user:1234").await?;
    println!("Key routed to: {shard}");
    let (left, right) = manager.split_shard("shard-1").await?;
    println!("Split into: {left} and {right}");
    let merged = manager.merge_shards(&["shard-2", "shard-3"]).await?;
    println!("Merged into: {merged}");

    let stats = manager.get_shard_statistics(left.as_str()).await?;
    println!("Storage: {} bytes", stats.storage_bytes);

    let plan = manager.rebalance().await?;
    for planned in &plan.steps {
        println!("Planned: {}, because {}", planned.step, planned.reason);
    }
    println!("Data Movement: {} bytes", plan.impact.data_movement_bytes);
    let seconds = plan.impact.estimated_duration_secs;
    println!("Estimated Duration: {seconds}s");
    if !plan.is_empty() {
        manager.execute_rebalance(plan).await?;
    }
    println!("{} shards now", manager.layout().len());
    Ok(())
}
