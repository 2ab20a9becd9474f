//! Runs the commands of a task, showing each before it starts.
#![expect(clippy::print_stderr, reason = "a task tells people what it does")]

use std::{ffi::OsStr, path::Path, process::Command};

use anyhow::{Context, bail};

/// Announces a part of a task.
pub(crate) fn heading(text: &str) {
    eprintln!("\n=== {text}");
}

/// Tells of something that is no failure, and that one may not expect.
pub(crate) fn note(text: &str) {
    eprintln!("note: {text}");
}

/// Tells of a failure after which the task goes on.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// The cargo that started this task, run in `directory`.
pub(crate) fn cargo(directory: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(directory);
    command
}

/// Shows and runs `command`.
///
/// # Errors
///
/// When the program cannot be started, or its exit code is not zero.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command
        .status()
        .with_context(|| format!("start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs `command` and returns what it wrote to standard output.
///
/// # Errors
///
/// When the program cannot be started, its exit code is not zero, or its output is not UTF-8.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let line = line(command);
    let output = command
        .output()
        .with_context(|| format!("start `{line}`"))?;
    if !output.status.success() {
        bail!(
            "`{line}` failed: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("read the output of `{line}`"))
}

/// A command as one would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name();
    let words = program
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy);
    words.collect::<Vec<_>>().join(" ")
}
