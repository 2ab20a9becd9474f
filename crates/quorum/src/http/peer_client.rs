//! The client of peers: requests by a pool of connections.

use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use shardwright_http::{ClientError, client};

use super::{ANSWER, KEY_MAX, KEY_TAKEN, PEER_PATH, STORED, Token};
use crate::{BoxError, KeyTaken, PeerClient};

/// How peers are reached.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// What is shown to peers. Nothing by default.
    pub token: Option<Token>,
    /// How long a connection may take to open. 1 second by default; the deadline of the copy ends it too.
    pub connect_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            token: None,
            connect_timeout: Duration::from_secs(1),
        }
    }
}

/// Stores events at peers over HTTP. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    authorization: Option<HeaderValue>,
}

/// Where a peer takes events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerUrl(Url);

/// A text that is no address of a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a peer: use one such as http://10.0.0.7:8080")]
pub struct InvalidPeerUrl(String);

impl FromStr for PeerUrl {
    type Err = InvalidPeerUrl;

    fn from_str(address: &str) -> Result<Self, InvalidPeerUrl> {
        let invalid = || InvalidPeerUrl(address.to_owned());
        let url = format!("{}{PEER_PATH}", address.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|_| invalid())?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        let is_bare = url.path() == PEER_PATH && url.query().is_none() && url.fragment().is_none();
        if is_http && is_bare && url.username().is_empty() && url.password().is_none() {
            Ok(Self(url))
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str())
    }
}

/// Why a peer has not confirmed an event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// It was not reached, and does not have the event from this put.
    #[error("the peer was not reached")]
    NotReached(#[source] reqwest::Error),
    /// The connection ended before the answer, and the peer may have the event.
    #[error("the peer has not answered, and may have the event")]
    Unknown(#[source] reqwest::Error),
    /// The peer refused.
    #[error("the peer refused the event with {status}, {code}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// Why, as [`http`](super) lists it.
        code: String,
    },
    /// Something else answers there. Check the address.
    #[error("what answers with {status} there is no peer: check the address")]
    Foreign {
        /// The status of the answer.
        status: u16,
    },
    /// No server takes the key.
    #[error("a key has 1 to {KEY_MAX} bytes: use another key")]
    BadKey,
}

impl Http {
    /// Returns a client with connections of its own, none of which goes through a proxy of the environment.
    ///
    /// # Errors
    /// [`ClientError`] if the system does not let it.
    pub fn new(options: &HttpOptions) -> Result<Self, ClientError> {
        let client = client(options.connect_timeout)?;
        Ok(Self::with_client(client, options))
    }

    /// Returns one that sends by `client`, which must not follow redirects, and should give up connections that it has not used for
    /// five seconds.
    #[must_use]
    pub fn with_client(client: Client, options: &HttpOptions) -> Self {
        Self {
            client,
            authorization: options.token.as_ref().map(Token::header),
        }
    }
}

impl PeerClient for Http {
    type Peer = PeerUrl;

    async fn put(&self, peer: &PeerUrl, key: &str, event: Bytes) -> Result<(), BoxError> {
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(PeerError::BadKey.into());
        }
        let mut url = peer.0.clone();
        url.query_pairs_mut().append_pair("key", key);
        let octets = HeaderValue::from_static("application/octet-stream");
        let mut post = self
            .client
            .post(url)
            .header(CONTENT_TYPE, octets)
            .body(event);
        if let Some(authorization) = &self.authorization {
            post = post.header(AUTHORIZATION, authorization.clone());
        }
        let response = post.send().await.map_err(|error| {
            // No connection was there to send it by, or it could not even be written down.
            if error.is_connect() || error.is_builder() {
                PeerError::NotReached(error)
            } else {
                PeerError::Unknown(error)
            }
        })?;
        let status = response.status();
        let answer = response.headers().get(ANSWER);
        match answer.map(|answer| answer.to_str().unwrap_or_default()) {
            Some(STORED) if status == StatusCode::CREATED => Ok(()),
            Some(KEY_TAKEN) => Err(KeyTaken.into()),
            Some(code) => {
                let (status, code) = (status.as_u16(), code.to_owned());
                Err(PeerError::Refused { status, code }.into())
            }
            None => {
                let status = status.as_u16();
                Err(PeerError::Foreign { status }.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        let url = "http://10.0.0.7:8080/".parse::<PeerUrl>().unwrap();
        assert_eq!(url.to_string(), "http://10.0.0.7:8080/shardwright/v1/event");
        for wrong in [
            "",
            "10.0.0.7:8080",
            "ftp://host",
            "http://",
            "http://host/path",
            "http://host?x=1",
            "http://user:secret@host",
        ] {
            assert!(wrong.parse::<PeerUrl>().is_err(), "{wrong}");
        }
    }
}
