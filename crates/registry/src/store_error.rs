//! What can go wrong with a call to a store.

use std::error::Error;

use crate::{Entry, Key, Revision, VALUE_MAX};

/// An error of a backend, whose type is the backend's own affair.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A call to a store that did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The key is not as the caller expected it. Nothing changed; decide again on what was found.
    #[error("{key} is not at the expected revision: {}", found_text(.found.as_deref()))]
    Conflict {
        /// The key.
        key: Key,
        /// What it holds instead.
        found: Option<Box<Entry>>,
    },
    /// The change may have happened, or may still happen. Read the key back before anything else.
    #[error("it is not known whether {key} has the new value")]
    Unknown {
        /// The key.
        key: Key,
        /// What the backend said.
        #[source]
        source: BoxError,
    },
    /// The store could not be reached or was busy. Nothing changed; try again later.
    #[error("the store is not available")]
    Unavailable(#[source] BoxError),
    /// The changes that a watch asked for are no longer kept. List, and watch from there.
    #[error("changes after {after} are no longer kept")]
    FellBehind {
        /// The revision after which changes were asked for.
        after: Revision,
    },
    /// The store was opened for reading. Nothing changed.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The value has more than [`VALUE_MAX`] bytes. Nothing changed.
    #[error("a value of {len} bytes is too large, {VALUE_MAX} are allowed")]
    TooLarge {
        /// The size, in bytes.
        len: usize,
    },
    /// What the store holds cannot be read. Restore it; a retry does not help.
    #[error("the store is damaged")]
    Damaged(#[source] BoxError),
    /// The store was closed. Nothing changed.
    #[error("the store is closed")]
    Closed,
}

fn found_text(found: Option<&Entry>) -> String {
    found.map_or_else(
        || "it has no value".to_owned(),
        |entry| format!("it is at {}", entry.revision),
    )
}

impl StoreError {
    /// Returns whether the same call may simply be repeated.
    ///
    /// A conflict is not: it would only conflict again. Neither is an unknown change: it may have happened.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Conflict { .. }
            | Self::Unknown { .. }
            | Self::FellBehind { .. }
            | Self::ReadOnly
            | Self::TooLarge { .. }
            | Self::Damaged(_)
            | Self::Closed => false,
        }
    }

    pub(crate) fn conflict(key: &Key, found: Option<Entry>) -> Self {
        Self::Conflict {
            key: key.clone(),
            found: found.map(Box::new),
        }
    }
}

pub(crate) fn check_len(value: &[u8]) -> Result<(), StoreError> {
    if value.len() <= VALUE_MAX {
        Ok(())
    } else {
        Err(StoreError::TooLarge { len: value.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_did_not_happen_and_may_pass_is_retried() {
        let key = Key::new("a").expect("a key");
        let never = [
            StoreError::conflict(&key, None),
            StoreError::Unknown {
                key: key.clone(),
                source: "cut off".into(),
            },
            StoreError::FellBehind { after: Revision(1) },
            StoreError::ReadOnly,
            StoreError::TooLarge { len: 1 },
            StoreError::Damaged("torn".into()),
            StoreError::Closed,
        ];
        for error in never {
            assert!(!error.is_retryable(), "{error}");
        }
        assert!(StoreError::Unavailable("busy".into()).is_retryable());
    }

    #[test]
    fn a_conflict_says_what_was_found() {
        let key = Key::new("a").expect("a key");
        let entry = Entry {
            key: key.clone(),
            value: vec![],
            revision: Revision(7),
        };
        let message = StoreError::conflict(&key, Some(entry)).to_string();
        assert_eq!(message, "a is not at the expected revision: it is at r7");
    }
}
