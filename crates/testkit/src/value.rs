//! One SQLite value, kept exactly as SQLite returned it.

use std::fmt;

/// The first double above all 64-bit integers; its negative is the least of them.
const TWO_63: f64 = 9_223_372_036_854_775_808.0;

/// A value of one of SQLite's five storage classes.
///
/// Text is bytes, because SQLite lets text hold what is not UTF-8. Equality is identity of form: `1` and `1.0`
/// differ, and so do `0.0` and `-0.0`.
#[derive(Clone, Debug)]
pub enum Value {
    /// NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A double, infinities included; SQLite has no NaN.
    Real(f64),
    /// Text, in UTF-8 as a rule.
    Text(Vec<u8>),
    /// A blob.
    Blob(Vec<u8>),
}

impl Value {
    /// The text value of `text`.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into().into_bytes())
    }

    /// The value as an SQL literal that SQLite reads back in the same form, except for `-0.0`, which has none.
    pub fn literal(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Integer(integer) => integer.to_string(),
            Self::Real(real) if real.is_infinite() && *real > 0.0 => "9e999".to_owned(),
            Self::Real(real) if real.is_infinite() => "-9e999".to_owned(),
            Self::Real(real) => format!("{real:?}"),
            Self::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !text.contains('\0') => format!("'{}'", text.replace('\'', "''")),
                _ => format!("CAST(x'{}' AS TEXT)", hex(bytes)),
            },
            Self::Blob(bytes) => format!("x'{}'", hex(bytes)),
        }
    }

    /// The form that all values equal to this one under some collation share: integral reals become integers, and
    /// text loses its case, its trailing spaces and what follows a NUL, at which NOCASE stops to compare.
    pub fn folded(&self) -> Self {
        match self {
            Self::Real(real) if real.fract() == 0.0 && (-TWO_63..TWO_63).contains(real) => {
                Self::Integer(*real as i64)
            }
            Self::Text(bytes) => {
                let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
                let end = bytes
                    .iter()
                    .rposition(|&byte| byte != b' ')
                    .map_or(0, |last| last + 1);
                Self::Text(bytes[..end].to_ascii_lowercase())
            }
            Self::Null | Self::Integer(_) | Self::Real(_) | Self::Blob(_) => self.clone(),
        }
    }

    /// A key that sorts values of one form together; its order means nothing else.
    pub fn sort_key(&self) -> (u8, u64, &[u8]) {
        match self {
            Self::Null => (0, 0, &[]),
            Self::Integer(integer) => (1, *integer as u64, &[]),
            Self::Real(real) => (2, real.to_bits(), &[]),
            Self::Text(bytes) => (3, 0, bytes),
            Self::Blob(bytes) => (4, 0, bytes),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.sort_key() == other.sort_key()
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.sort_key().cmp(&other.sort_key())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.literal())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_different_form_differ_and_fold_together() {
        assert_ne!(Value::Integer(1), Value::Real(1.0));
        assert_eq!(Value::Real(1.0).folded(), Value::Integer(1));
        assert_eq!(Value::text("AbC  ").folded(), Value::text("abc"));
        assert_eq!(Value::Real(1.5).folded(), Value::Real(1.5));
    }

    #[test]
    fn text_that_a_literal_cannot_hold_is_cast_from_its_bytes() {
        assert_eq!(Value::text("it's").literal(), "'it''s'");
        assert_eq!(Value::text("a\0b").literal(), "CAST(x'610062' AS TEXT)");
        assert_eq!(Value::Text(vec![0xff]).literal(), "CAST(x'FF' AS TEXT)");
    }
}
