//! Runs everything that can fail: tests, crates from outside the workspace, and examples.

mod examples;
mod outside;

use crate::{shell, workspace};

/// Run the tests of all crates, each library from outside the workspace, and the examples.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only the tests whose names contain this, and nothing else.
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

/// Runs all of it, or only the tests that the filter selects.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = workspace::root();
    shell::heading("tests of the workspace");
    let mut command = shell::cargo(&root);
    command.args(["test", "--workspace", "--all-features"]);
    if !args.filter.is_empty() {
        return shell::run(command.arg("--").args(&args.filter));
    }
    shell::run(&mut command)?;

    let packages = workspace::packages()?;
    for package in packages.iter().filter(|package| package.published) {
        if let Some(library) = &package.library {
            shell::heading(&format!("{} from outside the workspace", package.name));
            outside::run(&root, package, library)?;
        }
    }
    for package in &packages {
        for example in &package.examples {
            shell::heading(&format!("example {example}"));
            examples::run(&root, package, example)?;
        }
    }
    Ok(())
}
