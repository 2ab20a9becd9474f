//! A store of one's own behind its adapter keeps the contract.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::FutureExt;

use super::{DataOpsStore, ShardDataOps, SplitError};
use crate::{
    Changes, Extent, Page, Part, Row, RowChange, ShardMetrics, ShardStore, StoreError,
    conformance::{Bench, run_all},
    topology::{KeyRange, Lsn, NodeId, OperationId, ShardId},
};

type Rows = HashMap<String, Vec<u8>>;

/// A store that can do no more than it must, and takes no rows while it is told so.
#[derive(Default)]
struct Plain(Mutex<BTreeMap<String, Rows>>, AtomicBool);

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
        if self.1.load(Ordering::SeqCst) {
            return Err(SplitError::Unavailable("away".into()));
        }
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

#[test]
fn a_target_that_was_emptied_and_not_filled_again_is_given_up() {
    futures_executor::block_on(async {
        let plain = Arc::new(Plain::default());
        let store = DataOpsStore::new(plain.clone());
        let id = OperationId::new("op-1").expect("a name");
        let (source, target) = (ShardId::numbered(0), ShardId::numbered(1));
        let extent = Extent::range(KeyRange::ALL);
        store
            .create(&id, &target, &extent)
            .await
            .expect("it is new");
        let begun = store.imported(&id, &target, &source, Lsn(0)).await;
        begun.expect("it is empty");
        let row = |key: &[u8]| Row {
            key: key.to_vec(),
            value: vec![1],
            at: None,
        };
        let page = Page {
            after: None,
            rows: vec![row(b"a"), row(b"b")],
            next: None,
            position: Lsn(0),
        };
        let imported = store.import(&id, &target, &source, page).await;
        assert!(imported.expect("it is the first").complete);
        plain.1.store(true, Ordering::SeqCst);
        let gone = RowChange {
            position: Lsn(1),
            key: b"a".to_vec(),
            value: None,
        };
        let changes = Changes {
            after: Lsn(0),
            changes: vec![gone],
            through: Lsn(1),
            head: Lsn(1),
        };
        let applied = store.apply(&id, &target, &source, changes).await;
        assert!(matches!(applied, Err(StoreError::Failed(_))), "{applied:?}");
    });
}
