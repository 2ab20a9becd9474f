//! What counts as equal, case by case.

use super::*;
use crate::oracle::{ForeignKeys, Oracle};

fn oracle() -> Oracle {
    let mut oracle = Oracle::in_memory(ForeignKeys::Enforced).unwrap();
    oracle
        .script("CREATE TABLE t(a, b); INSERT INTO t VALUES (1,'x'),(2,'y'),(2,'z'),(3,'w')")
        .unwrap();
    oracle
}

fn answer(columns: &[&str], rows: &[(i64, &str)]) -> Result<Answer, Failure> {
    Ok(Answer {
        columns: columns.iter().map(|&name| name.to_owned()).collect(),
        rows: rows
            .iter()
            .map(|&(a, b)| vec![Value::Integer(a), Value::text(b)])
            .collect(),
        changes: None,
    })
}

#[track_caller]
fn check(statement: &Statement, rows: &[(i64, &str)], equal: bool) {
    let verdict = judge(&mut oracle(), statement, &answer(&["a", "b"], rows));
    assert_eq!(verdict == Verdict::Equal, equal, "{verdict:?}");
}

fn ranked(limit: Option<u64>, offset: u64) -> Statement {
    let window = limit.map_or(String::new(), |limit| {
        format!(" LIMIT {limit} OFFSET {offset}")
    });
    let mut statement = Statement::query(format!("SELECT a, b FROM t ORDER BY a{window}"));
    let probe = "SELECT a, b, dense_rank() OVER (ORDER BY a) FROM t".to_owned();
    statement.sequence = Sequence::Ranked {
        probe,
        limit,
        offset,
    };
    statement
}

#[test]
fn an_unordered_answer_is_a_multiset() {
    let statement = Statement::query("SELECT a, b FROM t");
    check(&statement, &[(3, "w"), (2, "z"), (2, "y"), (1, "x")], true);
    check(&statement, &[(3, "w"), (2, "z"), (2, "z"), (1, "x")], false);
    check(&statement, &[(3, "w"), (2, "z"), (1, "x")], false);
}

#[test]
fn an_ordered_answer_may_swap_ties_only() {
    check(
        &ranked(None, 0),
        &[(1, "x"), (2, "z"), (2, "y"), (3, "w")],
        true,
    );
    check(
        &ranked(None, 0),
        &[(2, "z"), (1, "x"), (2, "y"), (3, "w")],
        false,
    );
    check(
        &ranked(None, 0),
        &[(1, "x"), (2, "z"), (2, "z"), (3, "w")],
        false,
    );
}

#[test]
fn a_window_over_ties_may_keep_any_of_them() {
    check(&ranked(Some(2), 0), &[(1, "x"), (2, "y")], true);
    check(&ranked(Some(2), 0), &[(1, "x"), (2, "z")], true);
    check(&ranked(Some(2), 0), &[(2, "y"), (2, "z")], false);
    check(&ranked(Some(2), 2), &[(2, "y"), (3, "w")], true);
    check(&ranked(Some(2), 2), &[(3, "w"), (2, "y")], false);
    check(&ranked(Some(2), 2), &[(2, "y"), (2, "y")], false);
    check(&ranked(Some(9), 9), &[], true);
}

#[test]
fn a_limit_without_an_order_chooses_from_all_rows() {
    let mut statement = Statement::query("SELECT a, b FROM t LIMIT 2");
    statement.sequence = Sequence::Chosen {
        probe: "SELECT a, b FROM t".to_owned(),
    };
    check(&statement, &[(3, "w"), (2, "z")], true);
    check(&statement, &[(3, "w"), (3, "w")], false);
    check(&statement, &[(3, "w")], false);
}

#[test]
fn an_exact_sequence_allows_no_swap() {
    let mut statement = Statement::query("SELECT a, b FROM t ORDER BY 1, 2");
    statement.sequence = Sequence::Exact;
    check(&statement, &[(1, "x"), (2, "y"), (2, "z"), (3, "w")], true);
    check(&statement, &[(1, "x"), (2, "z"), (2, "y"), (3, "w")], false);
}

#[test]
fn sums_may_differ_by_rounding_and_groups_by_form_where_the_statement_says_so() {
    let sum = 0.1 + 0.2;
    let row = |value: Value| {
        Ok(Answer {
            columns: vec!["s".into()],
            rows: vec![vec![value]],
            changes: None,
        })
    };
    let mut statement = Statement::query(format!("SELECT {sum:?} AS s"));
    let near = row(Value::Real(0.3));
    assert!(matches!(
        judge(&mut oracle(), &statement, &near),
        Verdict::Wrong(_)
    ));
    statement.tolerance.rounding = true;
    assert_eq!(judge(&mut oracle(), &statement, &near), Verdict::Equal);
    assert!(matches!(
        judge(&mut oracle(), &statement, &row(Value::Real(0.3001))),
        Verdict::Wrong(_)
    ));

    let mut statement = Statement::query("SELECT 'A ' AS s");
    assert!(matches!(
        judge(&mut oracle(), &statement, &row(Value::text("a"))),
        Verdict::Wrong(_)
    ));
    statement.tolerance.forms = true;
    assert_eq!(
        judge(&mut oracle(), &statement, &row(Value::text("a"))),
        Verdict::Equal
    );
}

#[test]
fn column_names_and_failures_are_compared() {
    let statement = Statement::query("SELECT a, b FROM t WHERE a = 1");
    let verdict = judge(&mut oracle(), &statement, &answer(&["a", "B"], &[(1, "x")]));
    assert!(matches!(verdict, Verdict::Wrong(text) if text.contains("names the columns")));
    let fails = |kind| {
        Err(Failure {
            kind,
            message: "no".to_owned(),
        })
    };
    let verdict = judge(&mut oracle(), &statement, &fails(FailureKind::Refused));
    assert_eq!(verdict, Verdict::Refused("no".to_owned()));
    assert!(matches!(
        judge(&mut oracle(), &statement, &fails(FailureKind::Sql)),
        Verdict::Wrong(_)
    ));
    let invalid = Statement::query("SELECT c FROM t");
    assert_eq!(
        judge(&mut oracle(), &invalid, &fails(FailureKind::Sql)),
        Verdict::Invalid
    );
}

#[test]
fn a_refused_write_leaves_the_oracle_as_it_was() {
    let mut oracle = oracle();
    let statement = Statement::write("DELETE FROM t", Vec::new());
    let refused = Err(Failure {
        kind: FailureKind::Refused,
        message: String::new(),
    });
    judge(&mut oracle, &statement, &refused);
    let count = oracle.execute("SELECT count(*) FROM t", &[]).unwrap();
    assert_eq!(count.rows, [[Value::Integer(4)]]);
}
