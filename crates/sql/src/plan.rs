//! Plans: where a statement runs, decided from its text, the schema and the shard map.
//!
//! A plan is made once per text and schema version and cached; [`ReadPlan::target`] and its like then decide in a few
//! nanoseconds, from the parameters of one call, on which shard it runs. Nothing here does I/O.

mod change;
mod condition;
mod homes;
mod insert;
mod key_expr;
mod located;
mod read;
mod route;
mod scatter;
mod scope;

pub(crate) use self::{
    change::ChangePlan,
    homes::{HomeKey, Homes, NewHome, Purpose},
    insert::{InsertPlan, RowKey},
    key_expr::KeyExpr,
    located::Located,
    read::{GatherReason, ReadPlan, ReadTarget},
    route::{OwnedRouting, Route, Routing},
    scatter::{Combine, PARTS, ScatterPlan, Term, Window},
    scope::RefKind,
};

use std::sync::Arc;

use turso_parser::ast::{Cmd, Stmt};

use crate::{
    error::Error,
    schema::Schema,
    statement::{self, StatementKind},
};

/// What to do with a statement.
#[derive(Debug)]
pub(crate) enum Plan {
    Read(ReadPlan),
    Insert(InsertPlan),
    Change(ChangePlan),
    Ddl(Box<Stmt>),
    Transaction(Box<Stmt>),
    Pragma(Box<Stmt>),
    /// EXPLAIN or EXPLAIN QUERY PLAN, answered by one place that the statement would run on.
    Explain(ReadPlan),
    /// EXPLAIN SHARDS of this statement, answered by the engine.
    Shards(Arc<str>),
}

/// Plans a statement.
///
/// # Errors
/// When the statement is one that a sharded database does not run.
pub(crate) fn plan(sql: &str, schema: &Schema) -> Result<Plan, Error> {
    if let Some(explained) = statement::of_explain_shards(sql) {
        return Ok(Plan::Shards(explained.into()));
    }
    let Some(command) = statement::parse(sql) else {
        if statement::is_too_deep(sql) {
            return Err(Error::Unsupported {
                what: "a statement that is nested so deeply".to_owned(),
                hint: "use no more than 100 levels of parentheses; a WITH clause takes subqueries out of one another",
            });
        }
        return unparsed(sql);
    };
    Ok(match (statement::kind_of(&command), command) {
        (StatementKind::Read, Cmd::Stmt(Stmt::Select(select))) => {
            Plan::Read(ReadPlan::of(sql, &select, schema))
        }
        (StatementKind::Write, Cmd::Stmt(statement)) => return write(statement, schema),
        (StatementKind::Ddl, Cmd::Stmt(statement)) => Plan::Ddl(Box::new(statement)),
        (StatementKind::Transaction, Cmd::Stmt(statement)) => {
            Plan::Transaction(Box::new(statement))
        }
        (StatementKind::Pragma, Cmd::Stmt(statement)) => Plan::Pragma(Box::new(statement)),
        (
            StatementKind::Explain,
            Cmd::Explain(statement)
            | Cmd::ExplainQueryPlan {
                stmt: statement, ..
            },
        ) => Plan::Explain(explained(sql, &statement, schema)),
        (_, command) => return Err(unsupported(&command)),
    })
}

/// SQLite may understand a statement that the parser does not. A read is answered by the gathering tier, which needs
/// no understanding; anything else is refused.
fn unparsed(sql: &str) -> Result<Plan, Error> {
    match statement::kind_by_first_word(sql) {
        StatementKind::Read | StatementKind::Other => Ok(Plan::Read(ReadPlan::opaque(sql))),
        _ => Err(Error::Unsupported {
            what: "this form of the statement".to_owned(),
            hint: "check its syntax; rarely used forms of writes have a plainer equivalent",
        }),
    }
}

fn write(statement: Stmt, schema: &Schema) -> Result<Plan, Error> {
    match &statement {
        Stmt::Insert { .. } => InsertPlan::of(statement, schema).map(Plan::Insert),
        Stmt::Update(_) | Stmt::Delete { .. } => {
            ChangePlan::of(&statement, schema).map(Plan::Change)
        }
        _ => Err(unsupported(&Cmd::Stmt(statement))),
    }
}

fn explained(sql: &str, statement: &Stmt, schema: &Schema) -> ReadPlan {
    match statement {
        Stmt::Select(select) => ReadPlan::of(sql, select, schema),
        _ => ReadPlan::opaque(sql),
    }
}

fn unsupported(command: &Cmd) -> Error {
    let (what, hint) = match command {
        Cmd::Stmt(Stmt::Attach { .. } | Stmt::Detach { .. }) => (
            "ATTACH",
            "import the other file, or open it as a database of its own",
        ),
        Cmd::Stmt(Stmt::Vacuum { .. }) => (
            "VACUUM",
            "export the database, or vacuum a shard's file while it is closed",
        ),
        Cmd::Stmt(Stmt::Analyze { .. }) => (
            "ANALYZE",
            "statistics are kept by PRAGMA optimize when the database closes",
        ),
        _ => (
            "this statement",
            "see the guide for the statements that a sharded database runs",
        ),
    };
    Error::Unsupported {
        what: what.to_owned(),
        hint,
    }
}

/// Where a view can be answered whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ViewPlaces {
    pub(crate) shards: bool,
    pub(crate) catalog: bool,
}

/// Finds the places that hold every table that a view reads.
pub(crate) fn view_places(schema: &Schema, view: &str) -> ViewPlaces {
    let mut walker = scope::Walker::new(schema);
    walker.view_of(view);
    let reads = walker.reads;
    let all = |kinds: &[RefKind]| {
        reads.unknown.is_empty() && reads.refs.iter().all(|found| kinds.contains(&found.kind))
    };
    ViewPlaces {
        shards: all(&[RefKind::Sharded, RefKind::Reference]),
        catalog: all(&[RefKind::Global, RefKind::Reference]),
    }
}
