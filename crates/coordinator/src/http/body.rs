//! Bodies of requests.

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, Request},
};
use serde::de::DeserializeOwned;

use super::{Api, Problem, guard::too_large};

/// A body of JSON, whatever the request calls it. An empty body counts as `{}`.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let bytes = read(api, request.into_body()).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let parsed = serde_json::from_slice(bytes);
        let value = parsed.map_err(|error| Problem::bad_request(format!("the body: {error}")))?;
        Ok(Self(value))
    }
}

/// Returns a whole body. A client that stops in the middle of it does not keep its place for ever.
pub(super) async fn read(api: &Api, body: Body) -> Result<Bytes, Problem> {
    let limit = api.settings.body_max;
    // Less than what the whole request has, so that a client is told that nothing happened.
    let patience = api.settings.request_timeout * 3 / 4;
    let read = tokio::time::timeout(patience, to_bytes(body, limit)).await;
    let read = read.map_err(|_| Problem::unavailable("TIMEOUT", "the body took too long"))?;
    read.map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            if error.is::<http_body_util::LengthLimitError>() {
                return too_large(limit);
            }
            cause = error.source();
        }
        Problem::bad_request("the body ended early")
    })
}
