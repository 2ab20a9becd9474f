//! Servers of events, within the limits of every server of a cluster.

use shardwright_http::{BindError, Server};

use super::{ServerOptions, client_routes, peer_routes};
use crate::{Coordinator, PeerClient, Storage};

/// Listens at `address`, port 0 for any, for the events of clients.
///
/// # Errors
/// [`BindError`] when the system does not let it listen there, or other machines reach the address and `options` have no token.
pub async fn serve_clients<S: Storage, C: PeerClient>(
    address: &str,
    coordinator: Coordinator<S, C>,
    options: &ServerOptions,
) -> Result<Server, BindError> {
    listen(address, client_routes(coordinator, options), options).await
}

/// Listens at `address`, port 0 for any, for the events that peers store in `storage`.
///
/// # Errors
/// As [`serve_clients`].
pub async fn serve_peers(
    address: &str,
    storage: impl Storage,
    options: &ServerOptions,
) -> Result<Server, BindError> {
    listen(address, peer_routes(storage, options), options).await
}

async fn listen(
    address: &str,
    routes: axum::Router,
    options: &ServerOptions,
) -> Result<Server, BindError> {
    Server::bind(
        address,
        options.token.as_ref(),
        routes,
        options.connections_max,
    )
    .await
}
