//! Serves HTTP within limits and behind one token: what every server and client of a cluster shares.
//!
//! [`bind`] listens on loopback, or on any address where there is a [`Token`]; [`serve()`] serves an axum router there, and limits
//! connections, heads and the time that the end may take. What a request has to show is for the routes to say.
//!
//! ```
//! use shardwright_http::{CONNECTIONS_MAX, Token, axum, bind, serve};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let token = Token::new("correct-horse-battery")?;
//! assert!(token.is("correct-horse-battery") && !token.is("guess"));
//!
//! assert!(bind("0.0.0.0:0", None).await.is_err(), "other machines need a token");
//! let listener = bind("127.0.0.1:0", Some(&token)).await?;
//! let app = axum::Router::new().route("/", axum::routing::get(async || "hello"));
//! let shutdown = async {};
//! serve(listener, app, CONNECTIONS_MAX, shutdown).await;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - A token is never printed, and is compared in a time that does not depend on how much of it is right.
//! - No head of a request holds a connection for ever, and no request the end of a server.
//!
//! # What this crate does not do
//!
//! It encrypts nothing, and limits no bodies: axum does.

mod listen;
mod serve;
mod token;

pub use axum;

pub use crate::{
    listen::{BindError, bind},
    serve::{CONNECTIONS_MAX, IDLE_MAX, serve},
    token::{InvalidToken, TOKEN_MAX, TOKEN_MIN, Token},
};
