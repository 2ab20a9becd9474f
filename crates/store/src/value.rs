//! SQLite's five kinds of value, owned and borrowed.

use std::hash::{Hash, Hasher};

/// A value as SQLite stores it.
///
/// Text is kept as the bytes that SQLite hands out in UTF-8. They are usually valid, but SQLite does
/// not check, so a file may hold text that is not.
///
/// Two values are equal if they have the same kind and the same bits: `Integer(1)` differs from
/// `Real(1.0)`, `Real(0.0)` from `Real(-0.0)`, and a NaN equals itself. That is what comparing
/// copies needs, and it is not how SQL compares. SQLite stores NaN as NULL.
///
/// With the feature `serde` it can be sent; texts and blobs go as bytes.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Value {
    /// SQL NULL.
    #[default]
    Null,
    /// A 64-bit signed integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// Text in UTF-8, possibly malformed.
    Text(#[cfg_attr(feature = "serde", serde(with = "serde_bytes"))] Vec<u8>),
    /// Bytes.
    Blob(#[cfg_attr(feature = "serde", serde(with = "serde_bytes"))] Vec<u8>),
}

/// A [`Value`] that borrows its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub enum ValueRef<'a> {
    /// SQL NULL.
    #[default]
    Null,
    /// A 64-bit signed integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// Text in UTF-8, possibly malformed.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

impl Value {
    /// Borrows this value.
    #[must_use]
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(integer) => ValueRef::Integer(*integer),
            Self::Real(real) => ValueRef::Real(*real),
            Self::Text(text) => ValueRef::Text(text),
            Self::Blob(blob) => ValueRef::Blob(blob),
        }
    }

    /// Returns the text, if this is well-formed text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.as_ref().as_str()
    }

    /// Returns the integer, if this is one. A real is never converted.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_ref().as_i64()
    }

    /// Returns the real, if this is one. An integer is never converted.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.as_ref().as_f64()
    }

    /// Returns the bytes of a text or a blob.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.as_ref().as_bytes()
    }

    /// Returns whether this is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl<'a> ValueRef<'a> {
    /// Copies the bytes into an owned value.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(integer) => Value::Integer(integer),
            Self::Real(real) => Value::Real(real),
            Self::Text(text) => Value::Text(text.to_vec()),
            Self::Blob(blob) => Value::Blob(blob.to_vec()),
        }
    }

    /// Returns the text, if this is well-formed text.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => std::str::from_utf8(text).ok(),
            Self::Null | Self::Integer(_) | Self::Real(_) | Self::Blob(_) => None,
        }
    }

    /// Returns the integer, if this is one. A real is never converted.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(integer),
            Self::Null | Self::Real(_) | Self::Text(_) | Self::Blob(_) => None,
        }
    }

    /// Returns the real, if this is one. An integer is never converted.
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::Real(real) => Some(real),
            Self::Null | Self::Integer(_) | Self::Text(_) | Self::Blob(_) => None,
        }
    }

    /// Returns the bytes of a text or a blob.
    #[must_use]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(bytes) | Self::Blob(bytes) => Some(bytes),
            Self::Null | Self::Integer(_) | Self::Real(_) => None,
        }
    }

    /// Returns whether this is NULL.
    #[must_use]
    pub fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }
}

impl PartialEq for ValueRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Integer(left), Self::Integer(right)) => left == right,
            (Self::Real(left), Self::Real(right)) => left.to_bits() == right.to_bits(),
            (Self::Text(left), Self::Text(right)) | (Self::Blob(left), Self::Blob(right)) => {
                left == right
            }
            (Self::Null | Self::Integer(_) | Self::Real(_) | Self::Text(_) | Self::Blob(_), _) => {
                false
            }
        }
    }
}

impl Eq for ValueRef<'_> {}

impl Hash for ValueRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Integer(integer) => integer.hash(state),
            Self::Real(real) => real.to_bits().hash(state),
            Self::Text(bytes) | Self::Blob(bytes) => bytes.hash(state),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl PartialEq<Value> for ValueRef<'_> {
    fn eq(&self, other: &Value) -> bool {
        *self == other.as_ref()
    }
}

impl PartialEq<ValueRef<'_>> for Value {
    fn eq(&self, other: &ValueRef<'_>) -> bool {
        self.as_ref() == *other
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        value.to_value()
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        value.as_ref()
    }
}

/// Conversions that lose nothing; a `bool` becomes 0 or 1, as in SQL.
macro_rules! from_integer {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value {
            fn from(integer: $integer) -> Self {
                Self::Integer(integer.into())
            }
        }

        impl From<$integer> for ValueRef<'_> {
            fn from(integer: $integer) -> Self {
                Self::Integer(integer.into())
            }
        }
    )*};
}

from_integer!(bool, i8, i16, i32, i64, u8, u16, u32);

impl From<f64> for Value {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into_bytes())
    }
}

impl From<&[u8]> for Value {
    fn from(blob: &[u8]) -> Self {
        Self::Blob(blob.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(blob: Vec<u8>) -> Self {
        Self::Blob(blob)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<f64> for ValueRef<'_> {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

impl<'a> From<&'a str> for ValueRef<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for ValueRef<'a> {
    fn from(blob: &'a [u8]) -> Self {
        Self::Blob(blob)
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for ValueRef<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<'a> From<rusqlite::types::ValueRef<'a>> for RawValue<'a> {
    #[inline]
    fn from(value: rusqlite::types::ValueRef<'a>) -> Self {
        Self(match value {
            rusqlite::types::ValueRef::Null => ValueRef::Null,
            rusqlite::types::ValueRef::Integer(integer) => ValueRef::Integer(integer),
            rusqlite::types::ValueRef::Real(real) => ValueRef::Real(real),
            rusqlite::types::ValueRef::Text(text) => ValueRef::Text(text),
            rusqlite::types::ValueRef::Blob(blob) => ValueRef::Blob(blob),
        })
    }
}

/// A value on its way to or from the SQLite binding, whose types stay out of the public ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawValue<'a>(pub(crate) ValueRef<'a>);

impl rusqlite::ToSql for RawValue<'_> {
    #[inline]
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(match self.0 {
            ValueRef::Null => rusqlite::types::ValueRef::Null,
            ValueRef::Integer(integer) => rusqlite::types::ValueRef::Integer(integer),
            ValueRef::Real(real) => rusqlite::types::ValueRef::Real(real),
            ValueRef::Text(text) => rusqlite::types::ValueRef::Text(text),
            ValueRef::Blob(blob) => rusqlite::types::ValueRef::Blob(blob),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_by_kind_and_bits() {
        assert_eq!(Value::Real(f64::NAN), Value::Real(f64::NAN));
        assert_ne!(Value::Real(0.0), Value::Real(-0.0));
        assert_ne!(Value::Integer(1), Value::Real(1.0));
        assert_ne!(Value::from("a"), Value::from(b"a".as_slice()));
        assert_eq!(ValueRef::Text(b"a"), Value::from("a"));
    }

    #[test]
    fn none_becomes_null_and_a_bool_becomes_an_integer() {
        assert_eq!(Value::from(None::<i64>), Value::Null);
        assert_eq!(Value::from(Some("x")), Value::from("x"));
        assert_eq!(Value::from(true), Value::Integer(1));
    }

    #[test]
    fn malformed_text_is_kept_but_is_no_str() {
        let value = Value::Text(vec![0xff, 0x61]);
        assert_eq!(value.as_str(), None);
        assert_eq!(value.as_bytes(), Some([0xff, 0x61].as_slice()));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_value_that_is_sent_arrives_bit_for_bit() {
        let values = [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Real(f64::NAN),
            Value::Real(-0.0),
            Value::from("a"),
            Value::Text(vec![0xff, 0x61]),
            Value::Blob(vec![0; 1000]),
        ];
        let sent = postcard::to_stdvec(&values).unwrap();
        assert_eq!(postcard::from_bytes::<[Value; 7]>(&sent).unwrap(), values);
        assert!(
            sent.len() < 1050,
            "bytes go as they are: {} of them",
            sent.len()
        );
    }
}
