//! Every error: its name, whether to repeat, what happened, and what to do.

use shardwright_router::{Error, Outcome};

use super::*;

#[track_caller]
fn check(error: &Error, code: &str, outcome: Outcome, retryable: bool, advice: &str) {
    assert_eq!(error.code(), code);
    assert_eq!(error.outcome(), outcome, "{code}");
    assert_eq!(error.is_retryable(), retryable, "{code}");
    let text = error.to_string();
    assert!(
        text.contains(advice),
        "{code}: {text:?} does not say {advice:?}"
    );
    assert!(
        !retryable || outcome == Outcome::NotRun,
        "only what did not run is repeated"
    );
}

fn boxed() -> BoxError {
    "connection refused".into()
}

#[track_caller]
fn not_run(error: &Error, code: &str, retryable: bool, advice: &str) {
    check(error, code, Outcome::NotRun, retryable, advice);
}

#[test]
fn what_no_route_leads_to_did_not_run() {
    let (shard, node) = (|| shard(3), || node("n2"));
    let (current, presented) = (Epoch(8), Epoch(7));
    not_run(&Error::NoMap, "NO_MAP", true, "follow a registry");
    let error = Error::UnknownShard { shard: shard() };
    not_run(
        &error,
        "SHARD_NOT_FOUND",
        false,
        "no shard shard-3: check the name",
    );
    not_run(&Error::NoTenants, "NO_TENANTS", false, "call by shard");
    let error = Error::NoOwner { shard: shard() };
    not_run(&error, "NO_OWNER", true, "wait until it is assigned");
    let error = Error::NotLocal {
        shard: shard(),
        owner: node(),
    };
    not_run(&error, "NOT_LOCAL", false, "n2 owns it: call a method");
    let error = Error::StaleEpoch {
        shard: shard(),
        current,
        presented,
    };
    not_run(
        &error,
        "STALE_EPOCH",
        true,
        "is at e8, the request carried e7: route again",
    );
}

#[test]
fn what_the_owner_cannot_take_did_not_run() {
    let (shard, node) = (|| shard(3), || node("n2"));
    let epoch = Epoch(7);
    let error = Error::CutOver {
        shard: shard(),
        epoch,
    };
    not_run(
        &error,
        "CUT_OVER",
        true,
        "handed over at e7: repeat in a moment",
    );
    let error = Error::NotServing {
        shard: shard(),
        epoch,
    };
    not_run(&error, "NOT_SERVING", true, "repeat in a moment");
    not_run(
        &Error::UnknownNode { node: node() },
        "UNKNOWN_NODE",
        true,
        "register it",
    );
    let error = Error::Unreachable {
        shard: shard(),
        node: node(),
        source: boxed(),
    };
    not_run(&error, "UNREACHABLE", true, "check that it runs");
    not_run(
        &Error::NotAuthorized { node: node() },
        "NOT_AUTHORIZED",
        false,
        "the token",
    );
    not_run(
        &Error::Overloaded { node: node() },
        "OVERLOADED",
        true,
        "repeat in a moment",
    );
    let error = Error::Incompatible {
        node: node(),
        what: "its format".to_owned(),
    };
    not_run(&error, "INCOMPATIBLE", false, "run the same release");
}

#[test]
fn what_no_handler_can_take_did_not_run() {
    let error = Error::InvalidMethod {
        method: "two words".to_owned(),
    };
    not_run(
        &error,
        "INVALID_METHOD",
        false,
        "\"two words\" is no name of a method: use 1 to 255 visible ASCII characters",
    );
    let error = Error::PayloadTooLarge { size: 9, limit: 8 };
    not_run(
        &error,
        "PAYLOAD_TOO_LARGE",
        false,
        "9 bytes is above the limit of 8: send it in parts",
    );
    let error = Error::UnknownMethod {
        node: node("n2"),
        method: "m".to_owned(),
    };
    not_run(
        &error,
        "UNKNOWN_METHOD",
        false,
        "no handler for m: register one",
    );
}

#[test]
fn what_may_have_run_is_not_repeated() {
    let (shard, method) = (|| shard(3), || "m".to_owned());
    let timed_out = |outcome| Error::TimedOut {
        shard: shard(),
        method: method(),
        outcome,
    };
    check(
        &timed_out(Outcome::NotRun),
        "TIMED_OUT",
        Outcome::NotRun,
        true,
        "nothing happened",
    );
    let unknown = "outcome is unknown: find out before you repeat it";
    check(
        &timed_out(Outcome::Unknown),
        "INDETERMINATE",
        Outcome::Unknown,
        false,
        unknown,
    );
    let error = Error::Interrupted {
        shard: shard(),
        method: method(),
        source: boxed(),
    };
    check(&error, "INDETERMINATE", Outcome::Unknown, false, unknown);
    let error = Error::AnswerTooLarge {
        method: method(),
        size: 9,
        limit: 8,
    };
    check(
        &error,
        "ANSWER_TOO_LARGE",
        Outcome::Ran,
        false,
        "answer in parts",
    );
    let message = "disk full".to_owned();
    let error = Error::HandlerFailed {
        shard: shard(),
        method: method(),
        message,
    };
    check(
        &error,
        "HANDLER_FAILED",
        Outcome::Ran,
        false,
        "m on shard shard-3 failed: disk full",
    );
}
