//! Key ranges: stretches of the hash space that a shard owns.

use std::fmt;

use serde::{Deserialize, Serialize};
use shardwright_hashing::Position;

/// A non-empty stretch `[start, end)` of the hash space; the end may be the end of the space.
///
/// Kept as first and last position, so that the whole space needs no position beyond the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct KeyRange {
    start: Position,
    last: Position,
}

/// A range that would hold no position, or whose stored form cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// The end is not behind the start.
    #[error("a range from {start} to {end} holds no position")]
    Empty {
        /// The first position.
        start: Position,
        /// The position that should have been behind it.
        end: Position,
    },
    /// A stored bound is not 16 hexadecimal digits.
    #[error("{text:?} is no position: 16 hexadecimal digits are")]
    Bound {
        /// The text that was found.
        text: String,
    },
}

impl KeyRange {
    /// The whole space.
    pub const ALL: Self = Self {
        start: Position::MIN,
        last: Position::MAX,
    };

    /// Returns the range from `start` up to, not including, `end`; without an end, to the end of the space.
    ///
    /// # Errors
    /// [`InvalidRange::Empty`] unless the end is behind the start.
    pub fn new(start: Position, end: Option<Position>) -> Result<Self, InvalidRange> {
        match end {
            None => Ok(Self {
                start,
                last: Position::MAX,
            }),
            Some(end) if start < end => Ok(Self {
                start,
                last: Position(end.0 - 1),
            }),
            Some(end) => Err(InvalidRange::Empty { start, end }),
        }
    }

    /// Returns `parts` ranges of equal width (to one position) that tile the space, in order.
    ///
    /// The range with index i holds the positions whose [`Position::equal_range`] is i.
    pub fn even(parts: u32) -> impl Iterator<Item = Self> {
        let first = move |index: u32| (u128::from(index) << 64).div_ceil(u128::from(parts));
        let position = |value: u128| Position(u64::try_from(value).expect("below 2^64"));
        (0..parts).map(move |index| Self {
            start: position(first(index)),
            last: position(first(index + 1) - 1),
        })
    }

    /// Returns the first position.
    #[must_use]
    pub fn start(&self) -> Position {
        self.start
    }

    /// Returns the position behind the last; `None` is the end of the space.
    #[must_use]
    pub fn end(&self) -> Option<Position> {
        self.last.0.checked_add(1).map(Position)
    }

    /// Returns the last position.
    #[must_use]
    pub fn last(&self) -> Position {
        self.last
    }

    /// Returns how many positions the range holds: 1 to 2^64.
    #[must_use]
    pub fn width(&self) -> u128 {
        u128::from(self.last.0 - self.start.0) + 1
    }

    /// Returns whether the range holds a position.
    #[must_use]
    pub fn contains(&self, position: Position) -> bool {
        self.start <= position && position <= self.last
    }

    /// Returns whether the range holds all positions of another.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// Returns whether two ranges share a position.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// Returns the part before `at` and the part from `at` on; `None` if one of them would be empty.
    #[must_use]
    pub fn split_at(&self, at: Position) -> Option<(Self, Self)> {
        if at <= self.start || self.last < at {
            return None;
        }
        let before = Self {
            start: self.start,
            last: Position(at.0 - 1),
        };
        Some((
            before,
            Self {
                start: at,
                last: self.last,
            },
        ))
    }

    /// Returns the two halves, of equal width or the second one position wider; `None` for a range of one position.
    #[must_use]
    pub fn halve(&self) -> Option<(Self, Self)> {
        let half = (self.last.0 - self.start.0).div_ceil(2);
        self.split_at(Position(self.start.0 + half))
    }

    /// Returns the union with a neighbour on either side; `None` if there is a gap between the two, or an overlap.
    #[must_use]
    pub fn join(&self, neighbour: &Self) -> Option<Self> {
        if self.end() == Some(neighbour.start) {
            Some(Self {
                start: self.start,
                last: neighbour.last,
            })
        } else if neighbour.end() == Some(self.start) {
            Some(Self {
                start: neighbour.start,
                last: self.last,
            })
        } else {
            None
        }
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end() {
            Some(end) => write!(f, "[{}, {end})", self.start),
            None => write!(f, "[{}, end)", self.start),
        }
    }
}

/// The stored form. Texts, because many readers of JSON lose the last bits of a large integer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    start: String,
    end: Option<String>,
}

impl From<KeyRange> for Text {
    fn from(range: KeyRange) -> Self {
        Self {
            start: range.start.to_string(),
            end: range.end().map(|end| end.to_string()),
        }
    }
}

impl TryFrom<Text> for KeyRange {
    type Error = InvalidRange;

    fn try_from(text: Text) -> Result<Self, InvalidRange> {
        Self::new(position(text.start)?, text.end.map(position).transpose()?)
    }
}

fn position(text: String) -> Result<Position, InvalidRange> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parsed = if digits {
        u64::from_str_radix(&text, 16).ok()
    } else {
        None
    };
    parsed.map(Position).ok_or(InvalidRange::Bound { text })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn range(start: u64, end: u64) -> KeyRange {
        KeyRange::new(Position(start), Some(Position(end))).expect("not empty")
    }

    #[test]
    fn the_whole_space_has_an_end_that_is_no_position() {
        assert_eq!(KeyRange::ALL.end(), None);
        assert_eq!(KeyRange::ALL.width(), 1 << 64);
        assert_eq!(KeyRange::new(Position::MIN, None), Ok(KeyRange::ALL));
        assert!(KeyRange::ALL.contains(Position::MAX));
    }

    #[test]
    fn an_empty_range_is_refused() {
        let refused = KeyRange::new(Position(5), Some(Position(5)));
        assert_eq!(
            refused,
            Err(InvalidRange::Empty {
                start: Position(5),
                end: Position(5)
            })
        );
        assert!(KeyRange::new(Position(5), Some(Position(4))).is_err());
    }

    #[test]
    fn a_range_is_halved_in_the_middle() {
        let (left, right) = KeyRange::ALL.halve().expect("wide enough");
        assert_eq!(left.to_string(), "[0000000000000000, 8000000000000000)");
        assert_eq!(right.to_string(), "[8000000000000000, end)");
        assert_eq!(range(4, 6).halve(), Some((range(4, 5), range(5, 6))));
        assert_eq!(range(4, 5).halve(), None);
    }

    #[test]
    fn a_cut_outside_or_at_the_start_is_none() {
        assert_eq!(range(4, 8).split_at(Position(4)), None);
        assert_eq!(range(4, 8).split_at(Position(8)), None);
        assert_eq!(
            range(4, 8).split_at(Position(7)),
            Some((range(4, 7), range(7, 8)))
        );
    }

    #[test]
    fn only_neighbours_join() {
        assert_eq!(range(1, 3).join(&range(3, 9)), Some(range(1, 9)));
        assert_eq!(range(3, 9).join(&range(1, 3)), Some(range(1, 9)));
        assert_eq!(range(1, 3).join(&range(4, 9)), None);
        assert_eq!(range(1, 4).join(&range(3, 9)), None);
        let (first, last) = KeyRange::ALL.halve().expect("wide enough");
        assert_eq!(last.join(&first), Some(KeyRange::ALL));
    }

    #[test]
    fn a_stored_range_reads_back() {
        let text = serde_json::to_string(&range(1, 255)).expect("texts");
        assert_eq!(
            text,
            r#"{"start":"0000000000000001","end":"00000000000000ff"}"#
        );
        assert_eq!(
            serde_json::from_str::<KeyRange>(&text).expect("as written"),
            range(1, 255)
        );
        let whole = serde_json::to_string(&KeyRange::ALL).expect("texts");
        assert_eq!(
            serde_json::from_str::<KeyRange>(&whole).expect("as written"),
            KeyRange::ALL
        );
        assert!(
            serde_json::from_str::<KeyRange>(r#"{"start":"+000000000000001","end":null}"#).is_err()
        );
    }

    proptest! {
        #[test]
        fn even_ranges_tile_the_space_and_agree_with_the_position(parts in 1_u32..200, at: u64) {
            let ranges: Vec<_> = KeyRange::even(parts).collect();
            let whole = ranges[1..].iter().try_fold(ranges[0], |joined, next| joined.join(next));
            prop_assert_eq!(whole, Some(KeyRange::ALL));
            let index = Position(at).equal_range(parts) as usize;
            prop_assert!(ranges[index].contains(Position(at)));
        }

        #[test]
        fn the_parts_of_a_range_join_to_it(a: u64, b: u64, at: u64) {
            let whole = KeyRange { start: Position(a.min(b)), last: Position(a.max(b)) };
            for (left, right) in [whole.split_at(Position(at)), whole.halve()].into_iter().flatten() {
                prop_assert!(!left.overlaps(&right));
                prop_assert!(whole.covers(&left) && whole.covers(&right));
                prop_assert_eq!(left.join(&right), Some(whole));
            }
        }
    }
}
