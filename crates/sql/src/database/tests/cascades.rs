//! Tests of changes that reach constrained rows by way of a foreign key.

use super::*;

#[test]
fn a_reference_table_cannot_carry_rows_into_a_conflict_with_another_shard() {
    let shop = fixture(
        "CREATE TABLE codes(code TEXT PRIMARY KEY) /* shardwright: reference */;
         CREATE TABLE things(id INTEGER PRIMARY KEY,
             code TEXT COLLATE NOCASE UNIQUE REFERENCES codes(code) ON UPDATE CASCADE);
         INSERT INTO codes VALUES ('a'), ('B'), ('c')",
    );
    let home = |id: i64| shop.db.locate(Some("things"), id).unwrap();
    let stranger = (2..).find(|id| home(*id) != home(1)).unwrap();
    shop.plain
        .execute_batch("PRAGMA foreign_keys = ON")
        .unwrap();
    shop.run("INSERT INTO things VALUES (1, 'a')");
    shop.run(&format!("INSERT INTO things VALUES ({stranger}, 'B')"));

    // On its own shard nothing stands in the way of the row that follows.
    shop.refused("UPDATE codes SET code = 'b' WHERE code = 'a'", "CONSTRAINT");
    shop.check("SELECT * FROM codes");
    shop.check("SELECT * FROM things");
    shop.run("UPDATE codes SET code = 'd' WHERE code = 'a'");
    shop.check("SELECT * FROM codes");
    shop.check("SELECT * FROM things");
    // Notes of the change before are not asked about again.
    shop.run("DELETE FROM things WHERE id = 1");
    shop.run("INSERT INTO things VALUES (1, 'c')");
    shop.check("SELECT * FROM things");
}
