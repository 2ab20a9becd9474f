//! Writers that try each value until it is acknowledged, wherever the primary is.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shardwright_quorum::log::{ClientId, Level};
use shardwright_server::shard::{Identity, Write, WriteError};
use shardwright_store::Error as StoreError;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, insert, wait};

pub(crate) struct Writers {
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    stops: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Writers {
    pub(crate) fn start(cluster: &Cluster, count: u8) -> Self {
        let mut writers = Self {
            acknowledged: Arc::default(),
            stops: Arc::default(),
            tasks: JoinSet::new(),
        };
        for writer in 0..count {
            let (cluster, stops) = (cluster.clone(), Arc::clone(&writers.stops));
            let acknowledged = Arc::clone(&writers.acknowledged);
            writers.tasks.spawn(async move {
                for sequence in 0.. {
                    if stops.load(Ordering::Relaxed) {
                        return;
                    }
                    let value = format!("{writer} {sequence}");
                    let identity = Identity {
                        client: ClientId([writer; 16]),
                        sequence,
                    };
                    write(&cluster, &value, identity).await;
                    acknowledged.lock().expect("values").insert(value);
                }
            });
        }
        writers
    }

    /// Waits until so many values are acknowledged.
    pub(crate) async fn at_least(&self, count: usize) {
        let come = async || (count <= self.count()).then_some(());
        wait("acknowledged writes", come).await;
    }

    pub(crate) fn count(&self) -> usize {
        self.acknowledged.lock().expect("values").len()
    }

    /// Lets them end with the values that they have begun.
    pub(crate) async fn stop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
    }

    /// Checks that every copy holds what was acknowledged, each value once, and nothing else.
    pub(crate) async fn check(&self, cluster: &Cluster) {
        let acknowledged = self.acknowledged.lock().expect("values").clone();
        for name in cluster.names() {
            let file = cluster.file(&name).await.expect("it is open");
            let mut found = Vec::new();
            let mut reader = file.reader().expect("a reader");
            let read = reader.query("SELECT value FROM written", (), |row| {
                found.extend(row.get(0).as_str().map(str::to_owned));
                ControlFlow::<()>::Continue(())
            });
            let _ = read.expect("it can be read");
            assert_eq!(found.len(), acknowledged.len(), "{name}");
            assert_eq!(
                found.into_iter().collect::<BTreeSet<_>>(),
                acknowledged,
                "{name}"
            );
        }
    }
}

/// Writes a value, again until it is acknowledged.
async fn write(cluster: &Cluster, value: &str, identity: Identity) {
    loop {
        let write = Write::new(insert(value)).identified(identity, Vec::new());
        let write = write.until(Level::Quorum, Duration::from_secs(5));
        match cluster.primary().await.write(write).await {
            Ok(_) => return,
            // Another one becomes the primary.
            Err(WriteError::Refused(error)) if matches!(*error, StoreError::Full { .. }) => {}
            Err(
                error @ (WriteError::Refused(_)
                | WriteError::TooLarge { .. }
                | WriteError::Forgotten),
            ) => panic!("{value}: {error}"),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
