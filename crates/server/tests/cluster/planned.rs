//! Planned changes of the primary, and what they cost a writer.

use std::time::Duration;

use shardwright_quorum::log::{ClientId, Level};
use shardwright_registry::Clock;
use shardwright_server::shard::{Identity, Write, WriteError};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    cluster::{Cluster, count, insert, wait},
    copies::another,
};

/// A machine that does a lot else may take so much longer than the 100 ms that are aimed at. What was measured is printed.
const GAP_MAX: Duration = Duration::from_secs(5);

/// How soon a client tries again that found no primary.
const AGAIN: Duration = Duration::from_millis(2);

/// One client that writes one value after the other, and notes how long it waits for an acknowledgement.
struct Steady {
    progress: watch::Receiver<Progress>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    written: u64,
    /// From one acknowledgement to the next, at most.
    gap: Duration,
}

impl Steady {
    fn start(cluster: &Cluster) -> Self {
        let (told, progress) = watch::channel(Progress::default());
        let (stop, stopped) = watch::channel(false);
        let cluster = cluster.clone();
        let task = tokio::spawn(async move {
            let clock = Clock::start();
            let mut last = clock.now();
            for sequence in 0.. {
                if *stopped.borrow() {
                    return;
                }
                write(&cluster, sequence).await;
                let now = clock.now();
                told.send_modify(|progress| {
                    progress.written += 1;
                    progress.gap = progress.gap.max(now.since(last));
                });
                last = now;
            }
        });
        Self {
            progress,
            stop,
            task,
        }
    }

    async fn more(&mut self, count: u64) {
        let aim = self.progress.borrow().written + count;
        let come = self.progress.wait_for(|progress| progress.written >= aim);
        let come = tokio::time::timeout(crate::cluster::PATIENCE, come).await;
        come.expect("soon").expect("it writes");
    }

    /// Stops it, and returns how many values it has written, and the longest gap.
    async fn end(self) -> Progress {
        self.stop.send_replace(true);
        self.task.await.expect("no panic");
        *self.progress.borrow()
    }
}

/// Writes a value wherever the primary is, until it is acknowledged.
async fn write(cluster: &Cluster, sequence: u64) {
    let client = ClientId([7; 16]);
    let identity = Identity { client, sequence };
    let mut names = cluster.names().into_iter().cycle();
    loop {
        let Some(shard) = names.next().and_then(|name| cluster.shard(&name)) else {
            names = cluster.names().into_iter().cycle();
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let write = Write::new(insert(&format!("value {sequence}")));
        let write = write.identified(identity, Vec::new());
        let write = write.until(Level::Quorum, Duration::from_secs(2));
        match shard.write(write).await {
            Ok(_) => return,
            Err(WriteError::Refused(error)) => panic!("{sequence}: {error}"),
            Err(WriteError::NotPrimary { .. }) => tokio::time::sleep(AGAIN).await,
            Err(_) => {}
        }
    }
}

#[expect(clippy::print_stdout, reason = "a test says what it measured")]
fn print(what: &str, progress: Progress) {
    println!(
        "{what}: {} writes, the longest gap is {:?}",
        progress.written, progress.gap
    );
    assert!(progress.gap < GAP_MAX, "{what}: {progress:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_hand_over_costs_a_writer_little() {
    let cluster = Cluster::start(3).await;
    for round in 0..5 {
        let mut steady = Steady::start(&cluster);
        steady.more(50).await;
        let next = another(&cluster).await;
        cluster.hand_over(&next).await;
        steady.more(50).await;
        print(&format!("hand-over {round}"), steady.end().await);
    }
    cluster.until_equal().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_hands_its_primaries_over_first() {
    let cluster = Cluster::start(3).await;
    let mut steady = Steady::start(&cluster);
    steady.more(50).await;
    let leaving = cluster.primary_name().await;
    cluster.leave(&leaving).await;
    assert_ne!(cluster.primary_name().await, leaving);
    steady.more(50).await;
    cluster.shut_down(&leaving).await;
    steady.more(50).await;
    let progress = steady.end().await;
    print("a node that leaves", progress);
    cluster.restart(&leaving).await;
    wait("the copy that was away", async || {
        let file = cluster.file(&leaving).await?;
        (count(&file) == progress.written).then_some(())
    })
    .await;
    cluster.until_equal().await;
    cluster.stop().await;
}
