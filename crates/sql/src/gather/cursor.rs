//! A scan of a virtual table: fragments for the shards that may have the rows, and their rows one after the other.

use std::{collections::BTreeSet, collections::VecDeque, ffi::c_int, rc::Rc};

use rusqlite::{
    Error as SqliteError, ffi,
    vtab::{Context, Filters, VTabCursor},
};
use shardwright_store::{Batch, Value, ValueRef};

use super::{
    copy::{self, Scan},
    execution::Execution,
    pushdown::{Condition, is_safe},
    table::decode,
};
use crate::{
    database::{own_value, sqlite_ref},
    error::Error,
    schema::{Table, TableKind, fold, quote_identifier},
    shards::{Fragment, Place, RowSource},
};

/// With more keys than this, only the shards are chosen by them: SQLite's statements have a limit of parameters.
const PINNED_MOST: usize = 1000;

/// One scan of a table.
#[repr(C)]
pub(super) struct Cursor {
    /// SQLite's part. It comes first.
    base: ffi::sqlite3_vtab_cursor,
    table: Table,
    indexed: BTreeSet<usize>,
    /// For each column of the table, where it stands in the rows that are fetched.
    slots: Vec<Option<usize>>,
    /// Where the rowid stands.
    rowid: Option<usize>,
    rows: Rows,
    /// The current row of the current batch.
    at: usize,
}

/// Where the rows of a scan come from.
enum Rows {
    /// Places that are still to be asked, and the one that answers.
    Shards {
        waiting: VecDeque<Place>,
        fragment: Fragment,
        source: Option<Box<dyn RowSource>>,
        place: Place,
        batch: Batch,
    },
    /// Rows of a copy.
    Copy {
        batches: Rc<Vec<Batch>>,
        current: usize,
    },
    Done,
}

/// What a scan asks for.
pub(super) struct Request {
    /// The columns, without the rowid.
    columns: Vec<String>,
    /// The WHERE clause, or nothing.
    filter: String,
    pub(super) params: Vec<Value>,
    pub(super) places: Vec<Place>,
    /// Whether the fragment finds its rows by an index.
    pub(super) by_index: bool,
    /// The columns compared by equality.
    pub(super) equal: Vec<String>,
}

impl Request {
    /// The statement that fetches the rows from a place.
    pub(super) fn sql(&self, table: &Table) -> String {
        self.with(table, table.rowid_name().into_iter().collect())
    }

    /// The statement that fetches the rows from a copy, which keeps the rowid and the place in columns of its own.
    pub(super) fn sql_of_copy(&self, table: &Table) -> String {
        let rowid = table.rowid_name().map(|_| copy::ROWID);
        self.with(table, rowid.into_iter().chain([copy::PLACE]).collect())
    }

    fn with(&self, table: &Table, more: Vec<&str>) -> String {
        let list: Vec<&str> = self
            .columns
            .iter()
            .map(String::as_str)
            .chain(more)
            .collect();
        let list = if list.is_empty() {
            "1".to_owned()
        } else {
            list.join(", ")
        };
        format!(
            "SELECT {list} FROM {}{}",
            quote_identifier(&table.name),
            self.filter
        )
    }
}

impl Cursor {
    pub(super) fn new(table: Table, indexed: BTreeSet<usize>) -> Self {
        Self {
            base: ffi::sqlite3_vtab_cursor::default(),
            slots: vec![None; table.columns.len()],
            table,
            indexed,
            rowid: None,
            rows: Rows::Done,
            at: 0,
        }
    }

    /// Turns a plan of SQLite's and its values into fragments.
    fn request(
        &mut self,
        execution: &Execution,
        used: u64,
        conditions: &[(Condition, Value)],
    ) -> Option<Request> {
        let mut filters = Vec::new();
        let mut params = Vec::new();
        let mut equal = Vec::new();
        let mut shard = None;
        let mut by_index = false;
        let pinned = execution.pins.get(&fold(&self.table.name));
        let pinned = pinned.filter(|keys| keys.len() <= PINNED_MOST);
        if let (Some(keys), Some(column)) = (pinned, self.table.key_column()) {
            filters.push(one_of(&quote_identifier(&column.name), keys, &mut params));
            by_index |= keys.len() < 100
                && self
                    .table
                    .shard_key()
                    .is_some_and(|key| self.indexed.contains(&key.column));
        }
        for (condition, value) in conditions {
            let column = &self.table.columns[condition.column];
            let name = quote_identifier(&column.name);
            let value_ref = value.as_ref();
            if !is_safe(column.affinity, *condition, value_ref) {
                continue;
            }
            let operator = condition.operator;
            if value.is_null() && operator.takes_value() && operator.sql() != "IS" {
                // A comparison with NULL holds for no row.
                return None;
            }
            if operator.takes_value() {
                params.push(value.clone());
                filters.push(format!("{name} {} ?{}", operator.sql(), params.len()));
            } else {
                filters.push(format!("{name} {}", operator.sql()));
            }
            if operator.is_equality() {
                equal.push(name);
                by_index |= self.indexed.contains(&condition.column);
                if self
                    .table
                    .shard_key()
                    .is_some_and(|key| key.column == condition.column)
                    && !value.is_null()
                {
                    shard = execution.shard_of(&self.table, value_ref);
                }
            }
        }
        Some(Request {
            columns: self.project(used),
            filter: if filters.is_empty() {
                String::new()
            } else {
                format!(" WHERE {}", filters.join(" AND "))
            },
            params,
            places: self.places(execution, shard),
            by_index,
            equal,
        })
    }

    /// The columns that SQLite wants, and those that tell rows apart where there is no rowid.
    fn project(&mut self, used: u64) -> Vec<String> {
        let mut list = Vec::new();
        for (index, column) in self.table.columns.iter().enumerate() {
            // The last bit stands for all columns from the 64th on.
            let tells_apart = self.table.without_rowid && self.table.primary_key.contains(&index);
            let wanted = tells_apart || used >> index.min(63) & 1 == 1;
            self.slots[index] = wanted.then(|| {
                list.push(quote_identifier(&column.name));
                list.len() - 1
            });
        }
        self.rowid = self.table.rowid_name().map(|_| list.len());
        list
    }

    fn places(&self, execution: &Execution, shard: Option<usize>) -> Vec<Place> {
        match (&self.table.kind, shard) {
            (TableKind::Sharded(_), Some(shard)) => vec![Place::Shard(shard)],
            (TableKind::Sharded(_), None) => {
                (0..execution.shard_count()).map(Place::Shard).collect()
            }
            // Rows of a reference table may have another rowid in each copy, and one statement must not see two.
            (TableKind::Reference, _) => vec![Place::Catalog],
            (TableKind::Global, _) => vec![Place::Catalog],
        }
    }

    fn advance(&mut self, execution: &Execution) -> Result<(), Error> {
        loop {
            let ready = match &self.rows {
                Rows::Shards { batch, .. } => self.at < batch.len(),
                Rows::Copy { batches, current } => batches
                    .get(*current)
                    .is_some_and(|batch| self.at < batch.len()),
                Rows::Done => true,
            };
            if ready {
                return Ok(());
            }
            self.at = 0;
            self.next_batch(execution)?;
        }
    }

    fn next_batch(&mut self, execution: &Execution) -> Result<(), Error> {
        let done = match &mut self.rows {
            Rows::Shards {
                waiting,
                fragment,
                source,
                place,
                batch,
            } => {
                batch.clear();
                match source {
                    Some(open) => {
                        if open.next_batch(batch)? {
                            execution.count(batch)?;
                            execution
                                .spend(&self.table.name, u64::try_from(batch.len()).unwrap_or(0));
                        } else {
                            *source = None;
                        }
                        false
                    }
                    None => match waiting.pop_front() {
                        Some(next) => {
                            *place = next;
                            *source = Some(execution.run(next, fragment)?);
                            false
                        }
                        None => true,
                    },
                }
            }
            Rows::Copy { batches, current } => {
                *current += 1;
                *current >= batches.len()
            }
            Rows::Done => true,
        };
        if done {
            self.rows = Rows::Done;
        }
        Ok(())
    }

    /// The primary key of the current row.
    fn key_of_row(&self) -> Vec<Value> {
        let slots = self
            .table
            .primary_key
            .iter()
            .filter_map(|column| self.slots[*column]);
        slots
            .filter_map(|slot| self.current(slot))
            .map(|value| value.to_value())
            .collect()
    }

    /// The place that the current row is from, as a number.
    fn place(&self) -> i64 {
        match &self.rows {
            Rows::Shards { place, .. } => copy::place_number(*place),
            Rows::Copy { batches, current } => {
                let row = batches.get(*current).map(|batch| batch.row(self.at));
                row.and_then(|row| row.get(row.len() - 1).as_i64())
                    .unwrap_or(0)
            }
            Rows::Done => 0,
        }
    }

    fn current(&self, slot: usize) -> Option<ValueRef<'_>> {
        let batch = match &self.rows {
            Rows::Shards { batch, .. } => batch,
            Rows::Copy { batches, current } => batches.get(*current)?,
            Rows::Done => return None,
        };
        Some(batch.row(self.at).get(slot))
    }
}

/// A condition that holds for the rows with one of the keys.
fn one_of(column: &str, keys: &[Value], params: &mut Vec<Value>) -> String {
    let mut marks = Vec::with_capacity(keys.len());
    for key in keys.iter().filter(|key| !key.is_null()) {
        params.push(key.clone());
        marks.push(format!("?{}", params.len()));
    }
    let or_null = if keys.iter().any(Value::is_null) {
        format!(" OR {column} IS NULL")
    } else {
        String::new()
    };
    format!("({column} IN ({}){or_null})", marks.join(","))
}

#[expect(
    unsafe_code,
    reason = "rusqlite asks for it: the type begins with SQLite's part and is repr(C)"
)]
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, _: c_int, plan: Option<&str>, args: &Filters<'_>) -> rusqlite::Result<()> {
        let execution = Execution::current()?;
        let (used, conditions) = plan
            .and_then(decode)
            .ok_or_else(|| SqliteError::ModuleError("the plan of a scan is lost".to_owned()))?;
        let valued = conditions
            .into_iter()
            .zip(args.iter().map(own_value))
            .collect::<Vec<_>>();
        self.at = 0;
        self.rows = match self.request(&execution, used, &valued) {
            None => Rows::Done,
            Some(request) => {
                let scan = execution.copies.scan(&execution, &self.table, request);
                match scan.map_err(|error| execution.fail(error))? {
                    Scan::Copy(batches) => Rows::Copy {
                        batches,
                        current: 0,
                    },
                    Scan::Shards(request) => Rows::Shards {
                        fragment: Fragment::new(request.sql(&self.table), request.params),
                        waiting: request.places.into(),
                        source: None,
                        place: Place::Catalog,
                        batch: Batch::new(),
                    },
                }
            }
        };
        self.advance(&execution)
            .map_err(|error| execution.fail(error))
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        let execution = Execution::current()?;
        self.at += 1;
        self.advance(&execution)
            .map_err(|error| execution.fail(error))
    }

    fn eof(&self) -> bool {
        matches!(self.rows, Rows::Done)
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let slot = usize::try_from(column)
            .ok()
            .and_then(|column| match self.slots.get(column) {
                Some(slot) => *slot,
                None => self.rowid,
            });
        let value = slot
            .and_then(|slot| self.current(slot))
            .unwrap_or(ValueRef::Null);
        context.set_result(sqlite_ref(value))
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        let rowid = self
            .rowid
            .and_then(|slot| self.current(slot))
            .and_then(|value| value.as_i64());
        if let (Some(_), Some(rowid)) = (self.table.rowid_alias, rowid) {
            return Ok(rowid);
        }
        let identity = match rowid {
            Some(rowid) => vec![Value::Integer(rowid)],
            None => self.key_of_row(),
        };
        Ok(Execution::current()?.row_number(&self.table.name, self.place(), identity))
    }
}
