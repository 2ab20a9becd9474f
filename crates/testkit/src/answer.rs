//! What a database says to a statement: rows, or a failure.

use crate::value::Value;
use std::fmt;

/// The result of a statement that succeeded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Column names in order; empty for a statement that returns no rows by nature.
    pub columns: Vec<String>,
    /// The rows in the order in which they came.
    pub rows: Vec<Vec<Value>>,
    /// Rows written, for a statement that writes.
    pub changes: Option<u64>,
}

/// A statement that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why, in the sense that decides how two databases are compared.
    pub kind: FailureKind,
    /// The message for a person.
    pub message: String,
}

/// Why a statement failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// SQLite calls the statement itself wrong, or it failed while it ran.
    Sql,
    /// A constraint was violated.
    Constraint,
    /// The database understood the statement and declines it by a rule of its own.
    Refused,
    /// The statement used up the work that a test may cost; it says nothing about either database.
    Exhausted,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

/// A database under test, or the one that it is compared with.
pub trait Database {
    /// Runs one statement with `params` bound to `?1`, `?2`, ... and returns all that it says.
    ///
    /// Implementations must leave the database unchanged when they return a failure.
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<Answer, Failure>;
}
