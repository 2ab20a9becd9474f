//! What a coordinator needs: a store of its own, and a way to its peers.

use bytes::Bytes;

use crate::BoxError;

/// The store of this node.
///
/// Events are written once and never changed. Storing one that is already there under the same key succeeds; storing another one
/// there fails with [`KeyTaken`](crate::KeyTaken).
pub trait Storage: Send + Sync + 'static {
    /// Stores an event, and returns once it is as durable as this store makes it.
    ///
    /// It may be dropped unfinished at its deadline; the event may be stored then, or not.
    fn put(&self, key: &str, event: Bytes) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Reaches the stores of other nodes.
pub trait PeerClient: Send + Sync + 'static {
    /// What it needs to reach a peer, such as an address.
    type Peer: Clone + Send + Sync + 'static;

    /// Stores an event at a peer, and returns once the peer has confirmed that.
    ///
    /// It may be dropped unfinished at its deadline; the event may be stored then, or not.
    fn put(
        &self,
        peer: &Self::Peer,
        key: &str,
        event: Bytes,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}
