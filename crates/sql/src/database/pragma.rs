//! PRAGMA: what there is to know is answered, what would change a file's behaviour is refused.

use std::ops::ControlFlow;

use shardwright_store::Value;
use turso_parser::ast::{PragmaBody, Stmt};

use super::{ShardedDatabase, read::own_value, state::State};
use crate::{
    answer::{Answer, ResultColumn, Tier},
    error::Error,
    schema::{Schema, fold},
    shards::Call,
};

/// Those that an empty copy of the schema answers.
const OF_SCHEMA: &[&str] = &[
    "application_id",
    "collation_list",
    "compile_options",
    "encoding",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "pragma_list",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];

/// Those that are kept with the schema, and can be set.
const KEPT: &[&str] = &["user_version", "application_id"];

/// Those that ask each file about itself.
const OF_FILES: &[&str] = &["integrity_check", "quick_check"];

/// What answers a PRAGMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An empty copy of the schema.
    OfSchema,
    /// It is set, and kept with the schema.
    Kept,
    /// Each file, about itself.
    OfFiles,
    /// It is always the same, and may be set to just that.
    Fixed,
}

/// Tells what answers a PRAGMA; `None` if it is refused.
pub(super) fn kind(pragma: &str, body: Option<&PragmaBody>) -> Option<Kind> {
    match (pragma, body) {
        // SQLite sets them in this form too.
        (kept, Some(_)) if KEPT.contains(&kept) => Some(Kind::Kept),
        (known, None | Some(PragmaBody::Call(_))) if OF_SCHEMA.contains(&known) => {
            Some(Kind::OfSchema)
        }
        (known, _) if OF_FILES.contains(&known) => Some(Kind::OfFiles),
        ("foreign_keys" | "journal_mode", None) | ("read_uncommitted", _) => Some(Kind::Fixed),
        ("foreign_keys", Some(PragmaBody::Equals(value))) if is_on(&value.to_string()) => {
            Some(Kind::Fixed)
        }
        _ => None,
    }
}

pub(super) fn refused(pragma: &str) -> Error {
    Error::Unsupported {
        what: format!("PRAGMA {pragma}"),
        hint: "settings of the files belong to the database: see Options",
    }
}

/// What a PRAGMA answers that is always the same.
fn fixed(pragma: &str) -> Value {
    match pragma {
        "foreign_keys" => Value::Integer(1),
        "journal_mode" => Value::from("wal"),
        _ => Value::Integer(0),
    }
}

impl ShardedDatabase {
    pub(super) fn pragma(
        &self,
        state: &State,
        statement: &Stmt,
        sql: &str,
    ) -> Result<Answer, Error> {
        let Stmt::Pragma { name, body } = statement else {
            unreachable!("the caller has matched the statement")
        };
        let pragma = fold(name.name.as_str());
        match (kind(&pragma, body.as_ref()), body) {
            (Some(Kind::OfSchema), _) => schema_answer(state, sql),
            (Some(Kind::Kept), Some(PragmaBody::Equals(value) | PragmaBody::Call(value))) => {
                self.set_number(&pragma, &value.to_string())
            }
            (Some(Kind::OfFiles), _) => self.ask_files(sql),
            (Some(Kind::Fixed), None) => Ok(answer(&pragma, vec![vec![fixed(&pragma)]])),
            (Some(Kind::Fixed), Some(_)) => Ok(answer(&pragma, Vec::new())),
            (Some(Kind::Kept), None) | (None, _) => Err(refused(&pragma)),
        }
    }

    fn ask_files(&self, sql: &str) -> Result<Answer, Error> {
        let mut findings = Vec::new();
        let places = &self.inner.places;
        for place in places.all() {
            let name = places.name(place);
            places.read(place, Call::new(sql, ()), &mut |row| {
                let finding = row.get(0).as_str().unwrap_or_default();
                if finding != "ok" {
                    findings.push(vec![Value::from(format!("{name}: {finding}"))]);
                }
                ControlFlow::Continue(())
            })?;
        }
        if findings.is_empty() {
            findings.push(vec![Value::from("ok")]);
        }
        Ok(answer("integrity_check", findings))
    }

    fn set_number(&self, pragma: &str, value: &str) -> Result<Answer, Error> {
        let number: i32 = value.parse().map_err(|_| Error::Sql {
            message: format!("{value} is not a number"),
        })?;
        let (_one, state) = self.begin_broadcast()?;
        if self.broadcast_before()?.is_some() {
            return Ok(answer(pragma, Vec::new()));
        }
        let mut stored = state.schema.stored().clone();
        match pragma {
            "user_version" => stored.user_version = number,
            _ => stored.application_id = number,
        }
        let after = Schema::derive(stored)?;
        self.change_schema(&state, after, Vec::new(), Vec::new())?;
        Ok(answer(pragma, Vec::new()))
    }
}

/// Whether a PRAGMA changes what is kept with the schema.
pub(super) fn sets_number(statement: &Stmt) -> bool {
    match statement {
        Stmt::Pragma {
            name,
            body: Some(_),
        } => KEPT.contains(&fold(name.name.as_str()).as_str()),
        _ => false,
    }
}

fn is_on(value: &str) -> bool {
    ["1", "on", "true", "yes"]
        .iter()
        .any(|on| on.eq_ignore_ascii_case(value))
}

fn answer(column: &str, rows: Vec<Vec<Value>>) -> Answer {
    let mut answer = Answer::of_changes(Vec::new(), Tier::Schema, "it concerns the whole database");
    if !rows.is_empty() {
        answer.columns = vec![ResultColumn {
            name: column.to_owned(),
            declared_type: None,
        }];
    }
    answer.rows = rows;
    answer
}

fn schema_answer(state: &State, sql: &str) -> Result<Answer, Error> {
    let (columns, rows) = state.on_copy(|copy| {
        let mut statement = copy.prepare(sql)?;
        let names = statement
            .column_names()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..names.len()).map(|column| row.get_ref(column).map(own_value));
            found.push(values.collect::<rusqlite::Result<Vec<_>>>()?);
        }
        Ok((names, found))
    })?;
    let mut answer = answer("", rows);
    answer.columns = columns
        .into_iter()
        .map(|name| ResultColumn {
            name,
            declared_type: None,
        })
        .collect();
    Ok(answer)
}
