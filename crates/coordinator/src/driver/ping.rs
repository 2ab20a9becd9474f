//! Pings over HTTP.

use std::{sync::Arc, time::Duration};

use reqwest::header::AUTHORIZATION;
use shardwright_topology::{Incarnation, NodeId};
use tokio::sync::{Semaphore, mpsc};

use super::Heard;
use crate::{
    client::client,
    core::Event,
    http::Token,
    protocol::{Ping, Pong, WORKER_PATH},
};

/// How many workers are pinged at once.
const PINGS_MAX: usize = 256;

/// How many of those whose session is over are pinged at once. They may be gone for good, and must keep nobody else waiting.
const DOWN_PINGS_MAX: usize = 32;

/// Sends pings and reports the answers.
#[derive(Debug, Clone)]
pub(super) struct Pinger {
    client: reqwest::Client,
    token: Option<Token>,
    limit: Duration,
    places: Arc<Semaphore>,
    places_of_down: Arc<Semaphore>,
}

impl Pinger {
    pub(super) fn new(check_interval: Duration, token: Option<Token>) -> Self {
        Self {
            client: client(),
            token,
            limit: check_interval * 4 / 5,
            places: Arc::new(Semaphore::new(PINGS_MAX)),
            places_of_down: Arc::new(Semaphore::new(DOWN_PINGS_MAX)),
        }
    }

    /// Pings a worker in a task of its own.
    pub(super) fn ping(&self, address: String, ping: Ping, heard: mpsc::UnboundedSender<Heard>) {
        let pinger = self.clone();
        tokio::spawn(async move {
            let (node, incarnation) = (ping.node.clone(), ping.incarnation);
            // The limit is the worker's time to answer: what passes before its turn is not counted.
            let places = if ping.expired {
                &pinger.places_of_down
            } else {
                &pinger.places
            };
            let _place = places.acquire().await;
            if heard.is_closed() {
                return;
            }
            let answer = tokio::time::timeout(pinger.limit, pinger.ask(&address, &ping)).await;
            let event = event_of(answer.unwrap_or(None), node, incarnation);
            // A driver that has stopped wants to know nothing.
            let _sent = heard.send(Heard::Event(event));
        });
    }

    async fn ask(&self, address: &str, ping: &Ping) -> Option<Pong> {
        let url = format!("{}{WORKER_PATH}", address.trim_end_matches('/'));
        let mut request = self.client.post(url).json(ping);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.header());
        }
        let answer = request.send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }
}

fn event_of(pong: Option<Pong>, node: NodeId, incarnation: Incarnation) -> Event {
    match pong.filter(|pong| pong.node == node && pong.incarnation == incarnation) {
        Some(pong) => Event::Pong(pong),
        None => Event::Silence { node, incarnation },
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing::post};
    use tokio::net::TcpListener;

    use super::*;
    use crate::protocol::VERSION;

    fn ping(node: &str, expired: bool) -> Ping {
        Ping {
            version: VERSION,
            coordinator: NodeId::new("c").unwrap(),
            node: NodeId::new(node).unwrap(),
            incarnation: Incarnation(1),
            term: 1,
            list: 1,
            assignments: None,
            granted: None,
            hold_ms: 1,
            expired,
            drained: false,
            instructions: Vec::new(),
        }
    }

    /// A worker that takes connections and never answers.
    async fn frozen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        (listener, address)
    }

    /// A worker that answers.
    async fn live() -> String {
        let answer = async |Json(ping): Json<Ping>| {
            Json(Pong {
                version: VERSION,
                node: ping.node,
                incarnation: ping.incarnation,
                left: None,
                leaves: false,
                number: 1,
                term: ping.term,
                list: ping.list,
                shards: Vec::new(),
                copies: None,
                troubles: Vec::new(),
            })
        };
        let (listener, address) = frozen().await;
        let router = Router::new().route(WORKER_PATH, post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }

    #[tokio::test]
    async fn a_ping_has_all_its_time_once_its_turn_has_come() {
        let pinger = Pinger {
            places: Arc::new(Semaphore::new(1)),
            ..Pinger::new(Duration::from_millis(1_250), None)
        };
        let (heard, mut inbox) = mpsc::unbounded_channel();
        let (_listener, frozen) = frozen().await;
        pinger.ping(frozen, ping("frozen", false), heard.clone());
        pinger.ping(live().await, ping("live", false), heard);
        let first = inbox.recv().await;
        let second = inbox.recv().await;
        assert!(
            matches!(&first, Some(Heard::Event(Event::Silence { .. }))),
            "{first:?}"
        );
        assert!(
            matches!(&second, Some(Heard::Event(Event::Pong(_)))),
            "{second:?}"
        );
    }

    #[tokio::test]
    async fn workers_that_are_down_keep_no_other_waiting() {
        let pinger = Pinger::new(Duration::from_secs(60), None);
        let (heard, mut inbox) = mpsc::unbounded_channel();
        let (_listener, frozen) = frozen().await;
        for number in 0..=PINGS_MAX {
            let ping = ping(&format!("down{number}"), true);
            pinger.ping(frozen.clone(), ping, heard.clone());
        }
        pinger.ping(live().await, ping("live", false), heard);
        let first = inbox.recv().await;
        assert!(
            matches!(&first, Some(Heard::Event(Event::Pong(_)))),
            "{first:?}"
        );
    }
}
