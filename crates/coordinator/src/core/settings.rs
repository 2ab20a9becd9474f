//! What a coordinator is told once.

use std::time::Duration;

use shardwright_elastic as elastic;
use shardwright_failover::replication;
use shardwright_registry::LeaseTiming;
use shardwright_topology::{Incarnation, KeyspaceName, NodeId};

use crate::balance;

/// What a coordinator is told once. All coordinators of a registry agree on the timing.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This coordinator.
    pub id: NodeId,
    /// Which process of it: no two processes of one name have the same.
    pub incarnation: Incarnation,
    /// How often workers are pinged.
    pub check_interval: Duration,
    /// The leases of workers and of the leader.
    pub timing: LeaseTiming,
    /// How many copies each partition has.
    pub replicas: u32,
    /// How many copies each shard of the keyspace `main` has.
    pub replication_factor: u32,
    /// How many shards the keyspace `main` is created with; 0 creates none.
    pub shards: u32,
    /// How long to wait for as many nodes as the replication factor before `main` is created with fewer.
    pub bootstrap_wait: Duration,
    /// How many moves may be under way at once.
    pub moves_max: usize,
    /// How shards are looked after that commit on several members.
    pub replication: Replication,
    /// How splits and merges go about their work.
    pub operations: elastic::Settings,
    /// How the shards that commit on several members are balanced.
    pub balance: balance::Settings,
}

impl Settings {
    /// The keyspace of the partitions that users name.
    #[must_use]
    pub fn partitions() -> KeyspaceName {
        KeyspaceName::new("partitions").expect("a valid name")
    }

    /// Returns the settings of a coordinator: a ping every 5 s, leases of 15 s, one copy of each partition, sources
    /// of splits removed after 5 s, and operations remembered for a day.
    #[must_use]
    pub fn new(id: NodeId, incarnation: Incarnation) -> Self {
        Self {
            id,
            incarnation,
            check_interval: Duration::from_secs(5),
            timing: Self::timing_of(Duration::from_secs(15)).expect("a valid time-out"),
            replicas: 1,
            replication_factor: 3,
            shards: 0,
            bootstrap_wait: Duration::from_secs(30),
            moves_max: 1000,
            replication: Replication::default(),
            operations: elastic::Settings {
                // Who reads from a sealed shard is refused, and asks again: a while for what is under way is enough.
                grace: Duration::from_secs(5),
                retention: Duration::from_secs(24 * 3_600),
                // Clients wait while rows are compared again.
                verify_sealed_rows: 1_000,
                ..elastic::Settings::default()
            },
            balance: balance::Settings::default(),
        }
    }

    /// Returns the timing of leases that end `heartbeat_timeout` after the last sign of life: the holder stops a tenth earlier.
    ///
    /// # Errors
    /// [`InvalidTiming`](shardwright_registry::InvalidTiming) if the time-out is 0.
    pub fn timing_of(
        heartbeat_timeout: Duration,
    ) -> Result<LeaseTiming, shardwright_registry::InvalidTiming> {
        LeaseTiming::new(heartbeat_timeout, heartbeat_timeout * 9 / 10)
    }

    /// Returns how many copies the shards of a keyspace have.
    #[must_use]
    pub fn copies(&self, keyspace: &KeyspaceName) -> u32 {
        if *keyspace == Self::partitions() {
            self.replicas
        } else {
            self.replication_factor
        }
    }
}

/// How shards are looked after that commit on several members, in settings that do not contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replication(replication::Settings);

impl Replication {
    /// Takes settings.
    ///
    /// # Errors
    /// [`InvalidSettings`](replication::InvalidSettings) if they contradict each other.
    pub fn new(settings: replication::Settings) -> Result<Self, replication::InvalidSettings> {
        settings.check()?;
        Ok(Self(settings))
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &replication::Settings {
        &self.0
    }
}
