//! Many scripts, each in a process of its own: so a crash of one is seen, and ends nothing else.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use shardwright_testkit::{ForeignKeys, Oracle};

use super::{Judged, Outcome, Script, Tally, run};
use crate::Embedded;

/// One script on a database of so many shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The script.
    pub file: PathBuf,
    /// How many shards.
    pub shards: usize,
}

/// What a process says while it plays a script: one line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// A part of the script is not understood.
    PassedOver(String),
    /// The record at a line begins.
    Begins(usize),
    /// It has ended.
    Ended(Judged),
    /// The script is over.
    Done,
}

/// What became of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The counts.
    pub tally: Tally,
    /// The records that did not pass, in their order.
    pub failures: Vec<Judged>,
    /// Parts of the script that were passed over.
    pub passed_over: Vec<String>,
}

impl Report {
    fn add(&mut self, judged: Judged) {
        self.tally.add(&judged.outcome);
        if judged.outcome != Outcome::Passed {
            self.failures.push(judged);
        }
    }
}

/// Runs jobs, `at_once` of them at a time. `command` makes the command that plays one script by [`play`]; its arguments are the job and a
/// directory for its files. `told` hears of each job that has ended.
///
/// # Errors
/// When a process cannot be started, or ends without having said what became of its script and without a crash.
pub fn run_all(
    jobs: Vec<Job>,
    at_once: NonZeroUsize,
    command: impl Fn(&Job, &Path) -> Command + Sync,
    told: impl Fn(&Job, &Report) + Sync,
) -> anyhow::Result<Tally> {
    let waiting = Mutex::new(VecDeque::from(jobs));
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let work = || -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        while let Some(job) = next() {
            let directory = tempfile::tempdir().context("make a temporary directory")?;
            let report = watch(command(&job, directory.path()))
                .with_context(|| format!("run {}", job.file.display()))?;
            tally.merge(&report.tally);
            told(&job, &report);
        }
        Ok(tally)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.get()).map(|_| scope.spawn(work)).collect();
        let mut tally = Tally::default();
        for worker in workers {
            match worker.join() {
                Ok(found) => tally.merge(&found?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(tally)
    })
}

/// Runs the process of one job to its end.
fn watch(mut command: Command) -> anyhow::Result<Report> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("start the process")?;
    let output = child.stdout.take().context("read what the process says")?;
    let mut report = Report::default();
    let (mut begun, mut is_done) = (None, false);
    for line in BufReader::new(output).lines() {
        match serde_json::from_str(&line?).context("understand the process")? {
            Said::PassedOver(what) => report.passed_over.push(what),
            Said::Begins(line) => begun = Some(line),
            Said::Ended(judged) => {
                begun = None;
                report.add(judged);
            }
            Said::Done => is_done = true,
        }
    }
    let status = child.wait()?;
    match begun {
        Some(line) => report.add(Judged {
            line,
            sql: String::new(),
            outcome: Outcome::Crashed {
                message: format!("the process ended: {status}"),
            },
        }),
        None => anyhow::ensure!(is_done && status.success(), "the process ended: {status}"),
    }
    Ok(report)
}

/// Plays the script of a job on a new database below `directory`, and writes to `output` what [`run_all`] reads.
///
/// # Errors
/// When the script cannot be read or has no record, when the databases cannot be made, or nobody listens.
pub fn play(job: &Job, directory: &Path, output: &mut dyn Write) -> anyhow::Result<()> {
    let bytes = fs::read(&job.file).with_context(|| format!("read {}", job.file.display()))?;
    let script = Script::parse(&String::from_utf8_lossy(&bytes));
    anyhow::ensure!(
        !script.records.is_empty(),
        "{} has no record: it is no script",
        job.file.display()
    );
    let mut lines = Lines(output);
    for malformed in &script.malformed {
        lines.say(&Said::PassedOver(malformed.to_string()))?;
    }
    let mut tested = Embedded::create(Some(directory), job.shards)?;
    let file = directory.join("one.db");
    let oracle = Oracle::open(&file, ForeignKeys::Ignored)
        .and_then(|mut oracle| oracle.script("PRAGMA synchronous = off").map(|()| oracle));
    let mut oracle = oracle.map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let lines = std::cell::RefCell::new(lines);
    let failed = std::cell::RefCell::new(Ok(()));
    let say = |said: &Said| {
        if let Err(error) = lines.borrow_mut().say(said) {
            *failed.borrow_mut() = Err(error);
        }
    };
    run(
        &script,
        &mut tested,
        &mut oracle,
        &mut |line| say(&Said::Begins(line)),
        &mut |judged| say(&Said::Ended(judged)),
    )?;
    say(&Said::Done);
    failed.into_inner()
}

struct Lines<'o>(&'o mut dyn Write);

impl Lines<'_> {
    fn say(&mut self, said: &Said) -> anyhow::Result<()> {
        serde_json::to_writer(&mut *self.0, said)?;
        self.0.write_all(b"\n")?;
        Ok(self.0.flush()?)
    }
}

/// The scripts that paths name: files as they are, and of directories all files below them whose names end in `.test`, in order.
///
/// # Errors
/// When there is no such file or directory, or nothing in it.
pub fn scripts_at(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).with_context(|| format!("read {}", path.display()))?;
        if !kind.is_dir() {
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        walk(path, &mut found)?;
        anyhow::ensure!(
            found.len() > before,
            "{} has no file *.test",
            path.display()
        );
        found[before..].sort();
    }
    Ok(found)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "test") {
            found.push(path);
        }
    }
    Ok(())
}
