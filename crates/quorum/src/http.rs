//! Events over HTTP/1.1: a server for clients, a server for peers, and the client that reaches peers.
//!
//! ```text
//! a client                                            a peer
//!
//! POST /?level=ALL                                    POST /shardwright/v1/event?key=019a9c3e-...
//! authorization: Bearer ...                           authorization: Bearer ...
//!
//! {"order": 12}                                       {"order": 12}
//!
//! 201 Created                                         201 Created
//!                                                     shardwright-answer: STORED
//! {"key":"019a9c3e-...","copies":2}
//! ```
//!
//! A client sends JSON, and gets the key of its event. It may give the commit level and, to repeat a put, the key that it was
//! answered with. What is refused is answered with `{"error":{"code","message","hint","retryable"}}`, and with the key where the
//! event may be stored:
//!
//! | status | code | the event is |
//! | --- | --- | --- |
//! | 201 | | stored at the level |
//! | 400 | `BAD_REQUEST` | not stored: no JSON, no key or no commit level |
//! | 401, 403 | `UNAUTHORIZED`, `FOREIGN_ORIGIN` | not stored |
//! | 408 | `BODY_TIMEOUT` | not stored: the body took too long |
//! | 409 | `KEY_TAKEN` | not stored everywhere: the key has another event |
//! | 413 | `PAYLOAD_TOO_LARGE` | not stored |
//! | 500 | `NOT_REACHED`, `STORAGE_FAILED` | stored on too few nodes, or on none |
//! | 503 | `OVERLOADED`, `NOT_ENOUGH_PEERS` | not stored |
//! | 504 | `INDETERMINATE` | stored or not: repeat it with the same key |
//!
//! Peers take any bytes. Without a token a server listens on loopback addresses only, and refuses what a browser sends.

mod clients;
mod guard;
mod options;
mod peer_client;
mod peers;
mod problem;
mod server;

use axum::http::HeaderName;
pub use shardwright_http::{BindError, ClientError, InvalidToken, Server, Token};

pub use self::{
    clients::client_routes,
    options::ServerOptions,
    peer_client::{Http, HttpOptions, InvalidPeerUrl, PeerError, PeerUrl},
    peers::peer_routes,
    server::{serve_clients, serve_peers},
};

/// The path of events between peers.
pub const PEER_PATH: &str = "/shardwright/v1/event";

/// The longest key, in bytes.
pub const KEY_MAX: usize = 1_024;

/// The largest event unless options say otherwise: 1 MiB.
pub const EVENT_MAX: usize = 1 << 20;

/// On every answer of a peer, so that a page of some other server is not taken for one.
const ANSWER: HeaderName = HeaderName::from_static("shardwright-answer");

/// That the event is stored.
const STORED: &str = "STORED";

/// That the key has another event.
const KEY_TAKEN: &str = "KEY_TAKEN";
