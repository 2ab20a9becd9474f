//! Errors as callers see them: a status, and a body that says what happened and what to do.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shardwright_failover::replication::Refused;
use shardwright_topology::ShardId;

use crate::core::Refusal;

/// How many ids a body names at most.
const IDS_MAX: usize = 1_000;

/// An error of the API. Its body is `{"error": {"code", "message", "hint", "retryable"}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// What went wrong, stable.
    pub code: &'static str,
    /// What went wrong, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the same request may simply be repeated, later.
    pub is_retryable: bool,
    /// The shards that it is about, where there may be several.
    pub ids: Vec<ShardId>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    retryable: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ids: &'a [ShardId],
}

impl Problem {
    /// Returns an error that a repetition does not mend.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: None,
            is_retryable: false,
            ids: Vec::new(),
        }
    }

    /// Returns an error of a request that cannot be understood.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    /// Returns an error that passes: nothing changed, and the request may be repeated.
    #[must_use]
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            is_retryable: true,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
        }
    }

    /// Returns an error of a request of which nobody knows whether it was carried out.
    #[must_use]
    pub fn indeterminate(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "INDETERMINATE", message)
            .hint("list the shards to see whether it happened")
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let ids = match &refusal {
            Refusal::Exists { ids } | Refusal::UnknownPartitions { ids } => {
                ids.iter().take(IDS_MAX).cloned().collect()
            }
            Refusal::Twice { id } => vec![id.clone()],
            _ => Vec::new(),
        };
        Self {
            status: status(&refusal),
            code: refusal.code(),
            message: refusal.to_string(),
            hint: refusal.hint().map(str::to_owned),
            is_retryable: refusal.is_retryable(),
            ids,
        }
    }
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NotLeader { .. } | Refusal::NotReady { .. } | Refusal::NotTakenUp => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Refusal::NoOperations => StatusCode::NOT_IMPLEMENTED,
        Refusal::UnknownPartitions { .. }
        | Refusal::UnknownShard { .. }
        | Refusal::UnknownOperation { .. }
        | Refusal::UnknownNode { .. } => StatusCode::NOT_FOUND,
        Refusal::Exists { .. }
        | Refusal::Twice { .. }
        | Refusal::NotAccepting { .. }
        | Refusal::SameNode { .. }
        | Refusal::NodeUp { .. }
        | Refusal::Copies { .. }
        | Refusal::NotHolder { .. }
        | Refusal::Holds { .. }
        | Refusal::IsPrimary { .. }
        | Refusal::NotInSync { .. }
        | Refusal::OtherPhase { .. }
        | Refusal::Apart { .. }
        | Refusal::Pinned { .. }
        | Refusal::NotGathered { .. }
        | Refusal::LossNotNamed { .. }
        | Refusal::NotReplicated { .. }
        | Refusal::Busy { .. }
        | Refusal::Held { .. } => StatusCode::CONFLICT,
        Refusal::Replication(refused) => match refused {
            Refused::UnknownShard { .. } => StatusCode::NOT_FOUND,
            Refused::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::CONFLICT,
        },
        Refusal::Unconfirmed => StatusCode::GATEWAY_TIMEOUT,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = Error {
            code: self.code,
            message: &self.message,
            hint: self.hint.as_deref(),
            retryable: self.is_retryable,
            ids: &self.ids,
        };
        let mut response = (self.status, Json(Body { error })).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE && self.is_retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
