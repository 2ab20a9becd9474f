//! Connections: how many there are, how long a request's head may take, and an end that lets requests finish.

use std::{sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tracing::{debug, warn};

/// How many connections a server has open at once unless it is told otherwise.
pub const CONNECTIONS_MAX: usize = 1_024;

/// How long a client keeps a connection open that it does not use. Servers close it later, so that none is closed under a
/// request.
pub const IDLE_MAX: Duration = Duration::from_secs(5);

/// How long a request's head may take to arrive, from when the request before it was answered.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How many headers a request may have.
const HEADERS_MAX: usize = 64;

/// How many bytes of a request wait in memory, its head in particular.
const HEAD_MAX: usize = 64 << 10;

/// How long requests may take to finish once the server stops.
const FINISH_MAX: Duration = Duration::from_secs(10);

/// How long the server waits before it accepts again after that failed, for example for want of file descriptors.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Serves `app` over HTTP/1.1 until `shutdown` is over, then lets requests finish for up to ten seconds.
///
/// At most `connections_max` connections are open at once, and more wait. A request has at most 64 headers and a head of 64 KiB, which
/// arrives within ten seconds. When the future is dropped, all connections are closed at once.
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn serve(
    listener: TcpListener,
    app: axum::Router,
    connections_max: usize,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    let connections = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
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
        // A panic was reported by the runtime.
        while tasks.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_WAIT).await;
                continue;
            }
        };
        let connection = connections.watch(connection(stream, &app));
        tasks.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "serve a connection");
            }
            drop(place);
        });
    }
    drop(listener);
    let finished = tokio::time::timeout(FINISH_MAX, connections.shutdown()).await;
    if finished.is_err() {
        warn!("requests were still under way when the server stopped");
    }
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<axum::Router>>;

fn connection(stream: TcpStream, app: &axum::Router) -> Connection {
    // Without it a small answer may wait for an acknowledgement; the system may refuse, and that is only slower.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "send small answers at once");
    }
    let service = TowerToHyperService::new(app.clone());
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
}
