//! `demo`.

use crate::command::run;
use crate::fixture::{Fixture, ask};

#[test]
fn every_answer_equals_one_sqlite_file_and_the_database_is_kept_on_request() {
    let fixture = Fixture::new();
    let kept = fixture.arg("flights");
    let text = run(["demo", "--keep", &kept]).success();
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
        let text = run(["demo", "--shards", shards]).success();
        assert!(text.contains("6 of 6 answers equal"), "{text}");
    }
}
