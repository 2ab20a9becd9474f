//! Elections while servers die.

use std::{sync::Arc, time::Duration};

use shardwright_registry::{
    Campaign, Holder, LeaseTiming,
    topology::{Incarnation, NodeId},
};
use shardwright_testkit::nats::servers;

use super::*;

#[test]
fn one_leads_again_after_the_stream_lost_its_leader() {
    for server in servers() {
        let mut cluster = NatsCluster::start(&server, 3);
        let runtime = runtime();
        let options = options(&cluster);
        let timing = LeaseTiming::new(Duration::from_secs(2), Duration::from_millis(1800));
        let timing = timing.expect("the holder stops first");
        let campaign = async |name: &str| {
            let me = Holder {
                node: NodeId::new(name).expect("a name"),
                incarnation: Incarnation(1),
            };
            let store = Arc::new(open(&options).await);
            Campaign::start(store, "leader", me, timing).expect("a name")
        };
        let (mut a, mut b) = runtime.block_on(async {
            let mut a = campaign("a").await;
            assert_eq!(a.changed().await, Some(1));
            (a, campaign("b").await)
        });
        let stream = format!("KV_{}", options.bucket);
        let leader = cluster.leader_of(&stream).expect("it was written to");
        cluster.kill(leader);
        // The lease runs out on its holder's side before anybody else can take it.
        runtime.block_on(async {
            assert_eq!(a.changed().await, None);
            assert_eq!(b.leads(), None);
            let next = tokio::select! {
                term = a.changed() => term,
                term = b.changed() => term,
            };
            assert!(next > Some(1), "{next:?}");
            assert!(a.leads().is_none() || b.leads().is_none());
        });
    }
}
