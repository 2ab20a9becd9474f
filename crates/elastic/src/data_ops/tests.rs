//! A store of one's own behind its adapter keeps the contract.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures_util::FutureExt;

use super::{DataOpsStore, ShardDataOps, SplitError};
use crate::{
    Part, ShardMetrics, StoreError,
    conformance::{Bench, run_all},
    topology::NodeId,
};

type Rows = HashMap<String, Vec<u8>>;

/// A store that can do no more than it must.
#[derive(Default)]
struct Plain(Mutex<BTreeMap<String, Rows>>);

#[async_trait]
impl ShardDataOps for Plain {
    async fn get_keys(&self, shard_id: &str) -> Result<Vec<String>, SplitError> {
        Ok(self.get_data(shard_id).await?.into_keys().collect())
    }

    async fn get_data(&self, shard_id: &str) -> Result<Rows, SplitError> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .get(shard_id)
            .cloned()
            .unwrap_or_default())
    }

    async fn copy_data(&self, target_shard: &str, data: Rows) -> Result<(), SplitError> {
        let mut shards = self.0.lock().unwrap();
        shards
            .entry(target_shard.to_owned())
            .or_default()
            .extend(data);
        Ok(())
    }

    async fn delete_shard(&self, shard_id: &str) -> Result<(), SplitError> {
        self.0.lock().unwrap().remove(shard_id);
        Ok(())
    }

    async fn get_metrics(&self, shard_id: &str) -> Result<ShardMetrics, SplitError> {
        Ok(ShardMetrics {
            key_count: self.get_keys(shard_id).await?.len(),
            ..ShardMetrics::default()
        })
    }
}

#[test]
fn the_adapter_keeps_the_contract() {
    futures_executor::block_on(run_all(async |shard, extent| {
        let plain = Arc::new(Plain::default());
        let store = DataOpsStore::new(plain.clone());
        let node = NodeId::new("n1").expect("a name");
        store.add(&Part {
            shard,
            node,
            extent,
        });
        let (gates, writes) = (store.gates().clone(), plain.clone());
        Bench {
            store: Arc::new(store),
            write: Box::new(move |shard, key, value| {
                let entered = gates.enter(shard, key).now_or_never();
                let guard = entered.expect("no copy looks")?;
                let mut shards = writes.0.lock().unwrap();
                let rows = shards.entry(guard.shard().to_string()).or_default();
                let key = String::from_utf8(key.to_vec()).expect("a text");
                match value {
                    Some(value) => rows.insert(key, value.to_vec()),
                    None => rows.remove(&key),
                };
                Ok(())
            }),
            read: Box::new(move |shard, key| {
                let shards = plain.0.lock().unwrap();
                let unknown = || StoreError::Unknown {
                    shard: shard.clone(),
                };
                let rows = shards.get(shard.as_str()).ok_or_else(unknown)?;
                let key = str::from_utf8(key).expect("a text");
                Ok(rows.get(key).cloned())
            }),
        }
    }));
}
