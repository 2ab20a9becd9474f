//! The errors of this crate. None of them leaves anything changed.

use crate::Position;

/// Why a ring, a set of shards or a list of ranges was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Names are unique; choose another one.
    #[error("shard {shard} is already there")]
    ShardExists {
        /// The name that is taken.
        shard: String,
    },
    /// Check the name.
    #[error("shard {shard} is not there")]
    UnknownShard {
        /// The name that nobody has.
        shard: String,
    },
    /// A merge takes two shards or more, each once.
    #[error("a merge takes at least two different shards")]
    MergeOfOne,
    /// The shard owns a single position, which cannot be divided.
    #[error("shard {shard} is too small to be split")]
    Indivisible {
        /// The shard.
        shard: String,
    },
    /// Use a weight from 2^-64 to 2^20.
    #[error("weight {weight} is not between 2^-64 and 2^20")]
    Weight {
        /// The number that was given.
        weight: f64,
    },
    /// The stored tokens were changed by something else than a ring, or damaged.
    #[error("position {position} is the token of two shards")]
    TokenTaken {
        /// The position of both tokens.
        position: Position,
    },
    /// The stored tokens were changed by something else than a ring, or damaged.
    #[error("shard {shard} has no token")]
    NoToken {
        /// The shard.
        shard: String,
    },
    /// This release reads the versions up to its own.
    #[error(
        "ring tokens of version {version} are unknown to this release, which reads version {known}"
    )]
    UnknownVersion {
        /// The version that the tokens carry.
        version: u32,
        /// The newest version that this release reads.
        known: u32,
    },
    /// A position is written as 16 hexadecimal digits.
    #[error("{text:?} is not a position of 16 hexadecimal digits")]
    MalformedPosition {
        /// The text that was given.
        text: String,
    },
    /// Give at least one range; for a composite, at least one bucket of ranges.
    #[error("a list of ranges must not be empty")]
    NoRanges,
    /// Give a list of ranges for each bucket.
    #[error("there are {lists} lists of ranges for {buckets} buckets")]
    BucketCount {
        /// The number of buckets.
        buckets: u32,
        /// The number of lists.
        lists: usize,
    },
    /// Put the smaller key first; the end is excluded, so it must differ from the start.
    #[error("range {range} is empty: its end is not above its start")]
    EmptyRange {
        /// The index of the range in the list.
        range: usize,
    },
    /// Start the later range where the earlier one ends.
    #[error("ranges {earlier} and {later} leave a gap between them")]
    Gap {
        /// The index of the range below the gap.
        earlier: usize,
        /// The index of the range above the gap.
        later: usize,
    },
    /// Start the later range where the earlier one ends.
    #[error("ranges {earlier} and {later} overlap")]
    Overlap {
        /// The index of the range with the smaller start.
        earlier: usize,
        /// The index of the other range.
        later: usize,
    },
    /// Use one of the names that the message lists.
    #[error("unknown region {name:?}: use wnam, enam, weur, eeur, apac, oc, me or af")]
    UnknownRegion {
        /// The name that was given.
        name: String,
    },
    /// Use one of the names that the message lists.
    #[error("unknown allocation strategy {name:?}: use hash, round-robin, random or location")]
    UnknownStrategy {
        /// The name that was given.
        name: String,
    },
}
