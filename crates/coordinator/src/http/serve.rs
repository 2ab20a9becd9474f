//! The server: connections, their limits, and an end that lets requests finish.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream, lookup_host},
    sync::Semaphore,
};
use tracing::{debug, warn};

use super::{Api, Token};

/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How many headers a request may have.
const HEADERS_MAX: usize = 64;

/// How many bytes of a request wait in memory, its head in particular.
const HEAD_MAX: usize = 64 << 10;

/// How long requests may take to finish once the server stops.
const FINISH_MAX: Duration = Duration::from_secs(10);

/// How long the server waits before it accepts again after that failed, for example for want of file descriptors.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is not of this machine only, and there is no token.
    #[error(
        "{address} can be reached from other machines: give a token file, or listen on 127.0.0.1"
    )]
    NeedsToken {
        /// The address.
        address: SocketAddr,
    },
    /// The address names nothing.
    #[error("{address} is no address to listen on, use one such as 127.0.0.1:7557")]
    NoAddress {
        /// The address as it was given.
        address: String,
        /// Why, where the system says it.
        #[source]
        source: Option<io::Error>,
    },
    /// The system does not let this process listen there.
    #[error("cannot listen on {address}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Listens on an address: loopback, or any with a token.
///
/// # Errors
/// [`BindError`].
pub async fn bind(address: &str, token: Option<&Token>) -> Result<TcpListener, BindError> {
    let no_address = |source| BindError::NoAddress {
        address: address.to_owned(),
        source,
    };
    let found = lookup_host(address).await;
    let found = found.map_err(|source| no_address(Some(source)))?;
    let mut refused = no_address(None);
    for address in found {
        if token.is_none() && !address.ip().is_loopback() {
            return Err(BindError::NeedsToken { address });
        }
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(source) => refused = BindError::Refused { address, source },
        }
    }
    Err(refused)
}

/// Serves the interface until `shutdown` is over, then lets requests finish for up to ten seconds.
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn serve(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()>) {
    let router = api.router();
    let places = Arc::new(Semaphore::new(api.settings.connections_max));
    let connections = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let next = async {
            // Nobody closes the semaphore.
            let place = places.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = next => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_WAIT).await;
                continue;
            }
        };
        let connection = connections.watch(connection(stream, &router));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "serve a connection");
            }
            drop(place);
        });
    }
    drop(listener);
    api.stop();
    if tokio::time::timeout(FINISH_MAX, connections.shutdown())
        .await
        .is_err()
    {
        warn!("requests were still under way when the server stopped");
    }
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<axum::Router>>;

fn connection(stream: TcpStream, router: &axum::Router) -> Connection {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "send small answers at once");
    }
    let service = TowerToHyperService::new(router.clone());
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn other_machines_need_a_token() {
        let refused = bind("0.0.0.0:0", None).await.expect_err("no token");
        assert_eq!(
            refused.to_string(),
            "0.0.0.0:0 can be reached from other machines: give a token file, or listen on 127.0.0.1"
        );
        let token = Token::new("0123456789abcdef").expect("a token");
        assert!(bind("0.0.0.0:0", Some(&token)).await.is_ok());
        assert!(bind("127.0.0.1:0", None).await.is_ok());
        let nowhere = bind("nowhere", None).await;
        assert!(
            matches!(nowhere, Err(BindError::NoAddress { .. })),
            "{nowhere:?}"
        );
    }
}
