//! A store of one's own behind the contract of stores that stream their changes.
//!
//! What is copied is a mirror in memory: the rows as they were when an operation began to follow, and from then on the keys that were written
//! under guards, each with the value that it has when somebody looks. Looking closes the gate, so that what is seen is of one moment.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use shardwright_topology::{Lsn, OperationId, ShardId};

use super::{ShardDataOps, gate::Gates};
use crate::{
    Batch, Changes, Cut, Digest, DigestAt, Extent, Import, Pace, Page, Part, ShardMetrics,
    ShardStore, StoreError,
};

type Rows = HashMap<String, Vec<u8>>;

/// The adapter.
#[derive(Clone)]
pub(crate) struct DataOpsStore {
    ops: Arc<dyn ShardDataOps>,
    gates: Arc<Gates>,
}

impl fmt::Debug for DataOpsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gates = &self.gates;
        f.debug_struct("DataOpsStore")
            .field("gates", gates)
            .finish_non_exhaustive()
    }
}

fn text(key: Vec<u8>) -> String {
    // Keys came as texts.
    String::from_utf8(key).unwrap_or_else(|other| String::from_utf8_lossy(other.as_bytes()).into())
}

impl DataOpsStore {
    pub(crate) fn new(ops: Arc<dyn ShardDataOps>) -> Self {
        let gates = Arc::new(Gates::new());
        Self { ops, gates }
    }

    pub(crate) fn gates(&self) -> &Arc<Gates> {
        &self.gates
    }

    /// Adds a shard that takes reads and writes.
    pub(crate) fn add(&self, part: &Part) {
        self.gates.kept().mirror.add(&part.shard, &part.extent);
    }

    /// Adds a shard that an operation has made.
    pub(crate) fn add_made(&self, operation: &OperationId, part: &Part) {
        let mut kept = self.gates.kept();
        kept.mirror.add_made(operation, &part.shard, &part.extent);
    }

    /// Returns whether the store has anything under a name.
    pub(crate) async fn has_rows(&self, shard: &ShardId) -> Result<bool, super::SplitError> {
        match self.ops.get_keys(shard.as_str()).await {
            Ok(keys) => Ok(!keys.is_empty()),
            Err(super::SplitError::UnknownShard { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn rows(&self, shard: &ShardId) -> Result<Rows, StoreError> {
        let rows = self.ops.get_data(shard.as_str()).await;
        rows.map_err(|error| error.into_store_error(shard))
    }

    /// Takes what was written under guards into the mirror. The gate must be closed.
    async fn look(&self, shard: &ShardId) -> Result<(), StoreError> {
        let is_written = self.gates.kept().written.contains_key(shard);
        if is_written {
            let rows = self.rows(shard).await?;
            self.record(shard, &rows);
        }
        Ok(())
    }

    /// Gives the mirror of what was written under guards the values that it has.
    fn record(&self, shard: &ShardId, rows: &Rows) {
        let mut kept = self.gates.kept();
        for key in kept.written.remove(shard).unwrap_or_default() {
            let value = str::from_utf8(&key).ok().and_then(|key| rows.get(key));
            kept.mirror.record(shard, &key, value.map(Vec::as_slice));
        }
    }

    /// Looks a last time, at everything: whoever writes without a guard is found out by then, however large the shard is.
    async fn look_at_all(&self, shard: &ShardId) -> Result<(), StoreError> {
        let rows = self.rows(shard).await?;
        self.record(shard, &rows);
        if self.gates.kept().mirror.has_rows(shard, bytes_of(&rows)) {
            Ok(())
        } else {
            let shard = shard.clone();
            Err(StoreError::Unguarded { shard })
        }
    }

    /// Removes keys of a target, by filling it again if the store has no other way.
    async fn delete(&self, target: &ShardId, gone: Vec<String>) -> Result<(), StoreError> {
        let failed = |error: super::SplitError| error.into_store_error(target);
        let name = target.as_str();
        if gone.is_empty() || self.ops.delete_keys(name, &gone).await.map_err(failed)? {
            return Ok(());
        }
        let mut rows = self.rows(target).await?;
        let before = rows.len();
        rows.retain(|key, _| !gone.contains(key));
        if rows.len() == before {
            return Ok(());
        }
        // What fails from here on may have taken the rows with it, and they are nowhere else: the target is no good any more.
        let lost = |error: super::SplitError| StoreError::Failed(Arc::new(error.into()));
        self.ops.delete_shard(name).await.map_err(lost)?;
        self.ops.copy_data(name, rows).await.map_err(lost)
    }

    async fn copy(&self, target: &ShardId, rows: Rows) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let copied = self.ops.copy_data(target.as_str(), rows).await;
        copied.map_err(|error| error.into_store_error(target))
    }
}

fn bytes_of(rows: &Rows) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
    rows.iter()
        .map(|(key, value)| (key.as_bytes(), value.as_slice()))
}

fn digest_of(rows: &Rows, extent: &Extent) -> Digest {
    bytes_of(rows)
        .filter(|(key, _)| extent.contains(key))
        .map(|(key, value)| Digest::of(key, value))
        .fold(Digest::default(), Digest::and)
}

#[async_trait]
impl ShardStore for DataOpsStore {
    async fn create(
        &self,
        operation: &OperationId,
        shard: &ShardId,
        extent: &Extent,
    ) -> Result<(), StoreError> {
        let mut kept = self.gates.kept();
        kept.mirror.create(operation, shard, extent)
    }

    async fn follow(&self, operation: &OperationId, shard: &ShardId) -> Result<Lsn, StoreError> {
        let _closed = self.gates.lock(shard).write_owned().await;
        let is_new = !self.gates.kept().mirror.is_followed(shard);
        let rows = if is_new {
            Some(self.rows(shard).await?)
        } else {
            None
        };
        let mut kept = self.gates.kept();
        let at = kept.mirror.follow(operation, shard)?;
        if let Some(rows) = rows {
            kept.mirror.load(shard, bytes_of(&rows));
        }
        Ok(at)
    }

    async fn scan(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Option<&[u8]>,
        batch: Batch,
    ) -> Result<Page, StoreError> {
        let after = after.map(<[u8]>::to_vec);
        self.gates.kept().mirror.scan(shard, extent, after, batch)
    }

    async fn changes(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Lsn,
        up_to: Option<Lsn>,
        batch: Batch,
    ) -> Result<Changes, StoreError> {
        let _closed = self.gates.lock(shard).write_owned().await;
        self.look(shard).await?;
        let kept = self.gates.kept();
        kept.mirror.changes(shard, extent, after, up_to, batch)
    }

    async fn imported(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        from: Lsn,
    ) -> Result<Import, StoreError> {
        let mut kept = self.gates.kept();
        kept.mirror.imported(operation, target, source, from)
    }

    async fn import(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        page: Page,
    ) -> Result<Import, StoreError> {
        let _alone = self.gates.lock(target).write_owned().await;
        let found = self.gates.kept().mirror.import_of(target, source);
        if found.is_some_and(|import| import.after_page(&page).is_some()) {
            let row = |row: &crate::Row| (text(row.key.clone()), row.value.clone());
            self.copy(target, page.rows.iter().map(row).collect())
                .await?;
        }
        // The rows are in the store, the mirror only counts them.
        let page = Page {
            rows: Vec::new(),
            ..page
        };
        let mut kept = self.gates.kept();
        kept.mirror.import(operation, target, source, page)
    }

    async fn apply(
        &self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        changes: Changes,
    ) -> Result<Import, StoreError> {
        let _alone = self.gates.lock(target).write_owned().await;
        let found = self.gates.kept().mirror.import_of(target, source);
        if found.is_some_and(|import| import.after_changes(&changes).is_some()) {
            let changed = changes.changes.iter();
            let last: BTreeMap<String, Option<Vec<u8>>> = changed
                .map(|change| (text(change.key.clone()), change.value.clone()))
                .collect();
            let gone = last.iter().filter(|(_, value)| value.is_none());
            let gone = gone.map(|(key, _)| key.clone()).collect();
            self.delete(target, gone).await?;
            let come = last
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)));
            self.copy(target, come.collect()).await?;
        }
        let changes = Changes {
            changes: Vec::new(),
            ..changes
        };
        let mut kept = self.gates.kept();
        kept.mirror.apply(operation, target, source, changes)
    }

    async fn digest(&self, shard: &ShardId, extent: &Extent) -> Result<DigestAt, StoreError> {
        let _closed = self.gates.lock(shard).write_owned().await;
        self.look(shard).await?;
        // Not the mirror: what was written without a guard is to be noticed.
        let rows = self.rows(shard).await?;
        let position = self.gates.kept().mirror.position(shard)?;
        let digest = digest_of(&rows, extent);
        Ok(DigestAt {
            position,
            digest,
            counts_all: false,
        })
    }

    async fn digest_of_import(
        &self,
        _: &OperationId,
        target: &ShardId,
        source: &ShardId,
        extent: &Extent,
    ) -> Result<DigestAt, StoreError> {
        let _alone = self.gates.lock(target).write_owned().await;
        let rows = self.rows(target).await?;
        let import = self.gates.kept().mirror.import_of(target, source);
        let unknown = || StoreError::Unknown {
            shard: target.clone(),
        };
        let position = import.ok_or_else(unknown)?.applied;
        let digest = digest_of(&rows, extent);
        Ok(DigestAt {
            position,
            digest,
            counts_all: false,
        })
    }

    async fn pace(
        &self,
        operation: &OperationId,
        shard: &ShardId,
        pace: Pace,
    ) -> Result<(), StoreError> {
        let now = self.gates.clock.now();
        let mut kept = self.gates.kept();
        kept.mirror.pace(now, operation, shard, pace)
    }

    async fn seal(&self, operation: &OperationId, shard: &ShardId) -> Result<Lsn, StoreError> {
        let _closed = self.gates.lock(shard).write_owned().await;
        let (is_followed, is_sealed) = {
            let kept = self.gates.kept();
            let mirror = &kept.mirror;
            (mirror.is_followed(shard), mirror.is_sealed(shard))
        };
        // Without a follower there is no mirror, and nobody who may seal.
        if is_followed && !is_sealed {
            self.look_at_all(shard).await?;
        }
        self.gates.kept().mirror.seal(operation, shard)
    }

    async fn release(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        let mut kept = self.gates.kept();
        kept.mirror.release(operation, shard)?;
        if !kept.mirror.is_followed(shard) {
            kept.mirror.forget_rows(shard);
            kept.written.remove(shard);
        }
        Ok(())
    }

    async fn open(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        self.gates.kept().mirror.open(operation, shard)
    }

    async fn remove(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        let _closed = self.gates.lock(shard).write_owned().await;
        self.gates.kept().mirror.check_removable(operation, shard)?;
        match self.ops.delete_shard(shard.as_str()).await {
            Ok(()) | Err(super::SplitError::UnknownShard { .. }) => {}
            Err(error) => return Err(error.into_store_error(shard)),
        }
        self.gates.kept().mirror.remove(operation, shard)
    }

    async fn importing(&self) -> Result<Vec<(ShardId, OperationId)>, StoreError> {
        Ok(self.gates.kept().mirror.importing())
    }

    async fn metrics(&self, shard: &ShardId) -> Result<ShardMetrics, StoreError> {
        let metrics = self.ops.get_metrics(shard.as_str()).await;
        metrics.map_err(|error| error.into_store_error(shard))
    }

    async fn median(&self, shard: &ShardId) -> Result<Option<Cut>, StoreError> {
        let keys = self.ops.get_keys(shard.as_str()).await;
        let keys = keys.map_err(|error| error.into_store_error(shard))?;
        let kept = self.gates.kept();
        let extent = kept.mirror.extent(shard)?;
        Ok(extent.median(keys.iter().map(String::as_bytes)))
    }
}
