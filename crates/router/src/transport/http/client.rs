//! The asking side: requests by a pool of connections.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue},
};

use super::{ANSWER, CALL, ClientError, OK, PATH, PAYLOAD_MAX, REFUSED, Token, client};
use crate::{
    Refusal,
    transport::{Peer, Request, Response, Transport, TransportError},
};

/// How requests are sent.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// What is shown to other nodes. Nothing by default.
    pub token: Option<Token>,
    /// The largest payload and the largest answer, in bytes. 8 MiB by default.
    pub payload_max: usize,
    /// How long a connection may take to open. 1 second by default; the time of the call ends it too.
    pub connect_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            token: None,
            payload_max: PAYLOAD_MAX,
            connect_timeout: Duration::from_secs(1),
        }
    }
}

/// Sends calls over HTTP. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    urls: Arc<Urls>,
    authorization: Option<HeaderValue>,
    payload_max: usize,
}

impl Http {
    /// Returns a transport with connections of its own, none of which goes through a proxy of the environment.
    ///
    /// # Errors
    /// [`ClientError`] if the system does not let it.
    pub fn new(options: &HttpOptions) -> Result<Self, ClientError> {
        let client = client(options.connect_timeout)?;
        Ok(Self::with_client(client, options))
    }

    /// Returns a transport that sends by `client`, which must not follow redirects, and should give up connections that it has not
    /// used for [`IDLE_MAX`](super::IDLE_MAX).
    #[must_use]
    pub fn with_client(client: Client, options: &HttpOptions) -> Self {
        Self {
            client,
            urls: Arc::default(),
            authorization: options.token.as_ref().map(Token::header),
            payload_max: options.payload_max,
        }
    }

    async fn read(&self, response: reqwest::Response) -> Result<Response, TransportError> {
        let status = response.status();
        let foreign = || TransportError::Unknown(Foreign { status }.into());
        match response.headers().get(ANSWER) {
            Some(kind) if kind == OK => {
                let limit = self.payload_max;
                let answer = body(response, limit).await?;
                Ok(answer.map_err(|size| Refusal::AnswerTooLarge { size, limit }))
            }
            Some(kind) if kind == REFUSED => {
                let refusal = body(response, REFUSAL_MAX).await?;
                let refusal = refusal.map_err(|_| foreign())?;
                let refusal = serde_json::from_slice::<Refusal>(&refusal);
                refusal.map(Err).map_err(unknown)
            }
            Some(_) | None => Err(foreign()),
        }
    }
}

/// The largest refusal that is read, in bytes: several times as much as a node sends.
const REFUSAL_MAX: usize = 64 << 10;

/// Returns a body, or its size as soon as that is known to be above `limit`.
async fn body(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Result<Bytes, usize>, TransportError> {
    let announced = response.content_length().unwrap_or(0);
    let mut size = usize::try_from(announced).unwrap_or(usize::MAX);
    let mut body = Bytes::new();
    while size <= limit {
        let Some(chunk) = response.chunk().await.map_err(unknown)? else {
            return Ok(Ok(body));
        };
        if body.is_empty() {
            body = chunk;
        } else {
            let mut joined = BytesMut::from(body);
            joined.extend_from_slice(&chunk);
            body = joined.freeze();
        }
        size = size.max(body.len());
    }
    Ok(Err(size))
}

/// The URLs of the nodes that were called, parsed: that costs as much as all else that a call adds to a request.
#[derive(Debug, Default)]
struct Urls(ArcSwap<HashMap<String, Url>>);

/// More nodes than a cluster has: beyond that many addresses, those of nodes that are gone are forgotten with all the others.
const URLS_MAX: usize = 10_000;

impl Urls {
    /// Returns where the node at an address takes calls.
    fn at(&self, address: &str) -> Result<Url, TransportError> {
        if let Some(url) = self.0.load().get(address) {
            return Ok(url.clone());
        }
        let url = format!("{}{PATH}", address.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| TransportError::NotDelivered(error.into()))?;
        self.0.rcu(|urls| {
            let mut next = HashMap::clone(urls);
            if next.len() == URLS_MAX {
                next.clear();
            }
            next.insert(address.to_owned(), url.clone());
            next
        });
        Ok(url)
    }
}

/// A response that no router sent.
#[derive(Debug, thiserror::Error)]
#[error("what answers with {status} there is no router: check the address")]
struct Foreign {
    status: StatusCode,
}

fn unknown(error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
    TransportError::Unknown(error.into())
}

#[async_trait]
impl Transport for Http {
    async fn call(&self, peer: Peer<'_>, request: Request) -> Result<Response, TransportError> {
        let url = self.urls.at(peer.address)?;
        let timeout_us = u64::try_from(request.timeout.as_micros()).unwrap_or(u64::MAX);
        let Request {
            shard,
            epoch,
            method,
            payload,
            ..
        } = request;
        let call = format!("{} {timeout_us} {shard} {method}", epoch.0);
        let mut post = self.client.post(url).header(CALL, call).body(payload);
        if let Some(authorization) = &self.authorization {
            post = post.header(AUTHORIZATION, authorization.clone());
        }
        match post.send().await {
            Ok(response) => self.read(response).await,
            // No connection was there to send it by, or it could not even be written down.
            Err(error) if error.is_connect() || error.is_builder() => {
                Err(TransportError::NotDelivered(error.into()))
            }
            Err(error) => Err(unknown(error)),
        }
    }

    fn payload_max(&self) -> usize {
        self.payload_max
    }
}
