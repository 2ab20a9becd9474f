//! The connections that other nodes make.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use shardwright_topology::NodeId;
use tokio::{
    io::AsyncRead,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Back, FrameError, Inbound, Queue, Shared,
    encode::{Message, decode},
    frame::Frames,
    handshake::{Begun, Purpose, receive},
    queue, snapshot,
};

/// How long to wait when the system hands out no connections, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The places that one connection takes.
struct Places {
    /// Freed once the other side has proven the token.
    stranger: OwnedSemaphorePermit,
    _connection: OwnedSemaphorePermit,
}

/// Accepts connections until the node stops.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let connections = Arc::new(Semaphore::new(shared.limits.connections));
    let strangers = Arc::new(Semaphore::new(shared.limits.strangers));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.stopped() => break,
            Some(_ended) = open.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let connection = Arc::clone(&connections).try_acquire_owned();
                    let stranger = Arc::clone(&strangers).try_acquire_owned();
                    if let (Ok(connection), Ok(stranger)) = (connection, stranger) {
                        let places = Places { stranger, _connection: connection };
                        open.spawn(answer(Arc::clone(&shared), stream, address, places));
                    } else {
                        tracing::warn!(%address, "a connection is refused: too many are open");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    sleep(PAUSE).await;
                }
            },
        }
    }
    open.shutdown().await;
}

async fn answer(shared: Arc<Shared>, stream: TcpStream, address: SocketAddr, places: Places) {
    let _connection = places._connection;
    let begun = async {
        stream.set_nodelay(true).map_err(FrameError::from)?;
        receive(stream, shared.token.as_ref(), shared.node.clone()).await
    };
    let begun = match timeout(shared.limits.connect, begun).await {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => {
            tracing::warn!(%address, %error, "a connection is refused");
            return;
        }
        Err(_) => {
            tracing::warn!(%address, "a connection is refused: it took too long to begin");
            return;
        }
    };
    drop(places.stranger);
    let Begun {
        stream,
        node,
        purpose,
    } = begun;
    let ended = match purpose {
        Purpose::Messages => serve(&shared, stream, &node)
            .await
            .map_err(|error| error.to_string()),
        Purpose::Snapshot(shard) => snapshot::serve(&shared, stream, &shard)
            .await
            .map_err(|error| error.to_string()),
    };
    if let Err(error) = ended {
        tracing::debug!(%node, %address, %error, "a connection ended");
    }
}

/// Takes in the requests of a node, and writes what they are answered.
async fn serve(shared: &Shared, mut stream: TcpStream, node: &NodeId) -> Result<(), FrameError> {
    let (reader, mut writer) = stream.split();
    let frames = Frames::new(reader, shared.limits.message_bytes);
    let (queue, mut waiting) = queue::queue(&shared.limits);
    tokio::select! {
        ended = requests(shared, frames, node, &queue) => ended,
        ended = waiting.write(&mut writer, shared.limits.write) => ended,
    }
}

async fn requests(
    shared: &Shared,
    mut frames: Frames<impl AsyncRead + Unpin>,
    node: &NodeId,
    queue: &Queue,
) -> Result<(), FrameError> {
    // The side that dialled gives up first.
    let patience = shared.limits.silence * 2;
    loop {
        let body = timeout(patience, frames.next()).await;
        let body = body.map_err(std::io::Error::from)??;
        let (shard, request) = match decode(&body)? {
            Message::Request(shard, request) => (shard, request),
            Message::AskContent(shard, lsn) => {
                shared.questions.asked(shard, lsn, queue);
                continue;
            }
            Message::Reply(..) | Message::Content(..) => return Err(FrameError::Unexpected),
        };
        let back = Back {
            queue: queue.clone(),
            shard: shard.clone(),
        };
        let from = node.clone();
        shared.deliver(
            &shard,
            Inbound::Request {
                from,
                request,
                back,
            },
        );
    }
}
