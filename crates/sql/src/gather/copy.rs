//! Copies of tables that a statement scans again and again, as the inner side of a join.
//!
//! The first scans go to the shards. When they have cost as much as fetching the whole table once would, the table is
//! fetched into a second private database, and later scans run the very same fragment there. That is never much worse
//! than the better of the two choices, whichever it turns out to be.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
};

use rusqlite::Connection;
use shardwright_store::{Batch, Row, Value};

use super::{cursor::Request, execution::Execution};
use crate::{
    database::{own_value, sqlite_value},
    error::Error,
    schema::{Table, TableKind, quote_identifier},
    shards::{Fragment, Place},
};

/// What asking one place costs, in rows.
const CALL_COST: u64 = 8;
/// No table is copied for fewer scans.
const SCANS_LEAST: u64 = 4;

/// How a scan is answered.
pub(super) enum Scan {
    Shards(Request),
    Copy(Rc<Vec<Batch>>),
}

/// The copies of one statement.
#[derive(Debug, Default)]
pub(super) struct Copies {
    database: RefCell<Option<Connection>>,
    loaded: RefCell<HashSet<String>>,
    indexes: RefCell<HashSet<String>>,
    sizes: RefCell<HashMap<String, u64>>,
    scans: RefCell<HashMap<String, u64>>,
    /// Scans of whole tables, kept because they come again unchanged.
    whole: RefCell<HashMap<String, Rc<Vec<Batch>>>>,
}

impl Copies {
    /// Decides how a scan is answered, and answers it if a copy does.
    pub(super) fn scan(
        &self,
        execution: &Execution,
        table: &Table,
        request: Request,
    ) -> Result<Scan, Error> {
        let scans = *self
            .scans
            .borrow_mut()
            .entry(table.name.clone())
            .and_modify(|scans| *scans += 1)
            .or_insert(1);
        if !self.loaded.borrow().contains(&table.name) {
            let asked = u64::try_from(request.places.len())
                .unwrap_or(u64::MAX)
                .saturating_mul(CALL_COST);
            if scans <= SCANS_LEAST {
                execution.spend(&table.name, asked);
                return Ok(Scan::Shards(request));
            }
            let size = self.size(execution, table)?;
            let cost = if request.by_index {
                asked
            } else {
                asked.max(size)
            };
            if execution.spend(&table.name, cost) < size {
                return Ok(Scan::Shards(request));
            }
            self.load(execution, table)?;
        }
        self.answer(table, &request).map(Scan::Copy)
    }

    /// The number of rows of a table.
    fn size(&self, execution: &Execution, table: &Table) -> Result<u64, Error> {
        if let Some(size) = self.sizes.borrow().get(&table.name) {
            return Ok(*size);
        }
        let sql = format!("SELECT count(*) FROM {}", quote_identifier(&table.name));
        let fragment = Fragment::new(sql, Vec::new());
        let mut size = 0;
        let mut batch = Batch::new();
        for place in all_places(execution, table) {
            let mut source = execution.run(place, &fragment)?;
            while source.next_batch(&mut batch)? {
                let counted = batch.rows().filter_map(|row| row.get(0).as_i64());
                size += counted
                    .filter_map(|count| u64::try_from(count).ok())
                    .sum::<u64>();
            }
        }
        self.sizes.borrow_mut().insert(table.name.clone(), size);
        Ok(size)
    }

    fn load(&self, execution: &Execution, table: &Table) -> Result<(), Error> {
        let mut slot = self.database.borrow_mut();
        let database = match &mut *slot {
            Some(database) => database,
            none => none.insert(open(&execution.routing.schema.stored().encoding)?),
        };
        create(database, table).map_err(Error::from_sqlite)?;
        let names: Vec<String> = table
            .columns
            .iter()
            .map(|column| quote_identifier(&column.name))
            .collect();
        let rowid = table.rowid_name().unwrap_or("NULL");
        let name = quote_identifier(&table.name);
        let select = format!("SELECT {}, {rowid} FROM {name}", names.join(", "));
        let fragment = Fragment::new(select, Vec::new());
        let marks = vec!["?"; names.len() + 2].join(",");
        let transaction = database.transaction().map_err(Error::from_sqlite)?;
        let mut insert = transaction
            .prepare(&format!("INSERT INTO {name} VALUES ({marks})"))
            .map_err(Error::from_sqlite)?;
        let mut batch = Batch::new();
        for place in all_places(execution, table) {
            let mut source = execution.run(place, &fragment)?;
            while source.next_batch(&mut batch)? {
                execution.count(&batch)?;
                for row in batch.rows() {
                    let mut values = row.to_values();
                    values.push(Value::Integer(place_number(place)));
                    bind(&mut insert, &values).map_err(Error::from_sqlite)?;
                    insert.raw_execute().map_err(Error::from_sqlite)?;
                }
            }
        }
        drop(insert);
        transaction.commit().map_err(Error::from_sqlite)?;
        self.loaded.borrow_mut().insert(table.name.clone());
        Ok(())
    }

    fn answer(&self, table: &Table, request: &Request) -> Result<Rc<Vec<Batch>>, Error> {
        let sql = request.sql_of_copy(table);
        if request.params.is_empty()
            && let Some(kept) = self.whole.borrow().get(&sql)
        {
            return Ok(Rc::clone(kept));
        }
        let slot = self.database.borrow();
        let database = slot.as_ref().expect("a loaded table has its database");
        self.index(database, table, &request.equal)
            .map_err(Error::from_sqlite)?;
        let batches = Rc::new(fetch(database, &sql, &request.params).map_err(Error::from_sqlite)?);
        if request.params.is_empty() {
            self.whole.borrow_mut().insert(sql, Rc::clone(&batches));
        }
        Ok(batches)
    }

    /// Builds the index that a scan by equality wants.
    fn index(
        &self,
        database: &Connection,
        table: &Table,
        equal: &[String],
    ) -> rusqlite::Result<()> {
        let columns: BTreeSet<&str> = equal.iter().map(String::as_str).collect();
        if columns.is_empty() {
            return Ok(());
        }
        let list = columns.into_iter().collect::<Vec<_>>().join(", ");
        let list = format!("{}({list})", quote_identifier(&table.name));
        if !self.indexes.borrow_mut().insert(list.clone()) {
            return Ok(());
        }
        let number = self.indexes.borrow().len();
        database.execute_batch(&format!("CREATE INDEX \"_copy_{number}\" ON {list}"))
    }
}

/// The column of a copy that keeps the rowid of the original: those of two shards may be the same.
pub(super) const ROWID: &str = "\"_shardwright_rowid\"";
/// The column of a copy that keeps the place of the original.
pub(super) const PLACE: &str = "\"_shardwright_place\"";

/// A place as a number.
pub(super) fn place_number(place: Place) -> i64 {
    match place {
        Place::Shard(index) => i64::try_from(index).unwrap_or(i64::MAX),
        Place::Catalog => -1,
    }
}

fn all_places(execution: &Execution, table: &Table) -> Vec<Place> {
    match table.kind {
        TableKind::Sharded(_) => (0..execution.shard_count()).map(Place::Shard).collect(),
        TableKind::Reference | TableKind::Global => vec![Place::Catalog],
    }
}

fn open(encoding: &str) -> Result<Connection, Error> {
    let database = Connection::open_in_memory().map_err(Error::from_sqlite)?;
    let encoding = if encoding.is_empty() {
        "UTF-8"
    } else {
        encoding
    };
    database
        .pragma_update(None, "encoding", encoding)
        .map_err(Error::from_sqlite)?;
    Ok(database)
}

fn create(database: &Connection, table: &Table) -> rusqlite::Result<()> {
    let columns = table.columns.iter().map(|column| {
        format!(
            "{} {} COLLATE {}, ",
            quote_identifier(&column.name),
            column.affinity.type_name(),
            column.collation.name()
        )
    });
    let columns: String = columns.collect();
    database.execute_batch(&format!(
        "CREATE TABLE {}({columns}{ROWID}, {PLACE})",
        quote_identifier(&table.name)
    ))
}

fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> rusqlite::Result<()> {
    for (index, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, sqlite_value(value))?;
    }
    Ok(())
}

fn fetch(database: &Connection, sql: &str, params: &[Value]) -> rusqlite::Result<Vec<Batch>> {
    let mut statement = database.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    let columns = statement.column_count();
    let mut batch = Batch::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|column| row.get_ref(column).map(own_value));
        batch.push(&Row::of_values(
            &values.collect::<rusqlite::Result<Vec<_>>>()?,
        ));
    }
    Ok(vec![batch])
}
