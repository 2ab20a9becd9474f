//! A node of the log: its process, its directory, and the port where it is asked.

use std::{
    collections::BTreeMap,
    env, fs, io,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use escargot::CargoBuild;

use crate::processes::{process::Process, proxy::Proxy};

/// One node. Its directory stays when its process ends.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) process: Process,
    directory: PathBuf,
    arguments: Vec<String>,
    port: Port,
    /// Where each other node reaches this one.
    ways: Vec<Proxy>,
    starts: u32,
}

/// Where a node is asked: another address after each start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Port(Arc<Mutex<Option<SocketAddr>>>);

/// What a node says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Status(BTreeMap<String, String>);

/// The program of a node. `cargo xtask test` names the one that it has built; otherwise it is built here, once.
fn log_node() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match env::var_os("SHARDWRIGHT_TEST_LOG_NODE") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let built = CargoBuild::new()
        .package("shardwright-quorum")
        .example("log_node")
        .all_features()
        .current_release()
        .run();
    built.expect("build log_node").path().to_owned()
}

impl Node {
    /// Starts a node; `peers` says where it reaches the others, `ways` where they reach it.
    pub(crate) fn start(
        name: &str,
        directory: &Path,
        peers: &[(String, SocketAddr)],
        ways: Vec<Proxy>,
    ) -> Self {
        let own = directory.join(name);
        fs::create_dir_all(&own).expect("create a directory");
        let peers = peers.iter().map(|(name, at)| format!("{name}={at}"));
        let peers: Vec<String> = peers.collect();
        let registry = directory.join("registry.db");
        let arguments = [
            "--node".to_owned(),
            name.to_owned(),
            "--listen".to_owned(),
            "127.0.0.1:0".to_owned(),
            "--port".to_owned(),
            "127.0.0.1:0".to_owned(),
            "--peers".to_owned(),
            peers.join(","),
            "--registry".to_owned(),
            registry.display().to_string(),
            "--dir".to_owned(),
            own.display().to_string(),
            "--token".to_owned(),
            "correct-horse-battery-staple".to_owned(),
            "--lease-ms".to_owned(),
            "500".to_owned(),
        ];
        let (process, port) = (run(name, directory, &arguments, 0), Port::default());
        let mut node = Self {
            name: name.to_owned(),
            process,
            directory: own,
            arguments: arguments.into(),
            port,
            ways,
            starts: 1,
        };
        node.find();
        node
    }

    /// Starts the process anew.
    pub(crate) fn restart(&mut self) {
        let above = self.directory.parent().expect("it is in a directory");
        self.process = run(&self.name, above, &self.arguments, self.starts);
        self.starts += 1;
        self.find();
    }

    /// Learns where the process is reached.
    fn find(&mut self) {
        let listen = self.process.says("listening on ");
        let listen = listen.parse().expect("an address");
        self.ways.iter().for_each(|way| way.lead_to(listen));
        let port = self.process.says("commands on ");
        self.port.set(Some(port.parse().expect("an address")));
    }

    /// Ends the process as a power failure would.
    pub(crate) fn kill(&mut self) {
        self.port.set(None);
        self.process.kill();
    }

    /// Where it is asked.
    pub(crate) fn port(&self) -> Port {
        self.port.clone()
    }

    /// The files of its log, in the order of their names.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut directories = vec![self.directory.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).expect("list a directory") {
                let path = entry.expect("list a directory").path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "log") {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

fn run(name: &str, directory: &Path, arguments: &[String], starts: u32) -> Process {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::start(
        &format!("{name}-{starts}"),
        directory,
        log_node(),
        &arguments,
    )
}

impl Port {
    fn set(&self, address: Option<SocketAddr>) {
        *self.0.lock().expect("no holder panics") = address;
    }

    /// Connects; an answer may take so long.
    pub(crate) fn connect(&self, patience: Duration) -> io::Result<Connection> {
        let address = *self.0.lock().expect("no holder panics");
        let address = address.ok_or(io::ErrorKind::NotConnected)?;
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        let lines = BufReader::new(stream.try_clone()?);
        Ok(Connection { stream, lines })
    }

    /// Returns what the node says of itself; none if it does not answer soon.
    pub(crate) fn status(&self, patience: Duration) -> Option<Status> {
        let answer = self.connect(patience).ok()?.ask("status").ok()?;
        let pairs = answer.strip_prefix("ok ")?.split(' ');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        let fields = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Status(fields.collect()))
    }
}

/// A connection to the port of a node.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Connection {
    /// Sends a command, and returns the line that answers it.
    pub(crate) fn ask(&mut self, command: &str) -> io::Result<String> {
        self.stream.write_all(format!("{command}\n").as_bytes())?;
        self.line()
    }

    /// Reads the values of the log: `local` is what the node has, `read` with a level what is committed. None if it refuses.
    pub(crate) fn values(&mut self, command: &str) -> io::Result<Option<Vec<u64>>> {
        let head = self.ask(command)?;
        let Some(count) = head.strip_prefix("ok ") else {
            return Ok(None);
        };
        let count = count
            .split(' ')
            .next_back()
            .and_then(|count| count.parse().ok());
        let count: usize = count.expect("a count");
        let values = (0..count).map(|_| Ok(self.line()?.parse().expect("a value")));
        values.collect::<io::Result<_>>().map(Some)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Status {
    /// The text of a field.
    pub(crate) fn text(&self, field: &str) -> &str {
        let text = self.0.get(field);
        text.unwrap_or_else(|| panic!("a node says its {field}"))
    }

    /// The number in a field.
    pub(crate) fn number(&self, field: &str) -> u64 {
        self.text(field).parse().expect("a number")
    }

    /// Whether its copy takes part.
    pub(crate) fn runs(&self) -> bool {
        self.text("condition") == "Running"
    }
}
