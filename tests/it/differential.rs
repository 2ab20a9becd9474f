//! Random schemas, rows and statements: any number of shards against one SQLite database.

#![expect(clippy::print_stdout, reason = "a test says what it counted")]

use crate::sharded::{Sharded, Storage};
use shardwright_compare::random::{Maker, Origin, Tally, report, run};
use shardwright_testkit::{
    Database, Failure,
    sqlgen::{Case, Profile},
};
use std::{fmt, path::Path};

const PROFILE: Profile = Profile {
    statements: 40,
    writes: 20,
};
/// How many seeds run when `SHARDWRIGHT_SEEDS` does not say otherwise.
const SEEDS: u64 = 40;

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

/// The databases that a case runs on.
#[derive(Clone, Copy, Debug)]
struct Setting {
    shards: usize,
    storage: Storage,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shards, {:?}", self.shards, self.storage)
    }
}

impl Maker for Setting {
    fn create(&self) -> Box<dyn Database> {
        Box::new(Sharded::create_on(self.storage, self.shards))
    }

    fn import(&self, file: &Path) -> Result<Box<dyn Database>, Failure> {
        Ok(Box::new(Sharded::import_on(
            self.storage,
            file,
            self.shards,
        )?))
    }
}

fn compare_all(origin: Origin, storage: Storage) {
    let mut tally = Tally::default();
    for seed in seeds() {
        let case = Case::random(seed, PROFILE);
        let setting = Setting {
            shards: shards_of(seed),
            storage,
        };
        if let Err(found) = run(&case, &setting, origin, &mut tally) {
            if std::env::var_os("SHARDWRIGHT_KEEP_GOING").is_some() {
                let (step, trouble) = (found.step, found.trouble);
                println!("TROUBLE seed {seed}, {setting}, step {step:?}: {trouble}\n");
                continue;
            }
            panic!("{}", report(case, &setting, origin, found.step));
        }
    }
    println!("{tally:?}");
    let refused: usize = tally.refused.values().sum();
    assert!(
        tally.equal > refused * 10,
        "too many writes are refused: {tally:?}"
    );
    assert!(
        tally.scattered > 0,
        "no shard has answered for its own rows: {tally:?}"
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
