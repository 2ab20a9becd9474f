//! A store of one's own, in memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use shardwright_elastic::{
    ElasticShardManager, Error, Settings, ShardConfig, ShardDataOps, ShardMetrics, SplitError,
};

type Rows = HashMap<String, Vec<u8>>;

/// Shards of keys and values, with the load that a test gives them.
#[derive(Debug, Default)]
pub(crate) struct OwnStore {
    pub(crate) shards: Mutex<BTreeMap<String, Rows>>,
    pub(crate) cpu: Mutex<BTreeMap<String, f64>>,
    /// Whether it can delete single keys.
    pub(crate) deletes: bool,
    /// Whether it never says how much a shard has.
    pub(crate) is_silent: AtomicBool,
    /// Whether it reads the next shard for longer than a call may take.
    pub(crate) is_slow: AtomicBool,
}

impl OwnStore {
    pub(crate) fn put(&self, shard: &str, key: &str, value: &[u8]) {
        let mut shards = self.shards.lock().expect("no test panics with it");
        let rows = shards.entry(shard.to_owned()).or_default();
        rows.insert(key.to_owned(), value.to_vec());
    }

    pub(crate) fn take(&self, shard: &str, key: &str) {
        let mut shards = self.shards.lock().expect("no test panics with it");
        shards.entry(shard.to_owned()).or_default().remove(key);
    }

    pub(crate) fn get(&self, shard: &str, key: &str) -> Option<Vec<u8>> {
        self.shards
            .lock()
            .expect("no test panics with it")
            .get(shard)?
            .get(key)
            .cloned()
    }

    pub(crate) fn shards(&self) -> Vec<String> {
        self.shards
            .lock()
            .expect("no test panics with it")
            .keys()
            .cloned()
            .collect()
    }

    pub(crate) fn rows(&self) -> usize {
        self.shards
            .lock()
            .expect("no test panics with it")
            .values()
            .map(HashMap::len)
            .sum()
    }
}

#[async_trait]
impl ShardDataOps for OwnStore {
    async fn get_keys(&self, shard_id: &str) -> Result<Vec<String>, SplitError> {
        if self.is_slow.swap(false, Ordering::SeqCst) {
            tokio::time::sleep(Settings::default().call_timeout * 3).await;
        }
        Ok(self.get_data(shard_id).await?.into_keys().collect())
    }

    async fn get_data(&self, shard_id: &str) -> Result<Rows, SplitError> {
        let shards = self.shards.lock().expect("no test panics with it");
        Ok(shards.get(shard_id).cloned().unwrap_or_default())
    }

    async fn copy_data(&self, target_shard: &str, data: Rows) -> Result<(), SplitError> {
        // Others get a turn.
        tokio::task::yield_now().await;
        let mut shards = self.shards.lock().expect("no test panics with it");
        shards
            .entry(target_shard.to_owned())
            .or_default()
            .extend(data);
        Ok(())
    }

    async fn delete_shard(&self, shard_id: &str) -> Result<(), SplitError> {
        self.shards
            .lock()
            .expect("no test panics with it")
            .remove(shard_id);
        Ok(())
    }

    async fn get_metrics(&self, shard_id: &str) -> Result<ShardMetrics, SplitError> {
        if self.is_silent.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let rows = self.get_data(shard_id).await?;
        let sizes = rows
            .iter()
            .map(|(key, value)| (key.len() + value.len()) as u64);
        Ok(ShardMetrics {
            cpu_usage: self
                .cpu
                .lock()
                .expect("no test panics with it")
                .get(shard_id)
                .copied()
                .unwrap_or(0.5),
            storage_bytes: sizes.sum(),
            key_count: rows.len(),
            ..ShardMetrics::default()
        })
    }

    async fn delete_keys(&self, shard_id: &str, keys: &[String]) -> Result<bool, SplitError> {
        if self.deletes {
            keys.iter().for_each(|key| self.take(shard_id, key));
        }
        Ok(self.deletes)
    }
}

/// A manager of `users` users in a store of one's own.
pub(crate) async fn filled(
    config: ShardConfig,
    store: &Arc<OwnStore>,
    users: usize,
) -> ElasticShardManager {
    let manager = ElasticShardManager::new(config, store.clone()).await;
    let manager = manager.expect("the configuration can be used");
    for user in 0..users {
        put(&manager, store, &format!("user:{user}"), b"first")
            .await
            .expect("nothing is sealed");
    }
    manager
}

pub(crate) async fn put(
    manager: &ElasticShardManager,
    store: &OwnStore,
    key: &str,
    value: &[u8],
) -> Result<(), Error> {
    let guard = manager.write(key).await?;
    tokio::task::yield_now().await;
    store.put(guard.shard().as_str(), key, value);
    Ok(())
}

/// Every user is in the shard that owns it, with that value, and nothing is anywhere else.
pub(crate) fn check(
    manager: &ElasticShardManager,
    store: &OwnStore,
    expected: &BTreeMap<String, Vec<u8>>,
) {
    for (key, value) in expected {
        let shard = manager.shard_for_key(key).expect("every key has an owner");
        assert_eq!(
            store.get(shard.as_str(), key).as_ref(),
            Some(value),
            "{key} in {shard}"
        );
    }
    assert_eq!(store.rows(), expected.len(), "no row is there twice");
    let layout = manager.layout();
    for shard in store.shards() {
        assert!(layout.part(&shard).is_some(), "{shard} is left over");
    }
}
