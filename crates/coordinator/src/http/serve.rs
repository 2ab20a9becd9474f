//! The server of the interface.

use tokio::net::TcpListener;

use super::Api;

/// Serves the interface until `shutdown` is over, then lets requests finish for up to ten seconds.
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn serve(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()>) {
    let stopped = async {
        shutdown.await;
        api.stop();
    };
    let connections_max = api.settings.connections_max;
    shardwright_http::serve(listener, api.router(), connections_max, stopped).await;
}
