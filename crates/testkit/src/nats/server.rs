//! The programs to start servers from, of the oldest release that is supported and of the current one.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write},
    path::PathBuf,
    process::Command,
};

/// The variable that names the program of the current release.
pub const CURRENT: &str = "NATS_SERVER";

/// The variable that names the program of the oldest release that is supported.
pub const OLDEST: &str = "NATS_SERVER_2_9";

/// A program to start servers from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsServer {
    /// Where it is.
    pub program: PathBuf,
    /// What it says of itself, such as `2.9.10`.
    pub version: String,
}

impl NatsServer {
    /// Takes a program that says its version; `None` if it does not run.
    #[must_use]
    pub fn at(program: impl AsRef<OsStr>) -> Option<Self> {
        let output = Command::new(&program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.trim().strip_prefix("nats-server: v")?;
        Some(Self {
            program: PathBuf::from(program.as_ref()),
            version: version.to_owned(),
        })
    }

    /// Returns whether it is of this release or a later one.
    #[must_use]
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        (major, minor) <= self.release()
    }

    fn release(&self) -> (u32, u32) {
        let mut parts = self.version.split('.').map(str::parse);
        let mut part = || parts.next().and_then(Result::ok).unwrap_or(0);
        (part(), part())
    }
}

/// Returns the servers to test with: the oldest release that is supported, and the current one.
///
/// # Panics
/// If there is not each of them and `CI` is set, or a variable names a program that does not run or is of another release.
#[must_use]
pub fn servers() -> Vec<NatsServer> {
    let both = [Release::OLDEST, Release::CURRENT];
    both.iter().filter_map(Release::find).collect()
}

/// Returns the current one of [`servers`].
///
/// # Panics
/// If there is none and `CI` is set, or its variable names a program that does not run or is of another release.
#[must_use]
pub fn current() -> Option<NatsServer> {
    Release::CURRENT.find()
}

/// A release to test with.
struct Release {
    variable: &'static str,
    name: &'static str,
    has: fn(&NatsServer) -> bool,
}

impl Release {
    const OLDEST: Self = Self {
        variable: OLDEST,
        name: "2.9",
        has: |server| server.release() == (2, 9),
    };

    const CURRENT: Self = Self {
        variable: CURRENT,
        name: "2.12 or later",
        has: |server| server.is_at_least(2, 12),
    };

    fn find(&self) -> Option<NatsServer> {
        let found = match env::var_os(self.variable) {
            Some(program) => Some(self.named(&program, NatsServer::at(&program))),
            None => NatsServer::at("nats-server").filter(self.has),
        };
        if found.is_none() {
            let missing = format!("there is no nats-server of release {}", self.name);
            assert!(
                env::var_os("CI").is_none(),
                "{missing}: run the tests by `cargo xtask test`"
            );
            note(&format!(
                "passed over: {missing}, `cargo xtask test` fetches one"
            ));
        }
        found
    }

    /// The program that the variable names, which has to be of this release.
    fn named(&self, program: &OsStr, server: Option<NatsServer>) -> NatsServer {
        let (variable, name) = (self.variable, self.name);
        let server = server.unwrap_or_else(|| panic!("{variable}: {program:?} is no nats-server"));
        let version = &server.version;
        assert!(
            (self.has)(&server),
            "{variable}: {program:?} is of release {version}, not {name}"
        );
        server
    }
}

/// Says something that the harness of the tests does not keep to itself when they pass, as it does with what is printed.
fn note(text: &str) {
    // A test whose standard error is closed says nothing.
    let _told = io::stderr().write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version: &str) -> NatsServer {
        NatsServer {
            program: "nats-server".into(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn each_release_has_its_versions() {
        let oldest = |version| (Release::OLDEST.has)(&server(version));
        assert!(oldest("2.9.0") && oldest("2.9.25"));
        assert!(!oldest("2.10.0") && !oldest("2.90.1") && !oldest("3.9.0"));
        let current = |version| (Release::CURRENT.has)(&server(version));
        assert!(current("2.12.0") && current("2.15.1") && current("3.0.0-RC.1"));
        assert!(!current("2.9.25") && !current("2.11.11") && !current(""));
    }

    #[test]
    fn a_program_that_says_no_version_is_no_server() {
        assert_eq!(NatsServer::at("cargo"), None);
        assert_eq!(NatsServer::at("/nowhere/nats-server"), None);
    }
}
