//! Tests of the statements that create tables on shards.

use super::*;
use crate::schema::{Declaration, SchemaObject, StoredSchema, fold};

fn schema(statements: &[(&str, &str)]) -> Schema {
    let mut stored = StoredSchema::default();
    for (name, sql) in statements {
        let declaration = Declaration::in_comment(sql)
            .expect("a good declaration")
            .unwrap_or(Declaration::Global);
        stored.declarations.insert(fold(name), declaration);
        stored.objects.push(SchemaObject {
            kind: "table".to_owned(),
            name: (*name).to_owned(),
            table: (*name).to_owned(),
            sql: (*sql).to_owned(),
        });
    }
    Schema::derive(stored).expect("a good schema")
}

#[track_caller]
fn check(child: &str, expect: &str) {
    let schema = schema(&[
        (
            "p",
            "CREATE TABLE p(id INTEGER PRIMARY KEY, o UNIQUE) /* shardwright: shard_key=id */",
        ),
        (
            "q",
            "CREATE TABLE q(id INTEGER PRIMARY KEY) /* shardwright: shard_key=id */",
        ),
        (
            "r",
            "CREATE TABLE r(id INTEGER PRIMARY KEY) /* shardwright: reference */",
        ),
        ("g", "CREATE TABLE g(id INTEGER PRIMARY KEY)"),
        ("c", child),
    ]);
    assert_eq!(create_statement(&schema, "c").expect("a statement"), expect);
}

#[test]
fn a_foreign_key_to_rows_of_the_same_place_stays() {
    for kept in [
        "CREATE TABLE c(a INTEGER REFERENCES p, b INTEGER REFERENCES r(id), PRIMARY KEY(a, b)) /* shardwright: shard_key=a colocate_with=p */",
        "CREATE TABLE c(a INTEGER PRIMARY KEY REFERENCES r) /* shardwright: reference */",
        "CREATE TABLE c(a REFERENCES g, b REFERENCES r, d REFERENCES nowhere)",
    ] {
        check(kept, kept);
    }
}

#[test]
fn a_foreign_key_to_rows_of_another_place_is_cut_out() {
    check(
        "CREATE TABLE c(a INTEGER PRIMARY KEY REFERENCES p, b INT DEFAULT (1) REFERENCES q ON DELETE CASCADE NOT NULL, x REFERENCES g) -- shardwright: shard_key=a colocate_with=p",
        "CREATE TABLE c(a INTEGER PRIMARY KEY REFERENCES p, b INT DEFAULT (1)   NOT NULL, x  ) -- shardwright: shard_key=a colocate_with=p",
    );
    check(
        "CREATE TABLE c(a REFERENCES p, FOREIGN KEY(a) REFERENCES r)",
        "CREATE TABLE c(a  , FOREIGN KEY(a) REFERENCES r)",
    );
    check(
        "CREATE TABLE c(a REFERENCES q, FOREIGN KEY(a) REFERENCES p(o))",
        "CREATE TABLE c(a   )",
    );
}

#[test]
fn a_foreign_key_that_would_change_the_shard_key_is_cut_out() {
    check(
        "CREATE TABLE c(a INTEGER PRIMARY KEY REFERENCES p ON DELETE SET NULL) -- shardwright: shard_key=a colocate_with=p",
        "CREATE TABLE c(a INTEGER PRIMARY KEY  ) -- shardwright: shard_key=a colocate_with=p",
    );
}
