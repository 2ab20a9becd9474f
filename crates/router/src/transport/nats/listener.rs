//! The answering side: one subscription for each node.

use std::sync::Arc;

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};

use super::{Nats, NatsError, frame};
use crate::{Refusal, Response, Router};

/// Answers the calls that come for a node, until it is dropped.
#[derive(Debug)]
pub struct Listener {
    subject: String,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
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
        let subscription = subscription.map_err(|error| refused(error.into()))?;
        let (stop, stopped) = oneshot::channel();
        let answers = Answers {
            client: self.client.clone(),
            router,
            places: Arc::new(Semaphore::new(self.in_flight_max)),
        };
        let listener = Listener {
            subject: subject.clone(),
            client: self.client.clone(),
            stop: Some(stop),
            task: tokio::spawn(answers.run(subscription, stopped)),
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

    /// Stops listening, and waits until the requests that are inside have been answered.
    pub async fn shut_down(mut self) {
        if let Some(stop) = self.stop.take() {
            // A task that has ended needs no word.
            let _ = stop.send(());
        }
        // A panic of the task was reported by the runtime.
        let _ = (&mut self.task).await;
        // The server answers after it has heard of the end of the subscription.
        let _ = self
            .client
            .request(self.subject.clone(), Bytes::new())
            .await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What answers.
#[derive(Debug)]
struct Answers {
    client: Client,
    router: Router,
    /// One permit for each request that may run.
    places: Arc<Semaphore>,
}

impl Answers {
    async fn run(self, mut subscription: Subscriber, mut stopped: oneshot::Receiver<()>) {
        let all = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
        let mut stopping = false;
        loop {
            let message = tokio::select! {
                message = subscription.next() => message,
                stop = &mut stopped, if !stopping => {
                    // A listener that was dropped ends this task.
                    if stop.is_ok() && subscription.drain().await.is_ok() {
                        stopping = true;
                        continue;
                    }
                    None
                }
            };
            let Some(message) = message else { break };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                // The caller's time would run while the request waits, and nobody would count it.
                reply(&self.client, message.reply, &Err(Refusal::Overloaded)).await;
                continue;
            };
            let (client, router) = (self.client.clone(), self.router.clone());
            tokio::spawn(async move {
                answer(&client, &router, message).await;
                drop(place);
            });
        }
        // All permits are back when all requests have been answered.
        let _ = self.places.acquire_many(all).await;
    }
}

async fn answer(client: &Client, router: &Router, message: Message) {
    let Message {
        reply: to, payload, ..
    } = message;
    if to.is_none() {
        // Who wants no answer has no way to learn of a refusal either.
        return;
    }
    let response = match frame::read_request(payload) {
        Ok(request) => router.answer(request).await,
        Err(refusal) => Err(refusal),
    };
    reply(client, to, &response).await;
}

/// Sends a response, or says that it is larger than the server takes.
async fn reply(client: &Client, to: Option<Subject>, response: &Response) {
    let Some(to) = to else { return };
    let mut message = frame::reply(response);
    let limit = client.max_payload();
    if message.len() > limit {
        let refusal = Refusal::AnswerTooLarge {
            size: message.len() - frame::REPLY_HEAD,
            limit: limit.saturating_sub(frame::REPLY_HEAD),
        };
        message = frame::reply(&Err(refusal));
    }
    if let Err(error) = client.publish(to, message).await {
        tracing::warn!(%error, "an answer could not be sent");
    }
}
