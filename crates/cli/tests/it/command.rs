//! Runs the binary and keeps what it printed.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// What a run of the binary left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The standard output of a run that has to have succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// The standard error of a run that has to have failed with this code, answering nothing.
    #[track_caller]
    pub(crate) fn failure(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "a failure answers nothing");
        assert!(self.err.starts_with("error["), "{self:?}");
        self.err
    }
}

/// The binary, with an environment that the tests' own cannot change.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardwright"));
    command.stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

/// Runs the binary with these arguments and nothing to read.
#[track_caller]
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    finished(
        &binary()
            .args(arguments)
            .output()
            .expect("start shardwright"),
    )
}

/// Runs the binary with these arguments and this standard input.
#[track_caller]
pub(crate) fn run_with_input<S: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = S>,
    input: &str,
) -> Run {
    let mut child = binary()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start shardwright");
    let mut stdin = child.stdin.take().expect("because standard input is piped");
    // A run that fails early does not read all of its input.
    let _written = stdin.write_all(input.as_bytes());
    drop(stdin);
    finished(&child.wait_with_output().expect("wait for shardwright"))
}

/// What a finished run left behind.
pub(crate) fn finished(output: &Output) -> Run {
    Run {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
