//! Calls over NATS request and reply: each node listens on a subject of its own, `shardwright.rpc.<node>`.
//!
//! ```text
//! request:  1 | shard | method | epoch | time left in microseconds | payload
//! reply:    0 | answer                     or     1 | refusal as JSON
//! ```
//!
//! Texts begin with their length in two bytes, and numbers have eight, big-endian. Servers take 1 MiB in one message unless they are
//! configured otherwise. Who may call is decided by the permissions of NATS users.

mod frame;
mod listener;
mod options;

use std::sync::Arc;

use async_nats::{Client, RequestErrorKind, connection::State};
use async_trait::async_trait;

pub use self::{
    listener::Listener,
    options::{NatsError, NatsOptions},
};
/// What [`NatsOptions`] are made of.
pub use shardwright_registry::{NatsConnection, NatsConnectionError, NatsTls};

use super::{Peer, Request, Response, Transport, TransportError};

/// Sends calls over NATS, and listens for them. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Nats {
    client: Client,
    prefix: Arc<str>,
    in_flight_max: usize,
}

impl Nats {
    /// Connects. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`NatsError`] says what has to be changed.
    pub async fn connect(options: &NatsOptions) -> Result<Self, NatsError> {
        options.check()?;
        Ok(Self {
            client: options.connection.connect().await?,
            prefix: options.prefix.as_str().into(),
            in_flight_max: options.in_flight_max.min(u32::MAX as usize >> 3),
        })
    }
}

/// What the connection says when there is none.
#[derive(Debug, thiserror::Error)]
#[error("no NATS server is connected")]
struct Disconnected;

#[async_trait]
impl Transport for Nats {
    async fn call(&self, peer: Peer<'_>, request: Request) -> Result<Response, TransportError> {
        // The client would keep the request, and send it when it is connected again.
        if self.client.connection_state() != State::Connected {
            return Err(TransportError::NotDelivered(Disconnected.into()));
        }
        let subject = format!("{}.{}", self.prefix, peer.node);
        let message = async_nats::Request::new()
            .payload(frame::request(&request))
            // The caller drops the call when its time is over.
            .timeout(None);
        match self.client.send_request(subject, message).await {
            Ok(reply) => frame::read_reply(reply.payload)
                .map_err(|error| TransportError::Unknown(error.into())),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::NoResponders
                | RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded => {
                    TransportError::NotDelivered(error.into())
                }
                RequestErrorKind::TimedOut | RequestErrorKind::Other => {
                    TransportError::Unknown(error.into())
                }
            }),
        }
    }

    fn payload_max(&self) -> usize {
        self.client.max_payload().saturating_sub(frame::HEAD_MAX)
    }
}
