//! CollegeDB's coordinator, as its document shows it.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use shardwright_coordinator::http::Settings;

use crate::setting::{Answer, Server, leader};

async fn with_shards() -> Server {
    let settings = Settings {
        allow_flush: true,
        ..Settings::default()
    };
    let server = leader(settings).await;
    for shard in ["db-east", "db-west", "db-central"] {
        let added = server.post("/shards", json!({"shard": shard})).await;
        assert_eq!(added.ok(), json!({"success": true}));
    }
    server
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["code"], code, "{answer:?}");
    body["error"]
        .as_str()
        .expect("a text, as documented")
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_calls_answer_as_documented() {
    let server = with_shards().await;
    let shards = json!(["db-east", "db-west", "db-central"]);
    assert_eq!(server.get("/shards").await.ok(), shards);
    server
        .post("/shards", json!({"shard": "db-new-region"}))
        .await
        .ok();
    server
        .delete("/shards", json!({"shard": "db-new-region"}))
        .await
        .ok();
    server
        .delete("/shards", json!({"shard": "db-old-region"}))
        .await
        .ok();
    assert_eq!(server.get("/shards").await.ok(), shards);

    server
        .post("/stats", json!({"shard": "db-east", "count": 1600}))
        .await
        .ok();
    server
        .post("/stats", json!({"shard": "db-east", "change": -1}))
        .await
        .ok();
    let stats = server.get("/stats").await.ok();
    assert_eq!(
        (&stats[0]["binding"], &stats[0]["count"]),
        (&json!("db-east"), &json!(1599))
    );
    assert!(
        stats[0]["lastUpdated"].as_u64() > Some(1_672_531_200_000),
        "{stats}"
    );
    let fields: Vec<&String> = stats[0].as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["binding", "count", "lastUpdated"]);

    let allocate = json!({"primaryKey": "user-123", "strategy": "round-robin"});
    assert_eq!(
        server.post("/allocate", allocate).await.ok()["shard"],
        "db-east"
    );
    let hash = json!({"primaryKey": "user-456", "strategy": "hash"});
    let first = server.post("/allocate", hash.clone()).await.ok();
    assert_eq!(server.post("/allocate", hash).await.ok(), first);
    assert_eq!(
        server
            .post("/sequence", json!({"name": "orders", "min": 10}))
            .await
            .ok(),
        json!({"value": 10})
    );
    assert_eq!(server.get("/health").await.text, "OK");

    server.call(Method::POST, "/flush", "").await.ok();
    assert_eq!(server.get("/shards").await.ok(), json!([]));
    assert_eq!(server.get("/stats").await.ok(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_by_location_go_where_they_are_used() {
    let server = with_shards().await;
    let mut homes: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for number in 0..60 {
        let region = ["wnam", "enam"][number % 2];
        let body = json!({
            "primaryKey": format!("user-{number}"),
            "operationType": "write",
            "strategy": {"read": "hash", "write": "location"},
            "targetRegion": region,
            "shardLocations": {
                "db-west": {"region": "wnam", "priority": 2},
                "db-east": {"region": "enam", "priority": 1},
                "db-central": {"region": "enam", "priority": 1},
            },
        });
        let home = server.post("/allocate", body).await.ok();
        let home = home["shard"].as_str().expect("a name").to_owned();
        *homes.entry((region, home)).or_default() += 1;
    }
    assert_eq!(homes[&("wnam", "db-west".to_owned())], 30);
    let east = homes[&("enam", "db-east".to_owned())];
    let central = homes[&("enam", "db-central".to_owned())];
    assert!(east > 0 && central > 0 && east + central == 30, "{homes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_texts_with_a_code() {
    let server = leader(Settings::default()).await;
    let allocate = server.post("/allocate", json!({"primaryKey": "k"})).await;
    assert_eq!(refused(&allocate, 400, "NO_SHARDS"), "No shards available");
    let stats = server
        .post("/stats", json!({"shard": "x", "count": 1}))
        .await;
    assert_eq!(
        refused(&stats, 404, "SHARD_NOT_FOUND"),
        "shard x is not registered"
    );
    for (path, body) in [
        ("/allocate", "not JSON"),
        ("/allocate", "{}"),
        ("/allocate", r#"{"primaryKey": ""}"#),
        ("/allocate", r#"{"primaryKey": "k", "strategy": "nearest"}"#),
        (
            "/allocate",
            r#"{"primaryKey": "k", "targetRegion": "mars"}"#,
        ),
        ("/shards", r#"{"shard": "no name"}"#),
        ("/stats", r#"{"shard": "x"}"#),
        ("/stats", r#"{"shard": "x", "count": 1, "change": 1}"#),
        ("/sequence", r#"{"name": ""}"#),
    ] {
        let answer = server.call(Method::POST, path, body).await;
        refused(&answer, 400, "BAD_REQUEST");
    }
    let homes: Value = server.get("/shards").await.ok();
    assert_eq!(homes, json!([]), "nothing changed");
}
