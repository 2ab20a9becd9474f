//! Workers as processes: what they answer about themselves, and how they end.

use std::{
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdout, Stdio},
};

use crate::command::{binary, run};

/// How often something is asked for that is about to come.
const ANSWERS_MAX: usize = 10_000;

/// A process that serves until the test is over.
#[derive(Debug)]
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it listens, as `HOST:PORT`.
    address: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
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
    fn coordinator() -> Self {
        let registry = ["--registry", "memory:", "--shards", "0"];
        let timing = ["--check-interval", "200ms", "--heartbeat-timeout", "20s"];
        Self::start(&[&["coordinator"][..], &registry, &timing].concat())
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has the coordinator take in a partition.
    fn add_partition(&self, name: &str) {
        run(["partition", "add", name, "--coordinator", &self.url()]).success();
    }

    /// The status and the body of the answer at `path`.
    fn get(&self, path: &str) -> (u16, String) {
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

#[test]
fn a_worker_is_ready_while_its_lease_holds() {
    let coordinator = Running::coordinator();
    let mut worker = Running::start(&["worker", "--id", "w1", "--coordinator", &coordinator.url()]);
    coordinator.add_partition("p1");
    let served = worker.lines.next().expect("a line").expect("text");
    assert_eq!(served, "serve p1 e1 primary");
    assert_eq!(worker.get("/readyz").0, 200);
    // The line is out a moment before the worker counts the shard.
    let mut answers = (0..ANSWERS_MAX).map(|_| worker.get("/readyz").1);
    let counted = answers.any(|body| body == r#"{"id":"w1","serving":1}"#);
    assert!(counted, "what is served is counted");
    let (_, metrics) = worker.get("/metrics");
    assert!(
        metrics.contains("shardwright_worker_leased 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("shardwright_worker_serving 1\n"),
        "{metrics}"
    );
}

#[test]
fn a_worker_that_nobody_has_registered_is_not_ready() {
    let worker = Running::start(&[
        "worker",
        "--id",
        "w1",
        "--coordinator",
        "http://127.0.0.1:1",
    ]);
    let (status, body) = worker.get("/readyz");
    assert_eq!((status, body.as_str()), (503, r#"{"id":"w1","serving":0}"#));
    assert_eq!(worker.get("/livez").0, 200);
    let (_, metrics) = worker.get("/metrics");
    assert!(
        metrics.contains("shardwright_worker_leased 0\n"),
        "{metrics}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_whose_audit_log_cannot_be_written_ends_and_serves_nothing() {
    let coordinator = Running::coordinator();
    coordinator.add_partition("p1");
    let output = binary()
        .args(["worker", "--coordinator", &coordinator.url()])
        .args(["--record", "/dev/full", "--log", "off"])
        .output()
        .expect("run shardwright");
    let run = crate::command::finished(&output);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.err.starts_with("error[IO]: write the audit log: "),
        "{run:?}"
    );
    assert!(!run.out.contains("serve"), "{run:?}");
}
