//! Processes that serve, and what they answer.

use std::{
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdout, Stdio},
};

use crate::command::{binary, run};

/// A process that serves until the test is over.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
    /// Where it listens, as `HOST:PORT`.
    address: String,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = binary()
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--log", "warn"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("start shardwright");
        let stdout = child.stdout.take().expect("because it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().expect("it says where it listens");
        let first = first.expect("a line of text");
        let address = first.strip_prefix("listening on http://");
        let address = address.expect("an address").to_owned();
        Self {
            child,
            lines,
            address,
        }
    }

    /// A coordinator that soon notices a worker, and notices late that one is slow.
    pub(crate) fn coordinator() -> Self {
        let registry = ["--registry", "memory:", "--shards", "0"];
        let timing = ["--check-interval", "200ms", "--heartbeat-timeout", "20s"];
        Self::start(&[&["coordinator"][..], &registry, &timing].concat())
    }

    /// A whole cluster that keeps its data there, once every shard takes writes.
    pub(crate) fn dev(data: &str, more: &[&str]) -> Self {
        let arguments = ["dev", "--data", data, "--shards", "2"];
        let mut dev = Self::start(&[&arguments, more].concat());
        let ready = dev.lines.by_ref().find(|line| {
            let line = line.as_ref().expect("a line of text");
            line.starts_with("ready: ")
        });
        ready.expect("it becomes ready").expect("a line of text");
        dev
    }

    /// Runs a statement on it, and returns a line of JSON for each answer.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        run(["sql", "--node", &self.url(), "-o", "json", "-e", sql]).success()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has the coordinator take in a partition.
    pub(crate) fn add_partition(&self, name: &str) {
        run(["partition", "add", name, "--coordinator", &self.url()]).success();
    }

    /// The status and the body of the answer at `path`.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let host = &self.address;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.expect("a status"), body.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}
