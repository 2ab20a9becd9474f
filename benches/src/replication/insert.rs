//! Inserts by 64 clients: on a shard of three copies, and into one file that is nowhere else.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use shardwright_quorum::{
    log::{ClientId, ShardLog, shard_log::LogOptions},
    topology::ShardId,
};
use shardwright_rebalancer::PartitionId;
use shardwright_server::{
    Shard,
    shard::{Identity, Memory, ShardOptions, Write},
};
use shardwright_store::{Config, Error as StoreError, Member, ValueRef};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use super::{
    group_commit::GroupCommit,
    rows::{BODY, CREATE, INSERT},
};
use crate::{
    copies::{Replica, ThreeCopies},
    harness::Suite,
};

/// What is measured.
pub(super) const CASES: [&str; 3] = ["insert_64", "insert_64_numbered", "insert_64_remembered"];

/// What replicated inserts are to reach of the rate of those on one node.
const GOAL: f64 = 0.25;

/// How many clients there are. Each waits for its answer before it goes on.
const CLIENTS: usize = 64;

/// How many rows a client inserts in one measurement.
const EACH: usize = 50;

/// A copy of the shard.
#[derive(Debug)]
pub(super) struct Copy(Shard);

impl Replica for Copy {
    const KIND: &'static str = "shard";

    fn start(shard: ShardId, directory: PathBuf, log: LogOptions) -> Self {
        let file = Config::default();
        let options = ShardOptions {
            log,
            memory: Memory::default(),
            file,
        };
        Self(Shard::start(PartitionId::from(shard), directory, options))
    }

    fn log(&self) -> &ShardLog {
        self.0.log()
    }
}

/// Something that 64 clients insert into.
trait Inserts: Clone + Send + 'static {
    /// Inserts a row for a client; the return is the acknowledgement.
    fn insert(&self, client: u8) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// The shard, whose clients do not number what they write.
#[derive(Debug, Clone)]
struct Replicated(Arc<ThreeCopies<Copy>>);

/// The shard, whose clients number what they write, so that each copy remembers the answers.
#[derive(Debug, Clone)]
struct Numbered {
    shard: Replicated,
    next: Arc<AtomicU64>,
    /// What the ids of the clients begin with: 255 if only the last answer to each is kept, as a gateway does it.
    prefix: u8,
}

impl Inserts for Replicated {
    async fn insert(&self, _: u8) -> anyhow::Result<()> {
        self.0.own().0.write(Write::new(insert)).await?;
        Ok(())
    }
}

impl Inserts for Numbered {
    async fn insert(&self, client: u8) -> anyhow::Result<()> {
        let mut id = [client; 16];
        id[0] = self.prefix;
        let identity = Identity {
            client: ClientId(id),
            sequence: self.next.fetch_add(1, Ordering::Relaxed),
        };
        let write = Write::new(insert).identified(identity, Vec::new());
        self.shard.0.own().0.write(write).await?;
        Ok(())
    }
}

impl Inserts for GroupCommit {
    async fn insert(&self, _: u8) -> anyhow::Result<()> {
        self.insert_row().await
    }
}

fn insert(member: &mut Member<'_>) -> Result<Vec<u8>, StoreError> {
    member.execute(INSERT, &[ValueRef::Blob(&BODY)])?;
    Ok(Vec::new())
}

/// Measures the inserts that a second has room for.
pub(super) fn run(suite: &mut Suite, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir(directory)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let baseline = GroupCommit::start(&directory.join("baseline.db"))?;
    let shard = Replicated(ThreeCopies::start(directory, &runtime)?);
    let create = |member: &mut Member<'_>| member.execute(CREATE, ()).map(|_| Vec::new());
    runtime.block_on(shard.0.own().0.write(Write::new(create)))?;
    compare(suite, &runtime, (CASES[0], Some(GOAL)), &shard, &baseline)?;
    for (case, prefix) in CASES.into_iter().skip(1).zip([255, 0]) {
        let numbered = Numbered {
            shard: shard.clone(),
            next: Arc::default(),
            prefix,
        };
        compare(suite, &runtime, (case, None), &numbered, &baseline)?;
    }
    Ok(())
}

fn compare(
    suite: &mut Suite,
    runtime: &Runtime,
    (case, goal): (&'static str, Option<f64>),
    ours: &impl Inserts,
    baseline: &impl Inserts,
) -> anyhow::Result<()> {
    if !suite.wants(case) {
        return Ok(());
    }
    // A side that cannot insert is found out before it is measured.
    insert_all(runtime, ours)?;
    insert_all(runtime, baseline)?;
    suite.throughput(
        case,
        goal,
        CLIENTS * EACH,
        || insert_all(runtime, ours).expect("it has inserted before"),
        || insert_all(runtime, baseline).expect("it has inserted before"),
    );
    Ok(())
}

/// Lets each client insert [`EACH`] rows.
fn insert_all(runtime: &Runtime, side: &impl Inserts) -> anyhow::Result<()> {
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for client in (0..).take(CLIENTS) {
            let side = side.clone();
            clients.spawn(async move {
                for _ in 0..EACH {
                    side.insert(client).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        Ok(())
    })
}
