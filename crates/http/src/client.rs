//! The asking side: a client that reaches whom it is told to ask, and nobody else.

use std::time::Duration;

use reqwest::{Client, redirect::Policy};

use crate::IDLE_MAX;

/// A client that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client can be made")]
pub struct ClientError(#[source] reqwest::Error);

/// Returns a client with connections of its own, which may take `connect_timeout` to open, and are given up when they have not been
/// used for [`IDLE_MAX`].
///
/// What it sends may carry the cluster's token: neither a proxy that the environment names nor a redirect leads it elsewhere.
///
/// # Errors
/// [`ClientError`] if the system does not let it.
pub fn client(connect_timeout: Duration) -> Result<Client, ClientError> {
    Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE_MAX)
        .redirect(Policy::none())
        .build()
        .map_err(ClientError)
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use axum::{Router, response::Redirect, routing::get};

    use super::*;

    fn asking() -> Client {
        client(Duration::from_secs(1)).unwrap()
    }

    /// A server that answers `/here`, and sends everybody there from `/there`.
    async fn server() -> String {
        let router = Router::new()
            .route("/here", get(async || "here"))
            .route("/there", get(async || Redirect::temporary("/here")));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let url = format!("{}/there", server().await);
        let answer = asking().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 307);
    }

    /// The environment of this process stays as it is: the test runs once more in another one.
    #[tokio::test]
    async fn a_proxy_of_the_environment_is_not_used() {
        const NOBODY: &str = "http://127.0.0.1:9";
        if env::var("HTTP_PROXY").as_deref() != Ok(NOBODY) {
            let again = Command::new(env::current_exe().unwrap())
                .args([
                    "--exact",
                    "client::tests::a_proxy_of_the_environment_is_not_used",
                ])
                .envs([("HTTP_PROXY", NOBODY), ("http_proxy", NOBODY)])
                .envs([("NO_PROXY", ""), ("no_proxy", "")])
                .output()
                .unwrap();
            let printed = String::from_utf8_lossy(&again.stdout);
            assert!(printed.contains("1 passed"), "{printed}");
            return;
        }
        let url = format!("{}/here", server().await);
        let answer = asking().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}
