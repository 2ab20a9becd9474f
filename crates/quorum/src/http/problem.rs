//! What a request is refused with.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::ANSWER;

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: &'static str,
    /// Of an event that may be stored.
    pub(super) key: Option<String>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: &'static str,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint,
            key: None,
        }
    }

    pub(super) fn bad_request(message: impl Into<String>, hint: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message, hint)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("the event is larger than {limit} bytes");
        let hint = "send several smaller events";
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PAYLOAD_TOO_LARGE",
            message,
            hint,
        )
    }

    pub(super) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        let hint = "repeat it a little later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message, hint)
    }

    pub(super) fn of_key(self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // What the server could not do now, it may do later; what is wrong with the request stays wrong.
        let is_late = self.status == StatusCode::REQUEST_TIMEOUT;
        let retryable = is_late || self.status.is_server_error();
        let mut body = json!({"error": {
            "code": self.code, "message": self.message, "hint": self.hint, "retryable": retryable,
        }});
        if let Some(key) = self.key {
            body["key"] = key.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(ANSWER, HeaderValue::from_static(self.code));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
