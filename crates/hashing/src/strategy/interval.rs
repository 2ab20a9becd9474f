//! Intervals of keys.

use std::ops::{Range, RangeFrom, RangeFull, RangeTo};

/// The keys from `start`, included, to `end`, excluded, in the order of their bytes.
///
/// Pairs and the ranges of the language convert into it: `("a", "m")`, `"a".."m"`, `"m"..`, `.."a"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyInterval {
    /// The smallest key; `None` if there is no smallest.
    pub start: Option<Box<[u8]>>,
    /// The key above the largest; `None` if there is no largest.
    pub end: Option<Box<[u8]>>,
}

impl KeyInterval {
    /// Whether no key lies in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Some(start), Some(end)) => start >= end,
            // No key is below the empty one.
            (None, Some(end)) => end.is_empty(),
            (_, None) => false,
        }
    }

    fn between(start: Option<&[u8]>, end: Option<&[u8]>) -> Self {
        Self {
            start: start.map(Box::from),
            end: end.map(Box::from),
        }
    }
}

impl<A: AsRef<[u8]>, B: AsRef<[u8]>> From<(A, B)> for KeyInterval {
    fn from((start, end): (A, B)) -> Self {
        Self::between(Some(start.as_ref()), Some(end.as_ref()))
    }
}

impl<A: AsRef<[u8]>, B: AsRef<[u8]>> From<&(A, B)> for KeyInterval {
    fn from((start, end): &(A, B)) -> Self {
        Self::between(Some(start.as_ref()), Some(end.as_ref()))
    }
}

impl<K: AsRef<[u8]>> From<Range<K>> for KeyInterval {
    fn from(range: Range<K>) -> Self {
        Self::between(Some(range.start.as_ref()), Some(range.end.as_ref()))
    }
}

impl<K: AsRef<[u8]>> From<RangeFrom<K>> for KeyInterval {
    fn from(range: RangeFrom<K>) -> Self {
        Self::between(Some(range.start.as_ref()), None)
    }
}

impl<K: AsRef<[u8]>> From<RangeTo<K>> for KeyInterval {
    fn from(range: RangeTo<K>) -> Self {
        Self::between(None, Some(range.end.as_ref()))
    }
}

impl From<RangeFull> for KeyInterval {
    fn from(_: RangeFull) -> Self {
        Self::between(None, None)
    }
}
