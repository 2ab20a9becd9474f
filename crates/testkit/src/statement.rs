//! A statement together with what it leaves open about its answer.

use crate::value::Value;
use std::fmt;

/// One statement, its parameters, and how far SQLite fixes its answer.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The text, with `?` or `?1`, `?2`, ... for parameters.
    pub sql: String,
    /// The value of each parameter in order.
    pub params: Vec<Value>,
    /// Whether the statement may change the database.
    pub writes: bool,
    /// Which order the rows have.
    pub sequence: Sequence,
    /// Which differences between values don't count.
    pub tolerance: Tolerance,
}

impl Statement {
    /// A statement that only reads, and whose rows may come in any order.
    pub fn query(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            params: Vec::new(),
            writes: false,
            sequence: Sequence::Unordered,
            tolerance: Tolerance::default(),
        }
    }

    /// A statement that writes; rows that it returns may come in any order.
    pub fn write(sql: impl Into<String>, params: Vec<Value>) -> Self {
        Self {
            params,
            writes: true,
            ..Self::query(sql)
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql)?;
        for (index, value) in self.params.iter().enumerate() {
            write!(
                f,
                "{} ?{} = {value}",
                if index == 0 { "  --" } else { "," },
                index + 1
            )?;
        }
        Ok(())
    }
}

/// Which order the rows of an answer have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// Any; the answer is a multiset.
    Unordered,
    /// Exactly one, up to rows that are the same.
    Exact,
    /// The order of a last, additional column of `probe`, which returns all rows, where the statement may keep a
    /// window of them. Rows of equal rank may come in any order, and any of them may be cut off by the window.
    Ranked {
        /// The statement without its window and with the rank as a last column; takes the same parameters.
        probe: String,
        /// LIMIT, if there is one.
        limit: Option<u64>,
        /// OFFSET, else 0.
        offset: u64,
    },
    /// Any, and any rows of `probe`: the statement has a LIMIT and no order.
    Chosen {
        /// The statement without its LIMIT; takes the same parameters.
        probe: String,
    },
}

/// Which differences between two values don't count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// Reals may differ by 1e-12 of their size, because a sum depends on its order.
    pub rounding: bool,
    /// Values that are equal under some collation may stand for each other (`1` and `1.0`, `a` and `A`), because
    /// DISTINCT, GROUP BY and the like keep any one of them.
    pub forms: bool,
}
