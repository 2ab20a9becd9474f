//! Typed keys: the value of a shard-key column, in the one form in which it is hashed.

use sha2::{Digest, Sha256};

use crate::Position;

/// The canonical form of a key with a type, as rows of SQL tables have them.
///
/// Two keys that compare equal are the same key: an integral floating-point number is its integer, minus zero is
/// zero, and not-a-number is NULL, for every column type. Whoever knows the column folds its text beforehand
/// (a number written as text in a numeric column, letters under a collation that ignores case).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TypedKey<'a> {
    /// The missing key.
    Null,
    /// An integer.
    Integer(i64),
    /// A number that is no 64-bit integer; [`TypedKey::real`] makes sure of that.
    Real(f64),
    /// Text, in UTF-8 unless the database holds malformed text.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

/// A digest block holds 64 bytes, nine of which are padding.
const ONE_BLOCK: usize = 55;

impl<'a> TypedKey<'a> {
    /// Returns the key of a floating-point number.
    #[must_use]
    pub fn real(value: f64) -> Self {
        // 2^63 itself is out of range, and every integral f64 below it converts exactly.
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        if value.is_nan() {
            Self::Null
        } else if value.fract() == 0.0 && (-LIMIT..LIMIT).contains(&value) {
            Self::Integer(value as i64)
        } else {
            Self::Real(value)
        }
    }

    /// Returns the key of a text.
    #[must_use]
    pub fn text(value: &'a str) -> Self {
        Self::Text(value.as_bytes())
    }

    /// Returns the position of this key in the key space `group`.
    ///
    /// It is the position of the bytes `length of group, group, type, value`: the length as four bytes big-endian, the
    /// type one of `n i r t b`, an integer as eight bytes big-endian, a real as the eight bytes of its bits
    /// big-endian. Equal keys of different groups are unrelated.
    #[must_use]
    pub fn position_in(&self, group: &str) -> Position {
        let number;
        let (tag, payload): (u8, &[u8]) = match *self {
            Self::Null => (b'n', &[]),
            Self::Integer(value) => {
                number = value.to_be_bytes();
                (b'i', &number)
            }
            Self::Real(value) => {
                number = value.to_bits().to_be_bytes();
                (b'r', &number)
            }
            Self::Text(value) => (b't', value),
            Self::Blob(value) => (b'b', value),
        };
        let length = u32::try_from(group.len())
            .expect("the name of a key space is short")
            .to_be_bytes();
        let whole = length.len() + group.len() + 1 + payload.len();
        if whole <= ONE_BLOCK {
            let mut block = [0; ONE_BLOCK];
            let mut end = 0;
            for part in [&length[..], group.as_bytes(), &[tag], payload] {
                block[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            }
            return Position::of(&block[..end]);
        }
        let mut digest = Sha256::new();
        digest.update(length);
        digest.update(group);
        digest.update([tag]);
        digest.update(payload);
        Position::from_digest(digest.finalize().as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integral_reals_are_integers() {
        assert_eq!(TypedKey::real(1.0), TypedKey::Integer(1));
        assert_eq!(TypedKey::real(-0.0), TypedKey::Integer(0));
        assert_eq!(
            TypedKey::real(-9_223_372_036_854_775_808.0),
            TypedKey::Integer(i64::MIN)
        );
        assert_eq!(
            TypedKey::real(9_223_372_036_854_775_808.0),
            TypedKey::Real(9_223_372_036_854_775_808.0)
        );
        assert_eq!(TypedKey::real(0.5), TypedKey::Real(0.5));
        assert_eq!(TypedKey::real(f64::INFINITY), TypedKey::Real(f64::INFINITY));
        assert_eq!(TypedKey::real(f64::NAN), TypedKey::Null);
    }

    #[test]
    fn the_position_of_a_typed_key_is_pinned() {
        let long = "x".repeat(100);
        let cases = [
            (TypedKey::Null, 0x971d_a766_635a_f6b6),
            (TypedKey::Integer(1), 0x545c_a94d_efc6_3725),
            (TypedKey::Integer(-1), 0x1008_7cc9_11c8_4a1d),
            (TypedKey::real(0.5), 0x285c_68d5_9e88_0bc7),
            (TypedKey::text("tenant-123"), 0xdecb_609d_a009_2c9c),
            (TypedKey::Blob(b"\x00\xff"), 0xf16c_3317_3e4a_cce5),
            (TypedKey::text(&long), 0xbb6d_f61d_b408_6309),
        ];
        for (key, position) in cases {
            assert_eq!(key.position_in("users"), Position(position), "{key:?}");
        }
    }

    #[test]
    fn a_long_key_is_hashed_as_a_short_one_is() {
        let text = "x".repeat(100);
        let whole = [&[0, 0, 0, 5][..], b"users", b"t", text.as_bytes()].concat();
        assert_eq!(
            TypedKey::text(&text).position_in("users"),
            Position::of(whole)
        );
        let whole = [&[0, 0, 0, 5][..], b"users", b"t", b"x"].concat();
        assert_eq!(
            TypedKey::text("x").position_in("users"),
            Position::of(whole)
        );
    }

    #[test]
    fn types_and_groups_are_told_apart() {
        let keys = [
            TypedKey::Null.position_in("a"),
            TypedKey::Integer(1).position_in("a"),
            TypedKey::text("1").position_in("a"),
            TypedKey::Blob(b"1").position_in("a"),
            TypedKey::Integer(1).position_in("b"),
            TypedKey::text("").position_in("an"),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "two keys share a position");
        }
    }
}
