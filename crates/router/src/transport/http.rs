//! Calls over HTTP/1.1: one POST for each, with the payload as the body and the rest in a header: the epoch, the time left in
//! microseconds, the shard and the method. More headers would be a good part of what a call costs.
//!
//! ```text
//! POST /shardwright/v1/call                       200 OK
//! shardwright-call: 7 4998000 shard-3 get_order   shardwright-answer: ok
//! authorization: Bearer ...
//!                                                 (the answer)
//! (the payload)
//!                                                 409 Conflict
//!                                                 shardwright-answer: refused
//!
//!                                                 {"code":"stale-epoch","current":8}
//! ```
//!
//! Connections are kept open and used again. A server refuses whoever does not show its token, if it has one, before it
//! reads anything else of the request. Without a token it listens on loopback only.
//!
//! What knows nothing of calls is for any server and client of a cluster: [`bind`], [`serve()`], [`Server`], [`client()`], [`Token`].

mod client;
mod server;

use axum::http::{HeaderName, HeaderValue};
pub use shardwright_http::{
    BindError, CONNECTIONS_MAX, ClientError, IDLE_MAX, InvalidToken, Server, TOKEN_MAX, TOKEN_MIN,
    Token, bind, client, serve,
};

pub use self::{
    client::{Http, HttpOptions},
    server::{ServerOptions, listen, routes},
};

/// The path of calls.
pub const PATH: &str = "/shardwright/v1/call";

/// The largest payload and the largest answer unless options say otherwise: 8 MiB.
pub const PAYLOAD_MAX: usize = 8 * 1024 * 1024;

const CALL: HeaderName = HeaderName::from_static("shardwright-call");
/// On every response of ours, so that a page of some other server is not taken for one.
const ANSWER: HeaderName = HeaderName::from_static("shardwright-answer");
const OK: HeaderValue = HeaderValue::from_static("ok");
const REFUSED: HeaderValue = HeaderValue::from_static("refused");
