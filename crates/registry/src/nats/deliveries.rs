//! Messages of a stream as a server pushes them: in order, without a gap, with signs of life.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::api::{Api, Failure, Held};
use crate::Revision;

/// From where messages are delivered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    /// The last message of each subject, and all after them.
    LastOfEach,
    /// All after a revision.
    After(Revision),
}

/// A consumer of its own, that nobody acknowledges to.
pub(super) struct Deliveries {
    api: Api,
    messages: Subscriber,
    consumer: String,
    /// The number of the next message that this consumer delivers.
    next: u64,
    silence_max: Duration,
}

/// A message, and how many more there were when it was sent.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) held: Held,
    pub(super) pending: u64,
}

/// So many missed heartbeats are the end of a consumer.
const HEARTBEATS_MISSED: u32 = 3;

/// The status of heartbeats and of requests for flow control.
const STATUS_CONTROL: u16 = 100;

impl Deliveries {
    pub(super) async fn start(
        api: &Api,
        filter: &str,
        start: Start,
        heartbeat: Duration,
    ) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Created {
            name: String,
        }
        let inbox = api.client.new_inbox();
        let messages = api.client.subscribe(inbox.clone()).await;
        let messages = messages.map_err(|error| Failure::Unavailable(error.to_string()))?;
        let mut config = json!({
            "deliver_subject": inbox,
            "ack_policy": "none",
            "replay_policy": "instant",
            "max_deliver": 1,
            "filter_subject": filter,
            "flow_control": true,
            "idle_heartbeat": u64::try_from(heartbeat.as_nanos()).unwrap_or(u64::MAX),
            "mem_storage": true,
            "num_replicas": 1,
        });
        match start {
            Start::LastOfEach => config["deliver_policy"] = "last_per_subject".into(),
            Start::After(revision) => {
                config["deliver_policy"] = "by_start_sequence".into();
                config["opt_start_seq"] = (revision.0 + 1).into();
            }
        }
        let stream = &api.layout.stream;
        let body = json!({ "stream_name": stream, "config": config });
        let created = api.call(&format!("CONSUMER.CREATE.{stream}"), &body).await;
        let Created { name } = created?;
        Ok(Self {
            api: api.clone(),
            messages,
            consumer: name,
            next: 1,
            silence_max: heartbeat * HEARTBEATS_MISSED,
        })
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// If the server is silent, or a message is missing: start again from the last one.
    pub(super) async fn next(&mut self) -> Result<Delivery, Failure> {
        loop {
            let message = match timeout(self.silence_max, self.messages.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Err(ended("the connection was closed")),
                Err(_) => return Err(ended("the server is silent")),
            };
            match message.status.map(|status| status.as_u16()) {
                Some(STATUS_CONTROL) => self.control(&message).await?,
                Some(status) => return Err(ended(&format!("the server ended it: {status}"))),
                None => return self.delivery(message),
            }
        }
    }

    /// Takes in a heartbeat, and answers what asks for an answer.
    async fn control(&self, message: &Message) -> Result<(), Failure> {
        let header = |name: &str| {
            let headers = message.headers.as_ref()?;
            headers.get(name).map(|value| value.as_str().to_owned())
        };
        let stalled = header("Nats-Consumer-Stalled");
        let wanted = message.reply.as_ref().map(ToString::to_string).or(stalled);
        if let Some(subject) = wanted {
            let answered = self.api.client.publish(subject, Vec::new().into()).await;
            answered.map_err(|error| ended(&error.to_string()))?;
        }
        let delivered = header("Nats-Last-Consumer").and_then(|text| text.parse::<u64>().ok());
        if delivered.is_some_and(|delivered| self.next <= delivered) {
            return Err(ended("a message is missing"));
        }
        Ok(())
    }

    fn delivery(&mut self, message: Message) -> Result<Delivery, Failure> {
        let place = message.reply.as_deref().and_then(Place::parse);
        let Some(place) = place else {
            return Err(ended("a message has no place"));
        };
        if place.delivered != self.next {
            return Err(ended("a message is missing"));
        }
        self.next += 1;
        let operation = message.headers.as_ref();
        let operation = operation.and_then(|headers| headers.get("KV-Operation"));
        let deleted = operation.is_some_and(|value| matches!(value.as_str(), "DEL" | "PURGE"));
        let held = Held {
            subject: message.subject.to_string(),
            revision: Revision(place.sequence),
            value: (!deleted).then(|| message.payload.to_vec()),
        };
        Ok(Delivery {
            held,
            pending: place.pending,
        })
    }

    /// Removes the consumer, without waiting for it: the server would find out by itself.
    pub(super) async fn stop(mut self) {
        let Api { client, layout, .. } = &self.api;
        let (stream, consumer) = (&layout.stream, &self.consumer);
        let subject = format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}");
        let reply = client.new_inbox();
        // Whether this arrives makes no difference to anybody here.
        let _sent = client
            .publish_with_reply(subject, reply, Vec::new().into())
            .await;
        let _ended = self.messages.unsubscribe().await;
    }
}

fn ended(why: &str) -> Failure {
    Failure::Unavailable(format!("the delivery ended: {why}"))
}

/// Where a message stands, as its reply subject says.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    sequence: u64,
    delivered: u64,
    pending: u64,
}

impl Place {
    /// Reads `$JS.ACK.<stream>.<consumer>.<tries>.<sequence>.<delivered>.<time>.<pending>`, before which a domain and an account
    /// may stand, and after which a random token.
    fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<_> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let at = match tokens.len() {
            7 => 0,
            9.. => 2,
            _ => return None,
        };
        let number = |index: usize| tokens.get(at + index)?.parse().ok();
        Some(Self {
            sequence: number(3)?,
            delivered: number(4)?,
            pending: number(6)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_message_is_read_in_both_forms() {
        let place = Place {
            sequence: 42,
            delivered: 7,
            pending: 3,
        };
        let short = "$JS.ACK.KV_a.c1.1.42.7.1700000000.3";
        assert_eq!(Place::parse(short).as_ref(), Some(&place));
        let long = "$JS.ACK.hub.acc.KV_a.c1.1.42.7.1700000000.3.rnd";
        assert_eq!(Place::parse(long).as_ref(), Some(&place));
        assert_eq!(Place::parse("$JS.ACK.KV_a"), None);
    }
}
