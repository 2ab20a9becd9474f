//! Callers with tokens of their own: what each role may do.

#![cfg(unix)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
};

use crate::{command::run, fixture::Fixture, running::Running};

const ADMIN: &str = "a-secret-of-the-cluster";

const READER: &str = "a-secret-of-a-report";

const WRITER: &str = "a-secret-of-an-application";

fn token_file(fixture: &Fixture, name: &str, text: &str) -> String {
    let path = fixture.path(name);
    fs::write(&path, text).expect("it is written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    fixture.arg(name)
}

/// The status of the answer to a request with a token.
fn post(address: &str, path: &str, token: &str, body: &str) -> u16 {
    let address = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.expect("a status")
}

#[test]
fn each_caller_may_do_what_its_role_says() {
    let fixture = Fixture::new();
    let all = format!("{ADMIN}\n# others\nread {READER}\nwrite {WRITER}\n");
    let admin = token_file(&fixture, "admin", &all);
    let reader = token_file(&fixture, "reader", READER);
    let writer = token_file(&fixture, "writer", &format!("{WRITER}\n"));
    let nobody = token_file(&fixture, "nobody", "a-secret-of-nobody-at-all");
    let registry = format!("sqlite:{}", fixture.arg("registry.db"));
    let shared = [
        "--registry",
        &registry,
        "--replication-factor",
        "1",
        "--token-file",
        &admin,
    ];
    let leads = [
        "coordinator",
        "--id",
        "c1",
        "--shards",
        "2",
        "--bootstrap-wait",
        "1s",
    ];
    let coordinator = Running::start(&[&leads[..], &shared].concat());
    let (data, shared) = (
        fixture.arg("n1"),
        ["--registry", &registry, "--token-file", &admin],
    );
    let node = Running::start(&[&["node", "--id", "n1", "--data", &data][..], &shared].concat());
    let (url, leader) = (node.url(), coordinator.url());
    let sql = |token: &str, sql: &str| {
        run([
            "sql",
            "--node",
            &url,
            "--token-file",
            token,
            "-o",
            "json",
            "-e",
            sql,
        ])
    };
    sql(&admin, "CREATE TABLE t(id INTEGER PRIMARY KEY)").success();
    sql(&writer, "INSERT INTO t VALUES (1)").success();
    assert!(sql(&reader, "SELECT id FROM t").success().contains("[[1]]"));
    for change in [
        "INSERT INTO t VALUES (2)",
        "UPDATE t SET id = 3",
        "WITH a AS (SELECT 1) DELETE FROM t",
        "DROP TABLE t",
        "PRAGMA user_version = 7",
    ] {
        let refused = sql(&reader, change).failure(1);
        assert!(refused.contains("error[FORBIDDEN]"), "{refused}");
    }
    let refused = sql(&nobody, "SELECT 1").failure(1);
    assert!(refused.contains("error[UNAUTHORIZED]"), "{refused}");

    // What is made together with a statement counts, too.
    let together = r#"{"sql": "SELECT 1", "together": [{"sql": "DROP TABLE t"}]}"#;
    assert_eq!(post(&url, "/v1/sql", READER, together), 403);
    let pipeline = r#"{"requests": [{"type": "execute", "stmt": {"sql": "SELECT 1"}}]}"#;
    assert_eq!(post(&url, "/v2/pipeline", READER, pipeline), 403);
    assert_eq!(post(&url, "/v2/pipeline", WRITER, pipeline), 200);
    for path in ["/shardwright/shards", "/v1/backup"] {
        for token in [READER, WRITER] {
            assert_eq!(post(&url, path, token, ""), 403, "{path}");
        }
    }
    assert_eq!(
        post(&url, "/shardz", WRITER, ""),
        401,
        "it is for coordinators"
    );

    let cluster = |token: &str, through: &str, what: &[&str]| {
        run([what, &["--coordinator", through, "--token-file", token]].concat())
    };
    // A node passes on what coordinators decide about.
    for through in [&leader, &url] {
        cluster(&reader, through, &["status"]).success();
    }
    for token in [&reader, &writer] {
        let refused = cluster(token, &leader, &["partition", "add", "p"]).failure(1);
        assert!(refused.contains("error[FORBIDDEN]"), "{refused}");
    }
    assert!(sql(&admin, "SELECT id FROM t").success().contains("[[1]]"));
}

#[test]
fn a_line_that_names_no_role_is_refused() {
    let fixture = Fixture::new();
    let file = token_file(&fixture, "bad", &format!("{ADMIN}\nroot {READER}\n"));
    let refused = run(["status", "--token-file", &file]).failure(1);
    assert!(refused.contains("line 2"), "{refused}");
}
