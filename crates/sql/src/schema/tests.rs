//! Tests of schemas and declarations.

use super::*;
use crate::Error;

fn schema(statements: &[(&str, &str, &str)]) -> Schema {
    let mut stored = StoredSchema {
        encoding: "UTF-8".to_owned(),
        ..StoredSchema::default()
    };
    for (kind, table, sql) in statements {
        if *kind == "table" {
            let declaration = Declaration::in_comment(sql)
                .expect("a good declaration")
                .unwrap_or(Declaration::Global);
            stored.declarations.insert(fold(table), declaration);
        }
        let name = if *kind == "table" {
            (*table).to_owned()
        } else {
            format!("{kind}_{table}")
        };
        stored.objects.push(SchemaObject {
            kind: (*kind).to_owned(),
            name,
            table: (*table).to_owned(),
            sql: (*sql).to_owned(),
        });
    }
    Schema::derive(stored).expect("a good schema")
}

#[test]
fn a_table_is_read_as_sqlite_understands_it() {
    let schema = schema(&[(
        "table",
        "T",
        "CREATE TABLE T(id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(9) COLLATE NOCASE NOT NULL UNIQUE,
         price DOUBLE DEFAULT (1 + 1), twice AS (price * 2), raw) /* shardwright: shard_key=ID */",
    )]);
    let table = schema.table("t").expect("the table");
    assert_eq!(table.name, "T");
    assert_eq!(table.rowid_alias, Some(0));
    assert!(table.autoincrement);
    let affinities: Vec<_> = table.columns.iter().map(|column| column.affinity).collect();
    assert_eq!(
        affinities,
        [
            Affinity::Integer,
            Affinity::Text,
            Affinity::Real,
            Affinity::Blob,
            Affinity::Blob
        ]
    );
    assert_eq!(table.columns[1].collation, Collation::NoCase);
    assert_eq!(table.columns[2].default.as_deref(), Some("1 + 1"));
    assert_eq!(table.columns[3].generated, Generated::Virtual);
    assert_eq!(table.shard_key().map(|key| key.column), Some(0));
    let global: Vec<_> = table
        .global_constraints()
        .map(|unique| unique.columns.clone())
        .collect();
    assert_eq!(
        global,
        [vec![Some(1)]],
        "one shard cannot keep names unique"
    );
}

#[test]
fn colocated_tables_share_the_key_space_of_their_root() {
    let schema = schema(&[
        (
            "table",
            "a",
            "CREATE TABLE a(id INT PRIMARY KEY) /* shardwright: shard_key=id */",
        ),
        (
            "table",
            "b",
            "CREATE TABLE b(a_id REAL, n, PRIMARY KEY(a_id, n)) -- shardwright: shard_key=a_id colocate_with=A",
        ),
    ]);
    assert_eq!(schema.groups().keys().collect::<Vec<_>>(), [&"a"]);
}

#[test]
fn a_comment_inside_a_literal_declares_nothing() {
    let found = Declaration::in_comment("CREATE TABLE t(a DEFAULT '/* shardwright: global */')");
    assert_eq!(found.expect("no comment"), None);
}

#[test]
fn a_quoted_name_may_hold_anything() {
    for (quoted, name) in [
        ("\"Unit Price\"", "Unit Price"),
        ("[it's a key]", "it's a key"),
        ("`select`", "select"),
        ("\"say \"\"hi\"\"\"", "say \"hi\""),
        ("größe", "größe"),
    ] {
        let sql = format!("CREATE TABLE t(a) /* shardwright: shard_key={quoted} null_keys=keep */");
        let expect = Declaration::Sharded {
            shard_key: name.to_owned(),
            colocate_with: None,
            null_keys: NullKeys::Keep,
        };
        assert_eq!(Declaration::in_comment(&sql).expect(quoted), Some(expect));
    }
}

#[test]
fn a_word_that_is_no_declaration_is_refused() {
    for bad in ["shard_key", "shard_key=a global", "copies=3", ""] {
        let sql = format!("CREATE TABLE t(a) /* shardwright: {bad} */");
        assert!(
            Declaration::in_comment(&sql).is_err(),
            "{bad:?} was understood"
        );
    }
}

#[test]
fn the_remedy_for_a_table_without_a_primary_key_works() {
    let create = "CREATE TABLE \"my log\"(id TEXT COLLATE NOCASE, \"at\" INT NOT NULL DEFAULT (1 + 1), twice AS (\"at\" * 2))";
    let schema = schema(&[("table", "my log", create)]);
    let error = schema
        .table("my log")
        .expect("the table")
        .without_primary_key();
    let Error::NoPrimaryKey { remedy, .. } = &error else {
        panic!("{error}")
    };
    let connection = rusqlite::Connection::open_in_memory().expect("memory");
    connection.execute_batch(create).expect("the table");
    connection
        .execute_batch("INSERT INTO \"my log\"(id) VALUES ('a'), ('b')")
        .expect("rows");
    connection.execute_batch(remedy).expect("the remedy");
    let keyed: i64 = connection
        .query_row(
            "SELECT sum(id_0) + sum(\"at\") + count(DISTINCT id) FROM \"my log\" WHERE id < 'C'",
            [],
            |row| row.get(0),
        )
        .expect("the rows with their keys");
    assert_eq!(keyed, 3 + 4 + 2);
}
