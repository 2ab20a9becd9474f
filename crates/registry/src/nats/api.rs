//! The wire interface of JetStream: requests in JSON, and what their answers mean for what happened.

use std::{fmt, time::Duration};

use async_nats::{Client, HeaderMap, RequestErrorKind, client::Request};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::layout::{Layout, StreamConfig};
use crate::{BoxError, Key, Revision};

/// One connection and the stream of one bucket.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) client: Client,
    pub(super) layout: Layout,
    pub(super) request_timeout: Duration,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("stream", &self.layout.stream)
            .finish_non_exhaustive()
    }
}

/// A request without success.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It is not known whether it was carried out.
    #[error("no answer came")]
    Unanswered(#[source] BoxError),
    /// Nothing happened, and it may work later.
    #[error("the stream is not available: {0}")]
    Unavailable(String),
    /// A subject is at another sequence than was said, or is being changed. Nothing happened.
    #[error("another sequence was expected: {0}")]
    WrongSequence(String),
    /// What was asked for does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// Nothing happened, and trying again does not help.
    #[error("refused: {0}")]
    Refused(String),
}

#[derive(Debug, Deserialize)]
struct ApiError {
    code: u16,
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// Codes of JetStream errors.
mod code {
    pub(super) const WRONG_LAST_SEQUENCE: u32 = 10071;
    pub(super) const WRONG_LAST_SEQUENCE_UNDER_WAY: u32 = 10164;
    /// Too few servers take part yet to place a stream.
    pub(super) const NO_SUITABLE_PEERS: u32 = 10005;
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let text = format!("{} ({})", error.description, error.err_code);
        match (error.err_code, error.code) {
            (code::WRONG_LAST_SEQUENCE | code::WRONG_LAST_SEQUENCE_UNDER_WAY, _) => {
                Self::WrongSequence(text)
            }
            (code::NO_SUITABLE_PEERS, _) | (_, 500..) => Self::Unavailable(text),
            (_, 404) => Self::NotFound(text),
            (_, _) => Self::Refused(text),
        }
    }
}

/// A value as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) subject: String,
    pub(super) revision: Revision,
    /// `None` where a value was deleted.
    pub(super) value: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamStatus {
    pub(super) config: StreamConfig,
    pub(super) state: StreamState,
    #[serde(default)]
    pub(super) cluster: Option<StreamCluster>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamState {
    pub(super) last_seq: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamCluster {
    #[serde(default)]
    pub(super) leader: String,
    #[serde(default)]
    pub(super) replicas: Vec<StreamPeer>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamPeer {
    pub(super) name: String,
    #[serde(default)]
    pub(super) current: bool,
}

impl Api {
    pub(super) async fn request(
        &self,
        subject: String,
        payload: Vec<u8>,
        headers: Option<HeaderMap>,
    ) -> Result<Vec<u8>, Failure> {
        let mut request = Request::new()
            .payload(payload.into())
            .timeout(Some(self.request_timeout));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        match self.client.send_request(subject, request).await {
            Ok(message) => Ok(message.payload.to_vec()),
            Err(error) => Err(match error.kind() {
                // Nobody listened, so nobody did anything.
                RequestErrorKind::NoResponders => Failure::Unavailable("no responders".to_owned()),
                RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                    Failure::Refused(error.to_string())
                }
                RequestErrorKind::TimedOut | RequestErrorKind::Other => {
                    Failure::Unanswered(error.into())
                }
            }),
        }
    }

    /// Calls the management interface.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        what: &str,
        body: &Value,
    ) -> Result<T, Failure> {
        let payload = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let answer = self.request(format!("$JS.API.{what}"), payload, None);
        parse(&answer.await?)
    }

    pub(super) async fn stream_info(&self) -> Result<StreamStatus, Failure> {
        let stream = &self.layout.stream;
        self.call(&format!("STREAM.INFO.{stream}"), &Value::Null)
            .await
    }

    /// Reads the last message of a subject, which may have wildcards, from the leader of the stream.
    pub(super) async fn last(&self, subject: &str) -> Result<Option<Held>, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            message: Message,
        }
        #[derive(Deserialize)]
        struct Message {
            subject: String,
            seq: u64,
            #[serde(default)]
            hdrs: String,
            #[serde(default)]
            data: String,
        }
        let stream = &self.layout.stream;
        let body = json!({ "last_by_subj": subject });
        let answer = self.call(&format!("STREAM.MSG.GET.{stream}"), &body).await;
        let Message {
            subject,
            seq,
            hdrs,
            data,
        } = match answer {
            Ok(Answer { message }) => message,
            Err(Failure::NotFound(text)) if text.contains("stream not found") => {
                return Err(Failure::Unavailable(text));
            }
            Err(Failure::NotFound(_)) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let decoded = |text: &str| {
            let broken = |error| Failure::Refused(format!("a message is no base64: {error}"));
            STANDARD.decode(text).map_err(broken)
        };
        let deleted = is_deletion(&String::from_utf8_lossy(&decoded(&hdrs)?));
        Ok(Some(Held {
            subject,
            revision: Revision(seq),
            value: if deleted { None } else { Some(decoded(&data)?) },
        }))
    }

    /// Appends a value, or with `None` a deletion, if the last message of its subject has the expected sequence, 0 for none, and
    /// the last one of the whole stream has the other, if one is given.
    pub(super) async fn append(
        &self,
        key: &Key,
        expected: Revision,
        stream_at: Option<Revision>,
        value: Option<&[u8]>,
    ) -> Result<Revision, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            seq: u64,
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            "Nats-Expected-Last-Subject-Sequence",
            expected.0.to_string(),
        );
        if let Some(stream_at) = stream_at {
            headers.insert("Nats-Expected-Last-Sequence", stream_at.0.to_string());
        }
        if value.is_none() {
            headers.insert("KV-Operation", "DEL");
        }
        let payload = value.unwrap_or_default().to_vec();
        let answer = self.request(self.layout.subject(key), payload, Some(headers));
        let Answer { seq } = parse(&answer.await?)?;
        Ok(Revision(seq))
    }
}

/// Whether the headers of a message, as text, say that it deletes.
fn is_deletion(headers: &str) -> bool {
    let mut lines = headers.lines().filter_map(|line| line.split_once(':'));
    lines.any(|(name, value)| name == "KV-Operation" && matches!(value.trim(), "DEL" | "PURGE"))
}

fn parse<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Failure> {
    #[derive(Deserialize)]
    struct Refusal {
        error: ApiError,
    }
    if let Ok(Refusal { error }) = serde_json::from_slice(answer) {
        return Err(error.into());
    }
    serde_json::from_slice(answer)
        .map_err(|error| Failure::Refused(format!("an answer was not understood: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whether_anything_happened() {
        let failure = |text: &str| parse::<Value>(text.as_bytes()).expect_err("an error");
        let wrong = r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"seq":0}"#;
        assert!(matches!(failure(wrong), Failure::WrongSequence(_)));
        let none = r#"{"error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
        assert!(matches!(failure(none), Failure::NotFound(_)));
        let away =
            r#"{"error":{"code":503,"err_code":10008,"description":"temporarily unavailable"}}"#;
        assert!(matches!(failure(away), Failure::Unavailable(_)));
        assert!(matches!(failure("{"), Failure::Refused(_)));
    }

    #[test]
    fn a_deletion_is_known_by_its_header() {
        assert!(is_deletion("NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"));
        assert!(!is_deletion(
            "NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 1\r\n\r\n"
        ));
        assert!(!is_deletion(""));
    }
}
