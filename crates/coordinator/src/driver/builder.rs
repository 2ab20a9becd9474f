//! The settings of a coordinator that is to be started.

use std::sync::Arc;

use shardwright_elastic::ShardStore;
use shardwright_rebalancer::Policy;
use shardwright_registry::Store;
use shardwright_topology::{Gap, Halts};
use tokio::sync::{oneshot, watch};

use super::{Coordinator, Driver, ping::Pinger};
use crate::{
    balance::{self, Balance},
    core::Settings,
    handle::Handle,
    http::Token,
    operations::{Leading, Operations},
};

/// A coordinator that is to be started.
#[derive(Debug)]
#[must_use = "a builder does nothing before `start`"]
pub struct Builder {
    store: Arc<dyn Store>,
    settings: Settings,
    policy: Box<dyn Policy>,
    token: Option<Token>,
    shards: Option<Arc<dyn ShardStore>>,
    halts: Halts<Gap>,
}

impl Builder {
    pub(super) fn new(store: Arc<dyn Store>, settings: Settings, policy: Box<dyn Policy>) -> Self {
        Self {
            store,
            settings,
            policy,
            token: None,
            shards: None,
            halts: Halts::default(),
        }
    }

    /// Shows the cluster's token to the workers that it pings. Default none.
    pub fn token(mut self, token: Option<Token>) -> Self {
        self.token = token;
        self
    }

    /// Carries out splits and merges of the shards of the keyspace `main` while it leads, through a store that finds them on whatever nodes they
    /// are. Without one they are refused.
    pub fn elastic(mut self, shards: Arc<dyn ShardStore>) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Lets a test know of each gap between two writes of an operation that this coordinator carries out. Default nobody.
    pub fn halts(mut self, halts: Halts<Gap>) -> Self {
        self.halts = halts;
        self
    }

    /// Starts the coordinator, in the present tokio runtime.
    #[must_use]
    pub fn start(self) -> Coordinator {
        let (handle, seat) = Handle::new(self.settings.id.clone());
        let balance = Balance::new(&self.store, self.settings.balance.clone());
        let mut handle = handle.with_balance(balance.clone());
        let leading = self.shards.map(|shards| {
            let (manager, watched) = watch::channel(None);
            let leading = Leading {
                handle: handle.clone(),
                registry: self.store.clone(),
                shards,
                settings: self.settings.operations,
                policy: self.settings.balance.shards,
                halts: self.halts.clone(),
                manager,
            };
            (leading, Operations::new(watched))
        });
        let operations = leading.map(|(leading, operations)| {
            handle = handle.clone().with_operations(operations);
            tokio::spawn(leading.run())
        });
        let balancing = balance::Leading::start(handle.clone(), balance);
        let (stop, stopped) = oneshot::channel();
        let pinger = Pinger::new(self.settings.check_interval, self.token);
        let driver = Driver::new(self.store, self.settings, self.policy, pinger, seat);
        let driver = driver.halting(self.halts);
        Coordinator {
            handle,
            stop: Some(stop),
            task: tokio::spawn(driver.run(stopped)),
            operations,
            balancing,
        }
    }
}
