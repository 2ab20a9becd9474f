//! A snapshot on its way from one node to another, in parts with checksums.

use std::{
    io::Read,
    net,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use shardwright_topology::{NodeId, ShardId};
use tokio::{net::TcpStream, sync::oneshot, task::JoinError, time::timeout};

use super::{
    FrameError, Inbound, Shared,
    frame::{frame, read_blocking},
    handshake::{HandshakeError, Purpose},
    link::{DialError, dial},
};
use crate::log::{
    Point, Snapshot,
    snapshot::{StoredSnapshot, Storing},
};

/// How much of the content a part has.
const PART_BYTES: usize = 256 << 10;

/// How large a part is as a frame, at most.
const FRAME_MAX: usize = PART_BYTES + 1_024;

#[derive(Debug, Serialize, Deserialize)]
enum Part {
    Base(Point),
    /// What follows it in the frame is content.
    Content {
        crc: u32,
    },
    End {
        length: u64,
        crc: u32,
    },
}

/// Why no snapshot could be had from another node. Nothing changed; it may be asked for again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The node could not be reached.
    #[error("node {node} cannot be reached: {reason}")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// The connection broke, or said what it should not.
    #[error("the snapshot was not sent to its end: {0}")]
    Broken(String),
    /// What came is not what was sent.
    #[error("the snapshot was damaged on its way")]
    Damaged,
    /// It could not be stored.
    #[error("the snapshot cannot be stored")]
    NotStored(#[source] std::io::Error),
}

impl From<FrameError> for SnapshotError {
    fn from(error: FrameError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<JoinError> for SnapshotError {
    fn from(error: JoinError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A connection for a thread that may wait, which ends when the task that waits for it is dropped.
struct Ends(net::TcpStream);

impl Drop for Ends {
    fn drop(&mut self) {
        // The other side may have closed it already.
        let _closed = self.0.shutdown(net::Shutdown::Both);
    }
}

fn blocking(shared: &Shared, stream: TcpStream) -> Result<(net::TcpStream, Ends), FrameError> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(shared.limits.snapshot))?;
    stream.set_write_timeout(Some(shared.limits.snapshot))?;
    let ends = Ends(stream.try_clone()?);
    Ok((stream, ends))
}

/// Sends a snapshot of a shard.
pub(super) async fn serve(
    shared: &Shared,
    stream: TcpStream,
    shard: &ShardId,
) -> Result<(), SnapshotError> {
    let Ok(_place) = shared.snapshots.try_acquire() else {
        return Err(SnapshotError::Broken("too many are being sent".to_owned()));
    };
    let (answer, asked) = oneshot::channel();
    shared.deliver(shard, Inbound::Snapshot(answer));
    let made = timeout(shared.limits.snapshot, asked).await;
    let Ok(Ok(snapshot)) = made else {
        return Err(SnapshotError::Broken("the copy makes none now".to_owned()));
    };
    let (stream, _ends) = blocking(shared, stream)?;
    tokio::task::spawn_blocking(move || send(stream, snapshot)).await?
}

fn send(mut stream: net::TcpStream, snapshot: Snapshot) -> Result<(), SnapshotError> {
    use std::io::Write;
    let mut say = |part: &Part, content: &[u8]| -> Result<(), FrameError> {
        let frame = frame(part, content)?;
        Ok(stream.write_all(&frame)?)
    };
    let Snapshot { base, mut content } = snapshot;
    say(&Part::Base(base), &[])?;
    let (mut length, mut whole) = (0, crc32fast::Hasher::new());
    let mut bytes = Vec::with_capacity(PART_BYTES);
    loop {
        bytes.clear();
        let mut part = content.by_ref().take(PART_BYTES as u64);
        part.read_to_end(&mut bytes).map_err(FrameError::from)?;
        if bytes.is_empty() {
            break;
        }
        let mut part = crc32fast::Hasher::new();
        part.update(&bytes);
        whole.combine(&part);
        length += bytes.len() as u64;
        let crc = part.finalize();
        say(&Part::Content { crc }, &bytes)?;
    }
    let crc = whole.finalize();
    say(&Part::End { length, crc }, &[])?;
    Ok(())
}

/// Gets a snapshot of a shard from a node, and stores it aside.
pub(super) async fn fetch(
    shared: &Shared,
    from: &NodeId,
    shard: &ShardId,
    directory: &Path,
) -> Result<StoredSnapshot, SnapshotError> {
    let begun = dial(shared, from, Purpose::Snapshot(shard.clone())).await;
    let begun = begun.map_err(|error| unreachable_node(from, &error))?;
    let (stream, _ends) = blocking(shared, begun.stream)?;
    let directory: PathBuf = directory.to_owned();
    tokio::task::spawn_blocking(move || store(stream, &directory)).await?
}

fn unreachable_node(node: &NodeId, error: &DialError) -> SnapshotError {
    if let DialError::Handshake(HandshakeError::Token) = error {
        tracing::warn!(%node, "has another token");
    }
    SnapshotError::Unreachable {
        node: node.clone(),
        reason: error.to_string(),
    }
}

fn store(mut stream: net::TcpStream, directory: &Path) -> Result<StoredSnapshot, SnapshotError> {
    let mut next = || read_blocking(&mut stream, FRAME_MAX);
    let begin = next()?;
    let (Part::Base(base), []) = part(&begin)? else {
        return Err(FrameError::Unexpected.into());
    };
    let mut storing = Storing::begin(directory).map_err(SnapshotError::NotStored)?;
    loop {
        let body = next()?;
        match part(&body)? {
            (Part::Content { crc }, content) => {
                let mut sum = crc32fast::Hasher::new();
                sum.update(content);
                if sum.clone().finalize() != crc {
                    return Err(SnapshotError::Damaged);
                }
                storing
                    .add(content, &sum)
                    .map_err(SnapshotError::NotStored)?;
            }
            (Part::End { length, crc }, []) => {
                if storing.sum() != (length, crc) {
                    return Err(SnapshotError::Damaged);
                }
                return storing.finish(base).map_err(SnapshotError::NotStored);
            }
            _ => return Err(FrameError::Unexpected.into()),
        }
    }
}

/// Returns what a frame says, and the content behind that.
fn part(body: &[u8]) -> Result<(Part, &[u8]), FrameError> {
    Ok(postcard::take_from_bytes(body)?)
}
