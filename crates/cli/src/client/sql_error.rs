//! Why a statement that was sent to a node has no answer, or a bad one.

use reqwest::{StatusCode, Url};

use super::ErrorBody;

/// A statement failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    /// None is named.
    #[error("no node is named")]
    NoNode,
    /// Nobody accepted the connection, so nothing changes.
    #[error("no node answers at {url}")]
    Unreachable {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke after the statement went out.
    #[error("the connection to {url} broke before the answer came")]
    Broken {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    /// The node did not answer.
    #[error("no answer from {url} within {waited}")]
    Silent {
        url: Url,
        waited: humantime::Duration,
    },
    /// The node answered with an error of its own.
    #[error("{message}")]
    Answered {
        status: StatusCode,
        code: String,
        message: String,
        hint: Option<String>,
        is_retryable: bool,
    },
    /// The time is up, and an attempt may have happened.
    #[error("it is not known whether the statement has happened")]
    Indeterminate(#[source] Box<Self>),
    /// The node takes no request of this size.
    #[error("{url} takes no request as large as this statement with its values")]
    TooLarge { url: Url },
    /// Something else than a node listens there.
    #[error("{url} answered {status}, and not as a node does")]
    NoNodeThere { url: Url, status: StatusCode },
    /// The answer has another shape than this release knows.
    #[error("the answer of {url} cannot be read: {reason}")]
    Malformed { url: Url, reason: String },
}

/// What became of an attempt that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// Nothing happened, and nothing will: another attempt may do better.
    NotDone,
    /// It may have happened, or may yet.
    Unknown,
    /// It has happened on some shards, and not on others: another attempt under the same number does the rest, unless that is refused.
    Apart,
    /// It is decided: another attempt would end alike.
    Final,
}

/// The codes of refusals by a rule, as `sql` on files has them.
const REFUSALS: [&str; 22] = [
    "AMBIGUOUS_KEY",
    "BAD_COLOCATION",
    "CROSS_SHARD_TRANSACTION",
    "EXISTS",
    "GENERATED_KEY",
    "GLOBAL_CONFLICT",
    "GLOBAL_INDEX",
    "IMPORT_UNFINISHED",
    "KEY_MISMATCH",
    "KEY_REQUIRED",
    "LOCKED",
    "MULTI_SHARD_WRITE",
    "NOT_EMPTY",
    "NOT_SHARD_LOCAL",
    "NO_PRIMARY_KEY",
    "NULL_KEY",
    "READ_ONLY",
    "SHARD_KEY_UPDATE",
    "TRIGGER_NOT_LOCAL",
    "UNLIKE_KEYS",
    "UNSUPPORTED",
    "WRONG_SHARD",
];

impl SqlError {
    /// The error for a statement that has no answer.
    pub(super) fn of(url: &Url, source: reqwest::Error) -> Self {
        let url = url.clone();
        if source.is_connect() {
            Self::Unreachable { url, source }
        } else {
            Self::Broken { url, source }
        }
    }

    /// The error that a node answered with.
    pub(super) fn answered(url: &Url, status: StatusCode, body: Option<ErrorBody>) -> Self {
        let url = url.clone();
        let error = match body {
            // Whoever stands before the node may say it too, in words of its own.
            _ if status == StatusCode::PAYLOAD_TOO_LARGE => return Self::TooLarge { url },
            Some(ErrorBody { error }) => error,
            None => return Self::NoNodeThere { url, status },
        };
        Self::Answered {
            status,
            code: error.code,
            message: error.message,
            hint: error.hint,
            is_retryable: error.retryable,
        }
    }

    /// The error for a statement of which an attempt may have happened; the last attempt failed like this.
    pub(super) fn indeterminate(last: Self) -> Self {
        match last {
            // The node says so itself.
            answered @ Self::Answered { status, .. } if status == StatusCode::GATEWAY_TIMEOUT => {
                answered
            }
            last => Self::Indeterminate(Box::new(last)),
        }
    }

    /// What became of the attempt.
    pub(super) fn fate(&self) -> Fate {
        match self {
            Self::Unreachable { .. } => Fate::NotDone,
            Self::Broken { .. } | Self::Silent { .. } => Fate::Unknown,
            Self::Answered { status, .. } if *status == StatusCode::GATEWAY_TIMEOUT => {
                Fate::Unknown
            }
            Self::Answered {
                status,
                is_retryable: true,
                ..
            } if *status == StatusCode::SERVICE_UNAVAILABLE => Fate::NotDone,
            Self::Answered { code, .. } if code == "PARTIAL_WRITE" => Fate::Apart,
            Self::NoNode
            | Self::Answered { .. }
            | Self::Indeterminate(_)
            | Self::TooLarge { .. }
            | Self::NoNodeThere { .. }
            | Self::Malformed { .. } => Fate::Final,
        }
    }

    /// The code that programs recognise it by.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::NoNode | Self::Unreachable { .. } => "UNREACHABLE",
            Self::Broken { .. } | Self::Silent { .. } | Self::Indeterminate(_) => "INDETERMINATE",
            Self::Answered { code, .. } => code,
            Self::TooLarge { .. } => "TOO_LARGE",
            Self::NoNodeThere { .. } | Self::Malformed { .. } => "NO_NODE",
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::NoNode | Self::Unreachable { .. } => Some("name a running node with --node"),
            Self::Broken { .. } | Self::Silent { .. } | Self::Indeterminate(_) => {
                Some("look whether it has happened before you repeat it")
            }
            Self::Answered { code, .. } if code == "MULTI_SHARD_WRITE" => Some(
                "write by key, one shard at a time, or let `sql --best-effort` write shard after shard",
            ),
            Self::Answered { status, hint, .. } => match hint {
                Some(hint) => Some(hint),
                None if *status == StatusCode::UNAUTHORIZED => {
                    Some("give the cluster's token with --token-file")
                }
                None => None,
            },
            Self::TooLarge { .. } => Some("write fewer rows or smaller values at once"),
            Self::NoNodeThere { .. } => Some("is --node the address of a node?"),
            Self::Malformed { .. } => Some("use the release that the nodes run"),
        }
    }

    /// Whether a rule refused the statement.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Answered { status, code, .. }
            if *status == StatusCode::CONFLICT && REFUSALS.contains(&code.as_str()))
    }

    /// Whether time ran out, here or there.
    pub(crate) fn is_timeout(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::Indeterminate(_) => true,
            Self::Answered { status, .. } => {
                *status == StatusCode::GATEWAY_TIMEOUT || *status == StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NoNode
            | Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::TooLarge { .. }
            | Self::NoNodeThere { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: &str, retryable: bool) -> SqlError {
        let body = format!(
            r#"{{"error": {{"code": "{code}", "message": "no", "hint": null, "retryable": {retryable}}}}}"#
        );
        SqlError::answered(
            &"http://localhost".parse().unwrap(),
            StatusCode::from_u16(status).unwrap(),
            serde_json::from_str(&body).ok(),
        )
    }

    #[test]
    fn an_answer_says_what_became_of_the_attempt() {
        let fate = |status, retryable| answered(status, "X", retryable).fate();
        assert_eq!(fate(503, true), Fate::NotDone);
        assert_eq!(fate(503, false), Fate::Final);
        assert_eq!(fate(504, false), Fate::Unknown);
        assert_eq!(fate(400, false), Fate::Final);
        assert_eq!(fate(409, true), Fate::Final);
        let partial = answered(409, "PARTIAL_WRITE", false);
        assert_eq!(partial.fate(), Fate::Apart);
    }

    #[test]
    fn a_request_that_is_too_large_is_called_so_whoever_says_it() {
        let url: Url = "http://localhost".parse().unwrap();
        for error in [
            answered(413, "PAYLOAD_TOO_LARGE", false),
            SqlError::answered(&url, StatusCode::PAYLOAD_TOO_LARGE, None),
        ] {
            assert_eq!((error.code(), error.fate()), ("TOO_LARGE", Fate::Final));
            assert!(error.hint().unwrap().contains("smaller"));
        }
    }

    #[test]
    fn a_refusal_a_failure_and_a_timeout_are_told_apart() {
        assert!(answered(409, "GLOBAL_INDEX", false).is_refusal());
        assert!(!answered(409, "UNKNOWN_TABLE", false).is_refusal());
        assert!(!answered(400, "SQL_ERROR", false).is_refusal());
        assert!(!answered(409, "TOO_LARGE", false).is_refusal());
        assert!(!answered(409, "NEW_IN_A_LATER_RELEASE", false).is_refusal());
        assert!(answered(504, "INDETERMINATE", false).is_timeout());
        assert!(answered(503, "UNREACHABLE", true).is_timeout());
        let last = answered(503, "UNREACHABLE", true);
        assert_eq!(SqlError::indeterminate(last).code(), "INDETERMINATE");
    }
}
