//! Column affinity and collation, as SQLite determines them.

use serde::{Deserialize, Serialize};

/// The type affinity of a column (sqlite.org/datatype3.html, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Affinity {
    /// Values are kept as they are: no declared type, BLOB, or ANY in a STRICT table.
    Blob,
    /// Numbers become text.
    Text,
    /// Text that looks like a number becomes one.
    Numeric,
    /// As numeric; only CAST tells them apart.
    Integer,
    /// As numeric, and integers become floating point.
    Real,
}

impl Affinity {
    /// Determines the affinity of a declared type.
    #[must_use]
    pub fn of(declared: &str, strict: bool) -> Self {
        let declared = declared.to_ascii_uppercase();
        if strict && declared == "ANY" {
            return Self::Blob;
        }
        if declared.contains("INT") {
            Self::Integer
        } else if ["CHAR", "CLOB", "TEXT"]
            .iter()
            .any(|part| declared.contains(part))
        {
            Self::Text
        } else if declared.contains("BLOB") || declared.is_empty() {
            Self::Blob
        } else if ["REAL", "FLOA", "DOUB"]
            .iter()
            .any(|part| declared.contains(part))
        {
            Self::Real
        } else {
            Self::Numeric
        }
    }

    /// Whether text that looks like a number is stored and compared as a number.
    #[must_use]
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Numeric | Self::Integer | Self::Real)
    }

    /// A type name that has this affinity.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Blob => "BLOB",
            Self::Text => "TEXT",
            Self::Numeric => "NUMERIC",
            Self::Integer => "INTEGER",
            Self::Real => "REAL",
        }
    }
}

/// A built-in collating sequence. A table with any other cannot be opened without the function that defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Collation {
    /// Byte order.
    #[default]
    Binary,
    /// Byte order with ASCII letters folded.
    NoCase,
    /// Byte order without trailing spaces.
    RTrim,
}

impl Collation {
    /// Returns the collation of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Binary, Self::NoCase, Self::RTrim]
            .into_iter()
            .find(|collation| collation.name().eq_ignore_ascii_case(name))
    }

    /// The name that SQLite knows it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Binary => "BINARY",
            Self::NoCase => "NOCASE",
            Self::RTrim => "RTRIM",
        }
    }
}
