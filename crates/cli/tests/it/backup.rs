//! Backups of a cluster: made, checked, restored and removed by the command.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use crate::{
    command::run,
    fixture::{Fixture, ask},
    running::Running,
};

/// A cluster with some rows.
fn cluster(fixture: &Fixture, name: &str) -> Running {
    let dev = Running::dev(&fixture.arg(name), &["--nodes", "1"]);
    dev.sql("CREATE TABLE notes(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT)");
    dev.sql("CREATE TABLE codes(code TEXT PRIMARY KEY) /* shardwright: reference */");
    dev.sql("CREATE INDEX by_text ON notes(text)");
    let rows: Vec<String> = (1..=50).map(|id| format!("({id}, 'note {id}')")).collect();
    dev.sql(&format!("INSERT INTO notes VALUES {}", rows.join(", ")));
    dev.sql("INSERT INTO codes VALUES ('a'), ('b')");
    dev
}

const COUNTS: &str = "SELECT count(*), sum(id), (SELECT count(*) FROM codes) FROM notes";

const COUNTED: &str = "[[50, 1275, 2]]";

#[test]
fn a_backup_is_restored_into_a_directory_and_into_a_cluster() {
    let fixture = Fixture::new();
    let (shelf, into) = (fixture.arg("backups"), fixture.arg("into"));
    let dev = cluster(&fixture, "one");
    let none = run(["backup", "verify", &fixture.arg(".")]).failure(1);
    assert!(none.contains("error[NO_BACKUP]"), "{none}");
    let create = ["backup", "create", &shelf, "--node", &dev.url()];
    run([&create[..], &["--name", "first"]].concat()).success();
    dev.sql("DELETE FROM notes WHERE id > 10");
    let again = run([&create[..], &["--name", "first"]].concat()).failure(3);
    assert!(again.contains("error[EXISTS]"), "{again}");
    run(create).success();

    let listed = run(["backup", "list", &shelf, "-o", "json"]).success();
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed.len(), 2);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["shards"]),
        (&"first".into(), &2.into())
    );
    assert!(listed.iter().all(|backup| backup["state"] == "complete"));
    run(["backup", "verify", &shelf]).success();
    run([
        "backup", "restore", &shelf, "--name", "first", "--into", &into,
    ])
    .success();
    assert!(ask(&into, COUNTS).contains(COUNTED));
    run([
        "sql",
        &into,
        "-e",
        "INSERT INTO notes(text) VALUES ('more')",
    ])
    .success();
    let filled = run(["backup", "restore", &shelf, "--into", &into]).failure(3);
    assert!(filled.contains("error[NOT_EMPTY]"), "{filled}");

    // Nothing that reads a backup writes to it.
    run(["backup", "verify", &shelf, "--name", "first"]).success();
    let whole = ["backup", "restore", &shelf, "--name", "first"];
    let filled = run([&whole[..], &["--node", &dev.url()]].concat()).failure(3);
    assert!(filled.contains("error[NOT_EMPTY]"), "{filled}");
    drop(dev);
    let other = ["--nodes", "1"];
    let other = Running::dev(&fixture.arg("other"), &other);
    let journal = fixture.arg("journal");
    let to = ["--node", &other.url(), "--journal", &journal];
    run([&whole[..], &to].concat()).success();
    assert!(other.sql(COUNTS).contains(COUNTED));
    let index = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    assert!(other.sql(index).contains("by_text"));

    let would = run(["backup", "prune", &shelf, "--keep", "1", "--dry-run"]).success();
    assert!(would.starts_with("first would be removed.\n"), "{would}");
    let pruned = run(["backup", "prune", &shelf, "--keep", "1"]).success();
    assert_eq!(pruned, "first is removed.\nWhat is left: 1 backup.\n");
    assert!(!fixture.path("backups").join("first").exists());
    run(["backup", "verify", &shelf]).success();
}

#[test]
fn what_is_damaged_is_refused_by_its_name() {
    let fixture = Fixture::new();
    let shelf = fixture.arg("backups");
    let dev = cluster(&fixture, "one");
    run([
        "backup",
        "create",
        &shelf,
        "--name",
        "b",
        "--node",
        &dev.url(),
    ])
    .success();
    drop(dev);
    let backup = fixture.path("backups").join("b");
    let refused = |what: &str| {
        for more in [
            &["verify", &shelf][..],
            &["restore", &shelf, "--into", &fixture.arg("x")],
        ] {
            let error = run([&["backup"][..], more].concat()).failure(3);
            assert!(
                error.contains("error[DAMAGED]") && error.contains(what),
                "{error}"
            );
            assert!(!fixture.path("x").exists());
        }
    };
    let names = ["shard-0.db", "shard-1.db", "catalog.db", "registry.db"];
    for name in names {
        let path = backup.join(name);
        let whole = fs::read(&path).expect("a file");
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        fs::write(&path, &flipped).expect("it is written");
        refused(name);
        fs::write(&path, &whole[..middle]).expect("it is written");
        refused(name);
        fs::remove_file(&path).expect("it is there");
        refused(name);
        fs::write(&path, &whole).expect("it is written");
    }
    fs::write(backup.join("stray"), "x").expect("it is written");
    refused("stray");
    fs::remove_file(backup.join("stray")).expect("it is there");
    run(["backup", "verify", &shelf]).success();

    let manifest = backup.join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("text");
    fs::write(&manifest, text.replace("\"main\"", "\"mine\"")).expect("it is written");
    let named = ["backup", "verify", &shelf, "--name", "b"];
    let error = run(named).failure(3);
    assert!(error.contains("manifest.json"), "{error}");
    fs::write(&manifest, text.replace("\"format\": 1", "\"format\": 99")).expect("it is written");
    let error = run(named).failure(1);
    assert!(error.contains("error[UNKNOWN_FORMAT]"), "{error}");
    fs::remove_file(&manifest).expect("it is there");
    let error = run(named).failure(1);
    assert!(error.contains("error[NO_BACKUP]"), "{error}");
    let listed = run(["backup", "list", &shelf]).success();
    assert!(listed.contains("unfinished"), "{listed}");
    let error = run(["backup", "verify", &shelf, "--name", "../b"]).failure(1);
    assert!(error.contains("error[USAGE]"), "{error}");
}

/// Answers one request like a node that dies in the middle of a backup.
fn dies_after(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = [0; 4096];
        let _read = stream.read(&mut request).expect("a request");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
            .expect("it reads");
        stream.write_all(&bytes).expect("it reads");
    });
    format!("http://{address}")
}

#[test]
fn what_a_node_does_not_end_is_no_backup() {
    let fixture = Fixture::new();
    let shelf = fixture.arg("backups");
    let head = r#"{"format":1,"release":"0.1.0","keyspace":"main","points":{},"outline":{"shards":
        [{"id":"shard-0","range":{"start":"0000000000000000","end":null}}],"number":1,
        "schema":{"objects":[],"declarations":{},"encoding":"UTF-8","user_version":0,"application_id":0}}}"#;
    let frame = |letter: u8, content: &[u8]| {
        let length = u32::try_from(content.len()).expect("short").to_le_bytes();
        [&[letter][..], &length, content].concat()
    };
    let head = frame(b'H', head.as_bytes());
    let file = frame(b'F', br#"{"place":"shard-0","bytes":3}"#);
    let bytes = frame(b'B', b"abc");
    let wrong = frame(b'E', br#"{"sha256":"00"}"#);
    let failed = frame(
        b'X',
        br#"{"code":"UNREACHABLE","message":"the primary has gone"}"#,
    );
    for (sent, exit, code) in [
        (vec![], 1, "BROKEN_OFF"),
        ([&head[..], &file].concat(), 1, "BROKEN_OFF"),
        ([&head[..], &file, &bytes].concat(), 1, "BROKEN_OFF"),
        ([&head[..], &file, &bytes, &wrong].concat(), 3, "DAMAGED"),
        (
            [&head[..], &file, &bytes, &failed].concat(),
            1,
            "UNREACHABLE",
        ),
        ([&head[..], &frame(b'Z', b"")].concat(), 1, "BROKEN_OFF"),
    ] {
        let node = dies_after(sent);
        let error = run(["backup", "create", &shelf, "--name", "b", "--node", &node]).failure(exit);
        assert!(error.contains(&format!("error[{code}]")), "{error}");
        let left = fs::read_dir(fixture.path("backups")).map(Iterator::count);
        assert!(left.is_err() || left.is_ok_and(|left| left == 0), "{error}");
    }
}
