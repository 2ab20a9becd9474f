//! Which conditions a shard may check on its own.
//!
//! SQLite hands a virtual table the right-hand value of a comparison as it is, without saying which affinity it has.
//! A shard binds it as a parameter, which has none. The two comparisons differ where the right-hand side is a column
//! or a CAST with an affinity that would convert the left side: `text_column = integer_column` holds for '01' and 1,
//! `text_column = ?` with 1 does not. So a condition is passed on only where no affinity of the right-hand side could
//! make it hold for a row that the shard would drop.

use rusqlite::vtab::IndexConstraintOp as Op;
use shardwright_store::ValueRef;

use crate::schema::Affinity;

/// A condition on one column, as the query planner offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// The column; `None` for the rowid.
    pub(super) column: usize,
    pub(super) operator: Operator,
    /// Whether the right-hand side is a literal, or a CAST of one.
    pub(super) constant: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Is,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    Glob,
    IsNull,
    NotNull,
}

impl Operator {
    pub(super) const ALL: [Self; 10] = [
        Self::Equal,
        Self::Is,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::Like,
        Self::Glob,
        Self::IsNull,
        Self::NotNull,
    ];

    pub(super) fn of(op: Op) -> Option<Self> {
        Some(match op {
            Op::SQLITE_INDEX_CONSTRAINT_EQ => Self::Equal,
            Op::SQLITE_INDEX_CONSTRAINT_IS => Self::Is,
            Op::SQLITE_INDEX_CONSTRAINT_LT => Self::Less,
            Op::SQLITE_INDEX_CONSTRAINT_LE => Self::LessOrEqual,
            Op::SQLITE_INDEX_CONSTRAINT_GT => Self::Greater,
            Op::SQLITE_INDEX_CONSTRAINT_GE => Self::GreaterOrEqual,
            Op::SQLITE_INDEX_CONSTRAINT_LIKE => Self::Like,
            Op::SQLITE_INDEX_CONSTRAINT_GLOB => Self::Glob,
            Op::SQLITE_INDEX_CONSTRAINT_ISNULL => Self::IsNull,
            Op::SQLITE_INDEX_CONSTRAINT_ISNOTNULL => Self::NotNull,
            _ => return None,
        })
    }

    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Is => "IS",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Like => "LIKE",
            Self::Glob => "GLOB",
            Self::IsNull => "IS NULL",
            Self::NotNull => "IS NOT NULL",
        }
    }

    pub(super) fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::Is)
    }

    pub(super) fn takes_value(self) -> bool {
        !matches!(self, Self::IsNull | Self::NotNull)
    }

    /// Whether the outcome depends on the collation.
    pub(super) fn collates(self) -> bool {
        !matches!(self, Self::Like | Self::Glob | Self::IsNull | Self::NotNull)
    }
}

/// Whether a shard that binds the value as a parameter keeps every row for which the condition may hold.
pub(super) fn is_safe(affinity: Affinity, condition: Condition, value: ValueRef<'_>) -> bool {
    match condition.operator {
        // These take text of both sides, or no value at all.
        Operator::Like | Operator::Glob | Operator::IsNull | Operator::NotNull => true,
        _ if value.is_null() => true,
        // A numeric column converts the right-hand side, whatever it is.
        _ if affinity.is_numeric() => true,
        // Blobs are converted by nothing, and sort above all text and numbers.
        _ if matches!(value, ValueRef::Blob(_)) => true,
        // A text that is stored in a numeric column is no number, so no number in this column equals it.
        Operator::Equal | Operator::Is => {
            affinity == Affinity::Text && matches!(value, ValueRef::Text(_))
        }
        // A constant that is text has no numeric affinity: a CAST to a number is a number.
        _ => condition.constant && affinity == Affinity::Text && matches!(value, ValueRef::Text(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe(affinity: Affinity, operator: Operator, constant: bool, value: ValueRef<'_>) -> bool {
        is_safe(
            affinity,
            Condition {
                column: 0,
                operator,
                constant,
            },
            value,
        )
    }

    #[test]
    fn a_number_is_not_looked_up_in_a_text_column() {
        let one = ValueRef::Integer(1);
        assert!(!safe(Affinity::Text, Operator::Equal, false, one));
        assert!(
            !safe(Affinity::Text, Operator::Equal, true, one),
            "it may be a CAST"
        );
        assert!(safe(Affinity::Integer, Operator::Equal, false, one));
        assert!(!safe(Affinity::Blob, Operator::Equal, false, one));
    }

    #[test]
    fn a_text_is_looked_up_in_a_text_column_but_not_ranged_over() {
        let text = ValueRef::Text(b"a");
        assert!(safe(Affinity::Text, Operator::Equal, false, text));
        assert!(!safe(Affinity::Text, Operator::Less, false, text));
        assert!(safe(Affinity::Text, Operator::Less, true, text));
        assert!(!safe(Affinity::Blob, Operator::Equal, false, text));
        assert!(safe(Affinity::Real, Operator::GreaterOrEqual, false, text));
    }
}
