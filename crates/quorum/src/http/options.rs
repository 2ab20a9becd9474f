//! How a server answers.

use std::time::Duration;

use shardwright_http::CONNECTIONS_MAX;

use super::{EVENT_MAX, Token};

/// How a server answers, clients or peers.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// What callers must show. Nothing by default, which is for loopback only.
    pub token: Option<Token>,
    /// The largest event, in bytes. 1 MiB by default.
    pub event_max: usize,
    /// How many requests are handled at once; more are refused and may be repeated. 1,024 by default. Each may hold an event.
    pub requests_max: usize,
    /// How many connections are open at once; more wait. 1,024 by default.
    pub connections_max: usize,
    /// How long a body may take to arrive, and then a put to be answered. 30 seconds by default: a peer's caller has given up by then.
    /// A put goes on after that.
    pub request_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            token: None,
            event_max: EVENT_MAX,
            requests_max: 1_024,
            connections_max: CONNECTIONS_MAX,
            request_timeout: Duration::from_secs(30),
        }
    }
}
