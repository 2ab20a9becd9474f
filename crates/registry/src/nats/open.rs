//! Opening a store in NATS: the connection, and the stream of the bucket.

use std::sync::Arc;

use async_nats::connection::State;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{
    Inner, NatsStore,
    api::{Api, Failure, StreamStatus},
    layout::{Layout, StreamConfig},
    options::{NatsError, NatsOptions},
    order::Order,
    patience::Patience,
};

impl NatsStore {
    /// Connects, and creates the bucket unless it exists. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`NatsError`] says what has to be changed.
    pub async fn open(options: NatsOptions) -> Result<Self, NatsError> {
        Self::open_or(Absent::Created, options).await
    }

    /// Connects to a bucket that is there, and creates nothing. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`NatsError::NoBucket`] if there is none of that name; otherwise as [`NatsStore::open`].
    pub async fn open_existing(options: NatsOptions) -> Result<Self, NatsError> {
        Self::open_or(Absent::Refused, options).await
    }

    async fn open_or(absent: Absent, options: NatsOptions) -> Result<Self, NatsError> {
        options.check()?;
        let api = Api {
            client: options.connection.connect().await?,
            layout: Layout::new(&options.bucket),
            request_timeout: options.request_timeout,
        };
        let replicas = open_bucket(&api, &options, absent).await?;
        let order = Order::is_needed(&api, replicas).then(Order::default);
        Ok(Self {
            inner: Arc::new(Inner {
                api,
                options,
                written: Default::default(),
                pace: Default::default(),
                order,
                runtime: Handle::current(),
            }),
        })
    }

    /// Returns whether a server is connected now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.api.client.connection_state() == State::Connected
    }
}

/// What becomes of a bucket that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    Created,
    Refused,
}

/// Finds the stream of the bucket as it should be, or creates it if it may. Returns how many servers keep it.
async fn open_bucket(api: &Api, options: &NatsOptions, absent: Absent) -> Result<u32, NatsError> {
    let wanted = StreamConfig::of(options, &api.layout);
    let mut patience = Patience::new(options.deadline);
    loop {
        let found = match absent {
            Absent::Created => find_or_create(api, &wanted).await,
            Absent::Refused => api.stream_info().await.map(|info| info.config),
        };
        let failure = match found {
            Ok(found) => {
                found.check(&options.bucket, &wanted)?;
                return Ok(found.num_replicas);
            }
            Err(Failure::NotFound(_)) if absent == Absent::Refused => {
                let bucket = options.bucket.clone();
                return Err(NatsError::NoBucket { bucket });
            }
            Err(failure) => failure,
        };
        let description = failure.to_string();
        // A cluster that has just started has no leader yet.
        let passes = matches!(failure, Failure::Unanswered(_) | Failure::Unavailable(_));
        if passes && patience.wait().await {
            continue;
        }
        let account = api.call::<Value>("INFO", &Value::Null).await;
        return Err(match account {
            Err(Failure::Unavailable(_)) => NatsError::NoJetStream { description },
            _ => NatsError::Bucket {
                bucket: options.bucket.clone(),
                description,
            },
        });
    }
}

async fn find_or_create(api: &Api, wanted: &StreamConfig) -> Result<StreamConfig, Failure> {
    match api.stream_info().await {
        Err(Failure::NotFound(_)) => {}
        found => return found.map(|info| info.config),
    }
    let created = api
        .call::<StreamStatus>(&format!("STREAM.CREATE.{}", wanted.name), &json!(wanted))
        .await;
    match created {
        Ok(created) => Ok(created.config),
        // Somebody else was faster.
        Err(Failure::Refused(_)) => api.stream_info().await.map(|info| info.config),
        Err(failure) => Err(failure),
    }
}
