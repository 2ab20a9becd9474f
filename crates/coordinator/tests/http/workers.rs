//! What workers say to a coordinator.

use serde_json::json;
use shardwright_coordinator::http::Settings;

use crate::setting::{leader, two};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_registers_anywhere_and_leaves_through_the_leader() {
    let (_leader, standby) = two().await;
    let body = json!({"version": 1, "id": "w1", "address": "http://127.0.0.1:9"});
    let registered = standby.post("/shardz/v1/register", body.clone()).await.ok();
    let expected =
        json!({"version": 1, "incarnation": 1, "check_interval_ms": 40, "hold_ms": 2700});
    assert_eq!(registered, expected);
    let again = standby.post("/shardz/v1/register", body).await.ok();
    assert_eq!(again["incarnation"], 2);
    let leave = json!({"version": 1, "id": "w1", "incarnation": 2, "gone": true});
    let seen = standby.handle().view_when(|view| !view.nodes.is_empty());
    seen.await.expect("it runs");
    crate::setting::wait("the leader to know the worker", async || {
        standby.post("/shardz/v1/leave", leave.clone()).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_versions_and_addresses_are_refused() {
    let server = leader(Settings::default()).await;
    let register = json!({"version": 2, "id": "w1", "address": "http://127.0.0.1:9"});
    let refused = server.post("/shardz/v1/register", register).await;
    refused.refused(400, "UNSUPPORTED_VERSION");
    let register = json!({"version": 1, "id": "w1", "address": "127.0.0.1:9"});
    let refused = server.post("/shardz/v1/register", register).await;
    refused.refused(400, "BAD_REQUEST");
    let leave = json!({"version": 1, "id": "w9", "incarnation": 1, "gone": true});
    let refused = server.post("/shardz/v1/leave", leave).await;
    refused.refused(404, "UNKNOWN_NODE");
}
