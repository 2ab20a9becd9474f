//! The connection that a node makes to another one: made when there is something to send, and again when it broke.

use std::sync::Arc;

use rand::RngCore;
use shardwright_topology::{Backoff, NodeId};
use tokio::{
    io::AsyncRead,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    FrameError, Inbound, Shared,
    encode::{Message, decode},
    frame::Frames,
    handshake::{Begun, HandshakeError, Purpose, greet},
    queue::Waiting,
};

/// Why a node cannot be reached now.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("nobody knows where it is")]
    NoAddress,
    #[error("its address cannot be found out: {0}")]
    Resolve(#[source] shardwright_registry::BoxError),
    #[error("it took too long")]
    Timeout,
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl From<std::io::Error> for DialError {
    fn from(error: std::io::Error) -> Self {
        Self::Handshake(FrameError::from(error).into())
    }
}

/// Connects to a node, and proves the token.
pub(super) async fn dial(
    shared: &Shared,
    to: &NodeId,
    purpose: Purpose,
) -> Result<Begun, DialError> {
    let begun = async {
        let address = shared
            .resolver
            .address(to)
            .await
            .map_err(DialError::Resolve)?;
        let address = address.ok_or(DialError::NoAddress)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (me, token) = (shared.node.clone(), shared.token.as_ref());
        Ok(greet(stream, token, me, to.clone(), purpose).await?)
    };
    let begun = timeout(shared.limits.connect, begun).await;
    begun.unwrap_or(Err(DialError::Timeout))
}

/// Keeps the connection to a node while there is something to send.
pub(super) async fn run(shared: Arc<Shared>, to: NodeId, mut waiting: Waiting) {
    tokio::select! {
        () = shared.stopped() => {}
        () = keep(&shared, &to, &mut waiting) => {}
    }
}

async fn keep(shared: &Shared, to: &NodeId, waiting: &mut Waiting) {
    let (first, cap) = shared.limits.backoff;
    let backoff = || Backoff::new(first, cap, rand::rng().next_u64());
    let (mut waits, mut is_reached) = (backoff(), true);
    while waiting.ready().await {
        match dial(shared, to, Purpose::Messages).await {
            Ok(begun) => {
                tracing::debug!(node = %to, "connected");
                (waits, is_reached) = (backoff(), true);
                let ended = serve(shared, begun, waiting).await;
                tracing::debug!(node = %to, ?ended, "a connection ended");
            }
            Err(error) => {
                if is_reached {
                    tracing::warn!(node = %to, %error, "cannot be reached");
                }
                is_reached = false;
                metrics::counter!("shardwright_quorum_dials_failed_total").increment(1);
                sleep(waits.next().unwrap_or(cap)).await;
            }
        }
        // The protocol has given up what waited for so long.
        waiting.reset();
    }
}

async fn serve(shared: &Shared, begun: Begun, waiting: &mut Waiting) -> Result<(), FrameError> {
    let Begun {
        mut stream, node, ..
    } = begun;
    let (reader, mut writer) = stream.split();
    let frames = Frames::new(reader, shared.limits.message_bytes);
    tokio::select! {
        ended = replies(shared, frames, &node) => ended,
        ended = waiting.write(&mut writer, shared.limits.write) => ended,
    }
}

async fn replies(
    shared: &Shared,
    mut frames: Frames<impl AsyncRead + Unpin>,
    node: &NodeId,
) -> Result<(), FrameError> {
    loop {
        // A network that swallows packets is found out by silence, long before the system gives up a connection.
        let body = timeout(shared.limits.silence, frames.next()).await;
        let body = body.map_err(std::io::Error::from)??;
        let from = node.clone();
        match decode(&body)? {
            Message::Reply(shard, reply) => shared.deliver(&shard, Inbound::Reply { from, reply }),
            Message::Content(shard, lsn, content) => {
                shared.questions.answered(from, shard, lsn, content);
            }
            Message::Request(..) | Message::AskContent(..) => return Err(FrameError::Unexpected),
        }
    }
}
