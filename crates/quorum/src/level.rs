//! Commit levels: when a put is acknowledged.

use std::{fmt, str::FromStr};

/// When a put is acknowledged. The other copies are made all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum CommitLevel {
    /// Once this node's own store has the event.
    One,
    /// Once a majority of the replication factor have it.
    #[default]
    Quorum,
    /// Once as many nodes as the replication factor have it.
    All,
}

impl CommitLevel {
    /// Returns how many nodes must have the event. Where it is one, that is this node.
    #[must_use]
    pub fn copies_needed(self, replication_factor: usize) -> usize {
        match self {
            Self::One => 1,
            Self::Quorum => replication_factor / 2 + 1,
            Self::All => replication_factor,
        }
    }
}

impl fmt::Display for CommitLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::One => "ONE",
            Self::Quorum => "QUORUM",
            Self::All => "ALL",
        })
    }
}

/// The text names no commit level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no commit level: use ONE, QUORUM or ALL")]
pub struct UnknownLevel(String);

impl FromStr for CommitLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let known = [Self::One, Self::Quorum, Self::All];
        let named = known
            .into_iter()
            .find(|level| level.to_string().eq_ignore_ascii_case(text));
        named.ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_a_majority_of_the_factor() {
        let needed: Vec<usize> = (1..=8)
            .map(|factor| CommitLevel::Quorum.copies_needed(factor))
            .collect();
        assert_eq!(needed, [1, 2, 2, 3, 3, 4, 4, 5]);
    }

    #[test]
    fn a_misspelt_level_is_refused_by_name() {
        assert_eq!("quorum".parse(), Ok(CommitLevel::Quorum));
        let refused = "QUORRUM".parse::<CommitLevel>().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "\"QUORRUM\" is no commit level: use ONE, QUORUM or ALL"
        );
    }
}
