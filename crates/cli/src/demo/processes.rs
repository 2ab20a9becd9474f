//! A coordinator and three nodes, each a process of this executable on loopback, in a temporary directory.

use std::{
    env,
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{
    client::{Client, NodeUrl, Patience, Shard, SqlClient},
    failure::Failure,
    settings,
};

/// How many nodes there are.
pub(crate) const NODES: usize = 3;

/// How many shards they keep; fewer than in the files, so that the demo is short.
const SHARDS: &str = "4";

/// How long after its last sign of life a process counts as down.
const HEARTBEAT_TIMEOUT: &str = "1s";

/// How often a node is asked for one.
const CHECK_INTERVAL: &str = "250ms";

/// How long the cluster may take for a statement, its start included.
const STATEMENT: Duration = Duration::from_secs(60);

/// How long one node is waited for before another one is asked.
const ATTEMPT: Duration = Duration::from_secs(2);

/// The running processes. They end with this value, however the demo ends.
pub(crate) struct Processes {
    coordinator: Running,
    nodes: Vec<Running>,
    directory: TempDir,
}

/// A process and where it listens.
struct Running {
    name: String,
    url: NodeUrl,
    child: Child,
    /// Kept open: a process that cannot print ends.
    _out: BufReader<ChildStdout>,
}

impl Processes {
    /// Starts them.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("make a temporary directory")?;
        let path = directory.path();
        let coordinator = [
            "--shards",
            SHARDS,
            "--check-interval",
            CHECK_INTERVAL,
            "--bootstrap-wait",
            "30s",
        ];
        let coordinator = Running::start(path, "coordinator", "c1", &coordinator)?;
        let mut nodes = Vec::new();
        for number in 1..=NODES {
            nodes.push(start_node(path, number)?);
        }
        Ok(Self {
            coordinator,
            nodes,
            directory,
        })
    }

    /// Starts one more node, and returns its name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn add_node(&mut self) -> anyhow::Result<String> {
        let node = start_node(self.directory.path(), NODES + 1)?;
        let name = node.name.clone();
        self.nodes.push(node);
        Ok(name)
    }

    /// The directory in which everything of theirs is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A client that asks every node that runs.
    pub(crate) fn client(&self) -> anyhow::Result<SqlClient> {
        SqlClient::new(self.urls(), None, patience())
    }

    /// A client under a name, which asks every node that runs.
    pub(crate) fn client_named(&self, name: &str) -> anyhow::Result<SqlClient> {
        SqlClient::named(self.urls(), None, patience(), name.to_owned())
    }

    /// A client of the coordinator.
    pub(crate) fn coordinator(&self) -> anyhow::Result<Client> {
        let NodeUrl(url) = &self.coordinator.url;
        Client::at(vec![url.clone()], None, STATEMENT)
    }

    fn urls(&self) -> Vec<NodeUrl> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    /// Kills the node that is the primary of most shards, as a crash does. Returns its name, and of how many it is the primary.
    ///
    /// # Errors
    /// When the coordinator does not say who that is.
    pub(crate) fn kill_a_primary(&mut self) -> anyhow::Result<(String, usize)> {
        let client = self.coordinator()?;
        let shards: Vec<Shard> = client.get("/api/v1/shards")?;
        let led = |name: &str| {
            let primaries = shards.iter().map(|shard| shard.primary.as_deref());
            primaries.filter(|primary| *primary == Some(name)).count()
        };
        let nodes = self.nodes.iter().enumerate();
        let most = nodes.max_by_key(|(_, node)| led(&node.name));
        let (index, _) = most.context("choose a node")?;
        let mut node = self.nodes.remove(index);
        node.child.kill().context("kill a node")?;
        node.child.wait().context("wait for the end of a node")?;
        Ok((node.name.clone(), led(&node.name)))
    }
}

fn start_node(directory: &Path, number: usize) -> anyhow::Result<Running> {
    let name = format!("n{number}");
    let data = directory.join(&name).display().to_string();
    Running::start(directory, "node", &name, &["--data", &data])
}

fn patience() -> Patience {
    Patience {
        statement: STATEMENT,
        attempt: ATTEMPT,
    }
}

impl Running {
    /// Starts a process, and waits until it says where it listens.
    fn start(
        directory: &Path,
        command: &str,
        name: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let mut process = Command::new(env::current_exe().context("find this executable")?);
        for variable in settings::variables() {
            // The demo is the same whatever is set for other processes.
            process.env_remove(variable);
        }
        let registry = format!("sqlite:{}", directory.join("registry.db").display());
        process
            .args([command, "--id", name, "--registry", &registry])
            .args(["--listen", "127.0.0.1:0", "--log", "info"])
            .args(["--heartbeat-timeout", HEARTBEAT_TIMEOUT])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).context("make a log file")?);
        let mut child = process
            .spawn()
            .with_context(|| format!("start the process {name}"))?;
        let stdout = child.stdout.take().expect("because it is piped");
        let mut out = BufReader::new(stdout);
        let mut line = String::new();
        out.read_line(&mut line)
            .with_context(|| format!("hear from the process {name}"))?;
        let url = line.trim().strip_prefix("listening on ");
        let Some(url) = url.and_then(|url| url.parse().ok()) else {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            // It has ended, or is about to.
            let _ended = child.kill().and_then(|()| child.wait());
            let name = name.to_owned();
            let said = said.lines().last().unwrap_or_default().to_owned();
            return Err(Failure::NotStarted { name, said }.into());
        };
        Ok(Self {
            name: name.to_owned(),
            url,
            child,
            _out: out,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}
