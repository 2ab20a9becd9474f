//! Runs scripts: the command.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Context;
use shardwright_compare::slt::{
    Judged, Outcome, complete,
    fleet::{self, Job, Report},
};
use shardwright_testkit::{ForeignKeys, Oracle};

/// How many records of a script are shown that did not pass.
const SHOWN: usize = 20;

/// Run scripts of SQLite's logic tests on sharded databases.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scripts, or directories with files `*.test`.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The numbers of shards, each of which runs every script.
    #[arg(long, value_delimiter = ',', default_value = "1,3,16", value_parser = shard_count)]
    shards: Vec<usize>,
    /// How many scripts run at the same time; as many as there are processors unless told otherwise.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Write SQLite's answers into the scripts instead of running them on sharded databases.
    #[arg(long, conflicts_with_all = ["shards", "jobs"])]
    write: bool,
}

/// Play one script; the process of `slt` that does the work.
#[derive(Debug, clap::Args)]
pub(crate) struct PlayArgs {
    file: PathBuf,
    #[arg(long)]
    shards: usize,
    #[arg(long)]
    directory: PathBuf,
}

/// A number of shards, of the command line.
pub(crate) fn shard_count(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("a number of shards is from 1 to 1024".to_owned()),
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let files = fleet::scripts_at(&args.files)?;
    if args.write {
        files.iter().try_for_each(|file| write(file))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut jobs = Vec::new();
    for file in &files {
        jobs.extend(args.shards.iter().map(|&shards| Job {
            file: file.clone(),
            shards,
        }));
    }
    let at_once = args
        .jobs
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let program = std::env::current_exe().context("find this program")?;
    let command = |job: &Job, directory: &Path| {
        let mut command = Command::new(&program);
        command.arg("play").arg(&job.file);
        command.args(["--shards", &job.shards.to_string()]);
        command.arg("--directory").arg(directory);
        command
    };
    let (ended, all) = (AtomicUsize::new(0), jobs.len());
    let tally = fleet::run_all(jobs, at_once, command, |job, report| {
        let number = ended.fetch_add(1, Ordering::Relaxed) + 1;
        tell(&format!("[{number}/{all}]"), job, report);
    })?;
    for (code, count) in tally.refusals() {
        println!("refused: {count} with {code}");
    }
    println!("{}", tally.total());
    Ok(if tally.has_failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

pub(crate) fn play(args: &PlayArgs) -> anyhow::Result<()> {
    let job = Job {
        file: args.file.clone(),
        shards: args.shards,
    };
    fleet::play(&job, &args.directory, &mut std::io::stdout())
}

fn write(file: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let mut oracle =
        Oracle::in_memory(ForeignKeys::Ignored).map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let completed =
        complete(&text, &mut oracle).with_context(|| format!("complete {}", file.display()))?;
    fs::write(file, completed).with_context(|| format!("write {}", file.display()))?;
    eprintln!("{}", file.display());
    Ok(())
}

/// One line for the job, and what did not pass.
fn tell(number: &str, job: &Job, report: &Report) {
    let mut text = String::new();
    let file = job.file.display();
    for judged in report.failures.iter().take(SHOWN) {
        let heading = format!("{file}:{} on {} shards", judged.line, job.shards);
        text.push_str(&shown(&heading, judged));
    }
    let more = report.failures.len().saturating_sub(SHOWN);
    if more > 0 {
        text.push_str(&format!("{file} on {} shards: {more} more\n", job.shards));
    }
    print!("{text}");
    for what in &report.passed_over {
        eprintln!("{file}, {what}; passed over");
    }
    eprintln!("{number} {file} on {} shards: {}", job.shards, report.tally);
}

fn shown(heading: &str, judged: &Judged) -> String {
    let (kind, message) = match &judged.outcome {
        Outcome::Passed => return String::new(),
        Outcome::Wrong { message } => ("wrong", message),
        Outcome::Refused { message, .. } => ("refused", message),
        Outcome::Crashed { message } => ("crashed", message),
    };
    let sql = judged.sql.replace('\n', "\n  ");
    format!("{heading}: {kind}\n  {sql}\n  {message}\n")
}
