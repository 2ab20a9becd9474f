//! What can go wrong with a put.

use std::{sync::Arc, time::Duration};

use crate::{CommitLevel, PeerId};

/// Settings that no coordinator can follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// Nobody would store anything.
    #[error("a replication factor of 0 stores nothing: use 1 or more")]
    NoCopies,
    /// Every copy would be late.
    #[error("a copy timeout of 0 lets no copy finish: use a longer one")]
    NoTime,
    /// Every put would be one too many.
    #[error("no put may be under way: allow 1 or more")]
    NoPuts,
}

/// Why a put was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nothing was written.
    #[error(
        "a replication factor of {replication_factor} needs {} peers and {known} are known: nothing was written; add peers or lower the factor",
        .replication_factor - 1
    )]
    NotEnoughPeers {
        /// How many copies were wanted, the local one included.
        replication_factor: usize,
        /// How many peers are known.
        known: usize,
    },
    /// Too many puts are under way, or too large ones. Nothing was written.
    #[error(
        "too many puts are under way: nothing was written; repeat it later, or raise the limits of the settings"
    )]
    Overloaded,
    /// The level can no longer be reached. Some nodes may have the event: repeat the put with the same key.
    #[error(
        "level {level} was not reached: {stored} of {needed} copies are stored and no other peer is left; repeat the put with the same key"
    )]
    NotReached {
        /// What was asked for.
        level: CommitLevel,
        /// How many nodes had to have the event; where it is one, that is this node.
        needed: usize,
        /// How many have confirmed that they have it.
        stored: usize,
        /// The copies that failed, in the order in which they did.
        failures: Vec<CopyFailure>,
    },
    /// The runtime is shutting down, or the store or the client panicked. Some nodes may have the event.
    #[error("the put was interrupted: repeat it with the same key")]
    Interrupted,
}

impl Error {
    /// Returns whether some nodes may have the event all the same.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        match self {
            Self::NotEnoughPeers { .. } | Self::Overloaded => false,
            Self::NotReached { .. } | Self::Interrupted => true,
        }
    }
}

/// A copy that failed.
#[derive(Debug, Clone)]
pub struct CopyFailure {
    /// The peer that should have it; `None` is this node.
    pub peer: Option<PeerId>,
    /// Why it failed.
    pub error: CopyError,
}

/// Why a copy failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CopyError {
    /// It did not answer in time, and may have stored the event.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The peer was dropped before its turn came.
    #[error("the peer was dropped")]
    Dropped,
    /// The key has another event there, which was kept.
    #[error("the key has another event")]
    KeyTaken,
    /// The storage or the client says so.
    #[error("the copy failed")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// The error of a storage or of a peer client that has another event under the key already. Use another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key has another event: use another key")]
pub struct KeyTaken;
