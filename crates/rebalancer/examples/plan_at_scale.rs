//! Plans for many shards on many nodes, in absolute times; for a million on a thousand:
//! `cargo run --release -p shardwright-rebalancer --example plan_at_scale 1000000 1000`.
#![expect(clippy::print_stdout, reason = "it shows what it measured")]

use std::{env, error::Error, time::Instant};

use shardwright_rebalancer::{
    Cluster, Execution, Load, LoadPolicy, MapRevision, Node, Partition, PartitionId, Plan, Policy,
    Rebalancer, StalePlan,
    execution::{Action, Event, Pace},
    topology::{NodeId, ShardId, Timestamp},
};

/// How many there are unless the arguments say otherwise.
const SHARDS: u32 = 2_000;
const NODES: u32 = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = env::args().skip(1);
    let mut number = |default| {
        numbers
            .next()
            .map_or(Ok(default), |text| text.parse::<u32>())
    };
    let (shards, nodes) = (number(SHARDS)?, number(NODES)?);
    let mut cluster = Cluster::new();
    add_nodes(&mut cluster, 0..nodes)?;
    for number in 0..shards {
        let measured = load(number);
        let partition = Partition {
            measured: Some(measured),
            ..Partition::new(1)
        };
        cluster.set_partition(PartitionId::from(ShardId::numbered(number)), partition);
    }
    let plan = timed("first placement", &cluster);
    carry_out(&cluster)?;
    cluster.apply_all(&plan)?;
    timed("at rest", &cluster);

    add_nodes(&mut cluster, nodes..nodes + 10)?;
    let plan = timed("ten nodes more", &cluster);
    cluster.apply_all(&plan)?;
    timed("at rest", &cluster);
    Ok(())
}

/// Loads as different as those of tenants are: most are small.
fn load(number: u32) -> Load {
    let mixed = u64::from(number.wrapping_mul(2_654_435_761) >> 12);
    Load {
        bytes: 1_000_000 + (1 << 34) / (mixed + 1),
        requests: mixed % 97,
        ..Load::default()
    }
}

fn add_nodes(cluster: &mut Cluster, numbers: std::ops::Range<u32>) -> Result<(), Box<dyn Error>> {
    for number in numbers {
        cluster.set_node(Node::new(NodeId::new(format!("node-{number}"))?));
    }
    Ok(())
}

/// Proposes the same, and says of each move at once that it has ended.
fn carry_out(cluster: &Cluster) -> Result<(), StalePlan> {
    let (now, revision) = (Timestamp::default(), MapRevision(1));
    let proposal = Rebalancer::new(LoadPolicy::default()).propose(revision, cluster);
    let mut actions = Vec::new();
    let begin = clock();
    let pace = Pace::default();
    let mut execution = Execution::begin(now, &proposal, cluster, revision, pace, &mut actions)?;
    while let Some(action) = actions.pop() {
        if let Action::Start { id, .. } = action {
            execution.handle(now, Event::Ended { id }, &mut actions);
        }
    }
    let (ended, took) = (execution.progress().ended, begin.elapsed().as_secs_f64());
    println!("carrying it out: {ended} moves, {took:.2} s");
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "it measures, and decides nothing by what it measured"
)]
fn clock() -> Instant {
    Instant::now()
}

fn timed(what: &str, cluster: &Cluster) -> Plan {
    let begin = clock();
    let plan = LoadPolicy::default().plan(cluster);
    let took = begin.elapsed().as_secs_f64();
    println!("{what}: {} moves, {took:.2} s", plan.moves.len());
    plan
}
