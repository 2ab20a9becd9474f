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
        let bytes = read(request.into_body(), api.settings.body_max).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let parsed = serde_json::from_slice(bytes);
        let value = parsed.map_err(|error| Problem::bad_request(format!("the body: {error}")))?;
        Ok(Self(value))
    }
}

/// Returns a whole body.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    to_bytes(body, limit).await.map_err(|error| {
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
