//! Real nats-servers: started on free ports of the loopback address, killed and restarted as a test says, gone at its end.
//!
//! `cargo xtask test` finds or fetches the programs and names them in [`CURRENT`] and [`OLDEST`]. Without these variables a
//! `nats-server` of the `PATH` is used. Without any, tests that need one are passed over with a note, and fail where `CI` is set.
//!
//! ```no_run
//! use shardwright_testkit::nats::{NatsCluster, servers};
//!
//! for server in servers() {
//!     let mut cluster = NatsCluster::start(&server, 3);
//!     println!("{} at {}", server.version, cluster.url());
//!     cluster.kill(0);
//!     cluster.restart(0);
//! }
//! ```

mod member;
mod wait;

use std::{ffi::OsStr, path::PathBuf, process::Command};

use self::member::Member;
use crate::nats::wait::until;

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
        let mut parts = self.version.split('.').map(str::parse);
        let mut part = || parts.next().and_then(Result::ok).unwrap_or(0);
        (major, minor) <= (part(), part())
    }
}

/// Returns the servers to test with: the oldest release that is supported, and the current one.
///
/// # Panics
/// If there is none and `CI` is set, or a variable names a program that does not run.
#[must_use]
#[expect(clippy::print_stderr, reason = "a test that is passed over says so")]
pub fn servers() -> Vec<NatsServer> {
    let named = [OLDEST, CURRENT].map(|variable| {
        let program = std::env::var_os(variable)?;
        let server = NatsServer::at(&program);
        Some(server.unwrap_or_else(|| panic!("{variable}: {program:?} is no nats-server")))
    });
    let mut found: Vec<_> = named.into_iter().flatten().collect();
    if found.is_empty() {
        found.extend(NatsServer::at("nats-server"));
    }
    if found.is_empty() {
        assert!(
            std::env::var_os("CI").is_none(),
            "there is no nats-server: run the tests by `cargo xtask test`"
        );
        eprintln!("passed over: there is no nats-server, `cargo xtask test` fetches one");
    }
    found
}

/// Returns the newest of [`servers`].
#[must_use]
pub fn current() -> Option<NatsServer> {
    servers().pop()
}

/// One server, or several that form a cluster, all with JetStream in a directory of their own.
#[derive(Debug)]
pub struct NatsCluster {
    members: Vec<Member>,
    // Removed after the members, whose files it holds.
    _directory: tempfile::TempDir,
}

impl NatsCluster {
    /// Starts `size` servers, and waits until they take streams.
    ///
    /// # Panics
    /// If they do not.
    #[must_use]
    pub fn start(server: &NatsServer, size: usize) -> Self {
        Self::start_with(server, size, "", "")
    }

    /// Starts as [`NatsCluster::start`], with more lines in each server's configuration, and in its part on JetStream.
    ///
    /// # Panics
    /// If they do not take streams.
    #[must_use]
    pub fn start_with(server: &NatsServer, size: usize, lines: &str, jetstream: &str) -> Self {
        let directory = tempfile::tempdir().expect("create a directory for the servers");
        let members = member::configure(server, size, directory.path(), lines, jetstream);
        let mut cluster = Self {
            members,
            _directory: directory,
        };
        for member in &mut cluster.members {
            member.start();
        }
        cluster.wait_ready();
        cluster
    }

    /// Returns the addresses of all servers, as a client takes them.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.members.iter().map(Member::url).collect();
        urls.join(",")
    }

    /// Returns the address of one server.
    #[must_use]
    pub fn url_of(&self, member: usize) -> String {
        self.members[member].url()
    }

    /// Returns the address at which one server can be looked at over HTTP.
    #[must_use]
    pub fn monitor_url(&self, member: usize) -> String {
        format!("http://{}", self.members[member].monitor)
    }

    /// Returns how many servers there are, dead ones too.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Kills a server, as a power failure of its machine would.
    pub fn kill(&mut self, member: usize) {
        self.members[member].kill();
    }

    /// Starts a killed server again on what it had stored, and waits until the cluster is whole.
    ///
    /// # Panics
    /// If it does not become whole.
    pub fn restart(&mut self, member: usize) {
        self.members[member].start();
        self.wait_ready();
    }

    /// Stops a server in the middle of what it does, or lets it go on.
    ///
    /// # Panics
    /// If the server is dead, or the system cannot.
    pub fn signal(&self, member: usize, signal: &str) {
        self.members[member].signal(signal);
    }

    /// Returns the number of the server that leads a stream, if one does.
    #[must_use]
    pub fn leader_of(&self, stream: &str) -> Option<usize> {
        let mut running = self.members.iter().filter(|member| member.is_running());
        let leader = running.find_map(|member| member.leader_of(stream))?;
        self.members.iter().position(|member| member.name == leader)
    }

    fn wait_ready(&mut self) {
        let running = self.members.iter().filter(|member| member.is_running());
        let expected = running.count();
        for number in 0..self.members.len() {
            if self.members[number].is_running() {
                let member = &mut self.members[number];
                until(&format!("{} is ready", member.name), || {
                    member.is_ready(expected)
                });
            }
        }
    }
}
