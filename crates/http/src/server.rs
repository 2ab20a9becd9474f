//! A server as a value: where it listens, and its end.

use std::net::SocketAddr;

use tokio::{sync::oneshot, task::JoinHandle};

use crate::{BindError, Token, bind, serve};

/// A server of one axum router. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens at `address`, port 0 for any, as [`bind()`](bind()) does, and serves `app` there within the limits of [`serve()`].
    ///
    /// The token is for the address only: what a request has to show is for the routes to say.
    ///
    /// # Errors
    /// [`BindError`] when the system does not let it listen there, or other machines reach the address and there is no token.
    pub async fn bind(
        address: &str,
        token: Option<&Token>,
        app: axum::Router,
        connections_max: usize,
    ) -> Result<Self, BindError> {
        let listener = bind(address, token).await?;
        let address = listener
            .local_addr()
            .map_err(|source| BindError::NoAddress {
                address: address.to_owned(),
                source: Some(source),
            })?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, app, connections_max, async {
            // A server that is dropped ends the task before it drops the sender.
            let _ = stopped.await;
        }));
        Ok(Self {
            address,
            stop: Some(stop),
            task,
        })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address as other nodes need it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening, and waits until the requests that are inside have been answered, for up to ten seconds.
    pub async fn shut_down(mut self) {
        if let Some(stop) = self.stop.take() {
            // A task that has ended needs no word.
            let _ = stop.send(());
        }
        // A panic of the task was reported by the runtime.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
