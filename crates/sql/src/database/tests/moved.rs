//! Tests of statements that are tried again after the shards that made them were replaced by others.

use super::{
    once::{Memory, statement},
    several::{count, run},
    *,
};
use crate::shards::Ran;

const ITEMS: &str = "CREATE TABLE items(id INTEGER PRIMARY KEY, n INTEGER UNIQUE);
    CREATE TABLE plain(id TEXT PRIMARY KEY, n INTEGER)";

fn filled() -> Fixture {
    let shop = fixture(ITEMS);
    let values: Vec<String> = (0..60).map(|n| format!("('k{n}', 0)")).collect();
    let insert = format!("INSERT INTO plain VALUES {}", values.join(","));
    let inserted = shop.db.execute_with(&insert, (), WriteMode::BestEffort);
    inserted.unwrap();
    shop
}

fn try_of(memory: &Arc<Memory>, db: &ShardedDatabase, sql: &str) -> Result<Answer, Error> {
    memory
        .try_of(db, 1)
        .execute_with(sql, (), WriteMode::BestEffort)
}

/// Lets a place know of a unit what another one knows.
fn hand_over(memory: &Memory, from: Place, to: Place, change: impl Fn(Ran) -> Ran) {
    let mut known = memory.known.lock().unwrap();
    let ran = known[&(statement(1), from, 1)].clone();
    let ran = ran.into_iter().map(change).collect();
    known.insert((statement(1), to, 1), ran);
}

#[test]
fn a_place_that_has_taken_over_rows_that_were_not_written_says_so() {
    let shop = filled();
    let memory = Arc::<Memory>::default();
    let (first, second) = (Place::Shard(0), Place::Shard(1));
    let sql = "UPDATE plain SET n = n + 1 RETURNING id";
    let made = try_of(&memory, &shop.db, sql).unwrap();
    assert_eq!((made.changes, made.rows.len()), (60, 60));
    // As if it had not made it, and were merged with a part of the first one, which has.
    hand_over(&memory, first, second, Ran::into_elsewhere);
    let again = try_of(&memory, &shop.db, sql).unwrap_err();
    assert_eq!(again.code(), "PARTIAL_WRITE", "{again}");
    assert_eq!(count(&shop.db, "SELECT sum(n) FROM plain"), 60);
}

#[test]
fn a_statement_for_one_shard_is_told_by_whichever_place_has_taken_it_over() {
    let shop = filled();
    let memory = Arc::<Memory>::default();
    let names = |db: &ShardedDatabase| {
        let rows = db.execute("SELECT id FROM plain", ()).unwrap().rows;
        let names = rows
            .into_iter()
            .map(|row| row[0].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let home = |id: &str| shop.db.locate(Some("plain"), id).unwrap();
    let all = names(&shop.db);
    let (one, more) = all.split_first().unwrap();
    let mut there = more.iter().filter(|id| home(id) == home(one));
    let (other, third) = (there.next().unwrap(), there.next().unwrap());
    let sql = format!("DELETE FROM plain WHERE id IN ('{one}', '{other}', '{third}') RETURNING id");
    let write = |sql: &str| memory.try_of(&shop.db, 1).execute(sql, ());
    let made = write(&sql).unwrap();
    assert_eq!(made.changes, 3);
    let here = shop.db.place_of(&home(one)).unwrap();
    let moved = Place::Shard(usize::from(here == Place::Shard(0)));
    hand_over(&memory, here, moved, |ran| ran);
    hand_over(&memory, here, here, Ran::into_elsewhere);
    let again = write(&sql).unwrap();
    assert_eq!((again.changes, again.rows), (3, made.rows.clone()));
    // Its rows are on several shards now, and it cannot be made any more.
    let stray = more.iter().find(|id| home(id) != home(one)).unwrap();
    let wide = format!("DELETE FROM plain WHERE id IN ('{one}', '{stray}') RETURNING id");
    assert_eq!(write(&wide).unwrap().rows, made.rows);
    let new = memory.try_of(&shop.db, 2).execute(&wide, ());
    assert_eq!(new.unwrap_err().code(), "MULTI_SHARD_WRITE");
}

#[test]
fn a_constrained_write_is_told_by_what_two_places_did_together() {
    let shop = filled();
    let memory = Arc::<Memory>::default();
    let values: Vec<String> = (0..40).map(|n| format!("({n}, {n})")).collect();
    let sql = format!("INSERT INTO items VALUES {} RETURNING id", values.join(","));
    let made = try_of(&memory, &shop.db, &sql).unwrap();
    let (first, second) = (Place::Shard(0), Place::Shard(1));
    {
        let mut known = memory.known.lock().unwrap();
        let more = known.remove(&(statement(1), second, 1)).unwrap();
        known
            .get_mut(&(statement(1), first, 1))
            .unwrap()
            .extend(more);
        let elsewhere = known[&(statement(1), first, 1)].clone();
        let elsewhere = elsewhere.into_iter().map(Ran::into_elsewhere);
        known.insert((statement(1), second, 1), elsewhere.collect());
    }
    let again = try_of(&memory, &shop.db, &sql).unwrap();
    assert_eq!(again.changes, made.changes);
    assert_eq!(again.rows.len(), made.rows.len());
    assert_eq!(count(&shop.db, "SELECT count(*) FROM items"), 40);
}

#[test]
fn an_engine_goes_on_over_other_places_with_the_same_locks_and_schema() {
    let shop = filled();
    let db = &shop.db;
    let view = db.with_map(Arc::clone(&db.inner.state.load().map), db.places());
    let view = view.unwrap();
    assert_eq!(view.broadcast_number(), db.broadcast_number());
    run(&view, "INSERT INTO items VALUES (1, 1)");
    run(&view, "ALTER TABLE plain ADD COLUMN more INTEGER");
    assert_eq!(count(&view, "SELECT count(more) FROM plain"), 0);
    assert!(db.refresh().unwrap());
    assert_eq!(count(db, "SELECT count(more) FROM plain"), 0);
    assert!(Arc::ptr_eq(&view.inner.shared, &db.inner.shared));
    let other = Arc::new(shardwright_topology::ShardMap::even(7));
    let refused = db.with_map(other, db.places()).unwrap_err();
    assert_eq!(refused.code(), "SHARD_NOT_FOUND");
}
