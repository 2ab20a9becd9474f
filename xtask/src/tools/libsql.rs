//! Finds the clients of libSQL that the tests of whole clusters run, or installs them.
//!
//! They are packages of npm and of PyPI, in the versions that are named here, each with the versions of what it needs that the package
//! clients choose. npm and pip check what they fetch against the hashes of their registries. Everything is put once into `target/tools`, and
//! again when a version here changes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::nats::Missing;
use crate::{shell, workspace};

/// What npm is asked for.
const NPM: &[&str] = &["@libsql/client@0.18.0", "drizzle-orm@0.45.4"];

/// What pip is asked for.
const PYPI: &[&str] = &[
    "libsql-experimental==0.0.55",
    "libsql-client==0.3.1",
    "sqlalchemy-libsql==0.2.0",
    "sqlalchemy==2.1.9",
];

/// The file that says what a directory has.
const HAS: &str = "installed.txt";

/// One set of clients.
struct Clients {
    /// Names the directory to the tests.
    variable: &'static str,
    /// Where they are put.
    directory: &'static str,
    packages: &'static [&'static str],
    /// What has to be there to run them, with what to do if it is not.
    needs: &'static [(&'static str, &'static str)],
    install: fn(&Path, &[&str]) -> anyhow::Result<()>,
}

const JAVASCRIPT: Clients = Clients {
    variable: "SHARDWRIGHT_TEST_NPM",
    directory: "libsql-npm",
    packages: NPM,
    needs: &[
        ("node", "install Node.js 20 or later"),
        ("npm", "install npm, which comes with Node.js"),
    ],
    install: install_npm,
};

const PYTHON: Clients = Clients {
    variable: "SHARDWRIGHT_TEST_PYPI",
    directory: "libsql-pypi",
    packages: PYPI,
    needs: &[("python3", "install Python 3.9 or later, with pip")],
    install: install_pip,
};

/// Returns the variables that name the directories of the clients to the tests.
///
/// # Errors
///
/// When they are not there and cannot be installed, unless they are to be left and `CI` is not set: there, no test is passed over.
pub(crate) fn variables(missing: Missing) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let tools = workspace::root().join("target/tools");
    let mut found = Vec::new();
    for clients in [JAVASCRIPT, PYTHON] {
        let directory = tools.join(clients.directory);
        if clients.are_in(&directory) {
            found.push((clients.variable, directory));
        } else if missing == Missing::Fetch || std::env::var_os("CI").is_some() {
            clients.fetch(&directory)?;
            found.push((clients.variable, directory));
        } else {
            shell::note(&format!(
                "tests with {} are passed over: only `cargo xtask test` without a filter installs it",
                clients.packages.join(", ")
            ));
        }
    }
    Ok(found)
}

impl Clients {
    /// What the directory says that it has, once it has all.
    fn list(&self) -> String {
        self.packages.join("\n") + "\n"
    }

    fn are_in(&self, directory: &Path) -> bool {
        fs::read_to_string(directory.join(HAS)).is_ok_and(|has| has == self.list())
    }

    fn fetch(&self, directory: &Path) -> anyhow::Result<()> {
        shell::heading(&format!("install {}", self.packages.join(", ")));
        for (program, remedy) in self.needs {
            let runs = Command::new(program).arg("--version").output();
            let runs = runs.is_ok_and(|output| output.status.success());
            ensure!(runs, "{program} does not run, and tests need it: {remedy}");
        }
        if directory.exists() {
            fs::remove_dir_all(directory).context("remove what was installed before")?;
        }
        fs::create_dir_all(directory).context("create the directory of the clients")?;
        (self.install)(directory, self.packages)?;
        fs::write(directory.join(HAS), self.list()).context("note what is installed")
    }
}

/// Installs packages of npm, with their dependencies and without their scripts.
fn install_npm(directory: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
    npm.arg("--prefix").arg(directory).args(packages);
    shell::run(&mut npm)
}

/// Installs packages of PyPI, with their dependencies, as they were built there.
fn install_pip(directory: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet"]);
    pip.args(["--disable-pip-version-check", "--target"]);
    shell::run(pip.arg(directory).args(packages))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(install: fn(&Path, &[&str]) -> anyhow::Result<()>) -> Clients {
        Clients {
            install,
            needs: &[("cargo", "install Rust")],
            ..PYTHON
        }
    }

    #[test]
    fn what_is_installed_is_installed_once() {
        let tools = tempfile::tempdir().unwrap();
        let directory = tools.path().join("clients");
        let clients = clients(|_, _| Ok(()));
        assert!(!clients.are_in(&directory));
        clients.fetch(&directory).unwrap();
        assert!(clients.are_in(&directory));
        let newer = Clients {
            packages: &["other==2"],
            ..clients
        };
        assert!(!newer.are_in(&directory));
    }

    #[test]
    fn what_was_not_installed_is_not_taken_for_it() {
        let tools = tempfile::tempdir().unwrap();
        let clients = clients(|_, _| anyhow::bail!("no network"));
        assert!(clients.fetch(tools.path()).is_err());
        assert!(!clients.are_in(tools.path()));
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_its_remedy() {
        let tools = tempfile::tempdir().unwrap();
        let clients = Clients {
            needs: &[("no-such-program", "install it")],
            ..clients(|_, _| Ok(()))
        };
        let refused = clients.fetch(tools.path()).unwrap_err().to_string();
        assert_eq!(
            refused,
            "no-such-program does not run, and tests need it: install it"
        );
    }
}
