//! What shards cost that nobody uses: a node in a process of its own, with a thousand shards of one copy and without any.
//!
//! The registry is a file, and there is no coordinator: what is measured is the node alone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use rustix::{
    process::{Resource, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use shardwright_quorum::topology::{KeyspaceName, Member, NodeId, ShardId};
use shardwright_rebalancer::PartitionId;
use shardwright_registry::{Registry, SqliteStore};
use shardwright_server::{Node, NodeOptions};
use tokio::{runtime::Builder, time::sleep};

use crate::{
    copies::{begin, until},
    harness::{Better, Suite},
    subprocess::Subprocess,
};

/// What is measured.
pub(super) const CASES: [&str; 2] = ["idle_shard_memory", "idle_shard_cpu"];

/// Tells a process to run a node: the number of its shards, and the directory.
const VARIABLE: &str = "SHARDWRIGHT_BENCH_IDLE";

/// How many shards the node has.
const SHARDS: u32 = 1_000;

/// For how long a node is left alone before it is measured, and then again.
const QUIET: Duration = Duration::from_secs(5);

/// What tells how much memory a process has; only some systems have it.
const STATUS: &str = "/proc/self/status";

/// What a process takes.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Memory, in bytes.
    memory: f64,
    /// Time of processors, in microseconds for each second.
    cpu: f64,
}

impl Cost {
    /// Measures a node in a process of its own.
    fn of(shards: u32, directory: &Path) -> anyhow::Result<Self> {
        let (_node, line) =
            Subprocess::start(VARIABLE, format!("{shards} {}", directory.display()))?;
        let (memory, cpu) = line
            .split_once(' ')
            .context("a node could not be measured")?;
        Ok(Self {
            memory: memory.parse()?,
            cpu: cpu.parse()?,
        })
    }
}

/// Measures what a shard adds to a node.
pub(super) fn run(suite: &mut Suite, directory: &Path) -> anyhow::Result<()> {
    if !Path::new(STATUS).exists() {
        return Ok(());
    }
    let without = Cost::of(0, &directory.join("without"))?;
    let with = Cost::of(SHARDS, &directory.join("with"))?;
    let each = |with: f64, without: f64| (with - without) / f64::from(SHARDS);
    let memory = each(with.memory, without.memory);
    let cpu = each(with.cpu, without.cpu);
    let plain = (None, Better::Lower);
    suite.figure(CASES[0], "B", plain, memory, 1.0);
    suite.figure(CASES[1], "us/s", plain, cpu, 1.0);
    Ok(())
}

/// Runs and measures a node, if this process is to do so, until it is killed.
pub(super) fn hold() -> Option<anyhow::Result<()>> {
    let place = env::var(VARIABLE).ok()?;
    let hold = || {
        let (shards, directory) = place.split_once(' ').context("two words")?;
        let (shards, directory) = (shards.parse()?, PathBuf::from(directory));
        // A shard has several files open.
        let mut files = getrlimit(Resource::Nofile);
        files.current = files.maximum;
        setrlimit(Resource::Nofile, files)?;
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(measure(shards, &directory))
    };
    Some(hold())
}

#[expect(clippy::print_stdout, reason = "the figures are read there")]
async fn measure(shards: u32, directory: &Path) -> anyhow::Result<()> {
    let _node = start(shards, directory).await?;
    sleep(QUIET).await;
    let before = cpu();
    sleep(QUIET).await;
    let cpu = (cpu() - before).as_secs_f64() * 1e6 / QUIET.as_secs_f64();
    println!("{} {cpu}", memory()?);
    std::future::pending().await
}

/// Starts a node whose shards all have their primary.
async fn start(shards: u32, directory: &Path) -> anyhow::Result<Node> {
    let home = directory.join("node");
    for shard in (0..shards).map(ShardId::numbered) {
        let keyspace = home.join("shards").join(KeyspaceName::main().as_str());
        fs::create_dir_all(keyspace.join(shard.as_str()))?;
    }
    fs::create_dir_all(&home)?;
    let store = Arc::new(SqliteStore::open(directory.join("registry.db"))?);
    let registry = Registry::new(Arc::clone(&store) as _, KeyspaceName::main());
    let id = NodeId::new("n0")?;
    let options = NodeOptions::new(id.clone(), home, "http://127.0.0.1:1");
    let node = Node::start(store, options).await?;
    let mut copies = Vec::new();
    for shard in (0..shards).map(ShardId::numbered) {
        let copy = node
            .shard(&PartitionId::from(shard.clone()))
            .context("it has a copy")?;
        let status = until(copy.log(), |status| status.me.is_some()).await?;
        let primary = status.me.context("it is open")?;
        let replica_id = status.replica_id.context("it is open")?;
        let member = Member {
            node: id.clone(),
            replica_id,
        };
        begin(&registry, shard, primary, vec![member]).await?;
        copies.push(copy);
    }
    for copy in copies {
        until(copy.log(), |status| status.leads.is_some()).await?;
    }
    Ok(node)
}

/// Returns how much memory this process has, in bytes.
fn memory() -> anyhow::Result<u64> {
    let status = fs::read_to_string(STATUS)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.context("the resident memory is not told")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

/// Returns how long processors have worked for this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
