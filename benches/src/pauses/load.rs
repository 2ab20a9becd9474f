//! Clients that read and write rows at a fixed rate.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, StatusCode};
use serde_json::json;
use shardwright_hashing::TypedKey;
use shardwright_registry::Clock;
use shardwright_topology::Backoff;
use tokio::{task::JoinSet, time::sleep};

use super::{
    ROWS,
    waits::{Waits, Window, micros},
};

/// How many clients write; as many read.
pub(super) const WRITERS: u32 = 64;

/// How many requests the writers send in a second, and the readers: about a third of what a machine with two processors does for
/// clients, three copies and a coordinator.
pub(super) const RATE: u32 = 320;

/// How long a client waits for an answer.
const PATIENCE_MS: u64 = 10_000;

/// The waits between two attempts, as those of the command.
const AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// How long a condition is waited for at once.
const PAUSE: Duration = Duration::from_millis(5);

/// Stands for no request.
const NOTHING: u64 = u64::MAX;

/// Clients at work. They end with this.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    http: Client,
    urls: Vec<String>,
    waits: Waits,
    /// When the request was due that each client waits for.
    due: Vec<AtomicU64>,
    stops: AtomicBool,
    failed: Mutex<Option<String>>,
}

impl Load {
    /// Starts the clients.
    pub(super) fn start(urls: &[String]) -> anyhow::Result<Self> {
        let count = WRITERS * 2;
        let shared = Arc::new(Shared {
            clock: Clock::start(),
            http: Client::builder().no_proxy().build()?,
            urls: urls.to_vec(),
            waits: Waits::default(),
            due: (0..count).map(|_| AtomicU64::new(NOTHING)).collect(),
            stops: AtomicBool::new(false),
            failed: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for number in 0..count {
            let shared = Arc::clone(&shared);
            clients.spawn(async move {
                if let Err(error) = shared.client(number).await {
                    let mut failed = shared.failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.get_or_insert_with(|| format!("{error:#}"));
                }
            });
        }
        Ok(Self { shared, clients })
    }

    /// Returns the clock by which requests are due.
    pub(super) fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// Returns what is done, and what the clients wait for until it is, and all that was due by then is answered.
    pub(super) async fn during<T>(
        &self,
        done: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, Window)> {
        let shared = &self.shared;
        let begun = shared.clock.now();
        shared.waits.begin(begun);
        let done = done.await?;
        let over = shared.clock.now();
        let is_due = |due: &AtomicU64| due.load(Ordering::SeqCst) <= micros(over);
        while shared.due.iter().any(is_due) {
            shared.check()?;
            sleep(PAUSE).await;
        }
        shared.check()?;
        Ok((done, shared.waits.window(over.since(begun))))
    }

    /// Ends the clients, once each has its answer.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.shared.stops.store(true, Ordering::SeqCst);
        while let Some(ended) = self.clients.join_next().await {
            ended?;
        }
        self.shared.check()
    }
}

impl Shared {
    /// Sends requests when they are due, one after the other.
    async fn client(&self, number: u32) -> anyhow::Result<()> {
        let period = Duration::from_secs(1) * WRITERS / RATE;
        let is_read = number >= WRITERS;
        let mut due = self.clock.now() + period * (number % WRITERS) / WRITERS;
        let mut row = u64::from(number);
        for request in 1.. {
            self.due[number as usize].store(micros(due), Ordering::SeqCst);
            let wait = due.since(self.clock.now());
            if !wait.is_zero() {
                sleep(wait).await;
            }
            if self.stops.load(Ordering::SeqCst) {
                break;
            }
            // Rows from everywhere, in an order that does not repeat soon.
            row = (row.wrapping_mul(6_364_136_223_846_793_005) + 1_442_695_040_888_963_407) >> 1;
            let id = format!("item-{:08}", (row >> 16) % ROWS);
            self.request(number, request, &id, is_read).await?;
            let at = TypedKey::Text(id.as_bytes()).position_in("items");
            let now = self.clock.now();
            self.waits.note(at, usize::from(is_read), due, now);
            due = due + period;
        }
        self.due[number as usize].store(NOTHING, Ordering::SeqCst);
        Ok(())
    }

    /// Sends one request until it is answered.
    async fn request(
        &self,
        number: u32,
        request: u64,
        id: &str,
        is_read: bool,
    ) -> anyhow::Result<()> {
        let body = match is_read {
            true => json!({
                "sql": "SELECT kind, body FROM items WHERE id = ?1",
                "args": [id],
                "timeout_ms": PATIENCE_MS,
            }),
            false => json!({
                "sql": "UPDATE items SET kind = kind + 1 WHERE id = ?1",
                "args": [id],
                "timeout_ms": PATIENCE_MS,
                "client": format!("client-{number}"),
                "seq": request,
            }),
        };
        let body = body.to_string();
        let mut waits = Backoff::new(AGAIN.0, AGAIN.1, u64::from(number));
        let deadline = self.clock.now() + Duration::from_millis(PATIENCE_MS);
        let mut node = number as usize;
        loop {
            let url = format!("{}/v1/sql", self.urls[node % self.urls.len()]);
            let why = match self.http.post(url).body(body.clone()).send().await {
                Ok(response) => match response.status() {
                    StatusCode::OK => return Self::check_answer(&response.text().await?, is_read),
                    StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                        response.text().await?
                    }
                    status => anyhow::bail!("{status}: {}", response.text().await?),
                },
                Err(error) => error.to_string(),
            };
            anyhow::ensure!(self.clock.now() < deadline, "{why}");
            self.waits.note_again();
            node += 1;
            sleep(waits.next().unwrap_or(AGAIN.1)).await;
        }
    }

    /// Every row is there, whatever is done with its shard.
    fn check_answer(text: &str, is_read: bool) -> anyhow::Result<()> {
        let answer: serde_json::Value = serde_json::from_str(text)?;
        let found = match is_read {
            true => answer["rows"]
                .as_array()
                .is_some_and(|rows| rows.len() == 1),
            false => answer["changes"] == 1,
        };
        anyhow::ensure!(found, "a row is missing: {text}");
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match &*failed {
            Some(why) => anyhow::bail!("a client was told of an error: {why}"),
            None => Ok(()),
        }
    }
}
