//! Talks to coordinators: registers, and says good-bye.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::AUTHORIZATION;
use serde::{Serialize, de::DeserializeOwned};
use shardwright_registry::Addresses;
use shardwright_topology::Incarnation;

use super::builder::WorkerBuilder;
use crate::{
    client::client,
    protocol::{LEAVE_PATH, Leave, REGISTER_PATH, Registered, VERSION},
};

/// How long a coordinator may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the coordinators are.
#[derive(Debug, Clone)]
pub(super) enum Coordinators {
    /// There.
    Named(Vec<String>),
    /// Where the registry says, or where it last said, while it is away.
    Announced {
        registry: Addresses,
        last: Arc<Mutex<Vec<String>>>,
    },
}

impl Coordinators {
    pub(super) fn announced(registry: Addresses) -> Self {
        Self::Announced {
            registry,
            last: Arc::default(),
        }
    }

    /// Returns where they are now, as far as is known.
    async fn addresses(&self) -> Vec<String> {
        let (registry, last) = match self {
            Self::Named(addresses) => return addresses.clone(),
            Self::Announced { registry, last } => (registry, last),
        };
        let found = registry.list().await;
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(found) => last.clone_from(&found),
            Err(error) => {
                tracing::debug!(%error, "the registry does not say where the coordinators are");
            }
        }
        last.clone()
    }
}

/// Reaches any of the coordinators.
#[derive(Debug, Clone)]
pub(super) struct Registrar {
    client: reqwest::Client,
    worker: WorkerBuilder,
}

impl Registrar {
    pub(super) fn new(worker: WorkerBuilder) -> Self {
        Self {
            client: client(),
            worker,
        }
    }

    /// Registers at the first coordinator that answers, and tries until one does.
    pub(super) async fn register(&self) -> Registered {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(1))
            .with_jitter()
            .without_max_times();
        let attempt = || self.ask(REGISTER_PATH, &self.worker.register);
        loop {
            let registered: Option<Registered> = attempt.retry(backoff).await.ok();
            if let Some(registered) = registered.filter(|answer| answer.version == VERSION) {
                return registered;
            }
        }
    }

    /// Says that the worker leaves, or has left. Nobody waits for it for ever: its lease ends by itself.
    pub(super) async fn leave(&self, incarnation: Incarnation, gone: bool) -> bool {
        let leave = Leave {
            version: VERSION,
            id: self.worker.register.id.clone(),
            incarnation,
            gone,
        };
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_times(4);
        let attempt = || self.ask::<serde_json::Value>(LEAVE_PATH, &leave);
        attempt.retry(backoff).await.is_ok()
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, String> {
        let mut last = "there is no coordinator to ask".to_owned();
        for address in self.worker.coordinators.addresses().await {
            let url = format!("{}{path}", address.trim_end_matches('/'));
            let mut request = self.client.post(url).timeout(ANSWER).json(body);
            if let Some(token) = &self.worker.token {
                request = request.header(AUTHORIZATION, token.header());
            }
            let answer = async { request.send().await?.error_for_status()?.json().await };
            match answer.await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error.to_string(),
            }
        }
        tracing::debug!(error = last, "no coordinator answered");
        Err(last)
    }
}
