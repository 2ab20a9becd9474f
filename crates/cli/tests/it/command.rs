//! Runs the binary and keeps what it printed.

use std::process::{Command, Output, Stdio};

/// What a run of the binary left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The binary, with an environment that the tests' own cannot change.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardwright"));
    command.stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

/// Runs the binary with these arguments and nothing to read.
pub(crate) fn run(arguments: &[&str]) -> Run {
    finished(
        &binary()
            .args(arguments)
            .output()
            .expect("start shardwright"),
    )
}

fn finished(output: &Output) -> Run {
    Run {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
