//! UPDATE and DELETE: on the shards whose rows they can reach.

use shardwright_store::Params;
use shardwright_topology::Position;
use turso_parser::ast::{Expr, Name, Stmt};

use super::{
    KeyExpr, Located, Route, Routing,
    scope::{RefKind, TableRef, Walker},
};
use crate::{
    error::Error,
    schema::{Schema, Table, TableKind, fold},
};

/// An UPDATE or DELETE.
#[derive(Debug)]
pub(crate) struct ChangePlan {
    /// The folded name of the table.
    pub(crate) table: String,
    /// The target first, then the tables that are read.
    refs: Vec<TableRef>,
    /// Which references have the target's key wherever they matter.
    follows: Vec<bool>,
    /// The new value of the shard key, if the statement sets it.
    sets_key: SetsKey,
    /// Whether the statement changes rows by a rule other than refusal.
    pub(crate) rule: Option<&'static str>,
    /// The statement in two parts, if it reads other rows than those that it changes, or moves rows.
    pub(crate) located: Option<Located>,
}

#[derive(Debug)]
enum SetsKey {
    No,
    To(KeyExpr),
    Computed,
}

impl ChangePlan {
    pub(crate) fn of(statement: &Stmt, schema: &Schema) -> Result<Self, Error> {
        let name = match statement {
            Stmt::Update(update) => &update.tbl_name,
            Stmt::Delete { tbl_name, .. } => tbl_name,
            _ => unreachable!("the caller has matched the statement"),
        };
        let table = schema.table(name.name.as_str()).ok_or_else(|| {
            match schema.view(name.name.as_str()) {
                Some(_) => Error::Unsupported {
                    what: format!("writing through the view {}", name.name.as_str()),
                    hint: "write to the tables that the view reads",
                },
                None => Error::UnknownTable {
                    table: name.name.as_str().to_owned(),
                },
            }
        })?;
        let mut walker = Walker::new(schema);
        let sets_key = walk(&mut walker, statement, table, name.alias.as_ref());
        let mut reads = walker.reads;
        if let Some(view) = reads.temporary {
            return Err(local_view(&view));
        }
        if let Some(unknown) = reads.unknown.first() {
            return Err(Error::UnknownTable {
                table: unknown.clone(),
            });
        }
        let is_plain = reads.refs.len() <= 1 && matches!(sets_key, SetsKey::No);
        let located = match is_plain {
            true => None,
            false => Located::of(statement, table, schema),
        };
        reads.spread();
        let follows = reads.follows(0);
        let rule = match statement {
            Stmt::Update(update) => match update.or_conflict {
                Some(turso_parser::ast::ResolveType::Ignore) => Some("OR IGNORE"),
                Some(turso_parser::ast::ResolveType::Replace) => Some("OR REPLACE"),
                _ => None,
            },
            _ => None,
        };
        Ok(Self {
            table: fold(&table.name),
            refs: reads.refs,
            follows,
            sets_key,
            rule,
            located,
        })
    }

    /// The shards on which the statement runs, ascending.
    ///
    /// # Errors
    /// When a shard alone cannot evaluate it, or it would move a row.
    pub(crate) fn shards(
        &self,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<Vec<usize>, Error> {
        let table = self.table(routing.schema)?;
        let count = routing.map.len();
        let route = Route::of(self.refs[0].pin.as_deref(), table, params, routing)?;
        self.check_key(table, params, routing)?;
        let shards = route.shards(count);
        for (found, follows) in self.refs.iter().zip(&self.follows).skip(1) {
            let local = match found.kind {
                RefKind::Reference => true,
                RefKind::Global | RefKind::Schema => false,
                RefKind::Sharded => {
                    let other = routing.schema.table(&found.table);
                    let same = |other: &Table| {
                        let route = Route::of(found.pin.as_deref(), other, params, routing)?;
                        Ok::<_, Error>(shards.len() == 1 && route.only(count) == Some(shards[0]))
                    };
                    *follows || count == 1 || other.map(same).transpose()?.unwrap_or(false)
                }
            };
            if !local {
                return Err(self.not_local(table, found));
            }
        }
        Ok(shards)
    }

    /// Whether the statement is refused for nothing but rows of other places that it reads, or that are to go there.
    pub(crate) fn is_not_local(&self, params: &Params<'_>, routing: Routing<'_>) -> bool {
        let is_refused = |ran: Result<(), Error>| {
            matches!(
                ran,
                Err(Error::NotShardLocal { .. } | Error::ShardKeyUpdate { .. })
            )
        };
        match self.table(routing.schema).map(|table| &table.kind) {
            Ok(TableKind::Sharded(_)) => is_refused(self.shards(params, routing).map(drop)),
            Ok(TableKind::Global) => is_refused(self.check_unsharded(routing.schema)),
            Ok(TableKind::Reference) | Err(_) => false,
        }
    }

    /// The position of the one key that the statement names for its target.
    pub(crate) fn position(
        &self,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<Option<Position>, Error> {
        let (Some([key]), table) = (self.pin(), self.table(routing.schema)?) else {
            return Ok(None);
        };
        Ok(routing.position_of(table, key.value(params)?))
    }

    /// Refuses a statement on a reference or global table that reads tables which do not live there too.
    pub(crate) fn check_unsharded(&self, schema: &Schema) -> Result<(), Error> {
        let table = self.table(schema)?;
        let foreign = self.refs.iter().skip(1).find(|found| {
            !matches!(
                (&table.kind, found.kind),
                (_, RefKind::Reference) | (TableKind::Global, RefKind::Global)
            )
        });
        foreign.map_or(Ok(()), |found| Err(self.not_local(table, found)))
    }

    /// Refuses a statement that would move rows.
    pub(crate) fn check_stays(
        &self,
        routing: Routing<'_>,
        params: &Params<'_>,
    ) -> Result<(), Error> {
        self.check_key(self.table(routing.schema)?, params, routing)
    }

    /// The keys that the statement names for its target.
    pub(crate) fn pin(&self) -> Option<&[KeyExpr]> {
        self.refs[0].pin.as_deref()
    }

    fn table<'a>(&self, schema: &'a Schema) -> Result<&'a Table, Error> {
        schema
            .table(&self.table)
            .ok_or_else(|| Error::UnknownTable {
                table: self.table.clone(),
            })
    }

    /// Setting the key to the value that the WHERE clause names for it changes nothing, and object mappers do it.
    fn check_key(
        &self,
        table: &Table,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<(), Error> {
        let stays = match (&self.sets_key, self.pin()) {
            (SetsKey::No, _) => true,
            (SetsKey::To(new), Some([old])) => {
                let (new, old) = (new.value(params)?, old.value(params)?);
                routing.canonical(table, new) == routing.canonical(table, old)
            }
            (SetsKey::To(_) | SetsKey::Computed, _) => false,
        };
        if stays {
            return Ok(());
        }
        Err(Error::ShardKeyUpdate {
            table: table.name.clone(),
            column: table
                .key_column()
                .map(|column| column.name.clone())
                .unwrap_or_default(),
        })
    }

    fn not_local(&self, table: &Table, found: &TableRef) -> Error {
        Error::NotShardLocal {
            table: table.name.clone(),
            other: found.table.clone(),
        }
    }
}

/// A write that would have to be run where a temporary view is not known.
pub(super) fn local_view(view: &str) -> Error {
    Error::Unsupported {
        what: format!("a write that reads the temporary view {view}"),
        hint: "create the view without TEMP",
    }
}

fn walk(walker: &mut Walker<'_>, statement: &Stmt, table: &Table, alias: Option<&Name>) -> SetsKey {
    let (with, where_clause) = match statement {
        Stmt::Update(update) => (&update.with, &update.where_clause),
        Stmt::Delete {
            with, where_clause, ..
        } => (with, where_clause),
        _ => unreachable!("the caller has matched the statement"),
    };
    let mut scope = walker.target(table, alias);
    walker.with(with.as_ref());
    let mut sets_key = SetsKey::No;
    if let Stmt::Update(update) = statement {
        if let Some(from) = &update.from {
            walker.from(from, &mut scope);
        }
        for set in &update.sets {
            walker.expr(&set.expr, &scope);
            if set
                .col_names
                .iter()
                .any(|column| is_key(table, column.as_str()))
            {
                sets_key = match (&set.col_names[..], KeyExpr::of(&set.expr)) {
                    ([_], Some(value)) => SetsKey::To(value),
                    _ => SetsKey::Computed,
                };
            }
        }
    }
    if let Some(condition) = where_clause {
        walker.filter(condition, &scope);
        walker.expr(condition, &scope);
    }
    returning(walker, statement, &scope);
    sets_key
}

fn returning(walker: &mut Walker<'_>, statement: &Stmt, scope: &super::scope::Scope<'_>) {
    let (Stmt::Update(turso_parser::ast::Update { returning, .. })
    | Stmt::Delete { returning, .. }) = statement
    else {
        return;
    };
    for column in returning {
        if let turso_parser::ast::ResultColumn::Expr(expr, _) = column {
            let expr: &Expr = expr;
            walker.expr(expr, scope);
        }
    }
}

fn is_key(table: &Table, column: &str) -> bool {
    table
        .shard_key()
        .is_some_and(|key| table.resolve(column) == Some(key.column))
}
