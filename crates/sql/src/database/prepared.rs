//! Statements planned once and run many times by key.

use std::{borrow::Cow, ops::ControlFlow, sync::Arc};

use shardwright_store::{Params, Row, Value, ValueRef};
use shardwright_topology::Position;

use super::{
    ShardedDatabase, WriteMode,
    by_shard::OnShard,
    state::{PlannedStatement, State},
    write::bound,
};
use crate::{
    answer::{Answer, Outcome},
    error::Error,
    key::{CanonicalKey, Key},
    plan::{Homes, KeyExpr, Plan, Purpose, Routing, RowKey},
    schema::Table,
    shards::{Call, Place, Ran},
};

/// A statement that is planned, to be run with different keys and parameters.
///
/// It stays valid when the schema changes: it is then planned anew.
#[derive(Debug, Clone)]
pub struct Prepared {
    database: ShardedDatabase,
    sql: Arc<str>,
    planned: Arc<PlannedStatement>,
    state: Arc<State>,
}

/// The table whose key a call names, and the keys that the statement names for it.
#[derive(Debug, Clone)]
pub(super) struct Home {
    table: Arc<Table>,
    pins: Vec<KeyExpr>,
}

impl ShardedDatabase {
    /// Plans a statement.
    ///
    /// # Errors
    /// What SQLite says of it, or why it is refused.
    pub fn prepare(&self, sql: &str) -> Result<Prepared, Error> {
        let state = self.inner.state.load_full();
        let planned = state.plan(sql)?;
        Ok(Prepared {
            database: self.clone(),
            sql: sql.into(),
            planned,
            state,
        })
    }
}

impl Prepared {
    /// Shows the first row for a key to `map`, without copying it. `None` if there is no row.
    ///
    /// # Errors
    /// As [`ShardedDatabase::first`].
    pub fn query_row<'p, T>(
        &self,
        key: impl Into<Key>,
        params: impl Into<Params<'p>>,
        mut map: impl FnMut(&Row<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        let flow = self.visit(&key.into(), params.into(), |row| {
            ControlFlow::Break(map(row))
        })?;
        Ok(flow.break_value())
    }

    /// As [`Prepared::query_row`], with a key that need not be owned.
    ///
    /// # Errors
    /// As [`ShardedDatabase::first`].
    #[inline]
    pub fn query_row_by<'p, T>(
        &self,
        key: ValueRef<'_>,
        params: impl Into<Params<'p>>,
        mut map: impl FnMut(&Row<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        let params = params.into();
        let state = self.database.inner.state.load();
        if let (true, Some(home)) = (Arc::ptr_eq(&state, &self.state), &self.planned.home)
            && matches!(self.planned.plan, Plan::Read(_))
            && !self.database.has_directory()
        {
            let shard = home.shard(key, &params, state.routing())?;
            let call = Call::new(&self.planned.statement, params);
            let places = &self.database.inner.places;
            return places.query_row(Place::Shard(shard), call, map);
        }
        drop(state);
        let flow = self.visit(&Key::new(key.to_value()), params, |row| {
            ControlFlow::Break(map(row))
        })?;
        Ok(flow.break_value())
    }

    /// The first row for a key.
    ///
    /// # Errors
    /// As [`ShardedDatabase::first`].
    pub fn first<'p>(
        &self,
        key: impl Into<Key>,
        params: impl Into<Params<'p>>,
    ) -> Result<Option<Vec<Value>>, Error> {
        self.query_row(key, params, |row| row.to_values())
    }

    /// All rows for a key.
    ///
    /// # Errors
    /// As [`ShardedDatabase::all`].
    pub fn all<'p>(
        &self,
        key: impl Into<Key>,
        params: impl Into<Params<'p>>,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let mut rows = Vec::new();
        let _ = self.visit(&key.into(), params.into(), |row| {
            rows.push(row.to_values());
            ControlFlow::<()>::Continue(())
        })?;
        Ok(rows)
    }

    /// Runs a write for a key.
    ///
    /// # Errors
    /// As [`ShardedDatabase::run`].
    pub fn run<'p>(
        &self,
        key: impl Into<Key>,
        params: impl Into<Params<'p>>,
    ) -> Result<Outcome, Error> {
        let state = self.database.inner.state.load();
        let planned = self.planned_for(&state)?;
        let database = &self.database;
        let _pass = database.enter();
        let ran = database.write_by_key(&state, &planned, &key.into(), &params.into())?;
        Ok(ran.outcome)
    }

    /// Runs the statement wherever its rows are.
    ///
    /// # Errors
    /// As [`ShardedDatabase::execute`].
    pub fn execute<'p>(&self, params: impl Into<Params<'p>>) -> Result<Answer, Error> {
        self.database.execute(&self.sql, params)
    }

    fn visit<B>(
        &self,
        key: &Key,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        let state = self.database.inner.state.load();
        let planned = self.planned_for(&state)?;
        let _pass = self.database.enter();
        self.database
            .visit_by_key(&state, &planned, key, params, visit)
    }

    /// The plan, made anew if the schema has changed.
    fn planned_for(&self, state: &Arc<State>) -> Result<Cow<'_, Arc<PlannedStatement>>, Error> {
        if Arc::ptr_eq(state, &self.state) {
            Ok(Cow::Borrowed(&self.planned))
        } else {
            state.plan(&self.sql).map(Cow::Owned)
        }
    }
}

impl ShardedDatabase {
    /// Runs a read on the shard of a key.
    pub(super) fn visit_by_key<B>(
        &self,
        state: &State,
        planned: &PlannedStatement,
        key: &Key,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        let Plan::Read(_) = &planned.plan else {
            return Err(Error::Unsupported {
                what: "reading with a statement that writes".to_owned(),
                hint: "use `run`, or `execute` for the rows of RETURNING",
            });
        };
        if self.keys_may_move() {
            let value = key.value().as_ref();
            let home = match (&planned.home, key.group()) {
                (Some(home), None) => home.clone(),
                _ => home_of(state, &planned.plan, Some(key))?,
            };
            let place =
                |routing: Routing<'_>| home.shard(value, &params, routing).map(Place::Shard);
            let statement = bound(planned, &params)?;
            let (_, flow) = self.visit_in_snapshots(state, &statement, place, visit)?;
            return Ok(flow);
        }
        let homes = Homes::new(self.purpose(Purpose::Find));
        let place = Place::Shard(self.shard_by_key(state, planned, key, &params, &homes)?);
        let call = Call::new(&planned.statement, params);
        self.inner.places.query(place, call, visit)
    }

    /// The shard for a statement that is called with a key.
    pub(super) fn shard_by_key(
        &self,
        state: &State,
        planned: &PlannedStatement,
        key: &Key,
        params: &Params<'_>,
        homes: &Homes,
    ) -> Result<usize, Error> {
        let value = key.value().as_ref();
        let shard =
            |home: &Home| self.route(state, homes, |routing| home.shard(value, params, routing));
        match (&planned.home, key.group()) {
            (Some(home), None) => shard(home),
            _ => shard(&home_of(state, &planned.plan, Some(key))?),
        }
    }
}

impl Home {
    /// The shard of the key, which must not contradict the statement.
    #[inline]
    fn shard(
        &self,
        key: ValueRef<'_>,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<usize, Error> {
        let given = routing.canonical(&self.table, key);
        for pin in &self.pins {
            let found = routing.canonical(&self.table, pin.value(params)?);
            if found != given {
                return Err(mismatch(&self.table, &given, &found));
            }
        }
        let group = self.table.shard_key().map_or("", |key| key.group.as_str());
        Ok(routing.home(group, &given))
    }

    fn position(&self, key: &CanonicalKey<'_>) -> Position {
        let group = self.table.shard_key().map_or("", |key| key.group.as_str());
        key.position_in(group)
    }
}

/// The position of the key that a statement is called with.
pub(super) fn position_of(
    state: &State,
    planned: &PlannedStatement,
    key: &Key,
) -> Result<Position, Error> {
    let of = |home: &Home| {
        let given = state.routing().canonical(&home.table, key.value().as_ref());
        home.position(&given)
    };
    match (&planned.home, key.group()) {
        (Some(home), None) => Ok(of(home)),
        _ => home_of(state, &planned.plan, Some(key)).map(|home| of(&home)),
    }
}

pub(super) fn mismatch(table: &Table, given: &CanonicalKey<'_>, found: &CanonicalKey<'_>) -> Error {
    Error::KeyMismatch {
        table: table.name.clone(),
        given: given.to_string(),
        found: found.to_string(),
    }
}

/// The key space that a key of a call belongs to, by the tables of the statement.
pub(super) fn home_of(state: &State, plan: &Plan, key: Option<&Key>) -> Result<Home, Error> {
    let mut found: Vec<(&Table, Vec<KeyExpr>)> = Vec::new();
    let mut add = |name: &str, pins: Option<&[KeyExpr]>| {
        if let Some(table) = state
            .schema
            .table(name)
            .filter(|table| table.shard_key().is_some())
        {
            found.push((table, pins.unwrap_or_default().to_vec()));
        }
    };
    match plan {
        Plan::Read(plan) | Plan::Explain(plan) => {
            plan.refs()
                .iter()
                .for_each(|found| add(&found.table, found.pin.as_deref()));
        }
        Plan::Insert(plan) => {
            let given = |key: &RowKey| match key {
                RowKey::Given(key) => Some(key.clone()),
                RowKey::Next => None,
            };
            let keys: Option<Vec<KeyExpr>> = plan
                .keys()
                .map(|keys| keys.iter().filter_map(given).collect());
            add(&plan.table, keys.as_deref());
        }
        Plan::Change(plan) => add(&plan.table, plan.pin()),
        Plan::Ddl(_) | Plan::Transaction(_) | Plan::Pragma(_) | Plan::Shards(_) => {}
    }
    let wanted = key.and_then(Key::group);
    let group = |table: &Table| table.shard_key().map(|key| key.group.clone());
    let mut groups: Vec<String> = found.iter().filter_map(|(table, _)| group(table)).collect();
    groups.sort();
    groups.dedup();
    let chosen = match (wanted, &groups[..]) {
        (Some(wanted), _) => wanted.to_owned(),
        (None, [only]) => only.clone(),
        (None, []) => {
            let table = state.table_of_key(None, key.unwrap_or(&Key::new(Value::Null)))?;
            return Ok(Home {
                table: Arc::new(table.clone()),
                pins: Vec::new(),
            });
        }
        (None, _) => return Err(Error::AmbiguousKey { groups }),
    };
    let mut of_group = found
        .into_iter()
        .filter(|(table, _)| group(table).as_deref() == Some(&chosen));
    let Some((table, mut pins)) = of_group.next() else {
        let table = state.table_of_key(None, &Key::new(Value::Null).in_group(chosen))?;
        return Ok(Home {
            table: Arc::new(table.clone()),
            pins: Vec::new(),
        });
    };
    for (_, more) in of_group {
        pins.extend(more);
    }
    Ok(Home {
        table: Arc::new(table.clone()),
        pins,
    })
}

impl ShardedDatabase {
    /// Runs a write on the shard of a key.
    pub(super) fn write_by_key(
        &self,
        state: &State,
        planned: &PlannedStatement,
        key: &Key,
        params: &Params<'_>,
    ) -> Result<Ran, Error> {
        let purpose = match planned.plan {
            Plan::Insert(_) => Purpose::Allocate,
            _ => Purpose::Find,
        };
        loop {
            let homes = Homes::new(self.purpose(purpose));
            let shard = self.shard_by_key(state, planned, key, params, &homes)?;
            let write = OnShard {
                place: Place::Shard(shard),
                key: Some(key),
                homes: &homes,
                mode: WriteMode::Single,
            };
            match self.write_on_shard(state, planned, params, write) {
                Err(Error::HomeTaken { .. }) => {}
                ran => return ran,
            }
        }
    }
}
