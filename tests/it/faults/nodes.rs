//! A node of the cluster: its process, its directory, and the ways to it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use shardwright_testkit::until;

use super::{
    access::Port,
    copies,
    links::{Links, listening},
};
use crate::{
    control::binary::shardwright,
    processes::{process::Process, proxy::Proxy},
};

/// One node. Its directory stays when its process ends.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) process: Process,
    name: String,
    index: usize,
    port: Port,
    /// Where coordinators and other gateways reach it.
    way: Proxy,
    /// Where other nodes reach its copies.
    peers: Proxy,
    links: Links,
    above: PathBuf,
    arguments: Vec<String>,
    starts: u32,
}

impl Node {
    /// Starts a node on this registry, in a directory of its own.
    pub(super) fn start(index: usize, above: &Path, registry: &str, links: &Links) -> Self {
        let name = format!("n{}", index + 1);
        let (way, peers) = (links.way_to(index), links.way_to(index));
        let arguments = [
            "node".to_owned(),
            "--id".to_owned(),
            name.clone(),
            "--registry".to_owned(),
            registry.to_owned(),
            "--listen".to_owned(),
            "127.0.0.1:0".to_owned(),
            "--advertise".to_owned(),
            way.url(),
            "--listen-peers".to_owned(),
            "127.0.0.1:0".to_owned(),
            "--advertise-peers".to_owned(),
            peers.address().to_string(),
            "--data".to_owned(),
            above.join(&name).display().to_string(),
            "--heartbeat-timeout".to_owned(),
            "1s".to_owned(),
            "--log".to_owned(),
            "info".to_owned(),
        ];
        let mut node = Self {
            process: run(&name, 1, above, &arguments),
            name,
            index,
            port: Port::default(),
            way,
            peers,
            links: links.clone(),
            above: above.to_owned(),
            arguments: arguments.into(),
            starts: 1,
        };
        node.find();
        node
    }

    /// Its name in the cluster.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where clients ask it.
    pub(super) fn port(&self) -> Port {
        self.port.clone()
    }

    /// Starts the process anew.
    pub(super) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// Starts the process anew, with more on its command line.
    pub(super) fn restart_with(&mut self, more: &[String]) {
        self.starts += 1;
        let arguments = [&self.arguments, more].concat();
        self.process = run(&self.name, self.starts, &self.above, &arguments);
        self.find();
    }

    /// Ends the process as a power failure would.
    pub(super) fn kill(&mut self) {
        self.process.kill();
        self.port.set(None);
    }

    /// Asks the process to end, and waits until it has.
    #[track_caller]
    pub(super) fn leave(&mut self) {
        let status = self.process.leave();
        self.port.set(None);
        assert!(status.success(), "{} handed over: {status}", self.name);
    }

    /// Lets no file of the process grow beyond so many bytes; `None` takes that back.
    pub(super) fn limit_files(&self, bytes: Option<u64>) {
        let pid = Some(Pid::from_child(self.process.child()));
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limit).expect("limit a process of our own");
    }

    /// Returns what each of its copies holds. The process has ended.
    pub(super) fn contents(&self) -> copies::Contents {
        copies::contents(&self.above.join(&self.name))
    }

    /// Where its copies are, each in a directory by the name of its shard.
    pub(super) fn copies(&self) -> PathBuf {
        self.above.join(&self.name).join("shards/main")
    }

    /// Learns where the process is reached.
    fn find(&mut self) {
        let process = self.process.child().id();
        self.links.know(process, self.index);
        let url = self.process.says("listening on http://");
        let address: SocketAddr = url.trim_end_matches('/').parse().expect("an address");
        let peers = until("the node listens for others", || {
            let mut ports = listening(process);
            ports.remove(&address.port());
            ports.pop_first()
        });
        self.way.lead_to(address);
        self.peers
            .lead_to(SocketAddr::from(([127, 0, 0, 1], peers)));
        self.port.set(Some(address));
    }
}

fn run(name: &str, start: u32, above: &Path, arguments: &[String]) -> Process {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::start(&format!("{name}-{start}"), above, shardwright(), &arguments)
}
