//! The nodes of a cluster, as they are asked by name for what operations need.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_http::{
    ClientError, Token,
    reqwest::{self, Client, header::AUTHORIZATION},
};
use shardwright_registry::{BoxError, Registry, Store};
use shardwright_topology::{KeyspaceName, NodeId};

use super::{
    http::{METRICS_PATH, PATH},
    wire::{self, Answer, Ask, Request},
};

/// How long it takes at most to connect to a node.
const CONNECT: Duration = Duration::from_secs(2);

/// How long an answer is waited for. Whoever asks again meanwhile for what takes longer waits for the same.
const ANSWER: Duration = Duration::from_secs(30);

/// How long it is waited for what shards are used for.
const METRICS: Duration = Duration::from_secs(10);

/// How nodes are asked, and how it is waited until they are asked again.
#[async_trait]
pub trait Way: fmt::Debug + Send + Sync {
    /// Sends a request to a node, and returns its answer.
    ///
    /// # Errors
    /// There was none: what was asked may be done, or may yet be.
    async fn send(&self, node: &NodeId, request: Vec<u8>) -> Result<Vec<u8>, BoxError>;

    /// Sends a question what shards are used for, and returns the answer.
    ///
    /// # Errors
    /// There was none.
    async fn measure(&self, node: &NodeId, request: Vec<u8>) -> Result<Vec<u8>, BoxError>;

    /// Waits.
    async fn pause(&self, lasting: Duration);

    /// Draws a number, from which the lengths of some waits follow.
    fn seed(&self) -> u64;
}

/// The nodes, as they are asked by name.
#[derive(Debug, Clone)]
pub(crate) struct Members {
    here: NodeId,
    registry: Registry,
    way: Arc<dyn Way>,
}

/// Over HTTP, to the addresses that the registry has.
#[derive(Debug)]
struct OverHttp {
    registry: Registry,
    client: Client,
    token: Option<Token>,
}

/// What a node said is nothing that this release says.
#[derive(Debug, thiserror::Error)]
#[error("the node answers something that is not understood")]
struct Garbled;

/// Why a node gave no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("node {0} is not registered")]
    Unknown(NodeId),
    #[error("the registry does not say where the node is")]
    Registry(#[from] shardwright_registry::Error),
    #[error("the node does not answer")]
    Lost(#[from] reqwest::Error),
}

impl Members {
    pub(crate) fn new(
        here: NodeId,
        store: Arc<dyn Store>,
        keyspace: KeyspaceName,
        token: Option<Token>,
    ) -> Result<Self, ClientError> {
        let registry = Registry::new(store, keyspace);
        let way = OverHttp {
            registry: registry.clone(),
            client: shardwright_http::client(CONNECT)?,
            token,
        };
        Ok(Self::through(here, registry, Arc::new(way)))
    }

    pub(super) fn through(here: NodeId, registry: Registry, way: Arc<dyn Way>) -> Self {
        Self {
            here,
            registry,
            way,
        }
    }

    /// Returns how they are asked.
    pub(super) fn way(&self) -> &dyn Way {
        &*self.way
    }

    /// Returns the registry of the keyspace.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the node that asks.
    pub(super) fn here(&self) -> &NodeId {
        &self.here
    }

    /// Asks a node.
    pub(super) async fn ask(
        &self,
        node: &NodeId,
        shard: &PartitionId,
        ask: Ask,
    ) -> Result<Answer, BoxError> {
        let shard = shard.clone();
        let request = wire::encode(&Request { shard, ask });
        understood(&self.way.send(node, request).await?)
    }

    /// Asks a node how much it has of shards of which it has the primaries, and what they do. The answers are in their order.
    pub(super) async fn metrics_of(
        &self,
        node: &NodeId,
        shards: &[PartitionId],
    ) -> Result<Vec<Answer>, BoxError> {
        understood(&self.way.measure(node, wire::encode(&shards)).await?)
    }
}

fn understood<T: DeserializeOwned>(answer: &[u8]) -> Result<T, BoxError> {
    Ok(wire::decode(answer).ok_or(Garbled)?)
}

impl OverHttp {
    async fn post(
        &self,
        node: &NodeId,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, Unanswered> {
        let found = self.registry.nodes().get(node).await?;
        let address = found.ok_or_else(|| Unanswered::Unknown(node.clone()))?;
        let url = format!("{}{path}", address.value.address);
        let mut sending = self.client.post(url);
        if let Some(token) = &self.token {
            sending = sending.header(AUTHORIZATION, token.header());
        }
        let response = sending.timeout(within).body(body).send().await?;
        let body = response.error_for_status()?.bytes().await?;
        Ok(body.to_vec())
    }
}

#[async_trait]
impl Way for OverHttp {
    async fn send(&self, node: &NodeId, request: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        Ok(self.post(node, PATH, request, ANSWER).await?)
    }

    async fn measure(&self, node: &NodeId, request: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        Ok(self.post(node, METRICS_PATH, request, METRICS).await?)
    }

    async fn pause(&self, lasting: Duration) {
        tokio::time::sleep(lasting).await;
    }

    fn seed(&self) -> u64 {
        rand::random()
    }
}
