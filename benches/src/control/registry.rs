//! The registry in NATS: its operations against those of the client library on the same bucket, and writers that contend.

use std::{cell::Cell, hint::black_box, sync::Arc, time::Duration};

use anyhow::Context;
use async_nats::jetstream::{self, kv};
use futures_util::future::try_join_all;
use shardwright_registry::{Key, NatsOptions, NatsStore, Prefix, Records, Revision, Store};
use shardwright_testkit::{
    Count,
    nats::{NatsCluster, current},
};
use tokio::{runtime::Runtime, time::Instant};

use crate::harness::Suite;

const BUCKET: &str = "bench";

/// A value as large as a record of a shard.
const VALUE: &[u8] = &[b'v'; 400];

/// What an operation may take, of what the client library takes for it.
const OPERATION_GOAL: f64 = 1.1;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    let server = current().context("find a nats-server: name one in NATS_SERVER")?;
    let cluster = NatsCluster::start(&server, 1);
    let runtime = Runtime::new()?;
    let store = runtime.block_on(open(&cluster))?;
    let raw = runtime.block_on(async {
        let context = jetstream::new(async_nats::connect(cluster.url()).await?);
        Ok::<_, anyhow::Error>(context.get_key_value(BUCKET).await?)
    })?;
    get(suite, &runtime, &store, &raw)?;
    set(suite, &runtime, &store, &raw)?;
    create(suite, &runtime, &store, &raw)?;
    contend(suite, &runtime, &cluster)
}

async fn open(cluster: &NatsCluster) -> anyhow::Result<NatsStore> {
    let options = NatsOptions {
        bucket: BUCKET.to_owned(),
        ..NatsOptions::new(cluster.url())
    };
    Ok(NatsStore::open(options).await?)
}

fn get(
    suite: &mut Suite,
    runtime: &Runtime,
    store: &NatsStore,
    raw: &kv::Store,
) -> anyhow::Result<()> {
    let key = Key::new("get/a")?;
    runtime.block_on(store.create(&key, VALUE))?;
    suite.time(
        "registry_get",
        Some(OPERATION_GOAL),
        1,
        || {
            let found = runtime.block_on(store.get(&key));
            black_box(found.expect("an answer").expect("it is there"));
        },
        || {
            let found = runtime.block_on(raw.entry("get.a"));
            black_box(found.expect("an answer").expect("it is there"));
        },
    );
    Ok(())
}

fn set(
    suite: &mut Suite,
    runtime: &Runtime,
    store: &NatsStore,
    raw: &kv::Store,
) -> anyhow::Result<()> {
    let key = Key::new("set/ours")?;
    let mut ours: Revision = runtime.block_on(store.create(&key, VALUE))?;
    let mut theirs = runtime.block_on(raw.create("set.theirs", VALUE.into()))?;
    suite.time(
        "registry_compare_and_set",
        Some(OPERATION_GOAL),
        1,
        || {
            let set = runtime.block_on(store.compare_and_set(&key, ours, VALUE));
            ours = set.expect("the only writer");
        },
        || {
            let set = runtime.block_on(raw.update("set.theirs", VALUE.into(), theirs));
            theirs = set.expect("the only writer");
        },
    );
    Ok(())
}

fn create(
    suite: &mut Suite,
    runtime: &Runtime,
    store: &NatsStore,
    raw: &kv::Store,
) -> anyhow::Result<()> {
    let number = Cell::new(0_u64);
    let next = || number.replace(number.get() + 1);
    suite.time(
        "registry_create",
        Some(OPERATION_GOAL),
        1,
        || {
            let key = Key::new(format!("create/{}", next())).expect("a key");
            let created = runtime.block_on(store.create(&key, VALUE));
            black_box(created.expect("a new key"));
        },
        || {
            let created = runtime.block_on(raw.create(format!("create.{}", next()), VALUE.into()));
            black_box(created.expect("a new key"));
        },
    );
    Ok(())
}

/// How many writers change one key.
const WRITERS: usize = 8;

/// The rate of all of them, of that of one alone.
const CONTENDED_GOAL: f64 = 0.25;

/// For how long each side of a round is counted.
const WHILE: Duration = Duration::from_millis(500);

async fn records(cluster: &NatsCluster) -> anyhow::Result<Records<Count>> {
    Ok(Records::new(
        Arc::new(open(cluster).await?),
        Prefix::new("count/")?,
    ))
}

/// Counts up by each of the writers for a while. Returns how often in a second.
async fn rate(writers: &[Records<Count>]) -> anyhow::Result<f64> {
    let before = current_count(&writers[0]).await?;
    let began_at = Instant::now();
    let counting = writers.iter().map(|writer| async move {
        let mut counted = 0;
        while began_at.elapsed() < WHILE {
            writer.update("a", |found| Ok(found.next())).await?;
            counted += 1;
        }
        Ok::<u64, anyhow::Error>(counted)
    });
    let counted: u64 = try_join_all(counting).await?.into_iter().sum();
    let took = began_at.elapsed();
    let after = current_count(&writers[0]).await?;
    anyhow::ensure!(
        after == before + counted,
        "changes were lost: {counted} were confirmed, {} are there",
        after - before
    );
    Ok(counted as f64 / took.as_secs_f64())
}

async fn current_count(records: &Records<Count>) -> anyhow::Result<u64> {
    let found = records.get("a").await?.context("the count is there")?;
    Ok(found.value.count)
}

/// Eight writers with a connection each, against one of them alone. No change may be lost.
fn contend(suite: &mut Suite, runtime: &Runtime, cluster: &NatsCluster) -> anyhow::Result<()> {
    let writers = runtime.block_on(async {
        let writers = try_join_all((0..WRITERS).map(|_| records(cluster))).await?;
        writers[0].create("a", Count::default()).await?;
        Ok::<_, anyhow::Error>(writers)
    })?;
    suite.rates("eight_writers", CONTENDED_GOAL, || {
        let measured = runtime.block_on(async {
            Ok::<_, anyhow::Error>([rate(&writers).await?, rate(&writers[..1]).await?])
        });
        measured.expect("every change is confirmed and kept")
    });
    Ok(())
}
