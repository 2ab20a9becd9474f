//! What becomes of an operation that is refused, as callers see it.

use axum::http::StatusCode;
use shardwright_elastic::{Error, JournalError, StoreError};

use crate::{core::Refusal, http::Problem};

/// There is no such operation, or nobody remembers it.
pub(super) fn unknown(id: &str) -> Problem {
    let message = format!("there is no operation {id}");
    Problem::new(StatusCode::NOT_FOUND, "OPERATION_NOT_FOUND", message)
        .hint("operations that ended are forgotten after a while")
}

/// Makes an answer of what went wrong.
pub(super) fn problem(error: Error) -> Problem {
    let message = error.to_string();
    let conflict = |code| Problem::new(StatusCode::CONFLICT, code, message.clone());
    match error {
        Error::UnknownOperation { operation } => unknown(operation.as_str()),
        Error::UnknownShard { .. } => {
            Problem::new(StatusCode::NOT_FOUND, "SHARD_NOT_FOUND", message)
                .hint("list the shards: it may have been split or merged since")
        }
        Error::UnknownNode { .. } => Problem::new(StatusCode::NOT_FOUND, "UNKNOWN_NODE", message),
        Error::Name(_) | Error::MergeOfOne | Error::Config(_) => Problem::bad_request(message),
        Error::Unsupported { .. } => {
            Problem::new(StatusCode::NOT_IMPLEMENTED, "UNSUPPORTED", message)
                .hint("drain the node that is to lose its copy, or promote another one")
        }
        Error::AlreadyThere { .. } => conflict("HOLDS"),
        Error::TooFewKeys { .. } => {
            conflict("TOO_FEW_KEYS").hint("say where it is to be split, or force it")
        }
        Error::Indivisible { .. } => conflict("INDIVISIBLE")
            .hint("split it at the middle, or at a position inside of its range"),
        Error::NotNeighbours { .. } => {
            conflict("NOT_NEIGHBOURS").hint("merge shards whose ranges follow each other")
        }
        Error::TooLarge { .. } => conflict("TOO_LARGE").hint("merge fewer, or force it"),
        Error::TooFewShards { .. } => conflict("TOO_FEW_SHARDS").hint("force it"),
        Error::NoCapacity { .. } => conflict("NO_CAPACITY"),
        Error::InOperation { .. } => Problem {
            is_retryable: true,
            ..conflict("IN_OPERATION").hint("wait until that is over, or cancel it")
        },
        Error::StalePlan { .. } | Error::Work(_) => {
            conflict("STALE").hint("list the shards, and ask again")
        }
        Error::TooLate { phase, .. } => {
            let problem = conflict("TOO_LATE");
            match phase.is_final() {
                true => problem,
                false => problem.hint("once it has committed, reverse undoes it"),
            }
        }
        Error::Aborted { .. } => conflict("ABORTED"),
        Error::Closed => Refusal::NotTakenUp.into(),
        Error::Journal(error) => of_journal(&error, message),
        Error::Store(error) => of_store(&error, message),
        Error::Busy => Problem::unavailable("BUSY", message),
        // None of the others comes from shards on nodes.
        _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "FAILED", message),
    }
}

fn of_journal(error: &JournalError, message: String) -> Problem {
    match error {
        JournalError::Unknown(_) => {
            Problem::indeterminate(message).hint("list the operations to see whether it began")
        }
        JournalError::Unavailable(_) => Problem::unavailable("REGISTRY", message),
        JournalError::Conflict { .. } | JournalError::Stale { .. } => {
            Problem::new(StatusCode::CONFLICT, "STALE", message)
        }
        JournalError::Held { .. } => Problem {
            is_retryable: true,
            ..Problem::new(StatusCode::CONFLICT, "IN_OPERATION", message)
        },
        JournalError::Apart { .. } => Problem::new(StatusCode::CONFLICT, "APART", message),
        JournalError::Replicated { .. } => {
            Problem::new(StatusCode::NOT_IMPLEMENTED, "UNSUPPORTED", message)
        }
        _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "FAILED", message),
    }
}

fn of_store(error: &StoreError, message: String) -> Problem {
    if error.is_retryable() {
        return Problem::unavailable("NODE_UNAVAILABLE", message)
            .hint("ask again when the shard has a primary");
    }
    match error {
        StoreError::Unknown { .. } | StoreError::Removed { .. } => {
            Problem::new(StatusCode::NOT_FOUND, "SHARD_NOT_FOUND", message)
        }
        _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "FAILED", message),
    }
}
