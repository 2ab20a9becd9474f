//! Checks of the text of the repository that no compiler makes.

mod file_length;
mod links;
mod lockfile;
mod markdown;
mod module_doc;
mod names;
mod orphans;
mod paths;
mod phrases;
mod test_attributes;
mod whitespace;
mod words;

use crate::{
    report::{self, Problem},
    source::Tree,
    workspace,
};

/// Check the text of the sources and documents; nothing is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

const CHECKS: [fn(&Tree, &mut Vec<Problem>); 11] = [
    file_length::check,
    links::check,
    lockfile::check,
    markdown::check,
    module_doc::check,
    names::check,
    orphans::check,
    paths::check,
    phrases::check,
    test_attributes::check,
    whitespace::check,
];

/// Reads the repository once, and runs every check on it.
pub(crate) fn run(Args {}: &Args) -> anyhow::Result<()> {
    let tree = Tree::read(&workspace::root())?;
    let mut problems = Vec::new();
    for check in CHECKS {
        check(&tree, &mut problems);
    }
    report::conclude("tidy", problems)
}

/// What `check` says about a repository of these files, as lines.
#[cfg(test)]
fn found(check: fn(&Tree, &mut Vec<Problem>), files: &[(&str, &str)]) -> String {
    let mut problems = Vec::new();
    check(&Tree::of(files), &mut problems);
    report::lines(problems)
}
