//! The links between the processes of a cluster: each can be cut by itself, and in one direction.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use crate::processes::proxy::{Network, Proxy};

/// The state of a socket that listens, in the tables of Linux.
const LISTENS: &str = "0A";

/// What flows from one node to another. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Links(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    networks: BTreeMap<(usize, usize), Network>,
    /// The processes of the nodes.
    processes: BTreeMap<u32, usize>,
    /// Whether any link is cut, or was since they were last mended.
    is_any_cut: bool,
}

impl Links {
    /// Opens a port that leads to a node, over the link from whoever connects to it.
    pub(super) fn way_to(&self, node: usize) -> Proxy {
        let links = self.clone();
        Proxy::sorting(move |from| {
            // To look for the process behind a connection takes the system milliseconds, which no node would wait for on a cable.
            links.is_any_cut().then(|| match links.node_behind(from) {
                Some(origin) => (links.network(origin, node), links.network(node, origin)),
                None => (Network::default(), Network::default()),
            })
        })
    }

    /// Takes note that this process is that of a node.
    pub(super) fn know(&self, process: u32, node: usize) {
        let mut state = self.0.lock().expect("no holder panics");
        state.processes.insert(process, node);
    }

    /// Lets nothing through from one node to another.
    pub(super) fn cut(&self, from: usize, to: usize) {
        self.network(from, to).cut();
        self.0.lock().expect("no holder panics").is_any_cut = true;
    }

    /// Lets everything through again.
    pub(super) fn mend(&self) {
        let mut state = self.0.lock().expect("no holder panics");
        state.networks.values().for_each(Network::mend);
        state.is_any_cut = false;
    }

    fn is_any_cut(&self) -> bool {
        self.0.lock().expect("no holder panics").is_any_cut
    }

    fn network(&self, from: usize, to: usize) -> Network {
        let mut state = self.0.lock().expect("no holder panics");
        state.networks.entry((from, to)).or_default().clone()
    }

    /// The node whose process has the socket of this address; `None` if it is nobody's, or has gone.
    fn node_behind(&self, address: SocketAddr) -> Option<usize> {
        let processes = {
            let state = self.0.lock().expect("no holder panics");
            state.processes.clone()
        };
        let sockets = sockets();
        let socket = sockets
            .iter()
            .find(|socket| socket.port == address.port() && !socket.listens)?;
        let mut processes = processes.into_iter();
        processes.find_map(|(process, node)| {
            let has_it = files_of(process).contains(&socket.inode);
            has_it.then_some(node)
        })
    }
}

/// The ports at which a process listens.
pub(super) fn listening(process: u32) -> BTreeSet<u16> {
    let files = files_of(process);
    let sockets = sockets().into_iter();
    let own = sockets.filter(|socket| socket.listens && files.contains(&socket.inode));
    own.map(|socket| socket.port).collect()
}

/// An end of a connection, or of none yet.
#[derive(Debug)]
struct Socket {
    port: u16,
    inode: u64,
    listens: bool,
}

/// All sockets of IPv4.
fn sockets() -> Vec<Socket> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let socket = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = columns.get(1)?.split_once(':')?;
        Some(Socket {
            port: u16::from_str_radix(port, 16).ok()?,
            inode: columns.get(9)?.parse().ok()?,
            listens: *columns.get(3)? == LISTENS,
        })
    };
    // The first line names the columns. What is closed has no inode.
    let sockets = table.lines().skip(1).filter_map(socket);
    sockets.filter(|socket| socket.inode > 0).collect()
}

/// The inodes of the sockets of a process.
fn files_of(process: u32) -> BTreeSet<u64> {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return BTreeSet::new();
    };
    let inode = |target: &str| {
        target
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()
    };
    let targets = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok());
    targets
        .filter_map(|target| inode(target.to_str()?))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        process,
    };

    use super::*;

    #[test]
    fn it_is_known_who_listens_and_who_has_connected() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listening(process::id()).contains(&port));

        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let links = Links::default();
        let own = stream.local_addr().unwrap();
        assert_eq!(links.node_behind(own), None);
        links.know(process::id(), 2);
        assert_eq!(links.node_behind(own), Some(2));
    }
}
