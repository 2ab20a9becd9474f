//! Watches: a task that takes in all that the server pushes, and starts again what ends or falls silent.

use std::{sync::Arc, time::Duration};

use futures_util::stream;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::timeout,
};

use super::{
    Inner,
    api::Failure,
    deliveries::{Deliveries, Delivery, Start},
};
use crate::{Event, Prefix, Revision, StoreError, Watch};

/// How many events wait for a slow reader before the servers have to.
const EVENTS_MAX: usize = 1024;

impl Inner {
    pub(super) async fn watch(
        self: Arc<Self>,
        prefix: Prefix,
        after: Revision,
    ) -> Result<Watch, StoreError> {
        let watching = Watching {
            filter: self.api.layout.filter(&prefix),
            listed_at: after,
            after,
            inner: self.clone(),
        };
        let deliveries = watching.start().await?;
        let (events, received) = channel(EVENTS_MAX);
        let relist_every = self.options.relist_every;
        self.runtime
            .spawn(watching.run(deliveries, events, relist_every));
        Ok(Box::pin(stream::unfold(received, next)))
    }
}

async fn next(
    mut received: Receiver<Result<Event, StoreError>>,
) -> Option<(
    Result<Event, StoreError>,
    Receiver<Result<Event, StoreError>>,
)> {
    let item = received.recv().await?;
    Some((item, received))
}

/// The task of one watch.
struct Watching {
    inner: Arc<Inner>,
    filter: String,
    /// The revision that the caller knows, which the stream must have reached.
    listed_at: Revision,
    after: Revision,
}

impl Watching {
    /// Starts to receive what comes after what was shown.
    async fn start(&self) -> Result<Deliveries, StoreError> {
        let Inner { api, options, .. } = &*self.inner;
        let mut patience = self.inner.patience();
        let start = Start::After(self.after);
        loop {
            let failure = match api.stream_info().await {
                Ok(info) if Revision(info.state.last_seq) < self.listed_at => {
                    // A leader that was deposed, or a stream that was made anew.
                    if !patience.wait().await {
                        return Err(StoreError::FellBehind { after: self.after });
                    }
                    continue;
                }
                Ok(_) => {
                    match Deliveries::start(api, &self.filter, start, options.heartbeat).await {
                        Ok(deliveries) => return Ok(deliveries),
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            self.inner.outlast(failure, &mut patience).await?;
        }
    }

    /// Hands on events until nobody listens, or it is time to list again.
    async fn run(
        mut self,
        deliveries: Deliveries,
        events: Sender<Result<Event, StoreError>>,
        relist_every: Duration,
    ) {
        let ended = timeout(relist_every, self.deliver(deliveries, &events)).await;
        if let Ok(Err(error)) = ended {
            // A reader that is gone wants no error.
            let _gone = events.send(Err(error)).await;
        }
    }

    async fn deliver(
        &mut self,
        mut deliveries: Deliveries,
        events: &Sender<Result<Event, StoreError>>,
    ) -> Result<(), StoreError> {
        loop {
            let delivered = tokio::select! {
                delivered = deliveries.next() => delivered,
                () = events.closed() => {
                    deliveries.stop().await;
                    return Ok(());
                }
            };
            match delivered {
                Ok(Delivery { held, .. }) => {
                    self.after = held.revision;
                    let Some(key) = self.inner.api.layout.key(&held.subject) else {
                        continue;
                    };
                    let event = Event {
                        key,
                        value: held.value,
                        revision: held.revision,
                    };
                    if events.send(Ok(event)).await.is_err() {
                        deliveries.stop().await;
                        return Ok(());
                    }
                }
                Err(Failure::Refused(text)) => {
                    return Err(StoreError::Damaged(text.into()));
                }
                Err(_ended) => {
                    deliveries.stop().await;
                    deliveries = self.start().await?;
                }
            }
        }
    }
}
