//! How this crate asks other processes over HTTP.

use std::time::Duration;

/// How long a connection may take to open.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Returns a client that asks whom it is told to ask and nobody else.
///
/// What it sends carries the cluster's token: neither a proxy that the environment names nor a redirect may lead it elsewhere.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_MAX)
        .build()
        .expect("a client without TLS needs nothing of the system")
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use axum::{Router, response::Redirect, routing::get};

    use super::*;

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
        let answer = client().get(url).send().await.unwrap();
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
        let answer = client().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}
