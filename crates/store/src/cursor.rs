//! The rows of a query, fetched a batch at a time.

use std::{path::Path, rc::Rc, sync::Arc};

use rusqlite::{CachedStatement, Rows};
use self_cell::{MutBorrow, self_cell};

use crate::{Batch, Error, Params, Result, Row, Snapshot, connection::is_query};

/// How many rows a batch holds at most.
const BATCH_ROWS: usize = 256;

/// How many bytes of text and blob a batch holds before it takes no further row.
const BATCH_BYTES: usize = 64 * 1024;

self_cell!(
    struct Prepared {
        owner: Rc<Snapshot>,
        #[covariant]
        dependent: CachedStatement,
    }
);

self_cell!(
    struct Running {
        owner: MutBorrow<Prepared>,
        #[covariant]
        dependent: Rows,
    }
);

/// A query on a snapshot that computes its rows as they are asked for.
///
/// It owns a share of its snapshot, so it borrows nothing and may be kept anywhere on its thread.
/// Dropping it stops the query.
pub struct Cursor {
    running: Running,
    path: Arc<Path>,
    columns: usize,
    finished: bool,
}

impl Cursor {
    pub(crate) fn open(snapshot: Rc<Snapshot>, sql: &str, params: Params<'_>) -> Result<Self> {
        let path = Arc::clone(snapshot.connection().path());
        let mut prepared =
            Prepared::try_new(snapshot, |snapshot| snapshot.connection().prepare(sql))?;
        let columns = prepared.with_dependent_mut(|_, statement| {
            if !is_query(statement) {
                return Err(Error::NotAQuery);
            }
            params.bind(statement)?;
            Ok(statement.column_count())
        })?;
        let running = Running::new(MutBorrow::new(prepared), |prepared| {
            prepared
                .borrow_mut()
                .with_dependent_mut(|_, statement| statement.raw_query())
        });
        Ok(Self {
            running,
            path,
            columns,
            finished: false,
        })
    }

    /// Returns the number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Replaces the rows of `batch` by the next ones: at most 256, and no more once their texts and
    /// blobs reach 64 KiB. Returns `false`, with an empty batch, when there are none left.
    ///
    /// # Errors
    ///
    /// What SQLite reports, [`Error::Interrupted`] among it. The rows that came before the error are
    /// lost, and the cursor has ended.
    pub fn next_batch(&mut self, batch: &mut Batch) -> Result<bool> {
        batch.clear();
        if self.finished {
            return Ok(false);
        }
        let more = self.running.with_dependent_mut(|_, rows| fill(rows, batch));
        self.finished = !matches!(more, Ok(true));
        more.map_err(|error| {
            batch.clear();
            Error::from_sqlite(error, &self.path)
        })?;
        Ok(!batch.is_empty())
    }
}

/// Fills `batch`, and returns whether there may be more rows.
fn fill(rows: &mut Rows<'_>, batch: &mut Batch) -> rusqlite::Result<bool> {
    while batch.len() < BATCH_ROWS && batch.payload_bytes() < BATCH_BYTES {
        match rows.next()? {
            Some(row) => batch.push(&Row::of_statement(row)),
            None => return Ok(false),
        }
    }
    Ok(true)
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor")
            .field("path", &self.path)
            .field("columns", &self.columns)
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}
