//! SQL text, with or without a number that finds its compiled form fast.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A statement that is run many times.
///
/// It is text with a number that is unique in the process, under which each reader keeps the compiled
/// form. That saves a keyed read the look-up by text, a tenth of its time. It belongs to no file: the
/// same statement serves all shards. It is compiled where it is first used, and again when the schema
/// changes or another statement has taken its place.
///
/// ```
/// use shardwright_store::Statement;
///
/// let by_id = Statement::new("SELECT name FROM users WHERE id = ?1");
/// assert_eq!(by_id.sql(), "SELECT name FROM users WHERE id = ?1");
/// ```
#[derive(Clone, Debug)]
pub struct Statement {
    number: u64,
    sql: Arc<str>,
}

impl Statement {
    /// Numbers a statement. Make it once and keep it: each call takes a new number.
    #[must_use]
    pub fn new(sql: impl Into<Arc<str>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            sql: sql.into(),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

/// A statement to run: text, or a [`Statement`]. Made from either by `into`.
#[derive(Clone, Copy, Debug)]
pub enum Sql<'a> {
    /// Text that is looked up among the compiled statements of the connection.
    Text(&'a str),
    /// A statement with a number.
    Statement(&'a Statement),
}

impl<'a> Sql<'a> {
    /// Returns the text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Statement(statement) => statement.sql(),
        }
    }
}

impl<'a> From<&'a str> for Sql<'a> {
    #[inline]
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Sql<'a> {
    #[inline]
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Statement> for Sql<'a> {
    #[inline]
    fn from(statement: &'a Statement) -> Self {
        Self::Statement(statement)
    }
}
