//! Spans: intervals of keys.

use serde::{Deserialize, Serialize};

/// The keys from `start`, included, to `end`, excluded, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySpan {
    /// The smallest key; empty if there is no smallest.
    #[serde(with = "hex")]
    pub start: Vec<u8>,
    /// The key above the largest; `None` if there is no largest.
    #[serde(with = "optional_hex")]
    pub end: Option<Vec<u8>>,
}

impl KeySpan {
    /// All keys.
    #[must_use]
    pub fn all() -> Self {
        Self {
            start: Vec::new(),
            end: None,
        }
    }

    /// Returns whether no key lies in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// Returns whether a key lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        let ends = match (&self.end, &other.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(end), Some(other)) => other <= end,
        };
        self.start <= other.start && ends
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let below = |a: &Self, b: &Self| a.end.as_ref().is_some_and(|end| *end <= b.start);
        !below(self, other) && !below(other, self)
    }

    pub(super) fn adjoins(&self, other: &Self) -> bool {
        self.end.as_ref() == Some(&other.start) || other.end.as_ref() == Some(&self.start)
    }

    pub(super) fn join(&self, other: &Self) -> Option<Self> {
        let (low, high) = if self.start <= other.start {
            (self, other)
        } else {
            (other, self)
        };
        (low.end.as_ref() == Some(&high.start)).then(|| Self {
            start: low.start.clone(),
            end: high.end.clone(),
        })
    }

    pub(super) fn split_at(&self, at: &[u8]) -> Option<(Self, Self)> {
        if !self.contains(at) || at == self.start.as_slice() {
            return None;
        }
        let low = Self {
            start: self.start.clone(),
            end: Some(at.to_vec()),
        };
        let high = Self {
            start: at.to_vec(),
            end: self.end.clone(),
        };
        Some((low, high))
    }

    /// Returns a key about halfway between the ends, by the eight bytes after what they have in common.
    pub(super) fn middle(&self) -> Option<Vec<u8>> {
        let end = self.end.as_deref();
        let common = end.map_or(0, |end| {
            let pairs = self.start.iter().zip(end);
            pairs.take_while(|(low, high)| low == high).count()
        });
        let eight = |bytes: &[u8], fill: u8| {
            let byte = |at: usize| bytes.get(common + at).copied().unwrap_or(fill);
            u64::from_be_bytes(std::array::from_fn(byte))
        };
        let low = eight(&self.start, 0);
        let high = end.map_or(u64::MAX, |end| eight(end, 0));
        let halfway = low + high.saturating_sub(low).div_ceil(2);
        let mut at = self.start[..common].to_vec();
        at.extend(halfway.to_be_bytes());
        while at.len() > common + 1 && at.last() == Some(&0) {
            at.pop();
        }
        self.split_at(&at).map(|_| at)
    }
}

/// Bytes as text.
pub(super) mod hex {
    use std::fmt::Write;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn encoded(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a text takes what is written to it");
            text
        })
    }

    pub(in super::super) fn decoded(text: &str) -> Option<Vec<u8>> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|digit| {
                digit
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            })
            .collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
        Some(
            digits
                .chunks(2)
                .map(|pair| pair[0] << 4 | pair[1])
                .collect(),
        )
    }

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &[u8],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encoded(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        decoded(&text).ok_or_else(|| D::Error::custom("bytes are written in hexadecimal digits"))
    }
}

mod optional_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::hex::{decoded, encoded};

    #[expect(
        clippy::ref_option,
        reason = "serde calls it with a reference to the field"
    )]
    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => to.serialize_some(&encoded(bytes)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| {
            decoded(&text).ok_or_else(|| D::Error::custom("bytes are written in hexadecimal"))
        })
        .transpose()
    }
}
