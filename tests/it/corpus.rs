//! The scripts of `corpus/`, which are in the format of SQLite's logic tests.

use shardwright_compare::{
    Embedded,
    slt::{Judged, Outcome, Script, Tally, run},
};
use shardwright_testkit::{Database, ForeignKeys, Oracle};
use std::path::PathBuf;

fn scripts() -> Vec<PathBuf> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
    let scripts = shardwright_compare::slt::fleet::scripts_at(&[directory]);
    scripts.expect("the scripts are in the repository")
}

fn oracle() -> Oracle {
    Oracle::in_memory(ForeignKeys::Ignored).expect("an empty database")
}

/// Every script, on new databases; nothing may be wrong or refused.
fn pass_every_script(open: impl Fn() -> Box<dyn Database>) {
    let scripts = scripts();
    assert!(scripts.len() >= 20, "only {} are there", scripts.len());
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    for path in scripts {
        let text = std::fs::read_to_string(&path).expect("a script is text");
        let script = Script::parse(&text);
        assert_eq!(script.malformed, [], "{}", path.display());
        let judge = &mut |judged: Judged| {
            tally.add(&judged.outcome);
            if judged.outcome != Outcome::Passed {
                failed.push(format!("{}:{judged:?}", path.display()));
            }
        };
        run(&script, &mut *open(), &mut oracle(), &mut |_| {}, judge)
            .expect("SQLite writes values");
    }
    assert!(failed.is_empty(), "{tally}\n{}", failed.join("\n"));
}

fn embedded(shards: usize) -> Box<dyn Database> {
    Box::new(Embedded::create(None, shards).expect("an empty database"))
}

#[test]
fn one_sqlite_database_passes_every_script_of_the_corpus() {
    pass_every_script(|| Box::new(oracle()));
}

#[test]
fn one_shard_passes_every_script_of_the_corpus() {
    pass_every_script(|| embedded(1));
}

#[test]
fn three_shards_pass_every_script_of_the_corpus() {
    pass_every_script(|| embedded(3));
}

#[test]
fn sixteen_shards_pass_every_script_of_the_corpus() {
    pass_every_script(|| embedded(16));
}
