//! The rules of a [`ShardStore`], as functions that panic when a store breaks one.
//!
//! A store's own tests call [`run_all`] with functions that make an empty store with one shard of the given extent, and write to it.
//!
//! ```
//! use std::sync::Arc;
//! use shardwright_elastic::{MemoryShardStore, conformance::{Bench, run_all}};
//!
//! futures_executor::block_on(run_all(async |shard, extent| {
//!     let store = MemoryShardStore::new();
//!     store.add(&shard, &extent);
//!     let (writer, reader) = (store.clone(), store.clone());
//!     Bench {
//!         store: Arc::new(store),
//!         write: Box::new(move |shard, key, value| match value {
//!             Some(value) => writer.put(shard, key, value).map(drop),
//!             None => writer.delete(shard, key).map(drop),
//!         }),
//!         read: Box::new(move |shard, key| reader.get(shard, key)),
//!     }
//! }));
//! ```

mod copying;
mod sealing;

use std::{fmt, sync::Arc};

use shardwright_topology::{KeyRange, Lsn, OperationId, ShardId};

pub use self::{
    copying::{
        a_copy_with_its_changes_equals_the_source, a_page_that_does_not_follow_changes_nothing,
        changes_come_in_order_and_in_parts, digests_add_up,
    },
    sealing::{
        a_late_seal_of_an_ended_operation_is_refused, a_removed_name_does_not_come_back,
        a_seal_ends_writes_until_it_is_released, an_open_target_takes_nothing_from_a_late_copy,
        only_what_an_operation_holds_is_removed, writers_wait_for_a_copy,
    },
};
use crate::{Batch, Changes, Extent, Import, ShardStore, StoreError};

/// Writes or removes a key of a shard, as users do.
pub type WriteKey =
    Box<dyn Fn(&ShardId, &[u8], Option<&[u8]>) -> Result<(), StoreError> + Send + Sync>;

/// Reads a key of a shard, as users do.
pub type ReadKey =
    Box<dyn Fn(&ShardId, &[u8]) -> Result<Option<Vec<u8>>, StoreError> + Send + Sync>;

/// A store, and how its users read and write.
pub struct Bench {
    /// The store, with one empty shard that takes reads and writes.
    pub store: Arc<dyn ShardStore>,
    /// Writes.
    pub write: WriteKey,
    /// Reads.
    pub read: ReadKey,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Checks every rule, each on a store of its own.
///
/// # Panics
/// If a rule is broken; the message names it.
pub async fn run_all(make: impl AsyncFn(ShardId, Extent) -> Bench) {
    let bench = async || make(source(), whole()).await;
    a_copy_with_its_changes_equals_the_source(&bench().await).await;
    a_page_that_does_not_follow_changes_nothing(&bench().await).await;
    changes_come_in_order_and_in_parts(&bench().await).await;
    digests_add_up(&bench().await).await;
    a_seal_ends_writes_until_it_is_released(&bench().await).await;
    a_late_seal_of_an_ended_operation_is_refused(&bench().await).await;
    an_open_target_takes_nothing_from_a_late_copy(&bench().await).await;
    only_what_an_operation_holds_is_removed(&bench().await).await;
    a_removed_name_does_not_come_back(&bench().await).await;
    writers_wait_for_a_copy(&bench().await).await;
}

fn source() -> ShardId {
    ShardId::numbered(0)
}

fn target() -> ShardId {
    ShardId::numbered(1)
}

fn whole() -> Extent {
    Extent::range(KeyRange::ALL)
}

fn operation(name: &str) -> OperationId {
    OperationId::new(name).expect("the suite uses valid names")
}

const FEW: Batch = Batch {
    rows: 3,
    bytes: 1 << 20,
};

fn key(number: usize) -> Vec<u8> {
    format!("key-{number:03}").into_bytes()
}

impl Bench {
    fn put(&self, shard: &ShardId, number: usize, value: &str) {
        let written = (self.write)(shard, &key(number), Some(value.as_bytes()));
        written.expect("a shard that serves takes writes");
    }

    fn delete(&self, shard: &ShardId, number: usize) {
        (self.write)(shard, &key(number), None).expect("a shard that serves takes writes");
    }

    /// Begins to fill the target from the source.
    async fn begin(&self, id: &OperationId) -> Import {
        let store = &self.store;
        let created = store.create(id, &target(), &whole()).await;
        created.expect("a new shard is created");
        let from = store
            .follow(id, &source())
            .await
            .expect("a shard is followed");
        let import = store.imported(id, &target(), &source(), from).await;
        import.expect("a target that is filled says how much it has")
    }

    /// Copies all pages that are left.
    async fn copy(&self, id: &OperationId, mut import: Import) -> Import {
        while !import.complete {
            let after = import.cursor.as_deref();
            let page = self.store.scan(&source(), &whole(), after, FEW).await;
            let page = page.expect("a shard is scanned");
            let next = self.store.import(id, &target(), &source(), page).await;
            import = next.expect("a page is stored");
        }
        import
    }

    async fn changes(&self, after: Lsn, up_to: Option<Lsn>, batch: Batch) -> Changes {
        let changes = self
            .store
            .changes(&source(), &whole(), after, up_to, batch)
            .await;
        changes.expect("changes are kept while they are followed")
    }

    /// Applies all changes that there are.
    async fn catch_up(&self, id: &OperationId, mut import: Import) -> Import {
        loop {
            let changes = self.changes(import.applied, None, FEW).await;
            if changes.through == changes.after {
                return import;
            }
            let next = self.store.apply(id, &target(), &source(), changes).await;
            import = next.expect("changes are applied");
        }
    }
}
