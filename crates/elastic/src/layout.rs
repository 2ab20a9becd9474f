//! Layouts: which shard owns which keys, and on which node it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_hashing::hash_to_shard;
use shardwright_topology::{KeyRange, NodeId, Position, ShardId};

use crate::Extent;

/// A shard: its keys and its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name.
    pub shard: ShardId,
    /// Where its data is.
    pub node: NodeId,
    /// The keys that it owns.
    pub extent: Extent,
}

/// An immutable table of the shards that own keys: no key has two owners.
///
/// With extents of positions every key has one. A look-up is a hash and a binary search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    parts: BTreeMap<ShardId, Part>,
    index: Index,
}

/// Parts that make no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLayout {
    /// There is no shard.
    #[error("no shard owns a key")]
    Empty,
    /// Two shards have one name.
    #[error("shard {shard} is named twice")]
    Twice {
        /// The name.
        shard: ShardId,
    },
    /// Two shards own a key.
    #[error("shards {first} and {second} own the same keys")]
    Overlap {
        /// One of them.
        first: ShardId,
        /// The other.
        second: ShardId,
    },
    /// Positions have no owner.
    #[error("nobody owns {range}")]
    Gap {
        /// The positions.
        range: KeyRange,
    },
    /// The extents are of different kinds, or of different numbers of buckets.
    #[error("the extent of shard {shard} is of another kind than the others")]
    Mixed {
        /// A shard whose extent differs.
        shard: ShardId,
    },
}

/// Starts of stretches in their order, and who owns each.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Index {
    /// Tiles the space, so that only starts matter.
    Positions(Vec<(u64, ShardId)>),
    /// By bucket; without buckets there is one.
    Keys {
        buckets: u32,
        starts: Vec<(u32, Vec<u8>, ShardId)>,
    },
}

impl Layout {
    /// Returns the layout of some shards.
    ///
    /// # Errors
    /// [`InvalidLayout`]: a key would have two owners, or a position none.
    pub fn new(parts: impl IntoIterator<Item = Part>) -> Result<Self, InvalidLayout> {
        let mut named = BTreeMap::new();
        for part in parts {
            if let Some(other) = named.insert(part.shard.clone(), part) {
                return Err(InvalidLayout::Twice { shard: other.shard });
            }
        }
        let first = named.values().next().ok_or(InvalidLayout::Empty)?;
        let index = match &first.extent {
            Extent::Positions { .. } => positions(&named)?,
            Extent::Keys { .. } => keys(&named, None)?,
            Extent::Bucket { buckets, .. } => keys(&named, Some(*buckets))?,
        };
        Ok(Self {
            parts: named,
            index,
        })
    }

    /// Returns the shard that owns a key; `None` for a key outside of all spans.
    #[must_use]
    pub fn owner(&self, key: &[u8]) -> Option<&Part> {
        let shard = match &self.index {
            Index::Positions(starts) => {
                let position = Position::of(key).0;
                let after = starts.partition_point(|(start, _)| *start <= position);
                &starts.get(after.checked_sub(1)?)?.1
            }
            Index::Keys { buckets, starts } => {
                let bucket = if *buckets > 1 {
                    hash_to_shard(key, *buckets)
                } else {
                    0
                };
                let at = (bucket, key);
                let after = starts.partition_point(|(of, start, _)| (*of, start.as_slice()) <= at);
                &starts.get(after.checked_sub(1)?)?.2
            }
        };
        self.parts.get(shard).filter(|part| match &part.extent {
            Extent::Positions { .. } => true,
            Extent::Keys { .. } | Extent::Bucket { .. } => part.extent.contains(key),
        })
    }

    /// Returns a shard by its name.
    #[must_use]
    pub fn part(&self, shard: &str) -> Option<&Part> {
        self.parts.get(shard)
    }

    /// Returns the shards in the order of their names.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.values()
    }

    /// Returns how many shards there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a layout is never empty")]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Returns the layout in which some shards are replaced by others.
    ///
    /// # Errors
    /// [`InvalidLayout`], if the others do not own the same keys.
    pub fn replaced(&self, gone: &[Part], come: &[Part]) -> Result<Self, InvalidLayout> {
        let stay = self.parts().filter(|part| {
            let gone = gone.iter().any(|gone| gone.shard == part.shard);
            let again = come.iter().any(|come| come.shard == part.shard);
            !gone && !again
        });
        Self::new(stay.chain(come).cloned())
    }
}

fn positions(parts: &BTreeMap<ShardId, Part>) -> Result<Index, InvalidLayout> {
    let mut stretches = Vec::new();
    for part in parts.values() {
        let Extent::Positions { ranges } = &part.extent else {
            let shard = part.shard.clone();
            return Err(InvalidLayout::Mixed { shard });
        };
        stretches.extend(ranges.iter().map(|range| (*range, &part.shard)));
    }
    stretches.sort_unstable();
    let mut next = Some(Position::MIN);
    let mut before: Option<&ShardId> = None;
    for &(range, shard) in &stretches {
        match next {
            Some(position) if position == range.start() => {}
            Some(position) if position < range.start() => {
                let range = KeyRange::new(position, Some(range.start()));
                let range = range.expect("a gap is not empty");
                return Err(InvalidLayout::Gap { range });
            }
            _ => {
                let first = before.unwrap_or(shard);
                return Err(overlap(first, shard));
            }
        }
        (next, before) = (range.end(), Some(shard));
    }
    if let Some(position) = next {
        let range = KeyRange::new(position, None).expect("up to the end is not empty");
        return Err(InvalidLayout::Gap { range });
    }
    let start = |(range, shard): (KeyRange, &ShardId)| (range.start().0, shard.clone());
    Ok(Index::Positions(stretches.into_iter().map(start).collect()))
}

fn overlap(first: &ShardId, second: &ShardId) -> InvalidLayout {
    InvalidLayout::Overlap {
        first: first.clone(),
        second: second.clone(),
    }
}

fn keys(parts: &BTreeMap<ShardId, Part>, of: Option<u32>) -> Result<Index, InvalidLayout> {
    let mut spans = Vec::new();
    for part in parts.values() {
        let (bucket, span) = match (&part.extent, of) {
            (Extent::Keys { span }, None) => (0, span),
            (
                Extent::Bucket {
                    bucket,
                    buckets,
                    span,
                },
                Some(of),
            ) if *buckets == of => (*bucket, span),
            _ => {
                let shard = part.shard.clone();
                return Err(InvalidLayout::Mixed { shard });
            }
        };
        spans.push((bucket, span, &part.shard));
    }
    spans.sort_unstable();
    for pair in spans.windows(2) {
        let ((bucket, span, first), (next_bucket, next, second)) = (&pair[0], &pair[1]);
        let apart = span.end.as_ref().is_some_and(|end| *end <= next.start);
        if bucket == next_bucket && !apart {
            return Err(overlap(first, second));
        }
    }
    let start = |(bucket, span, shard): (u32, &crate::KeySpan, &ShardId)| {
        (bucket, span.start.clone(), shard.clone())
    };
    Ok(Index::Keys {
        buckets: of.unwrap_or(1),
        starts: spans.into_iter().map(start).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeySpan;

    fn part(shard: u32, extent: Extent) -> Part {
        Part {
            shard: ShardId::numbered(shard),
            node: NodeId::new("n1").expect("a name"),
            extent,
        }
    }

    #[test]
    fn every_position_has_one_owner_or_the_layout_is_refused() {
        let parts: Vec<Part> = (0..4)
            .zip(KeyRange::even(4))
            .map(|(number, range)| part(number, Extent::range(range)))
            .collect();
        let layout = Layout::new(parts.clone()).expect("they tile the space");
        for key in ["", "user:1", "tenant-123"] {
            let owner = layout.owner(key.as_bytes()).expect("every key has one");
            assert!(owner.extent.contains(key.as_bytes()));
        }
        let gap = Layout::new(parts[1..].to_vec());
        assert!(matches!(gap, Err(InvalidLayout::Gap { .. })), "{gap:?}");
        let whole = part(9, Extent::range(KeyRange::ALL));
        let twice = Layout::new(parts.into_iter().chain([whole]));
        assert!(matches!(twice, Err(InvalidLayout::Overlap { .. })));
    }

    #[test]
    fn a_key_outside_of_all_spans_has_no_owner() {
        let span = |start: &str, end: &str| KeySpan {
            start: start.into(),
            end: Some(end.into()),
        };
        let keys = |span| Extent::Keys { span };
        let parts = [part(0, keys(span("a", "m"))), part(1, keys(span("m", "z")))];
        let layout = Layout::new(parts).expect("apart");
        let owner = |key: &str| layout.owner(key.as_bytes()).map(|part| part.shard.as_str());
        assert_eq!(owner("key"), Some("shard-0"));
        assert_eq!(owner("m"), Some("shard-1"));
        assert_eq!((owner("A"), owner("zebra")), (None, None));
    }

    #[test]
    fn buckets_are_told_apart() {
        let bucket = |bucket| Extent::Bucket {
            bucket,
            buckets: 3,
            span: KeySpan::all(),
        };
        let layout = Layout::new((0..3).map(|at| part(at, bucket(at)))).expect("apart");
        for key in ["a", "b", "c", "d", "e"] {
            let owner = layout.owner(key.as_bytes()).expect("every key has one");
            assert!(owner.extent.contains(key.as_bytes()), "{key}");
        }
        let mixed = Layout::new([part(0, bucket(0)), part(1, Extent::range(KeyRange::ALL))]);
        assert!(matches!(mixed, Err(InvalidLayout::Mixed { .. })));
    }
}
