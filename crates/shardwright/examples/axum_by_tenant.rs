//! A web service that routes by tenant: each order is kept by the node that owns its tenant's shard, whichever node is asked.
//!
//! Alone it starts two nodes, asks both about several tenants, moves a shard from one to the other, and ends.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::{error::Error, sync::Arc};

use axum::{
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use shardwright::{
    hashing::Position,
    registry::{MemoryStore, Partitioning, Registration, Registry},
    router::{
        BoxError, Router, Settings,
        transport::http::{Http, HttpOptions, Server, ServerOptions, listen, routes},
    },
    topology::{KeyspaceName, NodeId, ShardId},
};

/// What the service does where the shard is.
async fn find_order(node: String, shard: String, order: String) -> Result<String, BoxError> {
    Ok(format!("order {order}, kept on {shard} by {node}"))
}

/// Any node takes the request of any tenant.
async fn order(
    State(router): State<Router>,
    Path((tenant, order)): Path<(String, String)>,
) -> Result<String, (StatusCode, String)> {
    match router.call_by_tenant(&tenant, "find_order", order).await {
        Ok(answer) => Ok(String::from_utf8_lossy(&answer).into_owned()),
        Err(error) if error.is_retryable() => {
            Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
        }
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

async fn start(registry: &Registry, name: &str, shards: [u32; 2]) -> Result<Server, BoxError> {
    let transport = Arc::new(Http::new(&HttpOptions::default())?);
    let router = Router::new(NodeId::new(name)?, transport, Settings::default());
    let node = name.to_owned();
    router.handle("find_order", move |call| {
        let order = String::from_utf8_lossy(&call.payload).into_owned();
        find_order(node.clone(), call.shard().to_string(), order)
    });
    let service = axum::Router::new()
        .route("/api/v1/{tenant}/orders/{order}", get(order))
        .with_state(router.clone());
    let app = service.merge(routes(router.clone(), ServerOptions::default()));
    let server = listen("127.0.0.1:0", app, &ServerOptions::default()).await?;
    let registration = Registration {
        shards: shards.map(ShardId::numbered).into(),
        ..Registration::new(NodeId::new(name)?, server.url())
    };
    registry.register(registration).await?;
    let registry = registry.clone();
    tokio::spawn(async move { router.follow(&registry).await });
    Ok(server)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
    registry.bootstrap(Partitioning::Ranges, 4).await?;
    let first = start(&registry, "node-1", [0, 1]).await?;
    let second = start(&registry, "node-2", [2, 3]).await?;

    let ask = async |server: &Server, tenant: &str| {
        let url = format!("{}/api/v1/{tenant}/orders/7", server.url());
        loop {
            let answer = reqwest::get(&url).await?;
            // A node that has not heard of the other one yet asks to be asked again.
            if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
                break answer.error_for_status()?.text().await;
            }
        }
    };
    for tenant in ["tenant-123", "tenant-7", "tenant-9"] {
        let (here, there) = (ask(&first, tenant).await?, ask(&second, tenant).await?);
        assert_eq!(here, there, "both nodes reach the same owner");
        println!("{tenant}: {here}");
    }

    let map = registry.map().await?;
    let moved = map.at(Position::of("tenant-123")).id();
    let other = NodeId::new("node-2")?;
    registry.assign_shard(moved, &other).await?;
    println!("{moved} was assigned to node-2");
    // The nodes hear of it in a moment.
    while !ask(&first, "tenant-123").await?.ends_with("by node-2") {}
    println!("tenant-123: {}", ask(&first, "tenant-123").await?);
    Ok(())
}
