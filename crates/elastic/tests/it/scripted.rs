//! A journal that answers late, or not, as a test wants it.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use shardwright_elastic::{
    ElasticShardManager, Entry, Extent, Journal, JournalError, MemoryJournal, MemoryShardStore,
    Part, Record, Settings, ShardConfig, Version,
    topology::{KeyRange, NodeId, OperationId, ShardId},
};
use tokio::sync::Semaphore;

/// What becomes of the writing down of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Put {
    /// It is written, and the answer waits until the test lets it arrive.
    Late,
    /// It is written, and the answer does not say so.
    Unsaid,
    /// It is not written, and the answer does not say so.
    Lost,
    /// There is never an answer, and it is not written.
    Silent,
    /// It is not written.
    Refused,
}

#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) inner: MemoryJournal,
    /// What becomes of the next operations; of all others what is to become of them.
    pub(crate) puts: Mutex<VecDeque<Put>>,
    /// Whether the next answer about shards waits until the test lets it arrive.
    pub(crate) is_late: AtomicBool,
    /// An answer was made, and has not arrived.
    pub(crate) made: Semaphore,
    pub(crate) arrive: Semaphore,
}

impl Scripted {
    async fn arrive(&self) {
        self.made.add_permits(1);
        self.arrive.acquire().await.expect("it is open").forget();
    }

    fn next_put(&self) -> Option<Put> {
        let mut puts = self.puts.lock().expect("no test panics with it");
        puts.pop_front()
    }
}

#[async_trait]
impl Journal for Scripted {
    async fn list(&self) -> Result<Vec<Entry>, JournalError> {
        self.inner.list().await
    }

    async fn get(&self, id: &OperationId) -> Result<Option<Entry>, JournalError> {
        self.inner.get(id).await
    }

    async fn put(
        &self,
        record: &Record,
        expected: Option<Version>,
    ) -> Result<Version, JournalError> {
        let put = expected.is_none().then(|| self.next_put()).flatten();
        match put {
            None => self.inner.put(record, expected).await,
            Some(Put::Late) => {
                let written = self.inner.put(record, expected).await;
                self.arrive().await;
                written
            }
            Some(Put::Unsaid) => {
                self.inner.put(record, expected).await?;
                Err(JournalError::Unknown("the answer was lost".into()))
            }
            Some(Put::Lost) => Err(JournalError::Unknown("the request was lost".into())),
            Some(Put::Silent) => pending().await,
            Some(Put::Refused) => {
                self.arrive().await;
                Err(JournalError::Unavailable("it is away".into()))
            }
        }
    }

    async fn remove(&self, id: &OperationId, expected: Version) -> Result<(), JournalError> {
        self.inner.remove(id, expected).await
    }

    async fn shards(&self) -> Result<Vec<Part>, JournalError> {
        let found = self.inner.shards().await;
        if self.is_late.swap(false, Ordering::SeqCst) {
            self.arrive().await;
        }
        found
    }

    async fn hold(&self, record: &Record) -> Result<(), JournalError> {
        self.inner.hold(record).await
    }

    async fn resolve(&self, record: &Record) -> Result<(), JournalError> {
        self.inner.resolve(record).await
    }
}

fn parts() -> Vec<Part> {
    let extents = KeyRange::even(2).map(Extent::range);
    let part = |(number, extent)| Part {
        shard: ShardId::numbered(number),
        node: NodeId::new("n1").expect("a name"),
        extent,
    };
    (0..).zip(extents).map(part).collect()
}

pub(crate) async fn manager(
    journal: Arc<dyn Journal>,
    store: &MemoryShardStore,
) -> ElasticShardManager {
    ElasticShardManager::builder(ShardConfig::default())
        .store(NodeId::new("n1").expect("a name"), Arc::new(store.clone()))
        .journal(journal)
        .settings(Settings::local())
        .build()
        .await
        .expect("a manager")
}

/// A journal of two shards, and their store.
pub(crate) fn scripted() -> (Arc<Scripted>, MemoryShardStore) {
    let (parts, store) = (parts(), MemoryShardStore::new());
    store.add_parts(&parts);
    let journal = Arc::new(Scripted {
        inner: MemoryJournal::new(parts),
        puts: Mutex::default(),
        is_late: AtomicBool::new(false),
        made: Semaphore::new(0),
        arrive: Semaphore::new(0),
    });
    (journal, store)
}
