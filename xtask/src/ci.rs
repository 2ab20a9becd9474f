//! The read-only checks that a change has to pass, besides the tests.

use anyhow::bail;

use crate::{layers, shell, sim, tidy, workspace};

/// Check format, lints, documentation, tidiness, layers and features, and simulate briefly; nothing is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// One check: what it is called, and how it runs.
type Step = (&'static str, fn() -> anyhow::Result<()>);

const STEPS: [Step; 7] = [
    ("tidy", || tidy::run(&tidy::Args {})),
    ("layers", || layers::run(&layers::Args {})),
    ("format", || cargo(&["fmt", "--all", "--check"])),
    ("lints", || {
        let mut words = vec!["clippy", "--workspace", "--all-targets", "--all-features"];
        words.extend(["--", "-D", "warnings"]);
        cargo(&words)
    }),
    ("documentation", document),
    ("features", features),
    ("simulation", sim::run_briefly),
];

/// Runs every check, also after one has failed, so that one run tells all.
pub(crate) fn run(Args {}: &Args) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for (name, check) in STEPS {
        shell::heading(name);
        if let Err(error) = check() {
            shell::complain(&error);
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn cargo(words: &[&str]) -> anyhow::Result<()> {
    shell::run(shell::cargo(&workspace::root()).args(words))
}

fn document() -> anyhow::Result<()> {
    let mut command = shell::cargo(&workspace::root());
    command.env("RUSTDOCFLAGS", "-D warnings");
    shell::run(command.args(["doc", "--workspace", "--no-deps", "--all-features"]))
}

/// Each feature of each library builds without the others.
fn features() -> anyhow::Result<()> {
    for package in workspace::packages()? {
        if package.lib_target.is_none() || !package.published {
            continue;
        }
        for feature in package.features.iter().filter(|name| *name != "default") {
            let name = package.name.as_str();
            cargo(&[
                "check",
                "--quiet",
                "-p",
                name,
                "--no-default-features",
                "--features",
                feature,
            ])?;
        }
    }
    Ok(())
}
