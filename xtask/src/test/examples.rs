//! Runs an example, as a reader of the documentation would.

use std::path::Path;

use crate::{shell, workspace::Package};

/// Builds and runs `example`.
///
/// # Errors
///
/// When it does not build, or does not end with exit code 0.
pub(super) fn run(root: &Path, package: &Package, example: &str) -> anyhow::Result<()> {
    let mut command = shell::cargo(root);
    command.args([
        "run",
        "--quiet",
        "-p",
        &package.name,
        "--all-features",
        "--example",
        example,
    ]);
    shell::run(&mut command)
}
