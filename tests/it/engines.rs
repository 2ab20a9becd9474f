//! Two engines over the same places, as two gateways are: one of them is the writer.

use crate::{
    channels::Channels,
    sharded::{Sharded, Storage},
};
use shardwright::{
    registry::Registry,
    sql::{Answer, Error, Options, ShardedDatabase, Tier, shards::FaultKind},
    store::{Params, Value},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The engine that is the writer, and the other one.
pub(crate) const WRITER: usize = 0;
pub(crate) const PEER: usize = 1;

/// How often a statement is planned again before a test gives up.
const ATTEMPTS: usize = 1_000_000;

/// Two engines. A statement goes to one of them, and to the writer if that one says so.
#[derive(Debug)]
pub(crate) struct Gateways {
    channels: Arc<Channels>,
    engines: [ShardedDatabase; 2],
    turn: AtomicUsize,
}

impl Gateways {
    pub(crate) fn open(
        channels: Channels,
        registry: &Registry,
        options: &Options,
    ) -> Result<Self, Error> {
        let channels = Arc::new(channels);
        let join = || ShardedDatabase::join(channels.clone(), registry.clone(), options);
        let engines = [join()?, join()?];
        engines[WRITER].take_over()?;
        Ok(Self {
            channels,
            engines,
            turn: AtomicUsize::new(0),
        })
    }

    pub(crate) fn engine(&self, number: usize) -> &ShardedDatabase {
        &self.engines[number]
    }

    /// Runs a statement on the engine whose turn it is.
    pub(crate) fn execute(&self, sql: &str, params: Params<'_>) -> Result<Answer, Error> {
        self.execute_at(self.turn.fetch_add(1, Ordering::Relaxed) % 2, sql, params)
    }

    /// Runs a statement on an engine.
    pub(crate) fn execute_at(
        &self,
        engine: usize,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Answer, Error> {
        match self.planned_for_now(engine, sql, params) {
            Err(error) if engine == PEER && has_kind(&error, FaultKind::NotWriter) => {
                assert!(self.engines[PEER].needs_writer(sql)?, "{sql}");
                self.planned_for_now(WRITER, sql, params)
            }
            ran => ran,
        }
    }

    /// Runs a statement, again if it was planned for another schema than the places have.
    fn planned_for_now(
        &self,
        number: usize,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Answer, Error> {
        let engine = &self.engines[number];
        for _ in 0..ATTEMPTS {
            let view = engine.through(|number| Arc::new(self.channels.numbered(number)));
            let view = if number == WRITER {
                view
            } else {
                view.as_peer()
            };
            // What no place has to say something about may be out of date without anybody telling.
            let no_place = match view.needs_writer(sql) {
                Ok(_) => view
                    .explain(sql, params)
                    .is_ok_and(|how| how.tier == Tier::Schema),
                Err(_) => true,
            };
            if no_place && engine.refresh()? {
                continue;
            }
            match view.execute(sql, params) {
                Err(error) if has_kind(&error, FaultKind::SchemaChanged) => {
                    // The registry has it when every place has it.
                    engine.refresh()?;
                    std::thread::yield_now();
                }
                ran => return ran,
            }
        }
        panic!("the places and the registry do not agree: {sql}");
    }
}

fn has_kind(error: &Error, kind: FaultKind) -> bool {
    matches!(error, Error::Place { fault, .. } if fault.kind == kind)
}

#[test]
fn the_schema_changes_while_another_engine_writes_and_reads() {
    const CHANGES: i64 = 12;
    const ROWS: i64 = 150;
    let shop = Sharded::create_on(Storage::Engines, 4);
    let gateways = shop.gateways().expect("there are two engines");
    let at = |engine, sql: &str, params: &[Value]| {
        let answer = gateways.execute_at(engine, sql, Params::from(params));
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    };
    at(
        WRITER,
        "CREATE TABLE notes(name TEXT PRIMARY KEY, text TEXT)",
        &[],
    );
    at(
        WRITER,
        "CREATE TABLE units(n INTEGER PRIMARY KEY) /* shardwright: reference */",
        &[],
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..CHANGES {
                let add = format!("ALTER TABLE notes ADD COLUMN c{n} INTEGER DEFAULT {n}");
                at(WRITER, &add, &[]);
                at(WRITER, "INSERT INTO units VALUES (?1)", &[Value::from(n)]);
            }
        });
        for n in 0..ROWS {
            let name = [Value::from(format!("note {n}"))];
            let insert = "INSERT INTO notes(name, text) VALUES (?1, 'x')";
            assert_eq!(at(PEER, insert, &name).changes, 1);
            let one = at(PEER, "SELECT * FROM notes WHERE name = ?1", &name);
            assert_eq!(one.rows.len(), 1);
            assert_eq!(one.rows[0].len(), one.columns.len());
            let added = (one.columns.len() - 2) as i64;
            for (column, value) in (0..added).zip(&one.rows[0][2..]) {
                assert_eq!(*value, Value::from(column));
            }
            let all = at(PEER, "SELECT count(*), count(text) FROM notes", &[]);
            assert_eq!(all.rows, [[Value::from(n + 1), Value::from(n + 1)]]);
            let units = at(PEER, "SELECT count(*) FROM units", &[]);
            let units = units.first_value().and_then(Value::as_i64);
            assert!(units.is_some_and(|units| added <= units + 1), "{units:?}");
        }
    });
    for engine in [WRITER, PEER] {
        let counted = at(engine, "SELECT count(*), sum(c0 + c11) FROM notes", &[]);
        assert_eq!(counted.rows, [[Value::from(ROWS), Value::from(11 * ROWS)]]);
        let units = at(engine, "SELECT count(*) FROM units", &[]);
        assert_eq!(units.first_value(), Some(&Value::from(CHANGES)));
        let checked = at(engine, "PRAGMA integrity_check", &[]);
        assert_eq!(checked.first_value(), Some(&Value::from("ok")));
    }
    let number = |engine| gateways.engine(engine).broadcast_number();
    assert_eq!(number(WRITER), 2 + 2 * CHANGES as u64);
    assert_eq!(number(PEER), number(WRITER));
}
