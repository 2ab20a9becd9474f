//! The nodes of a cluster, as they are asked by name for what operations need.

use std::{sync::Arc, time::Duration};

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

/// The nodes, as they are asked by name.
#[derive(Debug, Clone)]
pub(crate) struct Members {
    here: NodeId,
    registry: Registry,
    client: Client,
    token: Option<Token>,
}

/// Why a node gave no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("node {0} is not registered")]
    Unknown(NodeId),
    #[error("the registry does not say where the node is")]
    Registry(#[from] shardwright_registry::Error),
    #[error("the node does not answer")]
    Lost(#[from] reqwest::Error),
    #[error("the node answers something that is not understood")]
    Garbled,
}

impl Members {
    pub(crate) fn new(
        here: NodeId,
        store: Arc<dyn Store>,
        keyspace: KeyspaceName,
        token: Option<Token>,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            here,
            registry: Registry::new(store, keyspace),
            client: shardwright_http::client(CONNECT)?,
            token,
        })
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
        let body = wire::encode(&Request { shard, ask });
        Ok(self.send(node, PATH, body, ANSWER).await?)
    }

    /// Asks a node how much it has of shards of which it has the primaries, and what they do. The answers are in their order.
    pub(super) async fn metrics_of(
        &self,
        node: &NodeId,
        shards: &[PartitionId],
    ) -> Result<Vec<Answer>, BoxError> {
        let body = wire::encode(&shards);
        Ok(self.send(node, METRICS_PATH, body, METRICS).await?)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        node: &NodeId,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<T, Unanswered> {
        let found = self.registry.nodes().get(node).await?;
        let address = found.ok_or_else(|| Unanswered::Unknown(node.clone()))?;
        let url = format!("{}{path}", address.value.address);
        let mut sending = self.client.post(url);
        if let Some(token) = &self.token {
            sending = sending.header(AUTHORIZATION, token.header());
        }
        let response = sending.timeout(within).body(body).send().await?;
        let body = response.error_for_status()?.bytes().await?;
        wire::decode(&body).ok_or(Unanswered::Garbled)
    }
}
