//! Disks that are full and directories that cannot be written.

use std::fs;

use crate::command::run;
use crate::fixture::Fixture;

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let fixture = Fixture::new();
    let before = fs::read(fixture.path("shop.db")).unwrap();
    let under_a_file = fixture.arg("shop.db/into");
    let arguments = [
        "import",
        &fixture.arg("shop.db"),
        "--into",
        &under_a_file,
        "--shards",
        "4",
    ];
    let error = run(arguments).failure(1);
    assert!(error.contains("shop.db"), "{error}");
    run(["demo", "--keep", &under_a_file]).failure(1);
    assert_eq!(fs::read(fixture.path("shop.db")).unwrap(), before);
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use crate::command::{Run, binary, finished, run};
    use crate::fixture::{Fixture, ask, contents, is_absent_or_empty};

    /// Runs the binary where no file can grow beyond this many kilobytes: a write beyond them fails
    /// as on a full disk.
    fn run_on_small_disk(kilobytes: u32, arguments: &[&str]) -> Run {
        let script = "trap '' XFSZ; ulimit -f $(($0 * 2)) && exec \"$@\"";
        let output = Command::new("sh")
            .args([
                "-c",
                script,
                &kilobytes.to_string(),
                env!("CARGO_BIN_EXE_shardwright"),
            ])
            .args(arguments)
            .output()
            .expect("start a shell");
        finished(&output)
    }

    #[test]
    fn an_import_onto_a_full_disk_fails_and_succeeds_with_more_space() {
        let fixture = Fixture::new();
        let source = fixture.create(
            "large.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, filler TEXT);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
               INSERT INTO t SELECT i, hex(zeroblob(100)) FROM n;",
        );
        let before = fs::read(&source).unwrap();
        let (file, into) = (fixture.arg("large.db"), fixture.arg("into"));
        let arguments = ["import", &file, "--into", &into, "--shards", "4"];
        run_on_small_disk(300, &arguments).failure(1);
        assert_eq!(fs::read(&source).unwrap(), before);

        run(arguments).success();
        run(["export", &into, &fixture.arg("again.db")]).success();
        assert_eq!(contents(&fixture.path("again.db")), contents(&source));
    }

    #[test]
    fn a_write_onto_a_full_disk_fails_and_changes_nothing() {
        let (_fixture, shop) = Fixture::imported();
        let sql = "INSERT INTO customers VALUES (1000, hex(zeroblob(3000000)), NULL)";
        run_on_small_disk(500, &["sql", &shop, "-e", sql]).failure(1);
        assert!(ask(&shop, "SELECT count(*) FROM customers").contains("[[40]]"));
        run(["sql", &shop, "-e", sql]).success();
        assert!(ask(&shop, "SELECT count(*) FROM customers").contains("[[41]]"));
    }

    #[test]
    fn a_read_only_directory_is_not_written() {
        let fixture = Fixture::new();
        let locked = fixture.path("locked");
        fs::create_dir(&locked).unwrap();
        fs::set_permissions(&locked, Permissions::from_mode(0o555)).unwrap();
        let is_bound = File::create(locked.join("probe")).is_err();
        let run = fixture.import("shop.db", "locked/into", &[]);
        fs::set_permissions(&locked, Permissions::from_mode(0o755)).unwrap();
        // Permissions do not bind a privileged user; then the import has to succeed.
        if is_bound {
            assert!(run.failure(1).contains("locked"));
            assert!(is_absent_or_empty(&locked));
        } else {
            run.success();
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_answer_that_cannot_be_written_is_an_error() {
        let (_fixture, shop) = Fixture::imported();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = binary()
            .args(["sql", &shop, "-e", "SELECT 1"])
            .stdout(full)
            .output()
            .expect("start shardwright");
        assert!(finished(&output).failure(1).starts_with("error[IO]"));
    }
}
