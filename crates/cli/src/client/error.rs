//! Why a call of the admin API has no answer, or a bad one.

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

/// The body of an answer that is an error.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorBody {
    pub(super) error: ErrorShape,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorShape {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    #[serde(default)]
    pub(super) retryable: bool,
}

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The setting names none.
    #[error("no coordinator is named")]
    NoCoordinator,
    /// Nobody accepted the connection, so nothing changes.
    #[error("no coordinator answers at {url}")]
    Unreachable {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke after the request went out.
    #[error("the connection to {url} broke before the answer came")]
    Broken {
        url: Url,
        #[source]
        source: reqwest::Error,
        is_unknown: bool,
    },
    /// The time is up.
    #[error("no answer within {waited}")]
    TimedOut {
        waited: humantime::Duration,
        is_unknown: bool,
    },
    /// The coordinator answered with an error of its own.
    #[error("{message}")]
    Answered {
        status: StatusCode,
        code: String,
        message: String,
        hint: Option<String>,
        is_retryable: bool,
    },
    /// Something else than a coordinator listens there.
    #[error("{url} answered {status}, and not as a coordinator does")]
    NoApi { url: Url, status: StatusCode },
    /// The answer has another shape than this release knows.
    #[error("the answer of {url} cannot be read")]
    Malformed {
        url: Url,
        #[source]
        source: serde_json::Error,
    },
}

impl ClientError {
    /// The error for a request that has no answer.
    pub(super) fn of(method: &Method, url: &Url, source: reqwest::Error) -> Self {
        let url = url.clone();
        if source.is_connect() {
            return Self::Unreachable { url, source };
        }
        Self::Broken {
            url,
            source,
            is_unknown: !method.is_safe(),
        }
    }

    /// The error that a coordinator answered with.
    pub(super) fn answered(url: &Url, status: StatusCode, body: Option<ErrorBody>) -> Self {
        let Some(ErrorBody { error }) = body else {
            let url = url.clone();
            return Self::NoApi { url, status };
        };
        Self::Answered {
            status,
            code: error.code,
            message: error.message,
            hint: error.hint,
            is_retryable: error.retryable && status == StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether a coordinator said it.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }

    /// Whether another coordinator may be asked the same: this one did nothing.
    pub(super) fn may_ask_another(&self, method: &Method) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Broken { .. } | Self::NoApi { .. } => method.is_safe(),
            Self::Answered { is_retryable, .. } => *is_retryable,
            Self::NoCoordinator | Self::TimedOut { .. } | Self::Malformed { .. } => false,
        }
    }

    /// Whether the same call may succeed a moment later.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Answered {
                is_retryable: true,
                ..
            }
        )
    }

    /// The code that programs recognise it by.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::NoCoordinator | Self::Unreachable { .. } => "UNREACHABLE",
            Self::Broken { is_unknown, .. } | Self::TimedOut { is_unknown, .. } => {
                if *is_unknown {
                    "INDETERMINATE"
                } else {
                    "TIMED_OUT"
                }
            }
            Self::Answered { code, .. } => code,
            Self::NoApi { .. } | Self::Malformed { .. } => "NO_COORDINATOR",
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::NoCoordinator | Self::Unreachable { .. } => {
                Some("name a running coordinator with --coordinator")
            }
            Self::Broken { is_unknown, .. } | Self::TimedOut { is_unknown, .. } => is_unknown
                .then_some(
                    "it may have happened: look with `shard list` or `node list` before repeating it",
                ),
            Self::Answered { status, hint, .. } => match hint {
                Some(hint) => Some(hint),
                None if *status == StatusCode::UNAUTHORIZED => {
                    Some("give the cluster's token with --token-file")
                }
                None => None,
            },
            Self::NoApi { .. } => Some("is --coordinator the address of a coordinator?"),
            Self::Malformed { .. } => Some("use the release that the coordinators run"),
        }
    }

    /// Whether a safety check refused.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Answered { status, .. } if *status == StatusCode::CONFLICT)
    }

    /// Whether time ran out, here or there.
    pub(crate) fn is_timeout(&self) -> bool {
        match self {
            Self::Broken { source, .. } => source.is_timeout(),
            Self::TimedOut { .. } => true,
            Self::Answered { status, .. } => *status == StatusCode::GATEWAY_TIMEOUT,
            Self::NoCoordinator
            | Self::Unreachable { .. }
            | Self::NoApi { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retryable: bool) -> ClientError {
        let body = format!(
            r#"{{"error": {{"code": "NOT_LEADER", "message": "nobody leads", "retryable": {retryable}}}}}"#
        );
        ClientError::answered(
            &"http://localhost".parse().unwrap(),
            StatusCode::from_u16(status).unwrap(),
            serde_json::from_str(&body).ok(),
        )
    }

    #[test]
    fn only_what_was_not_applied_is_asked_of_another() {
        assert!(answered(503, true).may_ask_another(&Method::POST));
        assert!(!answered(503, false).may_ask_another(&Method::POST));
        assert!(!answered(504, true).may_ask_another(&Method::POST));
        assert!(!answered(409, true).may_ask_another(&Method::GET));
    }

    #[test]
    fn a_refusal_and_a_timeout_are_told_apart() {
        assert!(answered(409, false).is_refusal());
        assert!(!answered(400, false).is_refusal());
        assert!(answered(504, false).is_timeout());
        assert_eq!(answered(503, true).code(), "NOT_LEADER");
    }
}
