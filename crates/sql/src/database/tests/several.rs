//! Tests of views, of several engines over the same places, and of changes that places lose.

use shardwright_registry::Registry;

use super::{
    elsewhere::{Elsewhere, Lost, Trouble},
    over::{places, registry},
    *,
};
use crate::{LocalPlaces, shards::FaultKind};

/// Files of three shards, with a registry that several engines share.
pub(super) struct Shared {
    pub(super) places: Arc<LocalPlaces>,
    pub(super) registry: Registry,
    _directory: TempDir,
}

pub(super) fn shared() -> Shared {
    let (places, _directory) = places();
    Shared {
        places,
        registry: registry(3),
        _directory,
    }
}

impl Shared {
    pub(super) fn join(&self) -> ShardedDatabase {
        self.join_over(Elsewhere::new(self.places.clone(), None))
    }

    pub(super) fn join_over(&self, places: Arc<Elsewhere>) -> ShardedDatabase {
        let options = Options {
            finish_timeout: std::time::Duration::ZERO,
            ..Options::default()
        };
        ShardedDatabase::join(places, self.registry.clone(), &options).unwrap()
    }
}

/// A handle whose places check the number.
pub(super) fn pinned(db: &ShardedDatabase) -> ShardedDatabase {
    db.through(|number| Elsewhere::new(db.places(), Some(number)))
}

#[track_caller]
pub(super) fn kind_of<T: std::fmt::Debug>(result: Result<T, Error>) -> FaultKind {
    match result.unwrap_err() {
        Error::Place { fault, .. } => fault.kind,
        other => panic!("{other:?}"),
    }
}

pub(super) fn run(db: &ShardedDatabase, sql: &str) {
    db.execute(sql, ())
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

pub(super) fn count(db: &ShardedDatabase, sql: &str) -> i64 {
    let answer = db.execute(sql, ()).unwrap();
    answer.first_value().and_then(Value::as_i64).unwrap()
}

#[test]
fn a_view_keeps_its_schema_and_all_that_it_does_goes_through_its_places() {
    let shop = fixture(SHOP);
    let db = &shop.db;
    let view = pinned(db);
    assert_eq!(view.broadcast_number(), db.broadcast_number());
    let by_key = "SELECT name FROM customers WHERE id = ?1";
    let prepared = view.prepare(by_key).unwrap();
    let one = [Value::from(1)];
    assert!(prepared.first(1, &one).unwrap().is_some());
    assert_eq!(count(&view, "SELECT count(*) FROM customers"), 5);
    let mut session = view.session();
    session.execute("BEGIN", ()).unwrap();
    let update = "UPDATE customers SET name = 'Eva' WHERE id = 5";
    session.execute(update, ()).unwrap_err();
    let order = "INSERT INTO orders(id, customer_id, total) VALUES (90, 5, 1)";
    session.execute(order, ()).unwrap_err();
    session.execute("DELETE FROM settings", ()).unwrap();
    session.execute("COMMIT", ()).unwrap();

    // The change is made for the database.
    run(&view, "ALTER TABLE orders ADD COLUMN note TEXT");
    assert_eq!(view.schema().table("orders").unwrap().columns.len(), 3);
    assert_eq!(db.schema().table("orders").unwrap().columns.len(), 4);
    assert_eq!(db.broadcast_number(), view.broadcast_number() + 1);
    let changed = |result| assert_eq!(kind_of::<()>(result), FaultKind::SchemaChanged);
    changed(prepared.first(1, &one).map(drop));
    changed(view.execute("SELECT * FROM orders", ()).map(drop));
    changed(view.execute("DELETE FROM settings", ()).map(drop));
    changed(
        view.run(5, "DELETE FROM orders WHERE customer_id = 5", ())
            .map(drop),
    );
    changed(view.execute(update, ()).map(drop));
    changed(
        view.execute("INSERT INTO currencies VALUES ('GBP', 'Pound')", ())
            .map(drop),
    );
    session.execute("BEGIN", ()).unwrap();
    changed(session.execute("DELETE FROM settings", ()).map(drop));
    // A new handle is for the new schema.
    let view = pinned(db);
    assert_eq!(
        count(&view, "SELECT count(*) FROM orders WHERE note IS NULL"),
        7
    );
    run(&view, "INSERT INTO currencies VALUES ('GBP', 'Pound')");
    assert_eq!(count(db, "SELECT count(*) FROM currencies"), 3);
}

/// Statements on [`peers`], and whether they need the writer.
const STATEMENTS: &[(&str, bool)] = &[
    ("SELECT * FROM customers", false),
    ("EXPLAIN SELECT 1", false),
    ("PRAGMA user_version", false),
    ("PRAGMA user_version = 3", true),
    ("PRAGMA application_id = 3", true),
    ("PRAGMA integrity_check", false),
    ("PRAGMA table_info(tags)", false),
    ("CREATE TABLE more(id INTEGER PRIMARY KEY)", true),
    ("CREATE TABLE IF NOT EXISTS tags(id)", true),
    ("DROP VIEW spending", true),
    ("INSERT INTO currencies VALUES ('USD', 'Dollar')", true),
    ("INSERT INTO currencies SELECT 'NOK', 'Krone'", true),
    ("UPDATE currencies SET name = 'x'", true),
    ("DELETE FROM currencies", true),
    ("INSERT INTO settings VALUES ('a', 1)", false),
    (
        "INSERT INTO settings SELECT code, name FROM currencies",
        false,
    ),
    ("UPDATE settings SET value = 2 WHERE key = 'a'", false),
    ("INSERT INTO customers(id, name) VALUES (50, 'x')", true),
    ("UPDATE customers SET email = 'x@x' WHERE id = 1", true),
    ("DELETE FROM customers WHERE id = 77", true),
    ("INSERT INTO orders(customer_id) VALUES (1)", true),
    ("INSERT INTO orders(id, customer_id) VALUES (91, 1)", true),
    ("INSERT INTO logs(at) VALUES (1)", true),
    ("INSERT INTO logs(id, at) VALUES (1, 1)", true),
    ("INSERT INTO tags VALUES ('a', 1)", false),
    ("INSERT INTO tags SELECT 'b', 1", false),
    (
        "INSERT INTO tags SELECT key, 1 FROM settings LIMIT 1",
        false,
    ),
    ("UPDATE tags SET n = 2 WHERE name = 'a'", false),
    ("DELETE FROM tags WHERE name = 'a'", false),
    ("INSERT INTO items VALUES (1, 1)", false),
    ("INSERT INTO items VALUES (NULL, 1)", true),
    ("INSERT INTO items(n) VALUES (1)", true),
    ("INSERT INTO items DEFAULT VALUES", true),
    ("INSERT INTO items SELECT 7, 7", true),
    ("UPDATE items SET n = 2 WHERE id = 1", false),
    ("BEGIN", false),
];

/// A database and a handle that is not the writer's.
fn peers() -> (Fixture, ShardedDatabase) {
    let shop = fixture(SHOP);
    for sql in [
        "CREATE TABLE logs(id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, text TEXT)
         /* shardwright: shard_key=at */",
        "CREATE TABLE tags(name TEXT PRIMARY KEY, n INTEGER)",
        "CREATE TABLE items(id INTEGER PRIMARY KEY, n INTEGER)",
    ] {
        run(&shop.db, sql);
    }
    let peer = shop.db.as_peer();
    (shop, peer)
}

#[test]
fn a_peer_refuses_exactly_what_needs_the_writer() {
    let (shop, peer) = peers();
    for &(sql, needs) in STATEMENTS {
        assert_eq!(shop.db.needs_writer(sql).unwrap(), needs, "{sql}");
        match peer.execute_with(sql, (), WriteMode::BestEffort) {
            Err(Error::Place { fault, .. }) if fault.kind == FaultKind::NotWriter => {
                assert!(needs, "{sql}");
            }
            Err(error) if sql == "BEGIN" => assert_eq!(error.code(), "UNSUPPORTED"),
            done => {
                done.unwrap_or_else(|error| panic!("{sql}: {error}"));
                assert!(!needs, "{sql}");
            }
        }
    }
}

#[test]
fn a_peer_refuses_however_it_is_asked_and_by_the_values_that_it_is_given() {
    let (shop, peer) = peers();
    let by_id = "INSERT INTO items VALUES (?1, ?2)";
    assert!(shop.db.needs_writer(by_id).unwrap());
    let insert = |id: Value| peer.execute(by_id, &[id, Value::Null]).map(drop);
    insert(Value::from(3)).unwrap();
    assert_eq!(kind_of(insert(Value::Null)), FaultKind::NotWriter);
    // The other ways to run a statement.
    let refused = |result: Result<(), Error>| assert_eq!(kind_of(result), FaultKind::NotWriter);
    let order = "INSERT INTO orders(customer_id) VALUES (1)";
    refused(peer.run(1, order, ()).map(drop));
    refused(peer.prepare(order).unwrap().run(1, ()).map(drop));
    refused(peer.execute_by_key(&1.into(), None, order, ()).map(drop));
    refused(peer.session().execute(order, ()).map(drop));
    let home = peer.locate(Some("orders"), 1).unwrap();
    refused(peer.run_shard(&home, order, ()).map(drop));
    refused(
        peer.execute_with(order, (), WriteMode::BestEffort)
            .map(drop),
    );
    assert_eq!(count(&peer, "SELECT count(*) FROM items"), 1);
}

#[test]
fn an_engine_that_joins_follows_the_writer() {
    let shared = shared();
    let (writer, other) = (shared.join(), shared.join());
    writer.take_over().unwrap();
    assert!(!other.refresh().unwrap());
    run(
        &writer,
        "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT)",
    );
    run(
        &writer,
        "CREATE TABLE units(name TEXT PRIMARY KEY) /* shardwright: reference */",
    );
    let insert = "INSERT INTO notes VALUES (1, 'a')";
    assert_eq!(
        pinned(&other).execute(insert, ()).unwrap_err().code(),
        "UNKNOWN_TABLE"
    );
    assert!(other.refresh().unwrap());
    assert!(!other.refresh().unwrap());
    run(&pinned(&other).as_peer(), insert);
    assert_eq!(count(&pinned(&writer), "SELECT count(*) FROM notes"), 1);

    // A change of rows everywhere has a number too, and costs no plans.
    let before = other.inner.state.load_full();
    run(&writer, "INSERT INTO units VALUES ('m')");
    let read = "SELECT count(*) FROM units";
    assert_eq!(
        kind_of(pinned(&other).execute(read, ())),
        FaultKind::SchemaChanged
    );
    assert!(other.refresh().unwrap());
    assert!(Arc::ptr_eq(&before, &other.inner.state.load_full()));
    assert_eq!(count(&pinned(&other), read), 1);

    // The other one becomes the writer without having seen the last change.
    run(&writer, "ALTER TABLE notes ADD COLUMN at INTEGER");
    other.take_over().unwrap();
    run(&other, "CREATE INDEX notes_at ON notes(at)");
    assert!(writer.refresh().unwrap());
    assert_eq!(writer.schema().stored(), other.schema().stored());
    assert_eq!(writer.broadcast_number(), 5);
}

#[test]
fn of_two_writers_at_once_the_later_one_changes_nothing() {
    let shared = shared();
    let (one, two) = (shared.join(), shared.join());
    one.take_over().unwrap();
    run(&one, "CREATE TABLE a(id INTEGER PRIMARY KEY)");

    // The operation of one of them is under way when the other one writes its own down.
    let two_state = two.inner.state.load_full();
    two.refresh().unwrap();
    let now = two.inner.state.load_full();
    assert!(two_state.version < now.version);
    let step = |sql: &str| vec![journal::Step::new(sql)];
    let begun = journal::Operation {
        number: now.number() + 1,
        ..journal::Operation::new(
            step("CREATE TABLE b(id)"),
            Vec::new(),
            Some(now.schema.stored().clone()),
        )
    };
    one.inner.shared.records.begin(&begun).unwrap();
    let mut after = now.schema.stored().clone();
    after.user_version = 7;
    let schema = crate::schema::Schema::derive(after).unwrap();
    let create = "CREATE TABLE c(id)";
    let written = two.change_schema(&now, schema, (step(create), Vec::new()), &[]);
    assert_eq!(kind_of(written), FaultKind::NotWriter);

    // It is over, and the other one has not noticed.
    one.take_over().unwrap();
    let mut after = now.schema.stored().clone();
    after.user_version = 7;
    let schema = crate::schema::Schema::derive(after).unwrap();
    let stale = State::new(
        now.version,
        begun.number - 1,
        schema.clone(),
        now.map.clone(),
    );
    let written = two.change_schema(&stale.unwrap(), schema, (step(create), Vec::new()), &[]);
    assert_eq!(kind_of(written), FaultKind::NotWriter);
    assert!(two.inner.shared.records.pending().unwrap().is_empty());
    let made = |name: &str| {
        let sql = format!("SELECT count(*) FROM sqlite_schema WHERE name = '{name}'");
        let counts = two.all_all_shards(&sql, ());
        counts
            .into_iter()
            .map(|shard| shard.result.unwrap()[0][0].as_i64().unwrap())
            .sum::<i64>()
    };
    assert_eq!((made("b"), made("c")), (3, 0));
    // Whoever comes next goes on from there.
    run(&two, "CREATE TABLE d(id INTEGER PRIMARY KEY)");
    assert_eq!(made("d"), 3);
}

#[test]
fn a_change_whose_commits_are_lost_is_finished_at_once() {
    let shared = shared();
    let trouble = Arc::new(Trouble::default());
    let places = Elsewhere::with_trouble(shared.places.clone(), None, &trouble);
    let options = Options::default();
    let db = ShardedDatabase::join(places, shared.registry.clone(), &options).unwrap();
    db.take_over().unwrap();
    run(
        &db,
        "CREATE TABLE units(name TEXT PRIMARY KEY, n INTEGER) /* shardwright: reference */",
    );
    run(&db, "INSERT INTO units VALUES ('m', 0)");
    let all: Vec<Place> = db.places().all().collect();
    let mut table = 0;
    for place in all {
        for lost in [Lost::Before, Lost::After] {
            *trouble.commit.lock().unwrap() = Some((place, lost));
            table += 1;
            run(
                &db,
                &format!("CREATE TABLE t{table}(id INTEGER PRIMARY KEY)"),
            );
            *trouble.commit.lock().unwrap() = Some((place, lost));
            run(&db, "UPDATE units SET n = n + 1");
            let counts = db.all_all_shards("SELECT n FROM units", ());
            for shard in counts {
                assert_eq!(shard.result.unwrap(), [[Value::from(table)]]);
            }
            assert_eq!(count(&db, "SELECT n FROM units"), table);
        }
    }
    assert!(db.inner.shared.records.pending().unwrap().is_empty());
    assert_eq!(db.schema().tables().count(), 9);
}

#[test]
fn a_change_that_a_place_does_not_take_in_time_is_finished_before_the_next_one() {
    let shared = shared();
    let trouble = Arc::new(Trouble::default());
    let places = Elsewhere::with_trouble(shared.places.clone(), None, &trouble);
    let db = shared.join_over(places);
    db.take_over().unwrap();
    // Before anything is written down, it is known that nothing has happened.
    *trouble.statement.lock().unwrap() = Some((Place::Shard(2), Lost::Before));
    let error = db
        .execute("CREATE TABLE a(id INTEGER PRIMARY KEY)", ())
        .unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("UNREACHABLE", true));
    assert!(db.inner.shared.records.pending().unwrap().is_empty());

    *trouble.commit.lock().unwrap() = Some((Place::Shard(1), Lost::Down));
    let error = db
        .execute("CREATE TABLE a(id INTEGER PRIMARY KEY)", ())
        .unwrap_err();
    assert!(matches!(error, Error::Unfinished { .. }), "{error}");
    assert_eq!(
        (error.code(), error.is_retryable()),
        ("INDETERMINATE", false)
    );
    let next = "CREATE TABLE b(id INTEGER PRIMARY KEY)";
    let error = db.execute(next, ()).unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("UNREACHABLE", true));
    *trouble.down.lock().unwrap() = None;
    // What it is planned for includes the change that was finished.
    run(
        &db,
        "CREATE TABLE b(id INTEGER PRIMARY KEY) /* shardwright: shard_key=id colocate_with=a */",
    );
    assert_eq!(db.schema().tables().count(), 2);
    assert_eq!(db.broadcast_number(), 2);

    // An engine that takes over finishes it too.
    *trouble.commit.lock().unwrap() = Some((Place::Catalog, Lost::Down));
    let create = "CREATE TABLE c(id INTEGER PRIMARY KEY)";
    assert_eq!(db.execute(create, ()).unwrap_err().code(), "INDETERMINATE");
    let other = shared.join();
    assert_eq!(other.schema().tables().count(), 2);
    other.take_over().unwrap();
    assert_eq!(other.schema().tables().count(), 3);
    run(&other, "INSERT INTO c VALUES (1)");
}

#[test]
fn a_write_of_a_reference_table_that_a_commit_would_refuse_changes_nothing() {
    let shop = fixture(
        "CREATE TABLE units(name TEXT PRIMARY KEY, n INT) /* shardwright: reference */;
         CREATE TABLE things(id INTEGER PRIMARY KEY, unit TEXT REFERENCES units(name) DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE parts(name TEXT PRIMARY KEY, of TEXT REFERENCES parts(name) DEFERRABLE INITIALLY DEFERRED)
             /* shardwright: reference */;
         INSERT INTO units VALUES ('m', 1), ('s', 2);
         INSERT INTO things VALUES (1, 'm');",
    );
    let db = &shop.db;
    for sql in [
        "DELETE FROM units WHERE name = 'm'",
        "UPDATE units SET name = 'km' WHERE name = 'm'",
        "INSERT INTO parts VALUES ('a', 'none')",
    ] {
        let error = db.execute(sql, ()).unwrap_err();
        assert_eq!(error.code(), "CONSTRAINT", "{sql}: {error}");
        assert!(
            db.inner.shared.records.pending().unwrap().is_empty(),
            "{sql}"
        );
        assert_eq!(count(db, "SELECT count(*) FROM units"), 2);
        for shard in db.all_all_shards("SELECT count(*) FROM units", ()) {
            assert_eq!(shard.result.unwrap(), [[Value::from(2)]]);
        }
    }
    run(db, "DELETE FROM units WHERE name = 's'");
    run(db, "INSERT INTO parts VALUES ('a', 'b'), ('b', 'a')");
}
