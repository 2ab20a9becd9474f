//! Pings over HTTP.

use std::{sync::Arc, time::Duration};

use shardwright_topology::{Incarnation, NodeId};
use tokio::sync::{Semaphore, mpsc};

use super::Heard;
use crate::{
    core::Event,
    protocol::{Ping, Pong, WORKER_PATH},
};

/// How many workers are pinged at once.
const PINGS_MAX: usize = 256;

/// Sends pings and reports the answers.
#[derive(Debug, Clone)]
pub(super) struct Pinger {
    client: reqwest::Client,
    token: Option<Arc<str>>,
    limit: Duration,
    room: Arc<Semaphore>,
}

impl Pinger {
    pub(super) fn new(check_interval: Duration, token: Option<String>) -> Self {
        Self {
            client: reqwest::Client::new(),
            token: token.map(Arc::from),
            limit: check_interval * 4 / 5,
            room: Arc::new(Semaphore::new(PINGS_MAX)),
        }
    }

    /// Pings a worker in a task of its own.
    pub(super) fn ping(&self, address: String, ping: Ping, heard: mpsc::UnboundedSender<Heard>) {
        let pinger = self.clone();
        tokio::spawn(async move {
            let (node, incarnation) = (ping.node.clone(), ping.incarnation);
            let answer = tokio::time::timeout(pinger.limit, pinger.ask(&address, &ping)).await;
            let event = event_of(answer.unwrap_or(None), node, incarnation);
            // A driver that has stopped wants to know nothing.
            let _sent = heard.send(Heard::Event(event));
        });
    }

    async fn ask(&self, address: &str, ping: &Ping) -> Option<Pong> {
        let _room = self.room.acquire().await.ok()?;
        let url = format!("{}{WORKER_PATH}", address.trim_end_matches('/'));
        let mut request = self.client.post(url).json(ping);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
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
