//! Positions: where on the line from 0 to 2^64 a key falls.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

use crate::Error;

/// A point of the hash space: the first eight bytes, big-endian, of a SHA-256 digest.
///
/// The function is a format: data is placed by it, and golden tests pin it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct Position(pub u64);

impl Position {
    /// The first position.
    pub const MIN: Self = Self(u64::MIN);
    /// The last position.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the position of a key.
    #[must_use]
    pub fn of(key: impl AsRef<[u8]>) -> Self {
        Self::from_digest(Sha256::digest(key.as_ref()).as_ref())
    }

    pub(crate) fn from_digest(digest: &[u8]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(first))
    }

    /// Returns which of `parts` equal ranges of the space holds this position, counted from 0.
    ///
    /// # Panics
    /// If `parts` is 0.
    #[must_use]
    pub fn equal_range(self, parts: u32) -> u32 {
        assert!(parts > 0, "a space is divided into at least one range");
        let index = (u128::from(self.0) * u128::from(parts)) >> 64;
        u32::try_from(index).expect("the index is below `parts`")
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let position = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        position.map(Self).ok_or_else(|| Error::MalformedPosition {
            text: text.to_owned(),
        })
    }
}

impl TryFrom<String> for Position {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Position> for String {
    fn from(position: Position) -> Self {
        position.to_string()
    }
}

/// Returns the SHA-256 digest of `bytes` in lower-case hexadecimal.
#[doc(alias = "sha256")]
#[must_use]
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digest = Sha256::digest(bytes.as_ref());
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest.iter() {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    text
}

/// Returns the shard, counted from 0, of a key among a fixed number of shards: its position modulo `shards`.
///
/// Nearly every key moves when the number changes; data that is to be resharded is placed by ranges instead.
///
/// # Panics
/// If `shards` is 0.
#[doc(alias = "hashToShard")]
#[must_use]
pub fn hash_to_shard(key: impl AsRef<[u8]>, shards: u32) -> u32 {
    assert!(shards > 0, "there is at least one shard");
    u32::try_from(Position::of(key).0 % u64::from(shards))
        .expect("a remainder is below its divisor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_of_a_key_is_pinned() {
        assert_eq!(Position::of("tenant-123"), Position(0x099e_0572_953a_fd9d));
        assert_eq!(Position::of(""), Position(0xe3b0_c442_98fc_1c14));
        assert_eq!(Position::of("tenant-123").to_string(), "099e0572953afd9d");
    }

    #[test]
    fn a_position_is_read_back() {
        for position in [Position::MIN, Position(0x99e), Position::MAX] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in [
            "",
            "+99e0572953afd9d",
            "099e0572953afd9",
            "099e0572953afd9dd",
            "99e0572953afd9dx",
        ] {
            let malformed = Error::MalformedPosition {
                text: text.to_owned(),
            };
            assert_eq!(text.parse::<Position>(), Err(malformed));
        }
    }

    #[test]
    fn the_shard_of_a_key_is_pinned() {
        assert_eq!(hash_to_shard("tenant-123", 10), 3);
        assert_eq!(hash_to_shard("tenant-123", 1), 0);
    }

    #[test]
    fn the_equal_range_of_a_key_is_pinned() {
        let ranges =
            ["tenant-123", "user:42", "", "abc"].map(|key| Position::of(key).equal_range(10));
        assert_eq!(ranges, [0, 9, 8, 7]);
    }

    #[test]
    fn equal_ranges_share_the_whole_space() {
        assert_eq!(Position::MIN.equal_range(3), 0);
        assert_eq!(Position::MAX.equal_range(3), 2);
        assert_eq!(Position(1 << 63).equal_range(2), 1);
        assert_eq!(Position((1 << 63) - 1).equal_range(2), 0);
    }

    #[test]
    fn the_digest_is_written_in_hexadecimal() {
        assert_eq!(
            sha256_hex("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
