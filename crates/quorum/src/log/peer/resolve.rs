//! Where nodes are.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use shardwright_registry::BoxError;
use shardwright_topology::NodeId;

/// Finds the address of a node, which may change: it is asked for before every attempt to connect.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// Returns the host and port at which a node listens for its peers; none if nobody knows it now.
    ///
    /// # Errors
    /// Whatever hindered it. The attempt to connect has failed then, and another one follows.
    async fn address(&self, node: &NodeId) -> Result<Option<String>, BoxError>;
}

/// Addresses that are known from the start.
#[async_trait]
impl Resolve for BTreeMap<NodeId, String> {
    async fn address(&self, node: &NodeId) -> Result<Option<String>, BoxError> {
        Ok(self.get(node).cloned())
    }
}

#[async_trait]
impl<R: Resolve + ?Sized> Resolve for Arc<R> {
    async fn address(&self, node: &NodeId) -> Result<Option<String>, BoxError> {
        (**self).address(node).await
    }
}
