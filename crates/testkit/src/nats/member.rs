//! One server process: its configuration, its start and end, and what it says of itself over HTTP.

use std::{
    fmt,
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::NatsServer;
use crate::Dependant;

/// One server, running or not.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) monitor: SocketAddr,
    client: SocketAddr,
    program: PathBuf,
    directory: PathBuf,
    process: Option<Dependant>,
}

/// How long a server that is alive takes to answer over HTTP.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What a system says of a port that another process has, in its log: Unix, and Windows.
const ADDRESS_TAKEN: [&str; 2] = [
    "address already in use",
    "Only one usage of each socket address",
];

/// A server that ended by itself.
#[derive(Debug)]
pub(super) struct Ended {
    name: String,
    status: ExitStatus,
    log: String,
}

impl Ended {
    /// Whether it ended because another process has one of its ports.
    pub(super) fn is_address_taken(&self) -> bool {
        ADDRESS_TAKEN.iter().any(|text| self.log.contains(text))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, status, log } = self;
        write!(f, "{name} ended: {status}\n{log}")
    }
}

/// Addresses for so many servers, which nobody has at the moment: of each server for clients, for HTTP and for other servers.
pub(super) fn free_addresses(servers: usize) -> Vec<SocketAddr> {
    // All at once, so that no port is handed out twice.
    let held: Vec<_> = (0..servers * 3).map(|_| free_port()).collect();
    held.iter().map(|(_, address)| *address).collect()
}

/// Writes the configuration files of servers that form a cluster if they are several.
pub(super) fn configure(
    server: &NatsServer,
    addresses: &[SocketAddr],
    directory: &Path,
    lines: &str,
    jetstream: &str,
) -> Vec<Member> {
    let routes: Vec<_> = addresses
        .chunks(3)
        .map(|each| format!("nats://{}", each[2]))
        .collect();
    let configure = |(number, ports): (usize, &[SocketAddr])| {
        let name = format!("n{number}");
        let directory = directory.join(&name);
        fs::create_dir(&directory).expect("create the directory of a server");
        let mut text = format!(
            "server_name: {name}\nlisten: {}\nhttp: {}\n{lines}\n\
             jetstream {{\n store_dir: {directory:?}\n max_file: 1G\n max_mem: 256M\n{jetstream}\n}}\n",
            ports[0], ports[1],
        );
        if routes.len() > 1 {
            text += &format!(
                "cluster {{\n name: test\n listen: {}\n routes: [{}]\n}}\n",
                ports[2],
                routes.join(", ")
            );
        }
        fs::write(directory.join("server.conf"), text).expect("write a configuration");
        Member {
            name,
            monitor: ports[1],
            client: ports[0],
            program: server.program.clone(),
            directory,
            process: None,
        }
    };
    addresses.chunks(3).enumerate().map(configure).collect()
}

fn free_port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

impl Member {
    pub(super) fn url(&self) -> String {
        format!("nats://{}", self.client)
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = self.directory.join("server.log");
        let mut options = File::options();
        let log = options.create(true).append(true).open(log);
        let log = log.expect("open the log of a server");
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.directory.join("server.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = Dependant::spawn(command.stderr(log));
        self.process = Some(process.expect("start a server"));
    }

    /// Ends it as a power failure would, also if it has ended by itself.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kill a process of our own");
        }
    }

    /// Fails if it was started and has ended by itself.
    pub(super) fn check_alive(&mut self) -> Result<(), Ended> {
        let process = self.process.as_mut().expect("the server was started");
        match process.status().expect("ask for the exit code") {
            None => Ok(()),
            Some(status) => Err(Ended {
                name: self.name.clone(),
                status,
                log: fs::read_to_string(self.directory.join("server.log")).unwrap_or_default(),
            }),
        }
    }

    /// Whether it takes clients, and knows the leader of a cluster of so many.
    pub(super) fn is_ready(&self, expected: usize) -> bool {
        let healthy = self
            .look("/healthz")
            .is_some_and(|health| health["status"] == "ok");
        if !healthy || TcpStream::connect_timeout(&self.client, ANSWER_MAX).is_err() {
            return false;
        }
        let Some(jetstream) = self.look("/jsz") else {
            return false;
        };
        let cluster = &jetstream["meta_cluster"];
        expected == 1 && cluster.is_null()
            || cluster["leader"]
                .as_str()
                .is_some_and(|leader| !leader.is_empty())
                && cluster["cluster_size"].as_u64() >= u64::try_from(expected).ok()
    }

    pub(super) fn leader_of(&self, stream: &str) -> Option<String> {
        let answer = self.look("/jsz?streams=true&config=true")?;
        let accounts = answer["account_details"].as_array()?;
        let streams = accounts
            .iter()
            .filter_map(|each| each["stream_detail"].as_array());
        let found = streams.flatten().find(|each| each["name"] == stream)?;
        let leader = found["cluster"]["leader"].as_str().unwrap_or(&self.name);
        (!leader.is_empty()).then(|| leader.to_owned())
    }

    /// What the server says over HTTP.
    fn look(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect_timeout(&self.monitor, ANSWER_MAX).ok()?;
        stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }
}
