//! How a command fails: what is printed on standard error, and the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

/// Prints why the command failed and returns its exit code. A reader of our output that went away,
/// as `head` does, is no failure.
pub(crate) fn report(error: &anyhow::Error, flushed: io::Result<()>) -> ExitCode {
    if is_broken_pipe(error) || flushed.is_err_and(|error| broken_pipe(&error)) {
        return ExitCode::SUCCESS;
    }
    // Where standard error is closed, the exit code has to do.
    let _printed = writeln!(io::stderr(), "error[IO]: {error:#}");
    ExitCode::FAILURE
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref())
        .any(broken_pipe)
}

fn broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
