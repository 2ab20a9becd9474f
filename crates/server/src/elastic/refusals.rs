//! What a failure of a copy, or of the registry, means for whoever asked.

use shardwright_quorum::log::shard_log::AppendError;
use shardwright_registry::Error as RegistryError;
use shardwright_store::Error as StoreError;

use super::wire::{Answer, Refusal, Said};
use crate::shard::{
    ReadError, WriteError,
    split::{CutError, ImportError, SealError},
};

pub(super) fn not_fresh(error: ReadError) -> Refusal {
    match error {
        ReadError::NotPrimary { hint } => Refusal::NotPrimary { hint },
        other => Refusal::Later(other.to_string()),
    }
}

pub(super) fn not_read(error: &StoreError) -> Refusal {
    if error.is_retryable() {
        Refusal::Later(error.to_string())
    } else {
        Refusal::Failed(error.to_string())
    }
}

pub(super) fn not_cut(error: &CutError) -> Refusal {
    match error {
        CutError::SchemaChanged => Refusal::Later(error.to_string()),
        CutError::Read(error) => not_taken(error),
        CutError::Append(error) => not_appended(error.clone()),
    }
}

fn not_appended(error: AppendError) -> Refusal {
    match error {
        AppendError::NotPrimary { hint } => Refusal::NotPrimary { hint },
        AppendError::TooLarge { .. } => Refusal::Failed(error.to_string()),
        other => Refusal::Later(other.to_string()),
    }
}

pub(super) fn not_taken(error: &ImportError) -> Refusal {
    match error {
        ImportError::Trimmed => Refusal::Trimmed,
        ImportError::SchemaChanged => Refusal::Failed(error.to_string()),
        ImportError::NotBegun | ImportError::NotRunning => Refusal::Later(error.to_string()),
        ImportError::Append(error) => not_appended(error.clone()),
        ImportError::Store(error) => not_read(error),
    }
}

pub(super) fn sealed(outcome: Result<Said, SealError>) -> Answer {
    outcome.map_err(|error| not_sealed(&error))
}

fn not_sealed(error: &SealError) -> Refusal {
    match error {
        SealError::Ended => Refusal::Ended,
        SealError::Held(_) => Refusal::NotHeld,
        SealError::Write(WriteError::NotPrimary { hint }) => {
            Refusal::NotPrimary { hint: hint.clone() }
        }
        SealError::Announced | SealError::Unresolved | SealError::Write(_) => {
            Refusal::Later(error.to_string())
        }
    }
}

pub(super) fn unknown(error: &RegistryError) -> Refusal {
    Refusal::Later(format!("the registry does not say: {error}"))
}
