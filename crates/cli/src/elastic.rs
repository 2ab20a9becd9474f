//! Where a coordinator finds the rows of the shards that it splits and merges.

use std::sync::Arc;

use shardwright_coordinator::{elastic::ShardStore, http::Token};
use shardwright_registry::Store;
use shardwright_server::ClusterStore;
use shardwright_topology::KeyspaceName;

/// Returns the shards of `main` on the nodes of a cluster, as far as splits and merges are concerned.
pub(crate) fn elastic_store(
    registry: Arc<dyn Store>,
    token: Option<&Token>,
) -> anyhow::Result<Arc<dyn ShardStore>> {
    let store = ClusterStore::new(registry, KeyspaceName::main(), token.cloned())?;
    Ok(Arc::new(store))
}
