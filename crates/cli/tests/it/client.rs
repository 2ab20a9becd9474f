//! Commands that ask coordinators, against servers that answer as told.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use crate::command::{binary, finished, run};

/// A server that gives this status and body to every request, and its URL. Nothing is assigned where it succeeds.
pub(crate) fn server(status: &'static str, body: &'static str) -> String {
    server_of(vec![(status, body)])
}

/// A server that answers one request after the other like this, and the rest as the last one.
pub(crate) fn server_of(answers: Vec<(&'static str, &'static str)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    thread::spawn(move || {
        let last = *answers.last().expect("an answer");
        let answers = answers.into_iter().chain(std::iter::repeat(last));
        for (stream, (status, body)) in listener.incoming().flatten().zip(answers) {
            answer(stream, status, body);
        }
    });
    format!("http://{address}")
}

/// A server that refuses one request with this body, its URL, and what gives the body of the request.
pub(crate) fn listener(body: &'static str) -> (String, impl FnOnce() -> String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let asked = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a request");
        answer(stream, "409 Conflict", body)
    });
    let asked = move || asked.join().expect("it was asked");
    (format!("http://{address}"), asked)
}

/// Answers one request, and returns its body.
fn answer(mut stream: TcpStream, status: &str, body: &str) -> String {
    let mut reader = BufReader::new(stream.try_clone().expect("clone a socket"));
    let mut length = 0;
    let mut body = body;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).expect("read a request") == 0 || line == "\r\n" {
            break;
        }
        if line.starts_with("GET /api/v1/assignments") && status.starts_with("200") {
            body = "[]";
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut sent = vec![0; length];
    reader.read_exact(&mut sent).expect("read a body");
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // The client may be gone.
    let _sent = stream.write_all(answer.as_bytes());
    String::from_utf8_lossy(&sent).into_owned()
}

/// A URL at which nothing listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("a bound socket"))
}

const NODES: &str = r#"[{"id":"w1","address":"http://127.0.0.1:9090","role":"primary","state":"up","zone":null,"region":"eu","weight":100,"shards":3}]"#;

#[test]
fn the_next_coordinator_is_asked_where_one_is_down() {
    let up = server("200 OK", NODES);
    let behind = server(
        "503 Service Unavailable",
        r#"{"error":{"code":"NO_LEADER","message":"nobody leads","retryable":true}}"#,
    );
    let coordinators = format!("{},{behind},{up}", nobody());
    let out = run(["node", "list", "--coordinator", &coordinators]).success();
    assert!(out.contains("│ w1 ┆ up"), "{out}");
    let out = run(["node", "list", "-o", "json", "--coordinator", &coordinators]).success();
    let listed: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let expected: serde_json::Value = serde_json::from_str(NODES).expect("JSON");
    assert_eq!(listed, expected);
}

#[test]
fn nobody_at_all_is_an_error() {
    let err = run(["node", "list", "--coordinator", &nobody()]).failure(1);
    assert!(err.contains("error[UNREACHABLE]"), "{err}");
}

#[test]
fn a_refusal_exits_with_3_and_says_why() {
    let body =
        r#"{"error":{"code":"LAST_NODE","message":"w1 is the only node","hint":"start another"}}"#;
    let url = server("409 Conflict", body);
    let err = run(["node", "drain", "w1", "--coordinator", &url]).failure(3);
    assert_eq!(
        err,
        "error[LAST_NODE]: w1 is the only node\nhint: start another\n"
    );
}

#[test]
fn time_that_runs_out_exits_with_4() {
    // It accepts the connection, as the system does for a process that is stopped, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("a bound socket"));
    let asked = ["--coordinator", &url, "--timeout", "100ms"];
    let err = run(["node", "list"].iter().chain(&asked)).failure(4);
    assert!(err.contains("error[TIMED_OUT]"), "{err}");
    let err = run(["node", "drain", "w1"].iter().chain(&asked)).failure(4);
    assert!(err.contains("error[INDETERMINATE]"), "{err}");

    let body = r#"{"error":{"code":"INDETERMINATE","message":"it may have happened"}}"#;
    let url = server("504 Gateway Timeout", body);
    run(["node", "drain", "w1", "--coordinator", &url]).failure(4);
}

#[test]
fn the_token_goes_to_no_proxy_of_the_environment() {
    let url = server("200 OK", NODES);
    let proxy = nobody();
    let mut asking = binary();
    asking.args(["node", "list", "--coordinator", &url]);
    asking.envs([("HTTP_PROXY", &proxy), ("http_proxy", &proxy)]);
    asking.envs([("NO_PROXY", ""), ("no_proxy", "")]);
    finished(&asking.output().expect("start shardwright")).success();
}

#[test]
fn a_node_is_removed_without_waiting_for_it() {
    // It is still listed.
    let url = server("200 OK", NODES);
    let asked = ["node", "remove", "w1", "--coordinator", &url];
    let out = run(asked).success();
    assert!(out.contains("w1 is being forgotten"), "{out}");
    let waited = run(asked.iter().chain(&["--wait", "--within", "1ms"]));
    assert_eq!(waited.code, Some(4), "{waited:?}");
}

#[test]
fn a_statement_that_has_happened_on_some_shards_is_sent_again() {
    const PARTIAL: &str = r#"{"error":{"code":"PARTIAL_WRITE","message":"on shard-0, not on shard-1","retryable":false}}"#;
    const DONE: &str = r#"{"columns":[],"rows":[],"changes":2,"shards":["shard-0","shard-1"]}"#;
    let conflict = ("409 Conflict", PARTIAL);
    let url = server_of(vec![conflict, conflict, ("200 OK", DONE)]);
    let insert = ["--best-effort", "-e", "INSERT INTO t VALUES (1), (2)"];
    let out = run(["sql", "--node", &url, "-o", "json"].iter().chain(&insert)).success();
    assert!(out.contains("\"changes\": 2"), "{out}");
    // What one of the shards refuses stays refused.
    let url = server_of(vec![conflict]);
    let err = run(["sql", "--node", &url].iter().chain(&insert)).failure(1);
    assert!(err.contains("error[PARTIAL_WRITE]"), "{err}");
}

#[test]
fn a_statement_has_more_time_at_the_next_attempt_while_there_is_some() {
    const LATE: &str =
        r#"{"error":{"code":"OUT_OF_TIME","message":"it took too long","retryable":true}}"#;
    const ONE: &str = r#"{"columns":["a"],"rows":[[41]],"changes":0,"shards":["shard-0"]}"#;
    let late = server("503 Service Unavailable", LATE);
    let nodes = format!("{late},{}", server("200 OK", ONE));
    let select = ["-e", "SELECT 41"];
    let out = run(["sql", "--node", &nodes].iter().chain(&select)).success();
    assert!(out.contains("41"), "{out}");
    let asked = ["sql", "--node", &late, "--timeout", "100ms"];
    let err = run(asked.iter().chain(&select)).failure(4);
    assert!(err.contains("error[OUT_OF_TIME]"), "{err}");
}

#[test]
fn a_request_that_no_node_takes_is_called_too_large() {
    let url = server("413 Payload Too Large", "length limit exceeded");
    let err = run(["sql", "--node", &url, "-e", "SELECT 1"]).failure(1);
    assert!(err.contains("error[TOO_LARGE]"), "{err}");
}

#[test]
fn another_server_is_no_coordinator() {
    let url = server("200 OK", "<html>");
    let err = run(["node", "list", "--coordinator", &url]).failure(1);
    assert!(err.contains("error[NO_COORDINATOR]"), "{err}");
    let url = server("404 Not Found", "<html>");
    let err = run(["node", "list", "--coordinator", &url]).failure(1);
    assert!(err.contains("error[NO_COORDINATOR]"), "{err}");
}

#[test]
fn a_setting_that_is_wrong_names_its_source() {
    let err = run(["node", "list", "--coordinator", "ftp://x"]).failure(2);
    assert!(
        err.starts_with("error[SETTING]: coordinator = \"ftp://x\" from --coordinator: "),
        "{err}"
    );
}

#[test]
fn a_plan_is_shown_with_what_no_move_can_mend() {
    const PLAN: &str = r#"{"moves":[{"keyspace":"main","shard":"s1","kind":"move","reason":"overloaded","from":"w1","to":"w2"}],
        "under_replicated":[{"keyspace":"main","shard":"s2","has":1,"wants":3}],
        "crowded":[{"keyspace":"main","shard":"s3","has":1,"wants":2}],
        "stuck":[{"keyspace":"main","shard":"s4","node":"w4"}],
        "refused":{"code":"UNKNOWN_NODE","node":"w5"},"moving":0,"later":[1]}"#;
    let url = server("200 OK", PLAN);
    let out = run(["rebalance", "plan", "--coordinator", &url]).success();
    for cells in [
        "main     ┆ s1    ┆ move    ┆ w1   ┆ w2   ┆ overloaded",
        "main     ┆ s2    ┆ nothing ┆ NULL ┆ NULL ┆ 1 of 3 copies",
        "main     ┆ s3    ┆ nothing ┆ NULL ┆ NULL ┆ 1 of 2 zones",
        "main     ┆ s4    ┆ nothing ┆ w4   ┆ NULL ┆ it is to leave",
        "NULL     ┆ NULL  ┆ nothing ┆ w5   ┆ NULL ┆ the sharder would not plan: UNKNOWN_NODE",
    ] {
        assert!(out.contains(cells), "no {cells:?} in\n{out}");
    }
    // A program gets what came, also what this release knows nothing of.
    let out = run(["rebalance", "plan", "-o", "json", "--coordinator", &url]).success();
    let shown: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let came: serde_json::Value = serde_json::from_str(PLAN).expect("JSON");
    assert_eq!(shown, came);
}

#[cfg(unix)]
#[test]
fn a_token_is_read_by_one_rule() {
    use std::{fs, os::unix::fs::PermissionsExt as _};
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("token");
    let file = path.to_str().expect("temporary paths are UTF-8");
    let up = server("200 OK", NODES);
    for (text, mode, failure) in [
        ("a-token-of-some-length\n", 0o644, Some("has mode 0644")),
        ("short\n", 0o600, Some("16 to 4096 visible")),
        ("a-token-of-some-length\n", 0o600, None),
    ] {
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        let client = run(["node", "list", "--coordinator", &up, "--token-file", file]);
        let Some(failure) = failure else {
            client.success();
            continue;
        };
        let process = run(["worker", "--coordinator", &up, "--token-file", file]);
        for refused in [client, process] {
            let err = refused.failure(1);
            assert!(
                err.contains("error[TOKEN_FILE]") && err.contains(failure),
                "{err}"
            );
        }
    }
}

#[test]
fn the_doctor_waits_for_nats_no_longer_than_it_is_told() {
    // It accepts the connection, as the system does for a process that is stopped, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let registry = format!("nats://{}", silent.local_addr().expect("a bound socket"));
    let asked = [
        "--coordinator",
        &nobody(),
        "--timeout",
        "100ms",
        "-o",
        "json",
    ];
    let doctor = run(["doctor", "--registry", &registry].iter().chain(&asked));
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    let found: serde_json::Value = serde_json::from_str(&doctor.out).expect("JSON");
    assert_eq!(found[1]["check"], "registry");
    assert_eq!(
        found[1]["found"],
        "no answer within 100ms: deadline has elapsed"
    );
}

/// How the balance stands, with what holds.
const BALANCE: &str = r#"{"automatic":"dry-run","interval_seconds":60,"rules":{"lasting_seconds":30.0,"cool_down_seconds":600.0,
    "rest_seconds":300.0,"shards_min":8,"split":{"bytes":10737418240,"rows":20000000,"requests_per_second":10000.0,"cpu":0.8,"rows_min":100},
    "merge":{"bytes":1073741824,"rows_max":10000000,"requests_per_second":1000.0,"cpu":0.3}},"pins":["shard-0"],"execution":null}"#;

#[test]
fn what_the_leader_does_by_itself_is_shown_with_the_rules_that_hold() {
    for words in [
        &["rebalance", "auto", "status"][..],
        &["rebalance", "status"],
    ] {
        let url = server("200 OK", BALANCE);
        let shown = run(words.iter().copied().chain(["--coordinator", &url])).success();
        for part in [
            "dry-run",
            "10,737,418,240 bytes, or 20,000,000 rows, or 10000 requests/s, or 80 % of a processor; with 100 rows or more",
            "1,073,741,824 bytes, and 1000 requests/s, and 30 % of a processor; up to 10,000,000 rows, down to 8 shards",
            "30 s; 600 s after a split or a merge, 300 s after a move",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }
}

#[test]
fn thresholds_that_contradict_each_other_start_no_coordinator() {
    let start = [
        "coordinator",
        "--registry",
        "memory:",
        "--listen",
        "127.0.0.1:0",
    ];
    let err = run(start.iter().copied().chain(["--merge-bytes", "10GiB"])).failure(2);
    assert_eq!(
        err,
        "error[SETTING]: merge-bytes = \"10GiB\" from --merge-bytes: it has to be above 0 and below split-bytes = \"10GiB\": \
         what is merged would be split again\n"
    );
    let started = binary()
        .args(start)
        .env("SHARDWRIGHT_SPLIT_REQUESTS", "500")
        .output();
    let err = finished(&started.expect("it starts")).failure(2);
    assert!(err.contains("below split-requests = \"500\""), "{err}");
    let help = run(["coordinator", "--help"]).success();
    for setting in ["--auto <MODE>", "--split-rows <N>", "SHARDWRIGHT_MERGE_CPU"] {
        assert!(help.contains(setting), "{help}");
    }
    assert!(help.contains("What the leader does by itself:"), "{help}");
}
