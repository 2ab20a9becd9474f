//! Hrana over HTTP: what the clients of libSQL speak.
//!
//! ```text
//! POST /v2/pipeline, /v3/pipeline, /v3/cursor ─ baton ─ Stream ─┬ a statement by itself ─┐
//!                                             one of Streams    └ its Transaction ───────┤ gateway
//! POST /v1/execute, /v1/batch ───────────────────────────────────────────────────────────┘
//! ```
//! The shapes are those of the specification (`HRANA_3_SPEC`, `HTTP_V2_SPEC` and `HTTP_V1_SPEC` of libSQL), in JSON. A stream is what a
//! connection would be: its stored texts, and the transaction that is open. It lives on the node that began it; a baton names the node, so
//! any other one passes on what belongs there. [`streams::Streams`] decides which baton is good, and when a stream has been idle for too
//! long; it knows neither clock nor transaction.

mod batch;
mod baton;
mod condition;
mod control;
mod cursor;
mod error;
mod pipeline;
mod reply;
mod request;
mod routes;
mod settings;
mod statement;
mod stream;
mod streams;
mod texts;
mod value;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shardwright_http::axum::Router;
use shardwright_topology::{NodeId, Timestamp};
use tokio::{sync::Notify, task::JoinSet};

pub use self::settings::Settings;
use self::{
    baton::Baton,
    error::HttpError,
    stream::Stream,
    streams::{Refused, Streams},
};
use crate::gateway::Client;

/// The streams of a node. They end when it is dropped.
#[derive(Debug)]
pub(crate) struct Hrana {
    shared: Arc<Shared>,
    /// Ends with this.
    _expiring: JoinSet<()>,
}

/// What the requests share.
#[derive(Debug)]
struct Shared {
    node: NodeId,
    /// Where clients reach the node.
    address: String,
    settings: Settings,
    client: Client,
    streams: Mutex<Streams<Stream>>,
    /// Told when a stream waits that may be the next to expire.
    parked: Notify,
}

impl Hrana {
    /// Starts to answer, in the present tokio runtime.
    pub(crate) fn start(node: NodeId, address: &str, settings: Settings, client: Client) -> Self {
        let shared = Arc::new(Shared {
            streams: Mutex::new(Streams::new(settings.streams_max)),
            node,
            address: address.to_owned(),
            settings,
            client,
            parked: Notify::new(),
        });
        let mut expiring = JoinSet::new();
        expiring.spawn(expire(Arc::clone(&shared)));
        Self {
            shared,
            _expiring: expiring,
        }
    }

    /// Returns what clients of libSQL ask, with a guard before it.
    pub(crate) fn router(&self) -> Router {
        routes::router(&self.shared)
    }
}

impl Shared {
    fn now(&self) -> Timestamp {
        self.client.clock().now()
    }

    fn streams(&self) -> MutexGuard<'_, Streams<Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the stream of a baton, or begins one.
    fn take(&self, baton: Option<&Baton>) -> Result<(u128, Stream), HttpError> {
        let mut streams = self.streams();
        let Some(baton) = baton else {
            let id = streams.begin(rand::random()).map_err(HttpError::from)?;
            return Ok((id, Stream::default()));
        };
        let taken = streams.take(self.now(), baton.stream, baton.nonce);
        drop(streams);
        // What was rolled back is dropped here, without the lock.
        let stream = taken.map_err(|Refused { reason, .. }| HttpError::from(reason))?;
        Ok((baton.stream, stream))
    }

    /// Lets a stream wait for the next request, and returns the baton for that; nothing if it is closed.
    fn give_back(&self, id: u128, stream: Stream) -> Option<String> {
        if stream.is_closed() {
            self.streams().end(id);
            return None;
        }
        let idle = if stream.has_transaction() {
            self.settings.transaction_idle
        } else {
            self.settings.idle
        };
        let nonce = rand::random();
        let has_transaction = stream.has_transaction();
        let until = self.now() + idle;
        self.streams()
            .park(id, nonce, until, has_transaction, stream);
        self.parked.notify_one();
        let baton = Baton {
            node: self.node.clone(),
            stream: id,
            nonce,
        };
        Some(baton.to_string())
    }
}

/// Ends streams that have been idle for too long, and rolls back what they had begun.
async fn expire(shared: Arc<Shared>) {
    loop {
        let next = shared.streams().next_expiry();
        let wait = async {
            match next {
                Some(next) => tokio::time::sleep(next.since(shared.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = shared.parked.notified() => {}
        }
        let now = shared.now();
        let expired = shared.streams().expire(now);
        drop(expired);
    }
}
