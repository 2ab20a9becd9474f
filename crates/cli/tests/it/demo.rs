//! `demo`.

use crate::command::run;
use crate::fixture::{Fixture, ask};

#[test]
fn every_answer_equals_one_sqlite_file_and_the_database_is_kept_on_request() {
    let fixture = Fixture::new();
    let kept = fixture.arg("flights");
    let text = run(["demo", "--files-only", "--keep", &kept]).success();
    assert!(text.contains("6 of 6 answers equal"), "{text}");
    assert!(
        !text.contains('\u{1b}'),
        "no colour where there is no terminal"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert!(ask(&kept, "SELECT count(*) FROM flights").contains("[[27004]]"));

    let error = run(["demo", "--keep", &kept]).failure(3);
    assert!(error.contains("flights"), "{error}");
    assert!(ask(&kept, "SELECT count(*) FROM flights").contains("[[27004]]"));
}

#[test]
fn the_number_of_shards_changes_nothing() {
    for shards in ["1", "3"] {
        let text = run(["demo", "--files-only", "--shards", shards]).success();
        assert!(text.contains("6 of 6 answers equal"), "{text}");
    }
}

#[test]
fn a_killed_node_costs_nothing_that_was_acknowledged() {
    let text = run(["demo"]).success();
    assert!(
        text.contains("Asked of the nodes, 6 of 6 answers equal"),
        "{text}"
    );
    assert!(text.contains("acknowledged, every one is there."), "{text}");
    assert!(text.contains("The longest wait after the kill"), "{text}");
    for done in [
        "A shard is split in two",
        "the primary's copy of one half moves to it",
        "The two are merged again",
    ] {
        assert!(text.contains(done), "{text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[cfg(unix)]
mod unix {
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::thread;

    use crate::command::{binary, finished};
    use crate::fixture::{Fixture, is_absent_or_empty};

    /// Interrupts a demo as soon as it has made a shard file below `directory`.
    #[track_caller]
    fn interrupt(demo: &mut Command, directory: &Path) -> String {
        demo.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = demo.spawn().expect("start a demo");
        while !has_shard(directory) {
            let ended = child.try_wait().expect("ask after a demo");
            assert_eq!(ended, None, "the demo ended before it began");
            thread::yield_now();
        }
        let id = child.id().to_string();
        let sent = Command::new("kill")
            .args(["-INT", &id])
            .status()
            .expect("send a signal");
        assert!(sent.success());
        finished(&child.wait_with_output().expect("wait for a demo")).failure(130)
    }

    fn has_shard(directory: &Path) -> bool {
        let Ok(entries) = directory.read_dir() else {
            return false;
        };
        entries.flatten().any(|entry| {
            entry.file_name() == "shard-0.db" || (entry.path().is_dir() && has_shard(&entry.path()))
        })
    }

    #[test]
    fn a_demo_that_is_interrupted_leaves_nothing_behind() {
        let fixture = Fixture::new();
        let temporary = fixture.path("tmp");
        std::fs::create_dir(&temporary).unwrap();
        let error = interrupt(binary().arg("demo").env("TMPDIR", &temporary), &temporary);
        assert!(error.starts_with("error[INTERRUPTED]"), "{error}");
        assert!(
            is_absent_or_empty(&temporary),
            "the temporary directory is removed"
        );

        let kept = fixture.path("kept");
        interrupt(binary().args(["demo", "--keep"]).arg(&kept), &kept);
        assert!(!kept.exists(), "half a database is not kept");
    }
}
