//! A store in memory that one process can be cut off from.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use futures_util::StreamExt;
use shardwright_registry::{
    Entry, Key, Listing, MemoryStore, Prefix, Revision, Store, StoreError, Watch,
};
use tokio::sync::watch;

/// One process's way to a store. While it is cut, every call fails, and every watch ends that had begun.
#[derive(Debug, Clone)]
pub struct Way {
    store: MemoryStore,
    is_cut: Arc<AtomicBool>,
    cuts: watch::Sender<u64>,
}

impl Way {
    /// Returns a way to `store` that is open.
    #[must_use]
    pub fn to(store: &MemoryStore) -> Self {
        Self {
            store: store.clone(),
            is_cut: Arc::default(),
            cuts: watch::Sender::new(0),
        }
    }

    /// Lets nothing through any more.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets everything through again.
    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }

    fn open(&self) -> Result<&MemoryStore, StoreError> {
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("cut off".into()));
        }
        Ok(&self.store)
    }
}

#[async_trait]
impl Store for Way {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.open()?.get(key).await
    }

    async fn create(&self, key: &Key, value: &[u8]) -> Result<Revision, StoreError> {
        self.open()?.create(key, value).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Revision, StoreError> {
        self.open()?.compare_and_set(key, expected, value).await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<(), StoreError> {
        self.open()?.delete(key, expected).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        self.open()?.list(prefix).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        // Before the watch begins, so that no cut falls in between.
        let mut cuts = self.cuts.subscribe();
        let changes = self.open()?.watch(prefix, after).await?;
        let cut = async move {
            // The way of a test that has ended is cut too.
            let _ended = cuts.changed().await;
        };
        Ok(Box::pin(changes.take_until(Box::pin(cut))))
    }
}
