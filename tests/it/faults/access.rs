//! What a client says to a process of the cluster over HTTP, and what it hears.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use shardwright::server::http::{
    client,
    reqwest::{Client, RequestBuilder},
};
use tokio::runtime::{Builder, Runtime};

/// How long a statement may take.
pub(super) const WITHIN: Duration = Duration::from_secs(2);

/// How much longer an answer is waited for. A process that was stopped gives none.
const GRACE: Duration = Duration::from_millis(500);

/// Where a process is reached: another address after each start, and none while it is known to be down.
#[derive(Debug, Clone, Default)]
pub(super) struct Port(Arc<Mutex<Option<SocketAddr>>>);

impl Port {
    pub(super) fn set(&self, address: Option<SocketAddr>) {
        *self.0.lock().expect("no holder panics") = address;
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        *self.0.lock().expect("no holder panics")
    }
}

/// A client with connections of its own.
#[derive(Debug)]
pub(super) struct Access {
    runtime: Runtime,
    http: Client,
}

/// What is heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// The answer.
    Answer(Value),
    /// It was refused: the status, and why.
    Refusal(u16, Value),
    /// Nothing.
    Lost,
}

impl Access {
    pub(super) fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        Self {
            runtime: runtime.expect("make a runtime"),
            http: client(WITHIN).expect("make a client"),
        }
    }

    /// Asks a node to run a statement.
    pub(super) fn sql(&self, port: &Port, mut request: Value) -> Heard {
        let Some(address) = port.address() else {
            return Heard::Lost;
        };
        request["timeout_ms"] = u64::try_from(WITHIN.as_millis()).expect("short").into();
        let sending = self.http.post(format!("http://{address}/v1/sql"));
        let sending = sending.timeout(WITHIN + GRACE).body(request.to_string());
        self.runtime.block_on(async {
            let Ok(response) = sending.send().await else {
                return Heard::Lost;
            };
            let status = response.status();
            let body = response.bytes().await.ok();
            let body = body.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
            match body {
                Some(body) if status.is_success() => Heard::Answer(body),
                Some(body) => Heard::Refusal(status.as_u16(), body),
                None => Heard::Lost,
            }
        })
    }

    /// Asks a coordinator; `None` if it has no answer.
    pub(super) fn get(&self, url: &str, path: &str) -> Option<Value> {
        let url = url.trim_end_matches('/');
        self.answer_to(self.http.get(format!("{url}{path}")))
    }

    /// Tells a coordinator something; `None` if it has not done it.
    pub(super) fn post(&self, url: &str, path: &str, body: &Value) -> Option<Value> {
        let url = url.trim_end_matches('/');
        let sending = self.http.post(format!("{url}{path}"));
        let sending = sending.header("content-type", "application/json");
        self.answer_to(sending.body(body.to_string()))
    }

    fn answer_to(&self, sending: RequestBuilder) -> Option<Value> {
        let sending = sending.timeout(WITHIN);
        self.runtime.block_on(async {
            let response = sending.send().await.ok()?.error_for_status().ok()?;
            serde_json::from_slice(&response.bytes().await.ok()?).ok()
        })
    }
}

impl Heard {
    /// Whether the same may be asked again, of whomever.
    pub(super) fn may_be_retried(&self) -> bool {
        match self {
            Self::Answer(_) => false,
            Self::Refusal(status, body) => {
                matches!(status, 503 | 504) || body["error"]["retryable"] == true
            }
            Self::Lost => true,
        }
    }

    /// The one value of the answer, if it is one.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Answer(answer) => answer["rows"][0][0].as_u64(),
            _ => None,
        }
    }
}
