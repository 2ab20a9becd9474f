//! The contract of a transport: how a request reaches another node, and what is known when it fails.

#[cfg(feature = "http")]
pub mod http;
pub mod memory;
#[cfg(feature = "nats")]
pub mod nats;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use shardwright_topology::{Epoch, NodeId, ShardId};

use crate::{BoxError, Refusal};

/// A request to the owner of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The shard.
    pub shard: ShardId,
    /// The epoch at which the caller believes that the node owns it.
    pub epoch: Epoch,
    /// The name of the handler: 1 to 255 visible ASCII characters.
    pub method: Arc<str>,
    /// How long the caller goes on waiting, from when this is sent.
    pub timeout: Duration,
    /// What the handler is given.
    pub payload: Bytes,
}

/// What a node answers.
pub type Response = Result<Bytes, Refusal>;

/// The node that a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer<'a> {
    /// Its name.
    pub node: &'a NodeId,
    /// Where it says that it is reached, such as `http://10.0.0.7:7600`.
    pub address: &'a str,
}

/// Carries requests to other nodes. Whoever answers there is a [`Router`](crate::Router).
///
/// Implementations must pass [`conformance`](crate::conformance).
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request and returns the answer.
    ///
    /// The request is delivered once at most. The caller drops the future when its time is over; an implementation need not end by
    /// itself. Any number of calls may run at once.
    ///
    /// # Errors
    /// [`TransportError`]. Implementations must return [`TransportError::NotDelivered`] only if the request cannot
    /// reach the node any more, because callers repeat it then.
    async fn call(&self, peer: Peer<'_>, request: Request) -> Result<Response, TransportError>;

    /// Returns the largest payload that it carries, in bytes.
    fn payload_max(&self) -> usize;
}

#[async_trait]
impl<T: Transport + ?Sized> Transport for Arc<T> {
    async fn call(&self, peer: Peer<'_>, request: Request) -> Result<Response, TransportError> {
        (**self).call(peer, request).await
    }

    fn payload_max(&self) -> usize {
        (**self).payload_max()
    }
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// It never reached the node, and will not: it is safe to repeat.
    #[error("the request was not delivered")]
    NotDelivered(#[source] BoxError),
    /// It may have reached the node, or may still.
    #[error("the request may have been delivered")]
    Unknown(#[source] BoxError),
}
