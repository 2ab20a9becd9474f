//! Routing: local work, look-ups and changes among 100,000 shards, and calls against the bare protocols that carry them.

use std::{hint::black_box, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::join_all};
use shardwright_registry::{MemoryStore, Registry, Stored};
use shardwright_router::{
    BoxError, Router, Settings, Transport,
    transport::{
        http::{Http, HttpOptions, ServerOptions, listen, routes},
        nats::{Nats, NatsOptions},
    },
};
use shardwright_testkit::nats::{NatsCluster, current};
use shardwright_topology::{
    ConfigId, Epoch, Incarnation, KeyspaceName, NodeId, Position, Primary, Proposal, ReplicaId,
    ShardId, ShardMap, ShardMapChange, ShardRecord,
};
use tokio::runtime::Runtime;

use crate::harness::Suite;

const SHARDS: u32 = 100_000;
const NODES: u32 = 1_000;
const LOOK_UPS: usize = 1 << 14;

/// What a look-up among all shards may take, in nanoseconds.
const LOOK_UP_NS: f64 = 50.0;
/// What a router may take to change one shard, in nanoseconds.
const UPDATE_NS: f64 = 20_000.0;

/// What a call may take, of what the bare protocol takes.
const CALL_GOAL: f64 = 1.25;

/// The bytes of a call, and of its answer.
const PAYLOAD: &[u8] = &[7; 100];
/// How many calls are under way in the cases with several.
const PARALLEL: usize = 32;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    local(suite)?;
    maps(suite)?;
    follow(suite)?;
    let runtime = Runtime::new()?;
    http(suite, &runtime)?;
    nats(suite, &runtime)
}

fn node(number: u32) -> anyhow::Result<NodeId> {
    Ok(NodeId::new(format!("node-{number}"))?)
}

/// A closure under a guard, against the closure.
fn local(suite: &mut Suite) -> anyhow::Result<()> {
    let router = Router::local(node(0)?);
    for shard in 0..100 {
        router.set_owner(&ShardId::numbered(shard), Some(node(0)?), Epoch(1));
    }
    let shard = ShardId::numbered(42);
    let work = async |value: u64| black_box(value) + 1;
    suite.time(
        "local_execute",
        None,
        1,
        || {
            let run = router.execute(black_box(&shard), async |_| work(1).await);
            black_box(run.now_or_never());
        },
        || {
            black_box(work(1).now_or_never());
        },
    );
    Ok(())
}

fn owned(record: ShardRecord, epoch: u64, owner: u32) -> anyhow::Result<ShardRecord> {
    let primary = Primary {
        node: node(owner)?,
        incarnation: Incarnation(1),
    };
    let ids = (ConfigId::from_bits(epoch.into()), ReplicaId::from_bits(1));
    let proposal = Proposal::single(ids.0, primary, ids.1);
    Ok(ShardRecord {
        epoch: Epoch(epoch),
        active: Some(proposal.at(Epoch(epoch))),
        ..record
    })
}

fn map() -> anyhow::Result<ShardMap> {
    let records: Vec<ShardRecord> = ShardRecord::even(&KeyspaceName::main(), SHARDS)
        .zip(0..)
        .map(|(record, number)| owned(record, 1, number % NODES))
        .collect::<anyhow::Result<_>>()?;
    Ok(ShardMap::new(KeyspaceName::main(), 1, records, [])?)
}

fn maps(suite: &mut Suite) -> anyhow::Result<()> {
    let map = Arc::new(map()?);
    let router = Router::local(node(0)?);
    router.set_map(Arc::clone(&map));
    let positions: Vec<Position> = (0..LOOK_UPS)
        .map(|number| Position::fast_of(number.to_le_bytes()))
        .collect();
    let each = |look_up: &dyn Fn(Position)| {
        for position in &positions {
            look_up(black_box(*position));
        }
    };
    suite.time_within("map_lookup", LOOK_UP_NS, LOOK_UPS, || {
        each(&|position| {
            black_box(map.at(position).primary());
        });
    });
    suite.time_within("route_lookup", LOOK_UP_NS, LOOK_UPS, || {
        each(&|position| {
            let look = |shard: &ShardId, owner: &NodeId, epoch| {
                black_box((shard, owner, epoch));
            };
            black_box(router.with_route_at(position, look).ok());
        });
    });

    let mut map = map;
    let mut epoch = 1;
    suite.time_within("map_update", UPDATE_NS, 1, || {
        epoch += 1;
        let place = epoch as usize * 7919 % SHARDS as usize;
        let record = map.shards()[place].record().clone();
        let owner = (epoch % u64::from(NODES)) as u32;
        let next = owned(record, epoch, owner)
            .ok()
            .and_then(|record| map.apply(ShardMapChange::Update { record }).ok());
        map = Arc::new(next.expect("a later epoch of a shard that exists"));
        assert!(router.set_map(Arc::clone(&map)), "a newer map is taken");
    });
    Ok(())
}

/// What a store in memory does at once.
const AT_ONCE: &str = "a store in memory answers at once";

/// A store with all shards, and a writer that gives one after the other to another node.
struct Owners {
    registry: Registry,
    records: Vec<Stored<ShardRecord>>,
    epoch: u64,
}

impl Owners {
    fn new() -> anyhow::Result<Self> {
        let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
        let shards = registry.shards();
        let mut records = Vec::new();
        for shard in map()?.shards() {
            let record = shard.record().clone();
            let created = shards.create(shard.id().as_str(), record).now_or_never();
            records.push(created.expect(AT_ONCE)?);
        }
        Ok(Self {
            registry,
            records,
            epoch: 1,
        })
    }

    fn change_one(&mut self) {
        self.epoch += 1;
        let record = &mut self.records[self.epoch as usize * 7919 % SHARDS as usize];
        let owner = (self.epoch % u64::from(NODES)) as u32;
        let next = owned(record.value.clone(), self.epoch, owner).expect("a node has a name");
        let shards = self.registry.shards();
        let written = shards.replace(record, next).now_or_never();
        *record = written.expect(AT_ONCE).expect("nobody else writes");
    }
}

/// A change of one shard from the write in a store to the router, by the watch, against the write.
fn follow(suite: &mut Suite) -> anyhow::Result<()> {
    let (mut followed, mut alone) = (Owners::new()?, Owners::new()?);
    let mut maps = followed.registry.watch_map();
    let mut next = || maps.next().now_or_never().flatten().expect(AT_ONCE);
    let router = Router::local(node(0)?);
    router.set_map(next()?);
    let follow = || {
        followed.change_one();
        let map = next().expect("a map");
        assert!(router.set_map(map), "a newer map is taken");
    };
    suite.time("map_follow", None, 1, follow, || alone.change_one());
    Ok(())
}

/// A router that calls shard 0 of another one by a transport.
fn caller(transport: Arc<dyn Transport>, address: &str) -> anyhow::Result<Router> {
    let router = Router::new(node(0)?, transport, Settings::default());
    router.set_address(&node(1)?, Some(address));
    router.set_owner(&ShardId::numbered(0), Some(node(1)?), Epoch(1));
    Ok(router)
}

/// A router that owns shard 0 and echoes.
fn owner(transport: Arc<dyn Transport>) -> anyhow::Result<Router> {
    let router = Router::new(node(1)?, transport, Settings::default());
    router.set_owner(&ShardId::numbered(0), Some(node(1)?), Epoch(1));
    router.handle("echo", async |call| Ok::<_, BoxError>(call.payload));
    Ok(router)
}

async fn call(router: &Router, shard: &ShardId) {
    let answer = router.call(shard, "echo", PAYLOAD).await;
    assert_eq!(answer.expect("an answer"), PAYLOAD);
}

/// Measures one call at a time, and several.
fn calls(
    suite: &mut Suite,
    [one, several]: [(&'static str, Option<f64>); 2],
    runtime: &Runtime,
    ours: impl AsyncFn(),
    bare: impl AsyncFn(),
) {
    suite.time(
        one.0,
        one.1,
        1,
        || runtime.block_on(ours()),
        || runtime.block_on(bare()),
    );
    suite.time(
        several.0,
        several.1,
        PARALLEL,
        || {
            runtime.block_on(join_all((0..PARALLEL).map(|_| ours())));
        },
        || {
            runtime.block_on(join_all((0..PARALLEL).map(|_| bare())));
        },
    );
}

/// Against an echo in axum, asked through the same kind of client.
fn http(suite: &mut Suite, runtime: &Runtime) -> anyhow::Result<()> {
    let options = HttpOptions::default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .build()?;
    let transport = Arc::new(Http::with_client(client.clone(), &options));
    let owner = owner(transport.clone())?;
    let echo = axum::routing::post(async |body: Bytes| body);
    let app = routes(owner, ServerOptions::default()).route("/echo", echo);
    let server = runtime.block_on(listen("127.0.0.1:0", app, &ServerOptions::default()))?;
    let caller = caller(transport, &server.url())?;
    let shard = ShardId::numbered(0);
    let url = reqwest::Url::parse(&format!("{}/echo", server.url()))?;
    calls(
        suite,
        [
            ("call_http", Some(CALL_GOAL)),
            ("call_http_32", Some(CALL_GOAL)),
        ],
        runtime,
        async || call(&caller, &shard).await,
        async || {
            let response = client.post(url.clone()).body(PAYLOAD).send().await;
            let answer = response.expect("a response").bytes().await;
            assert_eq!(answer.expect("an answer"), PAYLOAD);
        },
    );
    runtime.block_on(server.shut_down());
    Ok(())
}

/// Against a subscriber that sends back what it is sent, on the same server.
fn nats(suite: &mut Suite, runtime: &Runtime) -> anyhow::Result<()> {
    let server = current().context("find a nats-server: name one in NATS_SERVER")?;
    let cluster = NatsCluster::start(&server, 1);
    let url = cluster.url();
    let (caller, listener, client, echo) = runtime.block_on(async {
        let connect = async || Nats::connect(&NatsOptions::new(&url)).await;
        let (near, far) = (connect().await?, connect().await?);
        let listener = far.listen(owner(Arc::new(far.clone()))?).await?;
        let caller = caller(Arc::new(near), "nats")?;

        let (near, far) = (
            async_nats::connect(&url).await?,
            async_nats::connect(&url).await?,
        );
        let mut subscription = far.subscribe("echo").await?;
        let echo = tokio::spawn(async move {
            while let Some(message) = subscription.next().await {
                let Some(reply) = message.reply else { continue };
                if far.publish(reply, message.payload).await.is_err() {
                    return;
                }
            }
        });
        while near.request("echo", PAYLOAD.into()).await.is_err() {
            tokio::task::yield_now().await;
        }
        Ok::<_, anyhow::Error>((caller, listener, near, echo))
    })?;
    let shard = ShardId::numbered(0);
    calls(
        suite,
        // The bare echo answers one request after the other in one task, and calls run at once: a comparison without a goal.
        [("call_nats", Some(CALL_GOAL)), ("call_nats_32", None)],
        runtime,
        async || call(&caller, &shard).await,
        async || {
            let answer = client.request("echo", PAYLOAD.into()).await;
            assert_eq!(answer.expect("an answer").payload, PAYLOAD);
        },
    );
    echo.abort();
    runtime.block_on(listener.shut_down());
    Ok(())
}
