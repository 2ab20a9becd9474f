//! Three nodes of one log, with clients, and the judgement of what they were answered.

use std::{collections::BTreeMap, net::SocketAddr, sync::MutexGuard, time::Duration};

use shardwright::topology::NodeId;
use shardwright_testkit::{history::judge_appends, until};
use tempfile::TempDir;

use super::{
    clients::Clients,
    configurer::Configurer,
    node::{Node, Status},
};
use crate::processes::{
    proxy::{Network, Proxy},
    turn,
};

const NODES: usize = 3;

/// How soon a node answers that is asked again and again.
const SOON: Duration = Duration::from_secs(1);

/// A running log. Every link between two nodes can be cut, each direction by itself.
#[derive(Debug)]
pub(crate) struct LogCluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Clients,
    configurer: Configurer,
    /// What flows from the first node to the second.
    links: BTreeMap<(usize, usize), Network>,
    _directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl LogCluster {
    /// Three nodes that one leads, four clients that write and two that read.
    pub(crate) fn start() -> Self {
        let turn = turn();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let links: BTreeMap<(usize, usize), Network> =
            pairs().map(|pair| (pair, Network::default())).collect();
        let ways = pairs().map(|(from, to)| {
            let way = Proxy::between(&links[&(from, to)], &links[&(to, from)]);
            ((from, to), way)
        });
        let mut ways: BTreeMap<(usize, usize), Proxy> = ways.collect();
        let peers = |node: usize| -> Vec<(String, SocketAddr)> {
            let own = (name(node), SocketAddr::from(([127, 0, 0, 1], 1)));
            let others = others(node).map(|other| (name(other), ways[&(node, other)].address()));
            std::iter::once(own).chain(others).collect()
        };
        let peers: Vec<_> = (0..NODES).map(peers).collect();
        let nodes = peers.iter().enumerate().map(|(node, peers)| {
            let others = others(node);
            let ways = others
                .filter_map(|other| ways.remove(&(other, node)))
                .collect();
            Node::start(&name(node), directory.path(), peers, ways)
        });
        let nodes: Vec<Node> = nodes.collect();
        let ports = nodes.iter().map(Node::port).collect();
        let by_node = nodes
            .iter()
            .enumerate()
            .map(|(at, node)| (node_id(at), node.port()));
        let cluster = Self {
            configurer: Configurer::start(directory.path(), by_node.collect()),
            clients: Clients::start(ports, 4),
            nodes,
            links,
            _directory: directory,
            _turn: turn,
        };
        cluster.wait_for_progress();
        cluster
    }

    /// What a node says of itself.
    #[track_caller]
    pub(crate) fn status(&self, node: usize) -> Status {
        let what = format!("{} says how it is", name(node));
        until(&what, || self.nodes[node].port().status(SOON))
    }

    /// The node that leads at the highest epoch.
    #[track_caller]
    pub(crate) fn primary(&self) -> usize {
        until("a node leads", || {
            let statuses = (0..NODES).map(|node| (node, self.nodes[node].port().status(SOON)));
            let leads = statuses.filter_map(|(node, status)| Some((status?.number("leads"), node)));
            let (epoch, node) = leads.max()?;
            (epoch > 0).then_some(node)
        })
    }

    /// Waits until another hundred appends are acknowledged, and a few reads answered.
    #[track_caller]
    pub(crate) fn wait_for_progress(&self) {
        let acknowledged = self.clients.acknowledged() + 100;
        let reads = self.clients.answered_reads() + 4;
        until("clients are served", || {
            let is_served = self.clients.acknowledged() >= acknowledged
                && self.clients.answered_reads() >= reads;
            is_served.then_some(())
        });
    }

    /// Waits until a node leads at a higher epoch than this.
    #[track_caller]
    pub(crate) fn wait_for_epoch_after(&self, epoch: u64) {
        until("another epoch begins", || {
            let ports = self.nodes.iter().map(Node::port);
            let mut statuses = ports.filter_map(|port| port.status(SOON));
            statuses
                .any(|status| status.number("leads") > epoch)
                .then_some(())
        });
    }

    /// Cuts what flows over these links, and nobody but the other nodes reaches `lost`.
    pub(crate) fn cut(&self, links: impl IntoIterator<Item = (usize, usize)>, lost: Option<usize>) {
        for link in links {
            self.links[&link].cut();
        }
        self.configurer.lose(lost.map(node_id));
    }

    /// Lets everything flow again.
    pub(crate) fn mend(&self) {
        self.links.values().for_each(Network::mend);
        self.configurer.lose([]);
    }

    /// Waits until all copies hold the same, and judges what the clients were answered. Ends everything.
    #[track_caller]
    pub(crate) fn finish(self) {
        self.wait_for_progress();
        let Self {
            nodes,
            clients,
            configurer,
            ..
        } = self;
        let notes = clients.stop();
        let ports: Vec<_> = nodes.iter().map(Node::port).collect();
        let log = until("all copies hold the same", || {
            let statuses = ports
                .iter()
                .map(|port| port.status(SOON))
                .collect::<Option<Vec<_>>>()?;
            let committed = statuses.iter().map(|status| status.number("commit")).max();
            let is_whole = |status: &Status| {
                status.runs()
                    && Some(status.number("applied")) == committed
                    && Some(status.number("last")) == committed
            };
            statuses.iter().all(is_whole).then_some(())?;
            let logs = ports
                .iter()
                .map(|port| port.connect(SOON).ok()?.values("local").ok()?);
            let logs = logs.collect::<Option<Vec<_>>>()?;
            logs.iter()
                .all(|log| *log == logs[0])
                .then(|| logs[0].clone())
        });
        drop(configurer);
        let violations = judge_appends(&log, &notes.appends, &notes.reads);
        let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
    }
}

/// Both directions between one node and all others.
pub(crate) fn links_of(node: usize) -> impl Iterator<Item = (usize, usize)> {
    pairs().filter(move |(from, to)| *from == node || *to == node)
}

/// All nodes but one.
pub(crate) fn others(node: usize) -> impl Iterator<Item = usize> {
    (0..NODES).filter(move |other| *other != node)
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..NODES).flat_map(|from| others(from).map(move |to| (from, to)))
}

fn name(node: usize) -> String {
    format!("n{}", node + 1)
}

fn node_id(node: usize) -> NodeId {
    NodeId::new(name(node)).expect("a name")
}
