//! `GET /v1/schema`: which changes of the schema every shard has, and what differs between them.

use std::{sync::Arc, time::Duration};

use shardwright_http::axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use shardwright_sql::shards::Places;
use tokio::task::spawn_blocking;

use super::attempts::{lost, no_keyspace};
use crate::gateway::{Shared, request::failure, view::View};

/// How long a shard may take to answer.
const WITHIN: Duration = Duration::from_secs(5);

/// Asks every shard, one after the other.
pub(super) async fn standing(State(shared): State<Arc<Shared>>) -> Response {
    let Some(engine) = shared.engines.get(WITHIN).await else {
        return no_keyspace();
    };
    let _news = engine.refresh(WITHIN).await;
    let asking = spawn_blocking(move || {
        let view = View::of_engine(Arc::clone(&engine.cluster), WITHIN);
        let handle = engine
            .database
            .through(|_| Arc::new(view) as Arc<dyn Places>);
        handle.as_peer().schema_standing()
    });
    match asking.await {
        Ok(standing) => Json(standing).into_response(),
        // Only a panic says nothing.
        Err(_) => failure(&lost()),
    }
}
