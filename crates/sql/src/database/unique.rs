//! Unique constraints that one shard cannot keep: each write asks the other shards.
//!
//! A temporary trigger on the writer of each shard calls a function with the values of every new row, and the function
//! looks for them on the other shards. One process writes, and such writes are made one at a time, so no row can
//! appear between the question and the commit.

use std::{
    ops::ControlFlow,
    sync::{Arc, OnceLock, PoisonError, RwLock, Weak},
};

use shardwright_store::{Determinism, Function, Value, ValueRef};
use turso_parser::ast::{Cmd, Stmt};

use super::{files::Files, state::State};
use crate::{
    error::Error,
    schema::{Schema, Table, UniqueConstraint, quote_identifier},
    shards::Place,
    statement,
};

const FUNCTION: &str = "_shardwright_unique";
/// Begins the message by which the function refuses a row, so that it is told from SQLite's own.
const CONFLICT: &str = "unique over shards: ";

/// Asks other shards for rows that a new row would conflict with.
#[derive(Debug, Default)]
pub(super) struct Prober {
    files: OnceLock<Weak<Files>>,
    probes: RwLock<Vec<Probe>>,
}

#[derive(Debug, Clone)]
struct Probe {
    /// `table.column, ...`, for the message.
    columns: String,
    /// Finds a row with the values given as parameters.
    sql: String,
}

impl Prober {
    pub(super) fn attach(&self, files: &Arc<Files>) {
        // A second attachment would be the same files.
        let _ = self.files.set(Arc::downgrade(files));
    }

    /// The function for the writer of one place.
    pub(super) fn function(self: &Arc<Self>, place: Place) -> Function {
        let prober = Arc::clone(self);
        Function::new(FUNCTION, 1, Determinism::Volatile, move |values| {
            prober.check(place, values)
        })
        .variadic()
    }

    fn check(&self, own: Place, values: &[ValueRef<'_>]) -> Result<Value, String> {
        let number = values
            .first()
            .and_then(|value| value.as_i64())
            .unwrap_or(-1);
        let probe = usize::try_from(number).ok().and_then(|number| {
            self.probes
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .get(number)
                .cloned()
        });
        let (Some(probe), Some(files)) = (probe, self.files.get().and_then(Weak::upgrade)) else {
            return Err("the constraint is not known".to_owned());
        };
        for shard in 0..files.shards().len() {
            let place = Place::Shard(shard);
            if place == own {
                continue;
            }
            let found = files
                .file(place)
                .reader()
                .and_then(|mut reader| {
                    reader.query(probe.sql.as_str(), &values[1..], |_| ControlFlow::Break(()))
                })
                .map_err(|error| error.to_string())?;
            if found.is_break() {
                return Err(format!(
                    "{CONFLICT}{}: {}",
                    files.name(place),
                    probe.columns
                ));
            }
        }
        Ok(Value::Null)
    }

    /// Makes the writers of all shards keep the constraints of a schema.
    pub(super) fn install(&self, schema: &Schema, files: &Files) -> Result<(), Error> {
        let mut probes = Vec::new();
        let mut script = String::new();
        for table in schema.tables() {
            for unique in table.global_constraints() {
                let terms = Terms::of(schema, table, unique)?;
                script.push_str(&terms.triggers(table, probes.len()));
                probes.push(terms.probe(table));
            }
        }
        *self.probes.write().unwrap_or_else(PoisonError::into_inner) = probes;
        if script.is_empty() {
            return Ok(());
        }
        for shard in 0..files.shards().len() {
            let at = || Error::at(files.name(Place::Shard(shard)));
            let mut writer = files.shards()[shard].writer().map_err(at())?;
            // A rollback brings triggers back.
            Self::remove(&mut writer).map_err(at())?;
            writer.execute_script(&script).map_err(at())?;
        }
        Ok(())
    }

    /// Takes the triggers away, before the schema under them changes.
    pub(super) fn remove(writer: &mut shardwright_store::Writer) -> shardwright_store::Result<()> {
        let mut names = Vec::new();
        let _ = writer.query(
            "SELECT name FROM temp.sqlite_schema WHERE type = 'trigger'",
            (),
            |row| {
                names.extend(row.get(0).as_str().map(str::to_owned));
                ControlFlow::<()>::Continue(())
            },
        )?;
        for name in names {
            writer.execute(
                format!("DROP TRIGGER temp.{}", quote_identifier(&name)).as_str(),
                (),
            )?;
        }
        Ok(())
    }
}

/// Returns the constraint and the place, if the error is a conflict with a row of another shard.
pub(super) fn conflict_in(error: &shardwright_store::Error) -> Option<(String, String)> {
    let text = error.to_string();
    let (_, found) = text.split_once(CONFLICT)?;
    let (place, columns) = found.split_once(": ")?;
    Some((columns.to_owned(), place.to_owned()))
}

/// The parts of a constraint, as SQL.
struct Terms {
    /// Each column or expression.
    terms: Vec<String>,
    collations: Vec<&'static str>,
    /// The WHERE clause of a partial index.
    condition: Option<String>,
    /// Whether all terms are plain columns.
    plain: bool,
    names: String,
}

impl Terms {
    fn of(schema: &Schema, table: &Table, unique: &UniqueConstraint) -> Result<Self, Error> {
        let plain = !unique.partial && unique.columns.iter().all(Option::is_some);
        let columns = unique
            .columns
            .iter()
            .flatten()
            .map(|&column| table.columns[column].name.as_str());
        let (terms, condition) = if plain {
            (columns.clone().map(quote_identifier).collect(), None)
        } else {
            index_terms(schema, unique)?
        };
        let names = match &unique.index {
            Some(index) if !plain => format!("index '{index}'"),
            _ => columns
                .map(|column| format!("{}.{column}", table.name))
                .collect::<Vec<_>>()
                .join(", "),
        };
        let collations = unique
            .collations
            .iter()
            .map(|collation| collation.name())
            .collect();
        Ok(Self {
            terms,
            collations,
            condition,
            plain,
            names,
        })
    }

    fn triggers(&self, table: &Table, number: usize) -> String {
        let name = quote_identifier(&table.name);
        let own = self.own_row(table);
        let list: String = self
            .terms
            .iter()
            .map(|term| format!(", {}", self.of_new(term)))
            .collect();
        let not_null = self
            .terms
            .iter()
            .map(|term| format!("({}) IS NOT NULL", self.of_new(term)));
        let mut conditions: Vec<String> = not_null
            .chain(self.condition.iter().map(|c| format!("({c})")))
            .collect();
        let from = if self.plain {
            String::new()
        } else {
            conditions.push(own);
            format!(" FROM {name}")
        };
        let check = format!(
            "SELECT {FUNCTION}({number}{list}){from} WHERE {};",
            conditions.join(" AND ")
        );
        ["INSERT", "UPDATE"]
            .map(|event| {
                format!(
                    "CREATE TEMP TRIGGER \"_unique_{number}_{event}\" AFTER {event} ON main.{name} BEGIN {check} END;\n"
                )
            })
            .concat()
    }

    fn of_new(&self, term: &str) -> String {
        if self.plain {
            format!("NEW.{term}")
        } else {
            term.to_owned()
        }
    }

    /// Finds the row that has just been written among those of its table.
    fn own_row(&self, table: &Table) -> String {
        match table.rowid_name() {
            Some(rowid) => format!("{rowid} = NEW.{rowid}"),
            None => table
                .primary_key
                .iter()
                .map(|&column| quote_identifier(&table.columns[column].name))
                .map(|column| format!("{column} IS NEW.{column}"))
                .collect::<Vec<_>>()
                .join(" AND "),
        }
    }

    fn probe(&self, table: &Table) -> Probe {
        let equal = self.terms.iter().zip(&self.collations).enumerate();
        let mut conditions: Vec<String> = equal
            .map(|(index, (term, collation))| {
                format!("{term} = ?{} COLLATE {collation}", index + 1)
            })
            .collect();
        conditions.extend(
            self.condition
                .iter()
                .map(|condition| format!("({condition})")),
        );
        let sql = format!(
            "SELECT 1 FROM {} WHERE {} LIMIT 1",
            quote_identifier(&table.name),
            conditions.join(" AND ")
        );
        Probe {
            columns: self.names.clone(),
            sql,
        }
    }
}

/// The expressions and the condition of an index, from the statement that creates it.
fn index_terms(
    schema: &Schema,
    unique: &UniqueConstraint,
) -> Result<(Vec<String>, Option<String>), Error> {
    let unknown = || Error::Unsupported {
        what: "this form of a unique index that does not contain the shard key".to_owned(),
        hint: "let the index contain the shard key, or declare the table global",
    };
    let object = schema
        .stored()
        .objects
        .iter()
        .find(|object| object.kind == "index" && Some(&object.name) == unique.index.as_ref())
        .ok_or_else(unknown)?;
    match statement::parse(&object.sql) {
        Some(Cmd::Stmt(Stmt::CreateIndex {
            columns,
            where_clause,
            ..
        })) => Ok((
            columns
                .iter()
                .map(|column| format!("({})", column.expr))
                .collect(),
            where_clause.map(|condition| condition.to_string()),
        )),
        _ => Err(unknown()),
    }
}

impl State {
    /// Whether a write to a table may conflict with rows of other shards, by itself or through triggers and cascades.
    pub(super) fn needs_guard(&self, table: &Table) -> bool {
        let constrained = |table: &Table| table.global_constraints().next().is_some();
        if constrained(table) {
            return true;
        }
        let has_reach = self.schema.triggers(&table.name).next().is_some()
            || self.schema.tables().any(|other| {
                other
                    .foreign_keys
                    .iter()
                    .any(|key| key.parent.eq_ignore_ascii_case(&table.name))
            });
        has_reach && self.schema.tables().any(constrained)
    }
}
