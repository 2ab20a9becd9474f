//! An import that dies half-way continues or starts clean when it is run again.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;

use crate::command::{binary, run};
use crate::fixture::{Fixture, contents};

/// Some megabytes, so that there is time to die at several moments.
const LARGE: &str = "
    CREATE TABLE accounts (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE entries (
      id INTEGER PRIMARY KEY, account INTEGER REFERENCES accounts (id), filler TEXT
    );
    CREATE INDEX entries_by_account ON entries (account);
    CREATE TABLE log (line TEXT);
    INSERT INTO log VALUES ('opened'), ('opened'), ('closed');
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
      INSERT INTO accounts SELECT i, 'account ' || i FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
      INSERT INTO entries SELECT i, i % 2000 + 1, hex(zeroblob(50)) || i FROM n;
";

#[test]
fn an_import_killed_at_any_moment_can_be_run_again() {
    let fixture = Fixture::new();
    let source = fixture.create("large.db", LARGE);
    let bytes = fs::read(&source).unwrap();
    let expect = contents(&source);
    let mut killed = 0;
    for (moment, size) in [1, 100_000, 400_000, 1_000_000, 2_000_000, 3_500_000]
        .iter()
        .enumerate()
    {
        let into = fixture.path(&format!("into-{moment}"));
        killed += u32::from(kill_import_at(&fixture, &into, *size));
        assert_eq!(fs::read(&source).unwrap(), bytes, "the source is as it was");
        let again = fixture.arg(&format!("again-{moment}.db"));
        run(["export", into.to_str().unwrap(), &again]).success();
        assert_eq!(
            contents(Path::new(&again)),
            expect,
            "killed at {size} bytes"
        );
    }
    assert!(killed > 0, "imports were really killed half-way");
}

#[test]
fn an_import_killed_twice_can_be_run_again() {
    let fixture = Fixture::new();
    let source = fixture.create("large.db", LARGE);
    let into = fixture.path("into");
    let mut child = start_import(&fixture, &into);
    kill_at(&mut child, &into, 200_000);
    if kill_import_at(&fixture, &into, 1_500_000) {
        run(["export", into.to_str().unwrap(), &fixture.arg("again.db")]).success();
        assert_eq!(contents(&fixture.path("again.db")), contents(&source));
    }
}

/// Kills an import when the directory has this size and runs it again to its end. Returns whether
/// the import was killed and did not just end.
#[track_caller]
fn kill_import_at(fixture: &Fixture, into: &Path, size: u64) -> bool {
    let mut child = start_import(fixture, into);
    let killed = kill_at(&mut child, into, size);
    if killed {
        let name = into
            .file_name()
            .and_then(|name| name.to_str())
            .expect("it has a name");
        fixture.import("large.db", name, &[]).success();
    }
    killed
}

fn start_import(fixture: &Fixture, into: &Path) -> Child {
    binary()
        .args([
            "import",
            &fixture.arg("large.db"),
            "--shards",
            "4",
            "--into",
        ])
        .arg(into)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start an import")
}

/// Waits until the directory has this size, kills the child, and returns whether it was alive.
fn kill_at(child: &mut Child, directory: &Path, size: u64) -> bool {
    while child.try_wait().expect("ask after an import").is_none() {
        if size_of(directory) >= size {
            child.kill().expect("kill an import");
            return !child.wait().expect("wait for an import").success();
        }
        thread::yield_now();
    }
    false
}

/// The size of all files below the directory; 0 for what is not there (any more).
fn size_of(directory: &Path) -> u64 {
    let Ok(entries) = directory.read_dir() else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
