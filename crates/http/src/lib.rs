//! Serves HTTP within limits and behind one token: what every server and client of a cluster shares.
//!
//! A [`Server`] listens on loopback, or on any address where there is a [`Token`]; it serves an axum router there, and limits
//! connections, heads and the time that the end may take. What a request has to show is for the routes to say. [`client()`] makes
//! the client that asks.
//!
//! ```
//! use std::time::Duration;
//!
//! use shardwright_http::{
//!     CONNECTIONS_MAX, Server, Token,
//!     axum::{Router, http::HeaderMap, routing::get},
//!     client,
//!     reqwest::header::AUTHORIZATION,
//! };
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let token = Token::new("correct-horse-battery")?;
//! let known = token.clone();
//! let greet = async move |headers: HeaderMap| match known.is_in(&headers) {
//!     true => "hello",
//!     false => "who are you?",
//! };
//! let app = Router::new().route("/", get(greet));
//! let refused = Server::bind("0.0.0.0:0", None, app.clone(), CONNECTIONS_MAX).await;
//! assert!(refused.is_err(), "other machines need a token");
//!
//! let server = Server::bind("127.0.0.1:0", Some(&token), app, CONNECTIONS_MAX).await?;
//! let client = client(Duration::from_secs(1))?;
//! let request = client.get(server.url()).header(AUTHORIZATION, token.header());
//! assert_eq!(request.send().await?.bytes().await?, "hello");
//! server.shut_down().await;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - A token is never printed, and is compared in a time that does not depend on how much of it is right.
//! - [`Token::is_in`] lets nobody in but those who may do anything. Callers with another [`Role`] are let in by name only.
//! - No head of a request holds a connection for ever, and no request the end of a server.
//! - Neither a proxy that the environment names nor a redirect leads a client, and the token with it, elsewhere.
//!
//! # What this crate does not do
//!
//! It encrypts nothing, and limits no bodies: axum does.

mod client;
mod listen;
mod origin;
mod relay;
mod role;
mod serve;
mod server;
mod token;

pub use axum;
pub use reqwest;

pub use crate::{
    client::{ClientError, client},
    listen::{BindError, bind},
    origin::is_foreign,
    relay::{relayed_answer, relayed_headers},
    role::{Role, UnknownRole},
    serve::{CONNECTIONS_MAX, IDLE_MAX, serve},
    server::Server,
    token::{InvalidToken, TOKEN_MAX, TOKEN_MIN, Token},
};
