//! Calls over HTTP/1.1: one POST for each, with the payload as the body and the rest in headers.
//!
//! ```text
//! POST /shardwright/v1/call              200 OK
//! shardwright-shard: shard-3             shardwright-answer: ok
//! shardwright-epoch: 7
//! shardwright-method: get_order          (the answer)
//! shardwright-timeout-us: 4998000
//! authorization: Bearer ...              409 Conflict
//!                                        shardwright-answer: refused
//! (the payload)
//!                                        {"code":"stale-epoch","current":8}
//! ```
//!
//! Connections are kept open and used again. A server refuses whoever does not show its token, if it has one, before it
//! reads anything else of the request.

mod client;
mod server;
mod token;

pub use self::{
    client::{Http, HttpError, HttpOptions},
    server::{Server, ServerOptions, routes},
    token::{InvalidToken, Token},
};

/// The path of calls.
pub const PATH: &str = "/shardwright/v1/call";

/// The largest payload and the largest answer unless options say otherwise: 8 MiB.
pub const PAYLOAD_MAX: usize = 8 * 1024 * 1024;

const SHARD: &str = "shardwright-shard";
const EPOCH: &str = "shardwright-epoch";
const METHOD: &str = "shardwright-method";
const TIMEOUT: &str = "shardwright-timeout-us";
/// On every response of ours, so that a page of some other server is not taken for one.
const ANSWER: &str = "shardwright-answer";
const OK: &str = "ok";
const REFUSED: &str = "refused";
