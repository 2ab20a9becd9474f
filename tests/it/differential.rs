//! Random schemas, rows and statements: any number of shards against one SQLite database.

#![expect(clippy::print_stdout, reason = "a test says what it counted")]

use crate::sharded::{Sharded, Storage};
use shardwright_testkit::{
    Database, Failure, ForeignKeys, Oracle, Verdict, judge, minimise,
    sqlgen::{Case, Profile},
};
use std::{collections::BTreeMap, fmt};

const PROFILE: Profile = Profile {
    statements: 40,
    writes: 20,
};
/// How many seeds run when `SHARDWRIGHT_SEEDS` does not say otherwise.
const SEEDS: u64 = 40;

/// What happened to the statements of a run.
#[derive(Debug, Default)]
struct Tally {
    equal: usize,
    invalid: usize,
    exhausted: usize,
    /// Cases that ended in a write that only some shards did.
    partial: usize,
    /// Writes that were refused, by code.
    refused: BTreeMap<String, usize>,
}

/// Both databases of one case.
struct Pair {
    oracle: Oracle,
    tested: Sharded,
}

/// How a case can go wrong.
enum Trouble {
    /// The answer differs from SQLite's.
    Wrong(String),
    /// A SELECT was refused.
    RefusedSelect(String),
    /// The case itself does not work on SQLite.
    BadCase(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(how) => write!(f, "a wrong answer\n{how}"),
            Self::RefusedSelect(how) => write!(f, "a SELECT is refused\n{how}"),
            Self::BadCase(how) => write!(f, "a case that SQLite does not take\n{how}"),
        }
    }
}

/// The seeds to run: a few, or as many as `SHARDWRIGHT_SEEDS` says, as a count or as `from..to`.
fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("SHARDWRIGHT_SEEDS").unwrap_or_default();
    let number = |text: &str| {
        text.parse()
            .expect("SHARDWRIGHT_SEEDS is a number or a range")
    };
    match text.split_once("..") {
        _ if text.is_empty() => 0..SEEDS,
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&text),
    }
}

/// 1 to 16 shards, each count as often as the others.
fn shards_of(seed: u64) -> usize {
    usize::try_from(seed % 16).expect("a small number") + 1
}

/// How the rows of a case get into the sharded database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// By its own statements.
    Statements,
    /// From the file of the other database.
    Import,
}

/// The database that a case runs on.
#[derive(Clone, Copy, Debug)]
struct Setting {
    shards: usize,
    origin: Origin,
    storage: Storage,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shards, {:?}", self.shards, self.storage)
    }
}

fn build(case: &Case, setting: Setting) -> Result<Pair, Trouble> {
    match setting.origin {
        Origin::Statements => by_statements(case, setting),
        Origin::Import => by_import(case, setting),
    }
}

fn by_statements(case: &Case, setting: Setting) -> Result<Pair, Trouble> {
    let mut oracle = Oracle::in_memory(ForeignKeys::Ignored).map_err(bad_case)?;
    let mut tested = Sharded::create_on(setting.storage, setting.shards);
    for sql in case.schema.statements() {
        oracle.execute(&sql, &[]).map_err(bad_case)?;
        tested
            .execute(&sql, &[])
            .map_err(|failure| Trouble::Wrong(format!("{sql}\n  the answer is {failure}")))?;
    }
    let mut pair = Pair { oracle, tested };
    for load in &case.loads {
        let actual = pair.tested.execute(&load.sql, &load.params);
        if let Verdict::Wrong(how) = judge(&mut pair.oracle, load, &actual) {
            return Err(Trouble::Wrong(how));
        }
    }
    Ok(pair)
}

fn by_import(case: &Case, setting: Setting) -> Result<Pair, Trouble> {
    let mut oracle = Oracle::in_memory(ForeignKeys::Ignored).map_err(bad_case)?;
    for sql in case.schema.statements() {
        oracle.execute(&sql, &[]).map_err(bad_case)?;
    }
    for load in &case.loads {
        oracle.execute(&load.sql, &load.params).map_err(bad_case)?;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("one.db");
    oracle.save(&file).map_err(bad_case)?;
    let tested = Sharded::import_on(setting.storage, &file, setting.shards)
        .map_err(|failure| Trouble::Wrong(format!("the import fails: {failure}")))?;
    Ok(Pair { oracle, tested })
}

fn bad_case(failure: Failure) -> Trouble {
    Trouble::BadCase(failure.to_string())
}

/// Runs a case up to the first trouble; the number of the step says where it was, if it was in one.
fn run(case: &Case, setting: Setting, tally: &mut Tally) -> Result<(), (Option<usize>, Trouble)> {
    let mut pair = build(case, setting).map_err(|trouble| (None, trouble))?;
    for (number, step) in case.steps.iter().enumerate() {
        let statement = &step.statement;
        let actual = pair.tested.execute(&statement.sql, &statement.params);
        if matches!(&actual, Err(failure) if failure.message.starts_with("PARTIAL_WRITE")) {
            // Best effort left the databases different, and said so.
            tally.partial += 1;
            return Ok(());
        }
        match judge(&mut pair.oracle, statement, &actual) {
            Verdict::Equal => tally.equal += 1,
            Verdict::Invalid => tally.invalid += 1,
            Verdict::Exhausted => tally.exhausted += 1,
            Verdict::Refused(why) if statement.writes => {
                let code = why.split(':').next().unwrap_or_default().to_owned();
                *tally.refused.entry(code).or_default() += 1;
            }
            Verdict::Refused(why) => {
                return Err((
                    Some(number),
                    Trouble::RefusedSelect(format!("{statement}\n  {why}")),
                ));
            }
            Verdict::Wrong(how) => return Err((Some(number), Trouble::Wrong(how))),
        }
    }
    Ok(())
}

/// The text of a failure: the smallest case that shows it.
fn report(mut case: Case, setting: Setting, step: Option<usize>) -> String {
    case.steps.truncate(step.map_or(0, |step| step + 1));
    let seed = case.seed;
    let fails = |case: &Case| match run(case, setting, &mut Tally::default()) {
        Err((at, Trouble::Wrong(_) | Trouble::RefusedSelect(_))) => {
            at == case.steps.len().checked_sub(1)
        }
        Err((_, Trouble::BadCase(_))) | Ok(()) => false,
    };
    let case = minimise(case, fails);
    let Err((_, trouble)) = run(&case, setting, &mut Tally::default()) else {
        return format!("seed {seed}, {setting}: fails only now and then");
    };
    let statements = case.schema.statements().into_iter();
    let loads = case.loads.iter().map(ToString::to_string);
    let steps = case.steps.iter().map(|step| step.statement.to_string());
    let script: Vec<String> = statements.chain(loads).chain(steps).collect();
    format!(
        "seed {seed}, {setting}: {trouble}\n\n{}",
        script.join(";\n")
    )
}

fn compare_all(origin: Origin, storage: Storage) {
    let mut tally = Tally::default();
    for seed in seeds() {
        let case = Case::random(seed, PROFILE);
        let setting = Setting {
            shards: shards_of(seed),
            origin,
            storage,
        };
        if let Err((step, trouble)) = run(&case, setting, &mut tally) {
            if std::env::var_os("SHARDWRIGHT_KEEP_GOING").is_some() {
                println!("TROUBLE seed {seed}, {setting}, step {step:?}: {trouble}\n");
                continue;
            }
            panic!("{}", report(case, setting, step));
        }
    }
    println!("{tally:?}");
    let refused: usize = tally.refused.values().sum();
    assert!(
        tally.equal > refused * 10,
        "too many writes are refused: {tally:?}"
    );
}

#[test]
fn any_number_of_shards_answers_as_one_sqlite_database() {
    compare_all(Origin::Statements, Storage::Files);
}

#[test]
fn any_number_of_shards_answers_as_the_file_that_was_imported() {
    compare_all(Origin::Import, Storage::Files);
}

#[test]
fn shards_behind_channels_answer_as_one_sqlite_database() {
    compare_all(Origin::Statements, Storage::Channels);
}

#[test]
fn two_engines_that_take_turns_answer_as_one_sqlite_database() {
    compare_all(Origin::Statements, Storage::Engines);
}

#[test]
fn shards_behind_channels_answer_as_the_file_that_was_imported() {
    compare_all(Origin::Import, Storage::Channels);
}
