//! The answering side: one subscription for each node.

use std::sync::Arc;

use async_nats::{Client, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{sync::Semaphore, task::JoinHandle};

use super::{Nats, NatsError, frame};
use crate::{Refusal, Router};

/// Answers the calls that come for a node, until it is dropped.
#[derive(Debug)]
pub struct Listener {
    subject: String,
    task: JoinHandle<()>,
}

impl Nats {
    /// Answers calls for the node of `router`, once this returns.
    ///
    /// Only one process listens for a node at a time: of two, both would answer.
    ///
    /// # Errors
    /// [`NatsError::Subscribe`].
    pub async fn listen(&self, router: Router) -> Result<Listener, NatsError> {
        let subject = format!("{}.{}", self.prefix, router.node());
        let refused = |source| NatsError::Subscribe {
            subject: subject.clone(),
            source,
        };
        let subscription = self.client.subscribe(subject.clone()).await;
        let mut subscription = subscription.map_err(|error| refused(error.into()))?;
        let client = self.client.clone();
        let places = Arc::new(Semaphore::new(
            self.in_flight_max.min(Semaphore::MAX_PERMITS),
        ));
        let task = tokio::spawn(async move {
            while let Some(message) = subscription.next().await {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                    return;
                };
                let (client, router) = (client.clone(), router.clone());
                tokio::spawn(async move {
                    answer(&client, &router, message).await;
                    drop(place);
                });
            }
        });
        let listener = Listener {
            subject: subject.clone(),
            task,
        };
        // A server takes a connection's messages in turn, so it has the subscription when it delivers what was sent after it.
        // What is sent is no request, and the listener says so.
        let probe = self.client.request(subject.clone(), Bytes::new()).await;
        probe.map_err(|error| refused(error.into()))?;
        Ok(listener)
    }
}

impl Listener {
    /// Returns the subject that it listens on.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(client: &Client, router: &Router, message: Message) {
    let Some(reply) = message.reply else {
        // Who wants no answer has no way to learn of a refusal either.
        return;
    };
    let response = match frame::read_request(message.payload) {
        Ok(request) => router.answer(request).await,
        Err(refusal) => Err(refusal),
    };
    let limit = client.max_payload().saturating_sub(1);
    let response = response.and_then(|answer| match answer.len() {
        size if size > limit => Err(Refusal::AnswerTooLarge { size, limit }),
        _ => Ok(answer),
    });
    if let Err(error) = client.publish(reply, frame::reply(&response)).await {
        tracing::warn!(%error, "an answer could not be sent");
    }
}
