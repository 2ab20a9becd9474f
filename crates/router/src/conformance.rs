//! The rules of a [`Transport`], as functions that panic when one is broken.
//!
//! A transport's own tests call [`run_all`] with a function that makes the calling side, and one that lets a router answer.
//!
//! ```
//! use std::sync::Arc;
//! use shardwright_router::{conformance::{self, Served}, transport::memory::Network};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let network = Network::with_payload_max(10_000);
//! conformance::run_all(
//!     async || Arc::new(network.clone()) as _,
//!     async |router| {
//!         let address = format!("{}.internal", router.node());
//!         network.serve(&address, &router);
//!         let (network, gone) = (network.clone(), address.clone());
//!         Served::new(address, async move { network.remove(&gone) })
//!     },
//! )
//! .await;
//! # });
//! # Ok::<_, std::io::Error>(())
//! ```

mod epochs;
mod failures;
mod payloads;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use shardwright_topology::{Epoch, NodeId, ShardId};

pub use self::{
    epochs::{
        a_later_epoch_waits_for_the_news, a_shard_elsewhere_is_refused_with_its_owner,
        an_old_epoch_is_refused_with_the_current_one,
    },
    failures::{
        a_deadline_ends_the_call_on_both_sides, a_failed_handler_says_why, a_long_failure_is_cut,
        a_method_has_the_same_names_everywhere, a_request_to_a_node_that_is_gone_is_not_delivered,
        an_unknown_method_is_named,
    },
    payloads::{
        an_answer_above_the_limit_is_refused, any_bytes_up_to_the_limit_are_a_payload,
        calls_run_at_once, the_time_left_is_passed_on,
    },
};
use crate::{BoxError, Request, Router, Settings, Transport, clock};

/// A router that answers at an address.
pub struct Served {
    address: String,
    stop: BoxFuture<'static, ()>,
}

impl Served {
    /// Says where a router answers. `stop` ends that when it is awaited, and holds what is needed until then.
    pub fn new(
        address: impl Into<String>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self {
            address: address.into(),
            stop: Box::pin(stop),
        }
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Checks every rule, each between two nodes of its own.
///
/// # Panics
/// If a rule is broken; the message names it.
pub async fn run_all(
    make_transport: impl AsyncFn() -> Arc<dyn Transport>,
    serve: impl AsyncFn(Router) -> Served,
) {
    let pair = async || Pair::new(make_transport().await, &serve).await;
    any_bytes_up_to_the_limit_are_a_payload(pair().await).await;
    an_answer_above_the_limit_is_refused(pair().await).await;
    calls_run_at_once(pair().await).await;
    the_time_left_is_passed_on(pair().await).await;
    an_unknown_method_is_named(pair().await).await;
    a_method_has_the_same_names_everywhere(pair().await).await;
    a_failed_handler_says_why(pair().await).await;
    a_long_failure_is_cut(pair().await).await;
    a_deadline_ends_the_call_on_both_sides(pair().await).await;
    a_request_to_a_node_that_is_gone_is_not_delivered(pair().await).await;
    an_old_epoch_is_refused_with_the_current_one(pair().await).await;
    a_later_epoch_waits_for_the_news(pair().await).await;
    a_shard_elsewhere_is_refused_with_its_owner(pair().await).await;
}

/// The epoch at which both nodes know the shard at first.
const EPOCH: Epoch = Epoch(3);

/// Two nodes: one owns a shard, and the other calls it.
#[derive(Debug)]
pub struct Pair {
    caller: Router,
    owner: Router,
    transport: Arc<dyn Transport>,
    served: Served,
    shard: ShardId,
}

impl Pair {
    /// Returns two nodes, the owner of the shard answering by `serve`.
    pub async fn new(
        transport: Arc<dyn Transport>,
        serve: &impl AsyncFn(Router) -> Served,
    ) -> Self {
        // Pairs one after another on one network do not hear each other.
        static PAIRS: AtomicU64 = AtomicU64::new(0);
        let tag = format!("{:x}-{}", clock::seed(), PAIRS.fetch_add(1, Relaxed));
        let router = |name: &str| {
            let name = NodeId::new(format!("{name}-{tag}")).expect("a valid name");
            Router::new(name, Arc::clone(&transport), Settings::default())
        };
        let (caller, owner) = (router("caller"), router("owner"));
        owner.handle("echo", async |call| Ok::<_, BoxError>(call.payload));
        let served = serve(owner.clone()).await;
        caller.set_address(owner.node(), Some(&served.address));
        let pair = Self {
            caller,
            owner,
            transport,
            served,
            shard: ShardId::numbered(0),
        };
        pair.assign(&pair.caller, EPOCH);
        pair.assign(&pair.owner, EPOCH);
        pair
    }

    /// Tells one of the nodes that the owner owns the shard since an epoch.
    fn assign(&self, teller: &Router, epoch: Epoch) {
        teller.set_owner(&self.shard, Some(self.owner.node().clone()), epoch);
    }

    fn request(&self, method: &str, epoch: Epoch) -> Request {
        Request {
            shard: self.shard.clone(),
            epoch,
            method: method.into(),
            timeout: Duration::from_secs(5),
            payload: "hello".into(),
        }
    }

    /// Sends a request without the caller's router.
    async fn send(&self, request: Request) -> Result<crate::Response, crate::TransportError> {
        let peer = crate::Peer {
            node: self.owner.node(),
            address: &self.served.address,
        };
        self.transport.call(peer, request).await
    }
}
