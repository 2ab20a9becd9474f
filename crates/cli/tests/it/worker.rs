//! Workers as processes: what they answer about themselves, and how they end.

use crate::{command::binary, running::Running};

/// How often something is asked for that is about to come.
const ANSWERS_MAX: usize = 10_000;

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
