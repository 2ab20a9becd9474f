//! Servers of events, within the limits of every server of a cluster.

use std::net::SocketAddr;

use axum::Router;
use shardwright_http::{BindError, bind, serve};
use tokio::{sync::watch, task::JoinHandle};

use super::{ServerOptions, client_routes, peer_routes};
use crate::{Coordinator, PeerClient, Storage};

/// A server of one kind of events. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens at `address`, port 0 for any, for the events of clients.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn for_clients<S: Storage, C: PeerClient>(
        address: SocketAddr,
        coordinator: Coordinator<S, C>,
        options: &ServerOptions,
    ) -> Result<Self, BindError> {
        Self::bind(address, client_routes(coordinator, options), options).await
    }

    /// Listens at `address`, port 0 for any, for the events that peers store in `storage`.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn for_peers(
        address: SocketAddr,
        storage: impl Storage,
        options: &ServerOptions,
    ) -> Result<Self, BindError> {
        Self::bind(address, peer_routes(storage, options), options).await
    }

    async fn bind(
        address: SocketAddr,
        routes: Router,
        options: &ServerOptions,
    ) -> Result<Self, BindError> {
        let listener = bind(&address.to_string(), options.token.as_ref()).await?;
        let address = listener
            .local_addr()
            .map_err(|source| BindError::Refused { address, source })?;
        let (stop, mut stopped) = watch::channel(false);
        let connections_max = options.connections_max;
        let task = tokio::spawn(serve(listener, routes, connections_max, async move {
            // A server that is dropped drops the sender, and its task with all connections.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }));
        Ok(Self {
            address,
            stop,
            task,
        })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address as others need it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening, and waits until the requests that are inside have been answered, for up to ten seconds.
    pub async fn shut_down(mut self) {
        self.stop.send_replace(true);
        // A panic of the task was reported by the runtime.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
