//! Scripts of generated statements.

use shardwright::sql::statement::{is_complete, split};
use shardwright_testkit::{
    sample::Sample,
    sqlgen::{Case, Profile},
};

#[test]
fn a_script_splits_into_its_statements() {
    for seed in 0..100 {
        let case = Case::random(
            seed,
            Profile {
                statements: 20,
                writes: 20,
            },
        );
        let mut statements = case.schema.statements();
        statements.extend(case.loads.iter().map(|load| load.sql.clone()));
        statements.extend(case.steps.iter().map(|step| step.statement.sql.clone()));
        check(&statements);
    }
    for sample in Sample::all(3) {
        let all = [sample.schema, sample.rows, sample.triggers].concat();
        check(&all);
    }
}

/// Each statement stands on its own line, because some end in a comment.
#[track_caller]
fn check(statements: &[String]) {
    let ended: Vec<String> = statements.iter().map(|sql| format!("{sql}\n;\n")).collect();
    let script = ended.concat();
    let bare = |sql: &str| sql.trim().trim_end_matches(';').trim_end().to_owned();
    let found: Vec<String> = split(&script).into_iter().map(bare).collect();
    let expected: Vec<String> = statements.iter().map(|sql| bare(sql)).collect();
    assert_eq!(found, expected);
    assert!(is_complete(&script));
}
