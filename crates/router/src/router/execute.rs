//! Local work: under a guard, at the epoch of its shard.

use shardwright_topology::ShardId;

use super::{Router, table::Table};
use crate::{Error, Guard, gate::Gate};

impl Router {
    /// Runs `work` on a shard of this node, under a guard that keeps the shard at its epoch until the work has ended.
    ///
    /// Work that goes on elsewhere when the future has ended, on another thread for example, takes a clone of the guard along.
    ///
    /// # Errors
    /// [`Error::NotLocal`] with the owner if the shard is on another node. [`Error::CutOver`] or [`Error::NotServing`] if it is being
    /// handed over or the node's lease has ended; [`Error::NoMap`], [`Error::UnknownShard`] or [`Error::NoOwner`]. The work did
    /// not run.
    pub async fn execute<T>(
        &self,
        shard: &ShardId,
        work: impl AsyncFnOnce(&Guard) -> T,
    ) -> Result<T, Error> {
        let guard = self.guard(shard)?;
        Ok(work(&guard).await)
    }

    /// Does as [`Router::execute`] on the shard of a tenant.
    ///
    /// # Errors
    /// As [`Router::execute`], and [`Error::NoTenants`].
    #[doc(alias = "executeByTenant")]
    pub async fn execute_by_tenant<T>(
        &self,
        tenant: impl AsRef<[u8]>,
        work: impl AsyncFnOnce(&Guard) -> T,
    ) -> Result<T, Error> {
        let guard = self.guard_by_tenant(tenant)?;
        Ok(work(&guard).await)
    }

    /// Returns a guard on a shard of this node: what [`Router::execute`] holds.
    ///
    /// # Errors
    /// As [`Router::execute`].
    #[inline]
    pub fn guard(&self, shard: &ShardId) -> Result<Guard, Error> {
        self.enter(&self.inner.table.load(), shard)
    }

    /// Returns a guard on the shard of a tenant.
    ///
    /// # Errors
    /// As [`Router::execute_by_tenant`].
    pub fn guard_by_tenant(&self, tenant: impl AsRef<[u8]>) -> Result<Guard, Error> {
        let table = self.inner.table.load();
        let shard = table.routes.of_tenant(tenant.as_ref())?;
        self.enter(&table, shard.id())
    }

    /// Returns whether work on a shard could begin here now.
    #[must_use]
    #[doc(alias = "isShardLocal")]
    pub fn is_shard_local(&self, shard: &ShardId) -> bool {
        self.enter(&self.inner.table.load(), shard).is_ok()
    }

    #[inline]
    fn enter(&self, table: &Table, shard: &ShardId) -> Result<Guard, Error> {
        let gate = table.gates.get(shard);
        match gate.map(|gate| self.pass(gate)) {
            Some(Ok(guard)) => Ok(guard),
            Some(Err(Some(refused))) => Err(refused),
            Some(Err(None)) | None => Err(table.refusal(self.node(), shard)),
        }
    }

    /// Enters a gate if the lease lets it.
    #[inline]
    fn pass(&self, gate: &Gate) -> Result<Guard, Option<Error>> {
        let guard = gate.enter().map_err(|_| None)?;
        match &self.inner.settings.serving {
            Some(serving) if !serving.may_serve(guard.shard(), guard.epoch()) => {
                Err(Some(Error::NotServing {
                    shard: guard.shard().clone(),
                    epoch: guard.epoch(),
                }))
            }
            Some(_) | None => Ok(guard),
        }
    }
}
