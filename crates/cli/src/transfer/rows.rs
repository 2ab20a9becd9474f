//! How the rows of a table are read: in the order of their keys, or each after those that it refers to.

use anyhow::Context as _;
use rusqlite::Connection;
use shardwright_sql::schema::{ForeignKey, Generated, Schema, Table, quote_identifier};

use super::order;

/// The rows of a table, and their order.
#[derive(Debug)]
pub(super) struct Rows {
    /// Reads the values of each row's columns.
    pub(super) select: String,
    /// The columns that have a value of their own, quoted.
    pub(super) columns: Vec<String>,
}

/// Puts the rows of a table in order. What is needed for that is kept in a temporary file of the connection.
///
/// # Errors
/// When it cannot be read. `Ok(Err(count))` if so many rows cannot be put in order, because they refer to each other in a circle, or to such
/// rows.
pub(super) fn arrange(
    connection: &Connection,
    schema: &Schema,
    table: &Table,
) -> anyhow::Result<Result<Rows, u64>> {
    let columns: Vec<String> = ordinary(table).collect();
    let natural = Rows {
        select: natural(table, &columns),
        columns,
    };
    let keys = order::kept_keys(schema, table);
    let own: Vec<&ForeignKey> = keys
        .filter(|key| key.parent.eq_ignore_ascii_case(&table.name))
        .collect();
    if own.is_empty() {
        return Ok(Ok(natural));
    }
    anyhow::ensure!(
        !place(table).is_empty(),
        "the rows of {} refer to each other, and nothing tells them apart",
        table.name
    );
    let turns = Turns { connection, table };
    let is_needed = turns.collect(&own);
    if !is_needed.with_context(|| format!("read {}", table.name))? {
        return Ok(Ok(natural));
    }
    let left = turns.sort();
    match left.with_context(|| format!("put the rows of {} in order", table.name))? {
        0 => Ok(Ok(Rows {
            select: turns.select(&natural.columns),
            columns: natural.columns,
        })),
        left => Ok(Err(left)),
    }
}

/// The condition under which a row of the parent, `p`, is the one that a row, `c`, refers to. SQLite compares as the parent's column does.
pub(super) fn refers(table: &Table, parent: &Table, key: &ForeignKey) -> String {
    let pairs = referred(parent, key).zip(&key.columns);
    let pairs = pairs.map(|(parent, child)| {
        let child = quote_identifier(&table.columns[*child].name);
        format!("p.{parent} = +c.{child}")
    });
    pairs.collect::<Vec<_>>().join(" AND ")
}

/// The columns of the parent that a foreign key refers to, quoted.
fn referred<'a>(parent: &'a Table, key: &'a ForeignKey) -> impl Iterator<Item = String> + 'a {
    let named = key.parent_columns.iter().map(|name| quote_identifier(name));
    let primary = parent.primary_key.iter();
    let primary = primary.map(|column| quote_identifier(&parent.columns[*column].name));
    let is_named = !key.parent_columns.is_empty();
    named.chain(primary.filter(move |_| !is_named))
}

/// The columns that have a value of their own, quoted.
fn ordinary(table: &Table) -> impl Iterator<Item = String> {
    let ordinary = table.columns.iter();
    let ordinary = ordinary.filter(|column| column.generated == Generated::Ordinary);
    ordinary.map(|column| quote_identifier(&column.name))
}

fn natural(table: &Table, columns: &[String]) -> String {
    let place = place(table);
    let order = if place.is_empty() {
        String::new()
    } else {
        format!(" ORDER BY {}", place.join(", "))
    };
    // Without an index the rows come as they lie, where nothing names their place.
    format!(
        "SELECT {} FROM main.{} NOT INDEXED{order}",
        columns.join(", "),
        quote_identifier(&table.name)
    )
}

/// What tells a row's place among those of its table; nothing where the columns have taken all names for it.
fn place(table: &Table) -> Vec<String> {
    match table.rowid_name() {
        Some(rowid) => vec![rowid.to_owned()],
        None => {
            let key = table.primary_key.iter();
            key.map(|column| quote_identifier(&table.columns[*column].name))
                .collect()
        }
    }
}

/// The order of the rows of a table that refers to itself.
struct Turns<'a> {
    connection: &'a Connection,
    table: &'a Table,
}

impl Turns<'_> {
    /// Numbers the rows, and notes which of them refer to which. Returns whether one refers to a later one.
    fn collect(&self, keys: &[&ForeignKey]) -> rusqlite::Result<bool> {
        let place = place(self.table);
        let name = quote_identifier(&self.table.name);
        let parts: Vec<String> = (0..place.len()).map(|part| format!("k{part}")).collect();
        let (rows, links) = (self.temporary("rows"), self.temporary("links"));
        let (parts, listed) = (parts.join(", "), place.join(", "));
        self.connection.execute_batch(&format!(
            "CREATE TEMP TABLE {rows}(n INTEGER PRIMARY KEY, {parts}, UNIQUE({parts}));
             INSERT INTO temp.{rows}({parts}) SELECT {listed} FROM main.{name} NOT INDEXED ORDER BY {listed};
             CREATE TEMP TABLE {links}(parent INTEGER, child INTEGER, PRIMARY KEY(parent, child)) WITHOUT ROWID"
        ))?;
        for key in keys {
            self.connection.execute_batch(&format!(
                "INSERT OR IGNORE INTO temp.{links}
                 SELECT parents.n, children.n FROM main.{name} c
                 CROSS JOIN main.{name} p ON {}
                 CROSS JOIN temp.{rows} parents ON {}
                 CROSS JOIN temp.{rows} children ON {}
                 WHERE parents.n <> children.n",
                refers(self.table, self.table, key),
                self.is_at("parents", "p"),
                self.is_at("children", "c"),
            ))?;
        }
        let sql = format!("SELECT EXISTS (SELECT 1 FROM temp.{links} WHERE child < parent)");
        self.connection.query_row(&sql, (), |row| row.get(0))
    }

    /// Gives each row a turn after those that it refers to. Returns for how many there is none.
    fn sort(&self) -> rusqlite::Result<u64> {
        let (rows, links) = (self.temporary("rows"), self.temporary("links"));
        let (turns, waits) = (self.temporary("turns"), self.temporary("waits"));
        let connection = self.connection;
        connection.execute_batch(&format!(
            "CREATE TEMP TABLE {turns}(turn INTEGER PRIMARY KEY, n INTEGER NOT NULL);
             CREATE TEMP TABLE {waits}(child INTEGER PRIMARY KEY, parents INTEGER NOT NULL);
             INSERT INTO temp.{waits} SELECT child, count(*) FROM temp.{links} GROUP BY child;
             INSERT INTO temp.{turns}(n) SELECT n FROM temp.{rows}
             WHERE n NOT IN (SELECT child FROM temp.{waits}) ORDER BY n"
        ))?;
        let next = format!("SELECT n FROM temp.{turns} WHERE turn = ?1");
        let children = format!("SELECT child FROM temp.{links} WHERE parent = ?1");
        let came = format!(
            "UPDATE temp.{waits} SET parents = parents - 1 WHERE child = ?1 RETURNING parents"
        );
        let mut next = connection.prepare(&next)?;
        let mut children = connection.prepare(&children)?;
        let mut came = connection.prepare(&came)?;
        let mut takes = connection.prepare(&format!("INSERT INTO temp.{turns}(n) VALUES (?1)"))?;
        for turn in 1_i64.. {
            let mut found = next.query([turn])?;
            let Some(row) = found.next()? else { break };
            let parent: i64 = row.get(0)?;
            let mut of_parent = children.query([parent])?;
            while let Some(row) = of_parent.next()? {
                let child: i64 = row.get(0)?;
                let left: i64 = came.query_row([child], |row| row.get(0))?;
                if left == 0 {
                    takes.execute([child])?;
                }
            }
        }
        let left = format!("SELECT count(*) FROM temp.{waits} WHERE 0 < parents");
        connection.query_row(&left, (), |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
    }

    /// Reads the rows in their turns.
    fn select(&self, columns: &[String]) -> String {
        let columns: Vec<String> = columns.iter().map(|column| format!("t.{column}")).collect();
        let place = place(self.table).into_iter().enumerate();
        let is_it = place.map(|(part, name)| format!("t.{name} = +rows.k{part}"));
        format!(
            "SELECT {} FROM temp.{} turns CROSS JOIN temp.{} rows ON rows.n = turns.n
             CROSS JOIN main.{} t ON {} ORDER BY turns.turn",
            columns.join(", "),
            self.temporary("turns"),
            self.temporary("rows"),
            quote_identifier(&self.table.name),
            is_it.collect::<Vec<_>>().join(" AND ")
        )
    }

    fn is_at(&self, rows: &str, table: &str) -> String {
        let place = place(self.table).into_iter().enumerate();
        let parts = place.map(|(part, name)| format!("{rows}.k{part} = +{table}.{name}"));
        parts.collect::<Vec<_>>().join(" AND ")
    }

    fn temporary(&self, what: &str) -> String {
        quote_identifier(&format!("{what} of {}", self.table.name))
    }
}
