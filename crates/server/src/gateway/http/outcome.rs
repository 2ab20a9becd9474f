//! What a statement comes to, whoever asked for it.

use shardwright_http::axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use shardwright_sql::Answer;

use crate::gateway::{request::reply, view::Noted};

/// What a statement has come to.
pub(in crate::gateway) enum Outcome {
    /// It was run here.
    Ran {
        answer: Answer,
        noted: Noted,
        /// Whether its client takes rows that others have changed since.
        is_any: bool,
    },
    /// It has failed, or another node has run it: this is to be replied.
    Told(Response),
}

impl Outcome {
    /// Whether it may still happen.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Told(response) if response.status() == StatusCode::GATEWAY_TIMEOUT)
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        match self {
            Self::Ran {
                answer,
                noted,
                is_any,
            } => reply(&answer, &noted, is_any),
            Self::Told(response) => response,
        }
    }
}
