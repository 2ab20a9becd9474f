//! The gaps between two steps that a node writes durably for an operation, or for a commit over several shards.

use std::{fmt, str::FromStr};

/// The moment after a node has written something for a split, a merge, a move or a commit over several shards, and before what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CopyGap {
    /// The log of a source says that each copy keeps aside what its targets are to begin with.
    Cut,
    /// A part that is kept aside has its name. What it is for is not noted yet.
    Part,
    /// It is kept aside for good.
    Kept,
    /// The log of a target says that each copy begins with its part.
    Begun,
    /// A copy of a target has begun with its part, which is still there.
    Taken,
    /// The log of a target has what a source has written since.
    Imported,
    /// A source takes no writes.
    Sealed,
    /// It takes them again: the operation is aborted.
    Released,
    /// The directory of a copy has the name of one that is being removed.
    Renamed,
    /// The registry does not know a copy any more that was removed, or is to be.
    Forgotten,
    /// All shards but the first have prepared, and the gateway is about to ask the first to decide.
    Undecided,
    /// The log of a shard says that its part is prepared. Whoever asked for that has not heard of it.
    Prepared,
    /// The log of the first shard says that the commit is decided. Nobody has heard of it.
    Decided,
    /// The log of a shard says that its part has taken effect, or is dropped. The first shard has not heard of it.
    Resolved,
}

impl CopyGap {
    /// Every gap, in the order in which an operation comes to them.
    pub const ALL: [Self; 14] = [
        Self::Cut,
        Self::Part,
        Self::Kept,
        Self::Begun,
        Self::Taken,
        Self::Imported,
        Self::Sealed,
        Self::Released,
        Self::Renamed,
        Self::Forgotten,
        Self::Undecided,
        Self::Prepared,
        Self::Decided,
        Self::Resolved,
    ];
}

impl CopyGap {
    /// Whether commits over several shards come there, and not operations.
    #[must_use]
    pub fn is_of_commits(self) -> bool {
        matches!(
            self,
            Self::Undecided | Self::Prepared | Self::Decided | Self::Resolved
        )
    }
}

// Whatever is added is in the list.
const _: () = assert!(CopyGap::ALL.len() == CopyGap::Resolved as usize + 1);

impl fmt::Display for CopyGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "copy/cut",
            Self::Part => "copy/part",
            Self::Kept => "copy/kept",
            Self::Begun => "copy/begun",
            Self::Taken => "copy/taken",
            Self::Imported => "copy/imported",
            Self::Sealed => "copy/sealed",
            Self::Released => "copy/released",
            Self::Renamed => "copy/renamed",
            Self::Forgotten => "copy/forgotten",
            Self::Undecided => "commit/undecided",
            Self::Prepared => "commit/prepared",
            Self::Decided => "commit/decided",
            Self::Resolved => "commit/resolved",
        })
    }
}

/// There is no gap of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no gap {name}")]
pub struct UnknownCopyGap {
    /// The name.
    pub name: String,
}

impl FromStr for CopyGap {
    type Err = UnknownCopyGap;

    fn from_str(name: &str) -> Result<Self, UnknownCopyGap> {
        let found = Self::ALL.into_iter().find(|gap| gap.to_string() == name);
        found.ok_or_else(|| UnknownCopyGap {
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gap_is_found_by_its_name() {
        for gap in CopyGap::ALL {
            assert_eq!(gap.to_string().parse(), Ok(gap));
        }
        assert!("copy/nothing".parse::<CopyGap>().is_err());
    }
}
