//! Outcomes of small scripts on a database that refuses, panics and reverses when it is asked to.

use shardwright_testkit::{Answer, Database, Failure, FailureKind, ForeignKeys, Oracle, Value};

use super::{Outcome, run, states_order};
use crate::slt::{Script, Tally};

/// SQLite, which refuses what contains `declined`, panics at `crash`, and answers `reversed` backwards.
struct Moody(Oracle);

impl Database for Moody {
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<Answer, Failure> {
        assert!(!sql.contains("crash"), "it was asked to");
        if sql.contains("declined") {
            return Err(Failure {
                kind: FailureKind::Refused,
                message: "NOT_HERE: a rule".to_owned(),
            });
        }
        let mut answer = self.0.execute(sql, params)?;
        if sql.contains("reversed") {
            answer.rows.reverse();
        }
        Ok(answer)
    }
}

fn outcomes(text: &str) -> Vec<Outcome> {
    let oracle = || Oracle::in_memory(ForeignKeys::Ignored).unwrap();
    let script = Script::parse(text);
    assert_eq!(script.malformed, []);
    let mut outcomes = Vec::new();
    let judge = &mut |judged: super::Judged| outcomes.push(judged.outcome);
    run(
        &script,
        &mut Moody(oracle()),
        &mut oracle(),
        &mut |_| {},
        judge,
    )
    .unwrap();
    outcomes
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let mut tally = Tally::default();
    let found = outcomes(text);
    found.iter().for_each(|outcome| tally.add(outcome));
    assert_eq!(tally.total(), format!("total: {expected}"), "{found:?}");
}

const TABLE: &str = "statement ok\nCREATE TABLE t(a, b)\n\n\
                     statement ok\nINSERT INTO t VALUES (1, 'x'), (2, NULL)\n\n";

#[test]
fn what_the_script_expects_passes() {
    check(
        &format!(
            "{TABLE}query IT rowsort\nSELECT * FROM t\n----\n1\nx\n2\nNULL\n\n\
             query I nosort l\nSELECT a FROM t ORDER BY a\n----\n2 values hashing to 6ddb4095eb719e2a9f0a3f95677d24e0\n\n\
             query I rowsort l\nSELECT a FROM t\n----\n1\n2\n\n\
             query I\nSELECT 4294967297\n----\n1\n\n\
             statement error\nSELECT nothing\n"
        ),
        "7 passed, 0 wrong, 0 refused (0 selects), 0 crashed",
    );
}

#[test]
fn what_it_does_not_expect_is_wrong() {
    for wrong in [
        "query I\nSELECT 1\n----\n2",
        "query I\nSELECT 1\n----\n1\n1",
        "query I\nSELECT 1, 2\n----\n1\n2",
        "query I\nSELECT 1 WHERE 0\n----\n1",
        "query I\nSELECT 1\n----\n1 values hashing to 6ddb4095eb719e2a9f0a3f95677d24e0",
        "query I\nSELECT nothing\n----\n1",
        "statement ok\nSELECT nothing",
        "statement error\nSELECT 1",
        "statement ok\nSELECT nothing /* declined */",
    ] {
        check(wrong, "0 passed, 1 wrong, 0 refused (0 selects), 0 crashed");
    }
    let labels = "query I nosort l\nSELECT 1\n----\n1\n\nquery I nosort l\nSELECT 2\n----\n2";
    check(
        labels,
        "1 passed, 1 wrong, 0 refused (0 selects), 0 crashed",
    );
}

#[test]
fn refusals_and_panics_are_counted_apart() {
    check(
        &format!(
            "{TABLE}query I\nSELECT a FROM t /* declined */\n----\n1\n\n\
             statement ok\nDELETE FROM t /* declined */\n\n\
             statement error\nSELECT nothing /* declined */\n\n\
             query I\nSELECT 1 /* crash */\n----\n1\n\n\
             statement ok\nSELECT 1 /* crash */\n"
        ),
        "3 passed, 0 wrong, 2 refused (1 selects), 2 crashed",
    );
}

#[test]
fn rows_without_a_stated_order_may_come_in_any() {
    let answer = "----\n1\n2\n";
    check(
        &format!("{TABLE}query I\nSELECT a FROM t /* reversed */\n{answer}"),
        "3 passed, 0 wrong, 0 refused (0 selects), 0 crashed",
    );
    check(
        &format!("{TABLE}query I\nSELECT a FROM t ORDER BY a /* reversed */\n{answer}"),
        "2 passed, 1 wrong, 0 refused (0 selects), 0 crashed",
    );
    assert!(states_order("SELECT 1 FROM t order\n by 1"));
    assert!(!states_order("SELECT orders FROM t WHERE by = 1"));
}
