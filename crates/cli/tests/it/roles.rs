//! Callers with tokens of their own: what each role may do.

#![cfg(unix)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
};

use crate::{
    command::{Run, run},
    fixture::Fixture,
    running::Running,
};

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

/// A node, its coordinator, and the token files of callers.
struct Guarded {
    coordinator: Running,
    node: Running,
    admin: String,
    reader: String,
    writer: String,
    nobody: String,
    _fixture: Fixture,
}

impl Guarded {
    fn start() -> Self {
        let fixture = Fixture::new();
        let all = format!("{ADMIN}\n# others\nread {READER}\nwrite {WRITER}\n");
        let admin = token_file(&fixture, "admin", &all);
        let registry = format!("sqlite:{}", fixture.arg("registry.db"));
        let shared = ["--registry", &registry, "--token-file", &admin];
        let leads = ["coordinator", "--id", "c1", "--shards", "2"];
        let factor = ["--replication-factor", "1", "--bootstrap-wait", "1s"];
        let coordinator = Running::start(&[&leads[..], &factor, &shared].concat());
        let data = fixture.arg("n1");
        let serves = ["node", "--id", "n1", "--data", &data];
        let node = Running::start(&[&serves[..], &shared].concat());
        Self {
            coordinator,
            node,
            reader: token_file(&fixture, "reader", READER),
            writer: token_file(&fixture, "writer", &format!("{WRITER}\n")),
            nobody: token_file(&fixture, "nobody", "a-secret-of-nobody-at-all"),
            admin,
            _fixture: fixture,
        }
    }

    fn sql(&self, token: &str, sql: &str) -> Run {
        let url = self.node.url();
        let through = ["sql", "--node", &url, "--token-file", token];
        run([&through[..], &["-o", "json", "-e", sql]].concat())
    }
}

#[test]
fn each_caller_runs_the_statements_of_its_role() {
    let guarded = Guarded::start();
    let Guarded {
        admin,
        reader,
        writer,
        ..
    } = &guarded;
    guarded
        .sql(admin, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
        .success();
    guarded.sql(writer, "INSERT INTO t VALUES (1)").success();
    let read = guarded.sql(reader, "SELECT id FROM t").success();
    assert!(read.contains("[[1]]"), "{read}");
    for change in [
        "INSERT INTO t VALUES (2)",
        "UPDATE t SET id = 3",
        "WITH a AS (SELECT 1) DELETE FROM t",
        "DROP TABLE t",
        "PRAGMA user_version = 7",
    ] {
        let refused = guarded.sql(reader, change).failure(1);
        assert!(refused.contains("error[FORBIDDEN]"), "{refused}");
    }
    let refused = guarded.sql(&guarded.nobody, "SELECT 1").failure(1);
    assert!(refused.contains("error[UNAUTHORIZED]"), "{refused}");

    // What is made together with a statement counts, too.
    let url = guarded.node.url();
    let together = r#"{"sql": "SELECT 1", "together": [{"sql": "DROP TABLE t"}]}"#;
    assert_eq!(post(&url, "/v1/sql", READER, together), 403);
    let pipeline = r#"{"requests": [{"type": "execute", "stmt": {"sql": "SELECT 1"}}]}"#;
    assert_eq!(post(&url, "/v2/pipeline", READER, pipeline), 403);
    assert_eq!(post(&url, "/v2/pipeline", WRITER, pipeline), 200);
    let read = guarded.sql(admin, "SELECT id FROM t").success();
    assert!(read.contains("[[1]]"), "{read}");
}

#[test]
fn only_an_admin_changes_the_cluster() {
    let guarded = Guarded::start();
    let url = guarded.node.url();
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
    let leader = guarded.coordinator.url();
    let cluster = |token: &str, through: &str, what: &[&str]| {
        let shown = ["--coordinator", through, "--token-file", token];
        run([what, &shown].concat())
    };
    // A node passes on what coordinators decide about.
    for through in [&leader, &url] {
        cluster(&guarded.reader, through, &["status"]).success();
    }
    for token in [&guarded.reader, &guarded.writer] {
        let refused = cluster(token, &leader, &["partition", "add", "p"]).failure(1);
        assert!(refused.contains("error[FORBIDDEN]"), "{refused}");
    }
    let refused = cluster(&guarded.nobody, &leader, &["status"]).failure(1);
    assert!(refused.contains("error[UNAUTHORIZED]"), "{refused}");
}

#[test]
fn a_line_that_names_no_role_is_refused() {
    let fixture = Fixture::new();
    let file = token_file(&fixture, "bad", &format!("{ADMIN}\nroot {READER}\n"));
    let refused = run(["status", "--token-file", &file]).failure(1);
    assert!(refused.contains("line 2"), "{refused}");
}
