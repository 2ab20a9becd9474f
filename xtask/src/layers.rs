//! Checks which crate may know which.

mod signatures;
mod table;

use crate::{report, source::Tree, workspace};

/// Check the dependencies between the crates; nothing is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Compares the manifests with the table of layers, and public signatures with the rule that the
/// types of drivers stay inside the crates that use them.
pub(crate) fn run(Args {}: &Args) -> anyhow::Result<()> {
    let packages = workspace::packages()?;
    let mut problems = Vec::new();
    table::check(&packages, &mut problems);
    signatures::check(&Tree::read(&workspace::root())?, &mut problems);
    report::conclude("layers", problems)
}
