//! `pauses`: how long clients wait at most while a shard of a million rows is split, its halves are merged, and what comes of that is moved to
//! another node, in a cluster of three copies.
//!
//! Clients send each request when it is due, whatever became of those before, and a wait is counted from then on: so a stall is seen by all that
//! were due in it. They try again as the command does, and no request may fail. Each node is a process of its own; they share the processors and the
//! disk of this machine with the clients.

mod load;
mod waits;

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use shardwright_registry::Clock;
use shardwright_topology::Timestamp;
use tokio::runtime::{Builder, Runtime};

use self::{
    load::{Load, RATE, WRITERS},
    waits::{RANGES, Window, name_of},
};
use crate::{
    cluster::{Cluster, Home, Shape},
    harness::{Better, Suite, directory, median, progress},
};

/// How many rows the shard has.
pub(crate) const ROWS: u64 = 1_000_000;

/// How often each case is measured at most.
const RUNS: usize = 5;

/// How long a client may wait at most, in milliseconds.
const WAIT_MS: f64 = 100.0;

/// For how long the load goes on with nothing else: what clients wait for anyway.
const CALM: Duration = Duration::from_secs(5);

/// What is done, in this order, again and again.
const KINDS: [(&str, &str); 4] = [
    ("pause_none", "none"),
    ("pause_split", "split"),
    ("pause_merge", "merge"),
    ("pause_migrate", "migrate"),
];

/// Measures every case. They go together: what one leaves is what the next one begins with.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    if !KINDS.iter().any(|(case, _)| suite.wants(case)) {
        return Ok(());
    }
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let windows = measure(&runtime, suite.rounds().min(RUNS))?;
    for ((case, kind), windows) in KINDS.into_iter().zip(&windows) {
        let longest = median(windows.iter().map(Window::longest));
        let goal = (kind != "none").then_some(1.0);
        suite.figure(case, "ms", (goal, Better::Lower), longest, WAIT_MS);
    }
    show(&windows);
    Ok(())
}

/// Returns what was waited for, by kind, once for each run.
fn measure(runtime: &Runtime, runs: usize) -> anyhow::Result<[Vec<Window>; 4]> {
    let home = directory()?;
    let shape = Shape {
        nodes: 4,
        copies: 3,
        calm: Duration::from_secs(1),
        home: Home::Apart,
    };
    progress(&format!("writes {ROWS} rows to three nodes"));
    let cluster = runtime.block_on(async {
        let cluster = Cluster::start(home.path(), shape).await?;
        cluster.fill(ROWS).await?;
        anyhow::Ok(cluster)
    })?;
    progress(&format!(
        "{WRITERS} writers and as many readers, {RATE} requests in a second each"
    ));
    let mut windows = [const { Vec::new() }; 4];
    runtime.block_on(async {
        let load = Load::start(&cluster.urls())?;
        for run in 1..=runs {
            for ((_, kind), windows) in KINDS.into_iter().zip(&mut windows) {
                let done = carry_out(&cluster, kind, load.clock());
                let (phases, window) = load.during(done).await?;
                progress(&format!(
                    "run {run} of {runs}: {kind} {}",
                    told(&window, &phases)
                ));
                windows.push(window);
            }
        }
        load.stop().await?;
        cluster.stop().await;
        anyhow::Ok(())
    })?;
    Ok(windows)
}

/// When each phase of an operation was seen first.
type Phases = Vec<(Timestamp, String)>;

async fn carry_out(cluster: &Cluster, kind: &str, clock: Clock) -> anyhow::Result<Phases> {
    match kind {
        "none" => {
            tokio::time::sleep(CALM).await;
            Ok(Phases::new())
        }
        kind => cluster.carry_out(kind, clock).await,
    }
}

/// Says how long something took, and what the longest wait was a wait for.
fn told(window: &Window, phases: &Phases) -> String {
    let [writes, reads] = window.longest_of_each();
    let (took, longest) = (window.took.as_secs_f64(), window.longest());
    let mut told = format!(
        "took {took:.1} s, the longest wait was {longest:.1} ms (writes {writes:.1}, reads {reads:.1}), {} tries again",
        window.again
    );
    let before = |(at, _): &&(Timestamp, String)| *at <= window.worst;
    if let Some((at, phase)) = phases.iter().rev().find(before) {
        let since = window.worst.since(*at).as_secs_f64() * 1e3;
        told += &format!(", due {since:.0} ms after {phase}");
    }
    told
}

/// Prints the longest wait of each range of keys, the median of the runs, of writes and of reads.
#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn show(windows: &[Vec<Window>; 4]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut head = vec!["positions".to_owned()];
    for (_, kind) in KINDS {
        head.extend(["write", "read"].map(|of| format!("{kind}: {of} ms")));
    }
    table.set_header(head);
    for range in 0..RANGES {
        let mut row = vec![name_of(range)];
        for windows in windows {
            for of in 0..2 {
                let waits = windows.iter().map(|window| window.waits[range][of]);
                row.push(format!("{:.1}", median(waits)));
            }
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}\n");
}
