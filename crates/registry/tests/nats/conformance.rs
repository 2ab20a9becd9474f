//! Every backend keeps the rules of a store.

use std::sync::Arc;

use shardwright_registry::{Store, conformance};
use shardwright_testkit::nats::{NatsCluster, NatsServer, servers};

use super::*;

fn keeps_the_rules(server: &NatsServer, size: usize) {
    let cluster = NatsCluster::start(server, size);
    runtime().block_on(async {
        conformance::run_all(async || Arc::new(open(&options(&cluster)).await) as Arc<dyn Store>)
            .await;
        conformance::run_shared(async || {
            let options = options(&cluster);
            [
                Arc::new(open(&options).await),
                Arc::new(open(&options).await),
            ]
        })
        .await;
    });
}

#[test]
fn one_server_keeps_the_rules() {
    for server in servers() {
        keeps_the_rules(&server, 1);
    }
}

#[test]
fn three_servers_keep_the_rules() {
    for server in servers() {
        keeps_the_rules(&server, 3);
    }
}

#[test]
fn any_executor_may_drive_the_store() {
    let Some(server) = shardwright_testkit::nats::current() else {
        return;
    };
    let cluster = NatsCluster::start(&server, 1);
    let runtime = runtime();
    let store = runtime.block_on(open(&options(&cluster)));
    futures_executor::block_on(conformance::a_watch_after_a_listing_misses_nothing(&store));
}
