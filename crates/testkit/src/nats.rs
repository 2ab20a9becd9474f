//! Real nats-servers: started on free ports of the loopback address, killed and restarted as a test says, gone at its end.
//!
//! `cargo xtask test` finds or fetches the programs and names them in [`CURRENT`] and [`OLDEST`]. Without such a variable the
//! `nats-server` of the `PATH` is used, if it is of that release. Without any, tests that need one are passed over with a note, and
//! fail where `CI` is set.
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
mod server;

use std::{net::SocketAddr, path::Path};

pub use self::server::{CURRENT, NatsServer, OLDEST, current, servers};

use self::member::{Ended, Member};
use crate::until;

/// How often servers are started whose ports another process was faster to take.
const STARTS_MAX: usize = 10;

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
        let configure = |directory: &Path, addresses: &[SocketAddr]| {
            member::configure(server, addresses, directory, lines, jetstream)
        };
        Self::start_on(|| member::free_addresses(size), configure)
    }

    /// Starts servers on some addresses, and on others for as long as another process has taken one of them.
    fn start_on(
        mut draw: impl FnMut() -> Vec<SocketAddr>,
        configure: impl Fn(&Path, &[SocketAddr]) -> Vec<Member>,
    ) -> Self {
        let mut starts = 1..STARTS_MAX;
        loop {
            let directory = tempfile::tempdir().expect("create a directory for the servers");
            let mut cluster = Self {
                members: configure(directory.path(), &draw()),
                _directory: directory,
            };
            for member in &mut cluster.members {
                member.start();
            }
            match cluster.wait_ready() {
                Ok(()) => return cluster,
                Err(ended) if ended.is_address_taken() && starts.next().is_some() => {}
                Err(ended) => panic!("{ended}"),
            }
        }
    }

    /// Returns the addresses of all servers, as a client takes them.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.members.iter().map(Member::url).collect();
        urls.join(",")
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
        self.wait_ready().unwrap_or_else(|ended| panic!("{ended}"));
    }

    /// Returns the number of the server that leads a stream, if one does.
    #[must_use]
    pub fn leader_of(&self, stream: &str) -> Option<usize> {
        let mut running = self.members.iter().filter(|member| member.is_running());
        let leader = running.find_map(|member| member.leader_of(stream))?;
        self.members.iter().position(|member| member.name == leader)
    }

    fn wait_ready(&mut self) -> Result<(), Ended> {
        until("the servers are ready", || match self.is_ready() {
            Ok(is_ready) => is_ready.then_some(Ok(())),
            Err(ended) => Some(Err(ended)),
        })
    }

    /// Whether every server that was started takes clients and streams.
    fn is_ready(&mut self) -> Result<bool, Ended> {
        let members = self.members.iter_mut();
        let mut running: Vec<_> = members.filter(|member| member.is_running()).collect();
        // Those that wait for one that ended would do so for ever.
        for member in &mut running {
            member.check_alive()?;
        }
        let expected = running.len();
        Ok(running.iter().all(|member| member.is_ready(expected)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn servers_whose_port_is_taken_start_on_others() {
        for server in servers() {
            let configure = |directory: &Path, addresses: &[SocketAddr]| {
                member::configure(&server, addresses, directory, "", "")
            };
            // The port for clients, the one for HTTP and the one for other servers.
            for port in 0..3 {
                let first = member::free_addresses(2);
                let taken = first[port];
                let _holder = TcpListener::bind(taken).unwrap();
                let mut draws = vec![member::free_addresses(2), first];
                let cluster = NatsCluster::start_on(|| draws.pop().unwrap(), configure);
                assert_eq!(cluster.size(), 2);
                assert!(!cluster.url().contains(&taken.to_string()));
                assert!(draws.is_empty());
            }
        }
    }
}
