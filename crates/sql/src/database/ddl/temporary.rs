//! Temporary views: no place has them, and they last as long as this process has the database open.

use std::sync::Arc;

use turso_parser::ast::Stmt;

use super::{refuse_temporary, views_of};
use crate::{
    database::{ShardedDatabase, state::State},
    error::Error,
    schema::{Schema, SchemaObject, StoredSchema, fold, open_copy},
};

impl ShardedDatabase {
    /// Makes or drops a temporary view; `None` if the statement does something else. The caller has begun the broadcast.
    ///
    /// # Errors
    /// What SQLite says of the statement. [`Error::Unsupported`] for a view that has the name of an object of the database, and where
    /// the database is not in the hands of this process alone.
    pub(super) fn define_temporary(
        &self,
        state: &State,
        statement: &Stmt,
        sql: &str,
    ) -> Result<Option<()>, Error> {
        let schema = &state.schema;
        let name = match statement {
            Stmt::CreateView {
                temporary: true,
                view_name,
                ..
            } => view_name.name.as_str(),
            Stmt::DropView { view_name, .. } if is_temporary(schema, view_name.name.as_str()) => {
                view_name.name.as_str()
            }
            _ => return Ok(None),
        };
        if self.inner.view.is_some() || !self.inner.places.is_exclusive() {
            return refuse_temporary();
        }
        refuse_shadow(schema.stored(), name)?;
        let copy = open_copy(schema)?;
        copy.execute_batch(sql).map_err(Error::from_sqlite)?;
        let views = views_of(&copy).map_err(Error::from_sqlite)?;
        let after = Schema::clone(schema).with_temporary_views(views);
        let next = State::new(state.version, state.number(), after, Arc::clone(&state.map))?;
        self.inner.state.store(Arc::new(next));
        Ok(Some(()))
    }
}

/// Refuses a temporary view and another object of one name: SQLite would take the one for the other.
pub(super) fn refuse_shadow(stored: &StoredSchema, name: &str) -> Result<(), Error> {
    let is_there = |object: &SchemaObject| fold(&object.name) == fold(name);
    if stored.objects.iter().any(is_there) {
        return Err(Error::Unsupported {
            what: format!("a temporary view and another object of the name {name}"),
            hint: "give the view a name of its own",
        });
    }
    Ok(())
}

fn is_temporary(schema: &Schema, name: &str) -> bool {
    let mut views = schema.temporary_views().iter();
    views.any(|view| fold(&view.name) == fold(name))
}
