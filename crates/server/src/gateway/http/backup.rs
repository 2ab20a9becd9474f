//! `POST /v1/backup`: all shards as they were at one moment.
//!
//! The shards are asked for snapshots that belong together, as a consistent read asks for them. Each primary then makes a copy of its
//! snapshot beside its file, lets the snapshot go, and gives the copy piece by piece. Nobody waits for that, and no more than a few pieces
//! are in memory.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use futures_util::{future::try_join_all, stream};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use shardwright_http::axum::{
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use shardwright_sql::{Error, backup::RestorePoint, shards::FaultKind, shards::Places};
use shardwright_topology::Backoff;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::spawn_blocking,
};

use super::attempts::{WAITS, kind_of, no_keyspace};
use crate::{
    backup::{FORMAT, Failed, FileEnd, FileHead, Frame, Head},
    gateway::{
        Shared,
        engine::Engine,
        numbers::Numbering,
        request::{failure, problem},
        view::{Claim, Until, View, Wanted},
        wire::{Ask, CommitLevel},
    },
};

/// How long a backup may take in all if its client does not say.
const LASTS: Duration = Duration::from_secs(3_600);

/// How long it may take at most.
const LASTS_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How long the shards may take until all of them answer, and until there are snapshots that belong together.
const BEGINS: Duration = Duration::from_secs(30);

/// How many frames wait for the client at most.
const FRAMES: usize = 4;

/// What a client may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// How long the backup may take in all.
    timeout_ms: Option<u64>,
}

type Frames = mpsc::Sender<Bytes>;

pub(super) async fn create(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let wish = match body.is_empty() {
        true => Ok(Wish::default()),
        false => serde_json::from_slice(&body),
    };
    let wish: Wish = match wish {
        Ok(wish) => wish,
        Err(error) => {
            let message = format!("the body is not a request: {error}");
            return problem(
                StatusCode::BAD_REQUEST,
                "BAD_REQUEST",
                &message,
                None,
                false,
            );
        }
    };
    let Ok(turn) = Arc::clone(&shared.backups).try_acquire_owned() else {
        let hint = "wait until that is over, or ask another node";
        let message = "this node makes another backup";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return problem(status, "BUSY", message, Some(hint), true);
    };
    let lasts = wish.timeout_ms.map_or(LASTS, Duration::from_millis);
    begin(&shared, lasts.min(LASTS_MAX), turn).await
}

/// Tries until the shards have snapshots that belong together, or there is no time for another try.
async fn begin(shared: &Arc<Shared>, lasts: Duration, turn: OwnedSemaphorePermit) -> Response {
    let turn = Arc::new(turn);
    let tried_until = shared.clock.now() + BEGINS.min(lasts);
    let mut waits = Backoff::new(WAITS.0, WAITS.1, rand::random());
    loop {
        let left = tried_until.since(shared.clock.now());
        let Some(engine) = shared.engines.get(left).await else {
            return no_keyspace();
        };
        let error = match attempt(shared, &engine, lasts, Arc::clone(&turn)).await {
            Ok(response) => return response,
            Err(error) => error,
        };
        let left = tried_until.since(shared.clock.now());
        if left.is_zero() || !error.is_retryable() {
            return failure(&error);
        }
        if kind_of(&error) == Some(FaultKind::SchemaChanged) {
            let _news = engine.refresh(left).await;
        }
        let wait = waits.next().unwrap_or(WAITS.1);
        tokio::time::sleep(wait.min(left)).await;
    }
}

/// Takes a restore point, and answers with what it holds while that is read.
async fn attempt(
    shared: &Arc<Shared>,
    engine: &Engine,
    lasts: Duration,
    turn: Arc<OwnedSemaphorePermit>,
) -> Result<Response, Error> {
    all_answer(engine).await?;
    let view = View {
        until: Until::Then(shared.clock.now() + lasts),
        freshness: Wanted::Consistent,
        level: CommitLevel::Quorum,
        schema: None,
        writer: Claim::Anyone,
        numbering: Arc::new(Numbering::Calls),
        recurs: false,
        cluster: Arc::clone(&engine.cluster),
        notes: Arc::default(),
    };
    let (frames, mut queue) = mpsc::channel(FRAMES);
    let (begun, begins) = oneshot::channel();
    let (engine, keyspace) = (engine.clone(), shared.keyspace.to_string());
    let writing = spawn_blocking(move || {
        let _turn = turn;
        let writing = Writing { frames, keyspace };
        writing.run(&engine, view, begun)
    });
    if begins.await.is_err() {
        // Only a panic ends it without an error.
        return match writing.await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Err(super::attempts::lost()),
        };
    }
    let frames = stream::poll_fn(move |context| {
        queue
            .poll_recv(context)
            .map(|frame| frame.map(Ok::<_, Infallible>))
    });
    let kind = [(CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(frames)).into_response())
}

/// Makes sure that every shard answers now: a backup waits for none that is away.
async fn all_answer(engine: &Engine) -> Result<(), Error> {
    let cluster = &engine.cluster;
    let asking = cluster.names.all().map(|shard| async move {
        let said = cluster.ask(shard, &Ask::Size, cluster.deadline(BEGINS));
        let heard = said.await;
        heard.map_err(|unanswered| unanswered.fault.at(shard.shard.as_str()))
    });
    try_join_all(asking).await.map(drop)
}

/// Whether the client is still there.
#[derive(Debug, PartialEq, Eq)]
struct IsGone;

/// What is sent. It waits for shards and for the client, on a thread that may.
struct Writing {
    frames: Frames,
    keyspace: String,
}

impl Writing {
    fn run(self, engine: &Engine, view: View, begun: oneshot::Sender<()>) -> Result<(), Error> {
        let notes = Arc::clone(&view.notes);
        let handle = engine.database.through(|schema| {
            Arc::new(View {
                schema: Some(schema),
                ..view
            }) as Arc<dyn Places>
        });
        let point = handle.as_peer().restore_point()?;
        let reached = notes.take().reached.into_iter();
        let points = reached.map(|(shard, at)| (shard.shard.to_string(), (at.epoch, at.lsn)));
        let points = points.collect();
        // From here on the client hears of what fails.
        if begun.send(()).is_err() {
            return Ok(());
        }
        match self.write(&point, points) {
            Ok(Ok(())) => tracing::info!("a backup is complete"),
            Ok(Err(IsGone)) => tracing::info!("whoever asked for a backup has gone"),
            Err(error) => {
                tracing::warn!(%error, "a backup has failed");
                let failed = Failed {
                    code: error.code().to_owned(),
                    message: error.to_string(),
                };
                let _heard = self.send(&Frame::Failed(failed));
            }
        }
        Ok(())
    }

    fn write(
        &self,
        point: &RestorePoint,
        points: BTreeMap<String, (u64, u64)>,
    ) -> Result<Result<(), IsGone>, Error> {
        let head = Head {
            format: FORMAT,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            keyspace: self.keyspace.clone(),
            outline: point.outline().clone(),
            points,
        };
        if self.send(&Frame::Head(Box::new(head))).is_err() {
            return Ok(Err(IsGone));
        }
        // All of them first: then no snapshot is held any more, however slow the client is.
        let files = point.places();
        let files = files.map(|(place, name)| Ok((name.to_owned(), point.file(place)?)));
        for (place, mut file) in files.collect::<Result<Vec<_>, Error>>()? {
            let bytes = file.size();
            let mut digest = Sha256::new();
            let mut sent = self.send(&Frame::File(FileHead { place, bytes }));
            loop {
                let bytes = file.next_bytes()?;
                if bytes.is_empty() || sent.is_err() {
                    break;
                }
                digest.update(&bytes);
                sent = self.send(&Frame::Bytes(bytes));
            }
            let sha256 = hexadecimal(&digest.finalize());
            let sent = sent.and_then(|()| self.send(&Frame::FileEnd(FileEnd { sha256 })));
            if sent.is_err() {
                return Ok(Err(IsGone));
            }
        }
        Ok(self.send(&Frame::End))
    }

    fn send(&self, frame: &Frame) -> Result<(), IsGone> {
        let sent = self.frames.blocking_send(frame.encode().into());
        sent.map_err(|_| IsGone)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
