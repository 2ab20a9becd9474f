//! The generator and the comparison, tried on two single databases that hold the same rows in another order.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use shardwright_testkit::{
    Database, Dice, ForeignKeys, Oracle, Statement, Verdict, judge,
    sqlgen::{Case, Profile},
};

const PROFILE: Profile = Profile {
    statements: 60,
    writes: 15,
};

/// How many of each verdict there were.
#[derive(Debug, Default)]
struct Tally {
    equal: usize,
    invalid: usize,
    exhausted: usize,
}

/// The seeds to run: a few, or as many as `SHARDWRIGHT_SEEDS` says.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let text = std::env::var("SHARDWRIGHT_SEEDS").unwrap_or_default();
    match text.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..text.parse().unwrap_or(default),
    }
}

fn create(oracle: &mut Oracle, statements: impl Iterator<Item = String>, seed: u64) {
    for sql in statements {
        oracle
            .execute(&sql, &[])
            .unwrap_or_else(|failure| panic!("seed {seed}: {sql}\n{failure}"));
    }
}

/// The case as it is written.
fn in_order(case: &Case) -> Oracle {
    let mut oracle = Oracle::in_memory(ForeignKeys::Ignored).unwrap();
    create(&mut oracle, case.schema.statements().into_iter(), case.seed);
    for load in &case.loads {
        let loaded = oracle.execute(&load.sql, &load.params);
        loaded.unwrap_or_else(|failure| panic!("seed {}: {load}\n{failure}", case.seed));
    }
    oracle
}

/// The same rows in another order and without indexes, so that SQLite meets them in another order.
fn shuffled(case: &Case) -> Oracle {
    let mut oracle = Oracle::in_memory(ForeignKeys::Ignored).unwrap();
    let is_index = |sql: &String| sql.starts_with("CREATE INDEX");
    let statements = case
        .schema
        .statements()
        .into_iter()
        .filter(|sql| !is_index(sql));
    create(&mut oracle, statements, case.seed);
    let mut loads: Vec<&Statement> = case.loads.iter().collect();
    Dice::new(case.seed).shuffle(&mut loads);
    for load in loads {
        oracle.execute(&load.sql, &load.params).unwrap();
    }
    oracle
}

#[test]
fn two_databases_with_the_same_rows_in_another_order_are_equal() {
    let mut tally = Tally::default();
    for seed in seeds(150) {
        let case = Case::random(seed, PROFILE);
        let (mut oracle, mut tested) = (in_order(&case), shuffled(&case));
        for step in &case.steps {
            let statement = &step.statement;
            let actual = tested.execute(&statement.sql, &statement.params);
            match judge(&mut oracle, statement, &actual) {
                Verdict::Equal => tally.equal += 1,
                Verdict::Invalid => {
                    tally.invalid += 1;
                    if std::env::var_os("SHARDWRIGHT_SHOW_INVALID").is_some() {
                        println!("seed {seed}: {statement}\n  {}", actual.unwrap_err());
                    }
                }
                Verdict::Exhausted => tally.exhausted += 1,
                Verdict::Refused(why) => panic!("seed {seed}: refused {statement}: {why}"),
                Verdict::Wrong(how) => {
                    panic!(
                        "seed {seed}: {how}\nschema:\n{}",
                        case.schema.statements().join(";\n")
                    )
                }
            }
        }
    }
    println!("{tally:?}");
    let all = tally.equal + tally.invalid + tally.exhausted;
    assert!(
        tally.invalid * 100 <= all * 15,
        "SQLite accepts too few statements: {tally:?}"
    );
    assert!(
        tally.exhausted * 100 <= all,
        "too many statements cost too much: {tally:?}"
    );
}

#[test]
fn a_seed_always_gives_the_same_case() {
    for seed in 0..20 {
        let (once, again) = (Case::random(seed, PROFILE), Case::random(seed, PROFILE));
        let texts = |case: &Case| -> Vec<String> {
            case.loads
                .iter()
                .map(ToString::to_string)
                .chain(case.steps.iter().map(|step| step.statement.to_string()))
                .collect()
        };
        assert_eq!(texts(&once), texts(&again));
        assert_eq!(once.schema.statements(), again.schema.statements());
    }
}

#[test]
fn the_generator_reaches_every_kind_of_clause() {
    let mut all = String::new();
    for seed in 0..60 {
        let case = Case::random(seed, PROFILE);
        all.extend(case.schema.statements());
        all.extend(case.steps.iter().map(|step| step.statement.to_string()));
    }
    for clause in CLAUSES {
        assert!(all.contains(clause), "no statement has {clause}");
    }
}

const CLAUSES: &[&str] = &[
    " WITHOUT ROWID",
    " STRICT",
    " COLLATE NOCASE",
    " GENERATED ALWAYS",
    " FOREIGN KEY",
    " UNIQUE (",
    " CHECK (",
    "CREATE INDEX",
    "CREATE VIEW",
    "shard_key=",
    "colocate_with=",
    "reference */",
    "global */",
    "null_keys=keep",
    " LEFT JOIN ",
    " RIGHT JOIN ",
    " FULL JOIN ",
    " CROSS JOIN ",
    " NATURAL ",
    " USING (",
    " ON ",
    ", json_each(",
    "(VALUES ",
    " EXISTS (",
    " IN (SELECT ",
    " IN (?",
    ") IN (",
    "WITH RECURSIVE ",
    " MATERIALIZED ",
    " OVER (",
    " OVER w",
    " ROWS BETWEEN ",
    " GROUP BY ",
    " HAVING ",
    "count(DISTINCT ",
    " FILTER (WHERE ",
    "SELECT DISTINCT ",
    " UNION ",
    " UNION ALL ",
    " EXCEPT ",
    " INTERSECT ",
    " ORDER BY 1",
    " NULLS FIRST",
    " COLLATE RTRIM ",
    " LIMIT ",
    " OFFSET ",
    "CASE WHEN ",
    "CAST(",
    " LIKE ",
    " GLOB ",
    " BETWEEN ",
    " IS NOT ",
    "no such column",
    "json_array(",
    "SELECT *",
    ".* FROM",
    "INSERT INTO",
    "INSERT OR IGNORE",
    "INSERT OR REPLACE",
    " ON CONFLICT (",
    " DO UPDATE SET ",
    " RETURNING ",
    "UPDATE ",
    "DELETE FROM",
    "?1",
    "[Order Details]",
    "`",
    "-- a note",
];
