//! Calls: a method of a shard, wherever its owner is.

use std::time::Duration;

use bytes::Bytes;
use shardwright_topology::ShardId;

use super::{
    Router,
    attempts::{Attempts, Target},
};
use crate::Error;

/// How one call differs from the others of its router.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// How long it may take, waiting and repeating included. The router's settings say so by default.
    pub timeout: Option<Duration>,
    /// Whether the method may run twice as well as once: then it is repeated also when an outcome is unknown. A method that
    /// [`Router::handle_idempotent`] registered on this router is idempotent anyway.
    pub idempotent: bool,
}

impl Router {
    /// Runs a method on a shard: with the handler of this node if the shard is here, otherwise with that of its owner.
    ///
    /// The call waits while the shard has no owner or is handed over. It is repeated, within its time, only where the method cannot
    /// have run, or is idempotent.
    ///
    /// # Errors
    /// [`Error`]; [`Error::outcome`] says whether the method may have run.
    pub async fn call(
        &self,
        shard: &ShardId,
        method: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        let options = CallOptions::default();
        self.call_with(shard, method, payload, options).await
    }

    /// Does as [`Router::call`].
    ///
    /// # Errors
    /// As [`Router::call`].
    pub async fn forward(
        &self,
        shard: &ShardId,
        method: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        self.call(shard, method, payload).await
    }

    /// Does as [`Router::call`], with options.
    ///
    /// # Errors
    /// As [`Router::call`].
    pub async fn call_with(
        &self,
        shard: &ShardId,
        method: &str,
        payload: impl Into<Bytes>,
        options: CallOptions,
    ) -> Result<Bytes, Error> {
        let target = Target::Shard(shard);
        self.reach(target, method, payload.into(), &options).await
    }

    /// Does as [`Router::call`] on the shard of a tenant.
    ///
    /// # Errors
    /// As [`Router::call`], and [`Error::NoTenants`].
    pub async fn call_by_tenant(
        &self,
        tenant: impl AsRef<[u8]>,
        method: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        let options = CallOptions::default();
        self.call_by_tenant_with(tenant, method, payload, options)
            .await
    }

    /// Does as [`Router::call_by_tenant`], with options.
    ///
    /// # Errors
    /// As [`Router::call_by_tenant`].
    pub async fn call_by_tenant_with(
        &self,
        tenant: impl AsRef<[u8]>,
        method: &str,
        payload: impl Into<Bytes>,
        options: CallOptions,
    ) -> Result<Bytes, Error> {
        let target = Target::Tenant(tenant.as_ref());
        self.reach(target, method, payload.into(), &options).await
    }

    async fn reach(
        &self,
        target: Target<'_>,
        method: &str,
        payload: Bytes,
        options: &CallOptions,
    ) -> Result<Bytes, Error> {
        let limit = self.inner.transport.payload_max();
        if payload.len() > limit {
            let size = payload.len();
            return Err(Error::PayloadTooLarge { size, limit });
        }
        let mut attempts = Attempts::begin(self, target, method, payload, options)?;
        attempts.run().await
    }
}
