//! `shardwright hash`.

use crate::command::run;

#[track_caller]
fn check(arguments: &[&str], expect: &str) {
    let run = run([&["hash"], arguments].concat());
    assert_eq!(run.out, format!("{expect}\n"), "{}", run.err);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
}

#[test]
fn it_prints_the_index_alone() {
    check(&["tenant-123", "--shards", "10"], "3");
    check(&["tenant-123", "--shards", "1"], "0");
}

#[test]
fn ranges_cut_the_positions_into_equal_parts() {
    // The positions of these keys begin with 0x09 and 0xe3.
    check(&["tenant-123", "--shards", "4", "--ranges"], "0");
    check(&["", "--shards", "4", "--ranges"], "3");
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["hash", "key"][..],
        &["hash", "key", "--shards", "0"],
        &["hash", "key", "--shards", "many"],
        &["hash", "--shards", "4"],
        &["no-such-command"],
        &[],
    ] {
        let run = run(arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.err);
        assert_eq!(run.out, "", "{arguments:?}");
        assert!(run.err.contains("help"), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn help_is_printed_for_each_command() {
    let run = run(["hash", "--help"]);
    assert_eq!(run.code, Some(0));
    assert!(run.out.contains("Examples:"), "{}", run.out);
}
