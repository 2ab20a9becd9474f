//! The engine of a gateway, once there is a keyspace.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use shardwright_http::{Token, reqwest::Client};
use shardwright_registry::{Clock, Registry};
use shardwright_router::Router;
use shardwright_sql::{Limits, Options, ShardedDatabase};
use shardwright_topology::Backoff;
use tokio::{
    runtime::Handle,
    sync::{Mutex, Notify, watch},
    task::{JoinSet, spawn_blocking},
};

use super::{
    cluster::{Cluster, Names},
    host::Host,
    view::View,
    writer,
};

/// How long the engine itself waits for a shard, for what is of no statement.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far a statement may go that gathers rows of several shards: they are all in the memory of one node.
const LIMITS: Limits = Limits {
    rows: 10_000_000,
    bytes: 1 << 30,
    time: Duration::from_secs(300),
};

/// The waits until the registry is asked again.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What an engine is made of.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) registry: Registry,
    pub(super) router: Router,
    pub(super) host: Host,
    pub(super) client: Client,
    pub(super) token: Option<Token>,
    pub(super) runtime: Handle,
    /// Closed when the gateway is over.
    pub(super) over: watch::Receiver<()>,
    pub(super) clock: Clock,
}

/// The engine over the shards of one layout. Where some are split or merged, there is another one of these for the next layout, which has
/// the locks of a database in common with it.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub(super) database: ShardedDatabase,
    pub(super) cluster: Arc<Cluster>,
    /// The epoch at which this node is the keyspace's writer, while it is.
    pub(super) writer: watch::Receiver<Option<u64>>,
    /// Wakes the writer's part, when something is left to finish or to withdraw.
    pub(super) unfinished: Arc<Notify>,
    looks: Arc<Looks>,
}

/// The looks for a newer schema, of which there is one at a time.
#[derive(Debug, Default)]
struct Looks {
    turn: Arc<Mutex<()>>,
    begun: AtomicU64,
}

impl Engine {
    /// Looks for a newer schema, together with all who ask meanwhile: the registry may be slow, or away. Returns whether there is one since.
    pub(super) async fn refresh(&self, within: Duration) -> bool {
        let before = self.database.broadcast_number();
        let begun = self.looks.begun.load(Ordering::Acquire);
        let looking = tokio::time::timeout(within, self.look(begun)).await;
        if looking.is_err() {
            tracing::debug!("the registry did not say in time whether the schema has changed");
        }
        self.database.broadcast_number() > before
    }

    /// Whether this is the engine over the same shards.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cluster, &other.cluster)
    }

    /// Returns the engine over other shards.
    fn over(&self, names: Names) -> Result<Self, shardwright_sql::Error> {
        let map = Arc::clone(names.map());
        let cluster = Arc::new(self.cluster.with_names(names));
        let places = Arc::new(View::of_engine(Arc::clone(&cluster), PATIENCE));
        let database = self.database.with_map(map, places)?;
        Ok(Self {
            database,
            cluster,
            writer: self.writer.clone(),
            unfinished: Arc::clone(&self.unfinished),
            looks: Arc::default(),
        })
    }

    /// Looks, unless somebody has begun to since that many.
    async fn look(&self, begun: u64) {
        let turn = Arc::clone(&self.looks.turn).lock_owned().await;
        if self.looks.begun.load(Ordering::Acquire) > begun {
            return;
        }
        self.looks.begun.fetch_add(1, Ordering::AcqRel);
        let database = self.database.clone();
        // It goes on when nobody waits for it any more, and the next one only after it.
        let refreshing = spawn_blocking(move || {
            let _turn = turn;
            database.refresh()
        });
        if let Ok(Err(error)) = refreshing.await {
            tracing::debug!(%error, "the registry does not say whether the schema has changed");
        }
    }
}

/// The engine of now, when there is one.
pub(super) type Present = watch::Receiver<Option<Engine>>;

/// The engine, when there is one.
#[derive(Debug)]
pub(super) struct Engines {
    host: Host,
    present: Present,
}

impl Engines {
    /// Opens the engine as soon as the keyspace is there, and takes the writer's part whenever it falls to this node.
    pub(super) fn start(parts: Parts, tasks: &mut JoinSet<()>) -> Self {
        let (opened, present) = watch::channel(None);
        let host = parts.host.clone();
        tasks.spawn(async move {
            let (engine, role) = open(parts).await;
            opened.send_replace(Some(engine.clone()));
            let present = opened.subscribe();
            tokio::join!(
                writer::keep(engine.clone(), present, role),
                follow(engine, &opened)
            );
        });
        Self { host, present }
    }

    /// Returns the engine of each moment.
    pub(super) fn present(&self) -> Present {
        self.present.clone()
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Waits for the engine; `None` if it has not come in that time.
    pub(super) async fn get(&self, within: Duration) -> Option<Engine> {
        let mut present = self.present.clone();
        let coming = present.wait_for(Option::is_some);
        let come = tokio::time::timeout(within, coming).await.ok()?.ok()?;
        come.clone()
    }

    /// Waits until there is an engine over other shards than one has.
    pub(super) async fn until_other_than(&self, engine: &Engine) {
        let mut present = self.present.clone();
        let is_other = |now: &Option<Engine>| now.as_ref().is_some_and(|now| !now.is(engine));
        if present.wait_for(is_other).await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether an engine is over the shards of now.
    pub(super) fn is_present(&self, engine: &Engine) -> bool {
        let present = self.present.borrow();
        present.as_ref().is_some_and(|now| now.is(engine))
    }
}

/// Opens the engine, once the registry has the keyspace.
async fn open(parts: Parts) -> (Engine, watch::Sender<Option<u64>>) {
    let mut changes = parts.router.changes();
    let mut waits = Backoff::new(WAITS.0, WAITS.1, rand::random());
    let (role, writer) = watch::channel(None);
    loop {
        let names = parts.router.map().and_then(|map| Names::of(&map));
        let Some(names) = names else {
            // The router outlives this.
            let _changed = changes.changed().await;
            continue;
        };
        let cluster = Arc::new(Cluster {
            host: parts.host.clone(),
            router: parts.router.clone(),
            client: parts.client.clone(),
            token: parts.token.clone(),
            runtime: parts.runtime.clone(),
            over: parts.over.clone(),
            clock: parts.clock,
            names,
            claimed: Arc::default(),
        });
        let places = Arc::new(View::of_engine(Arc::clone(&cluster), PATIENCE));
        let registry = parts.registry.clone();
        let options = Options {
            limits: LIMITS,
            ..Options::default()
        };
        let joining =
            spawn_blocking(move || ShardedDatabase::join(places, registry, &options)).await;
        match joining {
            Ok(Ok(database)) => {
                let engine = Engine {
                    database,
                    cluster,
                    writer,
                    looks: Arc::default(),
                    unfinished: Arc::default(),
                };
                return (engine, role);
            }
            Ok(Err(error)) => tracing::warn!(%error, "the keyspace cannot be opened yet"),
            Err(error) => tracing::error!(%error, "opening the keyspace failed"),
        }
        tokio::time::sleep(waits.next().unwrap_or(WAITS.1)).await;
    }
}

/// Goes over to the shards of now whenever the map shows other ones.
async fn follow(mut engine: Engine, present: &watch::Sender<Option<Engine>>) {
    let router = engine.cluster.router.clone();
    let mut changes = router.changes();
    loop {
        let map = router.map();
        let map = map.filter(|map| !engine.cluster.names.are_of(map));
        if let Some(names) = map.and_then(|map| Names::of(&map)) {
            match engine.over(names) {
                Ok(next) => {
                    tracing::info!(
                        shards = next.cluster.names.count(),
                        "the shards are others now"
                    );
                    present.send_replace(Some(next.clone()));
                    engine = next;
                }
                Err(error) => {
                    tracing::error!(%error, "the engine does not go over to other shards");
                    tokio::time::sleep(WAITS.1).await;
                    continue;
                }
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
