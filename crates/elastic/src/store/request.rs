//! Requests: calls of a store as values, for whoever carries them out elsewhere.

use shardwright_topology::{Lsn, OperationId, ShardId};

use super::{Batch, Changes, DigestAt, Import, Pace, Page, ShardStore, StoreError};
use crate::Extent;

/// A call of a [`ShardStore`] by an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the arguments of the methods")]
pub enum Request {
    /// [`ShardStore::create`].
    Create { shard: ShardId, extent: Extent },
    /// [`ShardStore::follow`].
    Follow { shard: ShardId },
    /// [`ShardStore::scan`].
    Scan {
        shard: ShardId,
        extent: Extent,
        after: Option<Vec<u8>>,
        batch: Batch,
    },
    /// [`ShardStore::changes`].
    Changes {
        shard: ShardId,
        extent: Extent,
        after: Lsn,
        up_to: Option<Lsn>,
        batch: Batch,
    },
    /// [`ShardStore::imported`].
    Imported {
        target: ShardId,
        source: ShardId,
        from: Lsn,
    },
    /// [`ShardStore::import`].
    Import {
        target: ShardId,
        source: ShardId,
        page: Page,
    },
    /// [`ShardStore::apply`].
    Apply {
        target: ShardId,
        source: ShardId,
        changes: Changes,
    },
    /// [`ShardStore::digest`].
    Digest { shard: ShardId, extent: Extent },
    /// [`ShardStore::digest_of_import`].
    DigestOfImport {
        target: ShardId,
        source: ShardId,
        extent: Extent,
    },
    /// [`ShardStore::pace`].
    Pace { shard: ShardId, pace: Pace },
    /// [`ShardStore::seal`].
    Seal { shard: ShardId },
    /// [`ShardStore::release`].
    Release { shard: ShardId },
    /// [`ShardStore::open`].
    Open { shard: ShardId },
    /// [`ShardStore::remove`].
    Remove { shard: ShardId },
}

/// What a store answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// A position: of [`Request::Follow`] or [`Request::Seal`].
    Position(Lsn),
    /// Rows.
    Page(Page),
    /// Changes.
    Changes(Changes),
    /// How much a target has.
    Import(Import),
    /// A digest.
    Digest(DigestAt),
}

/// Calls a store.
///
/// # Errors
/// What the store says.
pub async fn perform(
    store: &dyn ShardStore,
    operation: &OperationId,
    request: Request,
) -> Result<Reply, StoreError> {
    let done = |()| Reply::Done;
    match request {
        Request::Create { shard, extent } => {
            store.create(operation, &shard, &extent).await.map(done)
        }
        Request::Follow { shard } => store.follow(operation, &shard).await.map(Reply::Position),
        Request::Scan {
            shard,
            extent,
            after,
            batch,
        } => {
            let page = store.scan(&shard, &extent, after.as_deref(), batch).await;
            page.map(Reply::Page)
        }
        Request::Changes {
            shard,
            extent,
            after,
            up_to,
            batch,
        } => {
            let changes = store.changes(&shard, &extent, after, up_to, batch).await;
            changes.map(Reply::Changes)
        }
        Request::Imported {
            target,
            source,
            from,
        } => {
            let import = store.imported(operation, &target, &source, from).await;
            import.map(Reply::Import)
        }
        Request::Import {
            target,
            source,
            page,
        } => {
            let import = store.import(operation, &target, &source, page).await;
            import.map(Reply::Import)
        }
        Request::Apply {
            target,
            source,
            changes,
        } => {
            let import = store.apply(operation, &target, &source, changes).await;
            import.map(Reply::Import)
        }
        Request::Digest { shard, extent } => store.digest(&shard, &extent).await.map(Reply::Digest),
        Request::DigestOfImport {
            target,
            source,
            extent,
        } => {
            let digest = store.digest_of_import(operation, &target, &source, &extent);
            digest.await.map(Reply::Digest)
        }
        Request::Pace { shard, pace } => store.pace(operation, &shard, pace).await.map(done),
        Request::Seal { shard } => store.seal(operation, &shard).await.map(Reply::Position),
        Request::Release { shard } => store.release(operation, &shard).await.map(done),
        Request::Open { shard } => store.open(operation, &shard).await.map(done),
        Request::Remove { shard } => store.remove(operation, &shard).await.map(done),
    }
}
