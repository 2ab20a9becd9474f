//! Splits and merges from the command line, against servers that answer as told.

use crate::{
    client::{listener, server, server_of},
    command::run,
};

const PLANNED: &str = r#"{"id":"op-7","kind":"split","phase":"planned","sources":["shard-0"],"targets":["op-7.0","op-7.1"],
    "at":["2000000000000000"],"paused":false,"reason":"asked for","error":null,"progress":{"rows":0,"fraction":0.0}}"#;
const COPYING: &str = r#"{"id":"op-7","kind":"split","phase":"copying","sources":["shard-0"],"targets":["op-7.0","op-7.1"],
    "at":["2000000000000000"],"paused":true,"reason":"asked for","error":null,
    "progress":{"rows":1500,"rows_total":6000,"fraction":0.25,"eta_seconds":90,"lag":3}}"#;
const DONE: &str = r#"{"id":"op-7","kind":"split","phase":"done","sources":["shard-0"],"targets":["op-7.0","op-7.1"],
    "at":["2000000000000000"],"paused":false,"reason":"asked for","error":null,"progress":{"fraction":1.0}}"#;
const ABORTED: &str = r#"{"id":"op-7","kind":"split","phase":"aborted","sources":["shard-0"],"targets":["op-7.0","op-7.1"],
    "at":["2000000000000000"],"paused":false,"reason":"asked for","error":"cancelled","progress":{"fraction":null}}"#;
const NO_LEADER: &str =
    r#"{"error":{"code":"NO_LEADER","message":"nobody leads","retryable":true}}"#;

#[test]
fn a_split_is_followed_to_its_end_across_an_election() {
    let answers = || {
        server_of(vec![
            ("202 Accepted", PLANNED),
            ("200 OK", COPYING),
            ("503 Service Unavailable", NO_LEADER),
            ("200 OK", COPYING),
            ("200 OK", DONE),
        ])
    };
    let split = ["shard", "split", "shard-0", "--wait", "--coordinator"];
    let said = run(split.into_iter().chain([answers().as_str()])).success();
    assert_eq!(
        said,
        "shard-0 is split at 2000000000000000 by op-7\ncopying\n\
         split of shard-0 is done: op-7.0 op-7.1\n"
    );
    let url = answers();
    let told = run(split.into_iter().chain([url.as_str(), "-o", "json"])).success();
    let told: serde_json::Value = serde_json::from_str(&told).expect("one JSON");
    assert_eq!(told["phase"], "done");
}

const SERVED: &str = r#"{"id":"op-7","kind":"split","phase":"cleaning-up","sources":["shard-0"],"targets":["op-7.0","op-7.1"],
    "at":["2000000000000000"],"paused":false,"reason":"asked for","error":null,"progress":{"fraction":1.0}}"#;
const COMMITTED: &str = r#"{"id":"op-7","kind":"split","phase":"committed","sources":["shard-0"],"targets":["op-7.0","op-7.1"],
    "at":["2000000000000000"],"paused":false,"reason":"asked for","error":null,"progress":{"fraction":1.0}}"#;

#[test]
fn a_split_is_waited_for_until_clients_are_served_by_what_it_made() {
    let answers = |begun: (&'static str, &'static str)| {
        // Whatever is asked after that is never over.
        server_of(vec![begun, ("200 OK", COMMITTED), ("200 OK", SERVED)])
    };
    let url = answers(("202 Accepted", PLANNED));
    let split = ["shard", "split", "shard-0", "--wait", "--coordinator", &url];
    assert_eq!(
        run(split).success(),
        "shard-0 is split at 2000000000000000 by op-7\ncommitted\n\
         split of shard-0 is done: op-7.0 op-7.1; what is left of the others is being removed\n"
    );
    let url = answers(("200 OK", COMMITTED));
    let watch = ["op", "watch", "op-7", "--within", "1s", "-o", "json"];
    let watch = watch.iter().copied().chain(["--coordinator", &url]);
    let err = run(watch).failure(4);
    assert!(err.contains("op-7 is cleaning-up"), "it goes on: {err}");
}

/// What coordinators refuse, each with what a person asks for and what hears.
const REFUSALS: [(&str, &[&str], &str, i32); 15] = [
    (
        "HOLDS",
        &["move", "shard-0", "--to", "n1"],
        "409 Conflict",
        3,
    ),
    (
        "UNKNOWN_NODE",
        &["move", "shard-0", "--to", "n9"],
        "404 Not Found",
        1,
    ),
    (
        "NOT_HOLDER",
        &["move", "shard-0", "--from", "n4", "--to", "n5"],
        "409 Conflict",
        3,
    ),
    (
        "NOT_ACCEPTING",
        &["move", "shard-0", "--to", "n2"],
        "409 Conflict",
        3,
    ),
    (
        "NOT_IN_SYNC",
        &["promote", "shard-0", "--to", "n2"],
        "409 Conflict",
        3,
    ),
    ("TOO_FEW_KEYS", &["split", "shard-0"], "409 Conflict", 3),
    (
        "INDIVISIBLE",
        &["split", "shard-0", "--at", "middle"],
        "409 Conflict",
        3,
    ),
    ("IN_OPERATION", &["split", "shard-0"], "409 Conflict", 3),
    ("SHARD_NOT_FOUND", &["split", "shard-9"], "404 Not Found", 1),
    (
        "NOT_NEIGHBOURS",
        &["merge", "shard-0", "shard-2"],
        "409 Conflict",
        3,
    ),
    (
        "TOO_LARGE",
        &["merge", "shard-0", "shard-1"],
        "409 Conflict",
        3,
    ),
    (
        "TOO_FEW_SHARDS",
        &["merge", "shard-0", "shard-1"],
        "409 Conflict",
        3,
    ),
    ("APART", &["merge", "shard-0", "shard-1"], "409 Conflict", 3),
    (
        "PINNED",
        &["merge", "shard-0", "shard-1"],
        "409 Conflict",
        3,
    ),
    ("STALE", &["merge", "shard-0", "shard-1"], "409 Conflict", 3),
];

#[test]
fn what_is_refused_says_so_by_its_code_and_how_the_command_ends() {
    for (code, words, status, exit) in REFUSALS {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"no","hint":"do this"}}}}"#);
        let url = server(status, body.leak());
        let asked = ["shard"].iter().chain(words).chain(&["--coordinator"]);
        let err = run(asked.copied().chain([url.as_str()])).failure(exit);
        assert_eq!(
            err,
            format!("error[{code}]: no\nhint: do this\n"),
            "{words:?}"
        );
    }
    for (code, words) in [
        ("STALE_PLAN", ["rebalance", "apply", "--coordinator"]),
        ("NO_CAPACITY", ["rebalance", "plan", "--coordinator"]),
    ] {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"no"}}}}"#);
        let url = server("409 Conflict", body.leak());
        let err = run(words.into_iter().chain([url.as_str()])).failure(3);
        assert!(err.starts_with(&format!("error[{code}]: no\n")), "{err}");
    }
}

#[test]
fn force_is_passed_on_where_it_is_safe_and_is_no_word_elsewhere() {
    for words in [
        &["shard", "split", "shard-0", "--force"][..],
        &["shard", "merge", "shard-0", "shard-1", "--force"],
        &["shard", "promote", "shard-0", "--to", "n1", "--force"],
    ] {
        let (url, asked) = listener(r#"{"error":{"code":"HOLDS","message":"no"}}"#);
        run(words.iter().copied().chain(["--coordinator", &url])).failure(3);
        let asked: serde_json::Value = serde_json::from_str(&asked()).expect("JSON");
        assert_eq!(asked["force"], true, "{words:?}");
    }
    // No size forbids a move, and nothing makes a node take what it has.
    let moved = run(["shard", "move", "shard-0", "--to", "n1", "--force"]);
    assert_eq!(moved.code, Some(2), "{moved:?}");
}

#[test]
fn a_split_that_is_not_waited_for_says_how_to_follow_it() {
    let url = server("202 Accepted", PLANNED);
    let said = run(["shard", "split", "shard-0", "--coordinator", &url]).success();
    assert_eq!(
        said,
        "shard-0 is split at 2000000000000000 by op-7; `op watch op-7` shows how far it is\n"
    );
    let plan = PLANNED.replace("\"op-7\"", "null").leak();
    let url = server("200 OK", plan);
    let dry = [
        "shard",
        "split",
        "shard-0",
        "--dry-run",
        "--coordinator",
        &url,
    ];
    assert_eq!(
        run(dry).success(),
        "shard-0 would be split at 2000000000000000\n"
    );
}

#[test]
fn an_operation_without_effect_is_an_error() {
    let url = server("200 OK", ABORTED);
    let err = run(["op", "watch", "op-7", "--coordinator", &url]).failure(1);
    assert!(
        err.contains("error[ABORTED]: operation op-7 had no effect: cancelled"),
        "{err}"
    );
    let said = run(["op", "cancel", "op-7", "--coordinator", &url]).success();
    assert!(said.starts_with("op-7 has no effect"), "{said}");
    let late = r#"{"error":{"code":"TOO_LATE","message":"operation op-7 is committed"}}"#;
    let url = server("409 Conflict", late);
    let err = run(["op", "cancel", "op-7", "--coordinator", &url]).failure(3);
    assert!(err.contains("error[TOO_LATE]"), "{err}");
    let url = server("200 OK", COPYING);
    let watch = [
        "op",
        "watch",
        "op-7",
        "--within",
        "0s",
        "--coordinator",
        &url,
    ];
    assert!(run(watch).failure(4).contains("error[NOT_DONE]"));
}

const MOVING: &str = r#"{"id":"move-7","kind":"migrate","phase":"catching-up","sources":["shard-0"],"targets":["shard-0"],
    "at":[],"from":"n1","to":"n4","paused":false,"reason":"asked for","error":null,"progress":{"fraction":null,"lag":1200}}"#;
const MOVED: &str = r#"{"id":"move-7","kind":"migrate","phase":"done","sources":["shard-0"],"targets":["shard-0"],
    "at":[],"from":"n1","to":"n4","paused":false,"reason":"asked for","error":null,"progress":{"fraction":1.0}}"#;

#[test]
fn a_move_of_copies_is_followed_to_its_end() {
    let begun = r#"{"changes":1,"operation":"move-7"}"#;
    let shard = ["shard", "move", "shard-0", "--to", "n4", "--coordinator"];
    let follow = |url: &str, more: &[&str]| {
        let words = shard.iter().chain([&url]).chain(more);
        run(words.copied()).success()
    };
    let answers = || {
        server_of(vec![
            ("200 OK", begun),
            ("200 OK", MOVING),
            ("200 OK", MOVING),
            ("200 OK", MOVED),
        ])
    };
    assert_eq!(
        follow(&answers(), &["--from", "n1", "--wait"]),
        "shard-0 goes to n4 by move-7\ncatching-up\nmove of shard-0 is done: from n1 to n4\n"
    );
    let told = follow(&answers(), &["--wait", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&told).expect("one JSON");
    assert_eq!(
        (&told["phase"], &told["to"]),
        (&"done".into(), &"n4".into())
    );
    assert_eq!(
        follow(&answers(), &[]),
        "shard-0 goes to n4 by move-7; `op watch move-7` shows how far it is\n"
    );
    let list = format!("[{MOVING}]").leak();
    let table = run(["op", "list", "--coordinator", &server("200 OK", list)]).success();
    assert!(table.contains("1,200 changes to come"), "{table}");
    let shown = run([
        "op",
        "show",
        "move-7",
        "--coordinator",
        &server("200 OK", MOVED),
    ])
    .success();
    assert!(shown.contains("n4"), "{shown}");
}

#[test]
fn a_move_of_an_assignment_is_done_when_it_is_answered() {
    let done = r#"{"changes":1,"note":"only the assignment changes, no data is moved"}"#;
    let url = server("200 OK", done);
    let shard = [
        "shard",
        "move",
        "a",
        "--to",
        "w2",
        "--wait",
        "--coordinator",
        &url,
    ];
    assert_eq!(run(shard).success(), "a goes to w2\n");
    let told = run(shard.into_iter().chain(["-o", "json"])).success();
    assert!(told.contains("only the assignment"), "{told}");
}

#[test]
fn a_promotion_says_whether_it_changes_anything() {
    for (answer, said) in [
        (r#"{"changes":1}"#, "n1 becomes the primary of shard-0\n"),
        (r#"{"changes":0}"#, "n1 is the primary of shard-0 already\n"),
    ] {
        let url = server("200 OK", answer);
        let promote = [
            "shard",
            "promote",
            "shard-0",
            "--to",
            "n1",
            "--coordinator",
            &url,
        ];
        assert_eq!(run(promote).success(), said);
    }
}

#[test]
fn operations_and_statistics_are_listed() {
    let list = format!("[{COPYING},{DONE}]").leak();
    let url = server("200 OK", list);
    let table = run(["op", "list", "--coordinator", &url]).success();
    assert!(
        table.contains("paused, 25 %, 1,500 of 6,000 rows, 1m 30s left"),
        "{table}"
    );
    assert!(table.contains("│ op-7 ┆ split ┆ done"), "{table}");
    let url = server("200 OK", COPYING);
    let shown = run(["op", "show", "op-7", "--coordinator", &url]).success();
    assert!(shown.contains("2000000000000000"), "{shown}");
    let stats = r#"[{"shard":"shard-0","primary":"n1","rows":1200,"bytes":4096,"requests_per_second":1.25,
        "operation":null,"error":null}]"#;
    let url = server("200 OK", stats);
    let table = run(["shard", "stats", "--coordinator", &url]).success();
    assert!(table.contains("│ shard-0 ┆ n1"), "{table}");
}
