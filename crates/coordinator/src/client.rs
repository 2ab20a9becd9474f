//! How this crate asks other processes over HTTP.

use std::time::Duration;

/// How long a connection may take to open.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Returns a client that asks whom it is told to ask and nobody else.
pub(crate) fn client() -> reqwest::Client {
    shardwright_http::client(CONNECT_MAX).expect("a client without TLS needs nothing of the system")
}
