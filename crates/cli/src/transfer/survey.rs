//! What will be sent: how much it is, whether all of it fits, and a digest by which it is known again.

use std::{collections::BTreeMap, fmt::Write as _};

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};
use shardwright_sql::{
    Value, json,
    schema::{Schema, Table, quote_identifier},
};

use super::{
    batches::{self, Batch, Sending},
    definitions,
    fit::{self, Place, Unfit},
    order,
    rows::{self, Rows},
    sequences::{self, LastNumber},
};

/// How many bytes of values a statement may have: a shard commits it as one record of 8 MiB at most.
const VALUES_BYTES_MAX: usize = (8 << 20) - (64 << 10);

/// How many bytes a request may have.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// How many bytes of a request one byte of a value takes at most, as `\u0001`.
const ESCAPED_BYTES_MAX: usize = 6;

/// What will be sent.
#[derive(Debug)]
pub(super) struct Survey {
    /// The tables in the order in which they are filled.
    pub(super) tables: Vec<Surveyed>,
    /// The same for the same statements in the same order.
    pub(super) digest: String,
    /// Why it cannot be sent, in sentences.
    pub(super) unfit: Vec<String>,
}

/// What will be sent of a table.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub(super) name: String,
    rows: Rows,
    last_number: Option<LastNumber>,
    /// How many statements fill it.
    pub(super) batches: u64,
    /// How many rows it has.
    pub(super) count: u64,
}

impl Surveyed {
    pub(super) fn sending<'a>(&'a self, table: &'a Table) -> Sending<'a> {
        Sending {
            table,
            rows: &self.rows,
            last_number: self.last_number.as_ref(),
        }
    }
}

/// What is read.
pub(super) struct Reading<'a> {
    pub(super) connection: &'a Connection,
    pub(super) schema: &'a Schema,
    pub(super) place: &'a Place,
}

/// Reads everything once.
///
/// # Errors
/// When the database cannot be read, or says two things about a table.
pub(super) fn survey(connection: &Connection, schema: &Schema) -> anyhow::Result<Survey> {
    let (mut unfit, place) = fit::check(connection, schema)?;
    let reading = Reading {
        connection,
        schema,
        place: &place,
    };
    let mut digest = Digest::new(schema)?;
    let mut tables = Vec::new();
    for name in order::filled(schema) {
        let Some(table) = schema.table(&name) else {
            continue;
        };
        if !unfit.is_fine(table) {
            continue;
        }
        match prepare(&reading, table)? {
            Ok(mut surveyed) => {
                read(&reading, table, &mut surveyed, &mut digest, &mut unfit)?;
                tables.push(surveyed);
            }
            Err(why) => unfit.add(table, why),
        }
    }
    Ok(Survey {
        tables,
        digest: digest.finish(),
        unfit: unfit.sentences(),
    })
}

/// Finds the order of a table's rows, and what comes before them. `Err` says why it cannot be sent.
fn prepare(source: &Reading<'_>, table: &Table) -> anyhow::Result<Result<Surveyed, String>> {
    let rows = match rows::arrange(source.connection, source.schema, table)? {
        Ok(rows) => rows,
        Err(count) => {
            let rows = crate::output::count(count, "row");
            let why = format!("{rows} that refer to each other in a circle, or to such rows");
            return Ok(Err(why));
        }
    };
    let last_number = sequences::last_number(source, table, &rows)?;
    Ok(last_number.map(|last_number| Surveyed {
        name: table.name.clone(),
        rows,
        last_number,
        batches: 0,
        count: 0,
    }))
}

/// Reads a table.
fn read(
    source: &Reading<'_>,
    table: &Table,
    surveyed: &mut Surveyed,
    digest: &mut Digest,
    unfit: &mut Unfit,
) -> anyhow::Result<()> {
    let (mut batches, mut count, mut too_large) = (0, 0, 0_u64);
    let mut refused = None;
    batches::each(source.connection, &surveyed.sending(table), &mut |batch| {
        digest.add(&batch);
        if refused.is_none() {
            refused = source.place.takes(table, &batch, false).err();
        }
        batches += 1;
        count += batch.rows;
        too_large += u64::from(is_too_large(&batch));
        Ok(())
    })?;
    (surveyed.batches, surveyed.count) = (batches, count);
    let sql = format!(
        "SELECT count(*) FROM main.{}",
        quote_identifier(&table.name)
    );
    let there: i64 = source.connection.query_row(&sql, (), |row| row.get(0))?;
    if count != there.unsigned_abs() {
        unfit.add(
            table,
            format!("{count} of {there} rows can be put in order"),
        );
    }
    if let Some(error) = refused {
        unfit.add(table, format!("a row is refused: {error}"));
    }
    if 0 < too_large {
        let rows = crate::output::count(too_large, "row");
        let why = format!(
            "{rows} with more than a shard commits at once, 8 MiB, or a request takes, 16 MiB of JSON"
        );
        unfit.add(table, why);
    }
    Ok(())
}

/// Whether no shard would take a statement. It has one row then: those with several are small.
fn is_too_large(batch: &Batch) -> bool {
    let bytes = batch.bytes();
    if VALUES_BYTES_MAX < bytes {
        return true;
    }
    // Most are so small that nobody has to count.
    let room = REQUEST_BYTES_MAX - (64 << 10) - batch.sql.len();
    room < bytes.saturating_mul(ESCAPED_BYTES_MAX) && room < in_json(&batch.args)
}

/// How many bytes values have as JSON.
fn in_json(values: &[Value]) -> usize {
    let sizes = values.iter().map(|value| {
        let text = serde_json::to_string(&json::Json(value));
        // A value has a form in JSON, whatever it is.
        text.map_or(0, |text| text.len() + 1)
    });
    sizes.sum()
}

/// A digest of statements.
struct Digest(Sha256);

impl Digest {
    /// The digest of what makes the objects of a schema.
    fn new(schema: &Schema) -> anyhow::Result<Self> {
        let mut digest = Self(Sha256::new());
        let objects = definitions::tables(schema)?;
        for definition in objects.into_iter().chain(definitions::others(schema)) {
            digest.bytes(b"s", definition.sql.as_bytes());
        }
        for pragma in definitions::pragmas(schema) {
            digest.bytes(b"s", pragma.as_bytes());
        }
        Ok(digest)
    }

    fn add(&mut self, batch: &Batch) {
        self.bytes(b"s", batch.sql.as_bytes());
        for value in &batch.args {
            match value {
                Value::Null => self.bytes(b"n", &[]),
                Value::Integer(integer) => self.bytes(b"i", &integer.to_be_bytes()),
                Value::Real(real) => self.bytes(b"r", &real.to_bits().to_be_bytes()),
                Value::Text(text) => self.bytes(b"t", text),
                Value::Blob(blob) => self.bytes(b"b", blob),
            }
        }
    }

    fn bytes(&mut self, kind: &[u8; 1], bytes: &[u8]) {
        self.0.update(kind);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// The digest as hexadecimal digits.
    fn finish(self) -> String {
        let mut text = String::new();
        for byte in self.0.finalize() {
            write!(text, "{byte:02x}").expect("because writing to a String cannot fail");
        }
        text
    }
}

/// How many rows each table has.
pub(super) fn counts(tables: &[Surveyed]) -> BTreeMap<String, u64> {
    let counts = tables.iter();
    counts
        .map(|table| (table.name.clone(), table.count))
        .collect()
}
