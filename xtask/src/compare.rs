//! Compares sharded databases with SQLite.

use std::path::PathBuf;

use anyhow::Context;

use crate::{shell, workspace};

/// Run scripts of SQLite's logic tests on sharded databases: answers are compared with those of the script, and what is refused is counted.
///
/// Fails if an answer is wrong, a statement that reads is refused, or a process crashes.
#[derive(Debug, clap::Args)]
pub(crate) struct Scripts {
    /// Scripts, or directories with files `*.test`.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The numbers of shards, each of which runs every script; 1,3,16 unless told otherwise.
    #[arg(long, value_delimiter = ',', conflicts_with = "write")]
    shards: Vec<usize>,
    /// How many scripts run at the same time; as many as there are processors unless told otherwise.
    #[arg(long, conflicts_with = "write")]
    jobs: Option<usize>,
    /// Write SQLite's answers into the scripts instead of running them on sharded databases.
    #[arg(long)]
    write: bool,
}

/// Search for statements that sharded databases answer otherwise than SQLite; what is found is made small and printed with its seed.
#[derive(Debug, clap::Args)]
pub(crate) struct Fuzz {
    /// What to search in.
    #[arg(value_enum)]
    what: What,
    /// How long; a minute unless told otherwise, or the case of the seed alone.
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// The first seed; one that nobody has run before unless told otherwise.
    #[arg(long)]
    seed: Option<u64>,
    /// The numbers of shards, which the cases take in turns.
    #[arg(long, value_delimiter = ',')]
    shards: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The SQL engine: random schemas, rows and statements.
    Sql,
}

/// Runs scripts, or completes them.
pub(crate) fn run_scripts(args: &Scripts) -> anyhow::Result<()> {
    let mut words = vec!["slt".to_owned()];
    if args.write {
        words.push("--write".to_owned());
    }
    words.extend(shards(&args.shards));
    words.extend(args.jobs.map(|jobs| format!("--jobs={jobs}")));
    for file in &args.files {
        // The program runs in the root of the workspace.
        let path = std::path::absolute(file)?;
        path.metadata()
            .with_context(|| format!("read {}", file.display()))?;
        let path = path.into_os_string().into_string();
        words.push(path.map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))?);
    }
    compare(&words)
}

/// Searches.
pub(crate) fn fuzz(args: &Fuzz) -> anyhow::Result<()> {
    let What::Sql = args.what;
    let mut words = vec!["fuzz".to_owned(), "sql".to_owned()];
    words.extend(args.minutes.map(|minutes| format!("--minutes={minutes}")));
    words.extend(args.seed.map(|seed| format!("--seed={seed}")));
    words.extend(shards(&args.shards));
    compare(&words)
}

fn shards(counts: &[usize]) -> Option<String> {
    let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
    (!counts.is_empty()).then(|| format!("--shards={}", counts.join(",")))
}

/// Builds the program with optimisation, which many statements repay, and runs it.
fn compare(words: &[String]) -> anyhow::Result<()> {
    let mut command = shell::cargo(&workspace::root());
    command.args([
        "run",
        "--quiet",
        "-p",
        "shardwright-compare",
        "--release",
        "--",
    ]);
    shell::run(command.args(words))
}
