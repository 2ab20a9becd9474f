//! Campaigns for one lease, on a store in memory.

use std::{sync::Arc, time::Duration};

use shardwright_registry::{
    Campaign, Holder, LeaseTiming, MemoryStore,
    topology::{Incarnation, NodeId},
};

fn campaign(store: &MemoryStore, number: u32) -> Campaign {
    let me = Holder {
        node: NodeId::new(format!("c{number}")).expect("a name"),
        incarnation: Incarnation(1),
    };
    let timing = LeaseTiming::new(Duration::from_millis(300), Duration::from_millis(270));
    let timing = timing.expect("the holder stops first");
    Campaign::start(Arc::new(store.clone()), "leader", me, timing).expect("a name")
}

#[tokio::test]
async fn one_leads_and_the_next_follows_when_it_resigns() {
    let store = MemoryStore::new();
    let mut first = campaign(&store, 1);
    assert_eq!(first.changed().await, Some(1));
    let mut second = campaign(&store, 2);
    assert_eq!((first.leads(), second.leads()), (Some(1), None));
    first.resign().await;
    assert_eq!(second.changed().await, Some(2));
}

#[tokio::test]
async fn one_whose_task_is_gone_is_followed_after_the_time_out() {
    let store = MemoryStore::new();
    let mut first = campaign(&store, 1);
    assert_eq!(first.changed().await, Some(1));
    let mut second = campaign(&store, 2);
    drop(first);
    assert_eq!(second.changed().await, Some(2));
}
