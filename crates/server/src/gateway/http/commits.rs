//! `GET /v1/commits`: the commits over several shards that are under way, shard by shard.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde::Serialize;
use shardwright_http::axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use shardwright_sql::commit::Party;

use super::attempts::no_keyspace;
use crate::gateway::{
    Shared,
    wire::{Ask, Leftover, Said},
};

/// How long the shards may take to answer.
const WITHIN: Duration = Duration::from_secs(5);

/// What is under way.
#[derive(Debug, Default, Serialize)]
struct Listing {
    commits: Vec<Listed>,
    /// The shards that did not answer in time.
    unanswered: Vec<String>,
}

/// What a shard has of a commit.
#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    shard: String,
    /// `prepared` if it waits for the decision, `decided` if it has decided.
    state: &'static str,
    first: Party,
    participants: Vec<Party>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<Party>>,
}

impl Listed {
    fn new(shard: &str, left: Leftover) -> Self {
        Self {
            id: left.id.to_string(),
            shard: shard.to_owned(),
            state: match left.missing {
                None => "prepared",
                Some(_) => "decided",
            },
            first: left.first,
            participants: left.participants,
            missing: left.missing,
        }
    }
}

/// Asks every shard, and says which of them did not answer.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let Some(engine) = shared.engines.get(WITHIN).await else {
        return no_keyspace();
    };
    let cluster = &engine.cluster;
    let asking = cluster.names.all().map(|shard| async move {
        let said = cluster.ask(shard, &Ask::Commits, cluster.deadline(WITHIN));
        (shard.shard.as_str(), said.await.map(|heard| heard.said))
    });
    let mut listing = Listing::default();
    for (shard, said) in join_all(asking).await {
        match said {
            Ok(Said::Commits(left)) => {
                let listed = left.into_iter().map(|left| Listed::new(shard, left));
                listing.commits.extend(listed);
            }
            Ok(_) | Err(_) => listing.unanswered.push(shard.to_owned()),
        }
    }
    Json(listing).into_response()
}
