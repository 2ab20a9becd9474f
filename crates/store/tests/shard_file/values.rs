//! Values on their way into a statement and out of it.

use std::ops::ControlFlow;

use shardwright_store::{Encoding, Error, Identity, Params, ShardFile, Value};

use crate::setting::{config, directory, filled, identity};

#[test]
fn positional_and_named_parameters_bind_in_every_form() {
    let (_directory, file) = filled(0, &config());
    let mut reader = file.reader().unwrap();
    let mut sum = |sql: &str, params: Params<'_>| {
        reader
            .query_row(sql, params, |row| row.to_values())
            .map(|row| row.expect("one row"))
    };
    let (one, two) = (Value::from(1), Value::from(2));
    let both = [one.clone(), two.clone()];
    for sql in [
        "SELECT ?, ?",
        "SELECT ?1, ?2",
        "SELECT :a, @b",
        "SELECT $a, ?2",
    ] {
        assert_eq!(sum(sql, (&both).into()).unwrap(), both, "{sql}");
    }
    let named = [("a", one.clone()), ("@b", two.clone())];
    assert_eq!(sum("SELECT :a, @b", (&named).into()).unwrap(), both);
    assert_eq!(sum("SELECT $a, @b", (&named).into()).unwrap(), both);
    let mixed = Params::from(std::slice::from_ref(&one)).and_named(&named[1..]);
    assert_eq!(sum("SELECT ?, @b", mixed).unwrap(), both);
}

#[test]
fn values_that_do_not_fit_the_parameters_are_refused() {
    let (_directory, file) = filled(0, &config());
    let mut reader = file.reader().unwrap();
    let mut error = |sql: &str, params: Params<'_>| {
        reader
            .query(sql, params, |_| ControlFlow::<()>::Continue(()))
            .unwrap_err()
    };
    let one = [Value::from(1)];
    for (sql, params) in [
        ("SELECT ?, ?", Params::from(&one)),
        ("SELECT 1", Params::from(&one)),
        ("SELECT ?1", Params::NONE),
        ("SELECT :a, :b", Params::from(&[("a", Value::Null)])),
    ] {
        let error = error(sql, params);
        assert!(matches!(error, Error::Parameters { .. }), "{sql}: {error}");
    }
    let error = error(
        "SELECT :a",
        Params::from(&[("a", Value::Null), ("b", Value::Null)]),
    );
    assert!(
        matches!(&error, Error::UnknownParameter { name } if name == "b"),
        "{error}"
    );
}

#[test]
fn every_kind_of_value_survives_a_round_trip() {
    let (_directory, file) = filled(0, &config());
    let values = [
        Value::Null,
        Value::from(i64::MIN),
        Value::from(-0.5),
        Value::from(f64::INFINITY),
        Value::from("snow\u{2603}man\0end"),
        Value::from(""),
        Value::Text(vec![0xff, 0xfe, 0x41]),
        Value::from(vec![0, 1, 255]),
        Value::from(Vec::new()),
    ];
    for value in values {
        let read = file
            .reader()
            .unwrap()
            .query_row("SELECT ?1", std::slice::from_ref(&value), |row| {
                row.get(0).to_value()
            })
            .unwrap();
        assert_eq!(read, Some(value));
    }
}

#[test]
fn text_of_a_utf16_file_is_read_as_utf8() {
    let directory = directory();
    let identity = Identity {
        encoding: Encoding::Utf16le,
        ..identity()
    };
    let file = ShardFile::create(directory.path().join("a.db"), &identity, &config()).unwrap();
    let mut writer = file.writer().unwrap();
    writer.execute("CREATE TABLE t (v)", ()).unwrap();
    let text = Value::from("\u{1f600} caf\u{e9}");
    writer
        .execute("INSERT INTO t VALUES (?1)", std::slice::from_ref(&text))
        .unwrap();
    let read = writer.query_row("SELECT v, octet_length(v) FROM t", (), |row| {
        row.to_values()
    });
    assert_eq!(read.unwrap(), Some(vec![text, Value::from(14)]));
}
