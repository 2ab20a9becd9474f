//! Names: of a commit, of a participant, and of one opening of its writer.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The name of a commit, which is also its age: the smaller one is older, and goes first where two want one writer.
///
/// A commit that is repeated because it was wounded should keep its `started` under a new `author`, so that it grows old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommitId {
    /// When it began, by any count that grows: milliseconds of a clock, or a counter. Fairness rests on it, nothing else.
    pub started: u64,
    /// What no other commit has: a random number, or one of a life and its count.
    pub author: u128,
}

impl CommitId {
    /// Older than any other.
    pub const OLDEST: Self = Self {
        started: 0,
        author: 0,
    };
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:032x}", self.started, self.author)
    }
}

impl std::str::FromStr for CommitId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let (started, author) = text.split_once('-').ok_or(BadId)?;
        let number = |part: &str, width| {
            (part.len() == width)
                .then(|| u128::from_str_radix(part, 16).ok())
                .flatten()
                .ok_or(BadId)
        };
        Ok(Self {
            started: u64::try_from(number(started, 16)?).map_err(|_| BadId)?,
            author: number(author, 32)?,
        })
    }
}

/// A text that is not the name of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a commit's name is 16 and 32 hexadecimal digits with a hyphen between")]
pub struct BadId;

/// The name of a participant: a shard, or the catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Party(Arc<str>);

impl Party {
    /// A participant of that name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One opening of a participant's writer for one commit. It is never granted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket {
    /// The participant's term: one life of it, or one reign of its primary.
    pub term: u64,
    /// Which opening of that term.
    pub number: u64,
}
