//! Keys: the value that decides on which shard a row lives.
//!
//! SQLite compares by rules that depend on the column: `1`, `1.0` and `'1'` are equal in an INTEGER column, `'a'` and
//! `'A'` under NOCASE. Values that are equal under the column's rules have one canonical form, and only that is
//! hashed. Clients send numbers in whatever type their language has; they must meet the same row.

mod convert;

pub(crate) use self::convert::literal_number;

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use shardwright_hashing::{Position, TypedKey};
use shardwright_store::{Value, ValueRef};

use crate::schema::{Affinity, Collation, Column};

/// A key as a caller gives it: a value and, where the statement's tables have several key spaces, which one is meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    value: Value,
    group: Option<String>,
}

impl Key {
    /// A key of the key space of the statement's tables.
    pub fn new(value: impl Into<Value>) -> Self {
        Self {
            value: value.into(),
            group: None,
        }
    }

    /// The same key in a named key space: the name of its root table.
    #[must_use]
    pub fn in_group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(crate::schema::fold(&group.into()));
        self
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The key space, if one was named.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }
}

impl<T: Into<Value>> From<T> for Key {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl From<&Self> for Key {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

/// How a shard-key column compares its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRules {
    pub(crate) affinity: Affinity,
    pub(crate) collation: Collation,
}

impl From<&Column> for KeyRules {
    fn from(column: &Column) -> Self {
        Self {
            affinity: column.affinity,
            collation: column.collation,
        }
    }
}

/// The one form of all values that are equal under a column's rules.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CanonicalKey<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, [u8]>),
    Blob(Cow<'a, [u8]>),
}

impl KeyRules {
    /// Returns the canonical form of a value that is stored in, or compared with, a column of these rules.
    pub(crate) fn canonical(self, value: ValueRef<'_>) -> CanonicalKey<'_> {
        match value {
            ValueRef::Null => CanonicalKey::Null,
            ValueRef::Blob(bytes) => CanonicalKey::Blob(Cow::Borrowed(bytes)),
            ValueRef::Integer(value) if self.affinity == Affinity::Text => {
                self.text(Cow::Owned(value.to_string().into_bytes()))
            }
            ValueRef::Integer(value) => self.number(TypedKey::Integer(value)),
            ValueRef::Real(value) if self.affinity == Affinity::Text => {
                self.text(Cow::Owned(convert::real_to_text(value)))
            }
            ValueRef::Real(value) => CanonicalKey::from(TypedKey::real(value)),
            ValueRef::Text(bytes) if self.affinity.is_numeric() => {
                match convert::text_to_number(bytes) {
                    Some(number) => self.number(number),
                    None => self.text(Cow::Borrowed(bytes)),
                }
            }
            ValueRef::Text(bytes) => self.text(Cow::Borrowed(bytes)),
        }
    }

    /// A REAL column stores integers as the nearest double, so several of them become one key there.
    fn number(self, number: TypedKey<'static>) -> CanonicalKey<'static> {
        match number {
            #[expect(
                clippy::cast_precision_loss,
                reason = "the rounding is what SQLite does"
            )]
            TypedKey::Integer(value) if self.affinity == Affinity::Real => {
                TypedKey::real(value as f64).into()
            }
            number => number.into(),
        }
    }

    fn text(self, bytes: Cow<'_, [u8]>) -> CanonicalKey<'_> {
        CanonicalKey::Text(match self.collation {
            Collation::Binary => bytes,
            Collation::RTrim => {
                let end = bytes
                    .iter()
                    .rposition(|byte| *byte != b' ')
                    .map_or(0, |last| last + 1);
                match bytes {
                    Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..end]),
                    Cow::Owned(mut bytes) => {
                        bytes.truncate(end);
                        Cow::Owned(bytes)
                    }
                }
            }
            Collation::NoCase => Cow::Owned(fold_case(&bytes)),
        })
    }
}

/// NOCASE folds ASCII letters, and stops comparing at a NUL: after one, only the length counts.
fn fold_case(bytes: &[u8]) -> Vec<u8> {
    let mut folded = bytes.to_ascii_lowercase();
    if let Some(end) = folded.iter().position(|byte| *byte == 0) {
        folded[end..].fill(0);
    }
    folded
}

impl<'a> From<TypedKey<'a>> for CanonicalKey<'a> {
    fn from(key: TypedKey<'a>) -> Self {
        match key {
            TypedKey::Null => Self::Null,
            TypedKey::Integer(value) => Self::Integer(value),
            TypedKey::Real(value) => Self::Real(value),
            TypedKey::Text(bytes) => Self::Text(Cow::Borrowed(bytes)),
            TypedKey::Blob(bytes) => Self::Blob(Cow::Borrowed(bytes)),
        }
    }
}

impl<'a> CanonicalKey<'a> {
    /// A value that is in its canonical form.
    pub(crate) fn of_canonical(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(bytes) => Self::Text(Cow::Borrowed(bytes)),
            ValueRef::Blob(bytes) => Self::Blob(Cow::Borrowed(bytes)),
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(*value),
            Self::Real(value) => Value::Real(*value),
            Self::Text(bytes) => Value::Text(bytes.to_vec()),
            Self::Blob(bytes) => Value::Blob(bytes.to_vec()),
        }
    }

    pub(crate) fn position_in(&self, group: &str) -> Position {
        match self {
            Self::Null => TypedKey::Null,
            Self::Integer(value) => TypedKey::Integer(*value),
            Self::Real(value) => TypedKey::Real(*value),
            Self::Text(bytes) => TypedKey::Text(bytes),
            Self::Blob(bytes) => TypedKey::Blob(bytes),
        }
        .position_in(group)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl fmt::Display for CanonicalKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => write!(f, "NULL"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value:?}"),
            Self::Text(bytes) => write!(f, "'{}'", String::from_utf8_lossy(bytes)),
            Self::Blob(bytes) => write!(f, "a blob of {} bytes", bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests;
